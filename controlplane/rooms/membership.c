/* Who is in a room: create, join, leave, close, kick, mute all, roles. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/validate.h"
#include "src/log.h"
#include "state.h"

/* ---- participants ---- */

struct participant *participant_find(const struct room *room, const char *user_id)
{
    struct participant *p;

    TAILQ_FOREACH(p, &room->participants, link)
    {
        if (strcmp(p->user_id, user_id) == 0)
            return p;
    }
    return NULL;
}

static void attach(struct participant *p, struct session *session)
{
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

static struct participant *participant_new(struct room *room, struct session *session,
                                           enum role role)
{
    struct participant *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->room = room;
    p->role = role;
    p->joined_ms = wall_ms();
    memcpy(p->user_id, session->user_id, sizeof(p->user_id));
    TAILQ_INIT(&p->transports);
    attach(p, session);
    TAILQ_INSERT_TAIL(&room->participants, p, link);
    room->participant_count++;
    return p;
}

void participant_remove(struct participant *p, enum departure how)
{
    static const char *const reasons[] = {"left", "kicked", "replaced", "gone", "cut"};
    struct room *room = p->room;
    cJSON *value;

    media_close_all(p, !room->closed);
    live_state_remove_participant(p);
    if (p->session != NULL)
        participant_detach(p);
    else if (p->grace_until_ms != 0)
        TAILQ_REMOVE(&room->rooms->absent, p, absent_link);
    TAILQ_REMOVE(&room->participants, p, link);
    room->participant_count--;
    if (!room->closed) {
        value = json_texts("userId", p->user_id, NULL);
        if (how == KICKED)
            cJSON_AddTrueToObject(value, "kicked");
        cJSON_AddItemToObject(value, "participants", participants_json(room));
        announce_to_room(room, NULL, NOTICE_user_left, value);
    }
    if (how != KICKED) /* that one is audited with who did it */
        audit_write(room->rooms->audit, AUDIT_user_left, p->user_id, room->id, p->ip,
                    "{\"reason\":\"%s\"}", room->closed ? "room closed" : reasons[how]);
    free(p);
    if (room->participant_count == 0 && how != REPLACED)
        room_close(room, false, NULL);
}

/* ---- create ---- */

struct pending_room {
    struct meeting_row meeting;
    int attempts;
};

static void created(void *context, enum persistence_result result)
{
    struct request *request = context;
    struct pending_room *pending_room = request->data;
    bool logged = false;

    if (result == PERSISTENCE_DUPLICATE && ++pending_room->attempts < 5) {
        uuid_make(pending_room->meeting.id);
        room_code_make(pending_room->meeting.room_code);
        meeting_insert(request->rooms->store, &pending_room->meeting, created, request);
        return;
    }
    if (result == PERSISTED)
        logged =
            audit_write(request->rooms->audit, AUDIT_room_created, pending_room->meeting.host_id,
                        pending_room->meeting.id, socket_client_ip(request->socket),
                        "{\"roomCode\":\"%s\",\"maxParticipants\":%u}",
                        pending_room->meeting.room_code, pending_room->meeting.participants_max);
    if (request_resume(request)) {
        if (logged)
            request_succeed(request, json_texts("roomId", pending_room->meeting.id, "roomCode",
                                                pending_room->meeting.room_code, NULL));
        else
            request_fail(request, ERROR_unavailable);
    }
    request_drop(request);
}

void handle_room_create(struct request *request)
{
    uint32_t cap = request->rooms->settings->room_participants_max;
    struct pending_room *pending_room = calloc(1, sizeof(*pending_room));
    cJSON *errors = cJSON_CreateArray();
    struct request *later = NULL;

    if (pending_room == NULL || errors == NULL || request->rooms->draining) {
        request_fail(request, ERROR_unavailable);
    } else if (!validate_line(request->payload, "title", 255, pending_room->meeting.title,
                              sizeof(pending_room->meeting.title), errors) ||
               !validate_count(request->payload, "maxParticipants", 2, cap, cap,
                               &pending_room->meeting.participants_max, errors)) {
        const char *why = cJSON_GetStringValue(cJSON_GetArrayItem(errors, 0));

        request_fail_because(request, ERROR_invalid_payload, "%s", why != NULL ? why : "title");
    } else {
        later = request_defer(request);
        if (later == NULL)
            request_fail(request, ERROR_unavailable);
    }
    cJSON_Delete(errors);
    if (later == NULL) {
        free(pending_room);
        return;
    }
    later->data = pending_room;
    uuid_make(pending_room->meeting.id);
    room_code_make(pending_room->meeting.room_code);
    memcpy(pending_room->meeting.host_id, request->session->user_id, UUID_TEXT_BYTES);
    strcpy(pending_room->meeting.status, "waiting");
    pending_room->meeting.created_ms = pending_room->meeting.updated_ms = wall_ms();
    meeting_insert(request->rooms->store, &pending_room->meeting, created, later);
}

/* ---- join ---- */

static cJSON *existing_producers(const struct room *room, const struct participant *except)
{
    cJSON *list = cJSON_CreateArray();
    const struct transport *transport;
    const struct producer *producer;
    const struct participant *p;

    TAILQ_FOREACH(p, &room->participants, link)
    {
        TAILQ_FOREACH(transport, &p->transports, link)
        {
            TAILQ_FOREACH(producer, &transport->producers, link)
            {
                cJSON *item;

                if (p == except)
                    continue;
                item = json_texts("producerId", producer->id, "userId", p->user_id, "kind",
                                  producer->ortc.row.kind == MEDIA_KIND_audio ? "audio" : "video",
                                  NULL);
                cJSON_AddItemToObject(item, "appData", cJSON_Duplicate(producer->app_data, true));
                cJSON_AddBoolToObject(item, "paused", producer->ortc.row.paused);
                cJSON_AddItemToArray(list, item);
            }
        }
    }
    return list;
}

static cJSON *join_answer(const struct participant *p)
{
    const struct room *room = p->room;
    cJSON *answer =
        json_texts("roomId", room->id, "roomCode", room->code, "role", role_text(p->role), NULL);

    cJSON_AddItemToObject(answer, "participants", participants_json(room));
    cJSON_AddItemToObject(answer, "rtpCapabilities",
                          cJSON_CreateRaw(room->rooms->capabilities_text));
    cJSON_AddItemToObject(answer, "existingProducers", existing_producers(room, p));
    cJSON_AddItemToObject(answer, "iceServers", ice_servers(room->rooms, p->user_id));
    return answer;
}

/* What somebody who resumes still has. */
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
        cJSON_AddItemToArray(
            transports, json_texts("id", t->id, "direction",
                                   t->row.direction == DIRECTION_send ? "send" : "recv", NULL));
        TAILQ_FOREACH(producer, &t->producers, link)
        {
            item =
                json_texts("id", producer->id, "kind",
                           producer->ortc.row.kind == MEDIA_KIND_audio ? "audio" : "video", NULL);
            cJSON_AddBoolToObject(item, "paused", producer->ortc.row.paused);
            cJSON_AddItemToArray(producers, item);
        }
        TAILQ_FOREACH(consumer, &t->consumers, of_transport)
        {
            item = json_texts("id", consumer->id, "producerId", consumer->producer->id, "kind",
                              consumer->row.kind == MEDIA_KIND_audio ? "audio" : "video", NULL);
            cJSON_AddBoolToObject(item, "paused", consumer->row.paused);
            cJSON_AddItemToArray(consumers, item);
        }
    }
}

