/* The timer wheel: when timers fire, and what happens when they are set and cancelled meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/engines/wheel.h"

#define MS 1000000ull
#define SECOND (1000 * MS)
#define GRAIN_NS (10 * MS)
#define ROUND_NS (WHEEL_BUCKETS * GRAIN_NS)
#define BEGIN_NS (5000 * SECOND + 3 * MS) /* not at the beginning of a tick */
#define TIMERS 8

struct desk {
    struct wheel wheel;
    struct timer timers[TIMERS];
    uint64_t now_ns;
    unsigned fired[TIMERS];
    uint64_t fired_ns[TIMERS]; /* the last time */
    void (*then)(struct desk *desk, unsigned which);
};

static void desk_open(struct desk *desk)
{
    *desk = (struct desk){.now_ns = BEGIN_NS};
    wheel_init(&desk->wheel, GRAIN_NS, BEGIN_NS);
    for (unsigned i = 0; i < TIMERS; i++)
        desk->timers[i].owner = &desk->timers[i];
}

static void fire(void *context, struct timer *timer)
{
    struct desk *desk = context;
    unsigned which = (unsigned)(timer - desk->timers);

    assert_ptr_equal(timer->owner, timer);
    assert_null(timer->previous); /* it is no longer set */
    assert_true(timer->due_ns <= desk->now_ns);
    desk->fired[which]++;
    desk->fired_ns[which] = desk->now_ns;
    if (desk->then)
        desk->then(desk, which);
}

static void advance_to(struct desk *desk, uint64_t now_ns)
{
    desk->now_ns = now_ns;
    wheel_advance(&desk->wheel, now_ns, fire, desk);
}

/* Advances every millisecond, as a worker does. */
static void walk_to(struct desk *desk, uint64_t end_ns)
{
    for (uint64_t ns = desk->now_ns; ns <= end_ns; ns += MS)
        advance_to(desk, ns);
}

static void set(struct desk *desk, unsigned which, uint64_t due_ns)
{
    timer_set(&desk->wheel, &desk->timers[which], due_ns);
}

static void timer_fires_once_at_its_time(void **state)
{
    static const uint64_t after_ns[] = {
        0,
        1,
        6 * MS, /* up to the end of the present tick */
        7 * MS,
        8 * MS,
        100 * MS,
        SECOND,
        ROUND_NS - GRAIN_NS,
        ROUND_NS,
        ROUND_NS + 1,
        3 * ROUND_NS + 55 * MS,
    };

    for (size_t i = 0; i < sizeof(after_ns) / sizeof(after_ns[0]); i++) {
        uint64_t due_ns = BEGIN_NS + after_ns[i];
        struct desk desk;

        desk_open(&desk);
        set(&desk, 0, due_ns);
        walk_to(&desk, due_ns + ROUND_NS);
        assert_int_equal(desk.fired[0], 1);
        assert_in_range(desk.fired_ns[0], due_ns, due_ns + GRAIN_NS);
    }
}

static void time_in_the_past_fires_with_the_next_tick(void **state)
{
    static const uint64_t past_ns[] = {0, 1, BEGIN_NS - 20 * SECOND, BEGIN_NS - SECOND,
                                       BEGIN_NS - 1};

    for (size_t i = 0; i < sizeof(past_ns) / sizeof(past_ns[0]); i++) {
        struct desk desk;

        desk_open(&desk);
        advance_to(&desk, BEGIN_NS);
        set(&desk, 0, past_ns[i]);
        advance_to(&desk, BEGIN_NS + GRAIN_NS);
        assert_int_equal(desk.fired[0], 1);
    }
}

static void farthest_time_never_fires(void **state)
{
    struct desk desk;

    desk_open(&desk);
    set(&desk, 0, UINT64_MAX);
    for (unsigned i = 1; i <= 10; i++)
        advance_to(&desk, BEGIN_NS + i * ROUND_NS);
    assert_int_equal(desk.fired[0], 0);
    timer_cancel(&desk.timers[0]);
    for (size_t i = 0; i < WHEEL_BUCKETS; i++)
        assert_null(desk.wheel.buckets[i]);
}

