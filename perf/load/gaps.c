/* The list of open gaps. */
#include "gaps.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

static void give_up_all(struct gaps *g)
{
    g->counts.never += g->count;
    g->gave_up |= g->count > 0;
    g->count = 0;
}

/* Everything between the highest index and this one is missing. */
static void open_gaps(struct gaps *g, uint64_t index, uint64_t now_ns)
{
    uint64_t missing = index - g->highest - 1;

    g->counts.lost += missing;
    if (missing > GAPS_MAX - g->count) {
        give_up_all(g);
        if (missing > GAPS_MAX) {
            g->counts.never += missing;
            g->gave_up = true;
            return;
        }
    }
    if (missing && !g->list)
        g->list = memory_zeroed(GAPS_MAX, sizeof(*g->list));
    for (uint64_t i = g->highest + 1; i < index; i++)
        g->list[g->count++] = (struct gap){.index = i, .noticed_ns = now_ns};
}

static void remove_gap(struct gaps *g, unsigned at)
{
    g->count--;
    memmove(&g->list[at], &g->list[at + 1], (g->count - at) * sizeof(g->list[0]));
}

/* The packet of gap `at` has arrived. */
static uint64_t close_gap(struct gaps *g, unsigned at, uint64_t now_ns)
{
    struct gap gap = g->list[at];

    remove_gap(g, at);
    if (!gap.tries) {
        g->counts.late++;
    } else {
        g->counts.repaired++;
        if (gap.tries == 1) /* else nobody knows which request was answered */
            g->round_trip_ns = g->round_trip_ns ? (7 * g->round_trip_ns + now_ns - gap.asked_ns) / 8
                                                : now_ns - gap.asked_ns;
    }
    return now_ns > gap.noticed_ns ? now_ns - gap.noticed_ns : 1;
}

uint64_t gaps_add(struct gaps *g, uint64_t index, uint64_t now_ns)
{
    if (!g->started) {
        g->started = true;
        g->highest = index;
        return 0;
    }
    if (index > g->highest) {
        open_gaps(g, index, now_ns);
        g->highest = index;
        return 0;
    }
    for (unsigned i = 0; i < g->count; i++)
        if (g->list[i].index == index)
            return close_gap(g, i, now_ns);
    return 0;
}

uint64_t gaps_add_rtx(struct gaps *g, uint16_t sequence, uint64_t now_ns)
{
    for (unsigned i = 0; i < g->count; i++)
        if ((uint16_t)g->list[i].index == sequence)
            return close_gap(g, i, now_ns);
    return 0;
}

void gaps_add_key_frame(struct gaps *g, uint64_t index)
{
    unsigned before = 0;

    while (before < g->count && g->list[before].index < index)
        before++;
    g->counts.superseded += before;
    g->count -= before;
    if (before)
        memmove(g->list, g->list + before, g->count * sizeof(g->list[0]));
}

size_t gaps_due(struct gaps *g, uint64_t now_ns, uint16_t sequences[GAPS_MAX])
{
    uint64_t pause = g->round_trip_ns ? g->round_trip_ns : GAP_ROUND_TRIP_NS;
    size_t due = 0;

    for (unsigned i = 0; i < g->count;) {
        struct gap *gap = &g->list[i];

        if (gap->tries && now_ns - gap->asked_ns < pause) {
            i++;
        } else if (gap->tries == GAP_TRIES_MAX) {
            g->counts.never++;
            g->gave_up = true;
            remove_gap(g, i);
        } else {
            gap->tries++;
            gap->asked_ns = now_ns;
            sequences[due++] = (uint16_t)gap->index;
            i++;
        }
    }
    return due;
}

void gaps_free(struct gaps *g)
{
    free(g->list);
    g->list = NULL;
    g->count = 0;
}
