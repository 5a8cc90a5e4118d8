/* A sample of the tables at one moment. top.c takes it; top_print.c shows two of them as rates. */
#ifndef RINGCAST_CTL_TOP_H
#define RINGCAST_CTL_TOP_H

#include "ctl.h"

struct transport_sample {
    uint32_t index;
    struct transport_state_row row;
    uint64_t previous_received, previous_sent; /* bytes in the sample before */
    uint64_t previous_packets;                 /* of both directions, in the sample before */
    uint8_t id[16];
    uint8_t direction;
};

#define TOP_LAYERS 4 /* spatial layers that are counted apart; the last one with all above it */
#define SCORE_GOOD 7 /* of a stream that people find good; below it the loss is felt */

/* Consumers of video. */
struct video_sample {
    uint32_t layers[TOP_LAYERS]; /* that get this spatial layer */
    uint32_t without;            /* that get nothing */
    uint32_t switching;          /* whose layers are about to change */
    uint32_t poor;               /* whose score is below SCORE_GOOD */
};

struct top_sample {
    uint64_t now_ns;
    uint64_t heartbeat_ns; /* of the forwarder */
    bool worker_there[WORKERS_MAX];
    struct worker_state_row workers[WORKERS_MAX];
    struct worker_counters_row counters[WORKERS_MAX];
    struct video_sample video;
    uint32_t transport_count;
    struct transport_sample transports[TRANSPORTS_MAX];
};

/* Prints `now` with rates since `before`, in at most `lines` lines; 0: no limit. Sorts the
 * transports of `now`. */
void top_print(FILE *to, const struct top_sample *before, struct top_sample *now, unsigned lines);

#endif
