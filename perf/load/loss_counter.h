/* Counts loss, duplicates and wrong order of one stream at one receiver, exactly and independently
 * of RTP sequence numbers.
 *
 * The sender numbers its packets 0, 1, 2 …; a measurement covers the numbers [from, to). A bitmap
 * holds which of the last LOSS_COUNTER_WINDOW numbers have arrived. An older packet could be a
 * duplicate or late: it counts as ancient. A packet of [from, to) that never arrived is lost.
 *
 * Threads: one. Memory: the caller owns it; zeroed means: no packet has arrived, no measurement. */
#ifndef RINGCAST_LOAD_LOSS_COUNTER_H
#define RINGCAST_LOAD_LOSS_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

#define LOSS_COUNTER_WINDOW 2048u

enum arrival { ARRIVED_NEW, ARRIVED_LATE, ARRIVED_DUPLICATE, ARRIVED_ANCIENT };

struct loss_counter {
    bool started;     /* a packet has arrived */
    bool measuring;   /* [from, to) is valid */
    bool from_first;  /* the measurement begins with the next packet that arrives */
    uint32_t highest; /* the highest number that has arrived */
    uint32_t from, to;
    /* packets of [from, to) */
    uint32_t received;   /* each number counts once */
    uint32_t duplicates; /* arrived again */
    uint32_t reordered;  /* arrived after a higher number */
    uint32_t ancient;    /* arrived after a number that is higher by LOSS_COUNTER_WINDOW or more */
    uint32_t distance_max; /* reordered packets: the largest difference to the highest number */
    uint64_t seen[LOSS_COUNTER_WINDOW / 64];
};

/* A packet arrived. *counts: it belongs to the measurement. */
enum arrival loss_counter_record(struct loss_counter *counter, uint32_t number, bool *counts);

/* The measurement begins with number `from` or, if from_first, with the next number that
 * arrives. */
void loss_counter_start(struct loss_counter *counter, uint32_t from, bool from_first);
/* It ends before number `to`, which the sender has not sent yet. */
void loss_counter_stop(struct loss_counter *counter, uint32_t to);
/* It ends with the highest number that has arrived: for streams that end early. */
void loss_counter_stop_at_highest(struct loss_counter *counter);

uint32_t loss_counter_expected(const struct loss_counter *counter);
uint32_t loss_counter_lost(const struct loss_counter *counter);

#endif
