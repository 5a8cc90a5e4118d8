/* The bitmap of arrived numbers, and the range of the measurement. */
#include "loss_counter.h"

#include <string.h>

static bool mark(struct loss_counter *t, uint32_t number)
{
    uint64_t bit = 1ull << (number % 64), *word = &t->seen[number % LOSS_COUNTER_WINDOW / 64];
    bool was = *word & bit;

    *word |= bit;
    return was;
}

/* Clears the bits of all numbers after `highest` up to `number`. */
static void advance(struct loss_counter *t, uint32_t number)
{
    if (number - t->highest >= LOSS_COUNTER_WINDOW) {
        memset(t->seen, 0, sizeof(t->seen));
        return;
    }
    for (uint32_t n = t->highest + 1; n != number + 1; n++)
        t->seen[n % LOSS_COUNTER_WINDOW / 64] &= ~(1ull << (n % 64));
}

static enum arrival judge(struct loss_counter *t, uint32_t number)
{
    if (!t->started) {
        t->started = true;
        t->highest = number;
        mark(t, number);
        return ARRIVED_NEW;
    }
    if ((int32_t)(number - t->highest) > 0) {
        advance(t, number);
        t->highest = number;
        mark(t, number);
        return ARRIVED_NEW;
    }
    if (t->highest - number >= LOSS_COUNTER_WINDOW)
        return ARRIVED_ANCIENT;
    return mark(t, number) ? ARRIVED_DUPLICATE : ARRIVED_LATE;
}

enum arrival loss_counter_record(struct loss_counter *t, uint32_t number, bool *counts)
{
    enum arrival what = judge(t, number);

    if (t->from_first) {
        t->from_first = false;
        t->from = number;
    }
    *counts = t->measuring && number - t->from < t->to - t->from;
    if (!*counts)
        return what;
    switch (what) {
    case ARRIVED_LATE:
        t->reordered++;
        if (t->highest - number > t->distance_max)
            t->distance_max = t->highest - number;
        t->received++;
        break;
    case ARRIVED_NEW:
        t->received++;
        break;
    case ARRIVED_DUPLICATE:
        t->duplicates++;
        break;
    case ARRIVED_ANCIENT:
        t->ancient++;
        break;
    }
    return what;
}

void loss_counter_start(struct loss_counter *t, uint32_t from, bool from_first)
{
    t->measuring = true;
    t->from_first = from_first;
    t->from = from;
    t->to = from + INT32_MAX;
    t->received = t->duplicates = t->reordered = t->ancient = t->distance_max = 0;
}

void loss_counter_stop(struct loss_counter *t, uint32_t to)
{
    t->to = t->from_first || (int32_t)(to - t->from) < 0 ? t->from : to;
    t->from_first = false;
}

void loss_counter_stop_at_highest(struct loss_counter *t)
{
    loss_counter_stop(t, t->started ? t->highest + 1 : t->from);
}

uint32_t loss_counter_expected(const struct loss_counter *t)
{
    return t->measuring ? t->to - t->from : 0;
}

uint32_t loss_counter_lost(const struct loss_counter *t)
{
    return loss_counter_expected(t) - t->received;
}
