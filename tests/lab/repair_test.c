/* Pictures survive loss, lateness and doubled packets, on the way in and on the way out. */
#include "call.h"

#include <srtp2/srtp.h>

static const struct publisher_options vp8 = {.codec = CODEC_vp8, .kbps = 800};
static const struct receiver_options vp8_viewer = {.codec = CODEC_vp8};

static struct call open_vp8(uint64_t seed)
{
    return call_open(seed, 1, &vp8, &vp8_viewer);
}

/* ---- the lab itself ---- */

static uint64_t trace_of(uint64_t seed)
{
    struct call call = call_open(seed, 2, &vp8, &vp8_viewer);
    uint64_t trace;

    world_network(call.sender, "loss=3,delay=20,jitter=5", NULL);
    world_network(call.clients[0], "delay=20", "loss=5,burst=3,delay=20,jitter=10,double=1");
    world_run(call.world, SECONDS(5));
    trace = world_trace(call.world);
    call_close(&call);
    return trace;
}

static void the_same_seed_gives_the_same_packets(void **state)
{
    uint64_t first = trace_of(1);

    print_message("# trace of seed 1: %016llx\n", (unsigned long long)first);
    assert_true(trace_of(1) == first);
    assert_true(trace_of(2) != first);
}

/* ---- loss at random ---- */

static void loss_to_a_subscriber_is_repaired(void **state)
{
    for_seeds(seed, 3)
    {
        struct call call = open_vp8(seed);
        const struct receiver *r = call.viewers[0];

        world_network(call.sender, "delay=5", "delay=5");
        world_network(call.clients[0], "delay=20", "loss=5,delay=20");
        world_run(call.world, SECONDS(30));
        call_report(&call, "5 % lost on the way to the subscriber");
        receiver_check(r);
        world_compare(call.world, receiver_holes(r, KEY_PACKETS), ==, 0);
        world_compare(call.world, receiver_freezes(r, CALL_SETTLED), ==, 0);
        world_compare(call.world, receiver_shown(r, CALL_SETTLED), >=, 25 * 29 - 3);
        world_compare(call.world, receiver_gap_ns(r, CALL_SETTLED), <=, MS(40 + 150));
        world_compare(call.world, r->repaired_in_time, >=, 0.99 * (r->repaired + r->given_up));
        world_compare(call.world, r->key_frames_asked, ==, 0);
        world_compare(call.world, call.publisher->streams[0].keys_sent, <=, 2);
        call_close(&call);
    }
}

static void loss_from_a_publisher_is_repaired(void **state)
{
    for_seeds(seed, 3)
    {
        struct call call = open_vp8(seed);
        const struct receiver *r = call.viewers[0];

        world_network(call.sender, "loss=5,delay=20", "delay=20");
        world_network(call.clients[0], "delay=5", "delay=5");
        world_run(call.world, SECONDS(30));
        call_report(&call, "5 % lost on the way from the publisher");
        receiver_check(r);
        world_compare(call.world, receiver_freezes(r, CALL_SETTLED), ==, 0);
        world_compare(call.world, receiver_shown(r, CALL_SETTLED), >=, 25 * 29 - 3);
        world_compare(call.world, receiver_gap_ns(r, CALL_SETTLED), <=, MS(40 + 150));
        world_compare(call.world, r->key_frames_asked, ==, 0);
        world_compare(call.world, world_counter(call.world, COUNTER_repaired_in), >, 50);
        call_close(&call);
    }
}

/* Retransmissions are lost, too, so packets are asked for more than once: on both ways. */
static void heavy_loss_on_both_ways_is_repaired(void **state)
{
    for_seeds(seed, 3)
    {
        struct call call = open_vp8(seed);
        const struct receiver *r = call.viewers[0];

        world_network(call.sender, "loss=20,delay=10", "loss=20,delay=10");
        world_network(call.clients[0], "loss=20,delay=10", "loss=20,delay=10");
        world_run(call.world, SECONDS(30));
        call_report(&call, "20 % lost on both ways");
        receiver_check(r);
        world_compare(call.world, receiver_shown(r, CALL_SETTLED), >=, 25 * 29 * 80 / 100);
        world_compare(call.world, receiver_gap_ns(r, CALL_SETTLED), <=, SECONDS(3));
        call_close(&call);
    }
}

