/* The SQLite backend: opening, migrating, and one function per kind of query. */
#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/clock.h"
#include "src/log.h"

#define USER_COLUMNS                                                       \
    "\"id\", \"email\", \"passwordHash\", \"displayName\", \"isActive\", " \
    "\"createdAt\", \"updatedAt\""
#define MEETING_COLUMNS                                                       \
    "\"id\", \"title\", \"roomCode\", \"hostId\", \"status\", "               \
    "\"maxParticipants\", \"startedAt\", \"endedAt\", \"peakParticipants\", " \
    "\"createdAt\", \"updatedAt\""

/* S(name, text) */
/* clang-format off */
#define STATEMENTS(S)                                                                             \
    S(begin, "BEGIN IMMEDIATE")                                                                   \
    S(commit, "COMMIT")                                                                           \
    S(rollback, "ROLLBACK")                                                                       \
    S(user_insert, "INSERT INTO \"users\" (" USER_COLUMNS ") VALUES (?1,?2,?3,?4,?5,?6,?7)")      \
    S(user_by_email, "SELECT " USER_COLUMNS " FROM \"users\" WHERE \"email\" = ?1")               \
    S(user_by_id, "SELECT " USER_COLUMNS " FROM \"users\" WHERE \"id\" = ?1")                     \
    S(user_set_hash, "UPDATE \"users\" SET \"passwordHash\" = ?2, \"updatedAt\" = ?3"             \
      " WHERE \"id\" = ?1")                                                                       \
    S(meeting_insert, "INSERT INTO \"meetings\" (" MEETING_COLUMNS ")"                            \
      " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)")                                             \
    S(meeting_find, "SELECT " MEETING_COLUMNS " FROM \"meetings\""                                \
      " WHERE \"id\" = ?1 OR \"roomCode\" = ?1")                                                  \
    S(meeting_set_active, "UPDATE \"meetings\" SET \"status\" = 'active',"                        \
      " \"startedAt\" = coalesce(\"startedAt\", ?2), \"updatedAt\" = ?3"                          \
      " WHERE \"id\" = ?1 AND \"status\" <> 'closed'")                                            \
    S(meeting_set_closed, "UPDATE \"meetings\" SET \"status\" = 'closed',"                        \
      " \"endedAt\" = coalesce(\"endedAt\", ?2), \"updatedAt\" = ?3 WHERE \"id\" = ?1")           \
    S(meeting_raise_peak, "UPDATE \"meetings\" SET"                                               \
      " \"peakParticipants\" = max(\"peakParticipants\", ?2), \"updatedAt\" = ?3"                 \
      " WHERE \"id\" = ?1")                                                                       \
    S(meetings_close_stale, "UPDATE \"meetings\" SET \"status\" = 'closed', \"endedAt\" = ?2,"    \
      " \"updatedAt\" = ?3 WHERE \"status\" = 'active'")                                          \
    S(audit_insert, "INSERT INTO \"audit_logs\" (\"id\", \"action\", \"userId\", \"roomId\","     \
      " \"metadata\", \"ipAddress\", \"createdAt\") VALUES (?1,?2,?3,?4,?5,?6,?7)"                \
      " ON CONFLICT (\"id\") DO NOTHING")
/* clang-format on */

enum statement {
#define S(name, text) STATEMENT_##name,
    STATEMENTS(S)
#undef S
        STATEMENT_COUNT
};
static const char *const statement_texts[] = {
#define S(name, text) text,
    STATEMENTS(S)
#undef S
};

struct sqlite_store {
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    char path[SETTING_TEXT_ROOM + sizeof(SQLITE_FILE)];
    uint64_t deadline_ns; /* of the step at work: the busy handler gives up then */
    char message[96];     /* of the step that failed, before a rollback replaces it */
    bool reopen;          /* the handle itself is in doubt (I/O error, damage, file replaced) */
};

static int busy_wait(void *context, int times)
{
    struct sqlite_store *store = context;

    if (clock_monotonic_ns() >= store->deadline_ns)
        return 0;
    usleep(times < 10 ? 500 : 5000);
    return 1;
}

