/* Sliding-window throttles and the list of familiar names, both of a fixed size. */
#include "throttle.h"

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
#define SPANS (THROTTLE_WINDOW_S / 3 + 1) /* the running one and those that end in the window */

struct throttle_entry {
    uint64_t name;    /* keyed hash; 0: free */
    uint64_t span;    /* number of the newest span counted */
    uint64_t taken;   /* span of the last attempt that passed: the entry's age */
    uint64_t refused; /* 1 + span of the last refusal that was reported, 0: none */
    uint32_t counts[SPANS];
};

struct throttle {
    uint8_t key[32];
    struct throttle_entry entries[SETS][WAYS];
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

struct throttle *throttle_new(void)
{
    struct throttle *throttle = calloc(1, sizeof(*throttle));

    if (throttle)
        random_fill(throttle->key, sizeof(throttle->key));
    return throttle;
}

void throttle_delete(struct throttle *throttle)
{
    free(throttle);
}

/* Empties the counters that have left the window since the entry was last looked at. */
static void entry_advance(struct throttle_entry *entry, uint64_t span)
{
    uint64_t steps = span > entry->span ? span - entry->span : 0;

    for (uint64_t i = 1; i <= steps && i <= SPANS; i++)
        entry->counts[(entry->span + i) % SPANS] = 0;
    if (steps)
        entry->span = span;
}

static uint64_t entry_total(const struct throttle_entry *entry)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < SPANS; i++)
        total += entry->counts[i];
    return total;
}

static struct throttle_entry *entry_find(struct throttle *throttle, uint64_t name, uint64_t span,
                                         bool make)
{
    struct throttle_entry *set = throttle->entries[name & (SETS - 1)], *victim = NULL;
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

enum throttle_verdict throttle_take(struct throttle *throttle, const char *name, uint64_t now_ns,
                                    uint32_t limit, uint32_t *retry_after_s)
{
    uint64_t hash = name_hash(throttle->key, name), span = now_ns / SPAN_NS, excess, until_ns;
    struct throttle_entry *entry = entry_find(throttle, hash, span, true);
    bool first;

    if (entry->name != hash)
        *entry = (struct throttle_entry){.name = hash, .span = span};
    entry_advance(entry, span);
    excess = entry_total(entry) + 1;
    *retry_after_s = 0;
    if (excess <= limit) {
        entry->counts[span % SPANS]++;
        entry->taken = span;
        return THROTTLE_PASS;
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
    return first ? THROTTLE_REFUSE_FIRST : THROTTLE_REFUSE;
}

void throttle_give_back(struct throttle *throttle, const char *name, uint64_t taken_ns)
{
    uint64_t hash = name_hash(throttle->key, name), span = taken_ns / SPAN_NS;
    struct throttle_entry *entry = entry_find(throttle, hash, span, false);

    /* Gone from the window or evicted meanwhile: nothing to give back. */
    if (entry && span <= entry->span && entry->span - span < SPANS && entry->counts[span % SPANS])
        entry->counts[span % SPANS]--;
}

struct familiar {
    uint8_t key[32];
    struct {
        uint64_t name, seen_ns;
    } entries[SETS][WAYS];
};

struct familiar *familiar_new(void)
{
    struct familiar *familiar = calloc(1, sizeof(*familiar));

    if (familiar)
        random_fill(familiar->key, sizeof(familiar->key));
    return familiar;
}

void familiar_delete(struct familiar *familiar)
{
    free(familiar);
}

void familiar_add(struct familiar *familiar, const char *name, uint64_t now_ns)
{
    uint64_t hash = name_hash(familiar->key, name);
    unsigned set = hash & (SETS - 1), place = 0;

    for (unsigned i = 0; i < WAYS; i++) {
        if (familiar->entries[set][i].name == hash) {
            place = i;
            break;
        }
        if (familiar->entries[set][i].seen_ns < familiar->entries[set][place].seen_ns)
            place = i;
    }
    familiar->entries[set][place].name = hash;
    familiar->entries[set][place].seen_ns = now_ns;
}

bool familiar_has(struct familiar *familiar, const char *name)
{
    uint64_t hash = name_hash(familiar->key, name);

    for (unsigned i = 0; i < WAYS; i++)
        if (familiar->entries[hash & (SETS - 1)][i].name == hash)
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