/* The network loses 20 % in bursts of four packets in the mean (Gilbert and Elliott). */
static void bursts_are_recovered_from(void **state)
{
    for_seeds(seed, 3)
    {
        struct call call = open_vp8(seed);
        const struct receiver *r = call.viewers[0];

        world_network(call.sender, "delay=5", "delay=5");
        world_network(call.clients[0], "delay=20", "loss=20,burst=4,delay=20");
        world_run(call.world, SECONDS(30));
        call_report(&call, "bursts of 20 %");
        receiver_check(r);
        world_compare(call.world, receiver_gap_ns(r, CALL_SETTLED), <=, SECONDS(2));
        world_compare(call.world, receiver_holes(r, KEY_PACKETS), ==, 0);
        call_close(&call);
    }
}

/* ---- lateness, doubled packets ---- */

/* 150 ± 50 ms: packets overtake each other, none is lost. */
static void jitter_costs_no_key_frames(void **state)
{
    for_seeds(seed, 3)
    {
        struct call call = open_vp8(seed);
        const struct receiver *r = call.viewers[0];
        uint32_t asked, keys;
        uint64_t nacked;

        world_network(call.sender, "delay=150,jitter=50", "delay=20");
        world_network(call.clients[0], "delay=20", "delay=150,jitter=50");
        world_run(call.world, SECONDS(3)); /* until the first key frame is here, it is asked for */
        asked = r->key_frames_asked;
        keys = call.publisher->streams[0].keys_asked;
        nacked = world_counter(call.world, COUNTER_nack_sent);
        world_run(call.world, SECONDS(27));
        call_report(&call, "150 ± 50 ms");
        receiver_check(r);
        world_compare(call.world, r->key_frames_asked, ==, asked);
        world_compare(call.world, call.publisher->streams[0].keys_asked, ==, keys);
        nacked = world_counter(call.world, COUNTER_nack_sent) - nacked;
        world_compare(call.world, nacked, <=, 200); /* of 3200 packets, most of which are late */
        world_compare(call.world, receiver_holes(r, 0), ==, 0);
        world_compare(call.world, receiver_freezes(r, WORLD_BEGIN_NS + SECONDS(3)), ==, 0);
        world_compare(call.world, receiver_shown(r, WORLD_BEGIN_NS + SECONDS(3)), >=, 25 * 27 - 10);
        call_close(&call);
    }
}

static void doubled_packets_are_taken_once(void **state)
{
    for_seeds(seed, 2)
    {
        struct call call = open_vp8(seed);
        const struct receiver *r = call.viewers[0];

        world_network(call.sender, "delay=20,jitter=10,double=30,loss=2", "delay=20,double=30");
        world_network(call.clients[0], "delay=20,double=30", "delay=20,double=30,loss=2");
        world_run(call.world, SECONDS(10));
        receiver_check(r);
        world_compare(call.world, receiver_holes(r, KEY_PACKETS), ==, 0);
        world_compare(call.world, receiver_freezes(r, CALL_SETTLED), ==, 0);
        world_compare(call.world, world_counter(call.world, COUNTER_index_refused), ==, 0);
        call_close(&call);
    }
}

/* ---- retransmissions that nobody asked for ---- */

/* A publisher measures its bandwidth with retransmissions of packets that arrived, and with jitter some
 * overtake their originals (mediasoup 906, 1653). */
