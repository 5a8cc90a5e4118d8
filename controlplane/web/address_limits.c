/* Counts and rates per remote address. */
#include "address_limits.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_US (60u * 1000 * 1000ull)

static bool is_over(const struct address_limit *entry, uint64_t now_us)
{
    return entry->count == 0 && entry->spent_until_us <= now_us;
}

/* The link to the address's entry, or to the end; what is over on the way there is freed. */
static struct address_limit **find(struct address_limits *limits, const struct address *address,
                                   uint64_t now_us)
{
    uint32_t hash = 2166136261u;
    struct address_limit **link;

    for (unsigned i = 0; i < sizeof(address->bytes); i++)
        hash = (hash ^ address->bytes[i]) * 16777619u;
    link = &limits->buckets[hash % ADDRESS_BUCKETS];
    while (*link != NULL && memcmp(&(*link)->address, address, sizeof(*address)) != 0) {
        struct address_limit *entry = *link;

        if (!is_over(entry, now_us)) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        limits->idle--;
        free(entry);
    }
    return link;
}

enum address_verdict address_limits_take(struct address_limits *limits, struct address address,
                                         uint32_t max, uint32_t per_minute, uint64_t now_ms,
                                         struct address_limit **taken)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint64_t now_us = now_ms * 1000, cost_us = per_minute == 0 ? 0 : WINDOW_US / per_minute;
    struct address_limit **link, *entry;
    uint64_t spent_until_us;

    *taken = NULL;
    if (memcmp(address.bytes, mapped, sizeof(mapped)) != 0)
        memset(address.bytes + 8, 0, 8);
    link = find(limits, &address, now_us);
    if (*link == NULL) {
        *link = calloc(1, sizeof(**link));
        if (*link == NULL)
            return ADDRESS_OVER_COUNT;
        (*link)->address = address;
        limits->idle++;
    }
    entry = *link;
    if (entry->count >= max)
        return ADDRESS_OVER_COUNT;
    spent_until_us = entry->spent_until_us > now_us ? entry->spent_until_us : now_us;
    if (cost_us > 0 && spent_until_us + cost_us > now_us + WINDOW_US)
        return ADDRESS_OVER_RATE;
    entry->spent_until_us = spent_until_us + cost_us;
    limits->idle -= entry->count++ == 0;
    *taken = entry;
    return ADDRESS_ALLOWED;
}

void address_limits_release(struct address_limits *limits, struct address_limit *entry,
                            uint64_t now_ms)
{
    struct address_limit **link;

    if (entry == NULL || --entry->count > 0)
        return;
    limits->idle++;
    if (!is_over(entry, now_ms * 1000) && limits->idle <= ADDRESS_IDLE_MAX)
        return;
    link = find(limits, &entry->address, 0);
    *link = entry->next;
    limits->idle--;
    free(entry);
}

void address_limits_clear(struct address_limits *limits)
{
    for (unsigned i = 0; i < ADDRESS_BUCKETS; i++) {
        struct address_limit **link = &limits->buckets[i];

        while (*link != NULL) {
            struct address_limit *entry = *link;

            if (entry->count > 0) {
                link = &entry->next;
                continue;
            }
            *link = entry->next;
            limits->idle--;
            free(entry);
        }
    }
}
