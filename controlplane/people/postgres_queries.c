/* Requests as prepared statements: parameters out, rows back, and which errors are whose. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres.h"
#include "src/log.h"
#include "uuid.h"

/* Milliseconds since 1970 there and back, exact in both directions; microseconds there. */
#define TIME(parameter) "(timestamptz 'epoch' + " parameter "::bigint * interval '1 millisecond')"
#define MICROSECONDS(parameter) \
    "(timestamptz 'epoch' + " parameter "::bigint * interval '1 microsecond')"
#define MS(column) "(extract(epoch FROM date_trunc('milliseconds', " column ")) * 1000)::bigint"

#define USER_COLUMNS                                                       \
    "\"id\", \"email\", \"passwordHash\", \"displayName\", \"isActive\", " \
    "\"createdAt\", \"updatedAt\""
#define USER_VALUES                                                            \
    "\"id\", \"email\", \"passwordHash\", \"displayName\", \"isActive\", " MS( \
        "\"createdAt\"") ", " MS("\"updatedAt\"")
#define MEETING_COLUMNS                                                       \
    "\"id\", \"title\", \"roomCode\", \"hostId\", \"status\", "               \
    "\"maxParticipants\", \"startedAt\", \"endedAt\", \"peakParticipants\", " \
    "\"createdAt\", \"updatedAt\""
#define MEETING_VALUES                                          \
    "\"id\", \"title\", \"roomCode\", \"hostId\", \"status\", " \
    "\"maxParticipants\", " MS("\"startedAt\"") ", " MS(        \
        "\"endedAt\"") ", \"peakParticipants\", " MS("\"createdAt\"") ", " MS("\"updatedAt\"")

/* S(name, text). E-mail addresses are compared in lower case: the NestJS backend may have stored them
 * as they were typed. An audit row whose user is gone keeps the id in its metadata. */
/* clang-format off */
#define STATEMENTS(S)                                                                              \
    S(user_insert, "INSERT INTO \"users\" (" USER_COLUMNS ") SELECT $1::uuid, $2::text, $3, $4,"   \
      " $5::boolean, " TIME("$6") ", " TIME("$7")                                                  \
      " WHERE NOT EXISTS (SELECT 1 FROM \"users\" WHERE lower(\"email\") = $2::text)")             \
    S(user_by_email, "SELECT " USER_VALUES " FROM \"users\" WHERE lower(\"email\") = $1::text"     \
      " ORDER BY \"email\" = $1::text DESC, \"createdAt\" LIMIT 1")                                \
    S(user_by_id, "SELECT " USER_VALUES " FROM \"users\" WHERE \"id\" = $1")                       \
    S(user_set_hash, "UPDATE \"users\" SET \"passwordHash\" = $2, \"updatedAt\" = now()"           \
      " WHERE \"id\" = $1")                                                                        \
    S(meeting_insert, "INSERT INTO \"meetings\" (" MEETING_COLUMNS ") VALUES ($1, $2, $3, $4, $5," \
      " $6, " TIME("$7") ", " TIME("$8") ", $9, " TIME("$10") ", " TIME("$11") ")")                \
    S(meeting_by_id, "SELECT " MEETING_VALUES " FROM \"meetings\" WHERE \"id\" = $1")              \
    S(meeting_by_code, "SELECT " MEETING_VALUES " FROM \"meetings\" WHERE \"roomCode\" = $1")      \
    S(meeting_set_active, "WITH done AS (UPDATE \"meetings\" SET \"status\" = 'active',"           \
      " \"startedAt\" = coalesce(\"startedAt\", " TIME("$2") "), \"updatedAt\" = now()"            \
      " WHERE \"id\" = $1 AND \"status\" <> 'closed' RETURNING \"id\")"                            \
      " INSERT INTO \"ringcast_active_meetings\" (\"meetingId\", \"node\", \"run\")"              \
      " SELECT \"id\", $3::uuid, $4::uuid FROM done ON CONFLICT (\"meetingId\")"                   \
      " DO UPDATE SET \"node\" = excluded.\"node\", \"run\" = excluded.\"run\"")                   \
    S(meeting_set_closed, "WITH gone AS (DELETE FROM \"ringcast_active_meetings\""                 \
      " WHERE \"meetingId\" = $1::uuid)"                                                           \
      " UPDATE \"meetings\" SET \"status\" = 'closed', \"endedAt\" = coalesce(\"endedAt\", "       \
      TIME("$2") "), \"updatedAt\" = now() WHERE \"id\" = $1::uuid")                               \
    S(meeting_raise_peak, "UPDATE \"meetings\" SET \"peakParticipants\" ="                         \
      " greatest(\"peakParticipants\", $2), \"updatedAt\" = now() WHERE \"id\" = $1")              \
    S(meetings_close_stale, "WITH gone AS (DELETE FROM \"ringcast_active_meetings\""               \
      " WHERE \"node\" = $1 AND \"run\" <> $3 RETURNING \"meetingId\")"                                              \
      " UPDATE \"meetings\" SET \"status\" = 'closed', \"endedAt\" = " TIME("$2")                  \
      ", \"updatedAt\" = now() FROM gone WHERE \"id\" = gone.\"meetingId\""                        \
      " AND \"status\" = 'active'")                                                                \
    S(audit_insert, "INSERT INTO \"audit_logs\" (\"id\", \"action\", \"userId\", \"roomId\","      \
      " \"metadata\", \"ipAddress\", \"createdAt\") VALUES ($1, $2,"                               \
      " (SELECT \"id\" FROM \"users\" WHERE \"id\" = $3::uuid FOR KEY SHARE), $4,"                 \
      " CASE WHEN $3::uuid IS NULL OR EXISTS (SELECT 1 FROM \"users\" WHERE \"id\" = $3::uuid)"    \
      " THEN $5::jsonb ELSE coalesce($5::jsonb, '{}') ||"                                          \
      " jsonb_build_object('userId', $3::uuid) END, $6, " MICROSECONDS("$7") ")"                           \
      " ON CONFLICT (\"id\") DO NOTHING")                                                          \
    S(probe, "UPDATE \"ringcast_schema\" SET \"version\" = \"version\"")
