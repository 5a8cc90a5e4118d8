/* Persistence in front of its backend: bounds what is asked, answers for a store that does not, and
 * knows whether it is well. */
#include "persistence.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data_directory_open.h"
#include "query.h"
#include "src/clock.h"
#include "src/log.h"

#define QUEUE_QUERIES_MAX 1024
#define WATCH_MS 50       /* while an answer is owed or the database is not well */
#define WATCH_CALM_MS 500 /* otherwise */
#define PROBE_MS 1000
#define IDLE_MS 2000 /* nobody asked for so long: see whether it still answers */
#define REFUSALS_MAX 4096

uint64_t persistence_answer_ms_max = 800;

/* An answer without a query: the queue was full or there was no memory. */
struct refusal {
    enum query_kind kind;
    union query_callback callback;
    void *context;
};

struct persistence {
    uv_async_t wake;
    uv_timer_t watchdog;
    struct backend *backend;

    pthread_mutex_t mutex;
    struct query_list finished; /* under mutex */
    bool backend_closed;        /* under mutex */

    struct query_list asked; /* without an answer, oldest first */
    unsigned asked_count;
    struct refusal refusals[REFUSALS_MAX];
    unsigned refused;
    char status[STORE_PROBLEM_BYTES];
    bool healthy, was_healthy, probing, looking, closing, closing_backend;
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
        callback.meeting(context, result, result == PERSISTED ? &query->row.meeting : NULL);
        break;
    default:
        if (callback.done)
            callback.done(context, result);
    }
}

/* ---- health ---- */

static void watch(uv_timer_t *timer);

/* The watchdog is due soon when there is something to watch. */
static void watch_on(struct persistence *store)
{
    uint64_t ms = store->asked_count || !store->healthy ? WATCH_MS : WATCH_CALM_MS;

    if (!uv_is_active((uv_handle_t *)&store->watchdog) ||
        uv_timer_get_due_in(&store->watchdog) > ms)
        uv_timer_start(&store->watchdog, watch, ms, 0);
}

void backend_problem(struct persistence *store, const char *problem)
{
    if (store->healthy) {
        LOG(ERROR, "persistence", "the database does not take writes; trying on",
            F("reason", "%s", problem));
        store->probed_ns = clock_monotonic_ns(); /* a moment later, lest it flutters */
    }
    store->healthy = false;
    snprintf(store->status, sizeof(store->status), "%s", problem);
    watch_on(store);
}

/* Only a write that succeeded proves health: reads go on from a full disk. */
static void status_update(struct persistence *store, const struct query *query)
{
    if (query->result == PERSISTENCE_UNAVAILABLE) {
        if (query->problem[0])
            backend_problem(store, query->problem);
    } else if (!store->healthy && kind_writes(query->kind)) {
        if (store->was_healthy)
            LOG(INFO, "persistence", "the database is back");
        store->healthy = store->was_healthy = true;
        snprintf(store->status, sizeof(store->status), "ok");
    }
}

/* ---- answers ---- */

static bool is_fence(const struct query *query)
{
    return query->kind == QUERY_AUDIT_INSERT && query->row.audit.count == 0;
}

/* Takes it off the list of what is owed; then fences that are oldest now may pass. */
static void asked_remove(struct persistence *store, struct query *query)
{
    TAILQ_REMOVE(&store->asked, query, asked);
    store->asked_count--;
    query->answered = true;
    if (store->closing && !store->asked_count)
        uv_async_send(&store->wake);
    query = TAILQ_FIRST(&store->asked);
    if (query && is_fence(query) && !query->repeated) {
        query->repeated = true; /* passes once */
        query_finished(store, query);
    }
}

void query_finished(struct persistence *store, struct query *query)
{
    pthread_mutex_lock(&store->mutex);
    TAILQ_INSERT_TAIL(&store->finished, query, link);
    uv_async_send(&store->wake);
    pthread_mutex_unlock(&store->mutex);
}

void backend_closed(struct persistence *store)
{
    pthread_mutex_lock(&store->mutex);
    store->backend_closed = true;
    uv_async_send(&store->wake);
    pthread_mutex_unlock(&store->mutex);
}

