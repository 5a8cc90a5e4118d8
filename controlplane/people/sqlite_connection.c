/* SQLite: opens the database file, brings its tables up to date, prepares the statements. */
#include "sqlite_connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/clock.h"

static const char *const statement_texts[] = {
#define S(name, text) text,
    SQLITE_STATEMENTS(S)
#undef S
};

static int busy_wait(void *context, int times)
{
    struct sqlite_connection *connection = context;

    if (clock_monotonic_ns() >= connection->deadline_ns)
        return 0;
    usleep(times < 10 ? 500 : 5000);
    return 1;
}

static bool execute(struct sqlite_connection *connection, const char *text, char *why)
{
    if (sqlite3_exec(connection->handle, text, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    snprintf(why, WHY_BYTES, "the database " SQLITE_FILE " cannot be used: %.100s",
             sqlite3_errmsg(connection->handle));
    return false;
}

static int version_read(struct sqlite_connection *connection)
{
    sqlite3_stmt *statement = NULL;
    int version = -1;

    if (sqlite3_prepare_v2(connection->handle, "PRAGMA user_version", -1, &statement, NULL) ==
            SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return version;
}

/* Each transaction reads the version again: when two processes start at once, only one migrates. */
static bool migrate(struct sqlite_connection *connection, char *why)
{
    char mark[64];

    for (;;) {
        int version;

        if (!execute(connection, "BEGIN IMMEDIATE", why))
            return false;
        version = version_read(connection);
        if (version < 0 || version >= sqlite_migration_count) {
            sqlite3_exec(connection->handle, "ROLLBACK", NULL, NULL, NULL);
            if (version == sqlite_migration_count)
                return true;
            snprintf(why, WHY_BYTES,
                     "the database " SQLITE_FILE " has schema version %d, but this program knows "
                     "only up to %d; start the newer Ringcast that wrote it",
                     version, sqlite_migration_count);
            return false;
        }
        snprintf(mark, sizeof(mark), "PRAGMA user_version = %d; COMMIT", version + 1);
        if (!execute(connection, sqlite_migrations[version], why) ||
            !execute(connection, mark, why)) {
            sqlite3_exec(connection->handle, "ROLLBACK", NULL, NULL, NULL);
            return false;
        }
    }
}

/* Creates the file with mode 0600 before SQLite does: -wal and -shm get the mode of the database
 * file. A file that was there and is empty has lost its tables; new ones would hide that. */
static bool file_make(struct sqlite_connection *connection, bool create, char *why)
{
    const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = create ? open(connection->path, flags | O_CREAT | O_EXCL, 0600) : -1;
    bool is_new = fd >= 0, ok;
    struct stat file;

    if (!is_new)
        fd = open(connection->path, flags);
    ok = fd >= 0 && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
         ((file.st_mode & 077) == 0 || fchmod(fd, 0600) == 0);
    if (!ok)
        snprintf(why, WHY_BYTES, "cannot open %.100s: %s", connection->path,
                 fd < 0 ? strerror(errno) : "not a regular file");
    if (ok && !is_new && file.st_size == 0) {
        snprintf(why, WHY_BYTES,
                 "the database %.80s is empty; restore it, or remove it to begin with a new one",
                 connection->path);
        ok = false;
    }
    if (ok) {
        connection->device = file.st_dev;
        connection->inode = file.st_ino;
    }
    if (fd >= 0)
        close(fd);
    return ok;
}

bool sqlite_file_is_there(const struct sqlite_connection *connection)
{
    struct stat file;

    return stat(connection->path, &file) == 0 && file.st_dev == connection->device &&
           file.st_ino == connection->inode;
}

bool sqlite_connect(struct sqlite_connection *connection, bool create, char *why)
{
    if (!file_make(connection, create, why))
        return false;
    /* NOMUTEX: only one thread at a time uses the connection. */
    if (sqlite3_open_v2(connection->path, &connection->handle,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        snprintf(why, WHY_BYTES, "cannot open %.80s: %.80s", connection->path,
                 connection->handle ? sqlite3_errmsg(connection->handle) : "no memory");
        return false;
    }
    connection->deadline_ns = clock_monotonic_ns() + 5 * NS_PER_S;
    sqlite3_extended_result_codes(connection->handle, 1);
    sqlite3_busy_handler(connection->handle, busy_wait, connection);
    sqlite3_db_config(connection->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(connection->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* FULL: a commit is on the disk before SQLite reports it; NORMAL could lose audit rows in a
     * power failure. journal_size_limit: the journal file shrinks again after a burst of writes. */
    if (!execute(connection,
                 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                 "PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 16777216;"
                 "PRAGMA temp_store = MEMORY",
                 why) ||
        !migrate(connection, why))
        return false;
    for (unsigned i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(connection->handle, statement_texts[i], -1,
                               SQLITE_PREPARE_PERSISTENT, &connection->statements[i],
                               NULL) != SQLITE_OK) {
            snprintf(why, WHY_BYTES,
                     "the tables in " SQLITE_FILE " are not those of Ringcast: %.100s",
                     sqlite3_errmsg(connection->handle));
            return false;
        }
    return true;
}

void sqlite_disconnect(struct sqlite_connection *connection)
{
    for (unsigned i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(connection->statements[i]);
        connection->statements[i] = NULL;
    }
    sqlite3_close_v2(connection->handle);
    connection->handle = NULL;
}

struct sqlite_connection *sqlite_connection_open(const char *directory, char *why)
{
    struct sqlite_connection *connection = calloc(1, sizeof(*connection));

    if (!connection) {
        snprintf(why, WHY_BYTES, "no memory for the database");
        return NULL;
    }
    snprintf(connection->path, sizeof(connection->path), "%s/" SQLITE_FILE, directory);
    if (!sqlite_connect(connection, true, why)) {
        sqlite_connection_close(connection);
        return NULL;
    }
    return connection;
}

void sqlite_connection_close(struct sqlite_connection *connection)
{
    if (!connection)
        return;
    sqlite_disconnect(connection);
    free(connection);
}
