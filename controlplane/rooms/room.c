/* The life of a room: opened, given a worker, saved, closed. */
#include "room.h"

#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "audio_levels.h"
#include "live_state.h"
#include "participant.h"
#include "quota.h"
#include "registry.h"
#include "room_json.h"
#include "session.h"
#include "src/log.h"

struct room *room_find(struct rooms *rooms, const char *id_or_code)
{
    char name[UUID_TEXT_BYTES];
    struct index_node *node;

    if (room_code_normalize(id_or_code, name)) {
        node = index_get(&rooms->rooms_by_code, name);
        return INDEX_OWNER(node, struct room, by_code);
    }
    node = uuid_normalize(id_or_code, name) ? index_get(&rooms->rooms_by_id, name) : NULL;
    return INDEX_OWNER(node, struct room, by_id);
}

struct room *room_open(struct rooms *rooms, const struct meeting_row *meeting)
{
    struct room *room = calloc(1, sizeof(*room));

    if (room == NULL || (room->title = strdup(meeting->title)) == NULL) {
        free(room);
        return NULL;
    }
    room->rooms = rooms;
    memcpy(room->id, meeting->id, sizeof(room->id));
    memcpy(room->code, meeting->room_code, sizeof(room->code));
    memcpy(room->host_id, meeting->host_id, sizeof(room->host_id));
    room->participants_max = meeting->participants_max;
    room->peak = room->peak_saved = meeting->participants_peak;
    room->active = strcmp(meeting->status, "active") == 0;
    room->active_ms = meeting->started_ms;
    if (room->active)
        room->awaited_until_ms =
            uv_now(rooms->loop) + rooms->settings->reconnect_grace_s * 1000ull + 1;
    room->worker = -1;
    room->created_ms = wall_ms();
    TAILQ_INIT(&room->participants);
    TAILQ_INIT(&room->measured);
    index_put(&rooms->rooms_by_id, &room->by_id, room->id);
    index_put(&rooms->rooms_by_code, &room->by_code, room->code);
    TAILQ_INSERT_TAIL(&rooms->all, room, link);
    return room;
}

bool room_assign_worker(struct room *room)
{
    struct dataplane *dataplane = room->rooms->dataplane;
    struct room_row row = {0};

    if (room->handle != 0)
        return dataplane_is_up(dataplane);
    room->worker = dataplane_pick_worker(dataplane, -1, 0);
    if (room->worker < 0)
        return false;
    uuid_to_bytes(room->id, row.id);
    row.created_wall_ms = (uint64_t)room->created_ms;
    row.worker = (uint32_t)room->worker;
    room->handle = dataplane_row_add(dataplane, TABLE_room, &row, row.worker);
    return room->handle != 0;
}

static void room_free(struct room *room)
{
    struct rooms *rooms = room->rooms;

    audio_levels_forget_room(room);
    index_remove(&rooms->rooms_by_id, &room->by_id);
    index_remove(&rooms->rooms_by_code, &room->by_code);
    TAILQ_REMOVE(&rooms->all, room, link);
    free(room->title);
    free(room);
}

void room_discard(struct room *room)
{
    if (!room->saving && room->handle == 0 && room->awaited_until_ms == 0)
        room_free(room);
}

bool room_is_abandoned(const struct room *room)
{
    return room->participant_count == 0 && uv_now(room->rooms->loop) >= room->awaited_until_ms;
}

/* A few with each tick: there may be thousands of them in the same moment. */
void rooms_close_abandoned(struct rooms *rooms)
{
    struct room *room, *next;
    unsigned left = 100;

    for (room = TAILQ_FIRST(&rooms->all); room != NULL && left > 0; room = next) {
        next = TAILQ_NEXT(room, link);
        if (room->closed || !room_is_abandoned(room))
            continue;
        room_close(room, false, NULL);
        left--;
    }
}

void room_close(struct room *room, bool announced, const struct session *closed_by)
{
    struct rooms *rooms = room->rooms;
    struct participant *p;

    if (room->closed)
        return;
    room->closed = true;
    room->closed_ms = wall_ms();
    if (announced)
        announce_to_room(room, NULL, NOTICE_room_closed, json_texts("roomId", room->id, NULL));
    while ((p = TAILQ_FIRST(&room->participants)) != NULL)
        participant_remove(p, DEPARTURE_GONE);
    live_room_remove(rooms->live, room->id);
    made_room_closed(rooms, room->id);
    if (room->handle != 0)
        dataplane_row_remove(rooms->dataplane, TABLE_room, room->handle, (uint32_t)room->worker);
    room->handle = 0;
    audit_write(rooms->audit, AUDIT_room_closed, closed_by ? closed_by->user_id : NULL, room->id,
                closed_by ? socket_client_ip(closed_by->socket) : NULL, "{\"peakParticipants\":%u}",
                room->peak);
    LOG(INFO, "rooms", "room closed", F("room", "%s", room->id));
    room_save(room);
}

void room_leave_to_next_run(struct room *room)
{
    struct participant *p;

    while ((p = TAILQ_FIRST(&room->participants)) != NULL)
        participant_remove(p, DEPARTURE_STOPPED);
    live_room_remove(room->rooms->live, room->id);
    if (room->handle != 0)
        dataplane_row_remove(room->rooms->dataplane, TABLE_room, room->handle,
                             (uint32_t)room->worker);
    room->handle = 0;
    room_save(room); /* the last attempt */
}

/* ---- saving the meeting's state ---- */

/* flag: what was saved, NULL when it was the peak. */
static void saved(struct room *room, enum persistence_result result, bool *flag)
{
    struct rooms *rooms = room->rooms;
    bool ok = result == PERSISTED || result == PERSISTENCE_NOT_FOUND;

    room->saving = false;
    if (ok && flag != NULL)
        *flag = true;
    if (ok && flag == NULL)
        room->peak_saved = room->peak_saving;
    if (ok)
        room_save(room);
    else if (rooms->closing)
        room_free(room); /* the next run opens it again, and closes it if nobody comes back */
    else
        LOG(WARN, "rooms", "the store did not save the state of a meeting; will retry",
            F("room", "%s", room->id));
    rooms_unref(rooms);
}

static void active_saved(void *context, enum persistence_result result)
{
    struct room *room = context;

    saved(room, result, &room->active_saved);
}

static void closed_saved(void *context, enum persistence_result result)
{
    struct room *room = context;

    saved(room, result, &room->closed_saved);
}

static void peak_saved(void *context, enum persistence_result result)
{
    saved(context, result, NULL);
}

void room_save(struct room *room)
{
    struct persistence *store = room->rooms->store;
    bool active = room->active && !room->active_saved, peak = room->peak > room->peak_saved;

    if (room->saving)
        return;
    if (!active && !peak && (room->closed ? room->closed_saved : room->rooms->closing)) {
        room_free(room);
        return;
    }
    if (!active && !peak && !room->closed)
        return;
    room->saving = true;
    rooms_ref(room->rooms);
    if (active) {
        meeting_set_active(store, room->id, room->active_ms, active_saved, room);
    } else if (peak) {
        room->peak_saving = room->peak;
        meeting_raise_peak(store, room->id, room->peak, peak_saved, room);
    } else {
        meeting_set_closed(store, room->id, room->closed_ms, closed_saved, room);
    }
}
