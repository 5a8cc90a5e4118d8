/* Accounts and tokens: register, log in, verify.
 *
 * Two jobs hash at a time (19 MiB each), 64 more may wait; further requests are told to come again,
 * so that they do not fill the memory. Unknown and deactivated users get the same answer at the
 * same cost as a wrong password. */
#include "auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth_internal.h"
#include "controlplane/web/memory.h"
#include "data_directory_open.h"
#include "src/clock.h"
#include "src/log.h"
#include "uuid.h"

void job_fail(struct job *job)
{
    job_settle(job, false);
    job_finish(job, AUTH_UNAVAILABLE);
}

static void job_finish_with_token(struct job *job)
{
    struct token_claims claims = {.issued_s = (int64_t)(clock_wall_ns() / NS_PER_S)};

    claims.expires_s = claims.issued_s + job->auth->settings->jwt_expiration_s;
    snprintf(claims.subject, sizeof(claims.subject), "%s", job->user.id);
    snprintf(claims.email, sizeof(claims.email), "%s", job->user.email);
    snprintf(claims.display_name, sizeof(claims.display_name), "%s", job->user.display_name);
    if (token_make(job->auth->secrets.keys[0], &claims, job->token)) {
        job_finish(job, AUTH_OK);
        return;
    }
    LOG(ERROR, "auth", "cannot make an access token", F("user", "%s", job->user.id));
    job_finish(job, AUTH_UNAVAILABLE);
}

static void register_stored(void *context, enum persistence_result result)
{
    struct job *job = context;

    if (result == PERSISTENCE_DUPLICATE) {
        job_settle(job, true);
        job_finish(job, AUTH_DUPLICATE);
    } else if (result != PERSISTED ||
               !audit_write(job->auth->audit, AUDIT_user_registered, job->user.id, NULL, job->ip,
                            "{\"expiresIn\":%u}", job->auth->settings->jwt_expiration_s)) {
        job_fail(job);
    } else {
        job_settle(job, true); /* so that nobody makes accounts without end */
        job_finish_with_token(job);
    }
}

static void login_rehashed(void *context, enum persistence_result result)
{
    struct job *job = context;

    if (result != PERSISTED)
        LOG(WARN, "auth", "the stronger password hash could not be stored; the old one stays",
            F("user", "%s", job->user.id));
    job_finish_with_token(job);
}

static void login_hashed(struct job *job)
{
    struct auth *auth = job->auth;

    if (!job->found || !job->matches || !job->user.is_active) {
        audit_write(auth->audit, AUDIT_user_login_failed, job->found ? job->user.id : NULL, NULL,
                    job->ip, "{\"reason\":\"%s\"}",
                    !job->found     ? "unknown_email"
                    : !job->matches ? "wrong_password"
                                    : "deactivated");
        job_settle(job, true);
        job_refuse(job);
        return;
    }
    known_logins_add(auth->known, job->account, job->address);
    job_settle(job, false);
    if (!audit_write(auth->audit, AUDIT_user_login, job->user.id, NULL, job->ip,
                     "{\"expiresIn\":%u,\"rehashed\":%s}", auth->settings->jwt_expiration_s,
                     job->rehash ? "true" : "false"))
        job_finish(job, AUTH_UNAVAILABLE);
    else if (job->rehash)
        user_set_password_hash(auth->store, job->user.id, job->new_hash, login_rehashed, job);
    else
        job_finish_with_token(job);
}

void job_hashed(struct job *job, bool ran)
{
    struct auth *auth = job->auth;

    /* While auth closes, the database may be closed already. */
    if (!ran || auth->closing || (job->kind == JOB_REGISTER && !job->matches))
        job_fail(job);
    else if (job->kind == JOB_REGISTER)
        user_insert(auth->store, &job->user, register_stored, job);
    else
        login_hashed(job);
}

/* Accounts of the NestJS backend may have an international domain as people write it; ours have it
 * in ASCII. True: the account is looked up by the other form, and `found` is called once more. */
static bool look_up_other_form(struct job *job, user_callback found)
{
    char other[256];

    if (job->other_form || !email_other_form(job->account, other))
        return false;
    job->other_form = true;
    user_by_email(job->auth->store, other, found, job);
    return true;
}

static void login_found(void *context, enum persistence_result result, const struct user_row *user)
{
    struct job *job = context;

    if (result == PERSISTENCE_UNAVAILABLE || job->auth->closing) {
        job->auth->hashes--;
        job_fail(job);
        return;
    }
    if (!user && look_up_other_form(job, login_found))
        return;
    job->found = user != NULL;
    if (user)
        job->user = *user;
    job_hash(job);
}

/* Nobody gets a second account by writing the domain in the other way. */
static void register_looked_up(void *context, enum persistence_result result,
                               const struct user_row *user)
{
    struct job *job = context;

    if (result == PERSISTENCE_NOT_FOUND && !job->auth->closing) {
        job_hash(job);
        return;
    }
    job->auth->hashes--;
    if (user) {
        job_settle(job, true);
        job_finish(job, AUTH_DUPLICATE);
    } else {
        job_fail(job);
    }
}

void job_begin(struct job *job)
{
    if (job->kind == JOB_LOGIN)
        user_by_email(job->auth->store, job->account, login_found, job);
    else if (!look_up_other_form(job, register_looked_up))
        job_hash(job);
}

