/* Transports: created, closed, and their state as the data plane reports it. */
#include "transport.h"

#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "consumer.h"
#include "participant.h"
#include "producer.h"
#include "quality.h"
#include "registry.h"
#include "room.h"
#include "room_json.h"
#include "src/log.h"
#include "src/random.h"

struct transport *transport_find(struct rooms *rooms, const char *id)
{
    char key[UUID_TEXT_BYTES];

    if (!uuid_normalize(id, key))
        return NULL;
    return INDEX_OWNER(index_get(&rooms->transports, key), struct transport, by_id);
}

const char *direction_text(const struct transport *t)
{
    return t->row.direction == DIRECTION_send ? "send" : "recv";
}

struct transport *transport_new(struct participant *owner, enum direction direction)
{
    struct room *room = owner->room;
    struct rooms *rooms = room->rooms;
    int worker =
        dataplane_pick_worker(rooms->dataplane, room->worker, rooms->settings->room_together);
    struct transport *t = worker >= 0 ? calloc(1, sizeof(*t)) : NULL;

    if (t == NULL)
        return NULL;
    uuid_make(t->id);
    uuid_to_bytes(t->id, t->row.id);
    t->owner = owner;
    t->row.room = room->handle;
    t->row.worker = (uint32_t)worker;
    t->row.direction = (uint8_t)direction;
    random_word(t->row.ice_ufrag, 32);
    random_word(t->row.ice_pwd, 32);
    TAILQ_INIT(&t->producers);
    TAILQ_INIT(&t->consumers);
    t->handle = dataplane_row_add(rooms->dataplane, TABLE_transport, &t->row, t->row.worker);
    if (t->handle == 0) {
        free(t);
        return NULL;
    }
    rooms->transport_of_row[handle_index(t->handle)] = t;
    index_put(&rooms->transports, &t->by_id, t->id);
    TAILQ_INSERT_TAIL(&owner->transports, t, link);
    owner->transport_count++;
    return t;
}

/* ---- closing ---- */

static void close_consumers(struct transport *t)
{
    struct consumer *consumer;

    while ((consumer = TAILQ_FIRST(&t->consumers)) != NULL)
        consumer_close(consumer, false);
}

static void close_producers(struct transport *t, bool announced)
{
    struct producer *producer;

    while ((producer = TAILQ_FIRST(&t->producers)) != NULL)
        producer_close(producer, announced);
}

void transport_close(struct transport *t, bool announced)
{
    struct rooms *rooms = t->owner->room->rooms;

    close_consumers(t);
    close_producers(t, announced);
    if (rooms->transport_of_row[handle_index(t->handle)] == t)
        rooms->transport_of_row[handle_index(t->handle)] = NULL;
    quota_give_back(&t->owner->owner, QUOTA_transports, 1);
    dataplane_row_remove(rooms->dataplane, TABLE_transport, t->handle, t->row.worker);
    index_remove(&rooms->transports, &t->by_id);
    TAILQ_REMOVE(&t->owner->transports, t, link);
    t->owner->transport_count--;
    explicit_bzero(&t->row, sizeof(t->row));
    free(t);
}

void transports_close_all(struct participant *owner, bool announced)
{
    struct transport *t;

    TAILQ_FOREACH(t, &owner->transports, link)
    close_consumers(t);
    TAILQ_FOREACH(t, &owner->transports, link)
    close_producers(t, announced);
    while ((t = TAILQ_FIRST(&owner->transports)) != NULL)
        transport_close(t, announced);
}

/* ---- state that the data plane reports ---- */

static const char *ice_text(uint8_t state)
{
    const char *text = field_enum_text(SHOW_ice_state, state);

    return text != NULL ? text : "new";
}

static const char *dtls_text(uint8_t state)
{
    const char *text = field_enum_text(SHOW_dtls_state, state);

    return text != NULL ? text : "new";
}