static bool execute(struct sqlite_store *store, const char *text, char *why)
{
    if (sqlite3_exec(store->database, text, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    snprintf(why, WHY_BYTES, "the database " SQLITE_FILE " cannot be used: %.100s",
             sqlite3_errmsg(store->database));
    return false;
}

static int version_read(struct sqlite_store *store)
{
    sqlite3_stmt *statement = NULL;
    int version = -1;

    if (sqlite3_prepare_v2(store->database, "PRAGMA user_version", -1, &statement, NULL) ==
            SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return version;
}

/* Version read again inside the transaction: of two starters only one migrates. */
static bool migrate(struct sqlite_store *store, char *why)
{
    char mark[64];

    for (;;) {
        int version;

        if (!execute(store, "BEGIN IMMEDIATE", why))
            return false;
        version = version_read(store);
        if (version < 0 || version >= sqlite_migration_count) {
            sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
            if (version == sqlite_migration_count)
                return true;
            snprintf(why, WHY_BYTES,
                     "the database " SQLITE_FILE " has schema version %d, this program knows up "
                     "to %d; start the newer Ringcast that wrote it",
                     version, sqlite_migration_count);
            return false;
        }
        snprintf(mark, sizeof(mark), "PRAGMA user_version = %d; COMMIT", version + 1);
        if (!execute(store, sqlite_migrations[version], why) || !execute(store, mark, why)) {
            sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
            return false;
        }
    }
}

/* SQLite gives -wal and -shm the mode of the database file, so that one is made first. */
static bool file_make(const char *path, bool create, char *why)
{
    struct stat file;
    int fd =
        open(path, O_RDWR | (create ? O_CREAT : 0) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
              ((file.st_mode & 077) == 0 || fchmod(fd, 0600) == 0);

    if (!ok)
        snprintf(why, WHY_BYTES, "cannot open %.100s: %s", path,
                 errno ? strerror(errno) : "not a regular file");
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool database_open(struct sqlite_store *store, bool create, char *why)
{
    errno = 0;
    if (!file_make(store->path, create, why))
        return false;
    /* NOMUTEX: one thread at a time is what persistence.c promises. */
    if (sqlite3_open_v2(store->path, &store->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        snprintf(why, WHY_BYTES, "cannot open %.80s: %.80s", store->path,
                 store->database ? sqlite3_errmsg(store->database) : "no memory");
        return false;
    }
    store->deadline_ns = clock_monotonic_ns() + 5 * NS_PER_S;
    sqlite3_extended_result_codes(store->database, 1);
    sqlite3_busy_handler(store->database, busy_wait, store);
    sqlite3_db_config(store->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(store->database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* FULL: a commit is on the disk before it is answered; NORMAL could lose audit rows with the
     * power. journal_size_limit gives the space of a burst back. */
    if (!execute(store,
                 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                 "PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 16777216;"
                 "PRAGMA temp_store = MEMORY",
                 why) ||
        !migrate(store, why))
        return false;
    for (unsigned i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(store->database, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &store->statements[i], NULL) != SQLITE_OK) {
            snprintf(why, WHY_BYTES, "the tables in " SQLITE_FILE " are not ours: %.100s",
                     sqlite3_errmsg(store->database));
            return false;
        }
    return true;
}

static void database_close(struct sqlite_store *store)
{
    for (unsigned i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    sqlite3_close_v2(store->database);
    store->database = NULL;
}

struct sqlite_store *sqlite_store_open(const char *directory, char *why)
{
    struct sqlite_store *store = calloc(1, sizeof(*store));

    if (!store) {
        snprintf(why, WHY_BYTES, "no memory for the database");
        return NULL;
    }
    snprintf(store->path, sizeof(store->path), "%s/" SQLITE_FILE, directory);
    if (!database_open(store, true, why)) {
        sqlite_store_close(store);
        return NULL;
    }
    return store;
}

void sqlite_store_close(struct sqlite_store *store)
{
    if (!store)
        return;
    database_close(store);
    free(store);
}

static void message_keep(struct sqlite_store *store)
{
    snprintf(store->message, sizeof(store->message), "%.90s",
             store->database ? sqlite3_errmsg(store->database) : "the database is not open");
}

/* Which errors are the row's, which are the store's. */
static enum persistence_result outcome(struct sqlite_store *store, int code, struct query *query)
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
        if (!store->message[0])
            message_keep(store);
        snprintf(query->problem, sizeof(query->problem), "%s (%d)", store->message, code);
        store->reopen = (code & 0xff) != SQLITE_CONSTRAINT;
    }
    return PERSISTENCE_UNAVAILABLE;
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text, bool empty_is_null)
{
    /* A bind that fails leaves NULL, which NOT NULL then refuses. STATIC: texts outlive the step. */
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

/* One step of a statement that returns no row; ready for the next use afterwards. */
static int step(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);

    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code;
}

static int user_insert_step(struct sqlite_store *store, const struct user_row *user)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_user_insert];

    bind_text(statement, 1, user->id, false);
    bind_text(statement, 2, user->email, false);
    bind_text(statement, 3, user->password_hash, false);
    bind_text(statement, 4, user->display_name, false);
    sqlite3_bind_int(statement, 5, user->is_active);
    sqlite3_bind_int64(statement, 6, user->created_ms);
    sqlite3_bind_int64(statement, 7, user->updated_ms);
    return step(statement);
}

static int user_find_step(struct sqlite_store *store, enum statement which, const char *key,
                          struct user_row *user)
{
    sqlite3_stmt *statement = store->statements[which];
    int code;

    bind_text(statement, 1, key, false);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        column_text(statement, 0, user->id, sizeof(user->id));
        column_text(statement, 1, user->email, sizeof(user->email));
        column_text(statement, 2, user->password_hash, sizeof(user->password_hash));
        column_text(statement, 3, user->display_name, sizeof(user->display_name));
        user->is_active = sqlite3_column_int(statement, 4) != 0;
        user->created_ms = sqlite3_column_int64(statement, 5);
        user->updated_ms = sqlite3_column_int64(statement, 6);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code;
}

static int meeting_insert_step(struct sqlite_store *store, const struct meeting_row *meeting)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_meeting_insert];

    bind_text(statement, 1, meeting->id, false);
    bind_text(statement, 2, meeting->title, false);
    bind_text(statement, 3, meeting->room_code, false);
    bind_text(statement, 4, meeting->host_id, false);
    bind_text(statement, 5, meeting->status, false);
    sqlite3_bind_int64(statement, 6, meeting->participants_max);
    bind_time(statement, 7, meeting->started_ms);
    bind_time(statement, 8, meeting->ended_ms);
    sqlite3_bind_int64(statement, 9, meeting->participants_peak);
    sqlite3_bind_int64(statement, 10, meeting->created_ms);
    sqlite3_bind_int64(statement, 11, meeting->updated_ms);
    return step(statement);
}

static int meeting_find_step(struct sqlite_store *store, const char *key,
                             struct meeting_row *meeting)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_meeting_find];
    int code;

    bind_text(statement, 1, key, false);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        column_text(statement, 0, meeting->id, sizeof(meeting->id));
        column_text(statement, 1, meeting->title, sizeof(meeting->title));
        column_text(statement, 2, meeting->room_code, sizeof(meeting->room_code));
        column_text(statement, 3, meeting->host_id, sizeof(meeting->host_id));
        column_text(statement, 4, meeting->status, sizeof(meeting->status));
        meeting->participants_max = (uint32_t)sqlite3_column_int64(statement, 5);
        meeting->started_ms = sqlite3_column_int64(statement, 6);
        meeting->ended_ms = sqlite3_column_int64(statement, 7);
        meeting->participants_peak = (uint32_t)sqlite3_column_int64(statement, 8);
        meeting->created_ms = sqlite3_column_int64(statement, 9);
        meeting->updated_ms = sqlite3_column_int64(statement, 10);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code;
}

/* UPDATE … WHERE id = ?1 with one number; nothing changed means there is no such row. */
static int update_step(struct sqlite_store *store, enum statement which, const struct query *query,
                       bool *changed)
{
    sqlite3_stmt *statement = store->statements[which];
    int code;

    if (sqlite3_bind_parameter_index(statement, "?1"))
        bind_text(statement, 1, query->key, false);
    if (which == STATEMENT_user_set_hash)
        bind_text(statement, 2, query->text, false);
    else
        sqlite3_bind_int64(statement, 2, query->number);
    sqlite3_bind_int64(statement, 3, now_ms());
    code = step(statement);
    *changed = sqlite3_changes(store->database) > 0;
    return code;
}

static int audit_row_step(struct sqlite_store *store, const struct audit_row *row, bool with_user)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_audit_insert];

    bind_text(statement, 1, row->id, false);
    bind_text(statement, 2, row->action, false);
    bind_text(statement, 3, with_user ? row->user_id : "", true);
    bind_text(statement, 4, row->room_id, true);
    bind_text(statement, 5, row->metadata, true);
    bind_text(statement, 6, row->ip_address, true);
    sqlite3_bind_int64(statement, 7, row->created_us / 1000);
    return step(statement);
}

