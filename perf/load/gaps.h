/* The missing packets of one received stream: which ones to ask for, when, and what became of each
 * (RFC 4585 6.2.1, generic NACK). It behaves like a browser: a packet is asked for at the next tick
 * of its transport, then once per round trip, GAP_TRIES_MAX times.
 *
 *   lost ─┬─► late       it arrived by itself, before anyone had asked for it
 *         ├─► repaired   it arrived after it had been asked for
 *         ├─► superseded a key frame came, so nobody needs it any more
 *         └─► never      all tries were in vain, or too many were missing
 *
 * Shape:   one struct gaps for each receiver; zeroed, it has seen nothing. No I/O.
 * Units:   indexes are roll-over counter and sequence number; ns of a clock that the caller reads.
 * Threads: one.
 * Memory:  the list is allocated at the first gap; gaps_free frees it.
 * Limits:  GAPS_MAX open gaps. When there are more, all are given up. */
#ifndef RINGCAST_LOAD_GAPS_H
#define RINGCAST_LOAD_GAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GAPS_MAX 256
#define GAP_TRIES_MAX 10
#define GAP_ROUND_TRIP_NS 100000000ull /* until the first repair has shown the real one */
#define GAP_TICK_NS 20000000ull        /* between two NACKs of a transport, as in libwebrtc */

struct gap {
    uint64_t index, noticed_ns, asked_ns;
    unsigned tries;
};

struct gap_counts {
    uint64_t lost, late, repaired, superseded, never;
};

struct gaps {
    bool started;
    uint64_t highest; /* index that arrived */
    unsigned count;   /* of open gaps */
    struct gap *list; /* the oldest first; NULL: there was no gap yet */
    uint64_t round_trip_ns;
    struct gap_counts counts;
    bool gave_up; /* a gap was not repaired: only a key frame helps. The caller clears it */
};

/* A packet arrived for the first time. Returns how long it was missing; 0: it was not missing. */
uint64_t gaps_add(struct gaps *gaps, uint64_t index, uint64_t now_ns);
/* The same for a packet that arrived as RTX, which has only the 16 bits. */
uint64_t gaps_add_rtx(struct gaps *gaps, uint16_t sequence, uint64_t now_ns);
/* A key frame begins at this index: nobody needs what was lost before. */
void gaps_add_key_frame(struct gaps *gaps, uint64_t index);
/* Writes the sequence numbers to ask for now; returns how many. */
size_t gaps_due(struct gaps *gaps, uint64_t now_ns, uint16_t sequences[GAPS_MAX]);
void gaps_free(struct gaps *gaps);

#endif
