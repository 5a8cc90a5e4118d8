/* The REST interface. Each request: who is it, are its fields valid, ask auth or persistence,
 * answer. */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controlplane/web/http.h"
#include "controlplane/web/json.h"
#include "src/clock.h"
#include "src/log.h"
#include "uuid.h"
#include "validate.h"

#define ROOM_CODE_ATTEMPTS 5 /* there are 32^12 codes: even a second attempt is very rare */
#define UNAVAILABLE_RETRY_S 2

/* There is one HTTP server per process. */
static struct api {
    struct auth *auth;
    struct persistence *store;
    struct audit *audit;
    const struct settings *settings;
    const struct api_rooms *rooms;
    void *rooms_context;
} api;

struct room_creation {
    struct http_request *request;
    struct meeting_row meeting;
    void *ticket; /* api_rooms.creation_begin */
    unsigned attempts;
};

static void reply_later(struct http_request *request, int status, const char *message,
                        uint32_t seconds)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", seconds ? seconds : 1);
    http_reply_header(request, "Retry-After", text);
    http_reply_error(request, status, message);
}

static void reply_unavailable(struct http_request *request)
{
    reply_later(request, 503, "Service is temporarily unavailable, try again", UNAVAILABLE_RETRY_S);
}

/* Answers a request that auth did not let through. */
static void reply_refusal(struct http_request *request, enum auth_result result,
                          uint32_t retry_after_s, const char *refused)
{
    switch (result) {
    case AUTH_REFUSED:
        http_reply_header(request, "WWW-Authenticate", "Bearer");
        http_reply_error(request, 401, refused);
        break;
    case AUTH_DUPLICATE:
        http_reply_error(request, 409, "Email already registered");
        break;
    case AUTH_BUSY:
        reply_later(request, 503, "Too many logins at the moment, try again", retry_after_s);
        break;
    case AUTH_TOO_MANY_ATTEMPTS:
        reply_later(request, 429, "Too many attempts, try again later", retry_after_s);
        break;
    default:
        reply_unavailable(request);
    }
}

/* True: the fields are not valid, and the request is answered. Frees errors. */
static bool reply_if_invalid(struct http_request *request, bool valid, cJSON *errors)
{
    if (!valid && cJSON_GetArraySize(errors) > 0) {
        http_reply_errors(request, 400, errors);
        return true;
    }
    cJSON_Delete(errors);
    if (!valid) /* there was no memory for the sentences */
        http_reply_error(request, 400, "Validation failed");
    return !valid;
}

static void add_time(cJSON *object, const char *name, int64_t ms)
{
    char text[40];
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;

    if (ms == 0 || !gmtime_r(&seconds, &parts)) {
        cJSON_AddNullToObject(object, name);
        return;
    }
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + strlen(text), 8, ".%03dZ", (int)(ms % 1000));
    cJSON_AddStringToObject(object, name, text);
}

static void credentials_done(void *context, enum auth_result result, const struct user_row *user,
                             const char *token, uint32_t retry_after_s, int status)
{
    struct http_request *request = context;
    cJSON *body, *person;

    if (result != AUTH_OK) {
        reply_refusal(request, result, retry_after_s, "Invalid credentials");
        return;
    }
    body = json_new_object();
    cJSON_AddStringToObject(body, "accessToken", token);
    cJSON_AddNumberToObject(body, "expiresIn", api.settings->jwt_expiration_s);
    person = cJSON_AddObjectToObject(body, "user");
    cJSON_AddStringToObject(person, "id", user->id);
    cJSON_AddStringToObject(person, "email", user->email);
    cJSON_AddStringToObject(person, "displayName", user->display_name);
    http_reply_json(request, status, body);
}

static void register_done(void *context, enum auth_result result, const struct user_row *user,
                          const char *token, uint32_t retry_after_s)
{
    credentials_done(context, result, user, token, retry_after_s, 201);
}