/* All rows in one transaction: one sync for the batch. A row whose user is not in the table keeps
 * the batch from failing for ever: it goes in without the reference, and the log says whose it was. */
static int audit_step(struct sqlite_store *store, const struct audit_row *rows, size_t count)
{
    int code = step(store->statements[STATEMENT_begin]);

    for (size_t i = 0; code == SQLITE_DONE && i < count; i++) {
        code = audit_row_step(store, &rows[i], true);
        if (code == SQLITE_CONSTRAINT_FOREIGNKEY) {
            LOG(WARN, "audit", "row names a user that does not exist; kept without it",
                F("row", "%s", rows[i].id), F("user", "%s", rows[i].user_id));
            code = audit_row_step(store, &rows[i], false);
        }
        if (code == SQLITE_CONSTRAINT_CHECK || code == SQLITE_CONSTRAINT_NOTNULL) {
            LOG(ERROR, "audit", "the table refuses this row; it is left out",
                F("row", "%s", rows[i].id), F("action", "%s", rows[i].action),
                F("user", "%s", rows[i].user_id), F("room", "%s", rows[i].room_id));
            code = SQLITE_DONE;
        }
    }
    if (code == SQLITE_DONE)
        code = step(store->statements[STATEMENT_commit]);
    if (code != SQLITE_DONE)
        message_keep(store);
    if (code != SQLITE_DONE && !sqlite3_get_autocommit(store->database))
        step(store->statements[STATEMENT_rollback]);
    return code;
}

