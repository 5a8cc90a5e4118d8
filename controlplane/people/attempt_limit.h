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
#ifndef RINGCAST_ATTEMPT_LIMIT_H
#define RINGCAST_ATTEMPT_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define ATTEMPT_WINDOW_S 60

struct attempt_limit;
struct attempt_limit *attempt_limit_new(void);
void attempt_limit_delete(struct attempt_limit *attempts);

enum attempt_result {
    ATTEMPT_ALLOWED,
    ATTEMPT_REFUSED,
    ATTEMPT_REFUSED_FIRST /* the first refusal of this name in a window: tell the audit log */
};
/* Counts one attempt, or says in how many seconds the next one passes. */
enum attempt_result attempt_limit_take(struct attempt_limit *attempts, const char *name,
                                       uint64_t now_ns, uint32_t limit, uint32_t *retry_after_s);
/* The attempt of taken_ns shall not count after all. */
void attempt_limit_give_back(struct attempt_limit *attempts, const char *name, uint64_t taken_ns);

/* Names seen to be good: from where an owner has logged in. Fixed size, the oldest is forgotten. */
struct known_logins;
struct known_logins *known_logins_new(void);
void known_logins_delete(struct known_logins *known);
void known_logins_add(struct known_logins *known, const char *name, uint64_t now_ns);
bool known_logins_has(struct known_logins *known, const char *name);

/* What an address counts as: an IPv4 address, the /64 of an IPv6 address. */
#define ADDRESS_NAME_BYTES 64
void address_name(const char *ip, char out[ADDRESS_NAME_BYTES]);

#endif
