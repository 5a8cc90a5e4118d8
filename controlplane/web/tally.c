/* Counts and rates per remote address. */
#include "tally.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_US (60u * 1000 * 1000ull)

static bool is_over(const struct tally_entry *entry, uint64_t now_us)
{
    return entry->count == 0 && entry->spent_until_us <= now_us;
}

/* The link to the address's entry, or to the end; what is over on the way there is freed. */
static struct tally_entry **find(struct tally *tally, const struct address *address,
                                 uint64_t now_us)
{
    uint32_t hash = 2166136261u;
    struct tally_entry **link;

    for (unsigned i = 0; i < sizeof(address->bytes); i++)
        hash = (hash ^ address->bytes[i]) * 16777619u;
    link = &tally->buckets[hash % TALLY_BUCKETS];
    while (*link != NULL && memcmp(&(*link)->address, address, sizeof(*address)) != 0) {
        struct tally_entry *entry = *link;

        if (!is_over(entry, now_us)) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        tally->idle--;
        free(entry);
    }
    return link;
}

enum tally_verdict tally_take(struct tally *tally, struct address address, uint32_t max,
                              uint32_t per_minute, uint64_t now_ms, struct tally_entry **taken)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint64_t now_us = now_ms * 1000, cost_us = per_minute == 0 ? 0 : WINDOW_US / per_minute;
    struct tally_entry **link, *entry;
    uint64_t spent_until_us;

    *taken = NULL;
    if (memcmp(address.bytes, mapped, sizeof(mapped)) != 0)
        memset(address.bytes + 8, 0, 8);
    link = find(tally, &address, now_us);
    if (*link == NULL) {
        *link = calloc(1, sizeof(**link));
        if (*link == NULL)
            return TALLY_FULL;
        (*link)->address = address;
        tally->idle++;
    }
    entry = *link;
    if (entry->count >= max)
        return TALLY_FULL;
    spent_until_us = entry->spent_until_us > now_us ? entry->spent_until_us : now_us;
    if (cost_us > 0 && spent_until_us + cost_us > now_us + WINDOW_US)
        return TALLY_TOO_FAST;
    entry->spent_until_us = spent_until_us + cost_us;
    tally->idle -= entry->count++ == 0;
    *taken = entry;
    return TALLY_FITS;
}

void tally_drop(struct tally *tally, struct tally_entry *entry, uint64_t now_ms)
{
    struct tally_entry **link;

    if (entry == NULL || --entry->count > 0)
        return;
    tally->idle++;
    if (!is_over(entry, now_ms * 1000) && tally->idle <= TALLY_IDLE_MAX)
        return;
    link = find(tally, &entry->address, 0);
    *link = entry->next;
    tally->idle--;
    free(entry);
}

void tally_clear(struct tally *tally)
{
    for (unsigned i = 0; i < TALLY_BUCKETS; i++) {
        struct tally_entry **link = &tally->buckets[i];

        while (*link != NULL) {
            struct tally_entry *entry = *link;

            if (entry->count > 0) {
                link = &entry->next;
                continue;
            }
            *link = entry->next;
            tally->idle--;
            free(entry);
        }
    }
}