static void login_done(void *context, enum auth_result result, const struct user_row *user,
                       const char *token, uint32_t retry_after_s)
{
    credentials_done(context, result, user, token, retry_after_s, 200);
}

static void serve_register(struct http_request *request)
{
    char email[256], password[PASSWORD_TEXT_BYTES], name[401];
    cJSON *errors = json_new_array();
    const cJSON *fields = http_body(request);
    bool valid = validate_email(fields, true, email, errors);

    valid &= validate_password(fields, true, password, errors);
    valid &= validate_line(fields, "displayName", 100, name, sizeof(name), errors);
    if (!reply_if_invalid(request, valid, errors))
        auth_register(api.auth, email, password, name, http_client_ip(request), register_done,
                      request);
    explicit_bzero(password, sizeof(password));
}

static void serve_login(struct http_request *request)
{
    char email[256], password[PASSWORD_TEXT_BYTES];
    cJSON *errors = json_new_array();
    bool valid = validate_email(http_body(request), false, email, errors);

    valid &= validate_password(http_body(request), false, password, errors);
    if (!reply_if_invalid(request, valid, errors))
        auth_login(api.auth, email, password, http_client_ip(request), login_done, request);
    explicit_bzero(password, sizeof(password));
}

static void me_verified(void *context, enum auth_result result, const struct user_row *user,
                        const char *token, uint32_t retry_after_s)
{
    struct http_request *request = context;
    cJSON *body;

    if (result != AUTH_OK) {
        reply_refusal(request, result, retry_after_s, "Unauthorized");
        return;
    }
    body = json_new_object();
    cJSON_AddStringToObject(body, "id", user->id);
    cJSON_AddStringToObject(body, "email", user->email);
    cJSON_AddStringToObject(body, "displayName", user->display_name);
    cJSON_AddBoolToObject(body, "isActive", user->is_active);
    add_time(body, "createdAt", user->created_ms);
    http_reply_json(request, 200, body);
}

static void serve_me(struct http_request *request)
{
    auth_verify(api.auth, http_bearer(request), me_verified, request);
}

static void room_insert(struct room_creation *creation);

static void room_inserted(void *context, enum persistence_result result)
{
    struct room_creation *creation = context;
    const struct meeting_row *meeting = &creation->meeting;
    struct http_request *request = creation->request;
    cJSON *body;

    if (result == PERSISTENCE_DUPLICATE && ++creation->attempts < ROOM_CODE_ATTEMPTS) {
        room_insert(creation);
        return;
    }
    api.rooms->creation_done(creation->ticket, result == PERSISTED ? meeting->id : NULL);
    if (result != PERSISTED ||
        !audit_write(api.audit, AUDIT_room_created, meeting->host_id, meeting->id,
                     http_client_ip(request), "{\"roomCode\":\"%s\",\"maxParticipants\":%u}",
                     meeting->room_code, meeting->participants_max)) {
        reply_unavailable(request);
        free(creation);
        return;
    }
    body = json_new_object();
    cJSON_AddStringToObject(body, "roomId", meeting->id);
    cJSON_AddStringToObject(body, "roomCode", meeting->room_code);
    http_reply_json(request, 201, body);
    free(creation);
}

static void room_insert(struct room_creation *creation)
{
    uuid_make(creation->meeting.id);
    room_code_make(creation->meeting.room_code);
    meeting_insert(api.store, &creation->meeting, room_inserted, creation);
}

/* A room that is created here counts like one that is created over a socket. */
static bool creation_is_refused(struct room_creation *creation, const struct user_row *user)
{
    struct http_request *request = creation->request;
    uint32_t retry_after_s = 0;
    char why[API_WHY_BYTES] = "";

    creation->ticket = api.rooms->creation_begin(api.rooms_context, user->id,
                                                 http_client_ip(request), &retry_after_s, why);
    if (creation->ticket != NULL)
        return false;
    if (retry_after_s != 0)
        reply_refusal(request, AUTH_TOO_MANY_ATTEMPTS, retry_after_s, "");
    else if (why[0] != '\0')
        http_reply_error(request, 403, why);
    else
        reply_unavailable(request);
    return true;
}

