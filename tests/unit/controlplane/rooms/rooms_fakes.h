/* Fakes of sockets, accounts, store, audit log and data plane, so that controlplane/rooms runs
 * alone: the test program defines the functions that would come from the other folders. Answers
 * that would arrive later wait in one queue until pump() delivers them. */
#ifndef RINGCAST_ROOMS_FAKES_H
#define RINGCAST_ROOMS_FAKES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/rooms/consumer.h"
#include "controlplane/rooms/events.h"
#include "controlplane/rooms/participant.h"
#include "controlplane/rooms/producer.h"
#include "controlplane/rooms/registry.h"
#include "controlplane/rooms/room.h"
#include "controlplane/rooms/room_json.h"
#include "controlplane/rooms/session.h"
#include "controlplane/rooms/transport.h"
#include "src/clock.h"
#include "src/log.h"

/* ---- sockets ---- */

#define RECEIVED_MAX 1024
struct received {
    char name[32];
    cJSON *value;
};
struct socket {
    int references;
    bool accepted, open, refused, closes_early, disconnected;
    char id[21], refusal[64];
    const char *ip;
    void *data, *context;
    cJSON *ack; /* the last acknowledgement */
    int64_t acked;
    struct received received[RECEIVED_MAX];
    int received_count, received_read;
};

static int sockets_made;
static const char *next_ip = "192.0.2.7"; /* of sockets that are made from now on */

static struct socket *fake_socket(struct rooms *rooms)
{
    struct socket *s = calloc(1, sizeof(*s));

    s->references = 1;
    s->context = rooms;
    s->acked = -1;
    s->ip = next_ip;
    snprintf(s->id, sizeof(s->id), "socket%014d", ++sockets_made);
    return s;
}

static void fake_socket_forget(struct socket *s)
{
    while (s->received_count > 0)
        cJSON_Delete(s->received[--s->received_count].value);
    s->received_read = 0;
    cJSON_Delete(s->ack);
    s->ack = NULL;
    s->acked = -1;
}

static void deliver(struct socket *s, const char *name, cJSON *value)
{
    assert_true(s->received_count < RECEIVED_MAX);
    snprintf(s->received[s->received_count].name, sizeof(s->received[0].name), "%s", name);
    s->received[s->received_count++].value = value;
}

void socket_set_account(struct socket *socket, const char *user_id)
{
}

void socket_accept(struct socket *s)
{
    s->accepted = true;
    s->open = !s->closes_early;
}
void socket_refuse(struct socket *s, const char *message)
{
    s->refused = true;
    snprintf(s->refusal, sizeof(s->refusal), "%s", message);
}
/* Prints and parses the value, which is how the client gets it. */
static cJSON *as_received(cJSON *value)
{
    char *text = cJSON_PrintUnformatted(value);
    cJSON *received = text == NULL ? NULL : cJSON_Parse(text);

    cJSON_Delete(value);
    free(text);
    return received;
}
void socket_ack(struct socket *s, int64_t ack, cJSON *value)
{
    if (!s->open) {
        cJSON_Delete(value);
        return;
    }
    cJSON_Delete(s->ack);
    s->ack = as_received(value);
    s->acked = ack;
}
void socket_emit(struct socket *s, const char *event, cJSON *value)
{
    if (s->open)
        deliver(s, event, as_received(value));
    else
        cJSON_Delete(value);
}
void socket_emit_all(struct socket *const *sockets, size_t count, const char *event,
                     const cJSON *value)
{
    for (size_t i = 0; i < count; i++)
        socket_emit(sockets[i], event, cJSON_Duplicate(value, 1));
}
static void fake_close(struct socket *s, const char *reason)
{
    if (!s->open)
        return;
    s->open = false;
    rooms_socket_handlers.closed(s, reason);
}
void socket_abort(struct socket *s)
{
    fake_close(s, "transport error");
}
void socket_disconnect(struct socket *s)
{
    s->disconnected = true;
    fake_close(s, "server disconnect");
}
void socket_close(struct socket *s)
{
    fake_close(s, "server close");
}
const char *socket_id(const struct socket *s)
{
    return s->id;
}
const char *socket_client_ip(const struct socket *s)
{
    return s->ip;
}
bool socket_is_open(const struct socket *s)
{
    return s->open;
}
void *socket_context(const struct socket *s)
{
    return s->context;
}
void *socket_data(const struct socket *s)
{
    return s->data;
}
void socket_set_data(struct socket *s, void *data)
{
    s->data = data;
}
struct socket *socket_ref(struct socket *s)
{
    s->references++;
    return s;
}
void socket_unref(struct socket *s)
{
    if (--s->references > 0)
        return;
    fake_socket_forget(s);
    free(s);
}

