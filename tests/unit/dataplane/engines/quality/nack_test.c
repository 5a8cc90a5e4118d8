/* Which packets are missing, and when they are asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/engines/quality/nack.h"

#define MS 1000000ull
#define BEGIN_NS (1000 * 1000 * MS)
#define FIRST 0xfff0 /* so that sequence numbers wrap soon */

struct bench {
    struct nack nack;
    uint64_t now_ns;
    uint16_t asked[NACK_MISSING_MAX];
    size_t count;
};

static struct bench begin(void)
{
    struct bench b = {.now_ns = BEGIN_NS};

    assert_int_equal(nack_add(&b.nack, FIRST, false, b.now_ns), NACK_IN_ORDER);
    assert_true(nack_next_ns(&b.nack) == NACK_NEVER);
    return b;
}

static enum nack_arrival arrive(struct bench *b, uint64_t index)
{
    return nack_add(&b->nack, FIRST + index, false, b->now_ns);
}

static enum nack_arrival repair(struct bench *b, uint64_t index)
{
    return nack_add(&b->nack, FIRST + index, true, b->now_ns);
}

/* Goes to the next moment at which something is asked for; returns how many packets. */
static size_t ask(struct bench *b)
{
    uint64_t next_ns = nack_next_ns(&b->nack);

    assert_true(next_ns != NACK_NEVER);
    if (next_ns > b->now_ns)
        b->now_ns = next_ns;
    b->count = nack_due(&b->nack, b->now_ns, b->asked);
    return b->count;
}

static void a_gap_is_asked_for_once_per_round_trip(void **state)
{
    struct bench b = begin();

    arrive(&b, 20);
    for (unsigned i = 0; i < NACK_TRIES_MAX; i++) {
        uint64_t before_ns = b.now_ns;

        assert_int_equal(ask(&b), 19);
        for (unsigned k = 0; k < 19; k++)
            assert_int_equal(b.asked[k], (uint16_t)(FIRST + 1 + k)); /* it wraps */
        if (i == 0) /* time to arrive by themselves */
            assert_in_range(b.now_ns - before_ns, 1 * MS, 10 * MS);
        else /* of which nothing is known yet */
            assert_in_range(b.now_ns - before_ns, 100 * MS, 150 * MS);
        assert_int_equal(nack_due(&b.nack, b.now_ns, b.asked), 0);
    }
    assert_int_equal(ask(&b), 0);
    assert_int_equal(b.nack.given_up, 19);
    assert_true(nack_next_ns(&b.nack) == NACK_NEVER);
}

static void the_interval_follows_the_round_trip(void **state)
{
    struct bench b = begin();

    for (unsigned i = 0; i < 40; i++) {
        arrive(&b, 2 * i + 2);
        assert_int_equal(ask(&b), 1);
        b.now_ns += 30 * MS;
        assert_int_equal(repair(&b, 2 * i + 1), NACK_REPAIRED);
        assert_true(nack_next_ns(&b.nack) == NACK_NEVER);
    }
    assert_in_range(b.nack.round_trip_ns, 29 * MS, 31 * MS);
    arrive(&b, 100);
    ask(&b);
    assert_in_range(nack_next_ns(&b.nack) - b.now_ns, 30 * MS, 40 * MS);
}

/* An answer to the second question may have been one to the first, so it measures nothing. */
static void only_a_single_question_measures(void **state)
{
    struct bench b = begin();

    arrive(&b, 2);
    ask(&b);
    ask(&b);
    b.now_ns += 1 * MS;
    assert_int_equal(repair(&b, 1), NACK_REPAIRED);
    assert_int_equal(b.nack.round_trip_ns, 0);
}

static void late_packets_are_waited_for(void **state)
{
    struct bench b = begin();
    unsigned asked = 0;

    for (unsigned i = 0; i < 20; i++) { /* every packet 2·i+1 comes 20 ms late */
        arrive(&b, 2 * i + 2);
        for (unsigned k = 0; k < 20; k++) {
            b.now_ns += MS;
            asked += (unsigned)nack_due(&b.nack, b.now_ns, b.asked);
        }
        assert_int_not_equal(arrive(&b, 2 * i + 1), NACK_UNMISSED);
    }
    assert_int_equal(asked, 1); /* the first; then it was known */
    assert_in_range(b.nack.late_ns, 20 * MS, 30 * MS);
    for (unsigned i = 0; i < 500; i++) { /* long after the network has calmed down */
        arrive(&b, 100 + 2 * i);
        ask(&b);
        repair(&b, 99 + 2 * i);
    }
    assert_true(b.nack.late_ns < 4 * MS);
}

