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
    participant_unmirror(p);
    if (p->session != NULL)
        participant_detach(p);
    else if (p->grace_until_ms != 0)
        TAILQ_REMOVE(&room->rooms->ghosts, p, ghost_link);
    TAILQ_REMOVE(&room->participants, p, link);
    room->participant_count--;
    if (!room->closed) {
        value = json_texts("userId", p->user_id, NULL);
        if (how == KICKED)
            cJSON_AddTrueToObject(value, "kicked");
        cJSON_AddItemToObject(value, "participants", participants_json(room));
        tell_room(room, NULL, NOTICE_user_left, value);
    }
    if (how != KICKED) /* that one is audited with who did it */
        audit_write(room->rooms->audit, AUDIT_user_left, p->user_id, room->id, p->ip,
                    "{\"reason\":\"%s\"}", room->closed ? "room closed" : reasons[how]);
    free(p);
    if (room->participant_count == 0 && how != REPLACED)
        room_shut(room, false, NULL);
}

/* ---- create ---- */

struct creation {
    struct meeting_row meeting;
    int attempts;
};

static void created(void *context, enum persistence_result result)
{
    struct call *call = context;
    struct creation *creation = call->data;
    bool logged = false;

    if (result == PERSISTENCE_DUPLICATE && ++creation->attempts < 5) {
        uuid_make(creation->meeting.id);
        room_code_make(creation->meeting.room_code);
        meeting_insert(call->rooms->store, &creation->meeting, created, call);
        return;
    }
    if (result == PERSISTED)
        logged = audit_write(call->rooms->audit, AUDIT_room_created, creation->meeting.host_id,
                             creation->meeting.id, socket_client_ip(call->socket),
                             "{\"roomCode\":\"%s\",\"maxParticipants\":%u}",
                             creation->meeting.room_code, creation->meeting.participants_max);
    if (call_resume(call)) {
        if (logged)
            call_succeed(call, json_texts("roomId", creation->meeting.id, "roomCode",
                                          creation->meeting.room_code, NULL));
        else
            call_fail(call, ERROR_unavailable);
    }
    call_drop(call);
}

