/* Layers: subscribers get the ones that they prefer, and see every change as a picture that goes on. */
#include "call.h"

#include <srtp2/srtp.h>

static const struct publisher_options simulcast_vp8 = {
    .codec = CODEC_vp8, .encodings = 3, .temporal = 3, .kbps = 100};
static const struct publisher_options simulcast_h264 = {
    .codec = CODEC_h264, .encodings = 3, .kbps = 100};
static const struct publisher_options k_svc_vp9 = {
    .codec = CODEC_vp9, .spatial = 3, .temporal = 3, .kbps = 100};
static const struct publisher_options full_svc_vp9 = {
    .codec = CODEC_vp9, .spatial = 3, .temporal = 3, .kbps = 100, .full_svc = true};
static const struct publisher_options k_svc_av1 = {
    .codec = CODEC_av1, .spatial = 3, .temporal = 3, .kbps = 100};

struct network {
    const char *sender_up, *viewer_down;
};
static const struct network clean = {"delay=10", "delay=10"};
static const struct network lossy = {"delay=15,jitter=8,loss=3", "delay=15,jitter=3,loss=4"};
/* Packets of a key picture overtake its first one only when that was lost. */
static const struct network lossy_in_order = {"delay=15,loss=2", "delay=15,jitter=3,loss=4"};

static struct call open_layered(uint64_t seed, unsigned workers,
                                const struct publisher_options *options,
                                const struct network *network)
{
    const struct receiver_options viewer = {.codec = options->codec, .spatial = 1};
    struct call call = call_open(seed, workers, options, NULL);

    world_network(call.sender, network->sender_up, "delay=10");
    call_add(&call, workers - 1, &viewer);
    world_network(call.clients[0], "delay=10", network->viewer_down);
    return call;
}

/* The viewer prefers other layers once a second; after `patience_ns` it must see them. Returns how many
 * changes of the spatial layer there were. */
static unsigned flip(struct call *call, unsigned seconds, uint64_t patience_ns, bool temporal)
{
    struct receiver *r = call->viewers[0];
    unsigned changes = 0, level = 0;

    for (unsigned i = 0; i < seconds; i++) {
        unsigned next = random_below(world_random(call->world), 3);
        uint64_t due_ns;

        changes += next != level;
        level = next;
        receiver_prefer(r, level + 1,
                        temporal ? 1 + random_below(world_random(call->world), 3) : 0);
        due_ns = world_now(call->world) + patience_ns;
        world_run(call->world, patience_ns + MS(330));
        world_compare(call->world, receiver_level(r, due_ns), ==, (int)level);
        world_run(call->world, SECONDS(1) - patience_ns - MS(330));
    }
    return changes;
}

/* ---- every codec ---- */

/* A clean network: not one picture is missed, whatever the layers. */
static void follow(const struct publisher_options *options, const char *what, bool temporal)
{
    for_seeds(seed, 2)
    {
        struct call call = open_layered(seed, 1, options, &clean);
        const struct receiver *r = call.viewers[0];
        unsigned changes;
        uint32_t asked;

        world_run(call.world, SECONDS(3));
        asked = r->key_frames_asked;
        changes = flip(&call, 30, MS(300), temporal);
        call_report(&call, what);
        receiver_check(r);
        world_compare(call.world, receiver_holes(r, 0), ==, 0);
        world_compare(call.world, r->sent.empty, ==, 0);
        world_compare(call.world, r->key_frames_asked, ==, asked);
        world_compare(call.world, receiver_freezes(r, WORLD_BEGIN_NS + SECONDS(3)), ==, 0);
        world_compare(call.world, receiver_gap_ns(r, WORLD_BEGIN_NS + SECONDS(3)), <=, MS(280));
        world_compare(call.world, r->timestamp_error_us, <=, 45000);
        for (unsigned i = 0; i < call.publisher->options.encodings; i++)
            world_compare(call.world, call.publisher->streams[i].keys_sent, <=, changes + 3);
        call_close(&call);
    }
}

static void layers_of_vp8_are_followed(void **state)
{
    follow(&simulcast_vp8, "VP8 simulcast", true);
}

static void layers_of_h264_are_followed(void **state)
{
    follow(&simulcast_h264, "H264 simulcast", false);
}

static void layers_of_vp9_are_followed(void **state)
{
    follow(&k_svc_vp9, "VP9 L3T3_KEY", true);
    follow(&full_svc_vp9, "VP9 L3T3", true);
}

static void layers_of_av1_are_followed(void **state)
{
    follow(&k_svc_av1, "AV1 L3T3_KEY", true);
}

/* Only the encoding that is switched to makes key frames: in all, about one for each change. */
static void only_the_wanted_encoding_makes_key_frames(void **state)
{
    struct call call = open_layered(world_seeds(1).first, 1, &simulcast_vp8, &clean);
    unsigned changes, keys = 0;

    world_run(call.world, SECONDS(3));
    for (unsigned i = 0; i < 3; i++)
        keys -= call.publisher->streams[i].keys_sent;
    changes = flip(&call, 30, MS(300), false);
    for (unsigned i = 0; i < 3; i++)
        keys += call.publisher->streams[i].keys_sent;
    world_compare(call.world, keys, <=, changes + 1);
    call_close(&call);
}

