/* One connection to PostgreSQL, driven by events of its socket: it connects, checks the tables,
 * prepares the statements, then runs one query after the other in pipeline mode. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres.h"
#include "postgres_schema.h"
#include "src/clock.h"
#include "src/log.h"

#define PARAMETERS_MAX 24
#define LIST_BYTES 2048 /* of hosts or addresses, comma separated */
#define STATEMENT_MS_MAX 5000
#define LOST "lost the connection to PostgreSQL"

static void connection_event(uv_poll_t *poll, int status, int events);

/* ---- the socket ---- */

static void poll_closed(uv_handle_t *handle)
{
    free(handle);
}

/* Called before libpq may close its socket: the loop must not poll a descriptor number that may
 * then belong to something else. */
static void poll_stop(struct pg_connection *connection)
{
    if (!connection->poll)
        return;
    uv_poll_stop(connection->poll);
    connection->poll->data = NULL;
    uv_close((uv_handle_t *)connection->poll, poll_closed);
    connection->poll = NULL;
}

static bool poll_start(struct pg_connection *connection, int events)
{
    if (!connection->poll) {
        uv_poll_t *poll = calloc(1, sizeof(*poll));

        if (!poll || uv_poll_init(connection->pool->loop, poll, PQsocket(connection->libpq)) != 0) {
            free(poll);
            return false;
        }
        poll->data = connection;
        connection->poll = poll;
    }
    return uv_poll_start(connection->poll, events, connection_event) == 0;
}

static void phase_set(struct pg_connection *connection, enum pg_phase phase)
{
    connection->phase = phase;
    connection->phase_began_ns = clock_monotonic_ns();
    connection->sqlstate[0] = connection->message[0] = 0;
}

void pg_connection_close(struct pg_connection *connection)
{
    poll_stop(connection);
    if (connection->libpq)
        PQfinish(connection->libpq);
    connection->libpq = NULL;
    connection->syncs_pending = 0;
    phase_set(connection, PG_CLOSED);
}

/* Closes the connection and reports it to the pool, with libpq's message for the log. */
static void fail(struct pg_connection *connection, const char *problem)
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

/* Sends the bytes in libpq's buffer, as many as the socket takes; the rest when it takes more. */
static bool flush(struct pg_connection *connection)
{
    int left = PQflush(connection->libpq);

    return left >= 0 && poll_start(connection, left ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

/* ---- connecting ---- */

static void notice_log(void *context, const char *message)
{
    LOG(DEBUG, "postgres", "notice of the server", F("text", "%.200s", message));
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

/* Lists the addresses for libpq. Each attempt begins with another one, because libpq's asynchronous
 * connect never leaves an address that does not answer. */
static void addresses_list(const struct pg_pool *pool, char hosts[LIST_BYTES], char ips[LIST_BYTES])
{
    const struct pg_addresses *addresses = &pool->resolver.addresses;
    size_t hosts_bytes = 0, ips_bytes = 0;

    hosts[0] = ips[0] = 0;
    for (unsigned i = 0; i < addresses->count; i++) {
        const struct pg_address *address =
            &addresses->all[(pool->first_address + i) % addresses->count];

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

    addresses_list(pool, hosts, ips);
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
    /* Not libpq's defaults: the user that we run as may have no access to its home directory. */
    parameter(&all, "sslcert", pool->certificate);
    parameter(&all, "sslkey", pool->key);
    parameter(&all, "passfile", pool->passwords);
    parameter(&all, "gssencmode", "disable"); /* the GSSAPI library would block the loop */
    parameter(&all, "application_name", "ringcast");
    parameter(&all, "client_encoding", "UTF8");
    parameter(&all, "target_session_attrs", "read-write");
    parameter(&all, "keepalives_idle", "5"); /* finds a server that vanished while no query runs */
    parameter(&all, "keepalives_interval", "2");
    parameter(&all, "keepalives_count", "3");
    parameter(&all, "tcp_user_timeout", "3000");
    phase_set(connection, PG_CONNECTING);
    connection->libpq = PQconnectStartParams(all.keys, all.values, 0);
    if (!connection->libpq || PQstatus(connection->libpq) == CONNECTION_BAD) {
        fail(connection, "cannot connect to PostgreSQL");
        return;
    }
    PQsetNoticeProcessor(connection->libpq, notice_log, NULL);
    if (!poll_start(connection, UV_WRITABLE))
        fail(connection, "cannot connect to PostgreSQL");
}

static bool prepare_all(struct pg_connection *connection)
{
    char timeout[64];

    snprintf(timeout, sizeof(timeout), "SET statement_timeout = %u", STATEMENT_MS_MAX);
    phase_set(connection, PG_PREPARING);
    if (PQenterPipelineMode(connection->libpq) != 1 ||
        PQsendQueryParams(connection->libpq, timeout, 0, NULL, NULL, NULL, NULL, 0) != 1)
        return false;
    for (unsigned i = 0; i < pg_statement_count; i++)
        if (!pg_prepare(connection->libpq, i))
            return false;
    connection->syncs_pending = 1;
    return PQpipelineSync(connection->libpq) == 1 && flush(connection);
}

static bool tables_check(struct pg_connection *connection)
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
                 "the server has version %d, Ringcast needs %d", PQserverVersion(libpq),
                 PG_VERSION_MIN);
        fail(connection, "PostgreSQL is older than version 13");
        return;
    }
    if (PQsetnonblocking(libpq, 1) != 0 ||
        !(connection->pool->schema_checked ? prepare_all(connection) : tables_check(connection)))
        fail(connection, LOST);
}

static void connecting(struct pg_connection *connection)
{
    int events = 0;

    poll_stop(connection);
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
    if (!events || !poll_start(connection, events))
        fail(connection, "cannot connect to PostgreSQL");
}

/* ---- results ---- */

static void schema_ended(struct pg_connection *connection)
{
    static const char advice[] = "; start once as the owner of the tables, or grant it";
    char problem[DATABASE_PROBLEM_BYTES];
    bool may_not = strcmp(connection->sqlstate, "42501") == 0; /* insufficient_privilege */

    if (connection->sqlstate[0]) {
        snprintf(problem, sizeof(problem), "PostgreSQL: %.*s%s", may_not ? 90 : 140,
                 connection->message, may_not ? advice : "");
        fail(connection, problem);
        return;
    }
    connection->pool->schema_checked = true;
    if (!prepare_all(connection))
        fail(connection, LOST);
}

static void prepare_ended(struct pg_connection *connection)
{
    char problem[DATABASE_PROBLEM_BYTES];

    if (!connection->sqlstate[0]) {
        phase_set(connection, PG_IDLE);
        pg_pool_ready(connection);
        return;
    }
    connection->pool->schema_checked = false; /* the tables were changed: check them again */
    snprintf(problem, sizeof(problem), "PostgreSQL: %.140s", connection->message);
    fail(connection, problem);
}

static void query_ended(struct pg_connection *connection)
{
    struct query *query = connection->query;

    if (!pg_query_end(connection, query)) {
        connection->sqlstate[0] = connection->message[0] = 0;
        if (!pg_query_send(connection, query, &connection->syncs_pending) || !flush(connection))
            fail(connection, LOST);
        return;
    }
    if (pg_error_breaks_connection(connection->sqlstate)) {
        if (strncmp(connection->sqlstate, "42", 2) == 0)
            connection->pool->schema_checked = false;
        fail(connection, query->problem);
        return;
    }
    connection->query = NULL;
    phase_set(connection, PG_IDLE);
    database_finished(&connection->pool->base, query);
    pg_pool_ready(connection);
}

static void result_take(struct pg_connection *connection, const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_PIPELINE_SYNC)
        connection->syncs_pending--;
    else if (connection->phase == PG_BUSY)
        pg_query_result(connection, connection->query, result);
    else if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)
        pg_error_keep(connection, result);
}

