/* Sliding-window throttles with a fixed size of memory.
 *
 * Shape: a set-associative table of (keyed hash of the name, 21 counters of 3 s each). Never more
 *        than `limit` in any 60 s; counters are whole, so a slot frees up to 3 s late.
 * Forgetting: a full set gives up the entry with the fewest attempts in the window, the oldest of
 *        those. Someone who wants an account under attack forgotten has to fill its set with names
 *        that were each tried more often, without knowing which names fall into it (the hash is
 *        keyed with a secret of this process). For accounts only attempts that were admitted to
 *        the password hash are counted, and two hash threads admit fewer in a minute (about 5000)
 *        than the table has entries (16384).
 * Lock-out: refused attempts are not counted, so a throttle opens again by itself within a minute.
 * Threads: one. No clock of its own. */
#ifndef RINGCAST_THROTTLE_H
#define RINGCAST_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_WINDOW_S 60

struct throttle;
struct throttle *throttle_new(void);
void throttle_delete(struct throttle *throttle);

enum throttle_verdict {
    THROTTLE_PASS,
    THROTTLE_REFUSE,
    THROTTLE_REFUSE_FIRST /* the first refusal of this name in a window: tell the audit log */
};
/* Counts one attempt, or says in how many seconds the next one passes. */
enum throttle_verdict throttle_take(struct throttle *throttle, const char *name, uint64_t now_ns,
                                    uint32_t limit, uint32_t *retry_after_s);
/* The attempt of taken_ns shall not count after all. */
void throttle_give_back(struct throttle *throttle, const char *name, uint64_t taken_ns);

/* Names seen to be good: from where an owner has logged in. Fixed size, the oldest is forgotten. */
struct familiar;
struct familiar *familiar_new(void);
void familiar_delete(struct familiar *familiar);
void familiar_add(struct familiar *familiar, const char *name, uint64_t now_ns);
bool familiar_has(struct familiar *familiar, const char *name);

/* What an address counts as: an IPv4 address, the /64 of an IPv6 address. */
#define ADDRESS_NAME_BYTES 64
void address_name(const char *ip, char out[ADDRESS_NAME_BYTES]);

#endif
