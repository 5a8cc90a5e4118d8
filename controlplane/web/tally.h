/* How many of something each remote address holds, and how fast it takes more. An IPv6 /64 counts as
 * one address: who has one has all of it.
 *
 * Rate: `per_minute` in any 60 s, given back one by one (the generic cell rate algorithm: one time
 *       stamp per address). An address is remembered until its rate has recovered, at most
 *       TALLY_IDLE_MAX of them: who holds nothing and comes from more addresses than that is
 *       limited by the total of connections.
 * Threads: the loop's. */
#ifndef RINGCAST_TALLY_H
#define RINGCAST_TALLY_H

#include <stdint.h>

#define TALLY_BUCKETS 1024
#define TALLY_IDLE_MAX 65536

struct address {
    unsigned char bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct tally_entry {
    struct tally_entry *next;
    struct address address;
    uint32_t count;
    uint64_t spent_until_us; /* what was taken is given back by then */
};

struct tally {
    uint32_t idle; /* entries with count 0 */
    struct tally_entry *buckets[TALLY_BUCKETS];
};

enum tally_verdict { TALLY_FITS, TALLY_FULL /* or no memory */, TALLY_TOO_FAST };

/* One more from there. per_minute 0: at any rate. *entry is for tally_drop, NULL when refused. */
enum tally_verdict tally_take(struct tally *tally, struct address address, uint32_t max,
                              uint32_t per_minute, uint64_t now_ms, struct tally_entry **entry);
void tally_drop(struct tally *tally, struct tally_entry *entry,
                uint64_t now_ms);      /* NULL: nothing */
void tally_clear(struct tally *tally); /* forgets all that hold nothing */

#endif
