/* Threat D22: a client that sends more than it may loses what is too much, before it is decrypted;
 * other clients lose nothing. Honest clients stay whole, also when somebody else sends with their
 * address. */
#include "call.h"
#include "dataplane/engines/dtls.h"
#include "tests/unit/dataplane/engines/hello_build.h"

#define KBPS_MAX 100000 /* the defaults of the settings */
#define PACKETS_MAX 20000
#define AUDIO_KBPS_MAX 5000
#define AUDIO_PACKETS_MAX 2000
#define MS NS_PER_MS

enum { HOSTILE, VICTIM, CLIENTS };

static struct rig *open_two(struct client clients[CLIENTS])
{
    struct rig *rig = rig_open();
    struct producer_row row = rig_audio_row(VICTIM, AUDIO_SSRC);

    memset(clients, 0, CLIENTS * sizeof(*clients));
    rig->worker->transports.rates[MEDIA_KIND_video] = policer_rate(KBPS_MAX, PACKETS_MAX);
    rig->worker->transports.rates[MEDIA_KIND_audio] =
        policer_rate(AUDIO_KBPS_MAX, AUDIO_PACKETS_MAX);
    for (uint32_t i = 0; i < CLIENTS; i++)
        rig_connect(rig, &clients[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, HOSTILE, false);
    rig_row(rig, TABLE_producer, 1, &row.header, 1);
    rig_turn(rig);
    return rig;
}

static void close_two(struct rig *rig, struct client clients[CLIENTS])
{
    for (uint32_t i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    rig_close(rig);
}

static uint64_t received(const struct rig *rig, uint32_t transport)
{
    return rig->worker->transports.all[transport].rtp_packets_received;
}

/* Sends `count` video packets of `payload` bytes. */
static void send_video(struct rig *rig, struct client *c, uint32_t *sequence, unsigned count,
                       size_t payload)
{
    for (unsigned i = 0; i < count; i++, ++*sequence) {
        uint8_t packet[1600];

        client_send_rtp(rig, c, packet,
                        client_rtp(packet, 96, (uint16_t)*sequence, *sequence * 90, VIDEO_SSRC,
                                   false, payload));
        if (i % 128 == 127)
            rig_turn(rig);
    }
}

static void send_audio(struct rig *rig, struct client *c, uint32_t *sequence)
{
    uint8_t packet[400];

    client_send_rtp(
        rig, c, packet,
        client_rtp(packet, 111, (uint16_t)*sequence, *sequence * 960, AUDIO_SSRC, false, 120));
    ++*sequence;
}

/* 310 Mbit/s of authentic RTP of one client. Without the limit all of it is decrypted. */
static void a_client_over_its_limit_loses_only_its_own(void **state)
{
    struct client clients[CLIENTS];
    struct rig *rig = open_two(clients);
    uint32_t video = 1, audio = 1, seconds = 3;
    uint64_t passed, limit = (uint64_t)KBPS_MAX * 1000 / 8 / (12 + 1200 + 16);

    for (uint32_t ms = 0; ms < seconds * 1000; ms++) {
        send_video(rig, &clients[HOSTILE], &video, 32, 1200); /* 314 Mbit/s */
        if (ms % 20 == 0)
            send_audio(rig, &clients[VICTIM], &audio);
        rig_advance(rig, MS);
    }
    passed = received(rig, HOSTILE);
    print_message("hostile: %u packets sent in %u s, %llu decrypted (limit %llu/s), %llu dropped; "
                  "victim: %u sent, %llu decrypted\n",
                  video - 1, seconds, (unsigned long long)passed, (unsigned long long)limit,
                  (unsigned long long)rig_verdict(rig, VERDICT_drop_media_limit), audio - 1,
                  (unsigned long long)received(rig, VICTIM));
    assert_in_range(passed, limit * seconds, limit * (seconds + 1)); /* half a second of burst */
    assert_int_equal(passed + rig_verdict(rig, VERDICT_drop_media_limit), video - 1);
    assert_int_equal(received(rig, VICTIM), audio - 1);
    /* It is not closed: as soon as it sends less, all of it arrives. */
    rig_advance(rig, 600 * MS);
    send_video(rig, &clients[HOSTILE], &video, 100, 1200);
    rig_turn(rig);
    assert_int_equal(received(rig, HOSTILE), passed + 100);
    close_two(rig, clients);
}

static void small_packets_have_a_limit_too(void **state)
{
    struct client clients[CLIENTS];
    struct rig *rig = open_two(clients);
    uint32_t video = 1;

    for (uint32_t ms = 0; ms < 2000; ms++) {
        send_video(rig, &clients[HOSTILE], &video, 50, 20);
        rig_advance(rig, MS);
    }
    assert_in_range(received(rig, HOSTILE), 2 * PACKETS_MAX, 3 * PACKETS_MAX);
    assert_true(rig_verdict(rig, VERDICT_drop_media_limit) > 30000);
    close_two(rig, clients);
}

/* A camera in 4K with simulcast (20 + 6 + 1.5 Mbit/s) and a shared screen in 4K (25 Mbit/s), with a
 * key frame of 2.4 MB every second, sent as fast as the line takes it. */
static void an_honest_4k_simulcast_and_screen_share_stay_whole(void **state)
{
    struct client clients[CLIENTS];
    struct rig *rig = open_two(clients);
    uint32_t video = 1;

    for (uint32_t ms = 0; ms < 3000; ms++) {
        send_video(rig, &clients[HOSTILE], &video, 52500 / 8 / 1200, 1200);
        if (ms % 1000 == 0)
            send_video(rig, &clients[HOSTILE], &video, 2000, 1200);
        rig_advance(rig, MS);
    }
    assert_int_equal(received(rig, HOSTILE), video - 1);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_media_limit), 0);
    close_two(rig, clients);
}

