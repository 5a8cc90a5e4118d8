/* The pool: gives steps to idle connections, keeps connections open, and says when there are none. */
#include "postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/clock.h"
#include "src/log.h"
#include "uuid.h"

#define TICK_MS 50
#define DOWN_PATIENCE_MS \
    800 /* a server that restarts: wait; one that is down longer: say so at once */
#define NODE_FILE "node-id"

static bool is_down(const struct pg_pool *pool)
{
    return !pool->ready && clock_monotonic_ns() - pool->down_ns > DOWN_PATIENCE_MS * NS_PER_MS;
}

static void refuse(struct pg_pool *pool, struct query *query, const char *problem)
{
    query->result = PERSISTENCE_UNAVAILABLE;
    snprintf(query->problem, sizeof(query->problem), "%s", problem);
    query_finished(pool->front, query);
}

static void problem_set(struct pg_pool *pool, const char *problem)
{
    snprintf(pool->problem, sizeof(pool->problem), "%s", problem);
    backend_problem(pool->front, problem);
}

/* No new attempt for about that long: between half and all of it again, so that many control planes
 * do not come at once. */
static void wait_for(struct pg_pool *pool, uint32_t ms)
{
    uint16_t chance;

    random_fill(&chance, sizeof(chance));
    pool->retry_ns = clock_monotonic_ns() + (ms / 2 + (uint64_t)ms * chance / 65536) * NS_PER_MS;
}

static void wait_longer(struct pg_pool *pool)
{
    wait_for(pool, pool->backoff_ms);
    pool->backoff_ms *= 2;
    if (pool->backoff_ms > PG_BACKOFF_MS_MAX)
        pool->backoff_ms = PG_BACKOFF_MS_MAX;
}

/* Gives waiting steps to idle connections. */
static void dispatch(struct pg_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        struct pg_connection *connection = &pool->connections[i];
        struct query *audit = pool->audit_running ? NULL : TAILQ_FIRST(&pool->audits);
        struct query *query = audit ? audit : TAILQ_FIRST(&pool->calls);

        if (!query)
            return;
        if (connection->phase != PG_IDLE)
            continue;
        TAILQ_REMOVE(audit ? &pool->audits : &pool->calls, query, link);
        connection->runs_audit = audit != NULL;
        pool->audit_running |= connection->runs_audit;
        pg_connection_run(connection, query); /* may end in pg_pool_lost */
    }
}

static void fill(struct pg_pool *pool)
{
    unsigned open = 0;

    if (pool->closing || pool->lookup || clock_monotonic_ns() < pool->retry_ns)
        return;
    for (unsigned i = 0; i < pool->count; i++)
        open += pool->connections[i].phase != PG_CLOSED;
    if (open == pool->count ||
        (open && !pool->ready)) /* one tries; the rest follow when it is in */
        return;
    if (pool->stale) {
        pg_resolve(pool);
        return;
    }
    for (unsigned i = 0; i < pool->count; i++) {
        if (pool->connections[i].phase != PG_CLOSED)
            continue;
        pg_connection_start(&pool->connections[i]);
        if (!pool->ready || clock_monotonic_ns() < pool->retry_ns)
            return;
    }
}

void pg_pool_resolved(struct pg_pool *pool, const char *problem)
{
    if (problem) {
        wait_longer(pool);
        problem_set(pool, problem);
        LOG(WARN, "postgres", problem, F("host", "%s", pool->settings->postgres_host));
    } else {
        pool->stale = false;
        fill(pool);
    }
}

static void ready_count(struct pg_pool *pool)
{
    pool->ready = 0;
    for (unsigned i = 0; i < pool->count; i++)
        pool->ready += pool->connections[i].is_up;
}

void pg_pool_ready(struct pg_connection *connection)
{
    struct pg_pool *pool = connection->pool;

    if (!connection->is_up && !pool->ready) {
        LOG(INFO, "postgres", "connected", F("host", "%s", PQhost(connection->libpq)),
            F("port", "%s", PQport(connection->libpq)),
            F("database", "%s", PQdb(connection->libpq)),
            F("tls", "%s", PQsslInUse(connection->libpq) ? "yes" : "no"),
            F("version", "%s", PQparameterStatus(connection->libpq, "server_version")));
        pool->backoff_ms = PG_BACKOFF_MS_MIN;
        pool->retry_ns = 0;
    }
    connection->is_up = true;
    ready_count(pool);
    if (connection->runs_audit)
        pool->audit_running = false;
    connection->runs_audit = false;
    dispatch(pool);
}

