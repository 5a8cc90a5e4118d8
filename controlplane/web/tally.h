/* How many of something each remote address holds. An IPv6 /64 counts as one address: who has one
 * has all of it. Threads: the loop's. */
#ifndef RINGCAST_TALLY_H
#define RINGCAST_TALLY_H

#include <stdint.h>

#define TALLY_BUCKETS 1024

struct address {
    unsigned char bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct tally_entry {
    struct tally_entry *next;
    struct address address;
    uint32_t count;
};

struct tally {
    struct tally_entry *buckets[TALLY_BUCKETS];
};

/* One more from there; NULL when that would be more than `max` (or memory is out). */
struct tally_entry *tally_take(struct tally *tally, struct address address, uint32_t max);
void tally_drop(struct tally *tally, struct tally_entry *entry); /* NULL: nothing */

#endif
