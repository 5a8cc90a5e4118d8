/* One connection to PostgreSQL, driven by its socket: connect, look after the tables, prepare the
 * statements, then step after step in pipeline mode. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres.h"
#include "src/clock.h"
#include "src/log.h"

#define PARAMETERS_MAX 24
#define LIST_BYTES 2048
#define LOST "lost the connection to PostgreSQL"

static void connection_event(uv_poll_t *watch, int status, int events);

/* ---- the socket ---- */

static void watch_closed(uv_handle_t *handle)
{
    free(handle);
}

/* Before libpq may close its socket: the loop must not go on with a number that then is another's. */
static void watch_drop(struct pg_connection *connection)
{
    if (!connection->watch)
        return;
    uv_poll_stop(connection->watch);
    connection->watch->data = NULL;
    uv_close((uv_handle_t *)connection->watch, watch_closed);
    connection->watch = NULL;
}

static bool watch_for(struct pg_connection *connection, int events)
{
    if (!connection->watch) {
        uv_poll_t *watch = calloc(1, sizeof(*watch));

        if (!watch ||
            uv_poll_init(connection->pool->loop, watch, PQsocket(connection->libpq)) != 0) {
            free(watch);
            return false;
        }
        watch->data = connection;
        connection->watch = watch;
    }
    return uv_poll_start(connection->watch, events, connection_event) == 0;
}

static void phase_set(struct pg_connection *connection, enum pg_phase phase)
{
    connection->phase = phase;
    connection->since_ns = clock_monotonic_ns();
    connection->sqlstate[0] = connection->message[0] = 0;
}

void pg_connection_close(struct pg_connection *connection)
{
    watch_drop(connection);
    if (connection->libpq)
        PQfinish(connection->libpq);
    connection->libpq = NULL;
    connection->syncs = 0;
    phase_set(connection, PG_CLOSED);
}

/* Closes; libpq's own words go to the log. */
static void lose(struct pg_connection *connection, const char *problem)
{
    char detail[400];

    snprintf(detail, sizeof(detail), "%s",
             connection->message[0] ? connection->message
             : connection->libpq    ? PQerrorMessage(connection->libpq)
                                    : "no memory");
    for (char *at = detail; (at = strchr(at, '\n')); at++)
        *at = ' ';
    pg_pool_lost(connection, problem, detail);
}

