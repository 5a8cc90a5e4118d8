/* Persistence in front of its backend: a bounded queue to the store thread, answers back on the
 * loop, and a watchdog that answers for a store that does not. */
#include "persistence.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "request.h"
#include "sqlite.h"
#include "src/clock.h"
#include "src/log.h"

#define QUEUE_REQUESTS_MAX 1024
#define ANSWER_MS_MAX 900 /* threats.md F16: unavailable within a second, also from a hung disk */
#define WATCH_MS 100
#define PROBE_MS 1000
#define REFUSALS_MAX 4096

/* An answer without a request: the queue was full or there was no memory. */
struct refusal {
    enum request_kind kind;
    union request_callback callback;
    void *context;
};

struct request_list {
    struct request *head, **tail;
};

struct persistence {
    uv_loop_t *loop;
    uv_async_t wake;
    uv_timer_t watchdog;
    pthread_t thread;
    struct sqlite_store *sqlite; /* the store thread's */

    pthread_mutex_t mutex;
    pthread_cond_t work;
    /* under mutex */
    struct request_list queue, finished;
    struct request *running;
    bool stop, stopped;

    /* the loop's */
    unsigned asked; /* answers owed by queue, running and finished */
    struct refusal refusals[REFUSALS_MAX];
    unsigned refused;
    char status[STORE_PROBLEM_BYTES];
    bool healthy, probing, closing;
    uint64_t probed_ns;
    unsigned handles;
    void (*closed)(void *context);
    void *closed_context;
};

static void list_clear(struct request_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
}

static void list_append(struct request_list *list, struct request *request)
{
    request->next = NULL;
    *list->tail = request;
    list->tail = &request->next;
}

static struct request *list_take(struct request_list *list)
{
    struct request *first = list->head;

    if (first) {
        list->head = first->next;
        if (!list->head)
            list->tail = &list->head;
    }
    return first;
}

static void request_free(struct request *request)
{
    if (request->kind == REQUEST_AUDIT_INSERT)
        free(request->row.audit.rows);
    explicit_bzero(&request->row, sizeof(request->row)); /* password hashes */
    explicit_bzero(request->text, sizeof(request->text));
    free(request);
}

static bool kind_writes(enum request_kind kind)
{
    static const bool writes[] = {
#define R(name, callback, changes) changes,
        REQUESTS(R)
#undef R
    };
    return writes[kind];
}

static void answer(enum request_kind kind, union request_callback callback, void *context,
                   enum persistence_result result, const struct request *request)
{
    switch (kind) {
    case REQUEST_USER_BY_EMAIL:
    case REQUEST_USER_BY_ID:
        callback.user(context, result, result == PERSISTED ? &request->row.user : NULL);
        break;
    case REQUEST_MEETING_FIND:
        callback.meeting(context, result, result == PERSISTED ? &request->row.meeting : NULL);
        break;
    default:
        if (callback.done)
            callback.done(context, result);
    }
}

static void *store_thread(void *argument)
{
    struct persistence *store = argument;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&store->mutex);
    for (;;) {
        struct request *request = list_take(&store->queue);

        if (!request) {
            if (store->stop)
                break;
            pthread_cond_wait(&store->work, &store->mutex);
            continue;
        }
        store->running = request;
        pthread_mutex_unlock(&store->mutex);
        sqlite_store_do(store->sqlite, request);
        pthread_mutex_lock(&store->mutex);
        store->running = NULL;
        list_append(&store->finished, request);
        uv_async_send(&store->wake);
    }
    store->stopped = true;
    uv_async_send(&store->wake);
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

