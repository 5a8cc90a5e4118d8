/* The number tracker: loss, duplication and order, each script with what must be counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants these first */
#include <cmocka.h>

#include "perf/load/tracker.c"

/* Numbers in the order in which they come; '[' opens the measurement at 10 before anything else of it
 * came, '(' opens it for one who joins, ']' closes it in front of 20, '>' is a receiver that leaves. */
static const struct {
    const char *script;
    unsigned expected, received, lost, duplicates, reordered, ancient, distance;
} rows[] = {
    {"[ 10 11 12 13 14 15 16 17 18 19 ]", 10, 10, 0, 0, 0, 0, 0},
    {"[ 10 11 12 14 15 16 17 18 19 ]", 10, 9, 1, 0, 0, 0, 0},
    {"[ ]", 10, 0, 10, 0, 0, 0, 0},                                         /* silence is loss */
    {"[ 10 11 13 12 14 15 16 17 18 19 ]", 10, 10, 0, 0, 1, 0, 1},           /* late, not lost */
    {"[ 10 15 11 12 13 14 16 17 18 19 ]", 10, 10, 0, 0, 4, 0, 4},           /* four behind one */
    {"[ 10 11 11 12 13 14 15 16 17 18 19 19 ]", 10, 10, 0, 2, 0, 0, 0},     /* twice */
    {"[ 8 9 10 11 12 13 14 15 16 17 18 19 ] 20 21", 10, 10, 0, 0, 0, 0, 0}, /* before and behind */
    {"[ 10 11 12 13 14 15 16 17 18 ] 19 20", 10, 10, 0, 0, 0, 0, 0},        /* came in the drain */
    {"[ 10 11 12 13 14 15 16 17 18 ] 18 20", 10, 9, 1, 1, 0, 0, 0},
    {"( 13 14 15 16 17 18 19 ]", 7, 7, 0, 0, 0, 0, 0}, /* joined later */
    {"( 13 15 16 17 18 19 ]", 7, 6, 1, 0, 0, 0, 0},
    {"( ]", 0, 0, 0, 0, 0, 0, 0},
    {"[ 10 11 13 >", 4, 3, 1, 0, 0, 0, 0}, /* left before the end */
    {"( 12 13 >", 2, 2, 0, 0, 0, 0, 0},
    {"( >", 0, 0, 0, 0, 0, 0, 0},
    {"[ 10 11 12 13 14 15 16 17 18 19 ] 5000 11", 10, 10, 0, 0, 0, 1, 0}, /* too old to tell */
};

static struct tracker run(const char *script)
{
    struct tracker t = {0};
    char copy[200], *rest = copy, *word;
    bool counts;

    snprintf(copy, sizeof(copy), "%s", script);
    while ((word = strsep(&rest, " ")))
        switch (word[0]) {
        case '[':
            tracker_open(&t, 10, false);
            break;
        case '(':
            tracker_open(&t, 0, true);
            break;
        case ']':
            tracker_close(&t, 20);
            break;
        case '>':
            tracker_leave(&t);
            break;
        default:
            tracker_take(&t, (uint32_t)atoi(word), &counts);
        }
    return t;
}

static void scripts(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tracker t = run(rows[i].script);

        if (tracker_expected(&t) != rows[i].expected || t.received != rows[i].received ||
            tracker_lost(&t) != rows[i].lost || t.duplicates != rows[i].duplicates ||
            t.reordered != rows[i].reordered || t.ancient != rows[i].ancient ||
            t.distance_max != rows[i].distance)
            fail_msg("%s: expected %u received %u lost %u duplicates %u reordered %u ancient %u "
                     "distance %u",
                     rows[i].script, tracker_expected(&t), t.received, tracker_lost(&t),
                     t.duplicates, t.reordered, t.ancient, t.distance_max);
    }
}

/* Against plain memory of everything that ever came. */
static void against_memory(void **state)
{
    static uint8_t came[200000];
    struct tracker t = {0};
    unsigned received = 0, duplicates = 0;
    bool counts;

    srand(7);
    memset(came, 0, sizeof(came));
    tracker_open(&t, 1000, false);
    for (uint32_t n = 0; n < 190000; n++) {
        uint32_t number = n + (uint32_t)rand() % 1500;

        if (rand() % 50 == 0)
            continue;
        tracker_take(&t, number, &counts);
        if (number >= 1000 && number < 150000) {
            received += !came[number];
            duplicates += came[number];
        }
        came[number] = 1;
        if (n == 100000)
            tracker_close(&t, 150000);
    }
    assert_int_equal(t.ancient, 0);
    assert_int_equal(t.received, received);
    assert_int_equal(t.duplicates, duplicates);
    assert_int_equal(tracker_lost(&t), 149000 - received);
}

/* Numbers go round after 2^32. */
static void wraps(void **state)
{
    struct tracker t = {0};
    bool counts;

    tracker_open(&t, UINT32_MAX - 4, false);
    for (uint32_t i = 0; i < 10; i++)
        if (i != 7)
            assert_int_equal(tracker_take(&t, UINT32_MAX - 4 + i, &counts), TRACKED_NEW);
    tracker_close(&t, 5);
    assert_int_equal(tracker_expected(&t), 10);
    assert_int_equal(tracker_lost(&t), 1);
    assert_int_equal(tracker_take(&t, 2, &counts), TRACKED_LATE);
    assert_int_equal(tracker_lost(&t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scripts),
        cmocka_unit_test(against_memory),
        cmocka_unit_test(wraps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
