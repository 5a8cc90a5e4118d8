/* POSTGRES_HOST to addresses, on the thread pool: libpq would wait for the name server itself. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "postgres.h"

static void resolve_next(struct pg_pool *pool);

static void address_add(struct pg_pool *pool, const char *host, const char *hostaddr)
{
    struct pg_address *address;

    if (pool->fresh.count == PG_ADDRESSES_MAX)
        return;
    address = &pool->fresh.all[pool->fresh.count++];
    snprintf(address->host, sizeof(address->host), "%s", host);
    snprintf(address->hostaddr, sizeof(address->hostaddr), "%s", hostaddr);
}

/* The next name of the list; false: there is none. */
static bool name_next(struct pg_pool *pool, char name[PG_HOST_BYTES])
{
    const char *at = pool->settings->postgres_host + pool->resolving_at;
    size_t length;

    at += strspn(at, ", ");
    length = strcspn(at, ", ");
    if (!length)
        return false;
    snprintf(name, PG_HOST_BYTES, "%.*s", (int)length, at);
    pool->resolving_at = (unsigned)(at + length - pool->settings->postgres_host);
    return true;
}

static void resolve_end(struct pg_pool *pool)
{
    pool->resolving = false;
    if (pool->fresh.count) {
        pool->addresses = pool->fresh;
        pool->stale = false;
    }
    pg_pool_resolved(pool, pool->addresses.count ? NULL : "the name of POSTGRES_HOST is not known");
}

static void resolved(uv_getaddrinfo_t *resolver, int status, struct addrinfo *found)
{
    struct pg_pool *pool = resolver->data;
    char text[64];

    for (const struct addrinfo *at = status == 0 ? found : NULL; at; at = at->ai_next)
        if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) ==
            0)
            address_add(pool, pool->resolving_name, text);
    uv_freeaddrinfo(found);
    resolve_next(pool);
}

/* One name after the other; those that are directories of sockets need no look-up. */
static void resolve_next(struct pg_pool *pool)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    char *name = pool->resolving_name;

    while (!pool->closing && name_next(pool, name)) {
        if (name[0] == '/') {
            address_add(pool, name, "");
            continue;
        }
        pool->resolver.data = pool;
        if (uv_getaddrinfo(pool->loop, &pool->resolver, resolved, name, NULL, &hints) == 0)
            return;
    }
    resolve_end(pool);
}

void pg_resolve(struct pg_pool *pool)
{
    pool->resolving = true;
    pool->resolving_at = 0;
    pool->fresh.count = 0;
    resolve_next(pool);
}
