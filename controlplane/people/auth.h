/* Accounts and tokens: register, log in, verify. Passwords are hashed with argon2id on libuv's
 * thread pool, behind a limited queue. Tokens are JWT with HS256 only. Attempts are limited by
 * address and account. Every refused login gets the same answer after the same time.
 *
 * Threads: called on the loop, and callbacks come on the loop. Memory: texts are copied; rows given
 *          to a callback are valid during that call.
 * Source: controlplane/README.md (client contract), threats C1–C7, RFC 9106, RFC 7515, RFC 7519. */
#ifndef RINGCAST_AUTH_H
#define RINGCAST_AUTH_H

#include "audit.h"
#include "persistence.h"

/* A refused login is answered at a multiple of this after its start; 0: at once. Tests change
 * it. */
extern uint64_t auth_refusal_ns;

struct auth;
struct auth *auth_open(uv_loop_t *loop, struct persistence *store, struct audit *audit,
                       const struct settings *settings, char *why /* WHY_BYTES */);
void auth_close(struct auth *auth);

enum auth_result {
    AUTH_OK,
    AUTH_REFUSED,   /* wrong credentials, unknown or deactivated user, bad token: one answer */
    AUTH_DUPLICATE, /* the e-mail address has an account */
    AUTH_BUSY,      /* too many hashes wait: 503 with Retry-After */
    AUTH_TOO_MANY_ATTEMPTS, /* too many attempts: 429 with Retry-After */
    AUTH_UNAVAILABLE,       /* the database does not answer: 503 */
};

/* token: a new access token when register or log in succeeded, else NULL. retry_after_s: for
 * AUTH_BUSY and AUTH_TOO_MANY_ATTEMPTS. */
typedef void (*auth_callback)(void *context, enum auth_result result, const struct user_row *user,
                              const char *token, uint32_t retry_after_s);

/* api.c has validated the fields. */
void auth_register(struct auth *auth, const char *email, const char *password,
                   const char *display_name, const char *ip, auth_callback done, void *context);
void auth_login(struct auth *auth, const char *email, const char *password, const char *ip,
                auth_callback done, void *context);
/* Is the token valid, and is its user active? */
void auth_verify(struct auth *auth, const char *token, auth_callback done, void *context);
/* How long the token will be valid, 0: it is not. A socket counts this time on the monotonic clock:
 * when somebody sets the wall clock, no socket is cut. */
uint64_t auth_token_life_ms(struct auth *auth, const char *token);
/* Is the token still signed with one of our keys? Its expiry does not count. */
bool auth_token_is_signed(struct auth *auth, const char *token);

/* Does the user exist, and is the user active? Enough for a token that was verified before with the
 * same keys. */
void auth_check_user(struct auth *auth, const char *user_id, auth_callback done, void *context);
/* A number that changes with the keys. */
uint32_t auth_keys_version(const struct auth *auth);

/* From now on these keys sign and verify. Tokens of a key that is gone are not valid any more. */
struct secrets;
void auth_use_secrets(struct auth *auth, const struct secrets *secrets);

#endif