/* What a network held back for half a second arrives at once. */
static void packets_that_were_held_back_stay_whole(void **state)
{
    struct client clients[CLIENTS];
    struct rig *rig = open_two(clients);
    uint32_t video = 1;

    rig_advance(rig, 500 * MS);
    send_video(rig, &clients[HOSTILE], &video, 52500 / 8 / 1200 * 500, 1200);
    rig_turn(rig);
    assert_int_equal(received(rig, HOSTILE), video - 1);
    close_two(rig, clients);
}

/* The limit of a client without video is lower; it rises with a video producer. */
static void the_limit_follows_the_producers(void **state)
{
    struct client clients[CLIENTS];
    struct rig *rig = open_two(clients);
    const struct transports *ts = &rig->worker->transports;

    assert_ptr_equal(ts->all[HOSTILE].rate, &ts->rates[MEDIA_KIND_video]);
    assert_ptr_equal(ts->all[VICTIM].rate, &ts->rates[MEDIA_KIND_audio]);
    rig_free_row(rig, TABLE_producer, 0, 1);
    rig_turn(rig);
    assert_ptr_equal(ts->all[HOSTILE].rate, &ts->rates[MEDIA_KIND_audio]);
    rig_video_producer(rig, 2, VICTIM, false);
    rig_turn(rig);
    assert_ptr_equal(ts->all[VICTIM].rate, &ts->rates[MEDIA_KIND_video]);
    close_two(rig, clients);
}

/* A client without video may send 5 Mbit/s: opus at its highest rate, twice, passes. */
static void an_audio_client_has_a_limit(void **state)
{
    struct client clients[CLIENTS];
    struct rig *rig = open_two(clients);
    uint32_t audio = 1;

    for (uint32_t ms = 0; ms < 1000; ms++) {
        if (ms % 5 == 0)
            for (int i = 0; i < 6; i++)
                send_audio(rig, &clients[VICTIM], &audio);
        rig_advance(rig, MS);
    }
    assert_int_equal(received(rig, VICTIM), audio - 1);
    for (uint32_t ms = 0; ms < 2000; ms++) {
        for (int i = 0; i < 10; i++)
            send_audio(rig, &clients[VICTIM], &audio);
        rig_advance(rig, MS);
    }
    assert_true(received(rig, VICTIM) < 1200 + 2 * AUDIO_PACKETS_MAX + AUDIO_PACKETS_MAX / 2 + 100);
    close_two(rig, clients);
}

