/* The limit of attempts: a sliding window per name, in a table of a fixed size. */
#include "attempt_limit.h"

#include <stdlib.h>

#include "attempt_name.h"
#include "src/clock.h"
#include "uuid.h"

#define SETS 2048 /* a power of two */
#define WAYS 8
#define SPAN_NS (3 * NS_PER_S)
#define SPANS (ATTEMPT_WINDOW_S / 3 + 1) /* the current one, and those that end in the window */

struct attempt_limit_entry {
    uint64_t name;    /* keyed hash; 0: free */
    uint64_t span;    /* number of the newest span in counts */
    uint64_t taken;   /* span of the last attempt that was allowed; the age of the entry */
    uint64_t refused; /* 1 + span of the last refusal that was reported; 0: none */
    uint32_t counts[SPANS];
};

struct attempt_limit {
    uint8_t key[ATTEMPT_KEY_BYTES];
    struct attempt_limit_entry entries[SETS][WAYS];
};

struct attempt_limit *attempt_limit_new(void)
{
    struct attempt_limit *attempts = calloc(1, sizeof(*attempts));

    if (attempts)
        random_fill(attempts->key, sizeof(attempts->key));
    return attempts;
}

void attempt_limit_delete(struct attempt_limit *attempts)
{
    free(attempts);
}

/* Clears the counters that have left the window since the entry was used last. */
static void entry_advance(struct attempt_limit_entry *entry, uint64_t span)
{
    uint64_t steps = span > entry->span ? span - entry->span : 0;

    for (uint64_t i = 1; i <= steps && i <= SPANS; i++)
        entry->counts[(entry->span + i) % SPANS] = 0;
    if (steps)
        entry->span = span;
}

static uint64_t entry_total(const struct attempt_limit_entry *entry)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < SPANS; i++)
        total += entry->counts[i];
    return total;
}

static struct attempt_limit_entry *entry_find(struct attempt_limit *attempts, uint64_t name,
                                              uint64_t span, bool make)
{
    struct attempt_limit_entry *set = attempts->entries[name & (SETS - 1)], *victim = NULL;
    uint64_t victim_total = 0;

    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].name == name)
            return &set[i];
    if (!make)
        return NULL;
    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t total;

        entry_advance(&set[i], span);
        total = entry_total(&set[i]);
        if (!victim || total < victim_total ||
            (total == victim_total && set[i].taken < victim->taken)) {
            victim = &set[i];
            victim_total = total;
        }
    }
    return victim;
}

bool attempt_limit_is_reached(struct attempt_limit *attempts, const char *name, uint64_t now_ns,
                              uint32_t limit)
{
    uint64_t hash = attempt_name_hash(attempts->key, name), span = now_ns / SPAN_NS;
    struct attempt_limit_entry *entry = entry_find(attempts, hash, span, false);

    if (!entry)
        return limit == 0;
    entry_advance(entry, span);
    return entry_total(entry) >= limit;
}

enum attempt_result attempt_limit_take(struct attempt_limit *attempts, const char *name,
                                       uint64_t now_ns, uint32_t limit, uint32_t *retry_after_s)
{
    uint64_t hash = attempt_name_hash(attempts->key, name), span = now_ns / SPAN_NS, excess,
             until_ns;
    struct attempt_limit_entry *entry = entry_find(attempts, hash, span, true);
    bool first;

    if (entry->name != hash)
        *entry = (struct attempt_limit_entry){.name = hash, .span = span};
    entry_advance(entry, span);
    excess = entry_total(entry) + 1;
    *retry_after_s = 0;
    if (excess <= limit) {
        entry->counts[span % SPANS]++;
        entry->taken = span;
        return ATTEMPT_ALLOWED;
    }
    /* Finds when enough of the oldest spans have left the window for one more attempt. */
    excess -= limit;
    for (unsigned i = 1; i <= SPANS; i++) {
        uint32_t count = entry->counts[(span + i) % SPANS];

        until_ns = (span + i) * SPAN_NS;
        if (count >= excess || i == SPANS) {
            *retry_after_s = (uint32_t)((until_ns - now_ns + NS_PER_S - 1) / NS_PER_S);
            break;
        }
        excess -= count;
    }
    first = !entry->refused || span + 1 - entry->refused >= SPANS;
    if (first)
        entry->refused = span + 1;
    return first ? ATTEMPT_REFUSED_FIRST : ATTEMPT_REFUSED;
}

void attempt_limit_give_back(struct attempt_limit *attempts, const char *name, uint64_t taken_ns)
{
    uint64_t hash = attempt_name_hash(attempts->key, name), span = taken_ns / SPAN_NS;
    struct attempt_limit_entry *entry = entry_find(attempts, hash, span, false);

    /* Out of the window, or the entry was replaced meanwhile: nothing to give back. */
    if (entry && span <= entry->span && entry->span - span < SPANS && entry->counts[span % SPANS])
        entry->counts[span % SPANS]--;
}