static void announce_replaced(struct participant *p)
{
    announce(p, NOTICE_user_kicked, json_texts("roomId", p->room->id, "reason", "replaced", NULL));
}

/* The same person on a new socket: seat and media go over to it. */
static void take_over(struct request *request, struct participant *p)
{
    struct session *old = p->session;
    cJSON *answer;

    if (old != NULL) {
        announce_replaced(p);
        participant_detach(p);
    } else {
        TAILQ_REMOVE(&request->rooms->absent, p, absent_link);
        p->grace_until_ms = 0;
    }
    attach(p, request->session);
    live_state_put_participant(p);
    audit_write(request->rooms->audit, AUDIT_user_joined, p->user_id, p->room->id, p->ip,
                "{\"role\":\"%s\",\"resumed\":true}", role_text(p->role));
    answer = join_answer(p);
    add_resumed_media(answer, p);
    request_succeed(request, answer);
    if (old != NULL)
        socket_disconnect(old->socket);
}

/* What room:join may ask for. */
struct join_options {
    bool resume, levels;
};

static void join(struct request *request, struct room *room, struct join_options options)
{
    uint32_t cap = request->rooms->settings->room_participants_max;
    struct participant *p = participant_find(room, request->session->user_id);
    enum role role = ROLE_PARTICIPANT;
    bool replaced = p != NULL;
    cJSON *value;

    if (room->closed) {
        request_fail(request, ERROR_room_closed);
        return;
    }
    if (p != NULL && p->session == request->session) { /* asked twice: told twice */
        p->wants_audio_levels = options.levels;
        request_succeed(request, join_answer(p));
        return;
    }
    if (request->session->participant_count >= ROOMS_PER_SOCKET_MAX) {
        request_fail_because(request, ERROR_limit_reached, "%d rooms for one socket",
                             ROOMS_PER_SOCKET_MAX);
        return;
    }
    if (p != NULL && options.resume) {
        p->wants_audio_levels = options.levels;
        take_over(request, p);
        return;
    }
    if (p != NULL) {
        role = p->role;
        announce_replaced(p);
        participant_remove(p, REPLACED);
    }
    if (room->participants_max < cap)
        cap = room->participants_max;
    if (room->participant_count >= cap) {
        request_fail(request, ERROR_room_full);
        return;
    }
    if (strcmp(room->host_id, request->session->user_id) == 0)
        role = ROLE_HOST;
    p = participant_new(room, request->session, role);
    if (p == NULL) {
        request_fail(request, ERROR_unavailable);
        if (replaced && room->participant_count == 0)
            room_close(room, false, NULL);
        return;
    }
    p->wants_audio_levels = options.levels;
    if (role == ROLE_HOST && !room->active) {
        room->active = true;
        room->active_ms = p->joined_ms;
    }
    if (room->participant_count > room->peak)
        room->peak = room->participant_count;
    live_state_put_room(room);
    live_state_put_participant(p);
    room_save(room);
    room_assign_worker(room); /* when the data plane is down, createTransport tries again */
    audit_write(request->rooms->audit, AUDIT_user_joined, p->user_id, room->id, p->ip,
                "{\"role\":\"%s\"}", role_text(role));
    value = json_texts("userId", p->user_id, "displayName", p->display_name, "role",
                       role_text(role), NULL);
    cJSON_AddItemToObject(value, "participants", participants_json(room));
    announce_to_room(room, p, NOTICE_user_joined, value);
    value = join_answer(p);
    if (options.resume)
        cJSON_AddFalseToObject(value, "resumed");
    request_succeed(request, value);
    if (room->dominant != NULL)
        announce(p, NOTICE_active_speaker, active_speaker_json(room));
}