/* Loss on both ways, while layers change: nothing is ever decoded that should not be, no number leaves
 * twice, retransmissions are what left first (mediasoup 1527, 1606; LiveKit 1595, 1616, 1620). */
static void endure(const struct publisher_options *options, const char *what,
                   const struct network *network, unsigned workers, unsigned percent)
{
    for_seeds(seed, 4)
    {
        struct call call = open_layered(seed, workers, options, network);
        const struct receiver *r = call.viewers[0];

        world_run(call.world, SECONDS(3));
        for (unsigned i = 0; i < 40; i++) {
            receiver_prefer(call.viewers[0], 1 + random_below(world_random(call.world), 3),
                            1 + random_below(world_random(call.world), 3));
            world_run(call.world, MS(200 + random_below(world_random(call.world), 1300)));
        }
        receiver_prefer(call.viewers[0], 0, 0);
        world_run(call.world, SECONDS(4));
        call_report(&call, what);
        receiver_check(r);
        world_compare(call.world, r->sent.resent, >, 10);
        world_compare(call.world, receiver_level(r, world_now(call.world) - MS(500)), ==, 2);
        world_compare(call.world, receiver_gap_ns(r, WORLD_BEGIN_NS + SECONDS(3)), <=, SECONDS(2));
        world_compare(call.world, r->frames_decoded, >=,
                      percent * (world_now(call.world) - WORLD_BEGIN_NS) / NS_PER_S * 25 / 100);
        call_close(&call);
    }
}

static void layers_change_while_packets_are_lost(void **state)
{
    endure(&simulcast_vp8, "VP8 simulcast with loss", &lossy, 1, 40);
    endure(&k_svc_vp9, "VP9 L3T3_KEY with loss", &lossy_in_order, 1, 40);
    endure(&simulcast_h264, "H264 simulcast with loss", &lossy, 1, 70);
}

static void av1_endures_ten_percent(void **state)
{
    static const struct network ten = {"delay=15", "delay=15,loss=10"};

    endure(&k_svc_av1, "AV1 L3T3_KEY with 10 % loss", &ten, 1, 40);
}

static void layers_change_on_another_worker(void **state)
{
    endure(&simulcast_vp8, "VP8 simulcast, two workers", &lossy, 2, 40);
    endure(&k_svc_vp9, "VP9 L3T3_KEY, two workers", &lossy_in_order, 2, 40);
}

/* ---- numbers ---- */

/* Up, down, up, with picture IDs of 7 bits, and across the wrap of those of 15 (mediasoup 140, Licode
 * 952). */
static void picture_ids_wrap(void **state)
{
    struct publisher_options seven = simulcast_vp8, fifteen = simulcast_vp8, svc = k_svc_vp9;

    seven.picture_bits = 7;
    follow(&seven, "VP8 with picture IDs of 7 bits", true);
    fifteen.first_picture = 0x7fff - 130;
    follow(&fifteen, "VP8 across the wrap of picture IDs", true);
    svc.first_picture = 0x7fff - 130;
    follow(&svc, "VP9 across the wrap of picture IDs", true);
}

/* Sequence numbers wrap while layers change. */
static void sequence_numbers_wrap(void **state)
{
    struct publisher_options wrapping = simulcast_vp8;

    wrapping.with_sequence = 65500;
    follow(&wrapping, "VP8 across the wrap of sequence numbers", true);
}

/* Temporal layers come and go while packets of the base layer are lost and late: a dropped T1 takes no
 * TL0PICIDX from a T0 that is still to come, a late packet from before a drop leaves with its own number
 * (mediasoup 817, 1069, 1101, 1494; Janus 2694). */
static void temporal_layers_flip_while_the_base_layer_is_late(void **state)
{
    struct publisher_options one = {.codec = CODEC_vp8, .temporal = 3, .kbps = 400};
    static const struct network late = {"delay=30,jitter=30,loss=8", "delay=10"};

    for_seeds(seed, 6)
    {
        struct call call = open_layered(seed, 1, &one, &late);
        const struct receiver *r = call.viewers[0];
        uint32_t asked;

        world_run(call.world, SECONDS(3));
        asked = r->key_frames_asked;
        for (unsigned i = 0; i < 60; i++) {
            receiver_prefer(call.viewers[0], 0, 1 + random_below(world_random(call.world), 3));
            world_run(call.world, MS(100 + random_below(world_random(call.world), 400)));
        }
        receiver_prefer(call.viewers[0], 0, 0);
        world_run(call.world, SECONDS(3));
        call_report(&call, "temporal layers with a late base layer");
        receiver_check(r);
        world_compare(call.world, receiver_holes(r, KEY_PACKETS), <=, 5);
        world_compare(call.world, r->key_frames_asked - asked, <=, 1);
        world_compare(call.world, receiver_gap_ns(r, WORLD_BEGIN_NS + SECONDS(3)), <=, MS(700));
        call_close(&call);
    }
}