/* A step whose connection broke may have been done. What may be done twice is, once, if its time
 * allows; else whoever asked has to look. */
static void step_lost(struct pg_pool *pool, struct query *query, const char *problem)
{
    bool once = query->kind == QUERY_USER_INSERT || query->kind == QUERY_MEETING_INSERT;

    query->problem[0] = 0;
    if (query->repeated || once || pool->closing) {
        refuse(pool, query, problem);
        return;
    }
    query->repeated = true;
    if (query->kind == QUERY_AUDIT_INSERT)
        TAILQ_INSERT_HEAD(&pool->audits, query, link);
    else
        TAILQ_INSERT_HEAD(&pool->calls, query, link);
}

void pg_pool_lost(struct pg_connection *connection, const char *problem, const char *detail)
{
    struct pg_pool *pool = connection->pool;
    struct query *query = connection->query;
    bool was_up = connection->is_up;
    char text[STORE_PROBLEM_BYTES]; /* problem may be the query's */

    snprintf(text, sizeof(text), "%s", problem);
    LOG(WARN, "postgres", text, F("detail", "%s", detail));
    connection->query = NULL;
    connection->is_up = false;
    pg_connection_close(connection);
    ready_count(pool);
    if (connection->runs_audit)
        pool->audit_running = false;
    connection->runs_audit = false;
    if (was_up) {
        if (!pool->ready)
            pool->down_ns = clock_monotonic_ns();
        wait_for(pool, PG_BACKOFF_MS_MIN);
    } else {
        pool->first++;
        pool->stale = true;
        wait_longer(pool);
    }
    if (!pool->ready)
        problem_set(pool, text);
    if (query)
        step_lost(pool, query, text);
}

/* ---- what the front asks ---- */

static void postgres_submit(struct backend *base, struct query *query)
{
    struct pg_pool *pool = (struct pg_pool *)base;

    if (pg_query_names_nothing(query)) {
        query->result = PERSISTENCE_NOT_FOUND;
        query_finished(pool->front, query);
    } else if (is_down(pool)) {
        refuse(pool, query, pool->problem);
    } else {
        if (query->kind == QUERY_AUDIT_INSERT)
            TAILQ_INSERT_TAIL(&pool->audits, query, link);
        else
            TAILQ_INSERT_TAIL(&pool->calls, query, link);
        dispatch(pool);
    }
}

static bool list_withdraw(struct query_list *list, struct query *query)
{
    struct query *waiting;

    TAILQ_FOREACH(waiting, list, link)
    {
        if (waiting == query) {
            TAILQ_REMOVE(list, query, link);
            return true;
        }
    }
    return false;
}

/* One that the server has been at for too long takes its connection with it: nobody knows when its
 * answer would come. */
static bool postgres_withdraw(struct backend *base, struct query *query)
{
    static const char silent[] = "PostgreSQL does not answer";
    struct pg_pool *pool = (struct pg_pool *)base;

    if (list_withdraw(&pool->calls, query) || list_withdraw(&pool->audits, query)) {
        snprintf(query->problem, sizeof(query->problem), "%s",
                 pool->ready ? silent : pool->problem);
        return true;
    }
    for (unsigned i = 0; i < pool->count; i++) {
        struct pg_connection *connection = &pool->connections[i];

        if (connection->query != query)
            continue;
        connection->query = NULL;
        pg_pool_lost(connection, silent, "a step took longer than its time");
        snprintf(query->problem, sizeof(query->problem), "%s", silent);
        return true;
    }
    return false; /* finished just now */
}

static void tick(uv_timer_t *timer)
{
    struct pg_pool *pool = timer->data;
    uint64_t now_ns = clock_monotonic_ns();

    for (unsigned i = 0; i < pool->count; i++) {
        struct pg_connection *connection = &pool->connections[i];
        uint64_t ms = (now_ns - connection->since_ns) / NS_PER_MS;

        if (((connection->phase == PG_CONNECTING || connection->phase == PG_PREPARING) &&
             ms > PG_CONNECT_MS_MAX) ||
            (connection->phase == PG_SCHEMA && ms > PG_SCHEMA_MS_MAX))
            pg_pool_lost(connection, "PostgreSQL does not answer",
                         connection->phase == PG_SCHEMA ? "the look at the tables took too long"
                                                        : "no connection within its time");
    }
    fill(pool);
    dispatch(pool);
}

