/* What every file of a worker's turn needs: the time of this turn, and the worker's counters.
 *
 * Units:   nanoseconds. The clock is read once, at the beginning of a turn. wall_ns is the wall clock
 *          as it was when the forwarder started, plus the time since: receivers compare NTP times and
 *          abs-send-time with earlier ones, so they must not jump when somebody sets the wall clock.
 * Threads: the worker's. */
#ifndef RINGCAST_TURN_H
#define RINGCAST_TURN_H

#include <stdint.h>

#include "src/verdicts.h"

struct turn {
    uint64_t number; /* turns finished so far */
    uint64_t now_ns, wall_ns;
    uint32_t abs_send_time;  /* wall_ns in the format of the header extension abs-send-time */
    uint32_t audio_interval; /* now_ns in units of AUDIO_INTERVAL_NS */
    uint64_t verdicts[VERDICT_COUNT];
    uint64_t counters[COUNTER_COUNT];
};

/* The verdict of a datagram whose packet is still in use: it is counted when the packet leaves the
 * pool. */
#define VERDICT_PENDING VERDICT_COUNT

#endif