static void retransmissions_as_probes_do_no_harm(void **state)
{
    const struct publisher_options probing = {.codec = CODEC_vp8, .kbps = 800, .probes = true};

    for_seeds(seed, 3)
    {
        struct call call = call_open(seed, 1, &probing, &vp8_viewer);
        const struct receiver *r = call.viewers[0];

        world_network(call.sender, "delay=30,jitter=25,loss=2", "delay=10");
        world_run(call.world, SECONDS(10));
        receiver_check(r);
        world_compare(call.world, call.publisher->streams[0].packets_sent_again, >=, 70);
        world_compare(call.world, receiver_freezes(r, CALL_SETTLED), ==, 0);
        world_compare(call.world, receiver_holes(r, KEY_PACKETS), ==, 0);
        world_compare(call.world,
                      world_verdict(call.world, VERDICT_drop_rtx_unused) +
                          world_verdict(call.world, VERDICT_drop_rtp_replay),
                      >=, 50);
        call_close(&call);
    }
}

/* ---- storms ---- */

/* Ten subscribers ask for key frames every 50 ms (Jitsi 2448). */
static void a_storm_of_key_frame_requests_costs_one_a_second(void **state)
{
    struct call call = open_vp8(world_seeds(1).first);
    unsigned keys;

    for (unsigned i = 1; i < 10; i++)
        call_add(&call, 0, &vp8_viewer);
    world_run(call.world, SECONDS(2));
    keys = call.publisher->streams[0].keys_sent;
    for (unsigned i = 0; i < 200; i++) {
        for (unsigned k = 0; k < call.count; k++)
            receiver_ask_key_frame(call.viewers[k]);
        world_run(call.world, MS(50));
    }
    print_message("# 2000 key-frame requests in 10 s: %u key frames\n",
                  call.publisher->streams[0].keys_sent - keys);
    world_compare(call.world, call.publisher->streams[0].keys_sent - keys, >=, 9);
    world_compare(call.world, call.publisher->streams[0].keys_sent - keys, <=, 11);
    for (unsigned k = 0; k < call.count; k++)
        receiver_check(call.viewers[k]);
    call_close(&call);
}

/* A subscriber that waits for a key frame asks for hundreds of packets of before, again and again
 * (LiveKit 440). */
static void nothing_is_sent_again_while_a_key_frame_is_awaited(void **state)
{
    const struct publisher_options slow = {.codec = CODEC_vp8, .kbps = 800, .slow_keys = true};
    struct call call = call_open(world_seeds(1).first, 1, &slow, &vp8_viewer);
    struct receiver *r = call.viewers[0];
    uint64_t sent_again;
    uint16_t numbers[200];

    world_run(call.world, SECONDS(3));
    for (unsigned i = 0; i < 200; i++)
        numbers[i] = (uint16_t)(r->newest - 199 + i);
    receiver_ask_key_frame(r);
    world_run(call.world, MS(5));
    sent_again = world_counter(call.world, COUNTER_rtx_sent);
    for (unsigned i = 0; i < 4; i++) {
        receiver_ask_again(r, numbers, 200);
        world_run(call.world, MS(100));
    }
    world_compare(call.world, world_counter(call.world, COUNTER_rtx_sent), ==, sent_again);
    world_run(call.world, SECONDS(2)); /* the key frame came; what is lost now is sent again */
    world_network(call.clients[0], NULL, "loss=10");
    world_run(call.world, SECONDS(2));
    world_compare(call.world, world_counter(call.world, COUNTER_rtx_sent), >, sent_again + 5);
    world_compare(call.world, receiver_freezes(r, CALL_SETTLED), ==, 0);
    receiver_check(r);
    call_close(&call);
}

/* ---- sound ---- */

