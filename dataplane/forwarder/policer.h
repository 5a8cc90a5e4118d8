/* The policer: how much one client may send (threat D22). It drops what is too much before it costs a
 * decryption, so that a client that sends at the speed of the line does not take the time of others.
 *
 * A transport has two budgets of the same size. Authentic packets count against the first one; what
 * was refused after work (not authentic, replayed, for no producer) counts against the second one.
 * With one budget, somebody who sends with the client's address could use up the client's own.
 *
 * Shape:   a leaky bucket for bytes and one for packets. Each is a time: when it will be empty.
 * Units:   nanoseconds of the turn's clock.
 * Threads: the worker of the transport. Packets that are handed to other workers count here only. */
#ifndef RINGCAST_POLICER_H
#define RINGCAST_POLICER_H

#include <stdbool.h>
#include <stdint.h>

#include "src/clock.h"

/* A bucket holds what the limit allows in this time. Key frames, and packets that a network held
 * back, come in bursts. */
#define POLICER_BURST_NS (500 * NS_PER_MS)
#define POLICER_SHIFT 10

/* A limit; all 0: none. */
struct policer_rate {
    uint64_t byte_ns; /* << POLICER_SHIFT: the time that a byte takes at this rate */
    uint64_t packet_ns;
};

struct policer {
    uint64_t bytes_empty_ns, packets_empty_ns;
};

static inline struct policer_rate policer_rate(uint64_t kbps, uint64_t packets_per_s)
{
    return (struct policer_rate){
        .byte_ns = kbps ? (8 * NS_PER_S << POLICER_SHIFT) / (kbps * 1000) : 0,
        .packet_ns = packets_per_s ? NS_PER_S / packets_per_s : 0,
    };
}

static inline bool policer_is_full(const struct policer *p, uint64_t now_ns)
{
    return p->bytes_empty_ns > now_ns + POLICER_BURST_NS ||
           p->packets_empty_ns > now_ns + POLICER_BURST_NS;
}

static inline void policer_add(struct policer *p, const struct policer_rate *rate, uint32_t bytes,
                               uint64_t now_ns)
{
    uint64_t from_ns = p->bytes_empty_ns > now_ns ? p->bytes_empty_ns : now_ns;

    p->bytes_empty_ns = from_ns + (bytes * rate->byte_ns >> POLICER_SHIFT);
    from_ns = p->packets_empty_ns > now_ns ? p->packets_empty_ns : now_ns;
    p->packets_empty_ns = from_ns + rate->packet_ns;
}

#endif