/* Sends what libpq has in its buffer, and comes back when the socket takes more. */
static bool flush(struct pg_connection *connection)
{
    int left = PQflush(connection->libpq);

    return left >= 0 && watch_for(connection, left ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

/* ---- connecting ---- */

static void notice_heard(void *context, const char *message)
{
    LOG(DEBUG, "postgres", "the server says", F("text", "%.200s", message));
}

struct parameters {
    const char *keys[PARAMETERS_MAX + 1], *values[PARAMETERS_MAX + 1];
    unsigned count;
};

static void parameter(struct parameters *all, const char *key, const char *value)
{
    all->keys[all->count] = key;
    all->values[all->count++] = value;
}

/* The addresses in turn, beginning with another one after each failure: libpq's asynchronous connect
 * stays with one that is silent. */
static void list_addresses(const struct pg_pool *pool, char hosts[LIST_BYTES], char ips[LIST_BYTES])
{
    size_t hosts_bytes = 0, ips_bytes = 0;

    hosts[0] = ips[0] = 0;
    for (unsigned i = 0; i < pool->addresses.count; i++) {
        const struct pg_address *address =
            &pool->addresses.all[(pool->first + i) % pool->addresses.count];

        if (hosts_bytes + sizeof(address->host) > LIST_BYTES)
            break;
        hosts_bytes += (size_t)snprintf(hosts + hosts_bytes, LIST_BYTES - hosts_bytes, "%s%s",
                                        i ? "," : "", address->host);
        ips_bytes += (size_t)snprintf(ips + ips_bytes, LIST_BYTES - ips_bytes, "%s%s", i ? "," : "",
                                      address->hostaddr);
    }
}

void pg_connection_start(struct pg_connection *connection)
{
    const struct pg_pool *pool = connection->pool;
    const struct settings *settings = pool->settings;
    char hosts[LIST_BYTES], ips[LIST_BYTES], port[12];
    struct parameters all = {0};

    list_addresses(pool, hosts, ips);
    snprintf(port, sizeof(port), "%u", settings->postgres_port);
    parameter(&all, "host", hosts);
    parameter(&all, "hostaddr", ips);
    parameter(&all, "port", port);
    parameter(&all, "user", settings->postgres_user);
    parameter(&all, "password", settings->postgres_password);
    parameter(&all, "dbname", settings->postgres_db);
    parameter(&all, "sslmode", settings->postgres_sslmode);
    if (strncmp(settings->postgres_sslmode, "verify", 6) == 0)
        parameter(&all, "sslrootcert", settings->postgres_sslrootcert);
    /* Not those of a home directory that the user we run as may not even look into. */
    parameter(&all, "sslcert", pool->certificate);
    parameter(&all, "sslkey", pool->key);
    parameter(&all, "passfile", pool->passwords);
    parameter(&all, "gssencmode", "disable"); /* its library waits for servers */
    parameter(&all, "application_name", "ringcast");
    parameter(&all, "client_encoding", "UTF8");
    parameter(&all, "target_session_attrs", "read-write");
    parameter(&all, "keepalives_idle", "5"); /* a peer that vanished while nothing is asked */
    parameter(&all, "keepalives_interval", "2");
    parameter(&all, "keepalives_count", "3");
    parameter(&all, "tcp_user_timeout", "3000");
    phase_set(connection, PG_CONNECTING);
    connection->libpq = PQconnectStartParams(all.keys, all.values, 0);
    if (!connection->libpq || PQstatus(connection->libpq) == CONNECTION_BAD) {
        lose(connection, "cannot connect to PostgreSQL");
        return;
    }
    PQsetNoticeProcessor(connection->libpq, notice_heard, NULL);
    if (!watch_for(connection, UV_WRITABLE))
        lose(connection, "cannot connect to PostgreSQL");
}

static bool prepare_all(struct pg_connection *connection)
{
    char timeout[64];

    snprintf(timeout, sizeof(timeout), "SET statement_timeout = %u", PG_SESSION_STATEMENT_MS);
    phase_set(connection, PG_PREPARING);
    if (PQenterPipelineMode(connection->libpq) != 1 ||
        PQsendQueryParams(connection->libpq, timeout, 0, NULL, NULL, NULL, NULL, 0) != 1)
        return false;
    for (unsigned i = 0; i < pg_statement_count; i++)
        if (!pg_prepare(connection->libpq, i))
            return false;
    connection->syncs = 1;
    return PQpipelineSync(connection->libpq) == 1 && flush(connection);
}

static bool look_at_tables(struct pg_connection *connection)
{
    char *text = pg_schema_text();
    bool sent = text && PQsendQuery(connection->libpq, text) == 1;

    free(text);
    phase_set(connection, PG_SCHEMA);
    return sent && flush(connection);
}

static void connected(struct pg_connection *connection)
{
    PGconn *libpq = connection->libpq;

    if (PQserverVersion(libpq) < PG_VERSION_MIN) {
        snprintf(connection->message, sizeof(connection->message),
                 "server version %d, needed is %d", PQserverVersion(libpq), PG_VERSION_MIN);
        lose(connection, "PostgreSQL is older than version 13");
        return;
    }
    if (PQsetnonblocking(libpq, 1) != 0 ||
        !(connection->pool->schema_known ? prepare_all(connection) : look_at_tables(connection)))
        lose(connection, LOST);
}

static void connecting(struct pg_connection *connection)
{
    int events = 0;

    watch_drop(connection);
    switch (PQconnectPoll(connection->libpq)) {
    case PGRES_POLLING_READING:
        events = UV_READABLE;
        break;
    case PGRES_POLLING_WRITING:
        events = UV_WRITABLE;
        break;
    case PGRES_POLLING_OK:
        connected(connection);
        return;
    default:
        break;
    }
    if (!events || !watch_for(connection, events))
        lose(connection, "cannot connect to PostgreSQL");
}

/* ---- results ---- */

static void schema_ended(struct pg_connection *connection)
{
    static const char owner[] = "; start once as the owner of the tables, or grant it";
    char problem[STORE_PROBLEM_BYTES];
    bool is_right = strcmp(connection->sqlstate, "42501") == 0;

    if (connection->sqlstate[0]) {
        snprintf(problem, sizeof(problem), "PostgreSQL: %.*s%s", is_right ? 90 : 140,
                 connection->message, is_right ? owner : "");
        lose(connection, problem);
        return;
    }
    connection->pool->schema_known = true;
    if (!prepare_all(connection))
        lose(connection, LOST);
}

static void prepare_ended(struct pg_connection *connection)
{
    char problem[STORE_PROBLEM_BYTES];

    if (!connection->sqlstate[0]) {
        phase_set(connection, PG_IDLE);
        pg_pool_ready(connection);
        return;
    }
    connection->pool->schema_known = false; /* the tables changed under us: look again */
    snprintf(problem, sizeof(problem), "PostgreSQL: %.140s", connection->message);
    lose(connection, problem);
}

static void step_ended(struct pg_connection *connection)
{
    struct query *query = connection->query;

    if (!pg_query_end(connection, query)) {
        connection->sqlstate[0] = connection->message[0] = 0;
        if (!pg_query_send(connection, query, &connection->syncs) || !flush(connection))
            lose(connection, LOST);
        return;
    }
    if (pg_error_is_connections(connection->sqlstate)) {
        if (strncmp(connection->sqlstate, "42", 2) == 0)
            connection->pool->schema_known = false;
        lose(connection, query->problem);
        return;
    }
    connection->query = NULL;
    phase_set(connection, PG_IDLE);
    query_finished(connection->pool->front, query);
    pg_pool_ready(connection);
}

static void result_take(struct pg_connection *connection, const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_PIPELINE_SYNC)
        connection->syncs--;
    else if (connection->phase == PG_BUSY)
        pg_query_result(connection, connection->query, result);
    else if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)
        pg_error_keep(connection, result);
}

