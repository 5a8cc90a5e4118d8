/* The SQLite backend, synchronous: opened on the loop at start, then used by the store thread only.
 *
 * Times are INTEGER milliseconds since 1970 (UTC), booleans 0/1, UUIDs lower-case TEXT, JSON TEXT,
 * addresses TEXT; names of tables and columns are the seed's.
 * Limits: a step gives up SQLITE_QUERY_MS_MAX after it was asked for when the database is locked. */
#ifndef RINGCAST_SQLITE_H
#define RINGCAST_SQLITE_H

#include "data_directory_open.h"
#include "query.h"

#define SQLITE_FILE "ringcast.sqlite3"
#define SQLITE_QUERY_MS_MAX 700

struct sqlite_store;
struct sqlite_store *sqlite_store_open(const char *directory, char *why /* WHY_BYTES */);
void sqlite_store_close(struct sqlite_store *store);
/* Does the step and sets query->result, row and problem. */
void sqlite_store_run(struct sqlite_store *store, struct query *query);

/* The migrations: text number i brings user_version i to i + 1. */
extern const char *const sqlite_migrations[];
extern const int sqlite_migration_count;

#endif
