/* Requests about a room: create, leave, close, kick, mute all, change a role. */
#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "controlplane/people/validate.h"
#include "controlplane/web/json.h"
#include "events.h"
#include "live_state.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "request.h"
#include "room.h"
#include "room_json.h"
#include "session.h"

/* ---- room:create ---- */

#define CREATE_ATTEMPTS_MAX 5

struct deferred_create {
    struct meeting_row meeting;
    struct made_room *made;
    int attempts;
};

static void meeting_inserted(void *context, enum persistence_result result)
{
    struct request *request = context;
    struct deferred_create *deferred = request->data;
    struct meeting_row *meeting = &deferred->meeting;
    bool logged = false;

    /* The random id or room code is already in use. */
    if (result == PERSISTENCE_DUPLICATE && ++deferred->attempts < CREATE_ATTEMPTS_MAX) {
        uuid_make(meeting->id);
        room_code_make(meeting->room_code);
        meeting_insert(request->rooms->store, meeting, meeting_inserted, request);
        return;
    }
    made_room_done(deferred->made, result == PERSISTED ? meeting->id : NULL);
    if (result == PERSISTED)
        logged = audit_write(request->rooms->audit, AUDIT_room_created, meeting->host_id,
                             meeting->id, socket_client_ip(request->socket),
                             "{\"roomCode\":\"%s\",\"maxParticipants\":%u}", meeting->room_code,
                             meeting->participants_max);
    if (request_resume(request)) {
        if (logged)
            request_succeed(
                request, json_texts("roomId", meeting->id, "roomCode", meeting->room_code, NULL));
        else
            request_fail(request, ERROR_unavailable);
    }
    request_drop(request);
}

/* Reads the payload into the meeting; answers the request and
 * returns false when it is not valid. */
static bool read_payload(struct request *request, struct meeting_row *meeting)
{
    uint32_t most = request->rooms->settings->room_participants_max;
    cJSON *errors = json_new_array();
    bool valid = validate_line(request->payload, "title", 255, meeting->title,
                               sizeof(meeting->title), errors) &&
                 validate_count(request->payload, "maxParticipants", 2, most, most,
                                &meeting->participants_max, errors);

    if (!valid) {
        const char *why = cJSON_GetStringValue(cJSON_GetArrayItem(errors, 0));

        request_fail_because(request, ERROR_invalid_payload, "%s", why != NULL ? why : "title");
    }
    cJSON_Delete(errors);
    return valid;
}

void handle_room_create(struct request *request)
{
    struct deferred_create *deferred = calloc(1, sizeof(*deferred));
    struct request *later = NULL;
    struct meeting_row *meeting;
    char why[QUOTA_WHY_BYTES];

    if (deferred == NULL || request->rooms->draining) {
        request_fail(request, ERROR_unavailable);
    } else if (read_payload(request, &deferred->meeting)) {
        deferred->made = made_room_new(request->rooms, request->session->user_id,
                                       socket_client_ip(request->socket), why);
        if (deferred->made == NULL)
            request_fail_because(request, ERROR_limit_reached, "%s", why);
        else if ((later = request_defer(request)) == NULL)
            request_fail(request, ERROR_unavailable);
    }
    if (later == NULL) {
        if (deferred != NULL && deferred->made != NULL)
            made_room_done(deferred->made, NULL);
        free(deferred);
        return;
    }
    later->data = deferred;
    meeting = &deferred->meeting;
    uuid_make(meeting->id);
    room_code_make(meeting->room_code);
    memcpy(meeting->host_id, request->session->user_id, UUID_TEXT_BYTES);
    strcpy(meeting->status, "waiting");
    meeting->created_ms = meeting->updated_ms = wall_ms();
    meeting_insert(request->rooms->store, meeting, meeting_inserted, later);
}

/* ---- leave, close, kick ---- */

void handle_room_leave(struct request *request)
{
    participant_remove(request->participant, DEPARTURE_LEFT);
    request_succeed_flag(request, "success");
}

void handle_room_close(struct request *request)
{
    room_close(request->room, true, request->session);
    request_succeed_flag(request, "success");
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
    announce_to_participant(target, NOTICE_user_kicked,
                            json_texts("roomId", request->room->id, "reason", "kicked", NULL));
    participant_remove(target, DEPARTURE_KICKED);
    request_succeed_flag(request, "success");
}

/* ---- room:muteAll ---- */

void handle_room_mute_all(struct request *request)
{
    struct participant *p;
    uint32_t count = 0;
    cJSON *value;

    TAILQ_FOREACH(p, &request->room->participants, link)
    {
        if (p->role == ROLE_HOST)
            continue;
        producers_pause_audio(p);
        p->is_muted = true;
        live_state_put_participant(p);
        count++;
        announce_to_participant(
            p, NOTICE_all_muted,
            json_texts("roomId", request->room->id, "mutedBy", request->session->user_id, NULL));
        audit_write(request->rooms->audit, AUDIT_user_muted, p->user_id, request->room->id,
                    socket_client_ip(request->socket), "{\"by\":\"%s\"}",
                    request->session->user_id);
    }
    audit_write(request->rooms->audit, AUDIT_all_muted, request->session->user_id,
                request->room->id, socket_client_ip(request->socket), "{\"mutedCount\":%u}", count);
    value = json_new_object();
    cJSON_AddTrueToObject(value, "success");
    cJSON_AddNumberToObject(value, "mutedCount", count);
    request_succeed(request, value);
}

/* ---- room:changeRole ---- */

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
    request_succeed_flag(request, "success");
}
