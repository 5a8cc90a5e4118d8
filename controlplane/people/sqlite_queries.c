/* SQLite: one function per kind of query. */
#include <stdio.h>
#include <string.h>

#include "sqlite_connection.h"
#include "src/clock.h"
#include "src/log.h"

static void message_keep(struct sqlite_connection *connection)
{
    snprintf(connection->message, sizeof(connection->message), "%.90s",
             connection->handle ? sqlite3_errmsg(connection->handle) : "the database is not open");
}

/* What SQLite's result code means to the caller: something about this row, or about the
 * database. */
static enum persistence_result outcome(struct sqlite_connection *connection, int code,
                                       struct query *query)
{
    switch (code) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return PERSISTED;
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
        return PERSISTENCE_DUPLICATE;
    case SQLITE_CONSTRAINT_FOREIGNKEY:
        return PERSISTENCE_NOT_FOUND;
    }
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        snprintf(query->problem, sizeof(query->problem), "database is locked by another process");
        break;
    case SQLITE_FULL:
        snprintf(query->problem, sizeof(query->problem), "disk is full");
        break;
    default:
        if (!connection->message[0])
            message_keep(connection);
        snprintf(query->problem, sizeof(query->problem), "%s (%d)", connection->message, code);
        connection->reopen = (code & 0xff) != SQLITE_CONSTRAINT;
    }
    return PERSISTENCE_UNAVAILABLE;
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text, bool empty_is_null)
{
    /* After a bind that fails the column is NULL, and the NOT NULL of the table refuses the row.
     * STATIC: the texts live longer than the statement runs. */
    if (text && (text[0] || !empty_is_null))
        sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(statement, at);
}

static void bind_time(sqlite3_stmt *statement, int at, int64_t ms)
{
    if (ms)
        sqlite3_bind_int64(statement, at, ms);
    else
        sqlite3_bind_null(statement, at);
}

static void column_text(sqlite3_stmt *statement, int at, char *out, size_t room)
{
    const unsigned char *text = sqlite3_column_text(statement, at);

    snprintf(out, room, "%s", text ? (const char *)text : "");
}

static int64_t now_ms(void)
{
    return (int64_t)(clock_wall_ns() / NS_PER_MS);
}

/* Runs a statement that returns no row, and makes it ready for the next use. */
static int execute(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);

    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code;
}

/* ---- rows, from the lists of columns ---- */

#define BIND_text(at, value) bind_text(statement, at, value, false)
#define BIND_uuid BIND_text
#define BIND_word BIND_text
#define BIND_flag(at, value) sqlite3_bind_int(statement, at, value)
#define BIND_count(at, value) sqlite3_bind_int64(statement, at, value)
#define BIND_time(at, value) sqlite3_bind_int64(statement, at, value)
#define BIND_time_or_null(at, value) bind_time(statement, at, value)
#define BIND(number, kind, column, field) BIND_##kind(number, row->field);

#define READ_text(at, field) column_text(statement, at, field, sizeof(field))
#define READ_uuid READ_text
#define READ_word READ_text
#define READ_flag(at, field) field = sqlite3_column_int(statement, at) != 0
#define READ_count(at, field) field = (uint32_t)sqlite3_column_int64(statement, at)
#define READ_time(at, field) field = sqlite3_column_int64(statement, at)
#define READ_time_or_null READ_time
#define READ(number, kind, column, field) READ_##kind(number - 1, row->field);

static int user_insert_run(struct sqlite_connection *connection, const struct user_row *row)
{
    sqlite3_stmt *statement = connection->statements[STATEMENT_user_insert];

    bind_text(statement, 1, row->id, false);
    USER_COLUMNS(BIND)
    return execute(statement);
}

static int meeting_insert_run(struct sqlite_connection *connection, const struct meeting_row *row)
{
    sqlite3_stmt *statement = connection->statements[STATEMENT_meeting_insert];

    bind_text(statement, 1, row->id, false);
    MEETING_COLUMNS(BIND)
    return execute(statement);
}

