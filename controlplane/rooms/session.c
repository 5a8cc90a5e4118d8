/* Sessions: sockets are authenticated, verified again and again, and lost. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/web/json.h"
#include "dispatch.h"
#include "participant.h"
#include "registry.h"
#include "request.h"
#include "room_json.h"
#include "src/log.h"

#define REFUSED "Authentication failed"
#define UNAVAILABLE "Service unavailable, try again later"

/* A verification in progress; it keeps rooms and socket alive. */
struct verification {
    struct rooms *rooms;
    struct socket *socket;
    char *token; /* of a new socket; NULL when an existing session is verified again */
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

/* ---- tokens ---- */

uint64_t session_use_token(struct session *session, char *token)
{
    struct rooms *rooms = session->rooms;
    uint64_t life_ms = auth_token_life_ms(rooms->auth, token), now_ms = uv_now(rooms->loop);

    if (life_ms == 0) {
        free(token);
        return 0;
    }
    free(session->token);
    session->token = token;
    session->keys_version = auth_keys_version(rooms->auth);
    session->token_until_ms = now_ms + life_ms;
    session->announce_expiry_ms =
        session->token_until_ms - (life_ms / 2 < EXPIRY_NOTICE_MS ? life_ms / 2 : EXPIRY_NOTICE_MS);
    return life_ms;
}

static void expiry_announce(struct session *session, uint64_t now_ms)
{
    cJSON *value = json_new_object();

    session->announce_expiry_ms = UINT64_MAX;
    cJSON_AddNumberToObject(value, "expiresAt",
                            (double)(wall_ms() + (int64_t)(session->token_until_ms - now_ms)));
    socket_emit(session->socket, "auth:expiring", value);
}

/* The participants stay for the grace time, and the client may come back with another token. */
static void session_expire(struct session *session)
{
    LOG(INFO, "session", "socket closed: its token expired", F("user", "%s", session->user_id),
        F("socket", "%s", socket_id(session->socket)));
    socket_close(session->socket);
}

/* ---- a new socket ---- */

static void session_open(struct verification *v, const struct user_row *user)
{
    struct session *session = calloc(1, sizeof(*session));

    if (session == NULL ||
        !owner_open(v->rooms, &session->owner, user->id, socket_client_ip(v->socket))) {
        free(session);
        socket_refuse(v->socket, UNAVAILABLE);
        return;
    }
    socket_set_account(v->socket, user->id);
    socket_accept(v->socket);
    /* If the socket closed during the verification, socket_closed() will not be called for it. */
    if (!socket_is_open(v->socket)) {
        owner_close(v->rooms, &session->owner);
        free(session);
        return;
    }
    session->rooms = v->rooms;
    session->socket = v->socket;
    memcpy(session->user_id, user->id, sizeof(session->user_id));
    memcpy(session->display_name, user->display_name, sizeof(session->display_name));
    session_use_token(session, v->token); /* one that expired meanwhile is noticed below */
    v->token = NULL;
    session->verified_ms = uv_now(v->rooms->loop);
    LIST_INIT(&session->participants);
    TAILQ_INSERT_TAIL(&v->rooms->sessions, session, link);
    v->rooms->session_count++;
    socket_set_data(v->socket, session);
    live_socket_put(v->rooms->live, socket_id(v->socket), session->user_id);
    socket_emit(v->socket, "authenticated", json_texts("userId", session->user_id, NULL));
}

static void refuse_token(struct rooms *rooms, struct socket *socket)
{
    rooms->refused_tokens++;
    socket_refuse(socket, REFUSED);
}

static void new_socket_verified(void *context, enum auth_result result, const struct user_row *user,
                                const char *token, uint32_t retry_after_s)
{
    struct verification *v = context;

    if (v->rooms->closing || result == AUTH_UNAVAILABLE || result == AUTH_BUSY)
        socket_refuse(v->socket, UNAVAILABLE);
    else if (result != AUTH_OK)
        refuse_token(v->rooms, v->socket);
    else
        session_open(v, user);
    verification_free(v);
}

static void socket_connecting(struct socket *socket, const cJSON *auth, const char *bearer)
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
        socket_refuse(socket, UNAVAILABLE);
        return;
    }
    auth_verify(rooms->auth, v->token, new_socket_verified, v);
}

