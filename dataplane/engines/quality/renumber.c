/* Numbers that stay continuous. */
#include "renumber.h"

#include <string.h>

static const uint64_t *word_of(const struct renumber *r, uint64_t number)
{
    return &r->dropped[number % RENUMBER_WINDOW / 64];
}

static void set(struct renumber *r, uint64_t number, bool is_dropped)
{
    uint64_t *word = (uint64_t *)word_of(r, number), bit = 1ull << (number % 64);

    *word = is_dropped ? *word | bit : *word & ~bit;
}

static bool is_known(const struct renumber *r, uint64_t in)
{
    return in >= r->first && in + RENUMBER_WINDOW >= r->next;
}

/* What `in` becomes: each dropped number above it has taken one from the offset since. The place of a
 * dropped number is that of the one before it. */
static uint64_t place_of(const struct renumber *r, uint64_t in)
{
    uint64_t count = 0;

    for (uint64_t i = in + 1; i < r->next;) {
        uint64_t bits = *word_of(r, i) >> (i % 64), left = r->next - i, span = 64 - i % 64;

        if (left < span)
            bits &= (1ull << left) - 1;
        count += (uint64_t)__builtin_popcountll(bits);
        i += span;
    }
    return in + r->offset + count;
}

/* Makes `in` the newest. Those between are missing: they keep their places. */
static void advance(struct renumber *r, uint64_t in)
{
    if (in - r->next >= RENUMBER_WINDOW) {
        memset(r->dropped, 0, sizeof(r->dropped));
        memset(r->empty, 0, sizeof(r->empty));
    } else {
        for (uint64_t i = r->next; i <= in; i++) {
            set(r, i, false);
            r->empty[i % RENUMBER_WINDOW / 64] &= ~(1ull << (i % 64));
        }
    }
    r->next = in + 1;
}

void renumber_start(struct renumber *r, uint64_t in, uint64_t out)
{
    memset(r, 0, sizeof(*r));
    r->first = in;
    r->next = in;
    r->offset = out - in;
}

bool renumber_peek(const struct renumber *r, uint64_t in, uint64_t *out)
{
    if (!is_known(r, in) || renumber_is_dropped(r, in))
        return false;
    *out = place_of(r, in);
    return true;
}

bool renumber_take(struct renumber *r, uint64_t in, uint64_t *out)
{
    if (!renumber_peek(r, in, out))
        return false;
    if (in >= r->next)
        advance(r, in);
    return true;
}

bool renumber_drop(struct renumber *r, uint64_t in, uint64_t *out)
{
    if (!is_known(r, in) || renumber_is_dropped(r, in))
        return true;
    if (in < r->next) {
        *out = place_of(r, in);
        return false;
    }
    advance(r, in);
    set(r, in, true);
    r->offset--;
    return true;
}

bool renumber_is_dropped(const struct renumber *r, uint64_t in)
{
    return in < r->next && is_known(r, in) && (*word_of(r, in) >> (in % 64) & 1);
}

void renumber_set_empty(struct renumber *r, uint64_t in)
{
    if (in < r->next && is_known(r, in))
        r->empty[in % RENUMBER_WINDOW / 64] |= 1ull << (in % 64);
}

bool renumber_is_empty(const struct renumber *r, uint64_t in)
{
    return in < r->next && is_known(r, in) &&
           (r->empty[in % RENUMBER_WINDOW / 64] >> (in % 64) & 1);
}

bool renumber_find(const struct renumber *r, uint64_t out, uint64_t *in)
{
    uint64_t low = r->first + RENUMBER_WINDOW > r->next ? r->first : r->next - RENUMBER_WINDOW;
    uint64_t high = r->next;

    while (low < high) { /* places never fall */
        uint64_t middle = low + (high - low) / 2;

        if ((int64_t)(place_of(r, middle) - out) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *in = low;
    return low < r->next && place_of(r, low) == out && !renumber_is_dropped(r, low);
}
