/* When a loaded worker lets a batch fill: the curve, and that idle and overloaded ones never wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/engines/pace.h"

#define US 1000ull
#define MS 1000000ull

static void the_curve(void **state)
{
    static const struct {
        uint32_t load;
        uint64_t fill_us;
    } rows[] = {{0, 0},      {499, 0},    {500, 0},    {501, 2},    {600, 500},
                {700, 1000}, {899, 1995}, {900, 2000}, {1000, 2000}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_in_range(pace_fill(rows[i].load, 2 * MS), rows[i].fill_us * US,
                        rows[i].fill_us * US + 5 * US);
        assert_int_equal(pace_fill(rows[i].load, 0), 0);
    }
}

/* A second of turns: each busy for busy_us out of every 1000 us. */
static uint64_t fill_after(struct pace *pace, uint64_t *now_ns, unsigned busy_us, bool did_work)
{
    for (int i = 0; i < 1000; i++) {
        pace_turn(pace, *now_ns, *now_ns + busy_us * US, did_work);
        *now_ns += MS;
    }
    return pace->fill_ns;
}

static void load_is_what_turns_took(void **state)
{
    struct pace pace = {.bound_ns = 2 * MS};
    uint64_t now_ns = 5000 * MS;

    assert_int_equal(fill_after(&pace, &now_ns, 300, true), 0);
    assert_in_range(fill_after(&pace, &now_ns, 700, true), 900 * US, 1100 * US);
    assert_int_equal(fill_after(&pace, &now_ns, 950, true), 2 * MS);
    assert_int_equal(fill_after(&pace, &now_ns, 100, true), 0);  /* and back */
    assert_int_equal(fill_after(&pace, &now_ns, 950, false), 0); /* turns that found nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_curve),
        cmocka_unit_test(load_is_what_turns_took),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
