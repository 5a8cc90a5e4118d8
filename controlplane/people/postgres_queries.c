/* Queries as prepared statements: parameters to the server, results back, and what an error
 * means. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "postgres.h"
#include "src/log.h"
#include "uuid.h"

/* Milliseconds and microseconds since 1970 as a TIMESTAMPTZ, and a TIMESTAMPTZ as milliseconds. All
 * exact. */
#define TIME(parameter) "(timestamptz 'epoch' + " parameter "::bigint * interval '1 millisecond')"
#define MICROSECONDS(parameter) \
    "(timestamptz 'epoch' + " parameter "::bigint * interval '1 microsecond')"
#define MS(column) "(extract(epoch FROM date_trunc('milliseconds', " column ")) * 1000)::bigint"

/* A parameter of each kind of column. The casts are needed where the statement does not show the
 * type; a word has none, because nobody but the database knows the name of its enum. */
#define PARAMETER_uuid(number) "$" #number "::uuid"
#define PARAMETER_text(number) "$" #number "::text"
#define PARAMETER_word(number) "$" #number
#define PARAMETER_flag(number) "$" #number "::boolean"
#define PARAMETER_count(number) "$" #number "::integer"
#define PARAMETER_time(number) TIME("$" #number)
#define PARAMETER_time_or_null(number) TIME("$" #number)
#define PARAMETER(number, kind, column, field) ", " PARAMETER_##kind(number)

/* What to select of each kind of column. */
#define VALUE_uuid(column) "\"" column "\""
#define VALUE_text VALUE_uuid
#define VALUE_word VALUE_uuid
#define VALUE_flag VALUE_uuid
#define VALUE_count VALUE_uuid
#define VALUE_time(column) MS("\"" column "\"")
#define VALUE_time_or_null VALUE_time
#define VALUE(number, kind, column, field) ", " VALUE_##kind(column)

#define USER_NAMES "\"id\"" USER_COLUMNS(COLUMN_NAME)
#define USER_VALUES "\"id\"" USER_COLUMNS(VALUE)
#define MEETING_NAMES "\"id\"" MEETING_COLUMNS(COLUMN_NAME)
#define MEETING_VALUES "\"id\"" MEETING_COLUMNS(VALUE)

/* S(name, text). E-mail addresses are compared in lower case: the NestJS backend may have stored
 * them as people typed them. An audit row whose user does not exist keeps the user's id in its
 * metadata. */
