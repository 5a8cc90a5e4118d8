/* SQLite as a backend: a queue to the one thread that uses the database. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "query.h"
#include "sqlite.h"

struct sqlite_backend {
    struct backend backend;
    struct persistence *front;
    pthread_t thread;
    struct sqlite_store *sqlite; /* the thread's */

    pthread_mutex_t mutex;
    pthread_cond_t work;
    /* under mutex */
    struct query_list queue;
    bool stop;
};

static void *store_thread(void *argument)
{
    struct sqlite_backend *backend = argument;
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&backend->mutex);
    for (;;) {
        struct query *query = TAILQ_FIRST(&backend->queue);

        if (!query) {
            if (backend->stop)
                break;
            pthread_cond_wait(&backend->work, &backend->mutex);
            continue;
        }
        TAILQ_REMOVE(&backend->queue, query, link);
        pthread_mutex_unlock(&backend->mutex);
        sqlite_store_run(backend->sqlite, query);
        pthread_mutex_lock(&backend->mutex);
        query_finished(backend->front, query);
    }
    pthread_mutex_unlock(&backend->mutex);
    backend_closed(backend->front);
    return NULL;
}

static void sqlite_submit(struct backend *base, struct query *query)
{
    struct sqlite_backend *backend = (struct sqlite_backend *)base;

    pthread_mutex_lock(&backend->mutex);
    TAILQ_INSERT_TAIL(&backend->queue, query, link);
    pthread_cond_signal(&backend->work);
    pthread_mutex_unlock(&backend->mutex);
}

static bool sqlite_withdraw(struct backend *base, struct query *query)
{
    struct sqlite_backend *backend = (struct sqlite_backend *)base;
    struct query *waiting;

    pthread_mutex_lock(&backend->mutex);
    TAILQ_FOREACH(waiting, &backend->queue, link)
    {
        if (waiting == query) {
            TAILQ_REMOVE(&backend->queue, query, link);
            break;
        }
    }
    pthread_mutex_unlock(&backend->mutex);
    return waiting != NULL;
}

static void sqlite_close(struct backend *base)
{
    struct sqlite_backend *backend = (struct sqlite_backend *)base;

    pthread_mutex_lock(&backend->mutex);
    backend->stop = true;
    pthread_cond_signal(&backend->work);
    pthread_mutex_unlock(&backend->mutex);
}

static void sqlite_free(struct backend *base)
{
    struct sqlite_backend *backend = (struct sqlite_backend *)base;

    pthread_join(backend->thread, NULL);
    sqlite_store_close(backend->sqlite);
    pthread_cond_destroy(&backend->work);
    pthread_mutex_destroy(&backend->mutex);
    free(backend);
}

struct backend *sqlite_backend_open(struct persistence *store, const struct settings *settings,
                                    char *why)
{
    struct sqlite_backend *backend = calloc(1, sizeof(*backend));
    int directory = data_directory_open(settings, why);

    if (directory < 0 || !backend) {
        free(backend);
        return NULL;
    }
    close(directory);
    backend->backend = (struct backend){sqlite_submit, sqlite_withdraw, sqlite_close, sqlite_free};
    backend->front = store;
    TAILQ_INIT(&backend->queue);
    backend->sqlite = sqlite_store_open(settings->data_directory, why);
    if (!backend->sqlite) {
        free(backend);
        return NULL;
    }
    pthread_mutex_init(&backend->mutex, NULL);
    pthread_cond_init(&backend->work, NULL);
    if (pthread_create(&backend->thread, NULL, store_thread, backend) != 0) {
        snprintf(why, WHY_BYTES, "cannot start the database thread: out of threads");
        sqlite_store_close(backend->sqlite);
        free(backend);
        return NULL;
    }
    return &backend->backend;
}
