/* PostgreSQL as a database of persistence: the pool gives queries to idle connections, keeps
 * connections open, and reports when it has none. */
#include "postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data_directory_open.h"
#include "databases.h"
#include "src/clock.h"
#include "src/log.h"

#define TICK_MS 50
/* A restart of the server may take this long: queries wait for it. After that they fail at once. */
#define RESTART_MS_MAX 800
#define NODE_FILE "node-id"

static bool is_down(const struct pg_pool *pool)
{
    return !pool->ready_count &&
           clock_monotonic_ns() - pool->down_since_ns > RESTART_MS_MAX * NS_PER_MS;
}

static void refuse(struct pg_pool *pool, struct query *query, const char *problem)
{
    query->result = PERSISTENCE_UNAVAILABLE;
    snprintf(query->problem, sizeof(query->problem), "%s", problem);
    database_finished(&pool->base, query);
}

static void problem_set(struct pg_pool *pool, const char *problem)
{
    snprintf(pool->problem, sizeof(pool->problem), "%s", problem);
    pool->base.owner.problem(pool->base.owner.context, problem);
}

/* No new attempt for about this time. Chance makes it half to one and a half times as long, so that
 * many control planes do not connect at the same moment. */
static void retry_after(struct pg_pool *pool, uint32_t ms)
{
    uint16_t chance;

    random_fill(&chance, sizeof(chance));
    pool->retry_ns = clock_monotonic_ns() + (ms / 2 + (uint64_t)ms * chance / 65536) * NS_PER_MS;
}

static void retry_with_backoff(struct pg_pool *pool)
{
    retry_after(pool, pool->backoff_ms);
    pool->backoff_ms *= 2;
    if (pool->backoff_ms > PG_BACKOFF_MS_MAX)
        pool->backoff_ms = PG_BACKOFF_MS_MAX;
}

static struct query_list *list_for(struct pg_pool *pool, const struct query *query)
{
    return query->kind == QUERY_AUDIT_INSERT ? &pool->waiting_audits : &pool->waiting;
}

/* Gives waiting queries to idle connections. */
static void dispatch(struct pg_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        struct pg_connection *connection = &pool->connections[i];
        struct query *audit = pool->audit_running ? NULL : TAILQ_FIRST(&pool->waiting_audits);
        struct query *query = audit ? audit : TAILQ_FIRST(&pool->waiting);

        if (!query)
            return;
        if (connection->phase != PG_IDLE)
            continue;
        TAILQ_REMOVE(list_for(pool, query), query, link);
        connection->runs_audit = audit != NULL;
        pool->audit_running |= connection->runs_audit;
        pg_connection_run(connection, query); /* may call pg_pool_lost */
    }
}

static void connections_open(struct pg_pool *pool)
{
    unsigned open = 0;

    if (pool->closing || pool->resolver.lookup || clock_monotonic_ns() < pool->retry_ns)
        return;
    for (unsigned i = 0; i < pool->count; i++)
        open += pool->connections[i].phase != PG_CLOSED;
    /* While none is ready only one tries to connect; the others follow when it is ready. */
    if (open == pool->count || (open && !pool->ready_count))
        return;
    if (pool->names_stale) {
        pg_resolver_start(&pool->resolver, pool->settings->postgres_host);
        return;
    }
    for (unsigned i = 0; i < pool->count; i++) {
        if (pool->connections[i].phase != PG_CLOSED)
            continue;
        pg_connection_start(&pool->connections[i]);
        if (!pool->ready_count || clock_monotonic_ns() < pool->retry_ns)
            return;
    }
}

static void names_resolved(void *context, const char *problem)
{
    struct pg_pool *pool = context;

    if (problem) {
        retry_with_backoff(pool);
        problem_set(pool, problem);
        LOG(WARN, "postgres", problem, F("host", "%s", pool->settings->postgres_host));
    } else {
        pool->names_stale = false;
        connections_open(pool);
    }
}

