/* How many things (connections, sessions) each client address holds, and how fast it takes new
 * ones. All addresses of one IPv6 /64 network count as one: one person usually has all of them.
 *
 * Rate: at most `per_minute` in any 60 seconds (generic cell rate algorithm, one time stamp per
 *       address). An address is remembered until its rate has recovered, but at most
 *       ADDRESS_IDLE_MAX addresses that hold nothing are remembered. An attacker with more
 *       addresses than that is limited only by the total number of connections.
 * Threads: the loop's. */
#ifndef RINGCAST_WEB_ADDRESS_LIMITS_H
#define RINGCAST_WEB_ADDRESS_LIMITS_H

#include <stdint.h>

#include "address.h"

#define ADDRESS_BUCKETS 1024
#define ADDRESS_IDLE_MAX 65536

struct address_limit {
    struct address_limit *next;
    struct address address;
    uint32_t count;
    uint64_t spent_until_us; /* the rate has recovered at this time */
};

struct address_limits {
    uint32_t idle_count; /* addresses that hold nothing */
    struct address_limit *buckets[ADDRESS_BUCKETS];
};

enum address_verdict { ADDRESS_ALLOWED, ADDRESS_OVER_COUNT, ADDRESS_OVER_RATE, ADDRESS_NO_MEMORY };

/* The address takes one more. per_minute 0: no limit of the rate. *taken is NULL when it is
 * refused; otherwise the caller gives it back with address_limits_release. */
enum address_verdict address_limits_take(struct address_limits *limits, struct address address,
                                         uint32_t max, uint32_t per_minute, uint64_t now_ms,
                                         struct address_limit **taken);
/* The address gives one back. limit may be NULL. */
void address_limits_release(struct address_limits *limits, struct address_limit *limit,
                            uint64_t now_ms);
/* Frees all addresses that hold nothing. */
void address_limits_clear(struct address_limits *limits);

#endif
