/* Jobs of auth: made, hashed by at most HASHES_RUNNING_MAX threads at a time, answered. */
#include <stdlib.h>
#include <string.h>

#include "auth_internal.h"
#include "controlplane/web/memory.h"
#include "src/clock.h"

/* A refused login is answered at a multiple of this after its start. The duration of the hash does
 * not show: bcrypt as the NestJS backend chose it, or argon2id as the settings say. */
uint64_t auth_refusal_ns = 300 * NS_PER_MS;

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

struct job *job_make(struct auth *auth, enum job_kind kind, auth_callback done, void *context)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job) { /* nothing can hold the answer until later: give it at once */
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

/* ---- answers ---- */

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

    /* Callbacks may start new jobs: answer only those that are ready now. */
    for (unsigned left = auth->jobs; left > 0 && (job = list_take(&auth->ready)); left--)
        job_answer(job);
    if (auth->ready.head)
        uv_async_send(&auth->wake);
    auth_free_when_idle(auth);
}

void job_finish(struct job *job, enum auth_result result)
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

static void refusals_answer(uv_timer_t *timer)
{
    struct auth *auth = timer->data;
    uint64_t now_ns = clock_monotonic_ns();
    struct job *job;

    while ((job = auth->refused) && (job->refused_ns <= now_ns || auth->closing)) {
        auth->refused = job->next;
        job_finish(job, AUTH_REFUSED);
    }
    if (job)
        uv_timer_start(timer, refusals_answer, (job->refused_ns - now_ns) / NS_PER_MS + 1, 0);
}

void job_refuse(struct job *job)
{
    struct auth *auth = job->auth;
    uint64_t now_ns = clock_monotonic_ns(), every_ns = auth_refusal_ns ? auth_refusal_ns : 1;
    struct job **at = &auth->refused;

    job->refused_ns = job->started_ns + ((now_ns - job->started_ns) / every_ns + 1) * every_ns;
    while (*at && (*at)->refused_ns <= job->refused_ns)
        at = &(*at)->next;
    job->next = *at;
    *at = job;
    refusals_answer(&auth->refusal_timer);
}

/* ---- the hash threads ---- */

/* Runs on a thread of libuv's pool. Unknown users get the same work with a hash of nobody. */
static void hash_run(uv_work_t *work)
{
    struct job *job = work->data;
    char nobody[PASSWORD_HASH_BYTES];
    unsigned failures = memory_failures();

    if (job->kind == JOB_REGISTER) {
        job->matches = password_hash(&job->cost, job->password, job->user.password_hash);
        return;
    }
    password_nobody(&job->cost, nobody);
    job->matches = password_verify(job->found ? job->user.password_hash : nobody, job->password);
    if (job->found && job->matches && job->user.is_active &&
        password_hash_is_weaker(job->user.password_hash, &job->cost))
        job->rehash = password_hash(&job->cost, job->password, job->new_hash);
    job->no_memory = memory_failures() != failures;
}

static void hash_next(struct auth *auth);

static void hash_done(uv_work_t *work, int status)
{
    struct job *job = work->data;
    struct auth *auth = job->auth;

    auth->hashes_running--;
    auth->hashes--;
    hash_next(auth);
    job_hashed(job, status == 0 && !job->no_memory);
}

static void hash_next(struct auth *auth)
{
    while (auth->hashes_running < HASHES_RUNNING_MAX) {
        struct job *job = list_take(&auth->to_hash);

        if (!job)
            return;
        if (uv_queue_work(auth->loop, &job->work, hash_run, hash_done) != 0) {
            auth->hashes--;
            job_fail(job);
            continue;
        }
        auth->hashes_running++;
    }
}

void job_hash(struct job *job)
{
    list_append(&job->auth->to_hash, job);
    hash_next(job->auth);
}

/* ---- open and close ---- */

bool jobs_open(struct auth *auth)
{
    auth->wake.data = auth->refusal_timer.data = auth;
    if (uv_async_init(auth->loop, &auth->wake, ready_answer) != 0)
        return false;
    uv_timer_init(auth->loop, &auth->refusal_timer);
    auth->handles = 2;
    return true;
}

static void handle_closed(uv_handle_t *handle)
{
    struct auth *auth = handle->data;

    auth->handles--;
    auth_free_when_idle(auth);
}

/* Answers the jobs that wait. Those on a thread or at the database are answered when they come
 * back. */
void jobs_close(struct auth *auth)
{
    struct job *job;

    uv_close((uv_handle_t *)&auth->wake, handle_closed);
    uv_close((uv_handle_t *)&auth->refusal_timer, handle_closed);
    while ((job = list_take(&auth->to_hash))) {
        auth->hashes--;
        job_fail(job);
    }
    waiting_fail(auth);
    refusals_answer(&auth->refusal_timer);
    while ((job = list_take(&auth->ready)))
        job_answer(job);
}