/* clang-format on */

enum statement {
#define S(name, text) STATEMENT_##name,
    STATEMENTS(S)
#undef S
        STATEMENT_COUNT
};
static const struct {
    const char *name, *text;
} statements[] = {
#define S(name, text) {#name, text},
    STATEMENTS(S)
#undef S
};
const unsigned pg_statement_count = STATEMENT_COUNT;

bool pg_prepare(PGconn *libpq, unsigned statement)
{
    return PQsendPrepare(libpq, statements[statement].name, statements[statement].text, 0, NULL) ==
           1;
}

/* ---- parameters ---- */

#define VALUES_MAX 11

struct values {
    const char *texts[VALUES_MAX];
    char numbers[VALUES_MAX][24];
    int count;
};

static void value_text(struct values *values, const char *text)
{
    values->texts[values->count++] = text;
}

static void value_text_or_null(struct values *values, const char *text)
{
    value_text(values, text && text[0] ? text : NULL);
}

static void value_number(struct values *values, int64_t number)
{
    snprintf(values->numbers[values->count], sizeof(values->numbers[0]), "%" PRId64, number);
    value_text(values, values->numbers[values->count]);
}

static void value_time(struct values *values, int64_t ms)
{
    if (ms)
        value_number(values, ms);
    else
        value_text(values, NULL);
}

static bool run(PGconn *libpq, enum statement statement, const struct values *values)
{
    return PQsendQueryPrepared(libpq, statements[statement].name, values->count, values->texts,
                               NULL, NULL, 0) == 1;
}

static bool send_user(PGconn *libpq, const struct user_row *user)
{
    struct values values = {0};

    value_text(&values, user->id);
    value_text(&values, user->email);
    value_text(&values, user->password_hash);
    value_text(&values, user->display_name);
    value_text(&values, user->is_active ? "t" : "f");
    value_number(&values, user->created_ms);
    value_number(&values, user->updated_ms);
    return run(libpq, STATEMENT_user_insert, &values);
}

static bool send_meeting(PGconn *libpq, const struct meeting_row *meeting)
{
    struct values values = {0};

    value_text(&values, meeting->id);
    value_text(&values, meeting->title);
    value_text(&values, meeting->room_code);
    value_text(&values, meeting->host_id);
    value_text(&values, meeting->status);
    value_number(&values, meeting->participants_max);
    value_time(&values, meeting->started_ms);
    value_time(&values, meeting->ended_ms);
    value_number(&values, meeting->participants_peak);
    value_number(&values, meeting->created_ms);
    value_number(&values, meeting->updated_ms);
    return run(libpq, STATEMENT_meeting_insert, &values);
}

/* INET knows no zones ("fe80::1%eth0"). */
static const char *address_clean(const char *address, char out[46])
{
    unsigned char bytes[16];

    snprintf(out, 46, "%s", address);
    out[strcspn(out, "%")] = 0;
    return uv_inet_pton(AF_INET, out, bytes) == 0 || uv_inet_pton(AF_INET6, out, bytes) == 0 ? out
                                                                                             : "";
}

static bool send_audit_row(PGconn *libpq, const struct audit_row *row)
{
    struct values values = {0};
    char address[46];

    value_text(&values, row->id);
    value_text(&values, row->action);
    value_text(&values, uuid_is_valid(row->user_id) ? row->user_id : NULL);
    value_text(&values, uuid_is_valid(row->room_id) ? row->room_id : NULL);
    value_text_or_null(&values, row->metadata);
    value_text_or_null(&values, address_clean(row->ip_address, address));
    value_number(&values, row->created_us);
    return run(libpq, STATEMENT_audit_insert, &values);
}