static void room_create_verified(void *context, enum auth_result result,
                                 const struct user_row *user, const char *token,
                                 uint32_t retry_after_s)
{
    struct http_request *request = context;
    struct room_creation *creation;
    struct meeting_row *meeting;
    uint32_t most = api.settings->room_participants_max;
    cJSON *errors;
    bool valid;

    if (result != AUTH_OK) {
        reply_refusal(request, result, retry_after_s, "Unauthorized");
        return;
    }
    creation = audit_ready(api.audit, 1) ? calloc(1, sizeof(*creation)) : NULL;
    if (!creation) {
        reply_unavailable(request);
        return;
    }
    creation->request = request;
    meeting = &creation->meeting;
    errors = json_new_array();
    valid = validate_line(http_body(request), "title", 255, meeting->title, sizeof(meeting->title),
                          errors);
    valid &= validate_count(http_body(request), "maxParticipants", 2, most, most,
                            &meeting->participants_max, errors);
    if (reply_if_invalid(request, valid, errors) || creation_is_refused(creation, user)) {
        free(creation);
        return;
    }
    strcpy(meeting->host_id, user->id);
    strcpy(meeting->status, "waiting");
    meeting->created_ms = meeting->updated_ms = (int64_t)(clock_wall_ns() / NS_PER_MS);
    room_insert(creation);
}

static void serve_room_create(struct http_request *request)
{
    auth_verify(api.auth, http_bearer(request), room_create_verified, request);
}

static void room_found(void *context, enum persistence_result result,
                       const struct meeting_row *meeting)
{
    struct http_request *request = context;
    cJSON *body;

    if (result == PERSISTENCE_NOT_FOUND) {
        http_reply_error(request, 404, "Room not found");
        return;
    }
    if (result != PERSISTED) {
        reply_unavailable(request);
        return;
    }
    body = json_new_object();
    cJSON_AddStringToObject(body, "id", meeting->id);
    cJSON_AddStringToObject(body, "title", meeting->title);
    cJSON_AddStringToObject(body, "roomCode", meeting->room_code);
    cJSON_AddStringToObject(body, "hostId", meeting->host_id);
    cJSON_AddStringToObject(body, "status", meeting->status);
    cJSON_AddNumberToObject(body, "maxParticipants", meeting->participants_max);
    add_time(body, "startedAt", meeting->started_ms);
    add_time(body, "endedAt", meeting->ended_ms);
    cJSON_AddNumberToObject(body, "peakParticipants", meeting->participants_peak);
    add_time(body, "createdAt", meeting->created_ms);
    add_time(body, "updatedAt", meeting->updated_ms);
    cJSON_AddNumberToObject(body, "participantCount",
                            api.rooms->participant_count(api.rooms_context, meeting->id));
    http_reply_json(request, 200, body);
}

static void room_find_verified(void *context, enum auth_result result, const struct user_row *user,
                               const char *token, uint32_t retry_after_s)
{
    struct http_request *request = context;

    if (result != AUTH_OK)
        reply_refusal(request, result, retry_after_s, "Unauthorized");
    else
        meeting_find(api.store, http_parameter(request), room_found, request);
}

static void serve_room(struct http_request *request)
{
    auth_verify(api.auth, http_bearer(request), room_find_verified, request);
}

void api_open(struct http_server *http, struct auth *auth, struct persistence *store,
              struct audit *audit, const struct settings *settings, const struct api_rooms *rooms,
              void *context)
{
    api = (struct api){auth, store, audit, settings, rooms, context};
    http_route(http, "POST", "/auth/register", serve_register, NULL);
    http_route(http, "POST", "/auth/login", serve_login, NULL);
    http_route(http, "GET", "/auth/me", serve_me, NULL);
    http_route(http, "POST", "/rooms", serve_room_create, NULL);
    http_route(http, "GET", "/rooms/:room", serve_room, NULL);
}
