/* Accounts and tokens: each call is a job that goes throttle → store → hash thread → store → answer.
 *
 * Two jobs hash at a time (19 MiB each), 64 more may be on their way; a caller beyond that is told
 * to come again instead of filling memory. Unknown and deactivated users go through the same steps
 * with the same cost as a wrong password. */
#include "auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "password.h"
#include "secret.h"
#include "src/clock.h"
#include "src/log.h"
#include "attempt_limit.h"
#include "token.h"
#include "uuid.h"
#include "validate.h"

#define HASHES_AT_WORK_MAX 2
#define JOBS_WAITING_MAX 64
#define ROWS_PER_JOB 1 /* audit rows */
#define BUSY_RETRY_S 2 /* 64 jobs of 25 ms on two threads are through in one */
/* A refused login is told at a multiple of this after it was asked for: how long the stored hash takes
 * (bcrypt by what the NestJS backend chose, argon2id by the settings) does not show in it. */
uint64_t auth_refusal_ns = 300 * NS_PER_MS;
#define NAME_BYTES (256 + ADDRESS_NAME_BYTES)

enum job_kind { JOB_REGISTER, JOB_LOGIN, JOB_VERIFY };

struct job {
    struct job *next;
    struct auth *auth;
    enum job_kind kind;
    uv_work_t work;
    struct user_row user; /* of a registration: to be; of a login: as stored */
    bool found, matches, rehash;
    struct password_cost cost;
    char password[PASSWORD_TEXT_BYTES];
    char new_hash[PASSWORD_HASH_BYTES];
    char ip[46];
    char account[NAME_BYTES], address[ADDRESS_NAME_BYTES];
    uint64_t taken_ns, refused_ns;
    enum auth_result result;
    uint32_t retry_after_s;
    char token[TOKEN_BYTES_MAX]; /* "" : none */
    auth_callback done;
    void *context;
};

struct job_list {
    struct job *head, **tail;
};

struct auth {
    uv_loop_t *loop;
    struct persistence *store;
    struct audit *audit;
    const struct settings *settings;
    struct secrets secrets;
    uint32_t keys; /* counts their changes */
    struct attempt_limit *addresses, *accounts;
    struct known_logins *known;
    struct job_list waiting; /* for a hash thread */
    struct job_list ready;   /* answered in the next turn of the loop */
    struct job *refused;     /* to be told at refused_ns, earliest first */
    unsigned at_work;        /* on hash threads */
    unsigned hashing;        /* all jobs that are to be hashed, from the call to the hash's end */
    unsigned jobs;           /* all there are */
    uv_async_t wake;
    uv_timer_t refusals;
    unsigned handles; /* of these two, still open */
    bool closing;
};

static void list_append(struct job_list *list, struct job *job)
{
    if (!list->head)
        list->tail = &list->head;
    job->next = NULL;
    *list->tail = job;
    list->tail = &job->next;
}

static struct job *list_take(struct job_list *list)
{
    struct job *job = list->head;

    if (job)
        list->head = job->next;
    return job;
}

static void auth_free_when_idle(struct auth *auth)
{
    if (!auth->closing || auth->jobs || auth->handles)
        return;
    audit_release(auth->audit);
    attempt_limit_delete(auth->addresses);
    attempt_limit_delete(auth->accounts);
    known_logins_delete(auth->known);
    explicit_bzero(&auth->secrets, sizeof(auth->secrets));
    free(auth);
}

static void job_answer(struct job *job)
{
    struct auth *auth = job->auth;

    job->done(job->context, job->result, job->result == AUTH_OK ? &job->user : NULL,
              job->token[0] ? job->token : NULL, job->retry_after_s);
    explicit_bzero(job, sizeof(*job));
    free(job);
    auth->jobs--;
}

static void ready_answer(uv_async_t *async)
{
    struct auth *auth = async->data;
    struct job *job;

    /* Callers may call again from their callback: only what is ready now. */
    for (unsigned left = auth->jobs; left > 0 && (job = list_take(&auth->ready)); left--)
        job_answer(job);
    if (auth->ready.head)
        uv_async_send(&auth->wake);
    auth_free_when_idle(auth);
}

/* Answers never come before the call has returned. */
static void job_finish(struct job *job, enum auth_result result)
{
    struct auth *auth = job->auth;

    job->result = result;
    explicit_bzero(job->password, sizeof(job->password));
    list_append(&auth->ready, job);
    if (!auth->closing) {
        uv_async_send(&auth->wake);
        return;
    }
    while ((job = list_take(&auth->ready)))
        job_answer(job);
    auth_free_when_idle(auth);
}