/* A join that waits for the store. */
struct pending_join {
    struct join_options options;
    char at[UUID_TEXT_BYTES]; /* room id or code */
};

static void meeting_found(void *context, enum persistence_result result,
                          const struct meeting_row *meeting)
{
    struct request *request = context;
    struct pending_join *pending_join = request->data;
    struct room *room;

    if (!request_resume(request)) {
        request_drop(request);
        return;
    }
    /* Others may have opened, or even closed, it while the store was asked; then it does not matter that
     * the store had no time for this one of many who came at once. */
    room = room_find(request->rooms, pending_join->at);
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
            join(request, room, pending_join->options);
        if (room != NULL && room->participant_count == 0 && !room->closed)
            room_discard(room);
    }
    request_drop(request);
}

void handle_room_join(struct request *request)
{
    struct join_options options = {.resume = payload_flag(request->payload, "resume"),
                                   .levels = payload_flag(request->payload, "audioLevels")};
    struct pending_join *pending_join;
    const char *id = payload_text(request->payload, "roomId");
    struct room *room = room_find(request->rooms, id);
    char code[ROOM_CODE_BYTES] = "";
    struct request *later;
    size_t i;

    if (room != NULL) {
        join(request, room, options);
        return;
    }
    if (request->rooms->draining) {
        request_fail(request, ERROR_unavailable);
        return;
    }
    later = request_defer(request);
    pending_join = calloc(1, sizeof(*pending_join));
    if (later == NULL || pending_join == NULL) {
        request_fail(request, ERROR_unavailable);
        free(pending_join);
        if (later != NULL)
            request_drop(later);
        return;
    }
    pending_join->options = options;
    later->data = pending_join;
    if (strlen(id) == ROOM_CODE_BYTES - 1) {
        for (i = 0; i < ROOM_CODE_BYTES; i++)
            code[i] = (char)toupper((unsigned char)id[i]);
        id = code;
    }
    if (strlen(id) < sizeof(pending_join->at)) /* longer: no room has such an id */
        strcpy(pending_join->at, id);
    meeting_find(request->rooms->store, id, meeting_found, later);
}