/* clang-format off */
#define STATEMENTS(S)                                                                              \
    S(user_insert, "INSERT INTO \"users\" (" USER_NAMES ")"                                        \
      " SELECT $1::uuid" USER_COLUMNS(PARAMETER)                                                   \
      " WHERE NOT EXISTS (SELECT 1 FROM \"users\" WHERE lower(\"email\") = $2::text)")             \
    S(user_by_email, "SELECT " USER_VALUES " FROM \"users\" WHERE lower(\"email\") = $1::text"     \
      " ORDER BY \"email\" = $1::text DESC, \"createdAt\" LIMIT 1")                                \
    S(user_by_id, "SELECT " USER_VALUES " FROM \"users\" WHERE \"id\" = $1")                       \
    S(user_set_hash, "UPDATE \"users\" SET \"passwordHash\" = $2, \"updatedAt\" = now()"           \
      " WHERE \"id\" = $1")                                                                        \
    S(meeting_insert, "INSERT INTO \"meetings\" (" MEETING_NAMES ")"                               \
      " VALUES ($1::uuid" MEETING_COLUMNS(PARAMETER) ")")                                          \
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
    S(meeting_next_active, "SELECT " MEETING_VALUES " FROM \"meetings\""                           \
      " JOIN \"ringcast_active_meetings\" ON \"meetingId\" = \"id\""                               \
      " WHERE \"node\" = $2::uuid AND \"run\" <> $3::uuid AND \"status\" = 'active'"                 \
      " AND \"meetingId\" > $1::uuid ORDER BY \"meetingId\" LIMIT 1")                               \
    S(audit_insert, "INSERT INTO \"audit_logs\" (\"id\", \"action\", \"userId\", \"roomId\","      \
      " \"metadata\", \"ipAddress\", \"createdAt\") VALUES ($1, $2,"                               \
      " (SELECT \"id\" FROM \"users\" WHERE \"id\" = $3::uuid FOR KEY SHARE), $4,"                 \
      " CASE WHEN $3::uuid IS NULL OR EXISTS (SELECT 1 FROM \"users\" WHERE \"id\" = $3::uuid)"    \
      " THEN $5::jsonb ELSE coalesce($5::jsonb, '{}') ||"                                          \
      " jsonb_build_object('userId', $3::uuid) END, $6, " MICROSECONDS("$7") ")"                   \
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

/* Adds a value of each kind of column. */
#define ADD_uuid(value) value_text(&values, value)
#define ADD_text ADD_uuid
#define ADD_word ADD_uuid
#define ADD_flag(value) value_text(&values, (value) ? "t" : "f")
#define ADD_count(value) value_number(&values, value)
#define ADD_time(value) value_number(&values, value)
#define ADD_time_or_null(value) value_time(&values, value)
#define ADD(number, kind, column, field) ADD_##kind(row->field);

static bool send_user(PGconn *libpq, const struct user_row *row)
{
    struct values values = {0};

    value_text(&values, row->id);
    USER_COLUMNS(ADD)
    return run(libpq, STATEMENT_user_insert, &values);
}

static bool send_meeting(PGconn *libpq, const struct meeting_row *row)
{
    struct values values = {0};

    value_text(&values, row->id);
    MEETING_COLUMNS(ADD)
    return run(libpq, STATEMENT_meeting_insert, &values);
}

/* INET has no zones ("fe80::1%eth0"). */
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

/* All rows in one transaction: one round trip, one sync of the server's disk. row_by_row: each in a
 * transaction of its own, so that a row which the tables refuse does not undo the others. */
static bool send_audit(struct pg_connection *connection, const struct query *query, unsigned *syncs)
{
    bool ok = true;

    *syncs = 0;
    connection->row = 0;
    for (size_t i = 0; ok && i < query->row.audit.count; i++) {
        ok = send_audit_row(connection->libpq, &query->row.audit.rows[i]);
        if (ok && (connection->row_by_row || i + 1 == query->row.audit.count)) {
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

    value_text(&values, query->key);
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
    default: /* QUERY_MEETING_RAISE_PEAK */
        return run(libpq, STATEMENT_meeting_raise_peak, &values);
    }
}

static bool send_find(PGconn *libpq, enum statement statement, const char *key)
{
    struct values values = {0};

    value_text(&values, key);
    return run(libpq, statement, &values);
}

static bool send_next_active(struct pg_connection *connection, const char *after_id)
{
    struct values values = {0};

    value_text(&values,
               uuid_is_valid(after_id) ? after_id : "00000000-0000-0000-0000-000000000000");
    value_text(&values, connection->pool->node);
    value_text(&values, connection->pool->run);
    return run(connection->libpq, STATEMENT_meeting_next_active, &values);
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
    case QUERY_MEETING_NEXT_ACTIVE:
        ok = send_next_active(connection, query->key);
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
    return strtoll(PQgetvalue(result, 0, at), NULL, 10); /* null reads as "", which gives 0 */
}

/* Reads a column of each kind. */
#define READ_uuid(at, field) column_text(result, at, field, sizeof(field))
#define READ_text READ_uuid
#define READ_word READ_uuid
#define READ_flag(at, field) field = PQgetvalue(result, 0, at)[0] == 't'
#define READ_count(at, field) field = (uint32_t)column_number(result, at)
#define READ_time(at, field) field = column_number(result, at)
#define READ_time_or_null READ_time
#define READ(number, kind, column, field) READ_##kind(number - 1, row->field);

static void user_read(const PGresult *result, struct user_row *row)
{
    READ_uuid(0, row->id);
    USER_COLUMNS(READ)
}

static void meeting_read(const PGresult *result, struct meeting_row *row)
{
    READ_uuid(0, row->id);
    MEETING_COLUMNS(READ)
}

/* The tables refuse the content of the row (class 22: not a value of that type; 23: a
 * constraint). */
static bool error_is_of_row(const char *sqlstate)
{
    return strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0;
}

bool pg_error_breaks_connection(const char *sqlstate)
{
    return strncmp(sqlstate, "08", 2) == 0 ||  /* connection */
           strncmp(sqlstate, "57P", 3) == 0 || /* the server stops, or starts */
           strcmp(sqlstate, "25006") == 0 ||   /* the server became a standby: find the primary */
           strncmp(sqlstate, "26", 2) == 0 ||  /* a pooler in between lost the prepared statement */
           strncmp(sqlstate, "0A", 2) == 0 ||  /* the plan is out of date: a table was altered */
           strncmp(sqlstate, "42", 2) ==
               0; /* a table or a right is missing: check the tables again */
}

void pg_error_keep(struct pg_connection *connection, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (connection->sqlstate[0])
        return; /* later errors in a pipeline are only consequences of the first */
    snprintf(connection->sqlstate, sizeof(connection->sqlstate), "%.5s", state ? state : "08000");
    snprintf(connection->message, sizeof(connection->message), "%.150s",
             message ? message : PQresultErrorMessage(result));
}

static void audit_row_log(const struct pg_connection *connection, const struct audit_row *row)
{
    LOG(ERROR, "audit", "the table refuses an audit row; the row is lost", F("row", "%s", row->id),
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
        if (query->kind == QUERY_MEETING_FIND || query->kind == QUERY_MEETING_NEXT_ACTIVE)
            meeting_read(result, &query->row.meeting);
        else
            user_read(result, &query->row.user);
        break;
    case PGRES_PIPELINE_ABORTED:
        break;
    default:
        pg_error_keep(connection, result);
        if (connection->row_by_row && error_is_of_row(connection->sqlstate)) {
            audit_row_log(connection, &query->row.audit.rows[connection->row]);
            connection->sqlstate[0] = 0;
        }
    }
    connection->row++;
}

/* What an error in the row means to the caller. */
static enum persistence_result row_error(struct pg_connection *connection, struct query *query)
{
    if (strcmp(connection->sqlstate, "23505") == 0)
        return PERSISTENCE_DUPLICATE;
    if (strcmp(connection->sqlstate, "23503") == 0)
        return PERSISTENCE_NOT_FOUND; /* the host of the meeting does not exist */
    if (query->kind != QUERY_USER_INSERT && query->kind != QUERY_MEETING_INSERT)
        return PERSISTENCE_NOT_FOUND; /* no row can have such a key */
    LOG(ERROR, "persistence", "the tables refuse a row; the caller gets an error",
        F("why", "%s", connection->message));
    return PERSISTENCE_UNAVAILABLE; /* query->problem stays empty: the database works */
}

bool pg_query_end(struct pg_connection *connection, struct query *query)
{
    query->result = PERSISTED;
    if (connection->sqlstate[0] && error_is_of_row(connection->sqlstate)) {
        if (query->kind == QUERY_AUDIT_INSERT) {
            connection->row_by_row = true;
            return false;
        }
        query->result = row_error(connection, query);
    } else if (connection->sqlstate[0]) {
        query->result = PERSISTENCE_UNAVAILABLE;
        snprintf(query->problem, sizeof(query->problem), "%.150s", connection->message);
    } else if (!connection->found) {
        if (query->kind == QUERY_USER_INSERT)
            query->result = PERSISTENCE_DUPLICATE; /* the same e-mail address in another case */
        else if (query->kind != QUERY_AUDIT_INSERT && query->kind != QUERY_PROBE)
            query->result = PERSISTENCE_NOT_FOUND;
    }
    return true;
}
