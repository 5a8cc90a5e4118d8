/* The rate limit: a sliding window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controlplane/rooms/rate_limit.h"

#define WINDOW 60000

static void the_limit_holds(void **state)
{
    struct rate_limit rate = {0};
    int i;

    for (i = 0; i < 60; i++)
        assert_true(rate_limit_pass(&rate, 60, WINDOW, 1000 + (uint64_t)i));
    assert_false(rate_limit_pass(&rate, 60, WINDOW, 2000));
    assert_false(rate_limit_pass(&rate, 60, WINDOW, 1000 + WINDOW - 1));
    assert_true(
        rate_limit_pass(&rate, 60, WINDOW, 1000 + WINDOW)); /* the first one left the window */
    assert_false(rate_limit_pass(&rate, 60, WINDOW, 1000 + WINDOW)); /* and only that one */
    rate_limit_free(&rate);
}

/* Never more than 60 in any 60 s. A fixed window would let 120 pass around its end. */
static void the_window_slides(void **state)
{
    struct rate_limit rate = {0};
    uint64_t passed[2000], now;
    int count = 0, i, k;

    for (now = 0; now < 5 * WINDOW; now += 333) {
        if (rate_limit_pass(&rate, 60, WINDOW, now))
            passed[count++] = now;
    }
    assert_true(count >= 5 * 60);
    for (i = 0; i < count; i++) {
        for (k = i; k < count && passed[k] < passed[i] + WINDOW; k++)
            ;
        assert_true(k - i <= 60);
    }
    rate_limit_free(&rate);
}

/* The limit may change at any time, when the settings are reloaded. */
static void the_limit_changes(void **state)
{
    struct rate_limit rate = {0};
    int i;

    for (i = 0; i < 1000; i++)
        assert_true(rate_limit_pass(&rate, 1000, WINDOW, 5));
    assert_false(rate_limit_pass(&rate, 10, WINDOW, 6));
    assert_true(rate_limit_pass(&rate, 1001, WINDOW, 7));
    assert_true(rate_limit_pass(&rate, 10, WINDOW, WINDOW + 100));
    rate_limit_free(&rate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(the_window_slides),
        cmocka_unit_test(the_limit_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
