/* The score of a stream: one interval, and the mean over many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/engines/quality/score.h"

/* The wanted values are computed by hand from the rule in score.h. */
static void one_interval(void **state)
{
    static const struct {
        const char *what;
        struct score_counts counts;
        unsigned score;
    } rows[] = {
        {"all came", {100, 0, 0, 0}, 10},
        {"nothing was to come", {0, 0, 0, 0}, 10},
        {"1 of 100 was lost: 0.99^4 = 0.961", {100, 1, 0, 0}, 10},
        {"2 of 100: 0.922", {100, 2, 0, 0}, 9},
        {"10 of 100: 0.656", {100, 10, 0, 0}, 7},
        {"20 of 80: 0.316", {80, 20, 0, 0}, 3},
        {"as many lost as came", {50, 50, 0, 0}, 0},
        {"more lost than came", {10, 90, 0, 0}, 0},
        {"10 repaired at the first try: 3.17 missed, 0.879", {100, 10, 10, 10}, 9},
        {"10 repaired at the second try: 6.59 missed, 0.761", {100, 10, 10, 20}, 8},
        {"10 repaired with 100 tries: 9.32 missed, 0.676", {100, 10, 10, 100}, 7},
        {"half of 20 repaired: 13.17 missed, 0.569", {100, 20, 10, 10}, 6},
        {"30 repaired, dearer each: 19.5 missed, 0.420", {100, 30, 30, 30}, 4},
        {"20 of the 30 were lost before", {100, 10, 30, 30}, 9},
        {"fewer tries than repaired is as many", {100, 10, 10, 0}, 9},
        {"none lost, packets were sent again for nothing", {100, 0, 0, 50}, 10},
        {"packets came late, so fewer are lost than before", {100, (uint32_t)-5, 0, 0}, 10},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct score s = {0};

        score_reset(&s, 10);
        score_add(&s, &rows[i].counts);
        if (s.value != rows[i].score)
            fail_msg("%s: %u instead of %u", rows[i].what, s.value, rows[i].score);
    }
}

/* Ends an interval of 100 packets of which `lost` were lost. */
static bool add(struct score *s, struct score_counts *counts, uint32_t lost)
{
    counts->packets += 100;
    counts->lost += lost;
    return score_add(s, counts);
}

static void the_newest_interval_weighs_most(void **state)
{
    struct score_counts counts = {0};
    struct score s = {0};

    score_reset(&s, 10);
    assert_false(add(&s, &counts, 0)); /* still 10 */
    assert_true(add(&s, &counts, 100));
    assert_int_equal(s.value, 3); /* (1 × 10 + 2 × 0) / 3 */
    assert_true(add(&s, &counts, 0));
    assert_int_equal(s.value, 7); /* (1 × 10 + 2 × 0 + 3 × 10) / 6 */
    assert_true(add(&s, &counts, 100));
    assert_int_equal(s.value, 4); /* 40 / 10 */
}

/* Only the last 24 count. */
static void old_intervals_are_forgotten(void **state)
{
    struct score_counts counts = {0};
    struct score s = {0};

    score_reset(&s, 10);
    for (int i = 0; i < SCORE_INTERVALS; i++)
        add(&s, &counts, 100);
    assert_int_equal(s.value, 0);
    for (int i = 1; i <= SCORE_INTERVALS; i++) {
        unsigned bad = SCORE_INTERVALS - (unsigned)i, good = 300 - bad * (bad + 1) / 2;

        add(&s, &counts, 0);
        assert_int_equal(s.value, (20 * good + 300) / 600); /* weights 1 to 24 sum up to 300 */
    }
    assert_int_equal(s.value, 10);
    for (int i = 0; i < 1000; i++)
        assert_false(add(&s, &counts, 0));
}

static void a_reset_forgets(void **state)
{
    struct score_counts counts = {0};
    struct score s = {0};

    score_reset(&s, 10);
    for (int i = 0; i < 30; i++)
        add(&s, &counts, 100);
    score_reset(&s, 0);
    assert_int_equal(s.value, 0);
    add(&s, &counts, 0);
    assert_int_equal(s.value, 10); /* it alone counts */
}

/* A publisher that begins anew has a new SSRC, and its packets are counted anew. */
static void a_stream_that_begins_anew(void **state)
{
    struct score_counts counts = {.packets = 5000, .lost = 4000, .repaired = 70, .repairs = 80};
    struct score s = {0};

    score_reset(&s, 10);
    score_add(&s, &counts);
    score_reset(&s, 10);
    counts.packets = 100;
    counts.lost = 10;
    score_add(&s, &counts);
    assert_int_equal(s.value, 7);
}

/* Counters wrap after 2^32 packets. */
static void counters_wrap(void **state)
{
    struct score_counts counts = {.packets = UINT32_MAX - 50, .lost = UINT32_MAX - 4};
    struct score s = {0};

    s.before = counts;
    score_reset(&s, 10);
    counts.packets += 100;
    counts.lost += 10;
    score_add(&s, &counts);
    assert_int_equal(s.value, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_interval),
        cmocka_unit_test(the_newest_interval_weighs_most),
        cmocka_unit_test(old_intervals_are_forgotten),
        cmocka_unit_test(a_reset_forgets),
        cmocka_unit_test(a_stream_that_begins_anew),
        cmocka_unit_test(counters_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
