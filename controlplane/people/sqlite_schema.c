/* The tables of the NestJS backend for SQLite, one text per schema version. Never edit a text that
 * was released: a change is a new text at the end. */
#include "sqlite.h"

#define NOW_MS "(CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER))"

const char *const sqlite_migrations[] = {
    "CREATE TABLE \"users\" ("
    " \"id\" TEXT PRIMARY KEY NOT NULL CHECK (length(\"id\") = 36),"
    " \"email\" TEXT NOT NULL CHECK (length(\"email\") <= 255),"
    " \"passwordHash\" TEXT NOT NULL CHECK (length(\"passwordHash\") <= 255),"
    " \"displayName\" TEXT NOT NULL CHECK (length(\"displayName\") <= 100),"
    " \"isActive\" INTEGER NOT NULL DEFAULT 1 CHECK (\"isActive\" IN (0, 1)),"
    " \"createdAt\" INTEGER NOT NULL DEFAULT " NOW_MS ","
    " \"updatedAt\" INTEGER NOT NULL DEFAULT " NOW_MS ") STRICT;"
    "CREATE UNIQUE INDEX \"IDX_users_email\" ON \"users\" (\"email\");"

    "CREATE TABLE \"meetings\" ("
    " \"id\" TEXT PRIMARY KEY NOT NULL CHECK (length(\"id\") = 36),"
    " \"title\" TEXT NOT NULL CHECK (length(\"title\") <= 255),"
    " \"roomCode\" TEXT NOT NULL CHECK (length(\"roomCode\") <= 20),"
    " \"hostId\" TEXT NOT NULL REFERENCES \"users\" (\"id\"),"
    " \"status\" TEXT NOT NULL DEFAULT 'waiting'"
    "  CHECK (\"status\" IN ('waiting', 'active', 'closed')),"
    " \"maxParticipants\" INTEGER NOT NULL DEFAULT 100,"
    " \"startedAt\" INTEGER,"
    " \"endedAt\" INTEGER,"
    " \"peakParticipants\" INTEGER NOT NULL DEFAULT 0,"
    " \"createdAt\" INTEGER NOT NULL DEFAULT " NOW_MS ","
    " \"updatedAt\" INTEGER NOT NULL DEFAULT " NOW_MS ") STRICT;"
    "CREATE UNIQUE INDEX \"IDX_meetings_roomCode\" ON \"meetings\" (\"roomCode\");"
    "CREATE INDEX \"IDX_meetings_hostId\" ON \"meetings\" (\"hostId\");"
    /* meeting_next_active looks for a few active meetings among very many */
    "CREATE INDEX \"IDX_meetings_active\" ON \"meetings\" (\"status\")"
    " WHERE \"status\" = 'active';"

    /* The words of audit.h. SQLite cannot alter a CHECK: a new word needs a migration that makes a
     * new table and copies the rows (persistence_test fails until there is one). */
    "CREATE TABLE \"audit_logs\" ("
    " \"id\" TEXT PRIMARY KEY NOT NULL CHECK (length(\"id\") = 36),"
    " \"action\" TEXT NOT NULL CHECK (\"action\" IN ("
    "  'room_created', 'room_closed', 'user_joined', 'user_left', 'user_kicked', 'user_muted',"
    "  'all_muted', 'role_changed', 'producer_created', 'producer_closed', 'consumer_created',"
    "  'user_registered', 'user_login', 'user_login_failed', 'transport_connected',"
    "  'transport_failed', 'rate_limited', 'config_changed')),"
    " \"userId\" TEXT REFERENCES \"users\" (\"id\"),"
    " \"roomId\" TEXT,"
    " \"metadata\" TEXT,"
    " \"ipAddress\" TEXT,"
    " \"createdAt\" INTEGER NOT NULL DEFAULT " NOW_MS ") STRICT;"
    "CREATE INDEX \"IDX_audit_logs_userId\" ON \"audit_logs\" (\"userId\");"
    "CREATE INDEX \"IDX_audit_logs_roomId\" ON \"audit_logs\" (\"roomId\");",
};
const int sqlite_migration_count = sizeof(sqlite_migrations) / sizeof(sqlite_migrations[0]);