static void announce_state(struct transport *t, uint8_t ice, uint8_t dtls)
{
    announce_to_participant(t->owner, NOTICE_transport_state,
                            json_texts("transportId", t->id, "iceState", ice_text(ice), "dtlsState",
                                       dtls_text(dtls), NULL));
}

/* failure: NULL when the transport did not fail. */
static void audit_state(struct transport *t, enum audit_action action, const char *failure)
{
    const struct participant *owner = t->owner;

    audit_write(owner->room->rooms->audit, action, owner->user_id, owner->room->id, owner->ip,
                "{\"transportId\":\"%s\",\"direction\":\"%s\",\"failure\":\"%s\"}", t->id,
                direction_text(t), failure != NULL ? failure : "none");
}

/* A transport whose DTLS handshake failed never carries media:
 * it is closed as if its owner had asked. */
static void close_failed(struct transport *t, uint8_t why)
{
    const char *failure = field_enum_text(SHOW_dtls_failure, why);

    LOG(INFO, "media", "transport failed", F("transport", "%s", t->id),
        F("user", "%s", t->owner->user_id), F("failure", "%s", failure));
    audit_state(t, AUDIT_transport_failed, failure);
    transport_close(t, true);
}

void transport_state_changed(struct rooms *rooms, handle_word handle)
{
    struct transport_state_row state;
    struct transport *t;
    uint8_t ice_before, dtls_before;

    if (handle_index(handle) >= TRANSPORTS_MAX)
        return;
    t = rooms->transport_of_row[handle_index(handle)];
    if (t == NULL || t->handle != handle ||
        !dataplane_row_read(rooms->dataplane, TABLE_transport_state, handle, &state) ||
        (state.ice_state == t->announced_ice_state && state.dtls_state == t->announced_dtls_state))
        return;
    announce_state(t, state.ice_state, state.dtls_state);
    ice_before = t->announced_ice_state;
    dtls_before = t->announced_dtls_state;
    t->announced_ice_state = state.ice_state;
    t->announced_dtls_state = state.dtls_state;
    if (state.dtls_state == DTLS_STATE_connected && dtls_before != DTLS_STATE_connected)
        audit_state(t, AUDIT_transport_connected, NULL);
    /* The client stopped sending ICE checks. The transport may recover, but somebody who wants to
     * know why a call was interrupted must find this in the audit log. */
    if (state.ice_state == ICE_STATE_disconnected && ice_before != ICE_STATE_disconnected)
        audit_state(t, AUDIT_transport_failed, "consent_expired");
    if (state.dtls_state == DTLS_STATE_failed && dtls_before != DTLS_STATE_failed)
        close_failed(t, state.dtls_failure);
}

/* A new supervisor makes new regions, and in these the old rows are missing. */
static void check_participant(struct rooms *rooms, struct participant *p)
{
    struct transport *t, *next;
    struct transport_row row;

    for (t = TAILQ_FIRST(&p->transports); t != NULL; t = next) {
        next = TAILQ_NEXT(t, link);
        if (dataplane_row_read(rooms->dataplane, TABLE_transport, t->handle, &row) &&
            memcmp(row.id, t->row.id, sizeof(row.id)) == 0) {
            quality_check_transport(t); /* the next line may close it */
            transport_state_changed(rooms, t->handle);
            continue;
        }
        announce_state(t, ICE_STATE_disconnected, DTLS_STATE_failed);
        audit_state(t, AUDIT_transport_failed, "restarted");
        transport_close(t, true);
    }
}

void transports_check_all(struct rooms *rooms)
{
    struct participant *p;
    struct room_row row;
    struct room *room;

    TAILQ_FOREACH(room, &rooms->all, link)
    {
        TAILQ_FOREACH(p, &room->participants, link)
        check_participant(rooms, p);
        if (room->handle != 0 &&
            !dataplane_row_read(rooms->dataplane, TABLE_room, room->handle, &row))
            room->handle = 0;
    }
}
