/* What `top` takes down in one look at the tables; top.c takes it, top_print.c shows two of them. */
#ifndef RINGCAST_CTL_TOP_H
#define RINGCAST_CTL_TOP_H

#include "ctl.h"

struct transport_sample {
    uint32_t index;
    struct transport_state_row row;
    uint64_t previous_received, previous_sent; /* bytes, as of the look before */
    uint64_t previous_packets;                 /* both directions */
    uint8_t id[16];
    uint8_t direction;
};

struct top_sample {
    uint64_t now_ns;
    uint64_t heartbeat_ns; /* forwarder's */
    bool worker_there[WORKERS_MAX];
    struct worker_state_row workers[WORKERS_MAX];
    struct worker_counters_row counters[WORKERS_MAX];
    uint32_t transport_count;
    struct transport_sample transports[TRANSPORTS_MAX];
};

/* Shows `now`, with rates since `before`, in at most `lines` lines (0: as many as it takes). */
void top_print(FILE *to, const struct top_sample *before, struct top_sample *now, unsigned lines);

#endif
