/* POSTGRES_HOST to addresses, on a thread of its own: libpq would wait for the name server itself, and
 * a name server that is away must hold up neither the loop nor the thread pool that hashes passwords
 * and syncs the spool, nor our end. */
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres.h"

/* Shared by the pool and the thread; whoever lets go of it last frees it. */
struct pg_lookup {
    pthread_mutex_t mutex;
    struct pg_pool *pool; /* NULL: nobody waits for it any more */
    unsigned users;
    bool ended;
    char hosts[SETTING_TEXT_ROOM];
    struct pg_addresses found;
};

static void lookup_release(struct pg_lookup *lookup)
{
    bool last;

    pthread_mutex_lock(&lookup->mutex);
    last = --lookup->users == 0;
    pthread_mutex_unlock(&lookup->mutex);
    if (!last)
        return;
    pthread_mutex_destroy(&lookup->mutex);
    free(lookup);
}

static void address_add(struct pg_addresses *found, const char *host, const char *hostaddr)
{
    struct pg_address *address;

    if (found->count == PG_ADDRESSES_MAX)
        return;
    address = &found->all[found->count++];
    snprintf(address->host, sizeof(address->host), "%s", host);
    snprintf(address->hostaddr, sizeof(address->hostaddr), "%s", hostaddr);
}

/* A directory of sockets needs no look-up. */
static void name_resolve(struct pg_addresses *found, const char *name)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    char text[64];

    if (name[0] == '/') {
        address_add(found, name, "");
        return;
    }
    if (getaddrinfo(name, NULL, &hints, &list) != 0)
        return;
    for (const struct addrinfo *at = list; at; at = at->ai_next)
        if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) ==
            0)
            address_add(found, name, text);
    freeaddrinfo(list);
}

static void *lookup_run(void *argument)
{
    struct pg_lookup *lookup = argument;
    char *rest = NULL;

    for (char *name = strtok_r(lookup->hosts, ", ", &rest); name;
         name = strtok_r(NULL, ", ", &rest))
        name_resolve(&lookup->found, name);
    pthread_mutex_lock(&lookup->mutex);
    lookup->ended = true;
    if (lookup->pool)
        uv_async_send(&lookup->pool->wake);
    pthread_mutex_unlock(&lookup->mutex);
    lookup_release(lookup);
    return NULL;
}

static bool thread_start(struct pg_lookup *lookup)
{
    pthread_attr_t detached;
    sigset_t all, before;
    pthread_t thread;
    bool started;

    sigfillset(&all);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    started = pthread_create(&thread, &detached, lookup_run, lookup) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    return started;
}

void pg_resolve(struct pg_pool *pool)
{
    struct pg_lookup *lookup = calloc(1, sizeof(*lookup));

    if (!lookup) {
        pg_pool_resolved(pool, "no memory to look POSTGRES_HOST up");
        return;
    }
    pthread_mutex_init(&lookup->mutex, NULL);
    lookup->users = 2;
    lookup->pool = pool;
    snprintf(lookup->hosts, sizeof(lookup->hosts), "%s", pool->settings->postgres_host);
    if (thread_start(lookup)) {
        pool->lookup = lookup;
        return;
    }
    lookup->users = 1;
    lookup_release(lookup);
    pg_pool_resolved(pool, "no thread to look POSTGRES_HOST up");
}

void pg_resolve_woken(uv_async_t *wake)
{
    struct pg_pool *pool = wake->data;
    struct pg_lookup *lookup = pool->lookup;
    bool ended;

    if (!lookup)
        return;
    pthread_mutex_lock(&lookup->mutex);
    ended = lookup->ended;
    pthread_mutex_unlock(&lookup->mutex);
    if (!ended)
        return;
    if (lookup->found.count) /* else the old ones: better than none */
        pool->addresses = lookup->found;
    pool->lookup = NULL;
    lookup_release(lookup);
    pg_pool_resolved(pool, pool->addresses.count ? NULL : "the name in POSTGRES_HOST is not known");
}

void pg_resolve_abandon(struct pg_pool *pool)
{
    struct pg_lookup *lookup = pool->lookup;

    if (!lookup)
        return;
    pthread_mutex_lock(&lookup->mutex);
    lookup->pool = NULL;
    pthread_mutex_unlock(&lookup->mutex);
    pool->lookup = NULL;
    lookup_release(lookup);
}