/* Is the store writable again? Writing the version it has already is a whole commit with its sync,
 * and changes nothing. A handle in doubt is opened afresh first (never creating: an empty database
 * in place of a lost one would look like health). */
static int probe_step(struct sqlite_store *store, struct query *query)
{
    char text[64];
    char why[WHY_BYTES];

    if (store->reopen) {
        database_close(store);
        if (!database_open(store, false, why)) {
            database_close(store);
            snprintf(query->problem, sizeof(query->problem), "%.150s", why);
            return SQLITE_CANTOPEN;
        }
        store->reopen = false;
        store->deadline_ns = clock_monotonic_ns() + SQLITE_QUERY_MS_MAX * NS_PER_MS;
    }
    snprintf(text, sizeof(text), "PRAGMA user_version = %d", sqlite_migration_count);
    return sqlite3_exec(store->database, text, NULL, NULL, NULL);
}

static int update_do(struct sqlite_store *store, struct query *query, bool *changed)
{
    switch (query->kind) {
    case QUERY_USER_SET_HASH:
        return update_step(store, STATEMENT_user_set_hash, query, changed);
    case QUERY_MEETING_SET_ACTIVE:
        return update_step(store, STATEMENT_meeting_set_active, query, changed);
    case QUERY_MEETING_SET_CLOSED:
        return update_step(store, STATEMENT_meeting_set_closed, query, changed);
    case QUERY_MEETING_RAISE_PEAK:
        return update_step(store, STATEMENT_meeting_raise_peak, query, changed);
    default: /* QUERY_MEETINGS_CLOSE_STALE: none to close is fine */
        return update_step(store, STATEMENT_meetings_close_stale, query, &(bool){false});
    }
}

void sqlite_store_run(struct sqlite_store *store, struct query *query)
{
    bool changed = true, find = false;
    int code;

    store->message[0] = 0;
    store->deadline_ns = query->asked_ns + SQLITE_QUERY_MS_MAX * NS_PER_MS;
    if (!store->database && query->kind != QUERY_PROBE) {
        query->result = outcome(store, SQLITE_CANTOPEN, query);
        return;
    }
    switch (query->kind) {
    case QUERY_USER_INSERT:
        code = user_insert_step(store, &query->row.user);
        break;
    case QUERY_USER_BY_EMAIL:
        find = true;
        code = user_find_step(store, STATEMENT_user_by_email, query->key, &query->row.user);
        break;
    case QUERY_USER_BY_ID:
        find = true;
        code = user_find_step(store, STATEMENT_user_by_id, query->key, &query->row.user);
        break;
    case QUERY_MEETING_INSERT:
        code = meeting_insert_step(store, &query->row.meeting);
        break;
    case QUERY_MEETING_FIND:
        find = true;
        code = meeting_find_step(store, query->key, &query->row.meeting);
        break;
    case QUERY_AUDIT_INSERT:
        code = audit_step(store, query->row.audit.rows, query->row.audit.count);
        break;
    case QUERY_PROBE:
        code = probe_step(store, query);
        if (!store->database) { /* problem is set, and there is no handle to ask */
            query->result = PERSISTENCE_UNAVAILABLE;
            return;
        }
        break;
    default:
        code = update_do(store, query, &changed);
    }
    query->result = outcome(store, code, query);
    if (query->result == PERSISTED && (!changed || (find && code != SQLITE_ROW)))
        query->result = PERSISTENCE_NOT_FOUND;
}