void auth_register(struct auth *auth, const char *email, const char *password,
                   const char *display_name, const char *ip, auth_callback done, void *context)
{
    struct job *job = job_make(auth, JOB_REGISTER, done, context);

    if (!job)
        return;
    snprintf(job->ip, sizeof(job->ip), "%s", ip ? ip : "");
    uuid_make(job->user.id);
    snprintf(job->user.email, sizeof(job->user.email), "%s", email);
    snprintf(job->user.display_name, sizeof(job->user.display_name), "%s", display_name);
    snprintf(job->password, sizeof(job->password), "%s", password);
    job->user.is_active = true;
    job->user.created_ms = job->user.updated_ms = (int64_t)(clock_wall_ns() / NS_PER_MS);
    job_admit(job);
}

void auth_login(struct auth *auth, const char *email, const char *password, const char *ip,
                auth_callback done, void *context)
{
    struct job *job = job_make(auth, JOB_LOGIN, done, context);

    if (!job)
        return;
    snprintf(job->ip, sizeof(job->ip), "%s", ip ? ip : "");
    snprintf(job->user.email, sizeof(job->user.email), "%s", email);
    snprintf(job->password, sizeof(job->password), "%s", password);
    job_admit(job);
}

static void verify_found(void *context, enum persistence_result result, const struct user_row *user)
{
    struct job *job = context;

    if (user)
        job->user = *user;
    job_finish(job, result == PERSISTENCE_UNAVAILABLE ? AUTH_UNAVAILABLE
                    : user && user->is_active         ? AUTH_OK
                                                      : AUTH_REFUSED);
}

/* The first key signs; the others still verify. */
static bool token_is_ours(const struct auth *auth, const char *token, struct token_claims *claims)
{
    int64_t now_s = (int64_t)(clock_wall_ns() / NS_PER_S);

    for (unsigned i = 0; token && i < auth->secrets.count; i++)
        if (token_verify(auth->secrets.keys[i], token, now_s, claims))
            return true;
    return false;
}

void auth_verify(struct auth *auth, const char *token, auth_callback done, void *context)
{
    struct job *job = job_make(auth, JOB_VERIFY, done, context);
    unsigned failures = memory_failures();
    struct token_claims claims;

    if (!job)
        return;
    if (!token_is_ours(auth, token, &claims))
        job_finish(job, memory_failures() != failures ? AUTH_UNAVAILABLE : AUTH_REFUSED);
    else
        user_by_id(auth->store, claims.subject, verify_found, job);
}

uint64_t auth_token_life_ms(struct auth *auth, const char *token)
{
    int64_t now_ms = (int64_t)(clock_wall_ns() / NS_PER_MS);
    struct token_claims claims;

    if (!token_is_ours(auth, token, &claims) || claims.expires_s * 1000 <= now_ms)
        return 0;
    return (uint64_t)(claims.expires_s * 1000 - now_ms);
}

bool auth_token_is_signed(struct auth *auth, const char *token)
{
    for (unsigned i = 0; i < auth->secrets.count; i++)
        if (token_is_signed(auth->secrets.keys[i], token))
            return true;
    return false;
}

void auth_check_user(struct auth *auth, const char *user_id, auth_callback done, void *context)
{
    struct job *job = job_make(auth, JOB_VERIFY, done, context);

    if (job)
        user_by_id(auth->store, user_id, verify_found, job);
}

uint32_t auth_keys_version(const struct auth *auth)
{
    return auth->keys_version;
}

void auth_use_secrets(struct auth *auth, const struct secrets *secrets)
{
    auth->secrets = *secrets;
    auth->keys_version++;
}

static void auth_free(struct auth *auth)
{
    attempt_limit_delete(auth->address_attempts);
    attempt_limit_delete(auth->account_attempts);
    known_logins_close(auth->known);
    explicit_bzero(&auth->secrets, sizeof(auth->secrets));
    free(auth);
}

void auth_free_when_idle(struct auth *auth)
{
    if (!auth->closing || auth->jobs || auth->handles)
        return;
    audit_release(auth->audit);
    auth_free(auth);
}

static struct known_logins *known_open(const struct settings *settings)
{
    char why[WHY_BYTES];
    int directory = data_directory_open(settings, why);
    struct known_logins *known = known_logins_open(directory);

    if (directory >= 0)
        close(directory);
    return known;
}

struct auth *auth_open(uv_loop_t *loop, struct persistence *store, struct audit *audit,
                       const struct settings *settings, char *why)
{
    struct auth *auth = calloc(1, sizeof(*auth));

    if (!auth) {
        snprintf(why, WHY_BYTES, "no memory for accounts");
        return NULL;
    }
    auth->loop = loop;
    auth->store = store;
    auth->audit = audit;
    auth->settings = settings;
    auth->address_attempts = attempt_limit_new();
    auth->account_attempts = attempt_limit_new();
    auth->known = known_open(settings);
    LIST_INIT(&auth->admitted);
    TAILQ_INIT(&auth->waiting);
    if (!auth->address_attempts || !auth->account_attempts || !auth->known) {
        snprintf(why, WHY_BYTES, "no memory for accounts");
    } else if (secrets_obtain(settings, &auth->secrets, why)) {
        if (jobs_open(auth)) {
            audit_hold(audit);
            return auth;
        }
        snprintf(why, WHY_BYTES, "cannot start accounts: out of descriptors");
    }
    auth_free(auth);
    return NULL;
}

void auth_close(struct auth *auth)
{
    auth->closing = true;
    jobs_close(auth);
}
