/* Many subscribers: they do not hurt each other, and join without a cost to the publisher; on two workers. */
#include "call.h"

#include <srtp2/srtp.h>

static const struct publisher_options vp8 = {.codec = CODEC_vp8, .kbps = 800};
static const struct receiver_options vp8_viewer = {.codec = CODEC_vp8};

/* ---- two workers ---- */

static void subscribers_on_another_worker_are_repaired(void **state)
{
    const uint64_t settled_ns = WORLD_BEGIN_NS + SECONDS(3);

    for_seeds(seed, 3)
    {
        struct call call = call_open(seed, 2, &vp8, &vp8_viewer);
        struct receiver *near = call_add(&call, 0, &vp8_viewer);
        uint32_t asked[2];

        world_network(call.sender, "loss=3,delay=20,jitter=5", "delay=20");
        world_network(call.clients[0], "delay=20", "loss=5,delay=20,jitter=5");
        world_network(call.clients[1], "delay=20", "loss=5,delay=20,jitter=5");
        world_run(call.world, SECONDS(3));
        for (unsigned i = 0; i < 2; i++)
            asked[i] = call.viewers[i]->key_frames_asked;
        world_run(call.world, SECONDS(17));
        call_report(&call, "on another worker");
        for (unsigned i = 0; i < 2; i++) {
            receiver_check(call.viewers[i]);
            world_compare(call.world, receiver_gap_ns(call.viewers[i], settled_ns), <=, MS(600));
            world_compare(call.world, receiver_shown(call.viewers[i], settled_ns), >=, 25 * 17 - 3);
            world_compare(call.world, call.viewers[i]->key_frames_asked, ==, asked[i]);
        }
        world_compare(call.world, near->repaired, >, 20);
        world_compare(call.world, call.viewers[0]->repaired, >, 20);
        call_close(&call);
    }
}

/* ---- one bad subscriber ---- */

/* What the good ones get, with and without a bad one beside them. */
static void run_beside(uint64_t seed, const char *down, struct sent_counts *good)
{
    struct call call = call_open(seed, 1, &vp8, &vp8_viewer);

    call_add(&call, 0, &vp8_viewer);
    call_add(&call, 0, &vp8_viewer);
    for (unsigned i = 0; i < 3; i++)
        world_network(call.clients[i], "delay=20", "delay=20");
    world_network(call.clients[2], NULL, down);
    world_run(call.world, SECONDS(20));
    for (unsigned i = 0; i < 3; i++)
        receiver_check(call.viewers[i]);
    for (unsigned i = 0; i < 2; i++) {
        world_compare(call.world, receiver_freezes(call.viewers[i], CALL_SETTLED), ==, 0);
        world_compare(call.world, receiver_shown(call.viewers[i], CALL_SETTLED), >=, 25 * 19 - 1);
        world_compare(call.world, call.viewers[i]->rtx_packets, ==, 0);
        world_compare(call.world, call.viewers[i]->nacks, ==, 0);
        good[i] = call.viewers[i]->sent;
    }
    world_compare(call.world, call.publisher->streams[0].keys_sent, <=, 3);
    call_close(&call);
}

static void a_bad_subscriber_changes_nothing_for_others(void **state)
{
    struct sent_counts without[2], with[2];
    uint64_t seed = world_seeds(1).first;

    run_beside(seed, "delay=20", without);
    run_beside(seed, "delay=20,loss=20", with);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(with[i].markers, without[i].markers);
        assert_in_range(with[i].key_packets, 1, without[i].key_packets + 1);
    }
}

/* ---- joining ---- */

/* The publisher's key frames while a hundred join within a second. */
static void a_hundred_joiners_cost_few_key_frames(void **state)
{
    struct call call = call_open(world_seeds(1).first, 2, &vp8, &vp8_viewer);
    uint64_t joined_ns[CALL_VIEWERS_MAX], worst_ns = 0;
    uint32_t keys;

    world_network(call.sender, "delay=20", "delay=20");
    world_run(call.world, SECONDS(5));
    keys = call.publisher->streams[0].keys_sent;
    for (unsigned i = 1; i <= 100; i++) {
        joined_ns[i] = world_now(call.world);
        call_add(&call, i % 2, &vp8_viewer);
        world_network(call.clients[i], "delay=10", "delay=10");
        world_run(call.world, MS(10));
    }
    world_run(call.world, SECONDS(3));
    keys = call.publisher->streams[0].keys_sent - keys;
    for (unsigned i = 1; i <= 100; i++) {
        const struct receiver *r = call.viewers[i];

        receiver_check(r);
        world_compare(call.world, r->shown_count, >, 0);
        if (r->shown[0].at_ns - joined_ns[i] > worst_ns)
            worst_ns = r->shown[0].at_ns - joined_ns[i];
    }
    print_message(
        "# 100 joiners in 1 s: %u key frames, the last one sees a picture after %llu ms\n", keys,
        (unsigned long long)(worst_ns / NS_PER_MS));
    world_compare(call.world, keys, <=, 3);
    world_compare(call.world, worst_ns, <=, MS(1500));
    call_close(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscribers_on_another_worker_are_repaired),
        cmocka_unit_test(a_bad_subscriber_changes_nothing_for_others),
        cmocka_unit_test(a_hundred_joiners_cost_few_key_frames),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
