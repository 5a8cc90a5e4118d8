/* The worker as a whole: forwarding, rewriting, key frames, reports, table changes. */
#include "rig.h"

#include "dataplane/engines/rtcp.h"

static const enum srtp_profile profiles[] = {
    SRTP_PROFILE_aead_aes_128_gcm, SRTP_PROFILE_aead_aes_256_gcm, SRTP_PROFILE_aes128_cm_sha1_80};

/* One publisher (transport 0, producer 0) and `subscribers` others, all connected. */
static struct rig *call_open(struct client *clients, uint32_t subscribers,
                             enum srtp_profile profile)
{
    struct rig *rig = rig_open();

    memset(clients, 0, (subscribers + 1) * sizeof(*clients));
    for (uint32_t i = 0; i <= subscribers; i++)
        rig_connect(rig, &clients[i], i, i % 2 ? profile : profiles[0]);
    rig_video_producer(rig, 0, 0, false);
    rig_turn(rig);
    return rig;
}

static void call_close(struct rig *rig, struct client *clients, uint32_t subscribers)
{
    for (uint32_t i = 0; i <= subscribers; i++)
        client_close(&clients[i]);
    rig_close(rig);
}

static void publish(struct rig *rig, struct client *c, uint16_t sequence, uint32_t timestamp,
                    bool key_frame, size_t payload)
{
    uint8_t packet[1600];
    size_t bytes = client_rtp(packet, 96, sequence, timestamp, VIDEO_SSRC, key_frame, payload);

    client_send_rtp(rig, c, packet, bytes);
}

static void forwards_to_everybody_in_every_profile(void **state)
{
    for (size_t k = 0; k < 3; k++) {
        struct client clients[5];
        struct rig *rig = call_open(clients, 4, profiles[k]);
        struct rig_sent got[8];

        for (uint32_t i = 1; i <= 4; i++)
            rig_consumer(rig, i, i, 0, 1000 * i, false, 1);
        rig_turn(rig);
        for (uint16_t i = 0; i < 5; i++)
            publish(rig, &clients[0], (uint16_t)(65533 + i), 90000 + i * 3000u, i == 0, 900 + i);
        rig_turn(rig);
        for (uint32_t i = 1; i <= 4; i++) {
            assert_int_equal(client_received_rtp(rig, &clients[i], got, 8), 5);
            for (uint32_t n = 0; n < 5; n++) {
                const uint8_t *p = got[n].data;
                uint16_t first = (uint16_t)(got[0].data[2] << 8 | got[0].data[3]);

                assert_int_equal(get32(p + 8), 1000 * i);
                assert_int_equal(p[1] & 0x7f, 101);
                assert_int_equal((uint16_t)(p[2] << 8 | p[3]), (uint16_t)(first + n));
                assert_int_equal(get32(p + 4), 90000 + n * 3000);
                /* extension block: MID "0" with id 1, abs-send-time with id 4 */
                assert_int_equal(p[0] & 0x10, 0x10);
                assert_int_equal(get32(p + 12) >> 16, 0xbede);
                assert_int_equal(p[16], 0x10);
                assert_int_equal(p[17], '0');
                assert_int_equal(p[18], 0x42);
                /* padded to the longest of the burst, so that they leave as one */
                assert_int_equal(got[n].bytes, 12 + 4 + 8 + 904);
                assert_int_equal(p[0] & 0x20, n < 4 ? 0x20 : 0);
                if (n < 4)
                    assert_int_equal(p[got[n].bytes - 1], 4 - n);
            }
        }
        assert_int_equal(rig->worker->turn.verdicts[VERDICT_forwarded], 5);
        call_close(rig, clients, 4);
    }
}

static void video_starts_at_a_key_frame_only(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtcp(rig, &clients[0], RTCP_PSFB, PSFB_PLI), 1);
    publish(rig, &clients[0], 10, 1, false, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    publish(rig, &clients[0], 11, 2, true, 500);
    publish(rig, &clients[0], 12, 2, false, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 2);
    call_close(rig, clients, 1);
}

