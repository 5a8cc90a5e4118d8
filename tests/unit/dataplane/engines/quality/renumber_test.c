/* Numbers that stay continuous although some are dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/engines/quality/renumber.h"

static void dropped_numbers_leave_no_gap(void **state)
{
    struct renumber r;
    uint64_t out;

    renumber_start(&r, 7, 3);
    for (uint64_t in = 7; in < 10; in++) {
        assert_true(renumber_take(&r, in, &out));
        assert_int_equal(out, in - 4);
    }
    assert_true(renumber_drop(&r, 10, &out));
    assert_true(renumber_take(&r, 11, &out));
    assert_int_equal(out, 6);
    assert_false(renumber_take(&r, 10, &out)); /* it has no place */
    assert_false(renumber_take(&r, 6, &out));  /* from before */
}

static void a_missing_number_keeps_its_place(void **state)
{
    struct renumber r;
    uint64_t out;

    renumber_start(&r, 0, 100);
    assert_true(renumber_take(&r, 0, &out));
    assert_true(renumber_drop(&r, 3, &out)); /* 1 and 2 are missing */
    assert_true(renumber_take(&r, 4, &out));
    assert_int_equal(out, 103);
    assert_true(renumber_take(&r, 2, &out));
    assert_int_equal(out, 102);
    assert_false(renumber_drop(&r, 1, &out)); /* too late to close the gap */
    assert_int_equal(out, 101);
}

/* Against a plain list: each number is forwarded, dropped or lost; some come late. */
static void random_orders_agree_with_a_list(void **state)
{
    enum { COUNT = 4000, LATE = 40 };
    static uint64_t place[COUNT];
    static uint8_t fate[COUNT];

    for (unsigned seed = 1; seed <= 20; seed++) {
        struct renumber r;
        uint64_t out, in, next = 1000;
        uint64_t lost[LATE];
        unsigned lost_count = 0;

        srand(seed);
        renumber_start(&r, 0, next);
        for (uint64_t i = 0; i < COUNT; i++) {
            fate[i] = (uint8_t)(rand() % 4); /* 0: dropped, 1: it comes late, else forwarded */
            if (i == 0)
                fate[i] = 2;
            place[i] = fate[i] ? next++ : UINT64_MAX;
            if (fate[i] == 0) {
                assert_true(renumber_drop(&r, i, &out));
            } else if (fate[i] == 1 && lost_count < LATE) {
                lost[lost_count++] = i;
            } else {
                assert_true(renumber_take(&r, i, &out));
                assert_int_equal(out, place[i]);
            }
            if (lost_count == LATE) { /* they are between 1 and 400 numbers late */
                while (lost_count > 0) {
                    uint64_t late = lost[--lost_count];

                    if (late + RENUMBER_WINDOW < i)
                        continue;
                    assert_true(renumber_take(&r, late, &out));
                    assert_int_equal(out, place[late]);
                }
            }
            if (i > RENUMBER_WINDOW) {
                uint64_t some = i - (uint64_t)(rand() % (RENUMBER_WINDOW - 1));

                if (fate[some] && some < r.next) {
                    assert_true(renumber_find(&r, place[some], &in));
                    assert_int_equal(in, some);
                }
            }
        }
    }
}

static void too_old_numbers_are_refused(void **state)
{
    struct renumber r;
    uint64_t out;

    renumber_start(&r, 0, 0);
    renumber_take(&r, 5, &out);
    renumber_take(&r, 5 + RENUMBER_WINDOW, &out);
    assert_true(renumber_take(&r, 6, &out));
    assert_false(renumber_take(&r, 5, &out));
    renumber_take(&r, 100 * RENUMBER_WINDOW, &out);
    assert_false(renumber_find(&r, 6, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped_numbers_leave_no_gap),
        cmocka_unit_test(a_missing_number_keeps_its_place),
        cmocka_unit_test(random_orders_agree_with_a_list),
        cmocka_unit_test(too_old_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
