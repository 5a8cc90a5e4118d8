/* Persistence in front of its database: it limits how many queries wait and for how long, answers
 * queries that the database does not answer, and knows whether the database works. */
#include "persistence.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "database.h"
#include "data_directory_open.h"
#include "src/clock.h"
#include "src/log.h"

#define QUEUE_QUERIES_MAX 1024
#define WATCHDOG_BUSY_MS 50  /* while queries wait for an answer, or the database does not work */
#define WATCHDOG_IDLE_MS 500 /* otherwise */
#define PROBE_MS 1000
#define IDLE_CHECK_MS \
    2000 /* after this time without a query, check that the database still answers */
#define REFUSALS_MAX 4096

uint64_t persistence_answer_ms_max = 800;

/* A query that could not be made: the queue was full, or there was no memory. Its callback is
 * due. */
struct refusal {
    enum query_kind kind;
    union query_callback callback;
    void *context;
};

struct persistence {
    uv_async_t wake;
    uv_timer_t watchdog;
    struct database *database;

    pthread_mutex_t mutex;
    struct query_list finished; /* under mutex */
    bool database_closed;       /* under mutex */

    struct query_list unanswered; /* oldest first */
    unsigned unanswered_count;
    struct refusal refusals[REFUSALS_MAX];
    unsigned refusal_count;
    char status[DATABASE_PROBLEM_BYTES];
    bool healthy, was_healthy, probing, checking, closing, closing_database;
    uint64_t probed_ns, answered_ns;
    unsigned handles;
    void (*closed)(void *context);
    void *closed_context;
};

static void query_free(struct query *query)
{
    if (query->kind == QUERY_AUDIT_INSERT)
        free(query->row.audit.rows);
    explicit_bzero(&query->row, sizeof(query->row)); /* password hashes */
    explicit_bzero(query->text, sizeof(query->text));
    free(query);
}

static bool kind_writes(enum query_kind kind)
{
    static const bool writes[] = {
#define R(name, callback, changes) changes,
        QUERIES(R)
#undef R
    };
    return writes[kind];
}

static void answer(enum query_kind kind, union query_callback callback, void *context,
                   enum persistence_result result, const struct query *query)
{
    switch (kind) {
    case QUERY_USER_BY_EMAIL:
    case QUERY_USER_BY_ID:
        callback.user(context, result, result == PERSISTED ? &query->row.user : NULL);
        break;
    case QUERY_MEETING_FIND:
    case QUERY_MEETING_NEXT_ACTIVE:
        callback.meeting(context, result, result == PERSISTED ? &query->row.meeting : NULL);
        break;
    default:
        if (callback.done)
            callback.done(context, result);
    }
}

/* ---- health ---- */

static void watchdog_run(uv_timer_t *timer);

/* The watchdog runs soon when a query waits or the database does not work. */
static void watchdog_schedule(struct persistence *store)
{
    uint64_t ms = store->unanswered_count || !store->healthy ? WATCHDOG_BUSY_MS : WATCHDOG_IDLE_MS;

    if (!uv_is_active((uv_handle_t *)&store->watchdog) ||
        uv_timer_get_due_in(&store->watchdog) > ms)
        uv_timer_start(&store->watchdog, watchdog_run, ms, 0);
}

static void database_problem(void *context, const char *problem)
{
    struct persistence *store = context;

    if (store->healthy) {
        LOG(ERROR, "persistence", "the database does not take writes; will retry",
            F("reason", "%s", problem));
        store->probed_ns = clock_monotonic_ns(); /* no probe at once: the status must not flap */
    }
    store->healthy = false;
    snprintf(store->status, sizeof(store->status), "%s", problem);
    watchdog_schedule(store);
}

/* Only a write that succeeded proves that the database works: a full disk still answers reads. */
static void status_update(struct persistence *store, const struct query *query)
{
    if (query->result == PERSISTENCE_UNAVAILABLE) {
        if (query->problem[0])
            database_problem(store, query->problem);
    } else if (!store->healthy && kind_writes(query->kind)) {
        if (store->was_healthy)
            LOG(INFO, "persistence", "the database takes writes again");
        store->healthy = store->was_healthy = true;
        snprintf(store->status, sizeof(store->status), "ok");
    }
}

/* ---- answers ---- */

static void query_finished(void *context, struct query *query)
{
    struct persistence *store = context;

    pthread_mutex_lock(&store->mutex);
    TAILQ_INSERT_TAIL(&store->finished, query, link);
    uv_async_send(&store->wake);
    pthread_mutex_unlock(&store->mutex);
}

static void database_closed(void *context)
{
    struct persistence *store = context;

    pthread_mutex_lock(&store->mutex);
    store->database_closed = true;
    uv_async_send(&store->wake);
    pthread_mutex_unlock(&store->mutex);
}

/* An empty audit batch never goes to the database. It is finished when it is the oldest query. */
static bool is_barrier(const struct query *query)
{
    return query->kind == QUERY_AUDIT_INSERT && query->row.audit.count == 0;
}

