/* room:join: joins a room, or comes back to it on a new socket. */
#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "audio_levels.h"
#include "consumer.h"
#include "controlplane/web/json.h"
#include "events.h"
#include "ice_servers.h"
#include "live_state.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "request.h"
#include "room.h"
#include "room_json.h"
#include "session.h"
#include "transport.h"

struct join_options {
    bool resume, wants_audio_levels;
};

/* ---- the acknowledgement ---- */

static cJSON *existing_producers(const struct room *room, const struct participant *except)
{
    cJSON *list = json_new_array();
    const struct transport *transport;
    const struct producer *producer;
    const struct participant *p;

    TAILQ_FOREACH(p, &room->participants, link)
    {
        if (p == except)
            continue;
        TAILQ_FOREACH(transport, &p->transports, link)
        {
            TAILQ_FOREACH(producer, &transport->producers, link)
            {
                cJSON *item = json_texts("producerId", producer->id, "userId", p->user_id, "kind",
                                         kind_text(producer->ortc.row.kind), NULL);

                json_add(item, "appData", cJSON_CreateRaw(producer->app_data));
                cJSON_AddBoolToObject(item, "paused", producer->ortc.row.paused);
                json_push(list, item);
            }
        }
    }
    return list;
}

static cJSON *join_answer(const struct participant *p)
{
    const struct room *room = p->room;
    const struct rooms *rooms = room->rooms;
    cJSON *answer =
        json_texts("roomId", room->id, "roomCode", room->code, "role", role_text(p->role), NULL);

    json_add(answer, "participants", participants_json(room));
    json_add(answer, "rtpCapabilities", cJSON_CreateRaw(rooms->capabilities_text));
    json_add(answer, "existingProducers", existing_producers(room, p));
    json_add(answer, "iceServers", ice_servers(rooms->settings, p->user_id));
    return answer;
}

/* What the client chose, and what it may have missed while it was away. */
static void add_choices(cJSON *item, const struct consumer *consumer)
{
    cJSON_AddNumberToObject(item, "priority", consumer->row.priority);
    json_add(item, "preferredLayers", preferred_layers_json(consumer));
    json_add(item, "layers", current_layers_json(consumer));
    json_add(item, "score", consumer_score_json(consumer));
}

/* Adds the transports, producers and consumers that a participant still has after it came back. */
static void add_resumed_media(cJSON *answer, const struct participant *p)
{
    cJSON *transports, *producers, *consumers, *item;
    const struct transport *t;
    const struct producer *producer;
    const struct consumer *consumer;

    cJSON_AddTrueToObject(answer, "resumed");
    transports = cJSON_AddArrayToObject(answer, "transports");
    producers = cJSON_AddArrayToObject(answer, "producers");
    consumers = cJSON_AddArrayToObject(answer, "consumers");
    TAILQ_FOREACH(t, &p->transports, link)
    {
        json_push(transports, json_texts("id", t->id, "direction", direction_text(t), NULL));
        TAILQ_FOREACH(producer, &t->producers, link)
        {
            item = json_texts("id", producer->id, "kind", kind_text(producer->ortc.row.kind), NULL);
            cJSON_AddBoolToObject(item, "paused", producer->ortc.row.paused);
            json_push(producers, item);
        }
        TAILQ_FOREACH(consumer, &t->consumers, of_transport)
        {
            item = json_texts("id", consumer->id, "producerId", consumer->producer->id, "kind",
                              kind_text(consumer->row.kind), NULL);
            cJSON_AddBoolToObject(item, "paused", consumer->row.paused);
            add_choices(item, consumer);
            json_push(consumers, item);
        }
    }
}

/* ---- joining ---- */

static void announce_replaced(struct participant *p)
{
    announce_to_participant(p, NOTICE_user_kicked,
                            json_texts("roomId", p->room->id, "reason", "replaced", NULL));
}

/* Moves the participant to the new socket of the same user. The others are not told: for them
 * nobody left and nobody came. */
static void move(struct participant *p, struct session *session)
{
    if (p->session != NULL) {
        participant_detach(p);
        participant_attach(p, session);
    } else {
        participant_end_absence(p, session);
    }
    live_state_put_participant(p);
}

/* The new socket takes over the participant with its media. */
static void resume(struct request *request, struct participant *p)
{
    struct session *old = p->session;
    cJSON *answer;

    if (old != NULL)
        announce_replaced(p);
    move(p, request->session);
    audit_write(request->rooms->audit, AUDIT_user_joined, p->user_id, p->room->id, p->ip,
                "{\"role\":\"%s\",\"resumed\":true}", role_text(p->role));
    answer = join_answer(p);
    add_resumed_media(answer, p);
    request_succeed(request, answer);
    if (old != NULL)
        socket_disconnect(old->socket);
}

/* The new socket takes over the participant, but begins without media. */
static void replace(struct request *request, struct participant *p)
{
    announce_replaced(p);
    transports_close_all(p, true);
    p->is_muted = p->is_video_off = false;
    move(p, request->session);
    audit_write(request->rooms->audit, AUDIT_user_joined, p->user_id, p->room->id, p->ip,
                "{\"role\":\"%s\",\"replaced\":true}", role_text(p->role));
    request_succeed(request, join_answer(p));
    if (p->room->dominant != NULL)
        announce_to_participant(p, NOTICE_active_speaker, active_speaker_json(p->room));
}