static void deliver_finished(struct persistence *store)
{
    struct query_list finished = TAILQ_HEAD_INITIALIZER(finished);
    struct query *query;

    pthread_mutex_lock(&store->mutex);
    TAILQ_CONCAT(&finished, &store->finished, link);
    pthread_mutex_unlock(&store->mutex);
    while ((query = TAILQ_FIRST(&finished))) {
        TAILQ_REMOVE(&finished, query, link);
        if (!is_fence(query))
            status_update(store, query);
        store->answered_ns = clock_monotonic_ns();
        if (!query->answered) {
            asked_remove(store, query);
            answer(query->kind, query->callback, query->context, query->result, query);
        }
        query_free(query);
    }
}

static void deliver_refusals(struct persistence *store)
{
    /* Callbacks may ask, and be refused, again: those wait for the next turn of the loop. */
    unsigned count = store->refused;

    for (unsigned i = 0; i < count; i++) {
        struct refusal refusal = store->refusals[i];

        answer(refusal.kind, refusal.callback, refusal.context, PERSISTENCE_UNAVAILABLE, NULL);
    }
    store->refused -= count;
    memmove(store->refusals, store->refusals + count, store->refused * sizeof(struct refusal));
    if (store->refused)
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

    pthread_mutex_lock(&store->mutex);
    closed =
        store->backend_closed; /* read first: what was finished before is then delivered below */
    pthread_mutex_unlock(&store->mutex);
    deliver_finished(store);
    deliver_refusals(store);
    if (store->closing && !store->closing_backend && !store->asked_count && !store->refused) {
        store->closing_backend = true;
        store->backend->close(store->backend);
    }
    if (closed && !uv_is_closing((uv_handle_t *)async)) {
        store->backend->free(store->backend);
        handles_close(store);
    }
}

/* Answers for what the store has had too long. What it has not begun it never will; the outcome of
 * what is under way is dropped. */
static void answer_overdue(struct persistence *store)
{
    const uint64_t due_ns = clock_monotonic_ns() - persistence_answer_ms_max * NS_PER_MS;
    struct query *query;

    while ((query = TAILQ_FIRST(&store->asked)) && query->asked_ns < due_ns) {
        enum query_kind kind = query->kind;
        union query_callback callback = query->callback;
        void *context = query->context;
        bool fence = is_fence(query), freed;

        if (fence && query->repeated)
            return; /* it is passing already */
        freed = fence || store->backend->withdraw(store->backend, query);
        asked_remove(store, query);
        if (!fence)
            backend_problem(store, freed && query->problem[0] ? query->problem
                                                              : "database does not answer");
        if (freed)
            query_free(query);
        answer(kind, callback, context, PERSISTENCE_UNAVAILABLE, NULL);
    }
}

static void probe_done(void *context, enum persistence_result result)
{
    struct persistence *store = context;

    store->probing = false;
}

static struct query *query_make(struct persistence *store, enum query_kind kind,
                                union query_callback callback, void *context)
{
    struct query *query = NULL;

    if (store->asked_count < QUEUE_QUERIES_MAX && !store->closing)
        query = calloc(1, sizeof(*query));
    if (query) {
        query->kind = kind;
        query->callback = callback;
        query->context = context;
        query->asked_ns = clock_monotonic_ns();
        return query;
    }
    if (store->refused < REFUSALS_MAX) {
        store->refusals[store->refused++] = (struct refusal){kind, callback, context};
        uv_async_send(&store->wake);
    } else { /* 4096 refused in one turn of the loop: nowhere left to remember it */
        answer(kind, callback, context, PERSISTENCE_UNAVAILABLE, NULL);
    }
    return NULL;
}

static void query_send(struct persistence *store, struct query *query)
{
    TAILQ_INSERT_TAIL(&store->asked, query, asked);
    store->asked_count++;
    if (!is_fence(query)) {
        store->backend->submit(store->backend, query);
    } else if (TAILQ_FIRST(&store->asked) == query) {
        query->repeated = true;
        query_finished(store, query);
    }
    watch_on(store);
}