static void ready_count_update(struct pg_pool *pool)
{
    pool->ready_count = 0;
    for (unsigned i = 0; i < pool->count; i++)
        pool->ready_count += pool->connections[i].is_ready;
}

void pg_pool_ready(struct pg_connection *connection)
{
    struct pg_pool *pool = connection->pool;

    if (!connection->is_ready && !pool->ready_count) {
        LOG(INFO, "postgres", "connected", F("host", "%s", PQhost(connection->libpq)),
            F("port", "%s", PQport(connection->libpq)),
            F("database", "%s", PQdb(connection->libpq)),
            F("tls", "%s", PQsslInUse(connection->libpq) ? "yes" : "no"),
            F("version", "%s", PQparameterStatus(connection->libpq, "server_version")));
        pool->backoff_ms = PG_BACKOFF_MS_MIN;
        pool->retry_ns = 0;
    }
    connection->is_ready = true;
    ready_count_update(pool);
    if (connection->runs_audit)
        pool->audit_running = false;
    connection->runs_audit = false;
    dispatch(pool);
}

/* The connection of a query broke, and the server may have run the query already. A query that may
 * run twice is sent once more, if its time allows; for another one the caller has to look what
 * happened. */
static void query_lost(struct pg_pool *pool, struct query *query, const char *problem)
{
    bool only_once = query->kind == QUERY_USER_INSERT || query->kind == QUERY_MEETING_INSERT;

    query->problem[0] = 0;
    if (query->repeated || only_once || pool->closing) {
        refuse(pool, query, problem);
        return;
    }
    query->repeated = true;
    TAILQ_INSERT_HEAD(list_for(pool, query), query, link);
}

void pg_pool_lost(struct pg_connection *connection, const char *problem, const char *detail)
{
    struct pg_pool *pool = connection->pool;
    struct query *query = connection->query;
    bool was_ready = connection->is_ready;
    char text[DATABASE_PROBLEM_BYTES]; /* a copy: problem may lie in the query */

    snprintf(text, sizeof(text), "%s", problem);
    LOG(WARN, "postgres", text, F("detail", "%s", detail));
    connection->query = NULL;
    connection->is_ready = false;
    pg_connection_close(connection);
    ready_count_update(pool);
    if (connection->runs_audit)
        pool->audit_running = false;
    connection->runs_audit = false;
    if (was_ready) {
        if (!pool->ready_count)
            pool->down_since_ns = clock_monotonic_ns();
        retry_after(pool, PG_BACKOFF_MS_MIN);
    } else {
        pool->first_address++;
        pool->names_stale = true;
        retry_with_backoff(pool);
    }
    if (!pool->ready_count)
        problem_set(pool, text);
    if (query)
        query_lost(pool, query, text);
}

/* ---- what persistence asks ---- */

static void postgres_submit(struct database *base, struct query *query)
{
    struct pg_pool *pool = (struct pg_pool *)base;

    if (pg_query_names_nothing(query)) {
        query->result = PERSISTENCE_NOT_FOUND;
        database_finished(&pool->base, query);
    } else if (is_down(pool)) {
        refuse(pool, query, pool->problem);
    } else {
        TAILQ_INSERT_TAIL(list_for(pool, query), query, link);
        dispatch(pool);
    }
}

static bool list_remove(struct query_list *list, struct query *query)
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

/* When the server runs the query already, its connection is closed: it is unknown when the result
 * would come. */
static bool postgres_withdraw(struct database *base, struct query *query)
{
    static const char silent[] = "PostgreSQL does not answer";
    struct pg_pool *pool = (struct pg_pool *)base;

    if (list_remove(&pool->waiting, query) || list_remove(&pool->waiting_audits, query)) {
        snprintf(query->problem, sizeof(query->problem), "%s",
                 pool->ready_count ? silent : pool->problem);
        return true;
    }
    for (unsigned i = 0; i < pool->count; i++) {
        struct pg_connection *connection = &pool->connections[i];

        if (connection->query != query)
            continue;
        connection->query = NULL;
        pg_pool_lost(connection, silent, "a query took too long");
        snprintf(query->problem, sizeof(query->problem), "%s", silent);
        return true;
    }
    return false; /* it has just finished */
}