/* D19: whatever subscribers ask for, the publisher sees at most one request a second. */
static void key_frame_requests_are_throttled(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);
    size_t seen = 0, asked = 0;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    for (int tick = 0; tick < 50; tick++) { /* 5 s */
        uint8_t rtcp[64];

        for (int n = 0; n < 5; n++) {
            struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};

            rtcp_add_pli(&b, 99, 4000);
            client_send_rtcp(rig, &clients[1], rtcp, b.bytes);
            asked++;
        }
        rig_turn(rig);
        seen += client_received_rtcp(rig, &clients[0], RTCP_PSFB, PSFB_PLI);
        rig_advance(rig, 100 * NS_PER_MS);
        seen += client_received_rtcp(rig, &clients[0], RTCP_PSFB, PSFB_PLI);
    }
    assert_in_range(seen, 4, 6);
    assert_int_equal(rig->worker->consumers.details[0].pli_received, asked);
    call_close(rig, clients, 1);
}

static void fir_with_the_same_number_counts_once(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    for (int n = 0; n < 6; n++) {
        uint8_t rtcp[64];
        struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};

        rtcp_add_fir(&b, 99, 4000, (uint8_t)(n / 3));
        client_send_rtcp(rig, &clients[1], rtcp, b.bytes);
    }
    rig_turn(rig);
    assert_int_equal(rig->worker->consumers.details[0].fir_received, 2);
    call_close(rig, clients, 1);
}

/* Pausing leaves no gap in what the subscriber is numbered, and resuming asks for a key frame. */
static void pause_and_resume_leave_no_gap(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[2]);
    struct rig_sent got[4];
    uint16_t last;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    publish(rig, &clients[0], 100, 9000, true, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 4), 1);
    last = (uint16_t)(got[0].data[2] << 8 | got[0].data[3]);
    for (int who = 0; who < 2; who++) { /* the consumer's pause, then the producer's */
        if (who == 0)
            rig_consumer(rig, 0, 1, 0, 4000, true, 1);
        else
            rig_video_producer(rig, 0, 0, true);
        rig_turn(rig);
        for (uint16_t i = 0; i < 3; i++)
            publish(rig, &clients[0], (uint16_t)(101 + who * 10 + i), 9100, true, 500);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
        rig_advance(rig, 2 * NS_PER_S);
        if (who == 0)
            rig_consumer(rig, 0, 1, 0, 4000, false, 1);
        else
            rig_video_producer(rig, 0, 0, false);
        rig_turn(rig);
        assert_int_equal(client_received_rtcp(rig, &clients[0], RTCP_PSFB, PSFB_PLI), 1);
        publish(rig, &clients[0], (uint16_t)(105 + who * 10), 9200, true, 500);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], got, 4), 1);
        assert_int_equal((uint16_t)(got[0].data[2] << 8 | got[0].data[3]), (uint16_t)(last + 1));
        last++;
    }
    assert_true(rig->worker->turn.verdicts[VERDICT_drop_rtp_paused] == 3);
    call_close(rig, clients, 1);
}