static void look_done(void *context, enum persistence_result result, const struct user_row *user)
{
    struct persistence *store = context;

    store->looking = false;
}

/* A server may hang while nobody asks for anything: /health should know before the next caller does. */
static void look(struct persistence *store)
{
    union query_callback callback = {.user = look_done};
    struct query *query = query_make(store, QUERY_USER_BY_ID, callback, store);

    store->looking = true; /* also when refused: look_done comes all the same */
    if (!query)
        return;
    snprintf(query->key, sizeof(query->key), "00000000-0000-0000-0000-000000000000");
    query_send(store, query);
}

static void watch(uv_timer_t *timer)
{
    struct persistence *store = timer->data;
    uint64_t now_ns;

    if (store->asked_count)
        answer_overdue(store);
    now_ns = clock_monotonic_ns(); /* not before what was noted just now */
    if (!store->healthy && !store->probing && !store->closing &&
        now_ns - store->probed_ns >= PROBE_MS * NS_PER_MS) {
        struct query *probe =
            query_make(store, QUERY_PROBE, (union query_callback){.done = probe_done}, store);

        store->probed_ns = now_ns;
        store->probing = true; /* also when refused: probe_done comes all the same */
        if (probe)
            query_send(store, probe);
    }
    if (store->healthy && !store->looking && !store->closing && !store->asked_count &&
        now_ns > store->answered_ns + IDLE_MS * NS_PER_MS)
        look(store);
    watch_on(store);
}

/* ---- open and close ---- */

static struct backend *backend_open(struct persistence *store, uv_loop_t *loop,
                                    const struct settings *settings, char *why)
{
    if (strcmp(settings->persistence, "sqlite") == 0) {
        store->healthy = store->was_healthy = true; /* it is open */
        snprintf(store->status, sizeof(store->status), "ok");
        return sqlite_backend_open(store, settings, why);
    }
    if (strcmp(settings->persistence, "postgres") == 0) {
        snprintf(store->status, sizeof(store->status), "not connected yet");
        return postgres_backend_open(store, loop, settings, why);
    }
    snprintf(why, WHY_BYTES, "RINGCAST_PERSISTENCE is \"%.40s\"; it may be sqlite or postgres",
             settings->persistence);
    return NULL;
}

struct persistence *persistence_open(uv_loop_t *loop, const struct settings *settings, char *why)
{
    struct persistence *store = calloc(1, sizeof(*store));

