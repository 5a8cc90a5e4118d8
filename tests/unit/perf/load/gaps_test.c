/* Which packets are asked for, when, and what each lost packet counts as in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs these first */
#include <cmocka.h>

#include "perf/load/gaps.c"

#define MS 1000000ull

/* Words: N a packet arrives, rN it arrives as RTX, kN a key frame begins there and arrives, +N this
 * many ms pass, ? a tick: what is asked for goes to `asked`. */
static const struct {
    const char *what, *words, *asked;
    struct gap_counts counts;
} rows[] = {
    {"in order", "10 11 12 ?", "", {0}},
    {"one lost, asked for at the next tick", "10 12 ?", "11", {.lost = 1}},
    {"several lost", "10 14 ?", "11 12 13", {.lost = 3}},
    {"late by itself before the tick", "10 12 11 ?", "", {1, .late = 1}},
    {"repaired by RTX", "10 12 ? +30 r11 ?", "11", {1, .repaired = 1}},
    {"repaired in its own stream, as audio is", "10 12 ? +30 11 ?", "11", {1, .repaired = 1}},
    {"a second RTX counts once", "10 12 ? +30 r11 r11", "11", {1, .repaired = 1}},
    {"RTX of what nobody missed", "10 11 r9 r11 ?", "", {0}},
    {"not again before a round trip", "10 12 ? +50 ?", "11", {.lost = 1}},
    {"again after the first guess of it", "10 12 ? +100 ?", "11 11", {.lost = 1}},
    {"again after the measured one",
     "10 12 ? +40 r11 15 ? +39 ? +1 ?",
     "11 13 14 13 14",
     {3, .repaired = 1}},
    {"a key frame ends what was before it", "10 12 ? k20 ?", "11", {8, .superseded = 8}},
    {"but not what is missing in it", "10 12 ? k13 15 ?", "11 14", {2, .superseded = 1}},
    {"sequence numbers wrap", "65534 65537 ? +20 r65535", "65535 0", {2, .repaired = 1}},
    {"older than the first packet", "10 9 8 11 ?", "", {0}},
    {"ten tries",
     "10 12 ? +100 ? +100 ? +100 ? +100 ? +100 ? +100 ? +100 ? +100 ? +100 ? +100 ?",
     "11 11 11 11 11 11 11 11 11 11",
     {1, .never = 1}},
    {"too many at once", "10 268 ?", "", {257, .never = 257}},
    {"as many as are allowed, then one more", "10 267 269 ?", "268", {257, .never = 256}},
};

static void run(struct gaps *g, const char *words, char *asked)
{
    char copy[400], *rest = copy, *word;
    uint16_t due[GAPS_MAX];
    uint64_t now = 5 * MS;

    snprintf(copy, sizeof(copy), "%s", words);
    asked[0] = '\0';
    while ((word = strsep(&rest, " "))) {
        uint64_t number = word[0] ? strtoull(word + (word[0] < '0' || word[0] > '9'), NULL, 10) : 0;

        if (word[0] == '+') {
            now += number * MS;
        } else if (word[0] == 'r') {
            gaps_add_rtx(g, (uint16_t)number, now);
        } else if (word[0] == '?') {
            size_t count = gaps_due(g, now, due);

            for (size_t i = 0; i < count && count < 20; i++)
                asked += sprintf(asked, "%u ", due[i]);
        } else if (word[0]) {
            gaps_add(g, number, now);
            if (word[0] == 'k')
                gaps_add_key_frame(g, number);
        }
    }
}

static void asks_and_counts(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gaps g = {0};
        char asked[2000], wanted[2000];

        run(&g, rows[i].words, asked);
        snprintf(wanted, sizeof(wanted), "%s%s", rows[i].asked, rows[i].asked[0] ? " " : "");
        if (strcmp(asked, wanted) != 0)
            fail_msg("%s: asked for \"%s\", not \"%s\"", rows[i].what, asked, wanted);
        if (memcmp(&g.counts, &rows[i].counts, sizeof(g.counts)) != 0)
            fail_msg("%s: lost %lu, late %lu, repaired %lu, superseded %lu, never %lu",
                     rows[i].what, g.counts.lost, g.counts.late, g.counts.repaired,
                     g.counts.superseded, g.counts.never);
        if (g.counts.lost !=
            g.counts.late + g.counts.repaired + g.counts.superseded + g.counts.never + g.count)
            fail_msg("%s: a lost packet counts twice or not at all", rows[i].what);
        gaps_free(&g);
    }
}

/* A stream that gave up needs a key frame; a gap that a key frame ended does not ask for one. */
static void giving_up_is_told(void **state)
{
    struct gaps g = {0};
    char asked[2000];

    run(&g, "10 12 ? k20", asked);
    assert_false(g.gave_up);
    run(&g, "600", asked);
    assert_true(g.gave_up);
    gaps_free(&g);
}

/* How long a packet was missing is told when it comes. */
static void says_how_long(void **state)
{
    struct gaps g = {0};
    uint16_t due[GAPS_MAX];

    gaps_add(&g, 10, 0);
    assert_int_equal(gaps_add(&g, 13, 7 * MS), 0);
    assert_int_equal(gaps_add(&g, 11, 9 * MS), 2 * MS);
    assert_int_equal(gaps_due(&g, 27 * MS, due), 1);
    assert_int_equal(gaps_add_rtx(&g, 12, 67 * MS), 60 * MS);
    assert_int_equal(gaps_add_rtx(&g, 12, 68 * MS), 0);
    assert_int_equal(g.round_trip_ns, 40 * MS);
    gaps_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_and_counts),
        cmocka_unit_test(giving_up_is_told),
        cmocka_unit_test(says_how_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
