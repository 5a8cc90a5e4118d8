/* Timer wheel of a worker: thousands of timers of 10 ms grain, O(1) to set, move and cancel.
 *
 * A timer lies inside the object it serves (container_of by `owner`). Late timers fire in the next
 * wheel_advance; nothing fires early. Threads: one worker. Memory: none of its own but the slots. */
#ifndef RINGCAST_WHEEL_H
#define RINGCAST_WHEEL_H

#include <stddef.h>
#include <stdint.h>

#define WHEEL_SLOTS 1024
#define WHEEL_GRAIN_NS 10000000ull /* farthest due time: 10.24 s, later ones go round again */

enum timer_kind { TIMER_TRANSPORT, TIMER_PRODUCER, TIMER_FEEDBACK };

struct timer {
    struct timer *next, **previous; /* previous NULL: not armed */
    uint64_t due_ns;
    void *owner;
    enum timer_kind kind;
};

struct wheel {
    struct timer *slots[WHEEL_SLOTS];
    uint64_t tick; /* the next one to serve */
};

static inline void wheel_init(struct wheel *wheel, uint64_t now_ns)
{
    *wheel = (struct wheel){.tick = now_ns / WHEEL_GRAIN_NS};
}

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
    struct timer **slot = &wheel->slots[tick % WHEEL_SLOTS];

    timer->next = *slot;
    timer->previous = slot;
    if (*slot)
        (*slot)->previous = &timer->next;
    *slot = timer;
}

static inline void timer_set(struct wheel *wheel, struct timer *timer, uint64_t due_ns)
{
    uint64_t tick = due_ns / WHEEL_GRAIN_NS + 1; /* rounded up: never early */

    timer_cancel(timer);
    timer->due_ns = due_ns;
    if (tick < wheel->tick)
        tick = wheel->tick;
    if (tick >= wheel->tick + WHEEL_SLOTS)
        tick = wheel->tick + WHEEL_SLOTS - 1;
    wheel_link(wheel, timer, tick);
}

/* Calls fire for every timer that is due; a timer is no longer armed when it fires and may be set
 * again from there. At most one round of the wheel a call. */
static inline void wheel_advance(struct wheel *wheel, uint64_t now_ns,
                                 void (*fire)(void *context, struct timer *timer), void *context)
{
    uint64_t last = now_ns / WHEEL_GRAIN_NS;

    if (last > wheel->tick + WHEEL_SLOTS)
        wheel->tick = last - WHEEL_SLOTS;
    while (wheel->tick <= last) {
        struct timer *due = wheel->slots[wheel->tick % WHEEL_SLOTS];

        wheel->slots[wheel->tick % WHEEL_SLOTS] = NULL;
        wheel->tick++;
        if (due)
            due->previous = &due;
        while (due) {
            struct timer *timer = due;

            timer_cancel(timer); /* unlinks from the local list: `due` moves on */
            if (timer->due_ns > now_ns)
                timer_set(wheel, timer, timer->due_ns);
            else
                fire(context, timer);
        }
    }
}

#endif