static uint64_t worked_for_nothing(const struct rig *rig)
{
    return rig_verdict(rig, VERDICT_drop_rtp_unauthentic) +
           rig_verdict(rig, VERDICT_drop_rtp_replay) +
           rig_verdict(rig, VERDICT_drop_rtcp_unauthentic);
}

/* Somebody sends as the client with its address: garbage, replays, RTCP. Within the limit it costs
 * the client nothing; above it, it costs no decryption. */
static void forged_packets_do_not_use_up_the_limit(void **state)
{
    struct client clients[CLIENTS];
    struct rig *rig = open_two(clients);
    uint32_t video = 1, forged = 0;
    uint8_t packet[1300];

    for (uint32_t ms = 0; ms < 1000; ms++) { /* 94 Mbit/s forged beside 59 Mbit/s */
        for (int i = 0; i < 9; i++, forged++) {
            client_rtp(packet, 96, (uint16_t)rand(), 1, VIDEO_SSRC, false, 1288);
            assert_true(io_replay_feed(rig->io, &clients[HOSTILE].path, packet, sizeof(packet)));
        }
        send_video(rig, &clients[HOSTILE], &video, 6, 1200);
        rig_advance(rig, MS);
    }
    assert_int_equal(received(rig, HOSTILE), video - 1);
    assert_int_equal(worked_for_nothing(rig), forged);
    for (uint32_t ms = 0; ms < 2000; ms++) {
        for (int i = 0; i < 60; i++, forged++) {
            if (i % 2)
                client_rtp(packet, 96, (uint16_t)rand(), 1, VIDEO_SSRC, false, 1288);
            else
                memcpy(packet, (uint8_t[]){0x80, 200, 0, 6}, 4);
            assert_true(io_replay_feed(rig->io, &clients[HOSTILE].path, packet, sizeof(packet)));
        }
        rig_advance(rig, MS);
    }
    assert_true(worked_for_nothing(rig) < 9000 + 2 * PACKETS_MAX + PACKETS_MAX / 2);
    assert_true(rig_verdict(rig, VERDICT_drop_media_limit) > 50000);
    rig_advance(rig, 600 * MS);
    send_video(rig, &clients[HOSTILE], &video, 100, 1200);
    rig_turn(rig);
    assert_int_equal(received(rig, HOSTILE), video - 1);
    close_two(rig, clients);
}

/* The ring to the handshaker is for all clients of the worker: one of them cannot fill it. */
static void dtls_of_one_client_does_not_fill_the_ring(void **state)
{
    struct client clients[CLIENTS];
    struct rig *rig = open_two(clients);
    uint8_t hello[HELLO_BYTES_MAX];
    size_t bytes = hello_whole(hello, 0);

    while (ring_peek(&rig->to_handshaker))
        ring_consume(&rig->to_handshaker);
    for (int i = 0; i < 10 * DTLS_RING_ENTRIES; i++) {
        assert_true(io_replay_feed(rig->io, &clients[HOSTILE].path, hello, (uint32_t)bytes));
        if (i % 128 == 127)
            rig_turn(rig);
    }
    rig_turn(rig);
    assert_true(rig_verdict(rig, VERDICT_drop_dtls_limit) > 0);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_dtls_full), 0);
    assert_true(io_replay_feed(rig->io, &clients[VICTIM].path, hello, (uint32_t)bytes));
    rig_turn(rig);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_dtls_full), 0);
    close_two(rig, clients);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_over_its_limit_loses_only_its_own),
        cmocka_unit_test(small_packets_have_a_limit_too),
        cmocka_unit_test(an_honest_4k_simulcast_and_screen_share_stay_whole),
        cmocka_unit_test(packets_that_were_held_back_stay_whole),
        cmocka_unit_test(the_limit_follows_the_producers),
        cmocka_unit_test(an_audio_client_has_a_limit),
        cmocka_unit_test(forged_packets_do_not_use_up_the_limit),
        cmocka_unit_test(dtls_of_one_client_does_not_fill_the_ring),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
