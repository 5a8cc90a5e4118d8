/* What the tests of persistence share: one loop, and what was answered last. */
#ifndef RINGCAST_TEST_PERSISTENCE_STEPS_H
#define RINGCAST_TEST_PERSISTENCE_STEPS_H

#include "people.h"

static uv_loop_t test_loop;
static unsigned answers;
static enum persistence_result last;
static struct user_row user_seen;
static struct meeting_row meeting_seen;

static inline void on_done(void *context, enum persistence_result result)
{
    answers++;
    last = result;
}

static inline void on_user(void *context, enum persistence_result result,
                           const struct user_row *user)
{
    on_done(context, result);
    assert_int_equal(user != NULL, result == PERSISTED);
    if (user)
        user_seen = *user;
}

static inline void on_meeting(void *context, enum persistence_result result,
                              const struct meeting_row *meeting)
{
    on_done(context, result);
    assert_int_equal(meeting != NULL, result == PERSISTED);
    if (meeting)
        meeting_seen = *meeting;
}

static inline enum persistence_result answer_of_last(void)
{
    loop_until(&test_loop, &answers, 1, 3);
    answers = 0;
    return last;
}

static inline int setup(void **state)
{
    answers = 0;
    return folder_make(state) || uv_loop_init(&test_loop);
}

static inline int teardown(void **state)
{
    for (unsigned i = 0; i < 1000 && uv_run(&test_loop, UV_RUN_NOWAIT); i++)
        usleep(1000); /* bounded: after a failure handles are left */
    return uv_loop_close(&test_loop) || folder_remove(state);
}

#endif
