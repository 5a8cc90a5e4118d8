/* Counts per remote address. */
#include "tally.h"

#include <stdlib.h>
#include <string.h>

static struct tally_entry **find(struct tally *tally, const struct address *address)
{
    uint32_t hash = 2166136261u;
    struct tally_entry **link;

    for (unsigned i = 0; i < sizeof(address->bytes); i++)
        hash = (hash ^ address->bytes[i]) * 16777619u;
    link = &tally->buckets[hash % TALLY_BUCKETS];
    while (*link != NULL && memcmp(&(*link)->address, address, sizeof(*address)) != 0)
        link = &(*link)->next;
    return link;
}

struct tally_entry *tally_take(struct tally *tally, struct address address, uint32_t max)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct tally_entry **link;

    if (memcmp(address.bytes, mapped, sizeof(mapped)) != 0)
        memset(address.bytes + 8, 0, 8);
    link = find(tally, &address);
    if (*link == NULL) {
        *link = calloc(1, sizeof(**link));
        if (*link == NULL)
            return NULL;
        (*link)->address = address;
    }
    if ((*link)->count >= max)
        return NULL;
    (*link)->count++;
    return *link;
}

void tally_drop(struct tally *tally, struct tally_entry *entry)
{
    struct tally_entry **link;

    if (entry == NULL || --entry->count > 0)
        return;
    link = find(tally, &entry->address);
    *link = entry->next;
    free(entry);
}