void handle_room_create(struct call *call)
{
    uint32_t cap = call->rooms->settings->room_participants_max;
    struct creation *creation = calloc(1, sizeof(*creation));
    cJSON *errors = cJSON_CreateArray();
    struct call *later = NULL;

    if (creation == NULL || errors == NULL || call->rooms->draining) {
        call_fail(call, ERROR_unavailable);
    } else if (!validate_line(call->payload, "title", 255, creation->meeting.title,
                              sizeof(creation->meeting.title), errors) ||
               !validate_count(call->payload, "maxParticipants", 2, cap, cap,
                               &creation->meeting.participants_max, errors)) {
        const char *why = cJSON_GetStringValue(cJSON_GetArrayItem(errors, 0));

        call_fail_because(call, ERROR_invalid_payload, "%s", why != NULL ? why : "title");
    } else {
        later = call_defer(call);
        if (later == NULL)
            call_fail(call, ERROR_unavailable);
    }
    cJSON_Delete(errors);
    if (later == NULL) {
        free(creation);
        return;
    }
    later->data = creation;
    uuid_make(creation->meeting.id);
    room_code_make(creation->meeting.room_code);
    memcpy(creation->meeting.host_id, call->session->user_id, UUID_TEXT_BYTES);
    strcpy(creation->meeting.status, "waiting");
    creation->meeting.created_ms = creation->meeting.updated_ms = wall_ms();
    meeting_insert(call->rooms->store, &creation->meeting, created, later);
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
static void add_seat(cJSON *answer, const struct participant *p)
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

static void tell_replaced(struct participant *p)
{
    tell(p, NOTICE_user_kicked, json_texts("roomId", p->room->id, "reason", "replaced", NULL));
}

/* The same person on a new socket: seat and media go over to it. */
static void take_over(struct call *call, struct participant *p)
{
    struct session *old = p->session;
    cJSON *answer;

    if (old != NULL) {
        tell_replaced(p);
        participant_detach(p);
    } else {
        TAILQ_REMOVE(&call->rooms->ghosts, p, ghost_link);
        p->grace_until_ms = 0;
    }
    attach(p, call->session);
    participant_mirror(p);
    audit_write(call->rooms->audit, AUDIT_user_joined, p->user_id, p->room->id, p->ip,
                "{\"role\":\"%s\",\"resumed\":true}", role_text(p->role));
    answer = join_answer(p);
    add_seat(answer, p);
    call_succeed(call, answer);
    if (old != NULL)
        socket_disconnect(old->socket);
}

/* What room:join may ask for. */
struct wishes {
    bool resume, levels;
};

static void join(struct call *call, struct room *room, struct wishes wishes)
{
    uint32_t cap = call->rooms->settings->room_participants_max;
    struct participant *p = participant_find(room, call->session->user_id);
    enum role role = ROLE_PARTICIPANT;
    bool replaced = p != NULL;
    cJSON *value;

    if (room->closed) {
        call_fail(call, ERROR_room_closed);
        return;
    }
    if (p != NULL && p->session == call->session) { /* asked twice: told twice */
        p->wants_levels = wishes.levels;
        call_succeed(call, join_answer(p));
        return;
    }
    if (call->session->participant_count >= ROOMS_PER_SOCKET_MAX) {
        call_fail_because(call, ERROR_limit_reached, "%d rooms for one socket",
                          ROOMS_PER_SOCKET_MAX);
        return;
    }
    if (p != NULL && wishes.resume) {
        p->wants_levels = wishes.levels;
        take_over(call, p);
        return;
    }
    if (p != NULL) {
        role = p->role;
        tell_replaced(p);
        participant_remove(p, REPLACED);
    }
    if (room->participants_max < cap)
        cap = room->participants_max;
    if (room->participant_count >= cap) {
        call_fail(call, ERROR_room_full);
        return;
    }
    if (strcmp(room->host_id, call->session->user_id) == 0)
        role = ROLE_HOST;
    p = participant_new(room, call->session, role);
    if (p == NULL) {
        call_fail(call, ERROR_unavailable);
        if (replaced && room->participant_count == 0)
            room_shut(room, false, NULL);
        return;
    }
    p->wants_levels = wishes.levels;
    if (role == ROLE_HOST && !room->active) {
        room->active = true;
        room->active_ms = p->joined_ms;
    }
    if (room->participant_count > room->peak)
        room->peak = room->participant_count;
    room_mirror(room);
    participant_mirror(p);
    room_save(room);
    room_place(room); /* when the data plane is down, createTransport tries again */
    audit_write(call->rooms->audit, AUDIT_user_joined, p->user_id, room->id, p->ip,
                "{\"role\":\"%s\"}", role_text(role));
    value = json_texts("userId", p->user_id, "displayName", p->display_name, "role",
                       role_text(role), NULL);
    cJSON_AddItemToObject(value, "participants", participants_json(room));
    tell_room(room, p, NOTICE_user_joined, value);
    value = join_answer(p);
    if (wishes.resume)
        cJSON_AddFalseToObject(value, "resumed");
    call_succeed(call, value);
    if (room->dominant != NULL)
        tell(p, NOTICE_active_speaker, active_speaker_json(room));
}

/* A join that waits for the store. */
struct knock {
    struct wishes wishes;
    char at[UUID_TEXT_BYTES]; /* room id or code */
};

static void meeting_found(void *context, enum persistence_result result,
                          const struct meeting_row *meeting)
{
    struct call *call = context;
    struct knock *knock = call->data;
    struct room *room;

    if (!call_resume(call)) {
        call_drop(call);
        return;
    }
    /* Others may have opened, or even closed, it while the store was asked; then it does not matter that
     * the store had no time for this one of many who came at once. */
    room = room_find(call->rooms, knock->at);
    if (result == PERSISTENCE_NOT_FOUND) {
        call_fail(call, ERROR_room_not_found);
    } else if (result != PERSISTED && room == NULL) {
        call_fail(call, ERROR_unavailable);
    } else {
        if (room == NULL && strcmp(meeting->status, "closed") == 0)
            call_fail(call, ERROR_room_closed);
        else if (room == NULL && (room = room_open(call->rooms, meeting)) == NULL)
            call_fail(call, ERROR_unavailable);
        else
            join(call, room, knock->wishes);
        if (room != NULL && room->participant_count == 0 && !room->closed)
            room_forget(room);
    }
    call_drop(call);
}

void handle_room_join(struct call *call)
{
    struct wishes wishes = {.resume = payload_flag(call->payload, "resume"),
                            .levels = payload_flag(call->payload, "audioLevels")};
    struct knock *knock;
    const char *id = payload_text(call->payload, "roomId");
    struct room *room = room_find(call->rooms, id);
    char code[ROOM_CODE_BYTES] = "";
    struct call *later;
    size_t i;

    if (room != NULL) {
        join(call, room, wishes);
        return;
    }
    if (call->rooms->draining) {
        call_fail(call, ERROR_unavailable);
        return;
    }
    later = call_defer(call);
    knock = calloc(1, sizeof(*knock));
    if (later == NULL || knock == NULL) {
        call_fail(call, ERROR_unavailable);
        free(knock);
        if (later != NULL)
            call_drop(later);
        return;
    }
    knock->wishes = wishes;
    later->data = knock;
    if (strlen(id) == ROOM_CODE_BYTES - 1) {
        for (i = 0; i < ROOM_CODE_BYTES; i++)
            code[i] = (char)toupper((unsigned char)id[i]);
        id = code;
    }
    if (strlen(id) < sizeof(knock->at)) /* longer: no room has such an id */
        strcpy(knock->at, id);
    meeting_find(call->rooms->store, id, meeting_found, later);
}

/* ---- the others ---- */

static cJSON *success(void)
{
    cJSON *value = cJSON_CreateObject();

    cJSON_AddTrueToObject(value, "success");
    return value;
}

void handle_room_leave(struct call *call)
{
    participant_remove(call->caller, LEFT);
    call_succeed(call, success());
}

void handle_room_close(struct call *call)
{
    room_shut(call->room, true, call->session);
    call_succeed(call, success());
}

void handle_room_kick(struct call *call)
{
    struct participant *target =
        participant_find(call->room, payload_text(call->payload, "targetUserId"));

    if (target == NULL) {
        call_fail(call, ERROR_user_not_found);
        return;
    }
    if (target->role == ROLE_HOST) {
        call_fail(call, ERROR_cannot_kick_host);
        return;
    }
    audit_write(call->rooms->audit, AUDIT_user_kicked, target->user_id, call->room->id,
                socket_client_ip(call->socket), "{\"by\":\"%s\"}", call->session->user_id);
    tell(target, NOTICE_user_kicked,
         json_texts("roomId", call->room->id, "reason", "kicked", NULL));
    participant_remove(target, KICKED);
    call_succeed(call, success());
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
    participant_mirror(p);
}

void handle_room_mute_all(struct call *call)
{
    struct participant *p;
    uint32_t count = 0;
    cJSON *value;

    TAILQ_FOREACH(p, &call->room->participants, link)
    {
        if (p->role == ROLE_HOST)
            continue;
        mute(p);
        count++;
        tell(p, NOTICE_all_muted,
             json_texts("roomId", call->room->id, "mutedBy", call->session->user_id, NULL));
        audit_write(call->rooms->audit, AUDIT_user_muted, p->user_id, call->room->id,
                    socket_client_ip(call->socket), "{\"by\":\"%s\"}", call->session->user_id);
    }
    audit_write(call->rooms->audit, AUDIT_all_muted, call->session->user_id, call->room->id,
                socket_client_ip(call->socket), "{\"mutedCount\":%u}", count);
    value = success();
    cJSON_AddNumberToObject(value, "mutedCount", count);
    call_succeed(call, value);
}

void handle_room_change_role(struct call *call)
{
    const char *wanted = payload_text(call->payload, "newRole");
    struct participant *target =
        participant_find(call->room, payload_text(call->payload, "targetUserId"));
    enum role role = strcmp(wanted, "co_host") == 0 ? ROLE_CO_HOST : ROLE_PARTICIPANT;

    if (role == ROLE_PARTICIPANT && strcmp(wanted, "participant") != 0) {
        call_fail_because(call, ERROR_invalid_payload, "newRole is not co_host or participant");
        return;
    }
    if (target == NULL) {
        call_fail(call, ERROR_user_not_found);
        return;
    }
    if (target->role == ROLE_HOST) {
        call_fail(call, ERROR_cannot_change_host);
        return;
    }
    target->role = role;
    participant_mirror(target);
    audit_write(call->rooms->audit, AUDIT_role_changed, target->user_id, call->room->id,
                socket_client_ip(call->socket), "{\"by\":\"%s\",\"newRole\":\"%s\"}",
                call->session->user_id, role_text(role));
    tell_room(call->room, NULL, NOTICE_role_changed,
              json_texts("userId", target->user_id, "newRole", role_text(role), NULL));
    call_succeed(call, success());
}
