/* A network link that loses, delays, reorders and doubles packets, and has a rate and a queue.
 *
 * It decides when each packet arrives; the caller keeps the packets. The same seed and the same
 * packets give the same result, so a test can repeat what it saw.
 *
 * Shape:   one struct link for each direction. A packet passes first the queue of the bottleneck,
 *          then a path that delays it, each packet by an amount of its own.
 * Units:   nanoseconds of a clock that the caller reads, real or virtual; bytes of IP payload; bits
 *          per second.
 * Threads: one.
 * Source:  bursts by Gilbert and Elliott (a good and a bad state; the bad one loses everything). */
#ifndef RINGCAST_LINK_H
#define RINGCAST_LINK_H

#include <stdbool.h>
#include <stdint.h>

#define LINK_COPIES_MAX 2

struct link_options {
    double loss;          /* share of packets that are lost, 0 to 1 */
    double burst_packets; /* mean number lost in a row; up to 1: losses are independent */
    double doubled;       /* share of packets that arrive twice */
    uint64_t delay_ns;    /* of every packet */
    uint64_t jitter_ns;   /* up to this much more or less delay, at random; it changes the order */
    bool in_order;        /* no packet overtakes another */
    uint64_t rate_bps;    /* of the bottleneck; 0: there is none */
    uint64_t queue_ns;    /* the longest wait there; a packet that would wait longer is lost */
};

struct link {
    struct link_options options;
    uint64_t random;
    uint64_t free_ns;     /* when the bottleneck has sent all that waits */
    uint64_t last_due_ns; /* of the last packet, for in_order */
    bool in_burst;
    uint64_t packets, lost, dropped; /* lost: at random; dropped: the queue was full */
};

/* Reads "loss=5,burst=4,delay=20,jitter=5,order=1,rate=2000,queue=200,double=1": percent, packets,
 * ms, kbit/s. Everything that is not named is perfect. False with a sentence. */
bool link_options_read(const char *text, struct link_options *options, char *why /* 160 */);

void link_open(struct link *link, const struct link_options *options, uint64_t seed);
/* A packet enters. Returns how many copies of it arrive, and when. */
unsigned link_send(struct link *link, uint64_t now_ns, uint32_t bytes,
                   uint64_t due_ns[LINK_COPIES_MAX]);

#endif