/* A subscriber must be able to line up streams: the SR's NTP and RTP times name one instant. */
static void sender_reports_map_the_clocks(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    const uint64_t client_behind_ns = 12345 * NS_PER_MS;
    struct rtcp_sender_info sent = {.ssrc = VIDEO_SSRC, .timestamp = 500000};
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rig_sent copy;
    size_t at = 0, reports = 0, count;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    publish(rig, &clients[0], 1, 499000, true, 500);
    rig_turn(rig);
    sent.ntp = rtcp_ntp(rig_wall_ns - client_behind_ns);
    rtcp_add_sr(&b, &sent);
    client_send_rtcp(rig, &clients[0], rtcp, b.bytes);
    rig_turn(rig);
    rig_advance(rig, 2 * NS_PER_S);
    while ((count = client_next_rtcp(rig, &clients[1], &at, &copy, packets)) > 0) {
        struct rtcp_sender_info info;

        assert_true(count >= 2 && rtcp_read_sender_info(&packets[0], &info));
        assert_int_equal(packets[1].type, RTCP_SDES);
        assert_int_equal(info.ssrc, 4000);
        assert_int_equal(info.packets, 1);
        /* 2 s after the publisher's report, on our clock and on the RTP clock alike */
        assert_int_equal(info.ntp, rtcp_ntp(rig_wall_ns));
        assert_in_range(info.timestamp, 500000 + 2 * 90000 - 2, 500000 + 2 * 90000 + 2);
        reports++;
    }
    assert_true(reports > 0);
    call_close(rig, clients, 1);
}

/* Reports about many streams leave in compounds that anybody takes, each stream once in a round, named
 * by an SDES chunk in the same compound. */
static void many_sender_reports_share_compounds(void **state)
{
    enum { STREAMS = 25 };
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    struct rtcp_sender_info sent = {.ssrc = VIDEO_SSRC, .ntp = rtcp_ntp(rig_wall_ns)};
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    unsigned told[STREAMS] = {0};
    struct rig_sent copy;
    size_t at = 0, compounds = 0, count;

    for (uint32_t i = 0; i < STREAMS; i++)
        rig_consumer(rig, i, 1, 0, 4000 + 2 * i, false, 1);
    rig_turn(rig);
    publish(rig, &clients[0], 1, 499000, true, 500);
    rig_turn(rig);
    rtcp_add_sr(&b, &sent);
    client_send_rtcp(rig, &clients[0], rtcp, b.bytes);
    rig_turn(rig);
    rig->sent_count = 0;
    rig_advance(rig, 1100 * NS_PER_MS);
    while ((count = client_next_rtcp(rig, &clients[1], &at, &copy, packets)) > 0) {
        assert_int_equal(packets[count - 1].type, RTCP_SDES);
        assert_int_equal(packets[count - 1].count, count - 1);
        for (size_t i = 0; i + 1 < count; i++) {
            struct rtcp_sender_info info;

            assert_true(rtcp_read_sender_info(&packets[i], &info));
            assert_in_range(info.ssrc, 4000, 4000 + 2 * STREAMS - 1);
            told[(info.ssrc - 4000) / 2]++;
        }
        compounds++;
    }
    for (uint32_t i = 0; i < STREAMS; i++)
        assert_int_equal(told[i], told[0]);
    assert_true(told[0] >= 1);
    assert_int_equal(compounds, 3 * told[0]);
    call_close(rig, clients, 1);
}

static void receiver_reports_tell_loss(void **state)
{
    struct client clients[1];
    struct rig *rig = call_open(clients, 0, profiles[0]);
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rtcp_report_block block;
    struct rig_sent copy;
    size_t at = 0, reports = 0;

    for (uint16_t i = 0; i < 20; i++)
        if (i % 4 != 3)
            publish(rig, &clients[0], (uint16_t)(1000 + i), i * 3000u, i == 0, 300);
    rig_turn(rig);
    rig_advance(rig, 1100 * NS_PER_MS);
    while (client_next_rtcp(rig, &clients[0], &at, &copy, packets) > 0) {
        if (!rtcp_read_report_block(&packets[0], 0, &block))
            continue;
        assert_int_equal(block.ssrc, VIDEO_SSRC);
        assert_int_equal(block.highest_sequence & 0xffff, 1018);
        assert_int_equal(block.packets_lost, 4);
        assert_int_equal(block.fraction_lost, 4 * 256 / 19);
        reports++;
    }
    assert_true(reports > 0);
    call_close(rig, clients, 0);
}

