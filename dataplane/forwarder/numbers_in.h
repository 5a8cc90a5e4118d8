/* The numbers of received packets, without those of packets that carry no media.
 *
 * Publishers that negotiated no retransmissions send packets of nothing but padding, to measure the
 * bandwidth. Nobody gets them. If they kept their numbers, each subscriber would see a loss and ask for a
 * packet that never leaves; so the packets after them move up, before history and fan-out see them.
 * Gaps towards the publisher, reports and transport-cc keep the numbers as received.
 *
 * Shape:   one entry for each encoding; used only from the first such packet on.
 * Units:   48-bit SRTP indexes.
 * Threads: the home worker of the producer.
 * Memory:  mapped at start; a page takes memory when it is first touched. */
#ifndef RINGCAST_NUMBERS_IN_H
#define RINGCAST_NUMBERS_IN_H

#include "dataplane/engines/quality/renumber.h"
#include "producer.h"

struct numbers_in {
    struct renumber *all; /* [HISTORY_STREAMS], by producer_stream */
};

/* Maps the array; false when there is no address space. */
bool numbers_in_open(struct numbers_in *n);
void numbers_in_close(struct numbers_in *n);

/* A packet without media arrived, and was counted in the statistics of its encoding. False: it is late,
 * and its place *out stays empty. */
bool numbers_in_drop(struct numbers_in *n, struct producer *p, uint8_t encoding, uint64_t index,
                     uint64_t *out);

/* The number of a packet with media. False: it is too old. */
static inline bool numbers_in_take(struct numbers_in *n, const struct producer *p, uint8_t encoding,
                                   uint64_t index, uint64_t *out)
{
    *out = index;
    return __builtin_expect(!p->encodings[encoding].has_dropped_numbers, 1) ||
           renumber_take(&n->all[producer_stream(p, encoding)], index, out);
}

#endif
