/* Numbered packets: a sliding bitmap and a window of measurement. */
#include "tracker.h"

#include <string.h>

static bool mark(struct tracker *t, uint32_t number)
{
    uint64_t bit = 1ull << (number % 64), *word = &t->seen[number % TRACKER_WINDOW / 64];
    bool was = *word & bit;

    *word |= bit;
    return was;
}

/* The places of the numbers between are free again. */
static void advance(struct tracker *t, uint32_t number)
{
    if (number - t->highest >= TRACKER_WINDOW) {
        memset(t->seen, 0, sizeof(t->seen));
        return;
    }
    for (uint32_t n = t->highest + 1; n != number + 1; n++)
        t->seen[n % TRACKER_WINDOW / 64] &= ~(1ull << (n % 64));
}

static enum tracked place(struct tracker *t, uint32_t number)
{
    if (!t->started) {
        t->started = true;
        t->highest = number;
        mark(t, number);
        return TRACKED_NEW;
    }
    if ((int32_t)(number - t->highest) > 0) {
        advance(t, number);
        t->highest = number;
        mark(t, number);
        return TRACKED_NEW;
    }
    if (t->highest - number >= TRACKER_WINDOW)
        return TRACKED_ANCIENT;
    return mark(t, number) ? TRACKED_DUPLICATE : TRACKED_LATE;
}

enum tracked tracker_take(struct tracker *t, uint32_t number, bool *counts)
{
    enum tracked what = place(t, number);

    if (t->from_first) {
        t->from_first = false;
        t->from = number;
    }
    *counts = t->measuring && number - t->from < t->to - t->from;
    if (!*counts)
        return what;
    switch (what) {
    case TRACKED_LATE:
        t->reordered++;
        if (t->highest - number > t->distance_max)
            t->distance_max = t->highest - number;
        t->received++;
        break;
    case TRACKED_NEW:
        t->received++;
        break;
    case TRACKED_DUPLICATE:
        t->duplicates++;
        break;
    case TRACKED_ANCIENT:
        t->ancient++;
        break;
    }
    return what;
}

void tracker_open(struct tracker *t, uint32_t from, bool from_first)
{
    t->measuring = true;
    t->from_first = from_first;
    t->from = from;
    t->to = from + INT32_MAX;
    t->received = t->duplicates = t->reordered = t->ancient = t->distance_max = 0;
}

void tracker_close(struct tracker *t, uint32_t to)
{
    t->to = t->from_first || (int32_t)(to - t->from) < 0 ? t->from : to;
    t->from_first = false;
}

void tracker_leave(struct tracker *t)
{
    tracker_close(t, t->started ? t->highest + 1 : t->from);
}

uint32_t tracker_expected(const struct tracker *t)
{
    return t->measuring ? t->to - t->from : 0;
}

uint32_t tracker_lost(const struct tracker *t)
{
    return tracker_expected(t) - t->received;
}
