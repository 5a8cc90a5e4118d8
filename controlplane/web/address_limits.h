/* How many of something each remote address holds, and how fast it takes more. An IPv6 /64 counts as
 * one address: who has one has all of it.
 *
 * Rate: `per_minute` in any 60 s, given back one by one (the generic cell rate algorithm: one time
 *       stamp per address). An address is remembered until its rate has recovered, at most
 *       ADDRESS_IDLE_MAX of them: who holds nothing and comes from more addresses than that is
 *       limited by the total of connections.
 * Threads: the loop's. */
#ifndef RINGCAST_WEB_ADDRESS_LIMITS_H
#define RINGCAST_WEB_ADDRESS_LIMITS_H

#include <stdint.h>

#define ADDRESS_BUCKETS 1024
#define ADDRESS_IDLE_MAX 65536

struct address {
    unsigned char bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct address_limit {
    struct address_limit *next;
    struct address address;
    uint32_t count;
    uint64_t spent_until_us; /* what was taken is given back by then */
};

struct address_limits {
    uint32_t idle; /* entries with count 0 */
    struct address_limit *buckets[ADDRESS_BUCKETS];
};

enum address_verdict { ADDRESS_ALLOWED, ADDRESS_OVER_COUNT /* or no memory */, ADDRESS_OVER_RATE };

/* One more from there. per_minute 0: at any rate. *entry is for address_limits_release, NULL when refused. */
enum address_verdict address_limits_take(struct address_limits *limits, struct address address,
                                         uint32_t max, uint32_t per_minute, uint64_t now_ms,
                                         struct address_limit **entry);
void address_limits_release(struct address_limits *limits, struct address_limit *entry,
                            uint64_t now_ms);             /* NULL: nothing */
void address_limits_clear(struct address_limits *limits); /* forgets all that hold nothing */

#endif