static void handle_closed(uv_handle_t *handle)
{
    struct pg_pool *pool = handle->data;

    if (--pool->handles == 0)
        backend_closed(pool->front);
}

static void postgres_close(struct backend *base)
{
    struct pg_pool *pool = (struct pg_pool *)base;

    pool->closing = true;
    for (unsigned i = 0; i < pool->count; i++)
        pg_connection_close(&pool->connections[i]);
    pg_resolve_abandon(pool);
    uv_close((uv_handle_t *)&pool->timer, handle_closed);
    uv_close((uv_handle_t *)&pool->wake, handle_closed);
}

static void postgres_free(struct backend *base)
{
    struct pg_pool *pool = (struct pg_pool *)base;

    free(pool->connections);
    free(pool);
}

/* ---- the start ---- */

/* This control plane's name among those that share a database: made once, kept in its directory. */
static bool node_read(const struct settings *settings, char node[UUID_TEXT_BYTES], char *why)
{
    int directory = data_directory_open(settings, why);
    int fd = directory < 0 ? -1
                           : openat(directory, NODE_FILE,
                                    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    bool ok = fd >= 0;

    memset(node, 0, UUID_TEXT_BYTES);
    if (ok &&
        (read(fd, node, UUID_TEXT_BYTES - 1) != UUID_TEXT_BYTES - 1 || !uuid_is_valid(node))) {
        uuid_make(node);
        ok = ftruncate(fd, 0) == 0 &&
             pwrite(fd, node, UUID_TEXT_BYTES - 1, 0) == UUID_TEXT_BYTES - 1 && fsync(fd) == 0;
    }
    if (directory >= 0 && !ok)
        snprintf(why, WHY_BYTES, "cannot write " NODE_FILE " into the data directory: %s",
                 strerror(errno));
    if (fd >= 0)
        close(fd);
    if (directory >= 0)
        close(directory);
    return ok;
}

struct backend *postgres_backend_open(struct persistence *store, uv_loop_t *loop,
                                      const struct settings *settings, char *why)
{
    struct pg_pool *pool = calloc(1, sizeof(*pool));

    if (pool)
        pool->connections = calloc(settings->postgres_connections, sizeof(*pool->connections));
    if (!pool || !pool->connections) {
        snprintf(why, WHY_BYTES, "no memory for the database");
        free(pool);
        return NULL;
    }
    pool->backend =
        (struct backend){postgres_submit, postgres_withdraw, postgres_close, postgres_free};
    pool->front = store;
    pool->loop = loop;
    pool->settings = settings;
    pool->count = settings->postgres_connections;
    for (unsigned i = 0; i < pool->count; i++)
        pool->connections[i].pool = pool;
    TAILQ_INIT(&pool->calls);
    TAILQ_INIT(&pool->audits);
    if (!node_read(settings, pool->node, why)) {
        postgres_free(&pool->backend);
        return NULL;
    }
    uuid_make(pool->run);
    if (uv_async_init(loop, &pool->wake, pg_resolve_woken) != 0) {
        snprintf(why, WHY_BYTES, "cannot start the database: out of descriptors");
        postgres_free(&pool->backend);
        return NULL;
    }
    snprintf(pool->certificate, sizeof(pool->certificate), "%s/postgresql.crt",
             settings->data_directory);
    snprintf(pool->key, sizeof(pool->key), "%s/postgresql.key", settings->data_directory);
    snprintf(pool->passwords, sizeof(pool->passwords), "%s/postgresql.pass",
             settings->data_directory);
    snprintf(pool->problem, sizeof(pool->problem), "not connected to PostgreSQL yet");
    pool->backoff_ms = PG_BACKOFF_MS_MIN;
    pool->down_ns = clock_monotonic_ns();
    pool->stale = true;
    pool->handles = 2;
    pool->timer.data = pool->wake.data = pool;
    uv_timer_init(loop, &pool->timer);
    uv_timer_start(&pool->timer, tick, 0, TICK_MS);
    return &pool->backend;
}
