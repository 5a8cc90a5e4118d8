/* When a loaded worker lets a batch fill: how long its next turn may begin after the last one.
 *
 * A turn has costs of its own (entering the kernel to receive, sends that carry one packet each).
 * While there is time to spare, a packet is served the moment it comes. The busier the worker, the
 * longer it leaves arrivals to gather, up to a bound: then several frames share a batch, and the audio
 * of several publishers leaves for a subscriber as one send. A worker whose turns take longer than that
 * never waits.
 *
 * An engine without clock: turns in, a time out. Threads: one worker. */
#ifndef RINGCAST_PACE_H
#define RINGCAST_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_WINDOW_NS (10 * 1000000ull) /* load is looked at this often */
#define PACE_LOAD_FROM 500               /* per mille of the time busy: below, nothing waits */
#define PACE_LOAD_FULL 900               /* from here on the whole bound */

struct pace {
    uint64_t bound_ns;
    uint64_t window_began_ns, busy_ns;
    uint32_t load; /* per mille, smoothed */
    uint64_t fill_ns;
};

static inline uint64_t pace_fill(uint32_t load, uint64_t bound_ns)
{
    if (load <= PACE_LOAD_FROM)
        return 0;
    if (load >= PACE_LOAD_FULL)
        return bound_ns;
    return bound_ns * (load - PACE_LOAD_FROM) / (PACE_LOAD_FULL - PACE_LOAD_FROM);
}

/* A turn went from began_ns to ended_ns; did_work: it had something to do. */
static inline void pace_turn(struct pace *pace, uint64_t began_ns, uint64_t ended_ns, bool did_work)
{
    uint64_t elapsed = ended_ns - pace->window_began_ns;
    uint32_t load;

    if (did_work)
        pace->busy_ns += ended_ns - began_ns;
    if (elapsed < PACE_WINDOW_NS)
        return;
    load = pace->busy_ns >= elapsed ? 1000 : (uint32_t)(pace->busy_ns * 1000 / elapsed);
    pace->load = (pace->load * 7 + load) / 8;
    pace->fill_ns = pace_fill(pace->load, pace->bound_ns);
    pace->window_began_ns = ended_ns;
    pace->busy_ns = 0;
}

#endif
