/* Numbers of received packets, without those that carry no media. */
#include "numbers_in.h"

#include "dataplane/engines/quality/history.h"
#include "memory.h"

bool numbers_in_open(struct numbers_in *n)
{
    n->all = memory_map(sizeof(*n->all) * HISTORY_STREAMS, false);
    return n->all;
}

void numbers_in_close(struct numbers_in *n)
{
    memory_unmap(n->all, sizeof(*n->all) * HISTORY_STREAMS);
}

/* Up to now all numbers are as received, also those of packets that are missing. */
static void start(struct renumber *r, const struct encoding *e, uint64_t index)
{
    uint64_t out;

    renumber_start(r, 0, 0);
    if (index < e->highest_index)
        renumber_take(r, e->highest_index, &out);
    else if (index > 0)
        renumber_take(r, index - 1, &out);
}

bool numbers_in_drop(struct numbers_in *n, struct producer *p, uint8_t encoding, uint64_t index,
                     uint64_t *out)
{
    struct renumber *r = &n->all[producer_stream(p, encoding)];
    struct encoding *e = &p->encodings[encoding];

    if (!e->has_dropped_numbers)
        start(r, e, index);
    e->has_dropped_numbers = true;
    return renumber_drop(r, index, out);
}