/* ---- the queue ---- */

enum work_kind { WORK_DONE, WORK_MEETING, WORK_AUTH };
static struct work {
    enum work_kind kind;
    void *callback, *context;
    int result;
    struct meeting_row meeting;
    struct user_row user;
} works[4096];
static int work_count;
static bool store_down;

static struct work *enqueue(enum work_kind kind, void *callback, void *context, int result)
{
    struct work *w = &works[work_count++];

    assert_true(work_count < (int)(sizeof(works) / sizeof(works[0])));
    memset(w, 0, sizeof(*w));
    w->kind = kind;
    w->callback = callback;
    w->context = context;
    w->result = store_down && kind != WORK_AUTH ? (int)PERSISTENCE_UNAVAILABLE : result;
    return w;
}

static void pump(void)
{
    static struct work now[4096];

    while (work_count > 0) {
        int count = work_count;

        memcpy(now, works, (size_t)count * sizeof(now[0]));
        work_count = 0;
        for (int i = 0; i < count; i++) {
            if (now[i].kind == WORK_DONE)
                ((done_callback)now[i].callback)(now[i].context, now[i].result);
            else if (now[i].kind == WORK_MEETING)
                ((meeting_callback)now[i].callback)(now[i].context, now[i].result,
                                                    now[i].result == PERSISTED ? &now[i].meeting
                                                                               : NULL);
            else
                ((auth_callback)now[i].callback)(now[i].context, now[i].result,
                                                 now[i].result == AUTH_OK ? &now[i].user : NULL,
                                                 NULL, 0);
        }
    }
}

/* ---- the store: meetings ---- */

static struct meeting_row meetings[64];
static int meeting_count, inserts;

static struct meeting_row *meeting_of(const char *id)
{
    for (int i = 0; i < meeting_count; i++)
        if (!strcmp(meetings[i].id, id) || !strcmp(meetings[i].room_code, id))
            return &meetings[i];
    return NULL;
}

static struct meeting_row *meeting_known(const char *id)
{
    struct meeting_row *meeting = meeting_of(id);

    if (meeting == NULL)
        abort();
    return meeting;
}

void meeting_insert(struct persistence *store, const struct meeting_row *meeting,
                    done_callback done, void *context)
{
    int result = PERSISTED;

    if (!store_down && inserts++ == 0)
        result = PERSISTENCE_DUPLICATE; /* the first insert always finds its code in use */
    else if (!store_down)
        meetings[meeting_count++] = *meeting;
    enqueue(WORK_DONE, (void *)done, context, result);
}
void meeting_find(struct persistence *store, const char *id_or_code, meeting_callback done,
                  void *context)
{
    struct meeting_row *meeting = meeting_of(id_or_code);
    struct work *w =
        enqueue(WORK_MEETING, (void *)done, context, meeting ? PERSISTED : PERSISTENCE_NOT_FOUND);

    if (meeting)
        w->meeting = *meeting;
}
void meeting_set_active(struct persistence *store, const char *id, int64_t started_ms,
                        done_callback done, void *context)
{
    if (!store_down) {
        strcpy(meeting_known(id)->status, "active");
        meeting_known(id)->started_ms = started_ms;
    }
    enqueue(WORK_DONE, (void *)done, context, PERSISTED);
}
void meeting_set_closed(struct persistence *store, const char *id, int64_t ended_ms,
                        done_callback done, void *context)
{
    if (!store_down) {
        strcpy(meeting_known(id)->status, "closed");
        meeting_known(id)->ended_ms = ended_ms;
    }
    enqueue(WORK_DONE, (void *)done, context, PERSISTED);
}
void meeting_raise_peak(struct persistence *store, const char *id, uint32_t participants,
                        done_callback done, void *context)
{
    if (!store_down)
        meeting_known(id)->participants_peak = participants;
    enqueue(WORK_DONE, (void *)done, context, PERSISTED);
}
/* In the order in which they were inserted. */
void meeting_next_active(struct persistence *store, const char *after_id, meeting_callback done,
                         void *context)
{
    int i = after_id[0] != '\0' ? (int)(meeting_known(after_id) - meetings) + 1 : 0;
    struct work *w;

    while (i < meeting_count && strcmp(meetings[i].status, "active") != 0)
        i++;
    w = enqueue(WORK_MEETING, (void *)done, context,
                i < meeting_count ? PERSISTED : PERSISTENCE_NOT_FOUND);
    if (i < meeting_count)
        w->meeting = meetings[i];
}

