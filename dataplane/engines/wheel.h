/* Timer wheel of one worker: thousands of timers; setting, moving and cancelling one takes the same
 * short time however many there are.
 *
 * Shape:   a ring of buckets, one for each of the next WHEEL_BUCKETS grains of time, and in each a
 *          list of timers. A timer is part of the object that it serves; `owner` points to that
 *          object.
 * Units:   nanoseconds of a clock that the caller reads. A timer fires at most one grain after its
 *          time if the wheel advances often enough, and never before its time.
 * Threads: one worker.
 * Memory:  none besides the struct. An object cancels its timer before it goes away.
 * Errors:  none. A timer with a time in the past fires within the next grain. A time beyond the last
 *          bucket is fine: the wheel puts such a timer back until its time has come. */
#ifndef RINGCAST_WHEEL_H
#define RINGCAST_WHEEL_H

#include <stddef.h>
#include <stdint.h>

#define WHEEL_BUCKETS 1024
#define WHEEL_COARSE_NS 10000000ull /* a grain for timers that may be late */
#define WHEEL_FINE_NS 1000000ull    /* a grain for those that may not */

/* Tells the worker what kind of object a timer serves. The wheel does not look at it. */
enum timer_kind { TIMER_TRANSPORT, TIMER_PRODUCER, TIMER_FEEDBACK, TIMER_REPAIR, TIMER_REPLAY };

struct timer {
    struct timer *next, **previous; /* previous is NULL while the timer is not set */
    uint64_t due_ns;
    void *owner;
    enum timer_kind kind;
};

struct wheel {
    struct timer *buckets[WHEEL_BUCKETS];
    uint64_t grain_ns;
    uint64_t tick; /* the next one to serve; time in units of grain_ns */
};

static inline void wheel_init(struct wheel *wheel, uint64_t grain_ns, uint64_t now_ns)
{
    *wheel = (struct wheel){.grain_ns = grain_ns, .tick = now_ns / grain_ns};
}

/* Does nothing when the timer is not set. A zeroed timer is not set. */
static inline void timer_cancel(struct timer *timer)
{
    if (!timer->previous)
        return;
    *timer->previous = timer->next;
    if (timer->next)
        timer->next->previous = timer->previous;
    timer->next = NULL;
    timer->previous = NULL;
}

static inline void wheel_link(struct wheel *wheel, struct timer *timer, uint64_t tick)
{
    struct timer **bucket = &wheel->buckets[tick % WHEEL_BUCKETS];

    timer->next = *bucket;
    timer->previous = bucket;
    if (*bucket)
        (*bucket)->previous = &timer->next;
    *bucket = timer;
}

/* Sets a timer, or moves one that is already set. */
static inline void timer_set(struct wheel *wheel, struct timer *timer, uint64_t due_ns)
{
    uint64_t tick = due_ns / wheel->grain_ns + 1; /* rounded up, so that it is never early */

    timer_cancel(timer);
    timer->due_ns = due_ns;
    if (tick < wheel->tick)
        tick = wheel->tick;
    if (tick >= wheel->tick + WHEEL_BUCKETS)
        tick = wheel->tick + WHEEL_BUCKETS - 1;
    wheel_link(wheel, timer, tick);
}

/* When the wheel must advance next, at most `limit_ns`, which is less than WHEEL_BUCKETS grains ahead.
 */
static inline uint64_t wheel_next_ns(const struct wheel *wheel, uint64_t limit_ns)
{
    for (uint64_t tick = wheel->tick; tick * wheel->grain_ns < limit_ns; tick++)
        if (wheel->buckets[tick % WHEEL_BUCKETS])
            return tick * wheel->grain_ns;
    return limit_ns;
}

/* Calls fire for every timer whose time has come. A timer that fires is no longer set; fire may set
 * or cancel it and any other timer. However far the clock has jumped, one call goes round the wheel
 * only once. A clock that stands still or goes back fires nothing. */
static inline void wheel_advance(struct wheel *wheel, uint64_t now_ns,
                                 void (*fire)(void *context, struct timer *timer), void *context)
{
    uint64_t last = now_ns / wheel->grain_ns;

    if (last > wheel->tick + WHEEL_BUCKETS)
        wheel->tick = last - WHEEL_BUCKETS;
    while (wheel->tick <= last) {
        struct timer *due = wheel->buckets[wheel->tick % WHEEL_BUCKETS];

        wheel->buckets[wheel->tick % WHEEL_BUCKETS] = NULL;
        wheel->tick++;
        if (due)
            due->previous = &due;
        while (due) {
            struct timer *timer = due;

            timer_cancel(timer); /* takes it off the local list, so `due` is now the next one */
            if (timer->due_ns > now_ns)
                timer_set(wheel, timer, timer->due_ns);
            else
                fire(context, timer);
        }
    }
}

#endif