static void a_key_frame_ends_older_gaps_only(void **state)
{
    struct bench b = begin();

    arrive(&b, 5);
    arrive(&b, 10);
    nack_add_key_frame(&b.nack, FIRST + 5);
    assert_int_equal(ask(&b), 4);
    assert_int_equal(b.asked[0], (uint16_t)(FIRST + 6));
    assert_int_equal(repair(&b, 1), NACK_UNMISSED);
}

static void too_many_gaps_are_given_up_together(void **state)
{
    struct bench b = begin();

    assert_int_equal(arrive(&b, NACK_MISSING_MAX + 1), NACK_IN_ORDER);
    assert_int_equal(b.nack.count, NACK_MISSING_MAX);
    assert_int_equal(ask(&b), NACK_MISSING_MAX);
    assert_int_equal(arrive(&b, NACK_MISSING_MAX + 3), NACK_TOO_MANY);
    assert_int_equal(b.nack.count, 0);
    assert_int_equal(arrive(&b, NACK_MISSING_MAX + 5), NACK_IN_ORDER); /* and on it goes */
    assert_int_equal(b.nack.count, 1);
    assert_int_equal(arrive(&b, 1ull << 40), NACK_TOO_MANY);
    assert_int_equal(b.nack.count, 0);
}

/* A publisher may send a retransmission to measure the bandwidth; then nobody had asked. */
static void a_repair_that_nobody_missed_changes_nothing(void **state)
{
    struct bench b = begin();

    arrive(&b, 1);
    arrive(&b, 3);
    assert_int_equal(repair(&b, 1), NACK_UNMISSED);
    assert_int_equal(b.nack.count, 1);
    assert_int_equal(repair(&b, 4), NACK_IN_ORDER); /* one that overtook its original */
    assert_int_equal(b.nack.highest, FIRST + 4);
}

/* Audio is asked for soon, however late packets of it have been, and not for long. */
static void audio_is_asked_for_soon_and_not_for_long(void **state)
{
    struct bench b = begin();
    unsigned asked = 0;

    b.nack.is_audio = true;
    for (unsigned i = 0; i < 20; i++) { /* every packet 2·i+1 comes 80 ms late */
        arrive(&b, 2 * i + 2);
        b.now_ns += 80 * MS;
        arrive(&b, 2 * i + 1);
    }
    assert_in_range(b.nack.late_ns, 15 * MS, 20 * MS);
    arrive(&b, 102);
    for (unsigned i = 0; i < 2000; i++) {
        size_t count = nack_due(&b.nack, b.now_ns, b.asked);

        if (count)
            assert_true(i <= 500);
        asked += (unsigned)count;
        b.now_ns += MS;
    }
    assert_int_equal(asked / 61, 4); /* of 500 ms; the round trip is not known */
    assert_int_equal(b.nack.given_up, 61);
}

/* Without RTX an answer looks like a late packet, except that it does not come at once. */
static void answers_of_audio_are_known_by_their_time(void **state)
{
    static const struct {
        uint64_t round_trip_ms, after_ms;
        unsigned tries;
        bool was_asked;
    } rows[] = {{0, 1, 1, false},   {0, 6, 1, true},   {40, 6, 1, false},
                {40, 19, 1, false}, {40, 21, 1, true}, {40, 1, 2, true}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bench b = begin();

        b.nack.is_audio = true;
        b.nack.round_trip_ns = rows[i].round_trip_ms * MS;
        arrive(&b, 3);
        assert_false(nack_was_asked(&b.nack, FIRST + 1, b.now_ns + 1000 * MS)); /* not yet */
        for (unsigned k = 0; k < rows[i].tries; k++)
            ask(&b);
        assert_int_equal(nack_was_asked(&b.nack, FIRST + 1, b.now_ns + rows[i].after_ms * MS),
                         rows[i].was_asked);
        assert_false(nack_was_asked(&b.nack, FIRST + 3, b.now_ns + 1000 * MS)); /* not missing */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_is_asked_for_once_per_round_trip),
        cmocka_unit_test(the_interval_follows_the_round_trip),
        cmocka_unit_test(only_a_single_question_measures),
        cmocka_unit_test(late_packets_are_waited_for),
        cmocka_unit_test(a_key_frame_ends_older_gaps_only),
        cmocka_unit_test(too_many_gaps_are_given_up_together),
        cmocka_unit_test(a_repair_that_nobody_missed_changes_nothing),
        cmocka_unit_test(audio_is_asked_for_soon_and_not_for_long),
        cmocka_unit_test(answers_of_audio_are_known_by_their_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
