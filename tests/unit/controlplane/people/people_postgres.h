/* The database of a test from outside: each test program starts a PostgreSQL server
 * (tests/lib/postgres) and makes a database for each test. */
#ifndef RINGCAST_TEST_PEOPLE_POSTGRES_H
#define RINGCAST_TEST_PEOPLE_POSTGRES_H

#include <postgresql/libpq-fe.h>
#include <signal.h>

typedef PGconn outside_t;

#define SQL_N "(metadata->>'n')::int"
#define SQL_WRITTEN "\"createdAt\""
#define SQL_MS(column) "(extract(epoch FROM " column ") * 1000)::bigint"
#define SQL_LOCK_AUDIT "BEGIN; LOCK TABLE audit_logs"
#define SQL_BREAK                                                                            \
    "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "      \
    "RAISE EXCEPTION 'injected'; END $$; CREATE TRIGGER broken BEFORE INSERT ON audit_logs " \
    "FOR EACH ROW WHEN ((%s)::text IN ('true', '1')) EXECUTE FUNCTION broken()"
#define SQL_REPAIR "DROP TRIGGER broken ON audit_logs"

static struct {
    FILE *commands, *answers; /* when the test program ends, they close and the server ends */
    unsigned port;
    char directory[200];
    unsigned databases;
} server;

static void server_start(void)
{
    int in[2], out[2];

    if (server.commands)
        return;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    if (fork() == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl("tests/lib/postgres", "tests/lib/postgres", NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server.commands = fdopen(in[1], "w");
    server.answers = fdopen(out[0], "r");
    if (fscanf(server.answers, "ready %u %199s%*c", &server.port, server.directory) != 2)
        fail_msg("tests/lib/postgres did not start a server");
}

/* stop, start, hang, go on, …: waits until the server has done it. */
static inline void server_command(const char *word)
{
    char line[100];

    fprintf(server.commands, "%s\n", word);
    fflush(server.commands);
    assert_non_null(fgets(line, sizeof(line), server.answers));
}

static outside_t *outside_to(const char *database)
{
    char text[400];
    PGconn *connection;

    snprintf(text, sizeof(text),
             "host=%s port=%u user=postgres dbname=%s connect_timeout=%d options='-c "
             "client_min_messages=warning'",
             server.directory, server.port, database, EVENT_S);
    connection = PQconnectdb(text);
    if (PQstatus(connection) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(connection));
    return connection;
}

static inline outside_t *outside_open(void)
{
    return outside_to(setup_settings.postgres_db);
}

static inline void outside_close(outside_t *connection)
{
    PQfinish(connection);
}

static inline void outside_run(outside_t *connection, const char *text)
{
    PGresult *result = PQexec(connection, text);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(connection));
    PQclear(result);
}

static inline int64_t outside_number(const char *text)
{
    PGconn *connection = outside_open();
    PGresult *result = PQexec(connection, text);
    int64_t number;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(connection));
    number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(connection);
    return number;
}

/* Makes an empty database, and settings to use it. */
static void database_make(void)
{
    char text[200];
    PGconn *connection;

    server_start();
    strcpy(setup_settings.persistence, "postgres");
    strcpy(setup_settings.postgres_host, "127.0.0.1");
    setup_settings.postgres_port = server.port;
    strcpy(setup_settings.postgres_user, "videoconf");
    strcpy(setup_settings.postgres_password, "videoconf password");
    strcpy(setup_settings.postgres_sslmode, "prefer");
    setup_settings.postgres_connections = 4;
    snprintf(setup_settings.postgres_db, 64, "test%u", server.databases++);
    connection = outside_to("postgres");
    snprintf(text, sizeof(text), "CREATE DATABASE %.60s OWNER videoconf",
             setup_settings.postgres_db);
    outside_run(connection, text);
    PQfinish(connection);
}

#endif