static void barrier_finish_if_oldest(struct persistence *store)
{
    struct query *oldest = TAILQ_FIRST(&store->unanswered);

    if (oldest && is_barrier(oldest) && !oldest->repeated) {
        oldest->repeated = true; /* finish it only once */
        query_finished(store, oldest);
    }
}

static void unanswered_add(struct persistence *store, struct query *query)
{
    TAILQ_INSERT_TAIL(&store->unanswered, query, unanswered);
    store->unanswered_count++;
}

static void unanswered_remove(struct persistence *store, struct query *query)
{
    TAILQ_REMOVE(&store->unanswered, query, unanswered);
    store->unanswered_count--;
    query->answered = true;
    if (store->closing && !store->unanswered_count)
        uv_async_send(&store->wake);
    barrier_finish_if_oldest(store);
}

static void finished_answer(struct persistence *store)
{
    struct query_list finished = TAILQ_HEAD_INITIALIZER(finished);
    struct query *query;

    pthread_mutex_lock(&store->mutex);
    TAILQ_CONCAT(&finished, &store->finished, link);
    pthread_mutex_unlock(&store->mutex);
    while ((query = TAILQ_FIRST(&finished))) {
        TAILQ_REMOVE(&finished, query, link);
        if (!is_barrier(query))
            status_update(store, query);
        store->answered_ns = clock_monotonic_ns();
        if (!query->answered) {
            unanswered_remove(store, query);
            answer(query->kind, query->callback, query->context, query->result, query);
        }
        query_free(query);
    }
}

static void refusals_answer(struct persistence *store)
{
    /* Callbacks may ask again and be refused again: those wait for the next turn of the loop. */
    unsigned count = store->refusal_count;

    for (unsigned i = 0; i < count; i++) {
        struct refusal refusal = store->refusals[i];

        answer(refusal.kind, refusal.callback, refusal.context, PERSISTENCE_UNAVAILABLE, NULL);
    }
    store->refusal_count -= count;
    memmove(store->refusals, store->refusals + count,
            store->refusal_count * sizeof(struct refusal));
    if (store->refusal_count)
        uv_async_send(&store->wake);
}

static void handle_closed(uv_handle_t *handle)
{
    struct persistence *store = handle->data;
    void (*closed)(void *) = store->closed;
    void *context = store->closed_context;

    if (--store->handles > 0)
        return;
    pthread_mutex_destroy(&store->mutex);
    free(store);
    if (closed)
        closed(context);
}

static void handles_close(struct persistence *store)
{
    uv_close((uv_handle_t *)&store->wake, handle_closed);
    uv_close((uv_handle_t *)&store->watchdog, handle_closed);
}

static void woken(uv_async_t *async)
{
    struct persistence *store = async->data;
    bool closed;

    /* Read this first: the queries that finished before the database closed are answered below. */
    pthread_mutex_lock(&store->mutex);
    closed = store->database_closed;
    pthread_mutex_unlock(&store->mutex);
    finished_answer(store);
    refusals_answer(store);
    if (store->closing && !store->closing_database && !store->unanswered_count &&
        !store->refusal_count) {
        store->closing_database = true;
        store->database->kind->close(store->database);
    }
    if (closed && !uv_is_closing((uv_handle_t *)async)) {
        store->database->kind->free(store->database);
        handles_close(store);
    }
}

/* Answers the queries whose time is over. The database never starts those that it has not started;
 * the results of those that it is running are dropped. */
static void overdue_answer(struct persistence *store)
{
    const uint64_t due_ns = clock_monotonic_ns() - persistence_answer_ms_max * NS_PER_MS;
    struct database *database = store->database;
    struct query *query;

    while ((query = TAILQ_FIRST(&store->unanswered)) && query->asked_ns < due_ns) {
        enum query_kind kind = query->kind;
        union query_callback callback = query->callback;
        void *context = query->context;
        bool barrier = is_barrier(query), ours;

        if (barrier && query->repeated)
            return; /* it is in the list of finished queries */
        ours = barrier || database->kind->withdraw(database, query);
        unanswered_remove(store, query);
        if (!barrier)
            database_problem(store, ours && query->problem[0] ? query->problem
                                                              : "database does not answer");
        if (ours)
            query_free(query);
        answer(kind, callback, context, PERSISTENCE_UNAVAILABLE, NULL);
    }
}

/* ---- queries ---- */

struct query *query_make(struct persistence *store, enum query_kind kind,
                         union query_callback callback, void *context)
{
    struct query *query = NULL;

    if (store->unanswered_count < QUEUE_QUERIES_MAX && !store->closing)
        query = calloc(1, sizeof(*query));
    if (query) {
        query->kind = kind;
        query->callback = callback;
        query->context = context;
        query->asked_ns = clock_monotonic_ns();
        return query;
    }
    if (store->refusal_count < REFUSALS_MAX) {
        store->refusals[store->refusal_count++] = (struct refusal){kind, callback, context};
        uv_async_send(&store->wake);
    } else { /* 4096 refusals in one turn of the loop, and no place for one more: answer at once */
        answer(kind, callback, context, PERSISTENCE_UNAVAILABLE, NULL);
    }
    return NULL;
}

