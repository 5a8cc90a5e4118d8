/* Used SRTP indexes: no index is given out twice, whatever the order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/engines/srtp/sent.h"

struct stream {
    struct srtp_sent sent;
    struct srtp_skipped skipped;
};

static bool take(struct stream *s, uint64_t index)
{
    return srtp_sent_take(&s->sent, &s->skipped, index);
}

static void in_order(void **state)
{
    struct stream s = {.sent.next_and_skipped = 7};

    for (uint64_t i = 7; i < 5000; i++)
        assert_true(take(&s, i));
    for (uint64_t i = 0; i < 5000; i++)
        assert_false(take(&s, i));
    assert_int_equal(srtp_sent_skipped(&s.sent), 0);
}

static void before_the_first(void **state)
{
    struct stream s = {.sent.next_and_skipped = 100};

    assert_false(take(&s, 99));
    assert_false(take(&s, 0));
    assert_true(take(&s, 100));
}

static void a_gap_is_filled_once(void **state)
{
    struct stream s = {0};

    assert_true(take(&s, 0));
    assert_true(take(&s, 5)); /* 1 to 4 are skipped */
    assert_int_equal(srtp_sent_skipped(&s.sent), 4);
    assert_true(take(&s, 3));
    assert_false(take(&s, 3));
    assert_true(take(&s, 1));
    assert_true(take(&s, 2));
    assert_true(take(&s, 4));
    assert_int_equal(srtp_sent_skipped(&s.sent), 0);
    for (uint64_t i = 0; i <= 5; i++)
        assert_false(take(&s, i));
    assert_true(take(&s, 6));
}

static void a_gap_is_forgotten_after_the_window(void **state)
{
    struct stream s = {0};

    assert_true(take(&s, 0));
    assert_true(take(&s, 2));
    for (uint64_t i = 3; i <= SRTP_SENT_WINDOW; i++)
        assert_true(take(&s, i));
    assert_int_equal(srtp_sent_skipped(&s.sent), 1);
    assert_true(take(&s, SRTP_SENT_WINDOW + 1)); /* takes the place of index 1 */
    assert_int_equal(srtp_sent_skipped(&s.sent), 0);
    assert_false(take(&s, 1));
}

static void the_last_of_the_window_is_still_there(void **state)
{
    struct stream s = {0};

    assert_true(take(&s, 0));
    for (uint64_t i = 2; i <= SRTP_SENT_WINDOW; i++)
        assert_true(take(&s, i));
    assert_true(take(&s, 1));
    assert_false(take(&s, 1));
}

static void a_jump_beyond_the_window(void **state)
{
    static const uint64_t jumps[] = {SRTP_SENT_WINDOW - 1, SRTP_SENT_WINDOW, SRTP_SENT_WINDOW + 1,
                                     1u << 20, 1ull << 40};

    for (size_t j = 0; j < sizeof(jumps) / sizeof(jumps[0]); j++) {
        struct stream s = {0};
        uint64_t to = 10 + jumps[j];

        for (uint64_t i = 0; i < 10; i++)
            assert_true(take(&s, i));
        assert_true(take(&s, to));
        assert_false(take(&s, to));
        for (uint64_t i = 0; i < 10; i++)
            assert_false(take(&s, i));
        assert_int_equal(take(&s, to - 1), to - 1 >= 10);
        assert_false(take(&s, to - 1));
        assert_true(take(&s, to + 1));
    }
}

static void the_end_of_the_key(void **state)
{
    struct stream s = {.sent.next_and_skipped = SRTP_INDEX_END - 1};

    assert_true(take(&s, SRTP_INDEX_END - 1));
    assert_false(take(&s, SRTP_INDEX_END));
    assert_false(take(&s, UINT64_MAX));
    assert_false(take(&s, SRTP_INDEX_END - 1));
}

/* A million random steps against a table of everything that was ever taken. */
#define SPACE (1u << 16)
static void random_order(void **state)
{
    static uint8_t used[SPACE];
    struct stream s = {0};
    uint64_t near = 0;

    srandom(1);
    for (int n = 0; n < 1000000; n++) {
        uint64_t index = near + (uint64_t)(random() % 3000);
        bool taken;

        index = index > 1500 ? index - 1500 : 0;
        if (random() % 40 == 0)
            near += (uint64_t)(random() % 60);
        if (index >= SPACE)
            break;
        taken = take(&s, index);
        assert_false(taken && used[index]);
        if (index + SRTP_SENT_WINDOW >= srtp_sent_next(&s.sent))
            assert_true(taken || used[index]);
        used[index] |= taken;
    }
    assert_true(srtp_sent_next(&s.sent) > SPACE / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(before_the_first),
        cmocka_unit_test(a_gap_is_filled_once),
        cmocka_unit_test(a_gap_is_forgotten_after_the_window),
        cmocka_unit_test(the_last_of_the_window_is_still_there),
        cmocka_unit_test(a_jump_beyond_the_window),
        cmocka_unit_test(the_end_of_the_key),
        cmocka_unit_test(random_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