static void tick(uv_timer_t *timer)
{
    struct pg_pool *pool = timer->data;
    uint64_t now_ns = clock_monotonic_ns();

    for (unsigned i = 0; i < pool->count; i++) {
        struct pg_connection *connection = &pool->connections[i];
        uint64_t ms = (now_ns - connection->phase_began_ns) / NS_PER_MS;

        if (((connection->phase == PG_CONNECTING || connection->phase == PG_PREPARING) &&
             ms > PG_CONNECT_MS_MAX) ||
            (connection->phase == PG_SCHEMA && ms > PG_SCHEMA_MS_MAX))
            pg_pool_lost(connection, "PostgreSQL does not answer",
                         connection->phase == PG_SCHEMA ? "the check of the tables took too long"
                                                        : "connecting took too long");
    }
    connections_open(pool);
    dispatch(pool);
}

static void handle_closed(void *context)
{
    struct pg_pool *pool = context;

    if (--pool->handles == 0)
        pool->base.owner.closed(pool->base.owner.context);
}

static void timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void postgres_close(struct database *base)
{
    struct pg_pool *pool = (struct pg_pool *)base;

    pool->closing = true;
    for (unsigned i = 0; i < pool->count; i++)
        pg_connection_close(&pool->connections[i]);
    pg_resolver_close(&pool->resolver);
    uv_close((uv_handle_t *)&pool->timer, timer_closed);
}

static void postgres_free(struct database *base)
{
    struct pg_pool *pool = (struct pg_pool *)base;

    free(pool->connections);
    free(pool);
}

/* ---- opening ---- */

/* Reads the id of this installation among those that share a database. It is made at the first
 * start and kept in the data directory. */
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

static void paths_set(struct pg_pool *pool)
{
    const char *directory = pool->settings->data_directory;

    snprintf(pool->certificate, sizeof(pool->certificate), "%s/postgresql.crt", directory);
    snprintf(pool->key, sizeof(pool->key), "%s/postgresql.key", directory);
    snprintf(pool->passwords, sizeof(pool->passwords), "%s/postgresql.pass", directory);
}

static struct database *postgres_open(const struct database_owner *owner, uv_loop_t *loop,
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
    pool->base = (struct database){&database_postgres, *owner};
    pool->loop = loop;
    pool->settings = settings;
    pool->count = settings->postgres_connections;
    for (unsigned i = 0; i < pool->count; i++)
        pool->connections[i].pool = pool;
    TAILQ_INIT(&pool->waiting);
    TAILQ_INIT(&pool->waiting_audits);
    pool->resolver.context = pool;
    pool->resolver.done = names_resolved;
    pool->resolver.closed = handle_closed;
    if (!node_read(settings, pool->node, why)) {
        postgres_free(&pool->base);
        return NULL;
    }
    if (!pg_resolver_open(&pool->resolver, loop)) {
        snprintf(why, WHY_BYTES, "cannot start the database: out of descriptors");
        postgres_free(&pool->base);
        return NULL;
    }
    uuid_make(pool->run);
    paths_set(pool);
    snprintf(pool->problem, sizeof(pool->problem), "not connected to PostgreSQL yet");
    pool->backoff_ms = PG_BACKOFF_MS_MIN;
    pool->down_since_ns = clock_monotonic_ns();
    pool->names_stale = true;
    pool->handles = 2;
    pool->timer.data = pool;
    uv_timer_init(loop, &pool->timer);
    uv_timer_start(&pool->timer, tick, 0, TICK_MS);
    return &pool->base;
}

const struct database_kind database_postgres = {
    .name = "postgres",
    .opens_at_once = false,
    .open = postgres_open,
    .submit = postgres_submit,
    .withdraw = postgres_withdraw,
    .close = postgres_close,
    .free = postgres_free,
};