/* Only a write that succeeded proves health: reads go on from a full disk. */
static void status_update(struct persistence *store, const struct request *request,
                          enum persistence_result result, const char *problem)
{
    if (result == PERSISTENCE_UNAVAILABLE) {
        if (store->healthy)
            LOG(ERROR, "persistence", "the database does not take writes; trying on",
                F("reason", "%s", problem));
        store->healthy = false;
        snprintf(store->status, sizeof(store->status), "%s", problem);
    } else if (!store->healthy && kind_writes(request->kind)) {
        LOG(INFO, "persistence", "the database is back");
        store->healthy = true;
        snprintf(store->status, sizeof(store->status), "ok");
    }
}

static void handle_closed(uv_handle_t *handle)
{
    struct persistence *store = handle->data;
    void (*closed)(void *) = store->closed;
    void *context = store->closed_context;

    if (--store->handles > 0)
        return;
    pthread_cond_destroy(&store->work);
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

static void deliver_finished(struct persistence *store)
{
    struct request *request, *next;

    pthread_mutex_lock(&store->mutex);
    request = store->finished.head;
    list_clear(&store->finished);
    pthread_mutex_unlock(&store->mutex);
    for (; request; request = next) {
        next = request->next;
        status_update(store, request, request->result, request->problem);
        if (!request->abandoned) {
            store->asked--;
            answer(request->kind, request->callback, request->context, request->result, request);
        }
        request_free(request);
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

static void woken(uv_async_t *async)
{
    struct persistence *store = async->data;
    bool stopped;

    pthread_mutex_lock(&store->mutex);
    stopped = store->stopped; /* read first: what is finished before it is then delivered below */
    pthread_mutex_unlock(&store->mutex);
    deliver_finished(store);
    deliver_refusals(store);
    if (stopped && !store->refused && !uv_is_closing((uv_handle_t *)async)) {
        pthread_join(store->thread, NULL);
        sqlite_store_close(store->sqlite);
        handles_close(store);
    }
}

static void probe_done(void *context, enum persistence_result result)
{
    struct persistence *store = context;

    store->probing = false;
}

static struct request *request_make(struct persistence *store, enum request_kind kind,
                                    union request_callback callback, void *context)
{
    struct request *request = NULL;

    if (store->asked < QUEUE_REQUESTS_MAX && !store->closing)
        request = calloc(1, sizeof(*request));
    if (request) {
        request->kind = kind;
        request->callback = callback;
        request->context = context;
        request->asked_ns = clock_monotonic_ns();
        return request;
    }
    if (store->refused < REFUSALS_MAX) {
        store->refusals[store->refused++] = (struct refusal){kind, callback, context};
        uv_async_send(&store->wake);
    } else { /* 4096 refused in one turn of the loop: nowhere left to remember it */
        answer(kind, callback, context, PERSISTENCE_UNAVAILABLE, NULL);
    }
    return NULL;
}

static void request_send(struct persistence *store, struct request *request)
{
    store->asked++;
    pthread_mutex_lock(&store->mutex);
    list_append(&store->queue, request);
    pthread_cond_signal(&store->work);
    pthread_mutex_unlock(&store->mutex);
}

/* Answers for what the store has had too long: queued steps are taken back, the running one is
 * finished by the thread and its outcome dropped. */
static void answer_overdue(struct persistence *store)
{
    const uint64_t due_ns = clock_monotonic_ns() - ANSWER_MS_MAX * NS_PER_MS;
    struct request_list overdue;
    struct request *request;
    struct refusal stuck = {0};
    bool is_stuck = false;

    list_clear(&overdue);
    pthread_mutex_lock(&store->mutex);
    if (store->running && !store->running->abandoned && store->running->asked_ns < due_ns) {
        store->running->abandoned = is_stuck = true;
        stuck = (struct refusal){store->running->kind, store->running->callback,
                                 store->running->context};
    }
    while (store->queue.head && store->queue.head->asked_ns < due_ns)
        list_append(&overdue, list_take(&store->queue));
    pthread_mutex_unlock(&store->mutex);
    if (is_stuck || overdue.head)
        status_update(store, NULL, PERSISTENCE_UNAVAILABLE, "database does not answer");
    if (is_stuck) {
        store->asked--;
        answer(stuck.kind, stuck.callback, stuck.context, PERSISTENCE_UNAVAILABLE, NULL);
    }
    while ((request = list_take(&overdue))) {
        store->asked--;
        answer(request->kind, request->callback, request->context, PERSISTENCE_UNAVAILABLE, NULL);
        request_free(request);
    }
}

static void watch(uv_timer_t *timer)
{
    struct persistence *store = timer->data;
    uint64_t now_ns = clock_monotonic_ns();

    if (store->asked)
        answer_overdue(store);
    if (!store->healthy && !store->probing && !store->closing &&
        now_ns - store->probed_ns >= PROBE_MS * NS_PER_MS) {
        struct request *probe =
            request_make(store, REQUEST_PROBE, (union request_callback){.done = probe_done}, store);

        store->probed_ns = now_ns;
        store->probing = true; /* also when refused: probe_done comes all the same */
        if (probe)
            request_send(store, probe);
    }
}

struct persistence *persistence_open(uv_loop_t *loop, const struct settings *settings, char *why)
{
    struct persistence *store;
    int directory;

    if (strcmp(settings->persistence, "sqlite") != 0) {
        snprintf(why, WHY_BYTES, "RINGCAST_PERSISTENCE is \"%.40s\"; this version knows: sqlite",
                 settings->persistence);
        return NULL;
    }
    directory = data_directory_open(settings, why);
    if (directory < 0)
        return NULL;
    close(directory);
    store = calloc(1, sizeof(*store));
    if (!store) {
        snprintf(why, WHY_BYTES, "no memory for the database");
        return NULL;
    }
    store->sqlite = sqlite_store_open(settings->data_directory, why);
    if (!store->sqlite) {
        free(store);
        return NULL;
    }
    store->loop = loop;
    store->healthy = true;
    snprintf(store->status, sizeof(store->status), "ok");
    list_clear(&store->queue);
    list_clear(&store->finished);
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->work, NULL);
    store->handles = 2;
    store->wake.data = store->watchdog.data = store;
    uv_timer_init(loop, &store->watchdog);
    if (uv_async_init(loop, &store->wake, woken) != 0 ||
        pthread_create(&store->thread, NULL, store_thread, store) != 0) {
        /* Out of descriptors or threads at the start: the process is about to exit with this. */
        snprintf(why, WHY_BYTES, "cannot start the database thread: out of descriptors or threads");
        sqlite_store_close(store->sqlite);
        uv_close((uv_handle_t *)&store->watchdog, NULL);
        return NULL;
    }
    uv_timer_start(&store->watchdog, watch, WATCH_MS, WATCH_MS);
    return store;
}

void persistence_close(struct persistence *store, void (*done)(void *context), void *context)
{
    store->closing = true;
    store->closed = done;
    store->closed_context = context;
    pthread_mutex_lock(&store->mutex);
    store->stop = true;
    pthread_cond_signal(&store->work);
    pthread_mutex_unlock(&store->mutex);
}

const char *persistence_status(const struct persistence *store)
{
    return store->status;
}

void user_insert(struct persistence *store, const struct user_row *user, done_callback done,
                 void *context)
{
    struct request *request =
        request_make(store, REQUEST_USER_INSERT, (union request_callback){.done = done}, context);

    if (!request)
        return;
    request->row.user = *user;
    request_send(store, request);
}

static void user_find(struct persistence *store, enum request_kind kind, const char *key,
                      user_callback done, void *context)
{
    struct request *request =
        request_make(store, kind, (union request_callback){.user = done}, context);

    if (!request)
        return;
    snprintf(request->key, sizeof(request->key), "%s", key);
    request_send(store, request);
}

void user_by_email(struct persistence *store, const char *email, user_callback done, void *context)
{
    user_find(store, REQUEST_USER_BY_EMAIL, email, done, context);
}

void user_by_id(struct persistence *store, const char *id, user_callback done, void *context)
{
    user_find(store, REQUEST_USER_BY_ID, id, done, context);
}

static void update(struct persistence *store, enum request_kind kind, const char *key,
                   const char *text, int64_t number, done_callback done, void *context)
{
    struct request *request =
        request_make(store, kind, (union request_callback){.done = done}, context);

    if (!request)
        return;
    snprintf(request->key, sizeof(request->key), "%s", key);
    snprintf(request->text, sizeof(request->text), "%s", text);
    request->number = number;
    request_send(store, request);
}

void user_set_password_hash(struct persistence *store, const char *id, const char *hash,
                            done_callback done, void *context)
{
    update(store, REQUEST_USER_SET_HASH, id, hash, 0, done, context);
}

void meeting_insert(struct persistence *store, const struct meeting_row *meeting,
                    done_callback done, void *context)
{
    struct request *request = request_make(store, REQUEST_MEETING_INSERT,
                                           (union request_callback){.done = done}, context);

    if (!request)
        return;
    request->row.meeting = *meeting;
    request_send(store, request);
}

/* People type codes in lower case and copy ids in upper case; both are stored in one way only. */
void meeting_find(struct persistence *store, const char *id_or_code, meeting_callback done,
                  void *context)
{
    struct request *request = request_make(store, REQUEST_MEETING_FIND,
                                           (union request_callback){.meeting = done}, context);
    bool is_code = strlen(id_or_code) == ROOM_CODE_BYTES - 1;

    if (!request)
        return;
    snprintf(request->key, sizeof(request->key), "%s", id_or_code);
    for (char *at = request->key; *at; at++) {
        if (is_code && *at >= 'a' && *at <= 'z')
            *at = (char)(*at - 'a' + 'A');
        else if (!is_code && *at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    }
    request_send(store, request);
}

void meeting_set_active(struct persistence *store, const char *id, int64_t started_ms,
                        done_callback done, void *context)
{
    update(store, REQUEST_MEETING_SET_ACTIVE, id, "", started_ms, done, context);
}

void meeting_set_closed(struct persistence *store, const char *id, int64_t ended_ms,
                        done_callback done, void *context)
{
    update(store, REQUEST_MEETING_SET_CLOSED, id, "", ended_ms, done, context);
}

void meeting_raise_peak(struct persistence *store, const char *id, uint32_t participants,
                        done_callback done, void *context)
{
    update(store, REQUEST_MEETING_RAISE_PEAK, id, "", participants, done, context);
}

void meetings_close_stale(struct persistence *store, int64_t ended_ms, done_callback done,
                          void *context)
{
    update(store, REQUEST_MEETINGS_CLOSE_STALE, "", "", ended_ms, done, context);
}

void audit_insert_batch(struct persistence *store, const struct audit_row *rows, size_t count,
                        done_callback done, void *context)
{
    union request_callback callback = {.done = done};
    size_t texts_bytes = 0;
    char *text;
    struct audit_row *copy;
    struct request *request;

    for (size_t i = 0; i < count; i++)
        texts_bytes += rows[i].metadata ? strlen(rows[i].metadata) + 1 : 0;
    copy = malloc(count * sizeof(*rows) + texts_bytes + 1);
    request = request_make(store, REQUEST_AUDIT_INSERT, callback, context);
    if (!request) {
        free(copy);
        return;
    }
    request->row.audit.rows = copy;
    request->row.audit.count = copy ? count : 0;
    if (!copy) { /* answered by the ordinary way, as a step that failed */
        request->result = PERSISTENCE_UNAVAILABLE;
        snprintf(request->problem, sizeof(request->problem), "no memory");
        store->asked++;
        pthread_mutex_lock(&store->mutex);
        list_append(&store->finished, request);
        uv_async_send(&store->wake);
        pthread_mutex_unlock(&store->mutex);
        return;
    }
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
    request_send(store, request);
}