/* ---- a session is verified again ---- */

void session_disconnect(struct session *session)
{
    struct participant *p;

    LOG(INFO, "session", "socket disconnected: its user was deactivated, or its key withdrawn",
        F("user", "%s", session->user_id), F("socket", "%s", socket_id(session->socket)));
    while ((p = LIST_FIRST(&session->participants)) != NULL)
        participant_remove(p, DEPARTURE_DISCONNECTED);
    socket_disconnect(session->socket);
}

static void session_verified(void *context, enum auth_result result, const struct user_row *user,
                             const char *token, uint32_t retry_after_s)
{
    struct verification *v = context;
    struct session *session = socket_is_open(v->socket) ? socket_data(v->socket) : NULL;

    if (session != NULL && !v->rooms->closing) {
        session->verifying = false;
        /* Sessions stay connected while the store is down. */
        if (result == AUTH_REFUSED)
            session_disconnect(session);
    }
    verification_free(v);
}

/* Verifies that the user still exists and is active. The signature of the token is verified only if
 * the keys have changed, because this happens for thousands of sockets every few seconds. */
static void session_verify(struct session *session, uint64_t now_ms)
{
    struct rooms *rooms = session->rooms;
    struct verification *v;

    session->verified_ms = now_ms;
    TAILQ_REMOVE(&rooms->sessions, session, link);
    TAILQ_INSERT_TAIL(&rooms->sessions, session, link);
    if (now_ms >= session->token_until_ms) {
        session_expire(session);
        return;
    }
    if (session->keys_version != auth_keys_version(rooms->auth)) {
        if (!auth_token_is_signed(rooms->auth, session->token)) {
            session_disconnect(session);
            return;
        }
        session->keys_version = auth_keys_version(rooms->auth);
    }
    if (now_ms >= session->announce_expiry_ms)
        expiry_announce(session, now_ms);
    if (session->verifying || (v = verification_new(rooms, session->socket)) == NULL)
        return;
    session->verifying = true;
    auth_check_user(rooms->auth, session->user_id, session_verified, v);
}

void sessions_reverify(struct rooms *rooms)
{
    uint64_t now_ms = uv_now(rooms->loop);
    /* Twice the number that would be enough on average: sessions that opened in the same moment are
     * due in the same moment, and are spread over half of REVERIFY_MS. */
    uint32_t most = 2 * rooms->session_count * TICK_MS / REVERIFY_MS + 1;

    for (uint32_t n = 0; n < most && n < REVERIFY_PER_TICK_MAX; n++) {
        struct session *session = TAILQ_FIRST(&rooms->sessions);

        if (session == NULL || now_ms - session->verified_ms < REVERIFY_MS)
            return;
        session_verify(session, now_ms);
    }
}

/* ---- a socket is lost ---- */

void session_free(struct session *session)
{
    struct rooms *rooms = session->rooms;

    socket_set_data(session->socket, NULL);
    live_socket_remove(rooms->live, socket_id(session->socket));
    TAILQ_REMOVE(&rooms->sessions, session, link);
    rooms->session_count--;
    owner_close(rooms, &session->owner);
    free(session->token);
    free(session);
}

static void socket_closed(struct socket *socket, const char *reason)
{
    struct session *session = socket_data(socket);
    struct participant *p;

    if (session == NULL)
        return;
    LOG(DEBUG, "session", "socket closed", F("user", "%s", session->user_id),
        F("reason", "%s", reason));
    while ((p = LIST_FIRST(&session->participants)) != NULL)
        participant_begin_absence(p);
    session_free(session);
}

const struct socket_handlers rooms_socket_handlers = {
    .connecting = socket_connecting, .event = event_dispatch, .closed = socket_closed};
