/* How well a stream arrives, as one number: 10 is perfect, 0 is nothing.
 *
 *   packets that were counted since the last report ─► score_add ─► mean of the last intervals
 *
 * One interval: of the packets that came, the share that arrived or was repaired, to the fourth power,
 * times 10. A repaired packet counts less the more of them there are, and the more often they were
 * asked for. The published score is the mean of the last SCORE_INTERVALS intervals; the newest weighs
 * most. Apps know this scale from mediasoup.
 *
 * Shape:   one struct score for each stream. score_reset makes it.
 * Threads: any, one at a time. Memory: none besides the struct. */
#ifndef RINGCAST_SCORE_H
#define RINGCAST_SCORE_H

#include <stdbool.h>
#include <stdint.h>

#define SCORE_BEST 10
#define SCORE_INTERVALS 24

/* Counted since the stream began; differences are taken modulo 2^32. */
struct score_counts {
    uint32_t packets;  /* that came at the first try */
    uint32_t lost;     /* that did not, repaired or not; may fall when packets come late */
    uint32_t repaired; /* of the lost ones */
    uint32_t repairs;  /* tries to repair one */
};

struct score {
    struct score_counts before;        /* at the end of the last interval */
    uint8_t last[SCORE_INTERVALS / 2]; /* scores of intervals, two in a byte; a ring */
    uint8_t next, count;               /* of the ring */
    uint8_t value;                     /* the published score */
};

/* Forgets the intervals, and takes `value` as the score until the next one. */
void score_reset(struct score *s, uint8_t value);
/* Ends an interval. A stream that has begun anew, so that its packets are fewer than before, begins
 * here anew too. True: the published score has changed. */
bool score_add(struct score *s, const struct score_counts *now);

#endif
