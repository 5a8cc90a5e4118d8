/* The links of ringcast-relay: rates, losses, bursts, delays, order, and that a seed repeats them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "perf/network/link.h"

#define MS 1000000ull
#define PACKETS 200000

static struct link_options options_of(const char *text)
{
    struct link_options options;
    char why[160];

    if (!link_options_read(text, &options, why))
        fail_msg("%s: %s", text, why);
    return options;
}

/* What happened to packets of 1200 bytes, one each `every_ns`. */
struct outcome {
    unsigned arrived, lost, bursts, longest, overtaken, doubled;
    uint64_t least_ns, most_ns;
};

static struct outcome run(const char *text, uint64_t every_ns)
{
    struct outcome o = {.least_ns = UINT64_MAX};
    struct link_options options = options_of(text);
    uint64_t due_ns[LINK_COPIES_MAX], last_ns = 0;
    unsigned in_a_row = 0;
    struct link link;

    link_open(&link, &options, 7);
    for (uint64_t i = 0; i < PACKETS; i++) {
        unsigned copies = link_send(&link, i * every_ns, 1200 - 28, due_ns);

        if (copies == 0) {
            o.lost++;
            o.bursts += in_a_row++ == 0;
            o.longest = in_a_row > o.longest ? in_a_row : o.longest;
            continue;
        }
        in_a_row = 0;
        o.arrived++;
        o.doubled += copies == 2;
        o.overtaken += due_ns[0] < last_ns;
        last_ns = due_ns[0];
        if (due_ns[0] - i * every_ns < o.least_ns)
            o.least_ns = due_ns[0] - i * every_ns;
        if (due_ns[0] - i * every_ns > o.most_ns)
            o.most_ns = due_ns[0] - i * every_ns;
    }
    return o;
}

static void a_perfect_link_changes_nothing(void **state)
{
    struct outcome o = run("", MS);

    assert_int_equal(o.arrived, PACKETS);
    assert_int_equal(o.most_ns, 0);
    assert_int_equal(o.doubled, 0);
}

static void losses_have_their_share_and_length(void **state)
{
    struct outcome single = run("loss=5", MS), bursts = run("loss=20,burst=4", MS);

    assert_in_range(single.lost, PACKETS * 48 / 1000, PACKETS * 52 / 1000);
    assert_true(single.lost < single.bursts * 11 / 10);
    assert_in_range(bursts.lost, PACKETS * 19 / 100, PACKETS * 21 / 100);
    assert_in_range(bursts.lost * 100 / bursts.bursts, 380, 420);
    assert_true(bursts.longest > 10);
}

static void delays_spread_and_reorder(void **state)
{
    struct outcome o = run("delay=150,jitter=50", MS),
                   ordered = run("delay=150,jitter=50,order=1", MS);

    assert_in_range(o.least_ns, 100 * MS, 101 * MS);
    assert_in_range(o.most_ns, 199 * MS, 200 * MS);
    assert_true(o.overtaken > PACKETS / 4);
    assert_int_equal(ordered.overtaken, 0);
    assert_int_equal(ordered.arrived, PACKETS);
}

/* 1200 bytes at 9.6 Mbit/s take 1 ms. */
static void a_bottleneck_has_a_rate_and_a_queue(void **state)
{
    struct outcome idle = run("rate=9600,queue=100", 2 * MS),
                   full = run("rate=9600,queue=100", MS / 2);

    assert_int_equal(idle.arrived, PACKETS);
    assert_int_equal(idle.most_ns, 1 * MS);
    assert_in_range(full.arrived, PACKETS / 2, PACKETS / 2 + 200);
    assert_in_range(full.most_ns, 100 * MS, 102 * MS);
}

static void packets_arrive_twice(void **state)
{
    assert_in_range(run("double=3", MS).doubled, PACKETS * 28 / 1000, PACKETS * 32 / 1000);
}

static void a_seed_repeats_everything(void **state)
{
    struct outcome first = run("loss=10,burst=3,delay=20,jitter=9,rate=5000,double=2", MS);
    struct outcome second = run("loss=10,burst=3,delay=20,jitter=9,rate=5000,double=2", MS);

    assert_memory_equal(&first, &second, sizeof(first));
}

static void wrong_options_are_named(void **state)
{
    static const char *const wrong[][2] = {
        {"loss", "\"loss\" is not name=value"},
        {"lost=5", "\"lost\" is none of loss, burst, double, delay, jitter, order, rate, queue"},
        {"loss=x", "loss: the value must be a number, at least 0 and below 1e9"},
        {"loss=-1", "loss: the value must be a number, at least 0 and below 1e9"},
        {"delay=5;loss=3", "delay: the value must be a number, at least 0 and below 1e9"},
        {"loss=96", "loss is at most 95, double at most 100 percent"},
        {"delay=5,jitter=6",
         "jitter is more than delay: a packet would arrive before it was sent"}};
    struct link_options options;
    char why[160];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(link_options_read(wrong[i][0], &options, why));
        assert_string_equal(why, wrong[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_perfect_link_changes_nothing),
        cmocka_unit_test(losses_have_their_share_and_length),
        cmocka_unit_test(delays_spread_and_reorder),
        cmocka_unit_test(a_bottleneck_has_a_rate_and_a_queue),
        cmocka_unit_test(packets_arrive_twice),
        cmocka_unit_test(a_seed_repeats_everything),
        cmocka_unit_test(wrong_options_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