/* Silence is no loss (mediasoup 415, LiveKit 159). */
static void silence_is_no_loss(void **state)
{
    const struct publisher_options dtx = {.codec = CODEC_opus, .dtx = true};
    const struct receiver_options listener = {.codec = CODEC_opus};
    struct call call = call_open(world_seeds(1).first, 1, &dtx, &listener);
    const struct producer_state_row *row;
    const struct receiver *r = call.viewers[0];

    world_network(call.sender, "delay=20", "delay=20");
    world_run(call.world, SECONDS(40));
    row = world_actual_row(call.world, TABLE_producer_state, 0);
    receiver_check(r);
    world_compare(call.world, receiver_holes(r, KEY_PACKETS), ==, 0);
    world_compare(call.world, r->sent.packets, >, 300);
    world_compare(call.world, row->encoding_packets_lost[0], ==, 0);
    world_compare(call.world, row->encoding_fraction_lost[0], ==, 0);
    world_compare(call.world, world_counter(call.world, COUNTER_nack_sent), ==, 0);
    world_compare(call.world, world_counter(call.world, COUNTER_key_frames_asked), ==, 0);
    call_close(&call);
}

/* ---- H264 ---- */

/* A key frame is SPS, PPS and IDR slices, in packets of their own: whichever of them is lost or late, the
 * decoder gets all of it, or begins at another one. */
static void a_key_frame_of_h264_is_whole(void **state)
{
    const struct publisher_options h264 = {.codec = CODEC_h264, .kbps = 800};
    const struct receiver_options viewer = {.codec = CODEC_h264};

    for_seeds(seed, 4)
    {
        struct call call = call_open(seed, 1, &h264, &viewer);
        const struct receiver *r = call.viewers[0];

        world_network(call.sender, "delay=20,jitter=8,loss=5", "delay=20");
        world_network(call.clients[0], "delay=10", "delay=10,loss=2");
        for (unsigned i = 0; i < 10; i++) { /* it begins again and again */
            uint64_t paused_ns;

            world_run(call.world, SECONDS(2));
            receiver_pause(call.viewers[0], true);
            world_run(call.world, MS(500));
            receiver_pause(call.viewers[0], false);
            paused_ns = world_now(call.world);
            world_run(call.world, SECONDS(2));
            world_compare(call.world, receiver_gap_ns(r, paused_ns), <=, MS(1200));
        }
        call_report(&call, "H264");
        receiver_check(r);
        call_close(&call);
    }
}

/* ---- padding ---- */

/* Packets of only padding take numbers of the stream; nobody needs them. */
static void padding_is_not_forwarded(void **state)
{
    const struct publisher_options padded = {.codec = CODEC_vp8, .kbps = 800, .paddings = 3};

    for_seeds(seed, 2)
    {
        struct call call = call_open(seed, 1, &padded, &vp8_viewer);
        const struct receiver *r = call.viewers[0];

        world_network(call.clients[0], "delay=20", "delay=20,loss=3");
        world_run(call.world, SECONDS(10));
        call_report(&call, "padding");
        receiver_check(r);
        world_compare(call.world, receiver_holes(r, 0), ==, 0);
        world_compare(call.world, r->sent.empty, ==, 0);
        world_compare(call.world, receiver_freezes(r, CALL_SETTLED), ==, 0);
        call_close(&call);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_packets),
        cmocka_unit_test(loss_to_a_subscriber_is_repaired),
        cmocka_unit_test(loss_from_a_publisher_is_repaired),
        cmocka_unit_test(heavy_loss_on_both_ways_is_repaired),
        cmocka_unit_test(bursts_are_recovered_from),
        cmocka_unit_test(jitter_costs_no_key_frames),
        cmocka_unit_test(doubled_packets_are_taken_once),
        cmocka_unit_test(retransmissions_as_probes_do_no_harm),
        cmocka_unit_test(a_storm_of_key_frame_requests_costs_one_a_second),
        cmocka_unit_test(nothing_is_sent_again_while_a_key_frame_is_awaited),
        cmocka_unit_test(silence_is_no_loss),
        cmocka_unit_test(a_key_frame_of_h264_is_whole),
        cmocka_unit_test(padding_is_not_forwarded),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