static void round_trip_comes_from_reports(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    struct rtcp_report_block block = {.ssrc = 4000, .fraction_lost = 25, .packets_lost = 7};

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    block.last_sr = rtcp_ntp_middle(rtcp_ntp(rig_wall_ns - 150 * NS_PER_MS));
    block.delay_since_last_sr = 65536 / 10;
    rtcp_add_rr(&b, 1, &block, 1);
    client_send_rtcp(rig, &clients[1], rtcp, b.bytes);
    rig_turn(rig);
    assert_in_range(rig->worker->consumers.details[0].round_trip_us, 49900, 50100);
    assert_int_equal(rig->worker->consumers.details[0].fraction_lost, 25);
    call_close(rig, clients, 1);
}

/* Stale handles, wrong order, other workers' rows, removal: tables say what should be. */
static void rows_are_reconciled(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);
    struct worker *w = rig->worker;
    struct transport_row foreign = {
        .worker = 3, .ice_ufrag = "abcdabcd", .ice_pwd = "0123456789012345678901"};

    rig_consumer(rig, 5, 1, 9, 4000, false, 1); /* producer 9 does not exist */
    rig_row(rig, TABLE_transport, 9, &foreign.header, 1);
    rig_turn(rig);
    assert_int_equal(w->consumers.count, 0);
    assert_int_equal(w->transports.count, 2);
    assert_true(w->turn.counters[COUNTER_rows_refused] >= 1);
    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_consumer(rig, 1, 1, 0, 4000, false, 1); /* the same SSRC again */
    rig_turn(rig);
    assert_int_equal(w->consumers.count, 1);
    rig_consumer(rig, 0, 1, 0, 5000, false, 2); /* the index taken anew */
    rig_turn(rig);
    assert_int_equal(w->consumers.count, 1);
    assert_int_equal(w->consumers.all[0].ssrc, 5000);
    rig_free_row(rig, TABLE_transport, 0, 1); /* takes producer and consumer with it */
    rig_turn(rig);
    assert_int_equal(w->consumers.count, 0);
    assert_int_equal(w->producers.count, 0);
    assert_int_equal(w->transports.count, 1);
    call_close(rig, clients, 1);
}

/* Losing every note changes nothing: a rescan brings the same objects. */
static void overflow_leads_to_a_rescan(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);
    struct worker *w = rig->worker;

    for (uint32_t i = 0; i < 2000; i++)
        rig_consumer(rig, i, 1, 0, 10000 + i, true, 1);
    for (int i = 0; i < CHANGE_RING_ENTRIES; i++)
        ring_put_note(&rig->changes, (struct ring_note){.table = TABLE_room});
    rig_consumer(rig, 2000, 1, 0, 90000, true, 1); /* its note is lost */
    for (int i = 0; i < 400; i++)
        rig_turn(rig);
    assert_int_equal(w->consumers.count, 2001);
    assert_true(w->turn.counters[COUNTER_rescans] >= 1);
    call_close(rig, clients, 1);
}

/* D13: a forwarder that dies is followed by one that never uses an index again. */
static void a_successor_starts_behind_the_reserved_indexes(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);
    struct rig_sent got[4];
    uint64_t before;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    publish(rig, &clients[0], 100, 9000, true, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 4), 1);
    before = rig->worker->consumers.all[0].highest_out;
    if (*state) /* it died while it wrote that row */
        atomic_fetch_add(&region_row(&rig->resume, TABLE_consumer_resume, 0)->sequence, 1);
    rig_stop_worker(rig);
    rig_start_worker(rig);
    for (int i = 0; i < 10; i++)
        rig_turn(rig);
    assert_int_equal(rig->worker->consumers.count, 1);
    assert_true(rig->worker->transports.all[1].profile != 0); /* keys were there */
    client_check(rig, &clients[0], true);
    client_check(rig, &clients[1], true);
    publish(rig, &clients[0], 101, 12000, true, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 4), 1);
    assert_true(rig->worker->consumers.all[0].highest_out >= before + INDEX_RESERVE);
    assert_true(rig->worker->consumers.all[0].highest_out <= before + INDEX_RESERVE + 2);
    call_close(rig, clients, 1);
}

