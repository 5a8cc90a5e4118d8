/* The PostgreSQL backend: a small pool of connections on the loop; nothing here waits.
 *
 *   postgres.c             the pool: who does which step, when to connect again
 *   postgres_address.c     names to addresses, off the loop (libpq's own look-up would block it)
 *   postgres_connection.c  one connection: connect, look after the tables, prepare, do steps
 *   postgres_queries.c statements: queries to parameters, rows to queries
 *   postgres_schema.c      the tables: made, accepted or refused with a sentence
 *
 * Times are TIMESTAMPTZ, ids UUID, addresses INET, metadata JSONB; names are the seed's.
 * Errors: a step that fails on its own content is answered, one that fails with the server or the
 * connection makes the store unavailable until a probe (a write) succeeds.
 * Limits: PG_CONNECTIONS_MAX; a connection that takes PG_CONNECT_MS_MAX is given up; a step's time is
 * the front's (persistence.c), which closes the connection of one that is overdue. */
#ifndef RINGCAST_POSTGRES_H
#define RINGCAST_POSTGRES_H

#include <postgresql/libpq-fe.h>

#include "data_directory_open.h"
#include "query.h"

#define PG_CONNECTIONS_MAX 64
#define PG_CONNECT_MS_MAX 2000
#define PG_SCHEMA_MS_MAX 120000 /* an index over a big table; another control plane at it already */
#define PG_BACKOFF_MS_MIN 100
#define PG_BACKOFF_MS_MAX 2000
#define PG_VERSION_MIN 130000 /* gen_random_uuid; ALTER TYPE … ADD VALUE inside a transaction */
#define PG_ADDRESSES_MAX 16
#define PG_HOST_BYTES 256

enum pg_phase { PG_CLOSED, PG_CONNECTING, PG_SCHEMA, PG_PREPARING, PG_IDLE, PG_BUSY };

struct pg_pool;

struct pg_connection {
    struct pg_pool *pool;
    PGconn *libpq;
    uv_poll_t *watch; /* of libpq's socket, which it may change while connecting */
    enum pg_phase phase;
    uint64_t since_ns;   /* of the phase */
    struct query *query; /* of PG_BUSY */
    bool is_up;          /* prepared: takes steps */
    bool runs_audit;
    unsigned syncs; /* ends of pipelines still to come */
    bool singly;    /* audit rows one by one: the batch has one that the tables refuse */
    unsigned row;   /* of the audit batch, of the result that comes next */
    char sqlstate[6], message[STORE_PROBLEM_BYTES]; /* first error of the step or phase */
    bool found;                                     /* the step changed or read a row */
};

/* One place to connect to. hostaddr "": a directory of Unix sockets. */
struct pg_address {
    char host[PG_HOST_BYTES], hostaddr[64];
};

struct pg_addresses {
    struct pg_address all[PG_ADDRESSES_MAX];
    unsigned count;
};

struct pg_pool {
    struct backend backend; /* first */
    struct persistence *front;
    uv_loop_t *loop;
    const struct settings *settings;
    /* Which meetings an earlier run of ours left active is known by these. */
    char node[UUID_TEXT_BYTES], run[UUID_TEXT_BYTES];
    /* ours, if the data directory has them */
    char certificate[SETTING_TEXT_ROOM + 32], key[SETTING_TEXT_ROOM + 32];
    char passwords[SETTING_TEXT_ROOM + 32];

    struct query_list calls, audits; /* waiting; audit batches go one at a time, in order */
    bool audit_running;
    struct pg_connection *connections;
    unsigned count, ready;
    bool schema_known; /* the tables are as they must be */
    uint64_t down_ns;  /* since when none is ready */
    char problem[STORE_PROBLEM_BYTES];

    uv_timer_t timer;
    uint64_t retry_ns; /* connect not before */
    uint32_t backoff_ms;
    struct pg_addresses addresses;
    unsigned first;           /* address to begin with: turns with each failure */
    struct pg_lookup *lookup; /* under way */
    uv_async_t wake;          /* it has ended */
    bool stale;               /* look names up before the next attempt */
    bool closing;
    unsigned handles;
};

/* ---- postgres_address.c ---- */
/* Looks the names of POSTGRES_HOST up; then pg_pool_resolved (the old addresses stay if none is found). */
void pg_resolve(struct pg_pool *pool);
void pg_resolve_woken(uv_async_t *wake);
/* Nobody waits for it any more, however long it takes. */
void pg_resolve_abandon(struct pg_pool *pool);

/* ---- postgres.c: what the others tell the pool ---- */
void pg_pool_resolved(struct pg_pool *pool, const char *problem /* NULL: fine */);
void pg_pool_ready(struct pg_connection *connection); /* may take a step */
/* It is closed; problem is for /health, detail for the log. */
void pg_pool_lost(struct pg_connection *connection, const char *problem, const char *detail);

/* ---- postgres_connection.c ---- */
void pg_connection_start(struct pg_connection *connection);
/* Sends the query, which is the connection's until it is finished or lost. */
void pg_connection_run(struct pg_connection *connection, struct query *query);
void pg_connection_close(struct pg_connection *connection);

/* ---- postgres_queries.c ---- */
extern const unsigned pg_statement_count;
bool pg_prepare(PGconn *libpq, unsigned statement);
/* A key that is no UUID names no row; PostgreSQL would call it an error. */
bool pg_query_names_nothing(const struct query *query);
/* Puts the query into libpq's buffer with *syncs ends of pipeline. False: it cannot (no memory,
 * connection broken). */
bool pg_query_send(struct pg_connection *connection, struct query *query, unsigned *syncs);
/* One result of it. */
void pg_query_result(struct pg_connection *connection, struct query *query, const PGresult *result);
/* All results are there. False: send it once more (connection->singly says how). */
bool pg_query_end(struct pg_connection *connection, struct query *query);
/* Errors after which the connection is of no use for other steps either. */
bool pg_error_is_connections(const char *sqlstate);
/* Keeps the first error of a step or phase. */
void pg_error_keep(struct pg_connection *connection, const PGresult *result);

/* ---- postgres_schema.c ---- */
/* The whole look at the tables as one text of statements, from malloc. */
char *pg_schema_text(void);
#define PG_SESSION_STATEMENT_MS 5000

#endif
