/* Counts and rates per client address. */
#include "address_limits.h"

#include <stdlib.h>
#include <string.h>

#include "keyed_hash.h"

#define WINDOW_US (60u * 1000 * 1000ull)

static bool is_unused(const struct address_limit *limit, uint64_t now_us)
{
    return limit->count == 0 && limit->spent_until_us <= now_us;
}

/* Returns the link that points to the address's limit, or the empty link at the end of its bucket.
 * Frees unused limits on the way. */
static struct address_limit **find(struct address_limits *limits, const struct address *address,
                                   uint64_t now_us)
{
    uint64_t hash = keyed_hash(address->bytes, sizeof(address->bytes));
    struct address_limit **link = &limits->buckets[hash % ADDRESS_BUCKETS];

    while (*link != NULL && memcmp(&(*link)->address, address, sizeof(*address)) != 0) {
        struct address_limit *other = *link;

        if (!is_unused(other, now_us)) {
            link = &other->next;
            continue;
        }
        *link = other->next;
        limits->idle_count--;
        free(other);
    }
    return link;
}

enum address_verdict address_limits_take(struct address_limits *limits, struct address address,
                                         uint32_t max, uint32_t per_minute, uint64_t now_ms,
                                         struct address_limit **taken)
{
    uint64_t now_us = now_ms * 1000, cost_us = per_minute == 0 ? 0 : WINDOW_US / per_minute;
    struct address_limit **link, *limit;
    uint64_t spent_until_us;

    *taken = NULL;
    if (!address_is_ipv4(&address))
        memset(address.bytes + 8, 0, 8); /* its /64 network */
    link = find(limits, &address, now_us);
    if (*link == NULL) {
        *link = calloc(1, sizeof(**link));
        if (*link == NULL)
            return ADDRESS_NO_MEMORY;
        (*link)->address = address;
        limits->idle_count++;
    }
    limit = *link;
    if (limit->count >= max)
        return ADDRESS_OVER_COUNT;
    spent_until_us = limit->spent_until_us > now_us ? limit->spent_until_us : now_us;
    if (cost_us > 0 && spent_until_us + cost_us > now_us + WINDOW_US)
        return ADDRESS_OVER_RATE;
    limit->spent_until_us = spent_until_us + cost_us;
    limits->idle_count -= limit->count++ == 0;
    *taken = limit;
    return ADDRESS_ALLOWED;
}

void address_limits_release(struct address_limits *limits, struct address_limit *limit,
                            uint64_t now_ms)
{
    struct address_limit **link;

    if (limit == NULL || --limit->count > 0)
        return;
    limits->idle_count++;
    if (!is_unused(limit, now_ms * 1000) && limits->idle_count <= ADDRESS_IDLE_MAX)
        return;
    link = find(limits, &limit->address, 0);
    *link = limit->next;
    limits->idle_count--;
    free(limit);
}

void address_limits_clear(struct address_limits *limits)
{
    for (unsigned i = 0; i < ADDRESS_BUCKETS; i++) {
        struct address_limit **link = &limits->buckets[i];

        while (*link != NULL) {
            struct address_limit *limit = *link;

            if (limit->count > 0) {
                link = &limit->next;
                continue;
            }
            *link = limit->next;
            limits->idle_count--;
            free(limit);
        }
    }
}