/* ---- accounts: the token of a user is its id ---- */

static char deactivated[UUID_TEXT_BYTES];
static int auth_answer = -1; /* every verification gets this answer; -1: the right one */
static uint64_t token_life_ms;
static uint32_t fake_keys_version, lookups;
static bool key_is_withdrawn;

void auth_verify(struct auth *auth, const char *token, auth_callback done, void *context)
{
    bool good = strlen(token) == 36 && strcmp(token, deactivated) != 0;
    struct work *w = enqueue(WORK_AUTH, (void *)done, context,
                             auth_answer >= 0 ? auth_answer
                             : good           ? AUTH_OK
                                              : AUTH_REFUSED);

    if (good) {
        memcpy(w->user.id, token, UUID_TEXT_BYTES);
        snprintf(w->user.display_name, sizeof(w->user.display_name), "name of %.8s", token);
    }
}
void auth_check_user(struct auth *auth, const char *user_id, auth_callback done, void *context)
{
    lookups++;
    auth_verify(auth, user_id, done, context);
}
uint32_t auth_keys_version(const struct auth *auth)
{
    return fake_keys_version;
}
uint64_t auth_token_life_ms(struct auth *auth, const char *token)
{
    return token_life_ms;
}
bool auth_token_is_signed(struct auth *auth, const char *token)
{
    return !key_is_withdrawn;
}

/* ---- audit ---- */

static int audits[AUDIT_COUNT], audit_holds;
static bool audit_down;
static uint64_t audit_rows_asked, audit_rows_written; /* asked for by the last request; all rows */
static struct {
    char user_id[UUID_TEXT_BYTES], room_id[UUID_TEXT_BYTES], ip[46];
} audit_last;

void audit_hold(struct audit *audit)
{
    audit_holds++;
}
void audit_release(struct audit *audit)
{
    audit_holds--;
}

bool audit_ready(struct audit *audit, uint64_t rows)
{
    audit_rows_asked = rows;
    return !audit_down;
}

bool audit_write(struct audit *audit, enum audit_action action, const char *user_id,
                 const char *room_id, const char *ip, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    cJSON *json;

    audits[action]++;
    audit_rows_written++;
    snprintf(audit_last.user_id, sizeof(audit_last.user_id), "%s", user_id ? user_id : "");
    snprintf(audit_last.room_id, sizeof(audit_last.room_id), "%s", room_id ? room_id : "");
    snprintf(audit_last.ip, sizeof(audit_last.ip), "%s", ip ? ip : "");
    if (!format)
        return !audit_down;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    json = cJSON_Parse(text);
    assert_true(cJSON_IsObject(json));
    cJSON_Delete(json);
    return !audit_down;
}

/* ---- the data plane ---- */

#define FAKE_ROWS 8192
union fake_row {
    struct row_header header;
    struct room_row room;
    struct transport_row transport;
    struct producer_row producer;
    struct consumer_row consumer;
    struct transport_state_row state;
    struct producer_state_row producer_state;
    struct consumer_state_row consumer_state;
    struct audio_level_row level;
};
static struct {
    union fake_row rows[4][FAKE_ROWS];
    union fake_row states[FAKE_ROWS]; /* of transports */
    union fake_row producer_states[FAKE_ROWS], consumer_states[FAKE_ROWS], levels[FAKE_ROWS];
    uint32_t next[4];
    char removed[256]; /* a letter per removed row: consumer, producer, transport, room */
    int removed_count;
    bool up, full, updates_fail;
} fake_dataplane;

static union fake_row *fake_row(enum table_id table, handle_word handle)
{
    union fake_row *row = &fake_dataplane.rows[table][handle_index(handle) % FAKE_ROWS];

