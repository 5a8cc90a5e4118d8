/* How well a stream arrives, as one number. */
#include "score.h"

static double fourth_power(double x)
{
    return x * x * x * x;
}

/* What was counted in one interval; lost and repaired make sense: repaired ≤ lost ≤ packets. */
static struct score_counts interval_of(const struct score *s, const struct score_counts *now)
{
    struct score_counts i = {.packets = now->packets - s->before.packets,
                             .lost = now->lost - s->before.lost,
                             .repaired = now->repaired - s->before.repaired,
                             .repairs = now->repairs - s->before.repairs};

    if ((int32_t)i.packets < 0) /* the stream began anew */
        i = (struct score_counts){.packets = now->packets, .lost = now->lost};
    if ((int32_t)i.lost < 0)
        i.lost = 0;
    if (i.lost > i.packets)
        i.lost = i.packets;
    if (i.repaired > i.lost) { /* the rest was lost in the interval before */
        i.repairs -= i.repaired - i.lost;
        i.repaired = i.lost;
    }
    if ((int32_t)(i.repairs - i.repaired) < 0)
        i.repairs = i.repaired;
    return i;
}

/* An interval in which nothing was to come is a good one: silence is no loss. */
static uint8_t score_of(const struct score_counts *i)
{
    double missed = i->lost;

    if (i->packets == 0)
        return SCORE_BEST;
    if (i->repaired > 0)
        missed -= i->repaired * (double)i->repaired / i->repairs /
                  fourth_power((double)i->repaired / i->packets + 1);
    return (uint8_t)(SCORE_BEST * fourth_power((i->packets - missed) / i->packets) + 0.5);
}

/* The ring holds each score, which is at most 10, in four bits. */
static void put(struct score *s, unsigned place, uint8_t score)
{
    unsigned shift = place % 2 * 4;

    s->last[place / 2] =
        (uint8_t)((s->last[place / 2] & ~(15u << shift)) | (unsigned)score << shift);
}

static unsigned get(const struct score *s, unsigned place)
{
    return s->last[place / 2] >> place % 2 * 4 & 15;
}

/* The oldest interval has the weight 1, the next one 2, and so on. */
static uint8_t mean(const struct score *s)
{
    unsigned first = s->next + SCORE_INTERVALS - s->count, sum = 0, weights = 0;

    for (unsigned i = 0; i < s->count; i++) {
        sum += (i + 1) * get(s, (first + i) % SCORE_INTERVALS);
        weights += i + 1;
    }
    return (uint8_t)((2 * sum + weights) / (2 * weights)); /* rounded */
}

void score_reset(struct score *s, uint8_t value)
{
    s->next = s->count = 0;
    s->value = value;
}

bool score_add(struct score *s, const struct score_counts *now)
{
    struct score_counts interval = interval_of(s, now);
    uint8_t before = s->value;

    s->before = *now;
    put(s, s->next, score_of(&interval));
    s->next = (uint8_t)((s->next + 1) % SCORE_INTERVALS);
    s->count += s->count < SCORE_INTERVALS;
    s->value = mean(s);
    return s->value != before;
}