/* All rows in one transaction, one round trip, one sync of the server's disk. Singly: each in its own,
 * so that one which the tables refuse takes no other with it. */
static bool send_audit(struct pg_connection *connection, const struct query *query, unsigned *syncs)
{
    bool ok = true;

    *syncs = 0;
    connection->row = 0;
    for (size_t i = 0; ok && i < query->row.audit.count; i++) {
        ok = send_audit_row(connection->libpq, &query->row.audit.rows[i]);
        if (ok && (connection->singly || i + 1 == query->row.audit.count)) {
            ok = PQpipelineSync(connection->libpq) == 1;
            ++*syncs;
        }
    }
    return ok;
}

static bool send_update(struct pg_connection *connection, const struct query *query)
{
    PGconn *libpq = connection->libpq;
    struct values values = {0};

    value_text(&values,
               query->kind == QUERY_MEETINGS_CLOSE_STALE ? connection->pool->node : query->key);
    if (query->kind == QUERY_USER_SET_HASH)
        value_text(&values, query->text);
    else
        value_number(&values, query->number);
    switch (query->kind) {
    case QUERY_USER_SET_HASH:
        return run(libpq, STATEMENT_user_set_hash, &values);
    case QUERY_MEETING_SET_ACTIVE:
        value_text(&values, connection->pool->node);
        value_text(&values, connection->pool->run);
        return run(libpq, STATEMENT_meeting_set_active, &values);
    case QUERY_MEETING_SET_CLOSED:
        return run(libpq, STATEMENT_meeting_set_closed, &values);
    case QUERY_MEETING_RAISE_PEAK:
        return run(libpq, STATEMENT_meeting_raise_peak, &values);
    default:
        value_text(&values, connection->pool->run);
        return run(libpq, STATEMENT_meetings_close_stale, &values);
    }
}

static bool send_find(PGconn *libpq, enum statement statement, const char *key)
{
    struct values values = {0};

    value_text(&values, key);
    return run(libpq, statement, &values);
}

bool pg_query_names_nothing(const struct query *query)
{
    switch (query->kind) {
    case QUERY_USER_BY_ID:
    case QUERY_USER_SET_HASH:
    case QUERY_MEETING_SET_ACTIVE:
    case QUERY_MEETING_SET_CLOSED:
    case QUERY_MEETING_RAISE_PEAK:
        return !uuid_is_valid(query->key);
    default:
        return false;
    }
}

bool pg_query_send(struct pg_connection *connection, struct query *query, unsigned *syncs)
{
    PGconn *libpq = connection->libpq;
    bool ok;

    *syncs = 1;
    switch (query->kind) {
    case QUERY_USER_INSERT:
        ok = send_user(libpq, &query->row.user);
        break;
    case QUERY_USER_BY_EMAIL:
        ok = send_find(libpq, STATEMENT_user_by_email, query->key);
        break;
    case QUERY_USER_BY_ID:
        ok = send_find(libpq, STATEMENT_user_by_id, query->key);
        break;
    case QUERY_MEETING_INSERT:
        ok = send_meeting(libpq, &query->row.meeting);
        break;
    case QUERY_MEETING_FIND:
        ok = send_find(
            libpq, uuid_is_valid(query->key) ? STATEMENT_meeting_by_id : STATEMENT_meeting_by_code,
            query->key);
        break;
    case QUERY_AUDIT_INSERT:
        return send_audit(connection, query, syncs);
    case QUERY_PROBE:
        ok = run(libpq, STATEMENT_probe, &(struct values){0});
        break;
    default:
        ok = send_update(connection, query);
    }
    return ok && PQpipelineSync(libpq) == 1;
}

/* ---- results ---- */

static void column_text(const PGresult *result, int at, char *out, size_t room)
{
    snprintf(out, room, "%s", PQgetvalue(result, 0, at));
}

static int64_t column_number(const PGresult *result, int at)
{
    return strtoll(PQgetvalue(result, 0, at), NULL, 10); /* "" of a null is 0 */
}

static void user_read(const PGresult *result, struct user_row *user)
{
    column_text(result, 0, user->id, sizeof(user->id));
    column_text(result, 1, user->email, sizeof(user->email));
    column_text(result, 2, user->password_hash, sizeof(user->password_hash));
    column_text(result, 3, user->display_name, sizeof(user->display_name));
    user->is_active = PQgetvalue(result, 0, 4)[0] == 't';
    user->created_ms = column_number(result, 5);
    user->updated_ms = column_number(result, 6);
}

