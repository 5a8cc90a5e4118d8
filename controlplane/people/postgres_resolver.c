/* A lookup of names: a thread that may outlive the pool which started it. */
#include "postgres_resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/settings.h"

/* Shared by the resolver and the thread; the last user frees it. */
struct pg_lookup {
    pthread_mutex_t mutex;
    struct pg_resolver *resolver; /* NULL: closed, nobody waits for the result */
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

/* A directory of sockets needs no lookup. */
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
    if (lookup->resolver)
        uv_async_send(&lookup->resolver->wake);
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

void pg_resolver_start(struct pg_resolver *resolver, const char *hosts)
{
    struct pg_lookup *lookup = calloc(1, sizeof(*lookup));

    if (!lookup) {
        resolver->done(resolver->context, "no memory to look up POSTGRES_HOST");
        return;
    }
    pthread_mutex_init(&lookup->mutex, NULL);
    lookup->users = 2;
    lookup->resolver = resolver;
    snprintf(lookup->hosts, sizeof(lookup->hosts), "%s", hosts);
    if (thread_start(lookup)) {
        resolver->lookup = lookup;
        return;
    }
    lookup->users = 1;
    lookup_release(lookup);
    resolver->done(resolver->context, "no thread to look up POSTGRES_HOST");
}

static void woken(uv_async_t *wake)
{
    struct pg_resolver *resolver = wake->data;
    struct pg_lookup *lookup = resolver->lookup;
    bool ended;

    if (!lookup)
        return;
    pthread_mutex_lock(&lookup->mutex);
    ended = lookup->ended;
    pthread_mutex_unlock(&lookup->mutex);
    if (!ended)
        return;
    if (lookup->found.count)
        resolver->addresses = lookup->found;
    resolver->lookup = NULL;
    lookup_release(lookup);
    resolver->done(resolver->context,
                   resolver->addresses.count ? NULL : "the name in POSTGRES_HOST is not known");
}

bool pg_resolver_open(struct pg_resolver *resolver, uv_loop_t *loop)
{
    resolver->wake.data = resolver;
    return uv_async_init(loop, &resolver->wake, woken) == 0;
}

static void wake_closed(uv_handle_t *handle)
{
    struct pg_resolver *resolver = handle->data;

    resolver->closed(resolver->context);
}

void pg_resolver_close(struct pg_resolver *resolver)
{
    struct pg_lookup *lookup = resolver->lookup;

    if (lookup) {
        pthread_mutex_lock(&lookup->mutex);
        lookup->resolver = NULL;
        pthread_mutex_unlock(&lookup->mutex);
        resolver->lookup = NULL;
        lookup_release(lookup);
    }
    uv_close((uv_handle_t *)&resolver->wake, wake_closed);
}
