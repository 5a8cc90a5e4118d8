/* Which packets of a received stream are missing. */
#include "nack.h"

#include <string.h>

#define MS 1000000ull
/* Packets of one burst overtake each other by less than this on every network. */
#define LATE_NS_MIN (3 * MS)
#define LATE_NS_MAX (100 * MS)
/* One packet of audio has 20 ms, and a receiver has half a second at most before it plays it. */
#define AUDIO_LATE_NS_MAX (20 * MS)
#define AUDIO_AGE_NS_MAX (500 * MS)
#define ROUND_TRIP_NS_DEFAULT (100 * MS)
#define ROUND_TRIP_NS_MIN (10 * MS)
#define ROUND_TRIP_NS_MAX (500 * MS)

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static uint64_t round_trip(const struct nack *n)
{
    return n->round_trip_ns ? n->round_trip_ns : ROUND_TRIP_NS_DEFAULT;
}

static uint64_t clamp_lateness(const struct nack *n, uint64_t late_ns)
{
    return clamp(late_ns, LATE_NS_MIN, n->is_audio ? AUDIO_LATE_NS_MAX : LATE_NS_MAX);
}

static void forget_first(struct nack *n, uint32_t count)
{
    n->count -= count;
    memmove(n->missing, n->missing + count, n->count * sizeof(n->missing[0]));
}

/* Notes all indexes between the highest one and this. False: there are too many. */
static bool note_gap(struct nack *n, uint64_t index, uint64_t now_ns)
{
    uint64_t gap = index - n->highest - 1, due_ns = now_ns + n->late_ns;

    if (gap > NACK_MISSING_MAX - n->count) {
        n->given_up += n->count + (uint32_t)(gap < UINT32_MAX / 2 ? gap : UINT32_MAX / 2);
        n->count = 0;
        return false;
    }
    if (n->count == 0 || due_ns < n->due_ns)
        n->due_ns = due_ns;
    for (uint64_t i = n->highest + 1; i < index; i++)
        n->missing[n->count++] =
            (struct nack_missing){.index = i, .noticed_ns = now_ns, .due_ns = due_ns};
    /* Each late packet can raise late_ns, so each gap lowers it a little. */
    n->late_ns = clamp_lateness(n, n->late_ns - n->late_ns / 64);
    return true;
}

/* How long the answer took. Only when it was asked for once: otherwise nobody knows which question
 * it answers. */
static void learn_round_trip(struct nack *n, const struct nack_missing *m, uint64_t now_ns)
{
    uint64_t sample_ns = clamp(now_ns - m->asked_ns, ROUND_TRIP_NS_MIN, ROUND_TRIP_NS_MAX);

    if (m->tries != 1)
        return;
    n->round_trip_ns =
        n->round_trip_ns ? n->round_trip_ns - n->round_trip_ns / 8 + sample_ns / 8 : sample_ns;
}

/* A packet that came by itself: the next one is given as much time, and a fourth more. */
static void learn_lateness(struct nack *n, const struct nack_missing *m, uint64_t now_ns)
{
    uint64_t late_ns = now_ns - m->noticed_ns;

    late_ns = clamp_lateness(n, late_ns + late_ns / 4);
    if (late_ns > n->late_ns)
        n->late_ns = late_ns;
}

/* n->count: it is not missing. */
static uint32_t find(const struct nack *n, uint64_t index)
{
    uint32_t i = 0;

    while (i < n->count && n->missing[i].index < index)
        i++;
    return i < n->count && n->missing[i].index == index ? i : n->count;
}

/* An answer does not come at once. */
bool nack_was_asked(const struct nack *n, uint64_t index, uint64_t now_ns)
{
    uint32_t i = find(n, index);
    uint64_t soonest_ns = n->round_trip_ns ? n->round_trip_ns / 2 : ROUND_TRIP_NS_MIN / 2;

    return i < n->count && n->missing[i].tries > 0 &&
           (n->missing[i].tries > 1 || now_ns - n->missing[i].asked_ns >= soonest_ns);
}

static enum nack_arrival close_gap(struct nack *n, uint64_t index, bool is_repair, uint64_t now_ns)
{
    uint32_t i = find(n, index);
    enum nack_arrival arrival;
    struct nack_missing *m;

    if (i == n->count)
        return NACK_UNMISSED;
    m = &n->missing[i];
    if (is_repair && m->tries)
        learn_round_trip(n, m, now_ns);
    else if (!is_repair)
        learn_lateness(n, m, now_ns);
    arrival = m->tries ? NACK_REPAIRED : NACK_LATE;
    n->count--;
    memmove(m, m + 1, (n->count - i) * sizeof(*m));
    return arrival;
}

void nack_start(struct nack *n, uint64_t highest)
{
    n->started = true;
    n->highest = highest;
    n->late_ns = LATE_NS_MIN;
}

enum nack_arrival nack_add(struct nack *n, uint64_t index, bool is_repair, uint64_t now_ns)
{
    bool fits = true;

    if (n->started && index <= n->highest)
        return close_gap(n, index, is_repair, now_ns);
    if (!n->started)
        n->late_ns = LATE_NS_MIN;
    else if (index != n->highest + 1)
        fits = note_gap(n, index, now_ns);
    n->started = true;
    n->highest = index;
    return fits ? NACK_IN_ORDER : NACK_TOO_MANY;
}

void nack_add_key_frame(struct nack *n, uint64_t index)
{
    uint32_t older = 0;

    while (older < n->count && n->missing[older].index < index)
        older++;
    if (older)
        forget_first(n, older);
}

size_t nack_due(struct nack *n, uint64_t now_ns, uint16_t sequences[NACK_MISSING_MAX])
{
    uint64_t next_ns = NACK_NEVER;
    uint32_t kept = 0;
    size_t count = 0;

    for (uint32_t i = 0; i < n->count; i++) {
        struct nack_missing m = n->missing[i];

        if (m.due_ns <= now_ns) {
            if (m.tries == NACK_TRIES_MAX ||
                (n->is_audio && now_ns - m.noticed_ns > AUDIO_AGE_NS_MAX)) {
                n->given_up++;
                continue;
            }
            sequences[count++] = (uint16_t)m.index;
            m.tries++;
            m.asked_ns = now_ns;
            m.due_ns = now_ns + round_trip(n) + round_trip(n) / 4;
        }
        if (m.due_ns < next_ns)
            next_ns = m.due_ns;
        n->missing[kept++] = m;
    }
    n->count = kept;
    n->due_ns = next_ns;
    return count;
}
