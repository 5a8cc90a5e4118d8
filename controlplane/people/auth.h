/* Accounts and tokens: register, login, verify. argon2id on libuv's thread pool behind a bounded
 * queue; JWT HS256 only (libjwt); login throttles; the same answer and time for every failure.
 *
 * Threads: called and calling back on the loop. Memory: texts are copied; rows are borrowed.
 * Source: signaling.md §1, threats.md C1–C7, RFC 9106, RFC 7515/7519. */
#ifndef RINGCAST_AUTH_H
#define RINGCAST_AUTH_H

#include "audit.h"
#include "persistence.h"

extern uint64_t auth_refusal_ns; /* refused logins are told at multiples of it; 0: at once */

struct auth;
struct auth *auth_open(uv_loop_t *loop, struct persistence *store, struct audit *audit,
                       const struct settings *settings, char *why /* 192 */);
void auth_close(struct auth *auth);

enum auth_result {
    AUTH_OK,
    AUTH_REFUSED,   /* wrong credentials, unknown or deactivated user, bad token: one answer */
    AUTH_DUPLICATE, /* email is taken */
    AUTH_BUSY,      /* hash queue full: 503 with Retry-After */
    AUTH_TOO_MANY_ATTEMPTS, /* too many attempts: 429 with Retry-After */
    AUTH_UNAVAILABLE,       /* store does not answer */
};

/* token: a fresh access token on AUTH_OK of register and login, else NULL. retry_after_s for BUSY
 * and THROTTLED. */
typedef void (*auth_callback)(void *context, enum auth_result result, const struct user_row *user,
                              const char *token, uint32_t retry_after_s);

/* Fields are already validated (people/api.c). */
void auth_register(struct auth *auth, const char *email, const char *password,
                   const char *display_name, const char *ip, auth_callback done, void *context);
void auth_login(struct auth *auth, const char *email, const char *password, const char *ip,
                auth_callback done, void *context);
/* Verifies the token and that its user exists and is active. expires_s of the token through
 * auth_token_expiry of the same text. */
void auth_verify(struct auth *auth, const char *token, auth_callback done, void *context);
int64_t auth_token_expiry(struct auth *auth, const char *token); /* unix seconds; 0: not valid */

/* Only whether that user is there and active: for a token that was verified before, with the same keys
 * (auth_keys: which; it changes with them). */
void auth_look_up(struct auth *auth, const char *user_id, auth_callback done, void *context);
uint32_t auth_keys(const struct auth *auth);

/* From now on these keys sign and verify; sockets whose token was signed with one that is gone are cut
 * like those of a deactivated user. */
struct secrets;
void auth_take_secrets(struct auth *auth, const struct secrets *secrets);

/* Registers /auth/register, /auth/login, /auth/me, and POST/GET /rooms (persistence only;
 * participant_count tells the live number). */
struct http_server;
void api_open(struct http_server *http, struct auth *auth, struct persistence *store,
              struct audit *audit, const struct settings *settings,
              uint32_t (*participant_count)(void *context, const char *room_id), void *context);

#endif