/* ---- the others ---- */

static cJSON *success(void)
{
    cJSON *value = cJSON_CreateObject();

    cJSON_AddTrueToObject(value, "success");
    return value;
}

void handle_room_leave(struct request *request)
{
    participant_remove(request->caller, LEFT);
    request_succeed(request, success());
}

void handle_room_close(struct request *request)
{
    room_close(request->room, true, request->session);
    request_succeed(request, success());
}

void handle_room_kick(struct request *request)
{
    struct participant *target =
        participant_find(request->room, payload_text(request->payload, "targetUserId"));

    if (target == NULL) {
        request_fail(request, ERROR_user_not_found);
        return;
    }
    if (target->role == ROLE_HOST) {
        request_fail(request, ERROR_cannot_kick_host);
        return;
    }
    audit_write(request->rooms->audit, AUDIT_user_kicked, target->user_id, request->room->id,
                socket_client_ip(request->socket), "{\"by\":\"%s\"}", request->session->user_id);
    announce(target, NOTICE_user_kicked,
             json_texts("roomId", request->room->id, "reason", "kicked", NULL));
    participant_remove(target, KICKED);
    request_succeed(request, success());
}

static void mute(struct participant *p)
{
    struct transport *transport;
    struct producer *producer;

    TAILQ_FOREACH(transport, &p->transports, link)
    {
        TAILQ_FOREACH(producer, &transport->producers, link)
        {
            if (producer->ortc.row.kind == MEDIA_KIND_audio)
                producer_set_paused(producer, true);
        }
    }
    p->is_muted = true;
    live_state_put_participant(p);
}

void handle_room_mute_all(struct request *request)
{
    struct participant *p;
    uint32_t count = 0;
    cJSON *value;

    TAILQ_FOREACH(p, &request->room->participants, link)
    {
        if (p->role == ROLE_HOST)
            continue;
        mute(p);
        count++;
        announce(
            p, NOTICE_all_muted,
            json_texts("roomId", request->room->id, "mutedBy", request->session->user_id, NULL));
        audit_write(request->rooms->audit, AUDIT_user_muted, p->user_id, request->room->id,
                    socket_client_ip(request->socket), "{\"by\":\"%s\"}",
                    request->session->user_id);
    }
    audit_write(request->rooms->audit, AUDIT_all_muted, request->session->user_id,
                request->room->id, socket_client_ip(request->socket), "{\"mutedCount\":%u}", count);
    value = success();
    cJSON_AddNumberToObject(value, "mutedCount", count);
    request_succeed(request, value);
}

void handle_room_change_role(struct request *request)
{
    const char *wanted = payload_text(request->payload, "newRole");
    struct participant *target =
        participant_find(request->room, payload_text(request->payload, "targetUserId"));
    enum role role = strcmp(wanted, "co_host") == 0 ? ROLE_CO_HOST : ROLE_PARTICIPANT;

    if (role == ROLE_PARTICIPANT && strcmp(wanted, "participant") != 0) {
        request_fail_because(request, ERROR_invalid_payload,
                             "newRole is not co_host or participant");
        return;
    }
    if (target == NULL) {
        request_fail(request, ERROR_user_not_found);
        return;
    }
    if (target->role == ROLE_HOST) {
        request_fail(request, ERROR_cannot_change_host);
        return;
    }
    target->role = role;
    live_state_put_participant(target);
    audit_write(request->rooms->audit, AUDIT_role_changed, target->user_id, request->room->id,
                socket_client_ip(request->socket), "{\"by\":\"%s\",\"newRole\":\"%s\"}",
                request->session->user_id, role_text(role));
    announce_to_room(request->room, NULL, NOTICE_role_changed,
                     json_texts("userId", target->user_id, "newRole", role_text(role), NULL));
    request_succeed(request, success());
}