static void refusals_tell(uv_timer_t *timer)
{
    struct auth *auth = timer->data;
    uint64_t now_ns = clock_monotonic_ns();
    struct job *job;

    while ((job = auth->refused) && (job->refused_ns <= now_ns || auth->closing)) {
        auth->refused = job->next;
        job_finish(job, AUTH_REFUSED);
    }
    if (job)
        uv_timer_start(timer, refusals_tell, (job->refused_ns - now_ns) / NS_PER_MS + 1, 0);
}

static void job_refuse(struct job *job)
{
    struct auth *auth = job->auth;
    uint64_t now_ns = clock_monotonic_ns(), every_ns = auth_refusal_ns ? auth_refusal_ns : 1;
    struct job **at = &auth->refused;

    job->refused_ns = job->taken_ns + ((now_ns - job->taken_ns) / every_ns + 1) * every_ns;
    while (*at && (*at)->refused_ns <= job->refused_ns)
        at = &(*at)->next;
    job->next = *at;
    *at = job;
    refusals_tell(&auth->refusals);
}

static struct job *job_make(struct auth *auth, enum job_kind kind, auth_callback done,
                            void *context)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job) { /* nowhere to keep the answer: it comes at once */
        done(context, AUTH_BUSY, NULL, NULL, BUSY_RETRY_S);
        return NULL;
    }
    job->auth = auth;
    job->kind = kind;
    job->done = done;
    job->context = context;
    job->work.data = job;
    auth->jobs++;
    return job;
}

static void audit_attempts_refused(struct job *job, const char *what)
{
    LOG(WARN, "auth", "too many attempts", F("by", "%s", what), F("ip", "%s", job->ip));
    audit_write(job->auth->audit, AUDIT_rate_limited, NULL, NULL, job->ip,
                "{\"call\":\"%s\",\"by\":\"%s\"}",
                job->kind == JOB_LOGIN ? "auth/login" : "auth/register", what);
}

/* Counts the attempt against its address and, for a login, its account. An address from which the
 * owner has logged in before has a window of its own for that account: strangers can use up theirs
 * and the owner still gets in. */
static bool job_admit(struct job *job)
{
    struct auth *auth = job->auth;
    const struct settings *settings = auth->settings;
    enum attempt_result attempt;

    job->taken_ns = clock_monotonic_ns();
    job->cost = (struct password_cost){settings->argon2_memory_kib, settings->argon2_passes,
                                       settings->argon2_lanes};
    if (auth->closing || !audit_ready(auth->audit, ROWS_PER_JOB)) {
        job_finish(job, AUTH_UNAVAILABLE);
        return false;
    }
    if (auth->hashing >= HASHES_AT_WORK_MAX + JOBS_WAITING_MAX) {
        job->retry_after_s = BUSY_RETRY_S;
        job_finish(job, AUTH_BUSY);
        return false;
    }
    address_name(job->ip, job->address);
    attempt = attempt_limit_take(auth->addresses, job->address, job->taken_ns,
                                 settings->login_attempts_per_minute, &job->retry_after_s);
    if (attempt == ATTEMPT_ALLOWED && job->kind == JOB_LOGIN) {
        snprintf(job->account, sizeof(job->account), "%s %s", job->user.email, job->address);
        if (!known_logins_has(auth->known, job->account))
            snprintf(job->account, sizeof(job->account), "%s", job->user.email);
        attempt = attempt_limit_take(auth->accounts, job->account, job->taken_ns,
                                     settings->account_attempts_per_minute, &job->retry_after_s);
        if (attempt == ATTEMPT_REFUSED_FIRST)
            audit_attempts_refused(job, "account");
        if (attempt != ATTEMPT_ALLOWED)
            attempt_limit_give_back(auth->addresses, job->address, job->taken_ns);
    } else if (attempt == ATTEMPT_REFUSED_FIRST) {
        audit_attempts_refused(job, "address");
    }
    if (attempt != ATTEMPT_ALLOWED) {
        job_finish(job, AUTH_TOO_MANY_ATTEMPTS);
        return false;
    }
    auth->hashing++;
    return true;
}

