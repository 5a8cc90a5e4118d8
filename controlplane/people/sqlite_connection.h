/* Inside of SQLite: the statements, and the connection that has them prepared. For
 * sqlite_connection.c and sqlite_queries.c. */
#ifndef RINGCAST_SQLITE_CONNECTION_H
#define RINGCAST_SQLITE_CONNECTION_H

#include <sqlite3.h>
#include <sys/types.h>

#include "columns.h"
#include "sqlite.h"

#define PARAMETER(number, kind, column, field) ", ?" #number
#define USER_NAMES "\"id\"" USER_COLUMNS(COLUMN_NAME)
#define MEETING_NAMES "\"id\"" MEETING_COLUMNS(COLUMN_NAME)

/* S(name, text) */
/* clang-format off */
#define SQLITE_STATEMENTS(S)                                                                      \
    S(begin, "BEGIN IMMEDIATE")                                                                   \
    S(commit, "COMMIT")                                                                           \
    S(rollback, "ROLLBACK")                                                                       \
    S(user_insert, "INSERT INTO \"users\" (" USER_NAMES ")"                                       \
      " VALUES (?1" USER_COLUMNS(PARAMETER) ")")                                                  \
    S(user_by_email, "SELECT " USER_NAMES " FROM \"users\" WHERE \"email\" = ?1")                 \
    S(user_by_id, "SELECT " USER_NAMES " FROM \"users\" WHERE \"id\" = ?1")                       \
    S(user_set_hash, "UPDATE \"users\" SET \"passwordHash\" = ?2, \"updatedAt\" = ?3"             \
      " WHERE \"id\" = ?1")                                                                       \
    S(meeting_insert, "INSERT INTO \"meetings\" (" MEETING_NAMES ")"                              \
      " VALUES (?1" MEETING_COLUMNS(PARAMETER) ")")                                               \
    S(meeting_find, "SELECT " MEETING_NAMES " FROM \"meetings\""                                  \
      " WHERE \"id\" = ?1 OR \"roomCode\" = ?1")                                                  \
    S(meeting_set_active, "UPDATE \"meetings\" SET \"status\" = 'active',"                        \
      " \"startedAt\" = coalesce(\"startedAt\", ?2), \"updatedAt\" = ?3"                          \
      " WHERE \"id\" = ?1 AND \"status\" <> 'closed'")                                            \
    S(meeting_set_closed, "UPDATE \"meetings\" SET \"status\" = 'closed',"                        \
      " \"endedAt\" = coalesce(\"endedAt\", ?2), \"updatedAt\" = ?3 WHERE \"id\" = ?1")           \
    S(meeting_raise_peak, "UPDATE \"meetings\" SET"                                               \
      " \"peakParticipants\" = max(\"peakParticipants\", ?2), \"updatedAt\" = ?3"                 \
      " WHERE \"id\" = ?1")                                                                       \
    S(meeting_next_active, "SELECT " MEETING_NAMES " FROM \"meetings\""                           \
      " WHERE \"status\" = 'active' AND rowid > coalesce("                                        \
      "(SELECT rowid FROM \"meetings\" WHERE \"id\" = ?1), 0) ORDER BY rowid LIMIT 1")            \
    S(audit_insert, "INSERT INTO \"audit_logs\" (\"id\", \"action\", \"userId\", \"roomId\","     \
      " \"metadata\", \"ipAddress\", \"createdAt\") VALUES (?1,?2,?3,?4,?5,?6,?7)"                \
      " ON CONFLICT (\"id\") DO NOTHING")
/* clang-format on */

enum sqlite_statement {
#define S(name, text) STATEMENT_##name,
    SQLITE_STATEMENTS(S)
#undef S
        STATEMENT_COUNT
};

struct sqlite_connection {
    sqlite3 *handle; /* NULL: not open */
    sqlite3_stmt *statements[STATEMENT_COUNT];
    char path[SETTING_TEXT_ROOM + sizeof(SQLITE_FILE)];
    dev_t device;         /* of the database file, */
    ino_t inode;          /* to notice that it was removed or replaced */
    uint64_t deadline_ns; /* of the query that runs: SQLite waits for a lock until then */
    char message[96];     /* why the query failed; kept here because a rollback replaces SQLite's */
    bool reopen;          /* the handle may be broken (I/O error, damaged or replaced file) */
};

/* False: failed, with a sentence in why (WHY_BYTES); sqlite_disconnect then. */
bool sqlite_connect(struct sqlite_connection *connection, bool create, char *why);
void sqlite_disconnect(struct sqlite_connection *connection);
/* False: the file was removed or replaced after it was opened. What is written now would be lost. */
bool sqlite_file_is_there(const struct sqlite_connection *connection);

#endif