/* Nothing is sent for a while; the numbers go on without a gap (mediasoup 1069, 1494). */
static void a_pause_leaves_no_gap(void **state)
{
    for_seeds(seed, 2)
    {
        struct call call = open_layered(seed, 1, &simulcast_vp8, &clean);
        const struct receiver *r = call.viewers[0];

        for (unsigned i = 0; i < 10; i++) {
            receiver_prefer(call.viewers[0], 1 + random_below(world_random(call.world), 3), 0);
            world_run(call.world, MS(500 + random_below(world_random(call.world), 1000)));
            receiver_pause(call.viewers[0], true);
            world_run(call.world, MS(random_below(world_random(call.world), 1500)));
            receiver_pause(call.viewers[0], false);
            world_run(call.world, MS(1200));
        }
        receiver_check(r);
        world_compare(call.world, receiver_holes(r, 0), ==, 0);
        world_compare(call.world, r->nacks, ==, 0);
        call_close(&call);
    }
}

/* ---- time ---- */

/* Switches before the first sender report, and while the publisher's clock jumps (mediasoup 999, LiveKit
 * 4594). */
static void time_stamps_go_on(void **state)
{
    struct publisher_options mute = simulcast_vp8;

    mute.first_report_ns = SECONDS(100);
    for_seeds(seed, 2)
    {
        struct call call = open_layered(seed, 1, &mute, &clean);

        world_run(call.world, SECONDS(2));
        flip(&call, 10, MS(300), false);
        call_report(&call, "no sender reports");
        receiver_check(call.viewers[0]);
        world_compare(call.world, call.viewers[0]->timestamp_error_us, <=, 100000);
        call_close(&call);
    }
    for_seeds(seed, 4)
    {
        struct call call = open_layered(seed, 1, &simulcast_vp8, &clean);

        world_run(call.world, SECONDS(2));
        for (unsigned i = 0; i < 6; i++) {
            flip(&call, 1, MS(300), false);
            publisher_set_clock(call.publisher, (int64_t)SECONDS(10) * (i % 3 - 1));
            world_run(call.world,
                      MS(random_below(world_random(call.world), 1000))); /* some have reported */
            flip(&call, 1, MS(300), false);
        }
        call_report(&call, "the publisher's clock jumps");
        receiver_check(call.viewers[0]);
        world_compare(call.world, call.viewers[0]->timestamp_error_us, <=, 150000);
        call_close(&call);
    }
}

/* ---- what the publisher does not send ---- */

/* The top encoding or layer stops: the next one is shown within a moment; when it is back, so is its
 * picture (mediasoup 1821). */
static void fall_back(const struct publisher_options *options, const char *what)
{
    for_seeds(seed, 2)
    {
        struct call call = open_layered(seed, 1, options, &clean);
        struct receiver *r = call.viewers[0];
        uint64_t stopped_ns;

        receiver_prefer(r, 0, 0);
        world_run(call.world, SECONDS(4));
        world_compare(call.world, receiver_level(r, world_now(call.world) - MS(300)), ==, 2);
        stopped_ns = world_now(call.world);
        if (options->encodings)
            publisher_stop(call.publisher, 2, true);
        else
            publisher_spatial_layers(call.publisher, 2);
        world_run(call.world, SECONDS(4));
        call_report(&call, what);
        world_compare(call.world, receiver_level(r, world_now(call.world) - MS(300)), ==, 1);
        world_compare(call.world, receiver_gap_ns(r, stopped_ns), <=, MS(2000));
        if (options->encodings)
            publisher_stop(call.publisher, 2, false);
        else
            publisher_spatial_layers(call.publisher, 3);
        world_run(call.world, SECONDS(4));
        world_compare(call.world, receiver_level(r, world_now(call.world) - MS(300)), ==, 2);
        receiver_check(r);
        world_compare(call.world, receiver_holes(r, 0), ==, 0);
        call_close(&call);
    }
}

static void a_layer_that_stops_is_replaced(void **state)
{
    fall_back(&simulcast_vp8, "the top encoding stops");
    fall_back(&k_svc_vp9, "the top layer of VP9 stops");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_of_vp8_are_followed),
        cmocka_unit_test(layers_of_h264_are_followed),
        cmocka_unit_test(layers_of_vp9_are_followed),
        cmocka_unit_test(layers_of_av1_are_followed),
        cmocka_unit_test(only_the_wanted_encoding_makes_key_frames),
        cmocka_unit_test(layers_change_while_packets_are_lost),
        cmocka_unit_test(av1_endures_ten_percent),
        cmocka_unit_test(layers_change_on_another_worker),
        cmocka_unit_test(picture_ids_wrap),
        cmocka_unit_test(sequence_numbers_wrap),
        cmocka_unit_test(temporal_layers_flip_while_the_base_layer_is_late),
        cmocka_unit_test(a_pause_leaves_no_gap),
        cmocka_unit_test(time_stamps_go_on),
        cmocka_unit_test(a_layer_that_stops_is_replaced),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