/* Our fault, not the caller's: the attempt does not count. */
static void job_fail(struct job *job)
{
    attempt_limit_give_back(job->auth->addresses, job->address, job->taken_ns);
    if (job->kind == JOB_LOGIN)
        attempt_limit_give_back(job->auth->accounts, job->account, job->taken_ns);
    job_finish(job, AUTH_UNAVAILABLE);
}

static void token_give(struct job *job)
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
    LOG(ERROR, "auth", "cannot make a token", F("user", "%s", job->user.id));
    job_finish(job, AUTH_UNAVAILABLE);
}

static void register_stored(void *context, enum persistence_result result)
{
    struct job *job = context;

    if (result == PERSISTENCE_DUPLICATE) {
        job_finish(job, AUTH_DUPLICATE);
    } else if (result != PERSISTED ||
               !audit_write(job->auth->audit, AUDIT_user_registered, job->user.id, NULL, job->ip,
                            "{\"expiresIn\":%u}", job->auth->settings->jwt_expiration_s)) {
        job_fail(job);
    } else {
        token_give(job);
    }
}

static void login_rehashed(void *context, enum persistence_result result)
{
    struct job *job = context;

    if (result != PERSISTED)
        LOG(WARN, "auth", "the new hash could not be stored; the old one stays",
            F("user", "%s", job->user.id));
    token_give(job);
}

static void login_hashed(struct job *job)
{
    struct auth *auth = job->auth;
    char name[NAME_BYTES];

    if (!job->found || !job->matches || !job->user.is_active) {
        audit_write(auth->audit, AUDIT_user_login_failed, job->found ? job->user.id : NULL, NULL,
                    job->ip, "{\"reason\":\"%s\"}",
                    !job->found     ? "unknown_email"
                    : !job->matches ? "wrong_password"
                                    : "deactivated");
        job_refuse(job);
        return;
    }
    attempt_limit_give_back(auth->accounts, job->account, job->taken_ns);
    snprintf(name, sizeof(name), "%s %s", job->user.email, job->address);
    known_logins_add(auth->known, name, job->taken_ns);
    if (!audit_write(auth->audit, AUDIT_user_login, job->user.id, NULL, job->ip,
                     "{\"expiresIn\":%u,\"rehashed\":%s}", auth->settings->jwt_expiration_s,
                     job->rehash ? "true" : "false"))
        job_finish(job, AUTH_UNAVAILABLE); /* was given back already */
    else if (job->rehash)
        user_set_password_hash(auth->store, job->user.id, job->new_hash, login_rehashed, job);
    else
        token_give(job);
}

/* On a thread of libuv's pool. */
static void hash_run(uv_work_t *work)
{
    struct job *job = work->data;
    char nobody[PASSWORD_HASH_BYTES];

    if (job->kind == JOB_REGISTER) {
        job->matches = password_hash(&job->cost, job->password, job->user.password_hash);
        return;
    }
    password_nobody(&job->cost, nobody);
    job->matches = password_verify(job->found ? job->user.password_hash : nobody, job->password);
    if (job->found && job->matches && job->user.is_active &&
        password_hash_is_weaker(job->user.password_hash, &job->cost))
        job->rehash = password_hash(&job->cost, job->password, job->new_hash);
}

static void hash_next(struct auth *auth);

static void hash_done(uv_work_t *work, int status)
{
    struct job *job = work->data;
    struct auth *auth = job->auth;

    auth->at_work--;
    auth->hashing--;
    hash_next(auth);
    /* closing: the store may be gone already */
    if (status != 0 || auth->closing || (job->kind == JOB_REGISTER && !job->matches))
        job_fail(job);
    else if (job->kind == JOB_REGISTER)
        user_insert(auth->store, &job->user, register_stored, job);
    else
        login_hashed(job);
}

static void hash_next(struct auth *auth)
{
    while (auth->at_work < HASHES_AT_WORK_MAX) {
        struct job *job = list_take(&auth->waiting);

        if (!job)
            return;
        if (uv_queue_work(auth->loop, &job->work, hash_run, hash_done) != 0) {
            auth->hashing--;
            job_fail(job);
            continue;
        }
        auth->at_work++;
    }
}

static void hash_ask(struct job *job)
{
    list_append(&job->auth->waiting, job);
    hash_next(job->auth);
}

static void login_found(void *context, enum persistence_result result, const struct user_row *user)
{
    struct job *job = context;

    if (result == PERSISTENCE_UNAVAILABLE || job->auth->closing) {
        job->auth->hashing--;
        job_fail(job);
        return;
    }
    job->found = user != NULL;
    if (user)
        job->user = *user;
    hash_ask(job);
}

