/* Sliding-window throttles and the list of familiar names, both of a fixed size. */
#include "attempt_limit.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/clock.h"
#include "uuid.h"

#define SETS 2048 /* a power of two */
#define WAYS 8
#define SPAN_NS (3 * NS_PER_S)
#define SPANS (ATTEMPT_WINDOW_S / 3 + 1) /* the running one and those that end in the window */

struct attempt_limit_entry {
    uint64_t name;    /* keyed hash; 0: free */
    uint64_t span;    /* number of the newest span counted */
    uint64_t taken;   /* span of the last attempt that passed: the entry's age */
    uint64_t refused; /* 1 + span of the last refusal that was reported, 0: none */
    uint32_t counts[SPANS];
};

struct attempt_limit {
    uint8_t key[32];
    struct attempt_limit_entry entries[SETS][WAYS];
};

static uint64_t name_hash(const uint8_t key[32], const char *name)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    uint64_t hash;

    if (!HMAC(EVP_sha256(), key, 32, (const uint8_t *)name, strlen(name), digest, NULL))
        return 1; /* no memory: all names share one entry, which is the strict side */
    memcpy(&hash, digest, sizeof(hash));
    return hash ? hash : 1;
}

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

/* Empties the counters that have left the window since the entry was last looked at. */
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

enum attempt_result attempt_limit_take(struct attempt_limit *attempts, const char *name,
                                       uint64_t now_ns, uint32_t limit, uint32_t *retry_after_s)
{
    uint64_t hash = name_hash(attempts->key, name), span = now_ns / SPAN_NS, excess, until_ns;
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
    /* The oldest spans leave first: how many have to go until one more fits? */
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
    uint64_t hash = name_hash(attempts->key, name), span = taken_ns / SPAN_NS;
    struct attempt_limit_entry *entry = entry_find(attempts, hash, span, false);

    /* Gone from the window or evicted meanwhile: nothing to give back. */
    if (entry && span <= entry->span && entry->span - span < SPANS && entry->counts[span % SPANS])
        entry->counts[span % SPANS]--;
}

struct known_logins {
    uint8_t key[32];
    struct {
        uint64_t name, seen_ns;
    } entries[SETS][WAYS];
};

struct known_logins *known_logins_new(void)
{
    struct known_logins *known = calloc(1, sizeof(*known));

    if (known)
        random_fill(known->key, sizeof(known->key));
    return known;
}

void known_logins_delete(struct known_logins *known)
{
    free(known);
}

void known_logins_add(struct known_logins *known, const char *name, uint64_t now_ns)
{
    uint64_t hash = name_hash(known->key, name);
    unsigned set = hash & (SETS - 1), place = 0;

    for (unsigned i = 0; i < WAYS; i++) {
        if (known->entries[set][i].name == hash) {
            place = i;
            break;
        }
        if (known->entries[set][i].seen_ns < known->entries[set][place].seen_ns)
            place = i;
    }
    known->entries[set][place].name = hash;
    known->entries[set][place].seen_ns = now_ns;
}

bool known_logins_has(struct known_logins *known, const char *name)
{
    uint64_t hash = name_hash(known->key, name);

    for (unsigned i = 0; i < WAYS; i++)
        if (known->entries[hash & (SETS - 1)][i].name == hash)
            return true;
    return false;
}

void address_name(const char *ip, char out[ADDRESS_NAME_BYTES])
{
    struct in6_addr six;
    const uint8_t *b = six.s6_addr;

    if (inet_pton(AF_INET6, ip, &six) != 1)
        snprintf(out, ADDRESS_NAME_BYTES, "%s", ip);
    else if (IN6_IS_ADDR_V4MAPPED(&six))
        snprintf(out, ADDRESS_NAME_BYTES, "%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
    else /* whoever has one address of a /64 has all of them */
        snprintf(out, ADDRESS_NAME_BYTES, "%02x%02x:%02x%02x:%02x%02x:%02x%02x::/64", b[0], b[1],
                 b[2], b[3], b[4], b[5], b[6], b[7]);
}
