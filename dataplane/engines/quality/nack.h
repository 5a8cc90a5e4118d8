/* Which packets of a received stream are missing, and when to ask for them again (RFC 4585 6.2.1,
 * generic NACK).
 *
 *   nack_add      for each packet that arrives: notes the gaps before it, closes the gap it fills
 *   nack_due      collects the sequence numbers to ask for now, and plans the next time
 *
 * A packet that is missing is first given time to arrive by itself: as long as packets of this
 * stream have been late recently. Then it is asked for once per round trip, NACK_TRIES_MAX times. A
 * key frame ends all older gaps, because nothing after it needs them.
 *
 * Audio is played soon, so it is asked for soon, and not for long. Browsers have no RTX for audio: what
 * was asked for comes again as it was, and nack_was_asked tells it from a packet that was only late.
 *
 * Shape:   one struct nack for each received encoding; zeroed, it has seen nothing.
 * Units:   48-bit SRTP indexes; nanoseconds of a clock that the caller reads.
 * Threads: one worker.
 * Memory:  none besides the struct; the list is filled from the front.
 * Limits:  NACK_MISSING_MAX gaps. When there are more, all are given up, and a key frame is the only
 *          repair. */
#ifndef RINGCAST_NACK_H
#define RINGCAST_NACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NACK_MISSING_MAX 256
#define NACK_TRIES_MAX 10
#define NACK_NEVER UINT64_MAX

struct nack_missing {
    uint64_t index;
    uint64_t noticed_ns;
    uint64_t due_ns; /* when to ask for it, for the first time or again */
    uint64_t asked_ns;
    uint32_t tries;
};

struct nack {
    bool started;
    bool is_audio;          /* set by the caller at the beginning */
    uint32_t count;         /* of missing packets */
    uint64_t highest;       /* index that arrived */
    uint64_t due_ns;        /* not later than the earliest of the list */
    uint64_t late_ns;       /* how late packets are that arrive without being asked for */
    uint64_t round_trip_ns; /* from asking to the packet; 0: not measured yet */
    uint32_t given_up;      /* gaps that were never filled */
    struct nack_missing missing[NACK_MISSING_MAX]; /* the oldest first */
};

enum nack_arrival {
    NACK_IN_ORDER, /* it is the newest one */
    NACK_LATE,     /* it was missing, and came by itself */
    NACK_REPAIRED, /* it was missing, and we had asked for it */
    NACK_UNMISSED, /* nobody waited for it */
    NACK_TOO_MANY, /* it is the newest, and so many are missing before it that all are given up */
};

/* For a zeroed struct: packets of the stream arrived before, and `highest` is their newest index. */
void nack_start(struct nack *n, uint64_t highest);
/* A packet arrived for the first time. is_repair: as a retransmission. */
enum nack_arrival nack_add(struct nack *n, uint64_t index, bool is_repair, uint64_t now_ns);
/* Is this packet, which came without RTX, probably the answer to a question? */
bool nack_was_asked(const struct nack *n, uint64_t index, uint64_t now_ns);
/* A key frame begins at this index. */
void nack_add_key_frame(struct nack *n, uint64_t index);

/* When nack_due has something to do; NACK_NEVER: nothing is missing. */
static inline uint64_t nack_next_ns(const struct nack *n)
{
    return n->count ? n->due_ns : NACK_NEVER;
}
/* Writes the sequence numbers to ask for now, in ascending order of index; returns how many. */
size_t nack_due(struct nack *n, uint64_t now_ns, uint16_t sequences[NACK_MISSING_MAX]);

#endif