static void clock_may_stand_still_jump_or_go_back(void **state)
{
    struct desk desk;

    desk_open(&desk);
    set(&desk, 0, BEGIN_NS + 50 * MS);
    set(&desk, 1, BEGIN_NS + 5 * SECOND);
    set(&desk, 2, BEGIN_NS + 100 * SECOND);
    for (unsigned i = 0; i < 100; i++)
        advance_to(&desk, BEGIN_NS + 20 * MS); /* stands still */
    advance_to(&desk, BEGIN_NS - 10 * SECOND);
    advance_to(&desk, 0);
    assert_int_equal(desk.fired[0] + desk.fired[1] + desk.fired[2], 0);

    advance_to(&desk, BEGIN_NS + 60 * SECOND); /* six rounds at once */
    assert_int_equal(desk.fired[0], 1);
    assert_int_equal(desk.fired[1], 1);
    assert_int_equal(desk.fired[2], 0);

    advance_to(&desk, BEGIN_NS + 30 * SECOND);
    walk_to(&desk, BEGIN_NS + 101 * SECOND);
    assert_int_equal(desk.fired[0], 1);
    assert_int_equal(desk.fired[1], 1);
    assert_int_equal(desk.fired[2], 1);
    assert_in_range(desk.fired_ns[2], BEGIN_NS + 100 * SECOND, BEGIN_NS + 100 * SECOND + GRAIN_NS);
}

/* Each number of ticks that one call may pass over, around one round of the wheel. */
static void jump_of_any_length_fires_all(void **state)
{
    static const uint64_t ticks[] = {
        1,
        2,
        WHEEL_BUCKETS - 1,
        WHEEL_BUCKETS,
        WHEEL_BUCKETS + 1,
        WHEEL_BUCKETS + 2,
        2 * WHEEL_BUCKETS,
        2 * WHEEL_BUCKETS + 1,
    };

    for (size_t i = 0; i < sizeof(ticks) / sizeof(ticks[0]); i++) {
        uint64_t last_ns = BEGIN_NS + ticks[i] * GRAIN_NS;
        struct desk desk;

        desk_open(&desk);
        set(&desk, 0, BEGIN_NS);
        set(&desk, 1, BEGIN_NS + ticks[i] * GRAIN_NS / 2);
        set(&desk, 2, last_ns - GRAIN_NS);
        set(&desk, 3, last_ns + 1);
        advance_to(&desk, last_ns);
        assert_int_equal(desk.fired[0], 1);
        assert_int_equal(desk.fired[1], 1);
        assert_int_equal(desk.fired[2], 1);
        assert_int_equal(desk.fired[3], 0);
        advance_to(&desk, last_ns + GRAIN_NS);
        assert_int_equal(desk.fired[3], 1);
    }
}

static void timer_can_be_moved_and_cancelled(void **state)
{
    struct desk desk;

    desk_open(&desk);
    timer_cancel(&desk.timers[0]); /* never set */
    for (unsigned i = 0; i < 5; i++)
        set(&desk, i, BEGIN_NS + 100 * MS); /* one bucket */
    set(&desk, 0, BEGIN_NS + 300 * MS);     /* the end of the list moves away */
    set(&desk, 4, BEGIN_NS + 20 * MS);      /* the head too, to an earlier time */
    timer_cancel(&desk.timers[2]);          /* from the middle */
    timer_cancel(&desk.timers[2]);
    set(&desk, 1, BEGIN_NS + 100 * MS); /* to the time that it has already */

    walk_to(&desk, BEGIN_NS + 40 * MS);
    assert_int_equal(desk.fired[4], 1);
    walk_to(&desk, BEGIN_NS + 200 * MS);
    assert_int_equal(desk.fired[1], 1);
    assert_int_equal(desk.fired[3], 1);
    assert_int_equal(desk.fired[0], 0);
    walk_to(&desk, BEGIN_NS + 2 * ROUND_NS);
    assert_int_equal(desk.fired[0], 1);
    assert_int_equal(desk.fired[2], 0);
    assert_int_equal(desk.fired[4], 1);
}

static void set_again_later(struct desk *desk, unsigned which)
{
    set(desk, which, desk->now_ns + 100 * MS);
}

static void set_again_at_once(struct desk *desk, unsigned which)
{
    set(desk, which, desk->now_ns);
}