void auth_register(struct auth *auth, const char *email, const char *password,
                   const char *display_name, const char *ip, auth_callback done, void *context)
{
    struct job *job = job_make(auth, JOB_REGISTER, done, context);

    if (!job)
        return;
    snprintf(job->ip, sizeof(job->ip), "%s", ip ? ip : "");
    if (!job_admit(job))
        return;
    uuid_make(job->user.id);
    snprintf(job->user.email, sizeof(job->user.email), "%s", email);
    snprintf(job->user.display_name, sizeof(job->user.display_name), "%s", display_name);
    snprintf(job->password, sizeof(job->password), "%s", password);
    job->user.is_active = true;
    job->user.created_ms = job->user.updated_ms = (int64_t)(clock_wall_ns() / NS_PER_MS);
    hash_ask(job);
}

void auth_login(struct auth *auth, const char *email, const char *password, const char *ip,
                auth_callback done, void *context)
{
    struct job *job = job_make(auth, JOB_LOGIN, done, context);

    if (!job)
        return;
    snprintf(job->ip, sizeof(job->ip), "%s", ip ? ip : "");
    snprintf(job->user.email, sizeof(job->user.email), "%s", email);
    if (!job_admit(job))
        return;
    snprintf(job->password, sizeof(job->password), "%s", password);
    user_by_email(auth->store, email, login_found, job);
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

/* Keys that were in use before the first one still verify. */
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
    struct token_claims claims;

    if (!job)
        return;
    if (!token_is_ours(auth, token, &claims))
        job_finish(job, AUTH_REFUSED);
    else
        user_by_id(auth->store, claims.subject, verify_found, job);
}

int64_t auth_token_expiry(struct auth *auth, const char *token)
{
    struct token_claims claims;

    return token_is_ours(auth, token, &claims) ? claims.expires_s : 0;
}

void auth_look_up(struct auth *auth, const char *user_id, auth_callback done, void *context)
{
    struct job *job = job_make(auth, JOB_VERIFY, done, context);

    if (job)
        user_by_id(auth->store, user_id, verify_found, job);
}

uint32_t auth_keys(const struct auth *auth)
{
    return auth->keys;
}

void auth_take_secrets(struct auth *auth, const struct secrets *secrets)
{
    auth->secrets = *secrets;
    auth->keys++;
}

struct auth *auth_open(uv_loop_t *loop, struct persistence *store, struct audit *audit,
                       const struct settings *settings, char *why)
{
    struct auth *auth = calloc(1, sizeof(*auth));

    if (auth) {
        auth->addresses = attempt_limit_new();
        auth->accounts = attempt_limit_new();
        auth->known = known_logins_new();
    }
    if (!auth || !auth->addresses || !auth->accounts || !auth->known) {
        snprintf(why, WHY_BYTES, "no memory for accounts");
    } else if (secrets_obtain(settings, &auth->secrets, why)) {
        auth->loop = loop;
        auth->store = store;
        auth->audit = audit;
        auth->settings = settings;
        auth->wake.data = auth->refusals.data = auth;
        if (uv_async_init(loop, &auth->wake, ready_answer) == 0) {
            uv_timer_init(loop, &auth->refusals);
            auth->handles = 2;
            audit_hold(audit);
            return auth;
        }
        snprintf(why, WHY_BYTES, "cannot start accounts: out of descriptors");
    }
    if (auth) {
        attempt_limit_delete(auth->addresses);
        attempt_limit_delete(auth->accounts);
        known_logins_delete(auth->known);
    }
    free(auth);
    return NULL;
}

static void handle_closed(uv_handle_t *handle)
{
    struct auth *auth = handle->data;

    auth->handles--;
    auth_free_when_idle(auth);
}

/* Jobs that wait are answered here; those on a thread or at the store when they come back. */
void auth_close(struct auth *auth)
{
    struct job *job;

    auth->closing = true;
    uv_close((uv_handle_t *)&auth->wake, handle_closed);
    uv_close((uv_handle_t *)&auth->refusals, handle_closed);
    while ((job = list_take(&auth->waiting))) {
        auth->hashing--;
        job_fail(job);
    }
    refusals_tell(&auth->refusals);
    while ((job = list_take(&auth->ready)))
        job_answer(job);
}
