/* Inside of PostgreSQL: a small pool of connections on the loop. Nothing here waits.
 *
 *   postgres.c             the pool: gives queries to connections, decides when to connect again
 *   postgres_resolver.c    resolves names to addresses on a thread
 *   postgres_connection.c  one connection: connects, checks the tables, prepares, runs queries
 *   postgres_queries.c     statements: queries to parameters, results to queries
 *   postgres_schema.c      the tables: makes, accepts or refuses them
 *
 * Times are TIMESTAMPTZ, ids UUID, addresses INET, metadata JSONB. Tables and columns have the
 * names of the NestJS backend.
 * Errors: when PostgreSQL refuses the content of a query, only that query fails. When the server or
 * the connection fails, the database is unavailable until a probe (a write) succeeds.
 * Limits: PG_CONNECTIONS_MAX; a connection attempt that takes PG_CONNECT_MS_MAX is given up. The
 * time limit of a query is that of persistence.c: it withdraws a late query, and the pool then
 * closes the connection that ran it. */
#ifndef RINGCAST_POSTGRES_H
#define RINGCAST_POSTGRES_H

#include <postgresql/libpq-fe.h>

#include "database.h"
#include "postgres_resolver.h"

#define PG_CONNECTIONS_MAX 64
#define PG_CONNECT_MS_MAX 2000
#define PG_SCHEMA_MS_MAX 120000 /* an index over a big table; waiting for another control plane */
#define PG_BACKOFF_MS_MIN 100
#define PG_BACKOFF_MS_MAX 2000
#define PG_VERSION_MIN 130000 /* gen_random_uuid; ALTER TYPE … ADD VALUE inside a transaction */

enum pg_phase { PG_CLOSED, PG_CONNECTING, PG_SCHEMA, PG_PREPARING, PG_IDLE, PG_BUSY };

struct pg_connection {
    struct pg_pool *pool;
    PGconn *libpq;
    uv_poll_t *poll; /* of libpq's socket; libpq may open another one while it connects */
    enum pg_phase phase;
    uint64_t phase_began_ns;
    struct query *query; /* in PG_BUSY */
    bool is_ready;       /* the statements are prepared: it takes queries */
    bool runs_audit;
    unsigned syncs_pending; /* ends of pipelines whose results are still to come */
    bool row_by_row;        /* send each audit row by itself: the tables refused the batch */
    unsigned row;           /* the audit row that the next result belongs to */
    char sqlstate[6], message[DATABASE_PROBLEM_BYTES]; /* first error of the query or phase */
    bool found;                                        /* the query changed or read a row */
};

struct pg_pool {
    struct database base; /* first */
    uv_loop_t *loop;
    const struct settings *settings;
    /* This installation and this run of it: they mark the meetings that it has active. */
    char node[UUID_TEXT_BYTES], run[UUID_TEXT_BYTES];
    /* paths in the data directory of our client certificate, its key, and passwords; often no
     * file */
    char certificate[SETTING_TEXT_ROOM + 32], key[SETTING_TEXT_ROOM + 32];
    char passwords[SETTING_TEXT_ROOM + 32];

    /* Queries that wait for a connection. Audit batches run one at a time, in their order. */
    struct query_list waiting, waiting_audits;
    bool audit_running;
    struct pg_connection *connections;
    unsigned count, ready_count;
    bool schema_checked;    /* the tables are as they must be */
    uint64_t down_since_ns; /* when the last ready connection was lost */
    char problem[DATABASE_PROBLEM_BYTES];

    uv_timer_t timer;
    uint64_t retry_ns; /* do not connect before this time */
    uint32_t backoff_ms;
    struct pg_resolver resolver;
    bool names_stale;       /* resolve the names before the next attempt */
    unsigned first_address; /* where the next attempt begins; moves on with each failure */
    bool closing;
    unsigned handles;
};

/* ---- postgres.c: what a connection reports to the pool ---- */

/* It may take a query. */
void pg_pool_ready(struct pg_connection *connection);
/* It failed and is closed. problem is for /health, detail for the log. */
void pg_pool_lost(struct pg_connection *connection, const char *problem, const char *detail);

/* ---- postgres_connection.c ---- */

void pg_connection_start(struct pg_connection *connection);
/* Sends the query. The connection owns it until it is finished or lost. */
void pg_connection_run(struct pg_connection *connection, struct query *query);
void pg_connection_close(struct pg_connection *connection);

/* ---- postgres_queries.c ---- */

extern const unsigned pg_statement_count;
bool pg_prepare(PGconn *libpq, unsigned statement);
/* The key should be a UUID and is none: it names no row. PostgreSQL would call that an error. */
bool pg_query_names_nothing(const struct query *query);
/* Puts the query into libpq's buffer, and says how many ends of pipeline it has. False: no memory,
 * or the connection is broken. */
bool pg_query_send(struct pg_connection *connection, struct query *query, unsigned *syncs);
/* Takes one result of the query. */
void pg_query_result(struct pg_connection *connection, struct query *query, const PGresult *result);
/* All results have come. False: send the query once more (connection->row_by_row is set then). */
bool pg_query_end(struct pg_connection *connection, struct query *query);
/* After such an error the connection is useless for other queries as well. */
bool pg_error_breaks_connection(const char *sqlstate);
/* Keeps the first error of a query or phase. */
void pg_error_keep(struct pg_connection *connection, const PGresult *result);

#endif
