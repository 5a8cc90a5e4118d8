/* SQLite: one connection to the database file, synchronous. sqlite.c opens it on the loop at the
 * start and then uses it only on the database thread.
 *
 * Times are INTEGER milliseconds since 1970 (UTC), booleans 0 or 1, UUIDs lower-case TEXT, JSON
 * TEXT, addresses TEXT. Tables and columns have the names of the NestJS backend.
 * Limits: when another process has locked the database, a query fails SQLITE_QUERY_MS_MAX after it
 * was asked. */
#ifndef RINGCAST_SQLITE_H
#define RINGCAST_SQLITE_H

#include "data_directory_open.h"
#include "query.h"

#define SQLITE_FILE "ringcast.sqlite3"
#define SQLITE_QUERY_MS_MAX 700

struct sqlite_connection;
/* NULL: failed, with a sentence in why (WHY_BYTES). */
struct sqlite_connection *sqlite_connection_open(const char *directory, char *why);
void sqlite_connection_close(struct sqlite_connection *connection);
/* Runs the query and sets its result, row and problem. */
void sqlite_query_run(struct sqlite_connection *connection, struct query *query);

/* The migrations: text number i brings user_version i to i + 1. */
extern const char *const sqlite_migrations[];
extern const int sqlite_migration_count;

#endif
