/* The database of a test from outside: SQLite. */
#ifndef RINGCAST_TEST_PEOPLE_SQLITE_H
#define RINGCAST_TEST_PEOPLE_SQLITE_H

#include <sqlite3.h>

typedef sqlite3 outside_t;

#define SQL_N "json_extract(metadata,'$.n')"
#define SQL_WRITTEN "rowid"   /* in the order of writing */
#define SQL_MS(column) column /* a time in milliseconds */
#define SQL_LOCK_AUDIT "BEGIN IMMEDIATE"
#define SQL_BREAK                                                \
    "CREATE TRIGGER broken BEFORE INSERT ON audit_logs WHEN %s " \
    "BEGIN SELECT RAISE(ABORT, 'injected'); END"
#define SQL_REPAIR "DROP TRIGGER broken"

static outside_t *outside_open(void)
{
    char path[600];
    sqlite3 *database;

    snprintf(path, sizeof(path), "%s/ringcast.sqlite3", setup_settings.data_directory);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    sqlite3_busy_timeout(database, EVENT_S * 1000);
    return database;
}

static inline void outside_close(outside_t *database)
{
    sqlite3_close(database);
}

static inline void outside_run(outside_t *database, const char *text)
{
    if (sqlite3_exec(database, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(database));
}

static inline int64_t outside_number(const char *text)
{
    sqlite3 *database = outside_open();
    sqlite3_stmt *statement;
    int64_t number;

    assert_int_equal(sqlite3_prepare_v2(database, text, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return number;
}

#endif
