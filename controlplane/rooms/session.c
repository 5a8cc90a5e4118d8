/* Sockets: authentication, dispatch of events with who-may and rate limit, re-verification, loss. */
#include <stdlib.h>
#include <string.h>

#include "src/clock.h"
#include "src/log.h"
#include "state.h"

#define REFUSAL "Authentication failed"
#define OUT_OF_SERVICE "Service unavailable, try again later"

/* A verification under way; keeps rooms and socket. */
struct verification {
    struct rooms *rooms;
    struct socket *socket;
    char *token; /* of a new socket; NULL when an old one is verified again */
};

static void verification_free(struct verification *v)
{
    socket_unref(v->socket);
    rooms_unref(v->rooms);
    free(v->token);
    free(v);
}

static struct verification *verification_new(struct rooms *rooms, struct socket *socket)
{
    struct verification *v = calloc(1, sizeof(*v));

    if (v == NULL)
        return NULL;
    v->rooms = rooms;
    v->socket = socket_ref(socket);
    rooms_ref(rooms);
    return v;
}

/* ---- a new socket ---- */

static void session_open(struct verification *v, const struct user_row *user)
{
    struct session *session = calloc(1, sizeof(*session));

    if (session == NULL) {
        socket_refuse(v->socket, OUT_OF_SERVICE);
        return;
    }
    socket_accept(v->socket);
    if (!socket_is_open(v->socket)) { /* it went while we verified: nobody will tell us so */
        free(session);
        return;
    }
    session->rooms = v->rooms;
    session->socket = v->socket;
    memcpy(session->user_id, user->id, sizeof(session->user_id));
    memcpy(session->display_name, user->display_name, sizeof(session->display_name));
    session->token = v->token;
    v->token = NULL;
    session->expires_s = auth_token_expiry(v->rooms->auth, session->token);
    session->verified_ms = uv_now(v->rooms->loop);
    LIST_INIT(&session->participants);
    session->keys = auth_keys(v->rooms->auth);
    TAILQ_INSERT_TAIL(&v->rooms->sessions, session, link);
    v->rooms->session_count++;
    socket_set_data(v->socket, session);
    live_socket_put(v->rooms->live, socket_id(v->socket), session->user_id);
    socket_emit(v->socket, "authenticated", json_texts("userId", session->user_id, NULL));
}

static void refuse_token(struct rooms *rooms, struct socket *socket)
{
    rooms->refused_tokens++;
    socket_refuse(socket, REFUSAL);
}

static void verified_new(void *context, enum auth_result result, const struct user_row *user,
                         const char *token, uint32_t retry_after_s)
{
    struct verification *v = context;

    if (v->rooms->closing || result == AUTH_UNAVAILABLE || result == AUTH_BUSY)
        socket_refuse(v->socket, OUT_OF_SERVICE);
    else if (result != AUTH_OK)
        refuse_token(v->rooms, v->socket);
    else
        session_open(v, user);
    verification_free(v);
}

static void connecting(struct socket *socket, const cJSON *auth, const char *bearer)
{
    struct rooms *rooms = socket_context(socket);
    const char *token = payload_text(auth, "token");
    struct verification *v;

    if (token == NULL || token[0] == '\0')
        token = bearer;
    if (token == NULL || token[0] == '\0' || rooms->closing) {
        refuse_token(rooms, socket);
        return;
    }
    v = verification_new(rooms, socket);
    if (v == NULL || (v->token = strdup(token)) == NULL) {
        if (v != NULL)
            verification_free(v);
        socket_refuse(socket, OUT_OF_SERVICE);
        return;
    }
    auth_verify(rooms->auth, v->token, verified_new, v);
}

/* ---- a socket that stays ---- */

void session_disconnect(struct session *session)
{
    struct participant *p;

    LOG(INFO, "session", "socket cut: its token expired or its user was deactivated",
        F("user", "%s", session->user_id), F("socket", "%s", socket_id(session->socket)));
    while ((p = LIST_FIRST(&session->participants)) != NULL)
        participant_remove(p, CUT);
    socket_disconnect(session->socket);
}

