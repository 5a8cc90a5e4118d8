/* What persistence asks of a database, and what a database reports back.
 *
 *   persistence.c ── submit ──► database: SQLite on a thread of its own, or PostgreSQL on the loop
 *        ▲                          │
 *        └──────── finished ◄───────┘
 *
 * persistence.c knows no database by name: the process hands it the table of them (databases.h). */
#ifndef RINGCAST_DATABASE_H
#define RINGCAST_DATABASE_H

#include "query.h"

/* What a database reports. Threads: finished and closed from any thread; problem on the loop. */
struct database_owner {
    void *context;
    /* The query is done: result, row and problem are set. Once for each submitted query. */
    void (*finished)(void *context, struct query *query);
    /* The end of close: the database calls nothing any more. */
    void (*closed)(void *context);
    /* The database found out without a query that it does not work. The owner then sends PROBE
     * queries until one succeeds. */
    void (*problem)(void *context, const char *problem);
};

struct database {
    const struct database_kind *kind;
    struct database_owner owner;
};

/* Each function is called on the loop. */
struct database_kind {
    const char *name;   /* the word of the setting RINGCAST_PERSISTENCE */
    bool opens_at_once; /* open returns a database that works; false: it connects later */
    /* NULL: failed, with a sentence in why (WHY_BYTES). */
    struct database *(*open)(const struct database_owner *owner, uv_loop_t *loop,
                             const struct settings *settings, char *why);
    /* Starts the query. The database calls `finished` for it later, never inside submit. */
    void (*submit)(struct database *database, struct query *query);
    /* The time of the query is over. True: the database has dropped it (query->problem may say why
     * it was not done). False: it cannot be stopped, and `finished` still comes. */
    bool (*withdraw)(struct database *database, struct query *query);
    /* Every query has been answered. Ends with `closed`. */
    void (*close)(struct database *database);
    void (*free)(struct database *database);
};

static inline void database_finished(struct database *database, struct query *query)
{
    database->owner.finished(database->owner.context, query);
}

#endif