/* Records that p joined, tells the others, and acknowledges. */
static void finish_join(struct request *request, struct participant *p, bool asked_to_resume)
{
    struct room *room = p->room;
    cJSON *value;

    if (p->role == ROLE_HOST && !room->active) {
        room->active = true;
        room->active_ms = p->joined_ms;
    }
    if (room->participant_count > room->peak)
        room->peak = room->participant_count;
    live_state_put_room(room);
    live_state_put_participant(p);
    room_save(room);
    room_assign_worker(room); /* if the data plane is down, media:createTransport tries again */
    audit_write(request->rooms->audit, AUDIT_user_joined, p->user_id, room->id, p->ip,
                "{\"role\":\"%s\"}", role_text(p->role));
    value = json_texts("userId", p->user_id, "displayName", p->display_name, "role",
                       role_text(p->role), NULL);
    json_add(value, "participants", participants_json(room));
    announce_to_room(room, p, NOTICE_user_joined, value);
    value = join_answer(p);
    if (asked_to_resume)
        cJSON_AddFalseToObject(value, "resumed");
    request_succeed(request, value);
    if (room->dominant != NULL)
        announce_to_participant(p, NOTICE_active_speaker, active_speaker_json(room));
}

/* Joins as a new participant. */
static void join_anew(struct request *request, struct room *room, struct join_options options)
{
    uint32_t most = request->rooms->settings->room_participants_max;
    bool is_host = strcmp(room->host_id, request->session->user_id) == 0;
    struct participant *p;
    char why[QUOTA_WHY_BYTES];

    if (room->participants_max < most)
        most = room->participants_max;
    if (room->participant_count >= most) {
        request_fail(request, ERROR_room_full);
        return;
    }
    p = participant_new(room, request->session, is_host ? ROLE_HOST : ROLE_PARTICIPANT, why);
    if (p == NULL) {
        request_fail_because(request, ERROR_limit_reached, "%s", why);
        return;
    }
    p->wants_audio_levels = options.wants_audio_levels;
    finish_join(request, p, options.resume);
}

static void join(struct request *request, struct room *room, struct join_options options)
{
    struct participant *p = participant_find(room, request->session->user_id);

    if (room->closed) {
        request_fail(request, ERROR_room_closed);
        return;
    }
    if (p != NULL && p->session == request->session) { /* this socket has already joined */
        p->wants_audio_levels = options.wants_audio_levels;
        request_succeed(request, join_answer(p));
        return;
    }
    if (request->session->participant_count >= ROOMS_PER_SOCKET_MAX) {
        request_fail_because(request, ERROR_limit_reached, "%d rooms for one socket",
                             ROOMS_PER_SOCKET_MAX);
        return;
    }
    if (p == NULL) {
        join_anew(request, room, options);
        return;
    }
    p->wants_audio_levels = options.wants_audio_levels;
    if (options.resume)
        resume(request, p);
    else
        replace(request, p);
}

/* ---- a room that is not open yet: the store is asked for the meeting ---- */

struct deferred_join {
    struct join_options options;
    char room[UUID_TEXT_BYTES]; /* room id or room code */
};

static void meeting_found(void *context, enum persistence_result result,
                          const struct meeting_row *meeting)
{
    struct request *request = context;
    struct deferred_join *deferred = request->data;
    struct room *room;

    if (!request_resume(request)) {
        request_drop(request);
        return;
    }
    /* Another request may have opened the room in the meantime. Then this one joins it even if the
     * store was too busy to answer it. */
    room = room_find(request->rooms, result == PERSISTED ? meeting->id : deferred->room);
    if (result == PERSISTENCE_NOT_FOUND) {
        request_fail(request, ERROR_room_not_found);
    } else if (result != PERSISTED && room == NULL) {
        request_fail(request, ERROR_unavailable);
    } else {
        if (room == NULL && strcmp(meeting->status, "closed") == 0)
            request_fail(request, ERROR_room_closed);
        else if (room == NULL && (room = room_open(request->rooms, meeting)) == NULL)
            request_fail(request, ERROR_unavailable);
        else
            join(request, room, deferred->options);
        if (room != NULL && room->participant_count == 0 && !room->closed)
            room_discard(room);
    }
    request_drop(request);
}

static void join_after_lookup(struct request *request, const char *id, struct join_options options)
{
    struct request *later = request_defer(request);
    struct deferred_join *deferred = calloc(1, sizeof(*deferred));

    if (later == NULL || deferred == NULL) {
        request_fail(request, ERROR_unavailable);
        free(deferred);
        if (later != NULL)
            request_drop(later);
        return;
    }
    deferred->options = options;
    later->data = deferred;
    room_name_normalize(id, deferred->room);
    meeting_find(request->rooms->store, deferred->room, meeting_found, later);
}

void handle_room_join(struct request *request)
{
    struct join_options options = {.resume = payload_flag(request->payload, "resume"),
                                   .wants_audio_levels =
                                       payload_flag(request->payload, "audioLevels")};
    const char *id = payload_text(request->payload, "roomId");
    struct room *room = room_find(request->rooms, id);

    if (room != NULL)
        join(request, room, options);
    else if (request->rooms->draining)
        request_fail(request, ERROR_unavailable);
    else
        join_after_lookup(request, id, options);
}
