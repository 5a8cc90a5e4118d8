/* Hung or starved: the truth table of health.c. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "dataplane/supervisor/health.h"

#define MS(count) ((uint64_t)(count)*NS_PER_MS * SANITIZER_PATIENCE)

static struct process_sample sample_of(uint64_t taken_ns, char state, uint64_t ran_ms,
                                       uint64_t waited_ms)
{
    return (struct process_sample){
        .taken_ns = taken_ns,
        .count = 2,
        .threads = {{.id = 1, .state = 'S', .ran_ns = 5, .waited_ns = 5},
                    {.id = 2, .state = state, .ran_ns = MS(ran_ms), .waited_ns = MS(waited_ms)}}};
}

/* A process of a sleeping thread and the thread of the row. It is sampled when it becomes suspect,
 * and a window later. */
static void test_verdict_by_what_the_thread_did(void **state)
{
    static const struct {
        const char *what;
        char before, after;
        unsigned window_ms, ran_ms, waited_ms;
        enum health_verdict wanted;
    } rows[] = {
        {"asleep, and nothing kept it from running", 'S', 'S', 60, 0, 0, HEALTH_HUNG},
        {"spins on a processor of its own", 'R', 'R', 60, 60, 0, HEALTH_HUNG},
        {"spins on half a processor", 'R', 'R', 100, 50, 45, HEALTH_HUNG},
        {"the window is too short", 'S', 'S', 59, 0, 0, HEALTH_SUSPECT},
        {"runnable, but never ran", 'R', 'R', 60, 0, 0, HEALTH_SUSPECT},
        {"runnable, but hardly ran", 'R', 'R', 100, 24, 0, HEALTH_SUSPECT},
        {"runnable, and ran for a quarter of the time", 'R', 'R', 100, 25, 70, HEALTH_HUNG},
        {"waited, and sleeps now", 'R', 'S', 100, 5, 80, HEALTH_SUSPECT},
        {"sleeps in the kernel", 'D', 'D', 60, 0, 0, HEALTH_HUNG},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t beat_ns = MS(1000), now_ns = beat_ns + MS(101);
        struct process_sample sample = sample_of(now_ns, rows[i].before, 7, 7);
        struct health health = {0};
        const char *why = NULL;
        enum health_verdict verdict;

        assert_int_equal(health_step(&health, now_ns, beat_ns, &sample, &why), HEALTH_SUSPECT);
        now_ns += MS(rows[i].window_ms);
        sample = sample_of(now_ns, rows[i].after, 7 + rows[i].ran_ms, 7 + rows[i].waited_ms);
        verdict = health_step(&health, now_ns, beat_ns, &sample, &why);
        if (verdict != rows[i].wanted)
            fail_msg("%s: %d, not %d", rows[i].what, verdict, rows[i].wanted);
        if (verdict == HEALTH_HUNG)
            assert_non_null(why);
    }
}

static void test_stops_recovery_and_limits(void **state)
{
    struct health health = {0};
    struct process_sample stopped = sample_of(MS(200), 'T', 0, 0), none = {.taken_ns = MS(200)};
    const char *why = NULL;

    assert_int_equal(health_step(&health, MS(200), MS(100), NULL, &why), HEALTH_WELL);
    /* stopped: only when all threads are, and then at once */
    assert_int_equal(health_step(&health, MS(201), MS(100), &stopped, &why), HEALTH_SUSPECT);
    stopped.threads[0].state = 'T';
    assert_int_equal(health_step(&health, MS(201), MS(100), &stopped, &why), HEALTH_HUNG);
    /* a heartbeat ends the suspicion */
    assert_int_equal(health_step(&health, MS(202), MS(202), NULL, &why), HEALTH_WELL);
    assert_int_equal(health.suspect_ns, 0);
    /* /proc cannot be read: hung only after the limit, and after enough samples */
    for (unsigned n = 0; n < HEALTH_SAMPLES_MIN; n++)
        assert_int_equal(health_step(&health, MS(5000) + n, MS(202), &none, &why), HEALTH_SUSPECT);
    assert_int_equal(health_step(&health, MS(5000) + HEALTH_LIMIT_NS, MS(202), &none, &why),
                     HEALTH_SUSPECT);
    assert_int_equal(health_step(&health, MS(5001) + HEALTH_LIMIT_NS, MS(202), &none, &why),
                     HEALTH_HUNG);
    /* the supervisor itself slept for long: one sample proves nothing */
    health = (struct health){0};
    health_step(&health, MS(5000), MS(202), &none, &why);
    assert_int_equal(health_step(&health, MS(60000), MS(202), &none, &why), HEALTH_SUSPECT);
}

static void test_sample_of_this_process(void **state)
{
    struct process_sample sample;

    process_sample_read(&sample, getpid(), 77);
    assert_int_equal(sample.taken_ns, 77);
    assert_true(sample.count >= 1);
    assert_int_equal(sample.threads[0].id, getpid());
    assert_int_equal(sample.threads[0].state, 'R');
    process_sample_read(&sample, 0x3fffffff, 78); /* there is no such process */
    assert_int_equal(sample.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdict_by_what_the_thread_did),
        cmocka_unit_test(test_stops_recovery_and_limits),
        cmocka_unit_test(test_sample_of_this_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