    if (!store) {
        snprintf(why, WHY_BYTES, "no memory for the database");
        return NULL;
    }
    TAILQ_INIT(&store->asked);
    TAILQ_INIT(&store->finished);
    store->handles = 2;
    store->wake.data = store->watchdog.data = store;
    uv_timer_init(loop, &store->watchdog);
    /* Failures below are of a start: the process is about to exit with this. */
    if (uv_async_init(loop, &store->wake, woken) != 0) {
        snprintf(why, WHY_BYTES, "cannot start the database: out of descriptors");
        uv_close((uv_handle_t *)&store->watchdog, NULL);
        return NULL;
    }
    pthread_mutex_init(&store->mutex, NULL);
    store->backend = backend_open(store, loop, settings, why);
    if (!store->backend) {
        handles_close(store);
        return NULL;
    }
    watch_on(store);
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

/* ---- what can be asked ---- */

void user_insert(struct persistence *store, const struct user_row *user, done_callback done,
                 void *context)
{
    struct query *query =
        query_make(store, QUERY_USER_INSERT, (union query_callback){.done = done}, context);

    if (!query)
        return;
    query->row.user = *user;
    query_send(store, query);
}

static void user_find(struct persistence *store, enum query_kind kind, const char *key,
                      user_callback done, void *context)
{
    struct query *query = query_make(store, kind, (union query_callback){.user = done}, context);

    if (!query)
        return;
    snprintf(query->key, sizeof(query->key), "%s", key);
    query_send(store, query);
}

void user_by_email(struct persistence *store, const char *email, user_callback done, void *context)
{
    user_find(store, QUERY_USER_BY_EMAIL, email, done, context);
}

void user_by_id(struct persistence *store, const char *id, user_callback done, void *context)
{
    user_find(store, QUERY_USER_BY_ID, id, done, context);
}

static void update(struct persistence *store, enum query_kind kind, const char *key,
                   const char *text, int64_t number, done_callback done, void *context)
{
    struct query *query = query_make(store, kind, (union query_callback){.done = done}, context);

    if (!query)
        return;
    snprintf(query->key, sizeof(query->key), "%s", key);
    snprintf(query->text, sizeof(query->text), "%s", text);
    query->number = number;
    query_send(store, query);
}

void user_set_password_hash(struct persistence *store, const char *id, const char *hash,
                            done_callback done, void *context)
{
    update(store, QUERY_USER_SET_HASH, id, hash, 0, done, context);
}

void meeting_insert(struct persistence *store, const struct meeting_row *meeting,
                    done_callback done, void *context)
{
    struct query *query =
        query_make(store, QUERY_MEETING_INSERT, (union query_callback){.done = done}, context);

    if (!query)
        return;
    query->row.meeting = *meeting;
    query_send(store, query);
}

/* People type codes in lower case and copy ids in upper case; both are stored in one way only. */
void meeting_find(struct persistence *store, const char *id_or_code, meeting_callback done,
                  void *context)
{
    struct query *query =
        query_make(store, QUERY_MEETING_FIND, (union query_callback){.meeting = done}, context);
    bool is_code = strlen(id_or_code) == ROOM_CODE_BYTES - 1;

    if (!query)
        return;
    snprintf(query->key, sizeof(query->key), "%s", id_or_code);
    for (char *at = query->key; *at; at++) {
        if (is_code && *at >= 'a' && *at <= 'z')
            *at = (char)(*at - 'a' + 'A');
        else if (!is_code && *at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    }
    query_send(store, query);
}

void meeting_set_active(struct persistence *store, const char *id, int64_t started_ms,
                        done_callback done, void *context)
{
    update(store, QUERY_MEETING_SET_ACTIVE, id, "", started_ms, done, context);
}

void meeting_set_closed(struct persistence *store, const char *id, int64_t ended_ms,
                        done_callback done, void *context)
{
    update(store, QUERY_MEETING_SET_CLOSED, id, "", ended_ms, done, context);
}

void meeting_raise_peak(struct persistence *store, const char *id, uint32_t participants,
                        done_callback done, void *context)
{
    update(store, QUERY_MEETING_RAISE_PEAK, id, "", participants, done, context);
}

void meetings_close_stale(struct persistence *store, int64_t ended_ms, done_callback done,
                          void *context)
{
    update(store, QUERY_MEETINGS_CLOSE_STALE, "", "", ended_ms, done, context);
}

void audit_insert_batch(struct persistence *store, const struct audit_row *rows, size_t count,
                        done_callback done, void *context)
{
    union query_callback callback = {.done = done};
    size_t texts_bytes = 0;
    char *text;
    struct audit_row *copy;
    struct query *query;

    for (size_t i = 0; i < count; i++)
        texts_bytes += rows[i].metadata ? strlen(rows[i].metadata) + 1 : 0;
    copy = malloc(count * sizeof(*rows) + texts_bytes + 1);
    query = query_make(store, QUERY_AUDIT_INSERT, callback, context);
    if (!query) {
        free(copy);
        return;
    }
    query->row.audit.rows = copy;
    query->row.audit.count = count;
    if (!copy) { /* answered by the ordinary way, as a step that failed */
        query->result = PERSISTENCE_UNAVAILABLE;
        snprintf(query->problem, sizeof(query->problem), "no memory");
        TAILQ_INSERT_TAIL(&store->asked, query, asked);
        store->asked_count++;
        query->repeated = true;
        query_finished(store, query);
        return;
    }
    if (count) /* a fence may come without rows at all */
        memcpy(copy, rows, count * sizeof(*rows));
    text = (char *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        size_t bytes;

        if (!rows[i].metadata)
            continue;
        bytes = strlen(rows[i].metadata) + 1;
        memcpy(text, rows[i].metadata, bytes);
        copy[i].metadata = text;
        text += bytes;
    }
    query_send(store, query);
}