static void meeting_read(const PGresult *result, struct meeting_row *meeting)
{
    column_text(result, 0, meeting->id, sizeof(meeting->id));
    column_text(result, 1, meeting->title, sizeof(meeting->title));
    column_text(result, 2, meeting->room_code, sizeof(meeting->room_code));
    column_text(result, 3, meeting->host_id, sizeof(meeting->host_id));
    column_text(result, 4, meeting->status, sizeof(meeting->status));
    meeting->participants_max = (uint32_t)column_number(result, 5);
    meeting->started_ms = column_number(result, 6);
    meeting->ended_ms = column_number(result, 7);
    meeting->participants_peak = (uint32_t)column_number(result, 8);
    meeting->created_ms = column_number(result, 9);
    meeting->updated_ms = column_number(result, 10);
}

/* Data the tables refuse (class 22: cannot be such a value; 23: against a constraint). */
static bool error_is_rows(const char *sqlstate)
{
    return strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0;
}

bool pg_error_is_connections(const char *sqlstate)
{
    return strncmp(sqlstate, "08", 2) == 0 ||  /* connection */
           strncmp(sqlstate, "57P", 3) == 0 || /* server goes down, or is not up yet */
           strcmp(sqlstate, "25006") == 0 ||   /* it became a standby: look for the primary */
           strncmp(sqlstate, "26", 2) == 0 ||  /* a pooler between us lost the statement */
           strncmp(sqlstate, "0A", 2) == 0 ||  /* cached plan: somebody altered a table */
           strncmp(sqlstate, "42", 2) == 0;    /* table or right gone: look at the tables again */
}

void pg_error_keep(struct pg_connection *connection, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (connection->sqlstate[0])
        return; /* what follows in a pipeline is of the first one's making */
    snprintf(connection->sqlstate, sizeof(connection->sqlstate), "%.5s", state ? state : "08000");
    snprintf(connection->message, sizeof(connection->message), "%.150s",
             message ? message : PQresultErrorMessage(result));
}

static void audit_row_refused(const struct pg_connection *connection, const struct audit_row *row)
{
    LOG(ERROR, "audit", "the table refuses this row; it is left out", F("row", "%s", row->id),
        F("action", "%s", row->action), F("user", "%s", row->user_id),
        F("room", "%s", row->room_id), F("why", "%s", connection->message));
}

void pg_query_result(struct pg_connection *connection, struct query *query, const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
        connection->found |= atoi(PQcmdTuples((PGresult *)result)) > 0;
        break;
    case PGRES_TUPLES_OK:
        if (PQntuples(result) == 0)
            break;
        connection->found = true;
        if (query->kind == QUERY_MEETING_FIND)
            meeting_read(result, &query->row.meeting);
        else
            user_read(result, &query->row.user);
        break;
    case PGRES_PIPELINE_ABORTED:
        break;
    default:
        pg_error_keep(connection, result);
        if (connection->singly && error_is_rows(connection->sqlstate)) {
            audit_row_refused(connection, &query->row.audit.rows[connection->row]);
            connection->sqlstate[0] = 0;
        }
    }
    connection->row++;
}

/* What a row's own error means to who asked. */
static enum persistence_result row_error(struct pg_connection *connection, struct query *query)
{
    if (strcmp(connection->sqlstate, "23505") == 0)
        return PERSISTENCE_DUPLICATE;
    if (strcmp(connection->sqlstate, "23503") == 0)
        return PERSISTENCE_NOT_FOUND; /* the host of a meeting */
    if (query->kind != QUERY_USER_INSERT && query->kind != QUERY_MEETING_INSERT)
        return PERSISTENCE_NOT_FOUND; /* no row can have such a key */
    LOG(ERROR, "persistence", "the tables refuse a row", F("why", "%s", connection->message));
    return PERSISTENCE_UNAVAILABLE; /* without a problem: the store is well */
}

bool pg_query_end(struct pg_connection *connection, struct query *query)
{
    query->result = PERSISTED;
    if (connection->sqlstate[0] && error_is_rows(connection->sqlstate)) {
        if (query->kind == QUERY_AUDIT_INSERT) {
            connection->singly = true;
            return false;
        }
        query->result = row_error(connection, query);
    } else if (connection->sqlstate[0]) {
        query->result = PERSISTENCE_UNAVAILABLE;
        snprintf(query->problem, sizeof(query->problem), "%.150s", connection->message);
    } else if (!connection->found) {
        if (query->kind == QUERY_USER_INSERT)
            query->result = PERSISTENCE_DUPLICATE; /* the address in another case */
        else if (query->kind != QUERY_AUDIT_INSERT && query->kind != QUERY_PROBE &&
                 query->kind != QUERY_MEETINGS_CLOSE_STALE)
            query->result = PERSISTENCE_NOT_FOUND;
    }
    return true;
}
