/* Limits how often something may be attempted per name: a sliding window, in memory of a fixed
 * size.
 *
 * Shape: a set-associative table; an entry has a keyed hash of the name and 21 counters of 3 s
 *        each. In any 60 s at most `limit` attempts are allowed. A counter leaves the window as a
 *        whole, so an attempt may be refused for up to 3 s longer than necessary.
 * Forgetting: a full set replaces the entry with the fewest attempts in the window, and among those
 *        the oldest. An attacker who wants the table to forget an account must fill the set of that
 *        account with names that each have more attempts, and cannot know which names belong to the
 *        set, because the hash has a secret key. For accounts, only attempts that reach the
 *        password hash are counted: two hash threads take fewer in a minute (about 5000) than the
 *        table has entries (16384).
 * No lock-out: refused attempts are not counted, so attempts are allowed again within a minute.
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
    ATTEMPT_REFUSED_FIRST /* the first refusal of this name in a window: for the audit log */
};
/* Would attempt_limit_take refuse? */
bool attempt_limit_is_reached(struct attempt_limit *attempts, const char *name, uint64_t now_ns,
                              uint32_t limit);
/* Counts one attempt, or says after how many seconds the next one is allowed. */
enum attempt_result attempt_limit_take(struct attempt_limit *attempts, const char *name,
                                       uint64_t now_ns, uint32_t limit, uint32_t *retry_after_s);
/* The attempt that was made at taken_ns does not count after all. */
void attempt_limit_give_back(struct attempt_limit *attempts, const char *name, uint64_t taken_ns);

#endif
