/* The object that holds all rooms: opened, ticked, told about the data plane, closed. */
#include "rooms.h"

#include <stdio.h>
#include <stdlib.h>

#include "controlplane/ortc/ortc.h"
#include "ice_servers.h"
#include "participant.h"
#include "quality.h"
#include "quota.h"
#include "registry.h"
#include "restore.h"
#include "room.h"
#include "session.h"
#include "src/clock.h"
#include "src/log.h"
#include "transport.h"

#define WHY_BYTES 192

/* ---- helpers for this folder ---- */

int64_t wall_ms(void)
{
    return (int64_t)(clock_wall_ns() / NS_PER_MS);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 0;
}

void uuid_to_bytes(const char *text, uint8_t out[16])
{
    uint32_t n = 0;

    for (; *text != '\0' && n < 32; text++) {
        if (*text == '-')
            continue;
        out[n / 2] = (uint8_t)(n % 2 == 0 ? hex_digit(*text) << 4 : out[n / 2] | hex_digit(*text));
        n++;
    }
}

void rooms_ref(struct rooms *rooms)
{
    rooms->references++;
}

void rooms_unref(struct rooms *rooms)
{
    if (--rooms->references > 0)
        return;
    audit_release(rooms->audit);
    index_close(&rooms->rooms_by_id);
    index_close(&rooms->rooms_by_code);
    index_close(&rooms->transports);
    index_close(&rooms->producers);
    index_close(&rooms->consumers);
    quotas_sweep(rooms, true);
    index_close(&rooms->holders);
    index_close(&rooms->made_rooms_by_id);
    cJSON_Delete(rooms->capabilities);
    free(rooms->capabilities_text);
    free(rooms->transport_of_row);
    free(rooms->producer_of_row);
    free(rooms->consumer_of_row);
    free(rooms);
}

/* ---- open, tick, close ---- */

static void tick(uv_timer_t *timer)
{
    struct rooms *rooms = timer->data;
    struct room *room, *next;

    participants_remove_overdue(rooms);
    rooms_close_abandoned(rooms);
    for (room = TAILQ_FIRST(&rooms->all); room != NULL; room = next) {
        next = TAILQ_NEXT(room, link);
        room_save(room);
    }
    restore_next(rooms);
    quotas_sweep(rooms, false);
    quality_tick(rooms);
    sessions_reverify(rooms);
}

bool rooms_check(const struct settings *settings, char *why)
{
    cJSON *capabilities = ortc_router_capabilities(settings->media_codecs, why);
    bool ok = capabilities != NULL && ice_servers_check(settings, why);

    cJSON_Delete(capabilities);
    return ok;
}

/* Allocates what struct rooms points to. */
static bool allocate(struct rooms *rooms, char *why)
{
    rooms->transport_of_row = calloc(TRANSPORTS_MAX, sizeof(*rooms->transport_of_row));
    rooms->producer_of_row = calloc(PRODUCERS_MAX, sizeof(*rooms->producer_of_row));
    rooms->consumer_of_row = calloc(CONSUMERS_MAX, sizeof(*rooms->consumer_of_row));
    if (rooms->transport_of_row == NULL || rooms->producer_of_row == NULL ||
        rooms->consumer_of_row == NULL || !index_open(&rooms->rooms_by_id) ||
        !index_open(&rooms->rooms_by_code) || !index_open(&rooms->transports) ||
        !index_open(&rooms->producers) || !index_open(&rooms->consumers) ||
        !index_open(&rooms->holders) || !index_open(&rooms->made_rooms_by_id)) {
        snprintf(why, WHY_BYTES, "no memory for rooms");
        return false;
    }
    rooms->capabilities = ortc_router_capabilities(rooms->settings->media_codecs, why);
    if (rooms->capabilities != NULL)
        rooms->capabilities_text = cJSON_PrintUnformatted(rooms->capabilities);
    return rooms->capabilities_text != NULL;
}

struct rooms *rooms_open(uv_loop_t *loop, const struct settings *settings,
                         struct dataplane *dataplane, struct persistence *store, struct auth *auth,
                         struct audit *audit, char *why)
{
    struct rooms *rooms;

