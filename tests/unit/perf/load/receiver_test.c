/* The counters of report blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs these first */
#include <cmocka.h>

#include "perf/load/receiver.c"

/* RFC 3550 A.3: the lost fraction since the previous report, and the sum of all lost packets. */
static void report_blocks_count_loss(void **state)
{
    struct receiver r = {.ssrc = 1};
    struct rtcp_report_block block;

    for (uint64_t index = 100; index < 200; index++)
        if (index % 4)
            receiver_count(&r, index, 0, 1);
    receiver_report(&r, &block, 5);
    assert_int_equal(block.packets_lost, 24); /* counted from the first packet that arrived, 101 */
    assert_int_equal(block.fraction_lost, 24 * 256 / 99);
    assert_int_equal(block.highest_sequence, 199);
    for (uint64_t index = 200; index < 210; index++)
        receiver_count(&r, index, 0, 1);
    receiver_report(&r, &block, 5);
    assert_int_equal(block.packets_lost, 24);
    assert_int_equal(block.fraction_lost, 0);
    receiver_report(&r, &block, 5); /* no new packet: no division by 0 */
    assert_int_equal(block.fraction_lost, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(report_blocks_count_loss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