static void verified_again(void *context, enum auth_result result, const struct user_row *user,
                           const char *token, uint32_t retry_after_s)
{
    struct verification *v = context;
    struct session *session = socket_is_open(v->socket) ? socket_data(v->socket) : NULL;

    if (session != NULL && !v->rooms->closing) {
        session->verifying = false;
        /* A store that does not answer cuts nobody. */
        if (result == AUTH_REFUSED)
            session_disconnect(session);
    }
    verification_free(v);
}

/* Is its user still there and active, its token still good? A token is only read again when the keys
 * have changed: thousands of sockets pass here all the time. */
static void session_verify(struct session *session, uint64_t now_ms)
{
    struct rooms *rooms = session->rooms;
    struct verification *v;

    session->verified_ms = now_ms;
    TAILQ_REMOVE(&rooms->sessions, session, link);
    TAILQ_INSERT_TAIL(&rooms->sessions, session, link);
    if (session->expires_s <= wall_ms() / 1000) {
        session_disconnect(session);
        return;
    }
    if (session->verifying || (v = verification_new(rooms, session->socket)) == NULL)
        return;
    session->verifying = true;
    if (session->keys == auth_keys(rooms->auth)) {
        auth_look_up(rooms->auth, session->user_id, verified_again, v);
    } else {
        session->keys = auth_keys(rooms->auth);
        auth_verify(rooms->auth, session->token, verified_again, v);
    }
}

void sessions_reverify(struct rooms *rooms)
{
    uint64_t now_ms = uv_now(rooms->loop);
    uint32_t most = 2 * rooms->session_count * TICK_MS / REVERIFY_MS + 1;

    for (uint32_t n = 0; n < most && n < REVERIFY_PER_TICK_MAX; n++) {
        struct session *session = TAILQ_FIRST(&rooms->sessions);

        if (session == NULL || now_ms - session->verified_ms < REVERIFY_MS)
            return;
        session_verify(session, now_ms);
    }
}

static void closed(struct socket *socket, const char *reason)
{
    struct session *session = socket_data(socket);
    struct participant *p;
    struct rooms *rooms;
    uint32_t grace_s;

    if (session == NULL)
        return;
    rooms = session->rooms;
    grace_s = rooms->settings->reconnect_grace_s;
    LOG(DEBUG, "session", "socket closed", F("user", "%s", session->user_id),
        F("reason", "%s", reason));
    while ((p = LIST_FIRST(&session->participants)) != NULL) {
        participant_detach(p);
        if (grace_s == 0) {
            participant_remove(p, GONE);
            continue;
        }
        p->grace_until_ms = uv_now(rooms->loop) + grace_s * 1000ull;
        TAILQ_INSERT_TAIL(&rooms->absent, p, absent_link);
    }
    socket_set_data(socket, NULL);
    live_socket_remove(rooms->live, socket_id(socket));
    TAILQ_REMOVE(&rooms->sessions, session, link);
    rooms->session_count--;
    rate_limit_free(&session->rate);
    free(session->token);
    free(session);
}

/* ---- events ---- */

static bool rate_passes(struct request *request)
{
    struct session *session = request->session;
    const struct settings *settings = request->rooms->settings;
    uint64_t window_ms = settings->rate_limit_window_s * 1000ull,
             now_ms = uv_now(request->rooms->loop);

    if (request->event != NULL && request->event->rate == RATE_FREE)
        return true;
    if (rate_limit_pass(&session->rate, settings->rate_limit_events, window_ms, now_ms))
        return true;
    if (session->rate_audited_ms == 0 || now_ms - session->rate_audited_ms >= window_ms) {
        session->rate_audited_ms = now_ms;
        audit_write(request->rooms->audit, AUDIT_rate_limited, session->user_id, NULL,
                    socket_client_ip(session->socket), "{\"limit\":%u,\"windowSeconds\":%u}",
                    settings->rate_limit_events, settings->rate_limit_window_s);
    }
    return false;
}