    if (!ice_servers_check(settings, why))
        return NULL;
    rooms = calloc(1, sizeof(*rooms));
    if (rooms == NULL) {
        snprintf(why, WHY_BYTES, "no memory for rooms");
        return NULL;
    }
    rooms->references = 1;
    rooms->loop = loop;
    rooms->settings = settings;
    rooms->dataplane = dataplane;
    rooms->store = store;
    rooms->auth = auth;
    rooms->audit = audit;
    audit_hold(audit); /* requests in progress may write audit rows after audit_close */
    TAILQ_INIT(&rooms->all);
    TAILQ_INIT(&rooms->sessions);
    TAILQ_INIT(&rooms->absent);
    TAILQ_INIT(&rooms->measured);
    TAILQ_INIT(&rooms->outdated);
    TAILQ_INIT(&rooms->idle_holders);
    TAILQ_INIT(&rooms->made_rooms);
    TAILQ_INIT(&rooms->quality_due);
    if (!allocate(rooms, why)) {
        rooms_unref(rooms);
        return NULL;
    }
    rooms->tick.data = rooms;
    uv_timer_init(loop, &rooms->tick);
    uv_timer_start(&rooms->tick, tick, TICK_MS, TICK_MS);
    rooms->audio_levels_tick.data = rooms;
    uv_timer_init(loop, &rooms->audio_levels_tick);
    rooms_ref(rooms);
    rooms->restore_is_due = true;
    restore_next(rooms);
    return rooms;
}

void rooms_drain(struct rooms *rooms)
{
    rooms->draining = true;
}

static void timer_closed(uv_handle_t *handle)
{
    rooms_unref(handle->data);
}

/* The sockets get no DISCONNECT, because a stock client does not come back after that. Their
 * transports close (socketio_close), and the clients connect again, perhaps to the next run, which
 * finds the rooms active in the store. */
void rooms_close(struct rooms *rooms)
{
    struct session *session;
    struct participant *p;
    struct room *room, *next;

    if (rooms == NULL)
        return;
    rooms->closing = true;
    while ((session = TAILQ_FIRST(&rooms->sessions)) != NULL) {
        while ((p = LIST_FIRST(&session->participants)) != NULL)
            participant_detach(p);
        session_free(session);
    }
    for (room = TAILQ_FIRST(&rooms->all); room != NULL; room = next) {
        next = TAILQ_NEXT(room, link);
        room_leave_to_next_run(room);
    }
    uv_close((uv_handle_t *)&rooms->tick, timer_closed);
    uv_close((uv_handle_t *)&rooms->audio_levels_tick, timer_closed);
}

uint32_t rooms_participant_count(void *context, const char *room_id)
{
    const struct room *room = context != NULL ? room_find(context, room_id) : NULL;

    return room != NULL ? room->participant_count : 0;
}

/* ---- the REST interface ---- */

static uint32_t api_participant_count(void *context, const char *room_id)
{
    return rooms_participant_count(*(struct rooms **)context, room_id);
}

static void *api_creation_begin(void *context, const char *user_id, const char *ip,
                                uint32_t *retry_after_s, char why[API_WHY_BYTES])
{
    struct rooms *rooms = *(struct rooms **)context;
    struct made_room *made = NULL;
    struct owner owner;

    if (rooms == NULL || rooms->closing || !owner_open(rooms, &owner, user_id, ip))
        return NULL;
    if (quota_pass_event(rooms, &owner)) {
        made = made_room_new(rooms, user_id, ip, why);
    } else {
        *retry_after_s = quota_retry_after_s(rooms, &owner);
        if (quota_refusal_is_first(rooms, &owner))
            audit_write(rooms->audit, AUDIT_rate_limited, user_id, NULL, ip,
                        "{\"call\":\"rooms\",\"by\":\"user\"}");
    }
    owner_close(rooms, &owner);
    return made;
}

static void api_creation_done(void *ticket, const char *room_id)
{
    made_room_done(ticket, room_id);
}

const struct api_rooms rooms_for_api = {.participant_count = api_participant_count,
                                        .creation_begin = api_creation_begin,
                                        .creation_done = api_creation_done};

/* ---- the data plane ---- */

static void dataplane_changed(void *context, enum table_id table, handle_word handle)
{
    struct rooms *rooms = *(struct rooms **)context;

    if (rooms != NULL && table == TABLE_transport_state)
        transport_state_changed(rooms, handle);
    else if (rooms != NULL)
        quality_changed(rooms, table, handle);
}

static void dataplane_up(void *context, bool is_up)
{
    struct rooms *rooms = *(struct rooms **)context;

    if (rooms != NULL && is_up)
        transports_check_all(rooms);
}

const struct dataplane_handlers rooms_dataplane_handlers = {.changed = dataplane_changed,
                                                            .up = dataplane_up};
