/* What the tests of persistence share: one loop, and the last answer. */
#ifndef RINGCAST_TEST_PERSISTENCE_FIXTURE_H
#define RINGCAST_TEST_PERSISTENCE_FIXTURE_H

#include "people.h"

static uv_loop_t test_loop;
static unsigned answers;
static enum persistence_result last_result;
static struct user_row last_user;
static struct meeting_row last_meeting;

static inline void on_done(void *context, enum persistence_result result)
{
    answers++;
    last_result = result;
}

static inline void on_user(void *context, enum persistence_result result,
                           const struct user_row *user)
{
    on_done(context, result);
    assert_int_equal(user != NULL, result == PERSISTED);
    if (user)
        last_user = *user;
}

static inline void on_meeting(void *context, enum persistence_result result,
                              const struct meeting_row *meeting)
{
    on_done(context, result);
    assert_int_equal(meeting != NULL, result == PERSISTED);
    if (meeting)
        last_meeting = *meeting;
}

static inline enum persistence_result answer_wait(void)
{
    LOOP_UNTIL(&test_loop, answers >= 1);
    answers = 0;
    return last_result;
}

static inline int setup(void **state)
{
    answers = 0;
    return folder_make(state) || uv_loop_init(&test_loop);
}

static inline int teardown(void **state)
{
    /* After a failure handles may be open: do not wait for them for ever. */
    for (unsigned i = 0; i < 1000 && uv_run(&test_loop, UV_RUN_NOWAIT); i++)
        usleep(1000);
    return uv_loop_close(&test_loop) || folder_remove(state);
}

/* The longest time between two ticks of a timer: how long the loop was blocked. */
static uv_timer_t ticker;
static uint64_t ticked_ns, longest_gap_ns;
static bool ticker_is_closed;

static inline void tick(uv_timer_t *timer)
{
    uint64_t now_ns = clock_monotonic_ns();

    if (ticked_ns && now_ns - ticked_ns > longest_gap_ns)
        longest_gap_ns = now_ns - ticked_ns;
    ticked_ns = now_ns;
}

static inline void ticker_start(void)
{
    ticked_ns = longest_gap_ns = 0;
    uv_timer_init(&test_loop, &ticker);
    uv_timer_start(&ticker, tick, 5, 5);
}

static inline void ticker_closed(uv_handle_t *handle)
{
    ticker_is_closed = true;
}

/* The loop was never blocked. */
static inline void ticker_stop_and_check(void)
{
    ticker_is_closed = false;
    uv_close((uv_handle_t *)&ticker, ticker_closed);
    LOOP_UNTIL(&test_loop, ticker_is_closed);
    assert_in_range(longest_gap_ns / NS_PER_MS, 0, 300 * patience());
}

#endif