static void a_successor_of_one_that_died_writing(void **state)
{
    void *torn = rows_are_reconciled; /* anything but NULL */

    a_successor_starts_behind_the_reserved_indexes(&torn);
}

/* Two streams of one simulcast producer: the best one alive is forwarded, switches at key frames,
 * numbering and time stamps go on. */
static void simulcast_switches_at_key_frames(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);
    struct rig_sent got[8];
    uint8_t packet[1600];
    struct producer_row row = {.transport = handle_make(0, 1),
                               .kind = MEDIA_KIND_video,
                               .type = PRODUCER_TYPE_simulcast,
                               .codec_count = 1,
                               .encoding_count = 2,
                               .codec = {CODEC_vp8},
                               .codec_payload_type = {96},
                               .codec_mapped_payload_type = {101},
                               .codec_clock_rate = {90000},
                               .encoding_ssrc = {0xa0, 0xb0}};

    rig_row(rig, TABLE_producer, 1, &row.header, 1);
    rig_consumer(rig, 0, 1, 1, 4000, false, 1);
    rig_turn(rig);
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 96, 7, 1000, 0xa0, true, 400));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 1);
    client_send_rtp(rig, &clients[0], packet,
                    client_rtp(packet, 96, 900, 777000, 0xb0, false, 400));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    rig_advance(rig, 600 * NS_PER_MS); /* aims at the upper one */
    assert_int_equal(rig->worker->consumers.all[0].target, 1);
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 96, 8, 46000, 0xa0, false, 400));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got + 1, 1),
                     1); /* until then the lower */
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 96, 901, 822000, 0xb0, true, 400));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got + 2, 1), 1);
    assert_int_equal((uint16_t)(get32(got[2].data) - get32(got[1].data)), 1);
    assert_in_range(get32(got[2].data + 4) - get32(got[1].data + 4), 1, 9000);
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 96, 9, 49000, 0xa0, true, 400));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    call_close(rig, clients, 1);
}

/* D28: a peer whose checks stop is sent nothing after 30 s. */
static void consent_runs_out(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, profiles[0]);

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    for (int s = 0; s < 29; s++) {
        rig_advance(rig, NS_PER_S);
        client_check(rig, &clients[0], true);
    }
    publish(rig, &clients[0], 1, 1, true, 100);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    for (int s = 0; s < 4; s++)
        rig_advance(rig, NS_PER_S);
    publish(rig, &clients[0], 2, 2, true, 100);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(rig->worker->turn.counters[COUNTER_consent_expired], 1);
    client_check(rig, &clients[1], true); /* back again: the same keys go on */
    publish(rig, &clients[0], 3, 3, true, 100);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards_to_everybody_in_every_profile),
        cmocka_unit_test(video_starts_at_a_key_frame_only),
        cmocka_unit_test(key_frame_requests_are_throttled),
        cmocka_unit_test(fir_with_the_same_number_counts_once),
        cmocka_unit_test(pause_and_resume_leave_no_gap),
        cmocka_unit_test(sender_reports_map_the_clocks),
        cmocka_unit_test(many_sender_reports_share_compounds),
        cmocka_unit_test(receiver_reports_tell_loss),
        cmocka_unit_test(round_trip_comes_from_reports),
        cmocka_unit_test(rows_are_reconciled),
        cmocka_unit_test(overflow_leads_to_a_rescan),
        cmocka_unit_test(a_successor_starts_behind_the_reserved_indexes),
        cmocka_unit_test(a_successor_of_one_that_died_writing),
        cmocka_unit_test(simulcast_switches_at_key_frames),
        cmocka_unit_test(consent_runs_out),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