static void timer_may_set_itself_again(void **state)
{
    struct desk desk;

    desk_open(&desk);
    desk.then = set_again_later;
    set(&desk, 0, BEGIN_NS + 100 * MS);
    walk_to(&desk, BEGIN_NS + SECOND + 100 * MS);
    assert_in_range(desk.fired[0], 9, 11); /* every 100 to 110 ms */

    desk_open(&desk);
    desk.then = set_again_at_once;
    set(&desk, 0, BEGIN_NS);
    advance_to(&desk, BEGIN_NS + GRAIN_NS);
    assert_int_equal(desk.fired[0], 1); /* once per tick: the call ends */
    advance_to(&desk, BEGIN_NS + 2 * GRAIN_NS);
    assert_int_equal(desk.fired[0], 2);
    advance_to(&desk, BEGIN_NS + 100 * ROUND_NS);
    assert_in_range(desk.fired[0], 3, 4); /* one round, however far the jump */
}

static void cancel_the_others(struct desk *desk, unsigned which)
{
    for (unsigned i = 0; i < TIMERS; i++)
        if (i != which)
            timer_cancel(&desk->timers[i]);
}

static void timer_may_cancel_others_that_are_due(void **state)
{
    struct desk desk;
    unsigned fired = 0;

    desk_open(&desk);
    desk.then = cancel_the_others;
    for (unsigned i = 0; i < TIMERS; i++)
        set(&desk, i,
            BEGIN_NS + (i < 4 ? 0 : 20 * MS)); /* in the same bucket, and in a later one */
    advance_to(&desk, BEGIN_NS + SECOND);
    for (unsigned i = 0; i < TIMERS; i++)
        fired += desk.fired[i];
    assert_int_equal(fired, 1);
}

static void move_the_next(struct desk *desk, unsigned which)
{
    if (which % 2 == 0)
        set(desk, which + 1, desk->now_ns + SECOND);
    else
        set(desk, which - 1, desk->now_ns + SECOND);
}

static void timer_may_move_others_that_are_due(void **state)
{
    struct desk desk;

    desk_open(&desk);
    desk.then = move_the_next;
    for (unsigned i = 0; i < TIMERS; i++)
        set(&desk, i, BEGIN_NS);
    advance_to(&desk, BEGIN_NS + 20 * MS);
    for (unsigned i = 0; i < TIMERS; i += 2)
        assert_int_equal(desk.fired[i] + desk.fired[i + 1], 1); /* one moved the other away */
    desk.then = NULL;
    advance_to(&desk, BEGIN_NS + 2 * SECOND);
    for (unsigned i = 0; i < TIMERS; i++)
        assert_int_equal(desk.fired[i], 1);
}

struct crowd {
    uint64_t now_ns;
    unsigned fired;
};

static void crowd_fire(void *context, struct timer *timer)
{
    struct crowd *crowd = context;

    assert_in_range(crowd->now_ns, timer->due_ns, timer->due_ns + GRAIN_NS + 7 * MS);
    crowd->fired++;
}

static void many_timers_fire_each_at_its_time(void **state)
{
    enum { COUNT = 5000 };
    static struct timer timers[COUNT];
    struct crowd crowd = {.now_ns = BEGIN_NS};
    struct wheel wheel;
    uint32_t random = 7;

    wheel_init(&wheel, GRAIN_NS, BEGIN_NS);
    for (unsigned i = 0; i < COUNT; i++) {
        random = random * 1664525 + 1013904223;
        timer_set(&wheel, &timers[i], BEGIN_NS + random * 8ull); /* up to 34 s ahead */
    }
    for (unsigned i = 0; i < COUNT; i += 5)
        timer_cancel(&timers[i]);
    for (; crowd.now_ns < BEGIN_NS + 35 * SECOND; crowd.now_ns += 7 * MS)
        wheel_advance(&wheel, crowd.now_ns, crowd_fire, &crowd);
    assert_int_equal(crowd.fired, COUNT - COUNT / 5);
    for (size_t i = 0; i < WHEEL_BUCKETS; i++)
        assert_null(wheel.buckets[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_fires_once_at_its_time),
        cmocka_unit_test(time_in_the_past_fires_with_the_next_tick),
        cmocka_unit_test(farthest_time_never_fires),
        cmocka_unit_test(clock_may_stand_still_jump_or_go_back),
        cmocka_unit_test(jump_of_any_length_fires_all),
        cmocka_unit_test(timer_can_be_moved_and_cancelled),
        cmocka_unit_test(timer_may_set_itself_again),
        cmocka_unit_test(timer_may_cancel_others_that_are_due),
        cmocka_unit_test(timer_may_move_others_that_are_due),
        cmocka_unit_test(many_timers_fire_each_at_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