/* SQLITE_ROW: the row is there, and the statement waits on it for row_done. */
static int row_find(sqlite3_stmt *statement, const char *key)
{
    bind_text(statement, 1, key, false);
    return sqlite3_step(statement);
}

static void row_done(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

static int user_find_run(struct sqlite_connection *connection, enum sqlite_statement which,
                         const char *key, struct user_row *row)
{
    sqlite3_stmt *statement = connection->statements[which];
    int code = row_find(statement, key);

    if (code == SQLITE_ROW) {
        READ_text(0, row->id);
        USER_COLUMNS(READ)
    }
    row_done(statement);
    return code;
}

static int meeting_find_run(struct sqlite_connection *connection, enum sqlite_statement which,
                            const char *key, struct meeting_row *row)
{
    sqlite3_stmt *statement = connection->statements[which];
    int code = row_find(statement, key);

    if (code == SQLITE_ROW) {
        READ_text(0, row->id);
        MEETING_COLUMNS(READ)
    }
    row_done(statement);
    return code;
}

/* ---- updates, audit rows, the probe ---- */

/* UPDATE … WHERE id = ?1 with one value. *changed false: there is no such row. */
static int update_run(struct sqlite_connection *connection, enum sqlite_statement which,
                      const struct query *query, bool *changed)
{
    sqlite3_stmt *statement = connection->statements[which];
    int code;

    if (sqlite3_bind_parameter_index(statement, "?1"))
        bind_text(statement, 1, query->key, false);
    if (which == STATEMENT_user_set_hash)
        bind_text(statement, 2, query->text, false);
    else
        sqlite3_bind_int64(statement, 2, query->number);
    sqlite3_bind_int64(statement, 3, now_ms());
    code = execute(statement);
    *changed = sqlite3_changes(connection->handle) > 0;
    return code;
}

static int audit_row_run(struct sqlite_connection *connection, const struct audit_row *row,
                         bool with_user)
{
    sqlite3_stmt *statement = connection->statements[STATEMENT_audit_insert];

    bind_text(statement, 1, row->id, false);
    bind_text(statement, 2, row->action, false);
    bind_text(statement, 3, with_user ? row->user_id : "", true);
    bind_text(statement, 4, row->room_id, true);
    bind_text(statement, 5, row->metadata, true);
    bind_text(statement, 6, row->ip_address, true);
    sqlite3_bind_int64(statement, 7, row->created_us / 1000);
    return execute(statement);
}

/* All rows in one transaction: one sync of the disk for the batch. A row whose user is not in the
 * table would make the batch fail again and again: it is stored without its user, and the log names
 * the user. */
static int audit_run(struct sqlite_connection *connection, const struct audit_row *rows,
                     size_t count)
{
    int code = execute(connection->statements[STATEMENT_begin]);

    for (size_t i = 0; code == SQLITE_DONE && i < count; i++) {
        code = audit_row_run(connection, &rows[i], true);
        if (code == SQLITE_CONSTRAINT_FOREIGNKEY) {
            LOG(WARN, "audit", "an audit row names an unknown user; it is stored without the user",
                F("row", "%s", rows[i].id), F("user", "%s", rows[i].user_id));
            code = audit_row_run(connection, &rows[i], false);
        }
        if (code == SQLITE_CONSTRAINT_CHECK || code == SQLITE_CONSTRAINT_NOTNULL) {
            LOG(ERROR, "audit", "the table refuses an audit row; the row is lost",
                F("row", "%s", rows[i].id), F("action", "%s", rows[i].action),
                F("user", "%s", rows[i].user_id), F("room", "%s", rows[i].room_id));
            code = SQLITE_DONE;
        }
    }
    if (code == SQLITE_DONE)
        code = execute(connection->statements[STATEMENT_commit]);
    if (code != SQLITE_DONE)
        message_keep(connection);
    if (code != SQLITE_DONE && !sqlite3_get_autocommit(connection->handle))
        execute(connection->statements[STATEMENT_rollback]);
    return code;
}

/* Does the database take writes again? Writing the user_version that it has already is a whole
 * commit with its sync, and changes nothing. A handle that may be broken is opened again first,
 * without creating a file: an empty database in place of a lost one would look healthy. */
static int probe_run(struct sqlite_connection *connection, struct query *query)
{
    char text[64];
    char why[WHY_BYTES];

    if (connection->reopen) {
        sqlite_disconnect(connection);
        if (!sqlite_connect(connection, false, why)) {
            sqlite_disconnect(connection);
            snprintf(query->problem, sizeof(query->problem), "%.150s", why);
            return SQLITE_CANTOPEN;
        }
        connection->reopen = false;
        connection->deadline_ns = clock_monotonic_ns() + SQLITE_QUERY_MS_MAX * NS_PER_MS;
    }
    snprintf(text, sizeof(text), "PRAGMA user_version = %d", sqlite_migration_count);
    return sqlite3_exec(connection->handle, text, NULL, NULL, NULL);
}

static int update_any_run(struct sqlite_connection *connection, struct query *query, bool *changed)
{
    switch (query->kind) {
    case QUERY_USER_SET_HASH:
        return update_run(connection, STATEMENT_user_set_hash, query, changed);
    case QUERY_MEETING_SET_ACTIVE:
        return update_run(connection, STATEMENT_meeting_set_active, query, changed);
    case QUERY_MEETING_SET_CLOSED:
        return update_run(connection, STATEMENT_meeting_set_closed, query, changed);
    default: /* QUERY_MEETING_RAISE_PEAK */
        return update_run(connection, STATEMENT_meeting_raise_peak, query, changed);
    }
}

void sqlite_query_run(struct sqlite_connection *connection, struct query *query)
{
    bool changed = true, find = false;
    int code;

    connection->message[0] = 0;
    connection->deadline_ns = query->asked_ns + SQLITE_QUERY_MS_MAX * NS_PER_MS;
    if (connection->handle && !sqlite_file_is_there(connection)) {
        connection->reopen = true; /* by the next probe */
        snprintf(connection->message, sizeof(connection->message),
                 "the file " SQLITE_FILE " was removed or replaced; put it back");
    }
    if ((!connection->handle || connection->message[0]) && query->kind != QUERY_PROBE) {
        query->result = outcome(connection, SQLITE_CANTOPEN, query);
        return;
    }
    switch (query->kind) {
    case QUERY_USER_INSERT:
        code = user_insert_run(connection, &query->row.user);
        break;
    case QUERY_USER_BY_EMAIL:
        find = true;
        code = user_find_run(connection, STATEMENT_user_by_email, query->key, &query->row.user);
        break;
    case QUERY_USER_BY_ID:
        find = true;
        code = user_find_run(connection, STATEMENT_user_by_id, query->key, &query->row.user);
        break;
    case QUERY_MEETING_INSERT:
        code = meeting_insert_run(connection, &query->row.meeting);
        break;
    case QUERY_MEETING_FIND:
        find = true;
        code =
            meeting_find_run(connection, STATEMENT_meeting_find, query->key, &query->row.meeting);
        break;
    case QUERY_MEETING_NEXT_ACTIVE:
        find = true;
        code = meeting_find_run(connection, STATEMENT_meeting_next_active, query->key,
                                &query->row.meeting);
        break;
    case QUERY_AUDIT_INSERT:
        code = audit_run(connection, query->row.audit.rows, query->row.audit.count);
        break;
    case QUERY_PROBE:
        code = probe_run(connection, query);
        if (!connection->handle) { /* problem is set; without a handle SQLite has no message */
            query->result = PERSISTENCE_UNAVAILABLE;
            return;
        }
        break;
    default:
        code = update_any_run(connection, query, &changed);
    }
    query->result = outcome(connection, code, query);
    if (query->result == PERSISTED && (!changed || (find && code != SQLITE_ROW)))
        query->result = PERSISTENCE_NOT_FOUND;
}