/* Takes the results that have arrived. True: the phase has ended. In a pipeline libpq returns NULL
 * after each query, and the phase ends with the last sync; the check of the tables ends with its
 * one NULL. */
static bool results_take(struct pg_connection *connection)
{
    bool pipeline = connection->phase != PG_SCHEMA;
    unsigned nulls = 0;

    while ((!pipeline || connection->syncs_pending) && !PQisBusy(connection->libpq)) {
        PGresult *result = PQgetResult(connection->libpq);

        if (!result && !pipeline)
            return true;
        nulls = result ? 0 : nulls + 1;
        if (nulls > 2) /* broken or out of step: the time limit of the query ends it */
            return false;
        if (result)
            result_take(connection, result);
        PQclear(result);
    }
    return pipeline && !connection->syncs_pending;
}

static void results_read(struct pg_connection *connection)
{
    bool ended = false;

    if (connection->phase == PG_SCHEMA || connection->phase == PG_PREPARING ||
        connection->phase == PG_BUSY)
        ended = results_take(connection);
    else
        PQisBusy(connection->libpq); /* makes libpq handle notices */
    if (PQstatus(connection->libpq) != CONNECTION_OK) {
        fail(connection, LOST);
        return;
    }
    if (!ended)
        return;
    if (connection->phase == PG_SCHEMA)
        schema_ended(connection);
    else if (connection->phase == PG_PREPARING)
        prepare_ended(connection);
    else
        query_ended(connection);
}

static void connection_event(uv_poll_t *poll, int status, int events)
{
    struct pg_connection *connection = poll->data;

    if (!connection)
        return;
    if (connection->phase == PG_CONNECTING) {
        connecting(connection);
        return;
    }
    /* A server that ends a connection says why before it does: read that, also after an error. */
    if (PQconsumeInput(connection->libpq) != 1 || status < 0) {
        if (connection->phase != PG_IDLE && results_take(connection) &&
            connection->phase == PG_BUSY)
            query_ended(
                connection); /* its results are complete; the next event ends the connection */
        else
            fail(connection, LOST);
        return;
    }
    if ((events & UV_WRITABLE) && !flush(connection)) {
        fail(connection, LOST);
        return;
    }
    results_read(connection);
}

void pg_connection_run(struct pg_connection *connection, struct query *query)
{
    connection->query = query;
    connection->row_by_row = connection->found = false;
    connection->row = 0;
    phase_set(connection, PG_BUSY);
    if (!pg_query_send(connection, query, &connection->syncs_pending) || !flush(connection))
        fail(connection, LOST);
}
