/* Decides how long a busy worker waits before its next turn, so that its batch fills.
 *
 * Every turn costs something, however few packets it has: a system call to receive, and sends that
 * carry only one packet each. While the worker has time to spare, it serves each packet at once.
 * The busier it is, the longer it lets packets gather. Then several frames share a batch, and the
 * audio of several publishers leaves for one subscriber in one send. A worker whose turns already
 * take longer than the wait does not wait at all.
 *
 * Shape:   one struct batch_fill in each worker; the owner sets wait_ns_max, the rest begins as 0.
 * Units:   nanoseconds; load is per mille of the time that the worker was busy.
 * Threads: the worker. It has no clock: the caller says when a turn began and ended.
 * Errors:  none. */
#ifndef RINGCAST_BATCH_FILL_H
#define RINGCAST_BATCH_FILL_H

#include <stdbool.h>
#include <stdint.h>

#define BATCH_FILL_WINDOW_NS (10 * 1000000ull) /* the load is computed once per window */
#define BATCH_FILL_LOAD_FROM 500               /* per mille: at this load or less, no wait */
#define BATCH_FILL_LOAD_FULL 900 /* per mille: at this load or more, the longest wait */

struct batch_fill {
    uint64_t wait_ns_max;
    uint64_t window_began_ns, busy_ns; /* the present window, and how much of it was work */
    uint32_t load;                     /* per mille, smoothed over about eight windows */
    uint64_t wait_ns;                  /* from the beginning of one turn to that of the next */
};

/* The wait for a load: 0 up to LOAD_FROM, then rising evenly to wait_ns_max at LOAD_FULL. */
static inline uint64_t batch_fill_wait(uint32_t load, uint64_t wait_ns_max)
{
    if (load <= BATCH_FILL_LOAD_FROM)
        return 0;
    if (load >= BATCH_FILL_LOAD_FULL)
        return wait_ns_max;
    return wait_ns_max * (load - BATCH_FILL_LOAD_FROM) /
           (BATCH_FILL_LOAD_FULL - BATCH_FILL_LOAD_FROM);
}

/* Counts one turn and, at the end of a window, computes load and wait_ns anew. A turn that found
 * nothing to do (did_work false) counts as idle time. */
static inline void batch_fill_add_turn(struct batch_fill *fill, uint64_t began_ns,
                                       uint64_t ended_ns, bool did_work)
{
    uint64_t elapsed = ended_ns - fill->window_began_ns;
    uint32_t load;

    if (did_work)
        fill->busy_ns += ended_ns - began_ns;
    if (elapsed < BATCH_FILL_WINDOW_NS)
        return;
    load = fill->busy_ns >= elapsed ? 1000 : (uint32_t)(fill->busy_ns * 1000 / elapsed);
    fill->load = (fill->load * 7 + load) / 8;
    fill->wait_ns = batch_fill_wait(fill->load, fill->wait_ns_max);
    fill->window_began_ns = ended_ns;
    fill->busy_ns = 0;
}

#endif