    return row->header.used && row->header.generation == handle_generation(handle) ? row : NULL;
}
static int fake_used(enum table_id table)
{
    int count = 0;

    for (int i = 0; i < FAKE_ROWS; i++)
        count += fake_dataplane.rows[table][i].header.used;
    return count;
}
bool dataplane_is_up(const struct dataplane *dataplane)
{
    return fake_dataplane.up;
}
handle_word dataplane_row_add(struct dataplane *dataplane, enum table_id table, const void *row,
                              uint32_t worker)
{
    uint32_t index = fake_dataplane.next[table];
    union fake_row *to = &fake_dataplane.rows[table][index % FAKE_ROWS];
    uint32_t generation = to->header.generation + 1;

    if (!fake_dataplane.up || fake_dataplane.full)
        return 0;
    fake_dataplane.next[table] = (index + 1) % FAKE_ROWS;
    assert_false(to->header.used);
    assert_true(worker < 2);
    assert_true(row_in_range(table, row, NULL));
    memcpy(to, row, tables[table].row_bytes);
    to->header.generation = generation;
    to->header.used = 1;
    return handle_make(index, generation);
}
bool dataplane_row_update(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          const void *row, uint32_t worker)
{
    union fake_row *to = fake_row(table, handle);
    struct row_header header;

    if (!to || fake_dataplane.updates_fail)
        return false;
    header = to->header;
    memcpy(to, row, tables[table].row_bytes);
    to->header = header;
    return true;
}
void dataplane_row_remove(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          uint32_t worker)
{
    union fake_row *to = fake_row(table, handle);

    if (!to)
        return;
    to->header.used = 0;
    if (fake_dataplane.removed_count < 255)
        fake_dataplane.removed[fake_dataplane.removed_count++] = "rtpc"[table];
}
bool dataplane_row_read(struct dataplane *dataplane, enum table_id table, handle_word handle,
                        void *row)
{
    struct node_row *node = row;
    struct worker_state_row *state = row;
    union fake_row *from;

    switch (table) {
    case TABLE_node:
        memset(node, 0, sizeof(*node));
        node->worker_count = 2;
        node->has_fingerprints = 1;
        memset(node->fingerprint_sha_256, 0xab, 32);
        return fake_dataplane.up;
    case TABLE_worker_state:
        memset(state, 0, sizeof(*state));
        state->udp_port = (uint16_t)(40000 + handle_index(handle));
        state->has_ipv4 = 1;
        return fake_dataplane.up;
    case TABLE_transport_state:
        memcpy(row, &fake_dataplane.states[handle_index(handle) % FAKE_ROWS],
               tables[table].row_bytes);
        return true;
    case TABLE_producer_state:
    case TABLE_consumer_state:
    case TABLE_audio_level:
        from = table == TABLE_producer_state   ? fake_dataplane.producer_states
               : table == TABLE_consumer_state ? fake_dataplane.consumer_states
                                               : fake_dataplane.levels;
        from += handle_index(handle) % FAKE_ROWS;
        if (from->header.generation != handle_generation(handle))
            return false;
        memcpy(row, from, tables[table].row_bytes);
        return true;
    case TABLE_room:
    case TABLE_transport:
    case TABLE_producer:
    case TABLE_consumer:
        from = fake_row(table, handle);
        if (from)
            memcpy(row, from, tables[table].row_bytes);
        return from != NULL;
    default:
        return false;
    }
}
int dataplane_pick_worker(struct dataplane *dataplane, int preferred, uint32_t slack)
{
    if (!fake_dataplane.up)
        return -1;
    return preferred >= 0 ? preferred : (int)fake_used(TABLE_room) % 2;
}
uint16_t dataplane_worker_port(struct dataplane *dataplane, uint32_t worker)
{
    return (uint16_t)(40000 + worker);
}

static void fakes_reset(void)
{
    memset(&fake_dataplane, 0, sizeof(fake_dataplane));
    fake_dataplane.up = true;
    memset(audits, 0, sizeof(audits));
    memset(deactivated, 0, sizeof(deactivated));
    work_count = meeting_count = inserts = 0;
    store_down = audit_down = false;
    auth_answer = -1;
    token_life_ms = 3600000;
    key_is_withdrawn = false;
    lookups = 0;
}

#endif
