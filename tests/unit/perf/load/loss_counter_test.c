/* Loss, duplicates and order: each script has the counts that must result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs these first */
#include <cmocka.h>

#include "perf/load/loss_counter.c"

/* Packet numbers in order of arrival. '[' starts the measurement at number 10; '(' starts it with
 * the next packet, for a receiver that joins late; ']' stops it before number 20; '>' stops it at
 * the highest number, for a receiver that leaves. */
static const struct {
    const char *script;
    unsigned expected, received, lost, duplicates, reordered, ancient, distance;
} rows[] = {
    {"[ 10 11 12 13 14 15 16 17 18 19 ]", 10, 10, 0, 0, 0, 0, 0},
    {"[ 10 11 12 14 15 16 17 18 19 ]", 10, 9, 1, 0, 0, 0, 0},
    {"[ ]", 10, 0, 10, 0, 0, 0, 0},                                     /* no packet at all */
    {"[ 10 11 13 12 14 15 16 17 18 19 ]", 10, 10, 0, 0, 1, 0, 1},       /* late is not lost */
    {"[ 10 15 11 12 13 14 16 17 18 19 ]", 10, 10, 0, 0, 4, 0, 4},       /* four packets late */
    {"[ 10 11 11 12 13 14 15 16 17 18 19 19 ]", 10, 10, 0, 2, 0, 0, 0}, /* duplicates */
    {"[ 8 9 10 11 12 13 14 15 16 17 18 19 ] 20 21", 10, 10, 0, 0, 0, 0,
     0},                                                             /* packets before and after */
    {"[ 10 11 12 13 14 15 16 17 18 ] 19 20", 10, 10, 0, 0, 0, 0, 0}, /* arrived after the stop */
    {"[ 10 11 12 13 14 15 16 17 18 ] 18 20", 10, 9, 1, 1, 0, 0, 0},
    {"( 13 14 15 16 17 18 19 ]", 7, 7, 0, 0, 0, 0, 0}, /* joined late */
    {"( 13 15 16 17 18 19 ]", 7, 6, 1, 0, 0, 0, 0},
    {"( ]", 0, 0, 0, 0, 0, 0, 0},
    {"[ 10 11 13 >", 4, 3, 1, 0, 0, 0, 0}, /* left early */
    {"( 12 13 >", 2, 2, 0, 0, 0, 0, 0},
    {"( >", 0, 0, 0, 0, 0, 0, 0},
    {"[ 10 11 12 13 14 15 16 17 18 19 ] 5000 11", 10, 10, 0, 0, 0, 1, 0}, /* too old to judge */
};

static struct loss_counter run(const char *script)
{
    struct loss_counter t = {0};
    char copy[200], *rest = copy, *word;
    bool counts;

    snprintf(copy, sizeof(copy), "%s", script);
    while ((word = strsep(&rest, " ")))
        switch (word[0]) {
        case '[':
            loss_counter_start(&t, 10, false);
            break;
        case '(':
            loss_counter_start(&t, 0, true);
            break;
        case ']':
            loss_counter_stop(&t, 20);
            break;
        case '>':
            loss_counter_stop_at_highest(&t);
            break;
        default:
            loss_counter_record(&t, (uint32_t)atoi(word), &counts);
        }
    return t;
}

static void counts_of_scripts(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct loss_counter t = run(rows[i].script);

        if (loss_counter_expected(&t) != rows[i].expected || t.received != rows[i].received ||
            loss_counter_lost(&t) != rows[i].lost || t.duplicates != rows[i].duplicates ||
            t.reordered != rows[i].reordered || t.ancient != rows[i].ancient ||
            t.distance_max != rows[i].distance)
            fail_msg("%s: expected %u received %u lost %u duplicates %u reordered %u ancient %u "
                     "distance %u",
                     rows[i].script, loss_counter_expected(&t), t.received, loss_counter_lost(&t),
                     t.duplicates, t.reordered, t.ancient, t.distance_max);
    }
}

/* Compares with an array of all packets that ever arrived. */
static void agrees_with_full_memory(void **state)
{
    static uint8_t came[200000];
    struct loss_counter t = {0};
    unsigned received = 0, duplicates = 0;
    bool counts;

    srand(7);
    memset(came, 0, sizeof(came));
    loss_counter_start(&t, 1000, false);
    for (uint32_t n = 0; n < 190000; n++) {
        uint32_t number = n + (uint32_t)rand() % 1500;

        if (rand() % 50 == 0)
            continue;
        loss_counter_record(&t, number, &counts);
        if (number >= 1000 && number < 150000) {
            received += !came[number];
            duplicates += came[number];
        }
        came[number] = 1;
        if (n == 100000)
            loss_counter_stop(&t, 150000);
    }
    assert_int_equal(t.ancient, 0);
    assert_int_equal(t.received, received);
    assert_int_equal(t.duplicates, duplicates);
    assert_int_equal(loss_counter_lost(&t), 149000 - received);
}

/* Numbers wrap around after 2^32. */
static void numbers_wrap(void **state)
{
    struct loss_counter t = {0};
    bool counts;

    loss_counter_start(&t, UINT32_MAX - 4, false);
    for (uint32_t i = 0; i < 10; i++)
        if (i != 7)
            assert_int_equal(loss_counter_record(&t, UINT32_MAX - 4 + i, &counts), ARRIVED_NEW);
    loss_counter_stop(&t, 5);
    assert_int_equal(loss_counter_expected(&t), 10);
    assert_int_equal(loss_counter_lost(&t), 1);
    assert_int_equal(loss_counter_record(&t, 2, &counts), ARRIVED_LATE);
    assert_int_equal(loss_counter_lost(&t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_scripts),
        cmocka_unit_test(agrees_with_full_memory),
        cmocka_unit_test(numbers_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