void query_send(struct persistence *store, struct query *query)
{
    unanswered_add(store, query);
    if (is_barrier(query))
        barrier_finish_if_oldest(store);
    else
        store->database->kind->submit(store->database, query);
    watchdog_schedule(store);
}

void query_fail(struct persistence *store, struct query *query, const char *problem)
{
    query->result = PERSISTENCE_UNAVAILABLE;
    snprintf(query->problem, sizeof(query->problem), "%s", problem);
    query->repeated = true;
    unanswered_add(store, query);
    query_finished(store, query);
}

/* ---- the watchdog ---- */

static void probe_done(void *context, enum persistence_result result)
{
    struct persistence *store = context;

    store->probing = false;
}

static void probe_send(struct persistence *store)
{
    union query_callback callback = {.done = probe_done};
    struct query *probe = query_make(store, QUERY_PROBE, callback, store);

    store->probing = true; /* also when it was refused: probe_done is called then as well */
    if (probe)
        query_send(store, probe);
}

static void check_done(void *context, enum persistence_result result, const struct user_row *user)
{
    struct persistence *store = context;

    store->checking = false;
}

/* A server may hang while there are no queries: /health must know it before the next caller
 * does. */
static void check_send(struct persistence *store)
{
    union query_callback callback = {.user = check_done};
    struct query *query = query_make(store, QUERY_USER_BY_ID, callback, store);

    store->checking = true; /* also when it was refused: check_done is called then as well */
    if (!query)
        return;
    snprintf(query->key, sizeof(query->key), "00000000-0000-0000-0000-000000000000");
    query_send(store, query);
}

static void watchdog_run(uv_timer_t *timer)
{
    struct persistence *store = timer->data;
    uint64_t now_ns;

    if (store->unanswered_count)
        overdue_answer(store);
    now_ns = clock_monotonic_ns(); /* after overdue_answer, which may set probed_ns */
    if (!store->healthy && !store->probing && !store->closing &&
        now_ns - store->probed_ns >= PROBE_MS * NS_PER_MS) {
        store->probed_ns = now_ns;
        probe_send(store);
    }
    if (store->healthy && !store->checking && !store->closing && !store->unanswered_count &&
        now_ns > store->answered_ns + IDLE_CHECK_MS * NS_PER_MS)
        check_send(store);
    watchdog_schedule(store);
}

/* ---- open and close ---- */

static bool database_open(struct persistence *store, uv_loop_t *loop,
                          const struct settings *settings,
                          const struct database_kind *const kinds[], char *why)
{
    const struct database_owner owner = {store, query_finished, database_closed, database_problem};
    char names[80] = "";

    for (const struct database_kind *const *kind = kinds; *kind; kind++) {
        if (strcmp(settings->persistence, (*kind)->name) == 0) {
            store->healthy = store->was_healthy = (*kind)->opens_at_once;
            snprintf(store->status, sizeof(store->status), "%s",
                     store->healthy ? "ok" : "not connected yet");
            store->database = (*kind)->open(&owner, loop, settings, why);
            return store->database != NULL;
        }
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
                 kind == kinds ? "" : " or ", (*kind)->name);
    }
    snprintf(why, WHY_BYTES, "RINGCAST_PERSISTENCE is \"%.40s\"; it may be %s",
             settings->persistence, names);
    return false;
}

struct persistence *persistence_open(uv_loop_t *loop, const struct settings *settings,
                                     const struct database_kind *const kinds[], char *why)
{
    struct persistence *store = calloc(1, sizeof(*store));

    if (!store) {
        snprintf(why, WHY_BYTES, "no memory for the database");
        return NULL;
    }
    TAILQ_INIT(&store->unanswered);
    TAILQ_INIT(&store->finished);
    store->handles = 2;
    store->wake.data = store->watchdog.data = store;
    uv_timer_init(loop, &store->watchdog);
    /* After a failure from here on the process exits: what it leaves open does not matter. */
    if (uv_async_init(loop, &store->wake, woken) != 0) {
        snprintf(why, WHY_BYTES, "cannot start the database: out of descriptors");
        uv_close((uv_handle_t *)&store->watchdog, NULL);
        return NULL;
    }
    pthread_mutex_init(&store->mutex, NULL);
    if (!database_open(store, loop, settings, kinds, why)) {
        handles_close(store);
        return NULL;
    }
    watchdog_schedule(store);
    return store;
}

void persistence_close(struct persistence *store, void (*done)(void *context), void *context)
{
    store->closing = true;
    store->closed = done;
    store->closed_context = context;
    uv_async_send(&store->wake);
}

const char *persistence_status(const struct persistence *store)
{
    return store->status;
}
