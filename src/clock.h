/* Two clocks: the monotonic clock for all timers and ages, the wall clock for people and for NTP.
 *
 * Units: nanoseconds, 64 bit. Threads: any. Errors: none; Linux always has both clocks. */
#ifndef RINGCAST_CLOCK_H
#define RINGCAST_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

static inline uint64_t clock_read_ns(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Never jumps, and all processes of the machine read the same value. */
static inline uint64_t clock_monotonic_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

/* Nanoseconds since 1970. It jumps when someone sets the clock. */
static inline uint64_t clock_wall_ns(void)
{
    return clock_read_ns(CLOCK_REALTIME);
}

#endif
