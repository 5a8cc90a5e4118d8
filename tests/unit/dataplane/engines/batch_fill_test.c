/* How long a busy worker waits for its batch to fill: none when idle, up to a limit under load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/engines/batch_fill.h"

#define US 1000ull
#define MS 1000000ull

static void wait_grows_with_load(void **state)
{
    static const struct {
        uint32_t load;
        uint64_t wait_us;
    } rows[] = {{0, 0},      {499, 0},    {500, 0},    {501, 2},    {600, 500},
                {700, 1000}, {899, 1995}, {900, 2000}, {1000, 2000}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_in_range(batch_fill_wait(rows[i].load, 2 * MS), rows[i].wait_us * US,
                        rows[i].wait_us * US + 5 * US);
        assert_int_equal(batch_fill_wait(rows[i].load, 0), 0);
    }
}

/* The wait after a thousand turns, one each millisecond, each of them busy_us long. */
static uint64_t wait_after(struct batch_fill *fill, uint64_t *now_ns, unsigned busy_us,
                           bool did_work)
{
    for (int i = 0; i < 1000; i++) {
        batch_fill_add_turn(fill, *now_ns, *now_ns + busy_us * US, did_work);
        *now_ns += MS;
    }
    return fill->wait_ns;
}

static void load_is_the_time_that_turns_with_work_took(void **state)
{
    struct batch_fill fill = {.wait_ns_max = 2 * MS};
    uint64_t now_ns = 5000 * MS;

    assert_int_equal(wait_after(&fill, &now_ns, 300, true), 0);
    assert_in_range(wait_after(&fill, &now_ns, 700, true), 900 * US, 1100 * US);
    assert_int_equal(wait_after(&fill, &now_ns, 950, true), 2 * MS);
    assert_int_equal(wait_after(&fill, &now_ns, 100, true), 0);  /* the load falls again */
    assert_int_equal(wait_after(&fill, &now_ns, 950, false), 0); /* turns that found nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_grows_with_load),
        cmocka_unit_test(load_is_the_time_that_turns_with_work_took),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
