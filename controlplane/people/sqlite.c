/* SQLite as a database of persistence: a queue to the one thread that uses the connection. */
#include "sqlite.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "databases.h"

struct sqlite_database {
    struct database base; /* first */
    pthread_t thread;
    struct sqlite_connection *connection; /* only the thread uses it */

    pthread_mutex_t mutex;
    pthread_cond_t work;
    /* under mutex */
    struct query_list queue;
    bool stop;
};

static void *database_thread(void *argument)
{
    struct sqlite_database *database = argument;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&database->mutex);
    for (;;) {
        struct query *query = TAILQ_FIRST(&database->queue);

        if (!query) {
            if (database->stop)
                break;
            pthread_cond_wait(&database->work, &database->mutex);
            continue;
        }
        TAILQ_REMOVE(&database->queue, query, link);
        pthread_mutex_unlock(&database->mutex);
        sqlite_query_run(database->connection, query);
        pthread_mutex_lock(&database->mutex);
        database_finished(&database->base, query);
    }
    pthread_mutex_unlock(&database->mutex);
    database->base.owner.closed(database->base.owner.context);
    return NULL;
}

static void sqlite_submit(struct database *base, struct query *query)
{
    struct sqlite_database *database = (struct sqlite_database *)base;

    pthread_mutex_lock(&database->mutex);
    TAILQ_INSERT_TAIL(&database->queue, query, link);
    pthread_cond_signal(&database->work);
    pthread_mutex_unlock(&database->mutex);
}

static bool sqlite_withdraw(struct database *base, struct query *query)
{
    struct sqlite_database *database = (struct sqlite_database *)base;
    struct query *waiting;

    pthread_mutex_lock(&database->mutex);
    TAILQ_FOREACH(waiting, &database->queue, link)
    {
        if (waiting == query) {
            TAILQ_REMOVE(&database->queue, query, link);
            break;
        }
    }
    pthread_mutex_unlock(&database->mutex);
    return waiting != NULL;
}

static void sqlite_close(struct database *base)
{
    struct sqlite_database *database = (struct sqlite_database *)base;

    pthread_mutex_lock(&database->mutex);
    database->stop = true;
    pthread_cond_signal(&database->work);
    pthread_mutex_unlock(&database->mutex);
}

static void sqlite_free(struct database *base)
{
    struct sqlite_database *database = (struct sqlite_database *)base;

    pthread_join(database->thread, NULL);
    sqlite_connection_close(database->connection);
    pthread_cond_destroy(&database->work);
    pthread_mutex_destroy(&database->mutex);
    free(database);
}

static struct database *sqlite_open(const struct database_owner *owner, uv_loop_t *loop,
                                    const struct settings *settings, char *why)
{
    struct sqlite_database *database = calloc(1, sizeof(*database));
    int directory = data_directory_open(settings, why);

    if (directory < 0 || !database) {
        free(database);
        return NULL;
    }
    close(directory);
    database->base = (struct database){&database_sqlite, *owner};
    TAILQ_INIT(&database->queue);
    database->connection = sqlite_connection_open(settings->data_directory, why);
    if (!database->connection) {
        free(database);
        return NULL;
    }
    pthread_mutex_init(&database->mutex, NULL);
    pthread_cond_init(&database->work, NULL);
    if (pthread_create(&database->thread, NULL, database_thread, database) != 0) {
        snprintf(why, WHY_BYTES, "cannot start the database thread: out of threads");
        sqlite_connection_close(database->connection);
        free(database);
        return NULL;
    }
    return &database->base;
}

const struct database_kind database_sqlite = {
    .name = "sqlite",
    .opens_at_once = true,
    .open = sqlite_open,
    .submit = sqlite_submit,
    .withdraw = sqlite_withdraw,
    .close = sqlite_close,
    .free = sqlite_free,
};
