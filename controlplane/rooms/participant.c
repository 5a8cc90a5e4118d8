/* Participants: they join, lose their socket, come back, and leave. */
#include "participant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "controlplane/web/json.h"
#include "live_state.h"
#include "registry.h"
#include "room.h"
#include "room_json.h"
#include "session.h"
#include "transport.h"

struct participant *participant_find(const struct room *room, const char *user_id)
{
    char key[UUID_TEXT_BYTES];
    struct participant *p;

    uuid_normalize(user_id, key);
    TAILQ_FOREACH(p, &room->participants, link)
    {
        if (strcmp(p->user_id, key) == 0)
            return p;
    }
    return NULL;
}

/* Moves what the participant has to the address that it has now. */
static void owner_move(struct participant *p, const struct session *session)
{
    const uint32_t counts[QUOTA_COUNT] = {[QUOTA_seats] = 1,
                                          [QUOTA_transports] = p->transport_count,
                                          [QUOTA_producers] = p->producer_count,
                                          [QUOTA_consumers] = p->consumer_count};
    struct rooms *rooms = p->room->rooms;
    struct owner now;

    if (!owner_open(rooms, &now, p->user_id, socket_client_ip(session->socket)))
        return; /* no memory: it counts where it counted */
    for (int quota = 0; quota < QUOTA_COUNT; quota++) {
        quota_give_back(&p->owner, quota, counts[quota]);
        quota_put(&now, quota, counts[quota]);
    }
    owner_close(rooms, &p->owner);
    p->owner = now;
}

void participant_attach(struct participant *p, struct session *session)
{
    owner_move(p, session);
    p->session = session;
    memcpy(p->display_name, session->display_name, sizeof(p->display_name));
    strncpy(p->socket_id, socket_id(session->socket), sizeof(p->socket_id) - 1);
    strncpy(p->ip, socket_client_ip(session->socket), sizeof(p->ip) - 1);
    LIST_INSERT_HEAD(&session->participants, p, session_link);
    session->participant_count++;
}

void participant_detach(struct participant *p)
{
    LIST_REMOVE(p, session_link);
    p->session->participant_count--;
    p->session = NULL;
}

struct participant *participant_new(struct room *room, struct session *session, enum role role,
                                    char why[QUOTA_WHY_BYTES])
{
    struct participant *p = calloc(1, sizeof(*p));
    const char *ip = socket_client_ip(session->socket);

    snprintf(why, QUOTA_WHY_BYTES, "no memory");
    if (p == NULL || !owner_open(room->rooms, &p->owner, session->user_id, ip)) {
        free(p);
        return NULL;
    }
    if (!quota_take(room->rooms, &p->owner, QUOTA_seats, why)) {
        owner_close(room->rooms, &p->owner);
        free(p);
        return NULL;
    }
    p->room = room;
    p->role = role;
    p->joined_ms = wall_ms();
    memcpy(p->user_id, session->user_id, sizeof(p->user_id));
    TAILQ_INIT(&p->transports);
    participant_attach(p, session);
    TAILQ_INSERT_TAIL(&room->participants, p, link);
    room->participant_count++;
    return p;
}

/* ---- absence ---- */

void participant_begin_absence(struct participant *p)
{
    struct rooms *rooms = p->room->rooms;

    participant_detach(p);
    if (rooms->settings->reconnect_grace_s == 0) {
        participant_remove(p, DEPARTURE_GONE);
        return;
    }
    p->grace_until_ms = uv_now(rooms->loop) + rooms->settings->reconnect_grace_s * 1000ull;
    TAILQ_INSERT_TAIL(&rooms->absent, p, absent_link);
}

void participant_end_absence(struct participant *p, struct session *session)
{
    TAILQ_REMOVE(&p->room->rooms->absent, p, absent_link);
    p->grace_until_ms = 0;
    participant_attach(p, session);
}

void participants_remove_overdue(struct rooms *rooms)
{
    uint64_t now_ms = uv_now(rooms->loop);
    struct participant *p, *next;

    for (p = TAILQ_FIRST(&rooms->absent); p != NULL; p = next) {
        next = TAILQ_NEXT(p, absent_link);
        if (now_ms < p->grace_until_ms)
            continue;
        participant_remove(p, DEPARTURE_GONE);
        /* This may have closed the room and removed more participants from the list. So start from
         * the first one again. */
        next = TAILQ_FIRST(&rooms->absent);
    }
}

/* ---- departure ---- */

void participant_remove(struct participant *p, enum departure how)
{
    static const char *const reasons[] = {"left", "kicked", "gone", "stopped", "cut"};
    struct room *room = p->room;
    bool ends = room->closed || room->rooms->closing; /* the others need not be told */
    cJSON *value;

    transports_close_all(p, !ends);
    live_state_remove_participant(p);
    if (p->session != NULL)
        participant_detach(p);
    else if (p->grace_until_ms != 0)
        TAILQ_REMOVE(&room->rooms->absent, p, absent_link);
    TAILQ_REMOVE(&room->participants, p, link);
    room->participant_count--;
    if (!ends) {
        value = json_texts("userId", p->user_id, NULL);
        if (how == DEPARTURE_KICKED)
            cJSON_AddTrueToObject(value, "kicked");
        json_add(value, "participants", participants_json(room));
        announce_to_room(room, NULL, NOTICE_user_left, value);
    }
    if (how != DEPARTURE_KICKED) /* room:kick has written user_kicked instead */
        audit_write(room->rooms->audit, AUDIT_user_left, p->user_id, room->id, p->ip,
                    "{\"reason\":\"%s\"}", room->closed ? "room closed" : reasons[how]);
    quota_give_back(&p->owner, QUOTA_seats, 1);
    owner_close(room->rooms, &p->owner);
    free(p);
    if (!ends && room_is_abandoned(room))
        room_close(room, false, NULL);
}