/* The caller as a participant of the room that the payload names. */
static bool resolve_member(struct request *request)
{
    request->room = room_find(request->rooms, payload_text(request->payload, "roomId"));
    if (request->room == NULL) {
        request_fail(request, ERROR_room_not_found);
        return false;
    }
    if (request->room->closed) {
        request_fail(request, ERROR_room_closed);
        return false;
    }
    LIST_FOREACH(request->caller, &request->session->participants, session_link)
    {
        if (request->caller->room == request->room)
            return true;
    }
    request_fail(request, ERROR_not_in_room);
    return false;
}

/* Other people's transports, producers and consumers are answered like ones that do not exist. */
static bool resolve_owned(struct request *request)
{
    enum room_error error = ERROR_transport_not_found;

    if (request->event->may == MAY_OWN_TRANSPORT) {
        request->transport =
            transport_find(request->rooms, payload_text(request->payload, "transportId"));
    } else if (request->event->may == MAY_OWN_PRODUCER) {
        error = ERROR_producer_not_found;
        request->producer =
            producer_find(request->rooms, payload_text(request->payload, "producerId"));
        request->transport = request->producer != NULL ? request->producer->transport : NULL;
    } else {
        error = ERROR_consumer_not_found;
        request->consumer =
            consumer_find(request->rooms, payload_text(request->payload, "consumerId"));
        request->transport = request->consumer != NULL ? request->consumer->transport : NULL;
    }
    if (request->transport == NULL || request->transport->owner->session != request->session) {
        request_fail(request, error);
        return false;
    }
    request->caller = request->transport->owner;
    request->room = request->caller->room;
    return true;
}

static bool resolve(struct request *request)
{
    enum permission may = request->event->may;

    if (may == MAY_ANYONE)
        return true;
    if (may >= MAY_OWN_TRANSPORT) {
        struct room *owned_in;

        if (payload_text(request->payload, "roomId") == NULL)
            return resolve_owned(request);
        /* Both named: the room must be one the caller is in, and the object must lie in it. */
        if (!resolve_member(request))
            return false;
        owned_in = request->room;
        if (!resolve_owned(request))
            return false;
        if (request->room == owned_in)
            return true;
        request_fail_because(request, ERROR_not_in_room, "this object belongs to another room");
        return false;
    }
    if (!resolve_member(request))
        return false;
    if (may == MAY_MEMBER || request->caller->role == ROLE_HOST ||
        (may == MAY_MODERATE && request->caller->role == ROLE_CO_HOST))
        return true;
    request_fail(request, ERROR_not_host);
    return false;
}

/* What cannot be logged does not happen. */
static bool can_be_logged(const struct request *request)
{
    uint64_t rows = request_audit_rows(request);

    return rows == 0 || audit_ready(request->rooms->audit, rows);
}

static void event(struct socket *socket, const char *name, const cJSON *args, int64_t ack)
{
    char why[SHAPE_WHY_BYTES];
    struct request request = {.rooms = socket_context(socket),
                              .socket = socket,
                              .session = socket_data(socket),
                              .event = event_find(name),
                              .name = name,
                              .payload = cJSON_GetArrayItem(args, 0),
                              .ack = ack};

    if (request.session == NULL || request.rooms->closing)
        return;
    request.rooms->requests++;
    if (!rate_passes(&request))
        request_fail(&request, ERROR_rate_limited);
    else if (request.event == NULL)
        request_fail(&request, ERROR_unknown_event);
    else if (!cJSON_IsObject(request.payload))
        request_fail_because(&request, ERROR_invalid_payload, "%s wants one object", name);
    else if (!shape_fits(request.event->shape, request.payload, why))
        request_fail_because(&request, ERROR_invalid_payload, "%s", why);
    else if (!resolve(&request))
        return; /* answered */
    else if (!can_be_logged(&request))
        request_fail(&request, ERROR_unavailable);
    else
        request.event->handle(&request);
}

const struct socket_handlers rooms_socket_handlers = {
    .connecting = connecting, .event = event, .closed = closed};
