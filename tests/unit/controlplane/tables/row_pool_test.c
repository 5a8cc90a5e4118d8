/* Which row is taken next: unused rows in order, freed rows
 * after their quarantine, oldest first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controlplane/tables/row_pool.h"

#define NONE UINT32_MAX

static uint32_t take(struct row_pool *pool, uint32_t now_ms)
{
    uint32_t index;

    return row_pool_take(pool, now_ms, &index) ? index : NONE;
}

static void unused_rows_come_in_order(void **state)
{
    struct row_pool pool = {0};

    assert_true(row_pool_open(&pool, 3));
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(take(&pool, 1000), i);
    assert_int_equal(take(&pool, 1000), NONE);
    assert_int_equal(pool.first_unused, 3);
    row_pool_reset(&pool);
    assert_int_equal(take(&pool, 1000), 0);
    row_pool_close(&pool);
}

static void freed_rows_wait(void **state)
{
    struct row_pool pool = {0};

    assert_true(row_pool_open(&pool, 3));
    for (uint32_t i = 0; i < 3; i++)
        take(&pool, 1000);
    row_pool_give(&pool, 2000, 2);
    row_pool_give(&pool, 2001, 0);
    assert_int_equal(take(&pool, 2000 + QUARANTINE_MS - 1), NONE);
    assert_int_equal(take(&pool, 2000 + QUARANTINE_MS), 2);
    assert_int_equal(take(&pool, 2000 + QUARANTINE_MS), NONE);
    assert_int_equal(take(&pool, 2001 + QUARANTINE_MS), 0);
    row_pool_close(&pool);
}

static void an_unused_row_comes_before_one_in_quarantine(void **state)
{
    struct row_pool pool = {0};

    assert_true(row_pool_open(&pool, 3));
    assert_int_equal(take(&pool, 1000), 0);
    row_pool_give(&pool, 1000, 0);
    assert_int_equal(take(&pool, 1000), 1);
    assert_int_equal(take(&pool, 1000 + QUARANTINE_MS), 0);
    row_pool_close(&pool);
}

/* Loop time has 32 bits here and wraps around after 49 days. */
static void time_may_wrap_around(void **state)
{
    struct row_pool pool = {0};

    assert_true(row_pool_open(&pool, 1));
    take(&pool, 0);
    row_pool_give(&pool, UINT32_MAX - 50, 0);
    assert_int_equal(take(&pool, 10), NONE);
    assert_int_equal(take(&pool, QUARANTINE_MS), 0);
    row_pool_close(&pool);
}

/* The ring of freed rows goes around its end many times and loses none. */
static void every_row_is_taken_again(void **state)
{
    struct row_pool pool = {0};
    uint32_t now_ms = 0;

    assert_true(row_pool_open(&pool, 5));
    for (uint32_t i = 0; i < 5; i++)
        take(&pool, now_ms);
    for (uint32_t i = 0; i < 100; i++) {
        row_pool_give(&pool, now_ms, i % 5);
        now_ms += QUARANTINE_MS;
        assert_int_equal(take(&pool, now_ms), i % 5);
    }
    row_pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unused_rows_come_in_order),
        cmocka_unit_test(freed_rows_wait),
        cmocka_unit_test(an_unused_row_comes_before_one_in_quarantine),
        cmocka_unit_test(time_may_wrap_around),
        cmocka_unit_test(every_row_is_taken_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
