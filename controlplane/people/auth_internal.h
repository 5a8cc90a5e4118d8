/* Inside of accounts: a job is one request to auth, and it goes
 *
 *   limit of attempts ─► database (read) ─► hash on the thread pool ─► database (write) ─► answer
 *
 *   auth.c       what each kind of job does
 *   auth_admit.c the limits of attempts
 *   auth_jobs.c  the jobs themselves: making, answering, the queue to the hash threads */
#ifndef RINGCAST_AUTH_INTERNAL_H
#define RINGCAST_AUTH_INTERNAL_H

#include <sys/queue.h>

#include "attempt_limit.h"
#include "attempt_name.h"
#include "auth.h"
#include "known_logins.h"
#include "password.h"
#include "secret.h"
#include "token.h"
#include "validate.h"

#define HASHES_RUNNING_MAX 2
#define HASHES_WAITING_MAX 64
#define WAITING_MAX 256 /* jobs that wait for others that count under the same name */
#define WAITING_PER_ADDRESS_MAX 128
#define BUSY_RETRY_S 2 /* 64 hashes of 25 ms on two threads need one second */
#define LOGIN_NAME_BYTES (256 + ADDRESS_NAME_BYTES) /* e-mail address, and perhaps an address */

enum job_kind { JOB_REGISTER, JOB_LOGIN, JOB_VERIFY };

struct job {
    struct job *next;
    struct auth *auth;
    enum job_kind kind;
    uv_work_t work;
    struct user_row user; /* a new one to register, or the one that logs in, as it is stored */
    bool found, matches, rehash;
    struct password_cost cost;
    char password[PASSWORD_TEXT_BYTES];
    char new_hash[PASSWORD_HASH_BYTES];
    char ip[46];
    char address[ADDRESS_NAME_BYTES];
    char counted_address[ADDRESS_NAME_BYTES + 16]; /* registrations are counted apart */
    char account[256];           /* the e-mail address as given; user.email is the stored one */
    char pair[LOGIN_NAME_BYTES]; /* that and address */
    bool other_form;  /* the account is being looked up by the other form of its domain */
    bool is_familiar; /* the owner has logged in from this address before */
    bool is_admitted; /* in auth->admitted, and counted at counted_ns */
    LIST_ENTRY(job) admitted_link;
    TAILQ_ENTRY(job) waiting_link;
    uint64_t started_ns, counted_ns, refused_ns;
    bool no_memory; /* for the hash */
    enum auth_result result;
    uint32_t retry_after_s;
    char token[TOKEN_BYTES_MAX]; /* "": none */
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
    uint32_t keys_version; /* changes with the secrets */
    struct attempt_limit *address_attempts, *account_attempts;
    struct known_logins *known;
    LIST_HEAD(, job) admitted; /* they count, and may yet succeed */
    TAILQ_HEAD(, job) waiting; /* for some of those */
    struct job_list to_hash;
    struct job_list ready;   /* answered in the next turn of the loop */
    struct job *refused;     /* answered at their refused_ns, earliest first */
    unsigned hashes_running; /* on threads */
    unsigned hashes;         /* jobs that need a hash, from their start until the hash is done */
    unsigned jobs;           /* all jobs, running and waiting */
    uv_async_t wake;
    uv_timer_t refusal_timer;
    unsigned handles; /* of these two, still open */
    bool closing;
};

void auth_free_when_idle(struct auth *auth);
/* The job is admitted: goes on. */
void job_begin(struct job *job);
/* After an internal error: the attempt of the job does not count. */
void job_fail(struct job *job);
/* The hash of the job is done; runs on the loop. */
void job_hashed(struct job *job, bool ran);

/* ---- auth_admit.c ---- */

/* Counts the attempt. Then job_begin, or the job waits, or it is finished. */
void job_admit(struct job *job);
/* It is known whether the attempt counts: whether it failed. A second call does nothing. */
void job_settle(struct job *job, bool counts);
/* Answers those that wait. */
void waiting_fail(struct auth *auth);

/* ---- auth_jobs.c ---- */

bool jobs_open(struct auth *auth);
void jobs_close(struct auth *auth);
/* NULL: no memory; `done` was called with AUTH_BUSY. */
struct job *job_make(struct auth *auth, enum job_kind kind, auth_callback done, void *context);
/* Answers the job in the next turn of the loop: never before the function that asked has
 * returned. */
void job_finish(struct job *job, enum auth_result result);
/* Answers AUTH_REFUSED at the next multiple of auth_refusal_ns after the start of the job. */
void job_refuse(struct job *job);
/* Hashes, or verifies, the password of the job; then job_hashed. */
void job_hash(struct job *job);

#endif
