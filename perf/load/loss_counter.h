/* What became of the numbered packets of one stream at one receiver: exact loss, duplication and order,
 * independent of RTP sequence numbers.
 *
 * The sender numbers its packets 0, 1, 2 …; a measurement covers [from, to). The receiver marks each
 * number in a bitmap of the last LOSS_COUNTER_WINDOW ones; what is older can no longer be told from a
 * duplicate and is counted as ancient. Lost is what was sent in [from, to) and never came.
 *
 * Threads: one. Memory: the caller's; zeroed = nothing came, no measurement. */
#ifndef RINGCAST_LOAD_LOSS_COUNTER_H
#define RINGCAST_LOAD_LOSS_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

#define LOSS_COUNTER_WINDOW 2048u

enum arrival { ARRIVED_NEW, ARRIVED_LATE, ARRIVED_DUPLICATE, ARRIVED_ANCIENT };

struct loss_counter {
    bool started;     /* something came */
    bool measuring;   /* [from, to) means something */
    bool from_first;  /* measuring begins with the first packet that comes */
    uint32_t highest; /* number */
    uint32_t from, to;
    uint32_t received;   /* different ones of [from, to) */
    uint32_t duplicates; /* … that came again */
    uint32_t reordered;  /* … that came after a higher one */
    uint32_t ancient;
    uint32_t distance_max; /* how far behind the highest the latest came */
    uint64_t seen[LOSS_COUNTER_WINDOW / 64];
};

/* A packet came. *counts: it belongs to the measurement. */
enum arrival loss_counter_record(struct loss_counter *counter, uint32_t number, bool *counts);

/* The measurement begins with `from`; or, with from_first, with the first number that comes. */
void loss_counter_start(struct loss_counter *counter, uint32_t from, bool from_first);
/* … and ends in front of `to`: nothing from there on was sent yet. */
void loss_counter_stop(struct loss_counter *counter, uint32_t to);
/* … or, for a receiver that leaves before, with the highest number that came. */
void loss_counter_stop_at_highest(struct loss_counter *counter);

uint32_t loss_counter_expected(const struct loss_counter *counter);
uint32_t loss_counter_lost(const struct loss_counter *counter);

#endif
