/* The limits of attempts. A login counts while it is in progress and when it has failed. One that
 * would be refused because of others in progress waits for them: if they succeed, they do not count,
 * and everybody behind one address gets in.
 *
 *   by address   failed logins; apart from them, registrations
 *   by account   failed logins from addresses from which the owner has never logged in; one such
 *                address gets only a part of them, so that one guesser leaves some for the owner
 *   by both      failed logins from an address from which the owner has logged in: strangers who use
 *                up the attempts of the account do not lock the owner out there */
#include <stdio.h>
#include <string.h>

#include "auth_internal.h"
#include "src/clock.h"
#include "src/log.h"

#define ROWS_PER_JOB 1   /* audit rows */
#define OWNER_ATTEMPTS 2 /* of an account's attempts, kept free of any single address */
#define NAMES_MAX 3

struct counted_name {
    struct attempt_limit *table;
    const char *name;
    uint32_t limit;
    const char *by;
};

/* The names under which the job counts. */
static unsigned names_of(const struct job *job, struct counted_name names[NAMES_MAX])
{
    const struct auth *auth = job->auth;
    uint32_t most = auth->settings->account_attempts_per_minute;
    unsigned count = 0;

    names[count++] = (struct counted_name){auth->address_attempts, job->counted_address,
                                           auth->settings->login_attempts_per_minute, "address"};
    if (job->kind != JOB_LOGIN)
        return count;
    if (!job->is_familiar) {
        names[count++] =
            (struct counted_name){auth->account_attempts, job->account, most, "account"};
        most = most > OWNER_ATTEMPTS ? most - OWNER_ATTEMPTS : 1;
    }
    names[count++] = (struct counted_name){auth->account_attempts, job->pair, most, "account"};
    return count;
}

static void attempts_give_back(struct job *job)
{
    struct counted_name names[NAMES_MAX];
    unsigned count = names_of(job, names);

    for (unsigned i = 0; i < count; i++)
        attempt_limit_give_back(names[i].table, names[i].name, job->counted_ns);
}

/* Is a job in progress that counts under the same name? */
static bool is_in_progress(const struct auth *auth, const struct counted_name *name)
{
    struct counted_name names[NAMES_MAX];
    const struct job *other;

    LIST_FOREACH(other, &auth->admitted, admitted_link)
    {
        unsigned count = names_of(other, names);

        for (unsigned i = 0; i < count; i++)
            if (names[i].table == name->table && strcmp(names[i].name, name->name) == 0)
                return true;
    }
    return false;
}

enum admission { ADMITTED, MUST_WAIT, REFUSED };

static void refuse(struct job *job, const struct counted_name *name)
{
    enum attempt_result result = attempt_limit_take(name->table, name->name, clock_monotonic_ns(),
                                                    name->limit, &job->retry_after_s);

    if (result == ATTEMPT_REFUSED_FIRST) {
        LOG(WARN, "auth", "too many attempts", F("by", "%s", name->by), F("ip", "%s", job->ip));
        audit_write(job->auth->audit, AUDIT_rate_limited, NULL, NULL, job->ip,
                    "{\"call\":\"%s\",\"by\":\"%s\"}",
                    job->kind == JOB_LOGIN ? "auth/login" : "auth/register", name->by);
    }
    job_finish(job, AUTH_TOO_MANY_ATTEMPTS);
}

/* Takes one attempt under each name, or none. */
static enum admission admit(struct job *job)
{
    struct counted_name names[NAMES_MAX];
    uint64_t now_ns = clock_monotonic_ns();
    uint32_t retry_after_s;
    unsigned count = names_of(job, names);

    for (unsigned i = 0; i < count; i++) {
        if (!attempt_limit_is_reached(names[i].table, names[i].name, now_ns, names[i].limit))
            continue;
        if (is_in_progress(job->auth, &names[i]))
            return MUST_WAIT;
        refuse(job, &names[i]);
        return REFUSED;
    }
    if (job->auth->hashes >= HASHES_RUNNING_MAX + HASHES_WAITING_MAX)
        return MUST_WAIT;
    for (unsigned i = 0; i < count; i++)
        attempt_limit_take(names[i].table, names[i].name, now_ns, names[i].limit, &retry_after_s);
    job->counted_ns = now_ns;
    job->is_admitted = true;
    LIST_INSERT_HEAD(&job->auth->admitted, job, admitted_link);
    job->auth->hashes++;
    return ADMITTED;
}

static void wait_for_others(struct job *job)
{
    struct auth *auth = job->auth;
    const struct job *other;
    unsigned all = 0, same = 0;

    TAILQ_FOREACH(other, &auth->waiting, waiting_link)
    {
        all++;
        same += strcmp(other->address, job->address) == 0;
    }
    if (all >= WAITING_MAX || same >= WAITING_PER_ADDRESS_MAX) {
        job->retry_after_s = BUSY_RETRY_S;
        job_finish(job, AUTH_BUSY);
        return;
    }
    TAILQ_INSERT_TAIL(&auth->waiting, job, waiting_link);
}

void job_admit(struct job *job)
{
    struct auth *auth = job->auth;
    const struct settings *settings = auth->settings;

    job->started_ns = clock_monotonic_ns();
    job->cost = (struct password_cost){settings->argon2_memory_kib, settings->argon2_passes,
                                       settings->argon2_lanes};
    if (auth->closing || !audit_ready(auth->audit, ROWS_PER_JOB)) {
        job_finish(job, AUTH_UNAVAILABLE);
        return;
    }
    if (auth->hashes >= HASHES_RUNNING_MAX + HASHES_WAITING_MAX) {
        job->retry_after_s = BUSY_RETRY_S;
        job_finish(job, AUTH_BUSY);
        return;
    }
    address_name(job->ip, job->address);
    snprintf(job->counted_address, sizeof(job->counted_address), "%s%s",
             job->kind == JOB_REGISTER ? "new account " : "", job->address);
    snprintf(job->account, sizeof(job->account), "%s", job->user.email);
    snprintf(job->pair, sizeof(job->pair), "%s %s", job->account, job->address);
    job->is_familiar =
        job->kind == JOB_LOGIN && known_logins_has(auth->known, job->account, job->address);
    switch (admit(job)) {
    case ADMITTED:
        job_begin(job);
        break;
    case MUST_WAIT:
        wait_for_others(job);
        break;
    case REFUSED:
        break;
    }
}

/* Those that wait may go on now, or are refused. */
static void waiting_retry(struct auth *auth)
{
    struct job *job = TAILQ_FIRST(&auth->waiting), *next;

    for (; job; job = next) {
        enum admission admission = admit(job);

        next = TAILQ_NEXT(job, waiting_link);
        if (admission == MUST_WAIT)
            continue;
        TAILQ_REMOVE(&auth->waiting, job, waiting_link);
        if (admission == ADMITTED)
            job_begin(job);
    }
}

void job_settle(struct job *job, bool counts)
{
    if (!job->is_admitted)
        return;
    job->is_admitted = false;
    LIST_REMOVE(job, admitted_link);
    if (!counts)
        attempts_give_back(job);
    if (!job->auth->closing)
        waiting_retry(job->auth);
}

void waiting_fail(struct auth *auth)
{
    struct job *job;

    while ((job = TAILQ_FIRST(&auth->waiting))) {
        TAILQ_REMOVE(&auth->waiting, job, waiting_link);
        job_finish(job, AUTH_UNAVAILABLE);
    }
}