/* Takes the results that have arrived; false when the phase goes on. In a pipeline libpq says NULL
 * after each query and the syncs are counted; the look at the tables ends with the one NULL. */
static bool results_take(struct pg_connection *connection)
{
    bool pipeline = connection->phase != PG_SCHEMA;
    unsigned nothing = 0;

    while ((!pipeline || connection->syncs) && !PQisBusy(connection->libpq)) {
        PGresult *result = PQgetResult(connection->libpq);

        if (!result && !pipeline)
            return true;
        nothing = result ? 0 : nothing + 1;
        if (nothing > 2) /* broken, or out of step: its time will run out */
            return false;
        if (result)
            result_take(connection, result);
        PQclear(result);
    }
    return pipeline && !connection->syncs;
}

static void results_read(struct pg_connection *connection)
{
    bool ended = false;

    if (connection->phase == PG_SCHEMA || connection->phase == PG_PREPARING ||
        connection->phase == PG_BUSY)
        ended = results_take(connection);
    else
        PQisBusy(connection->libpq); /* lets libpq read notices */
    if (PQstatus(connection->libpq) != CONNECTION_OK) {
        lose(connection, LOST);
        return;
    }
    if (!ended)
        return;
    if (connection->phase == PG_SCHEMA)
        schema_ended(connection);
    else if (connection->phase == PG_PREPARING)
        prepare_ended(connection);
    else
        step_ended(connection);
}

static void connection_event(uv_poll_t *watch, int status, int events)
{
    struct pg_connection *connection = watch->data;

    if (!connection)
        return;
    if (connection->phase == PG_CONNECTING) {
        connecting(connection);
        return;
    }
    /* A server that ends a connection says why before: read what there is, also after an error. */
    if (PQconsumeInput(connection->libpq) != 1 || status < 0) {
        if (connection->phase != PG_IDLE && results_take(connection) &&
            connection->phase == PG_BUSY)
            step_ended(connection); /* its answer was whole; the end is met again after it */
        else
            lose(connection, LOST);
        return;
    }
    if ((events & UV_WRITABLE) && !flush(connection)) {
        lose(connection, LOST);
        return;
    }
    results_read(connection);
}

void pg_connection_run(struct pg_connection *connection, struct query *query)
{
    connection->query = query;
    connection->singly = connection->found = false;
    connection->row = 0;
    phase_set(connection, PG_BUSY);
    if (!pg_query_send(connection, query, &connection->syncs) || !flush(connection))
        lose(connection, LOST);
}
