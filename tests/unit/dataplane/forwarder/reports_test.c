/* RTCP that the worker sends. */
#include "call.h"

/* A subscriber plays audio and video together by sender reports: their NTP and RTP times must name
 * the same moment. */
static void sender_reports_name_one_moment_on_both_clocks(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    const uint64_t client_behind_ns = 12345 * NS_PER_MS;
    struct rtcp_sender_info sent = {.ssrc = VIDEO_SSRC, .timestamp = 500000};
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rig_sent copy;
    size_t at = 0, reports = 0, count;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    call_publish(rig, &clients[0], 1, 499000, true, 500);
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

/* Reports about many streams leave in several compounds, none longer than what we would accept.
 * Each stream is reported once in a round, and an SDES chunk in the same compound names it. */
static void many_sender_reports_share_compounds(void **state)
{
    enum { STREAMS = 25 };
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    struct rtcp_sender_info sent = {.ssrc = VIDEO_SSRC, .ntp = rtcp_ntp(rig_wall_ns)};
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    unsigned reported[STREAMS] = {0};
    struct rig_sent copy;
    size_t at = 0, compounds = 0, count;

    for (uint32_t i = 0; i < STREAMS; i++)
        rig_consumer(rig, i, 1, 0, 4000 + 2 * i, false, 1);
    rig_turn(rig);
    call_publish(rig, &clients[0], 1, 499000, true, 500);
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
            reported[(info.ssrc - 4000) / 2]++;
        }
        compounds++;
    }
    for (uint32_t i = 0; i < STREAMS; i++)
        assert_int_equal(reported[i], reported[0]);
    assert_true(reported[0] >= 1);
    assert_int_equal(compounds, 3 * reported[0]);
    call_close(rig, clients, 1);
}

static void receiver_reports_say_how_much_was_lost(void **state)
{
    struct client clients[1];
    struct rig *rig = call_open(clients, 0, SRTP_PROFILE_aead_aes_128_gcm);
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rtcp_report_block block;
    struct rig_sent copy;
    size_t at = 0, reports = 0;

    for (uint16_t i = 0; i < 20; i++)
        if (i % 4 != 3)
            call_publish(rig, &clients[0], (uint16_t)(1000 + i), i * 3000u, i == 0, 300);
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

/* The publisher answers the clock in our receiver reports, so that we know the round trip. */
static void publishers_tell_the_round_trip(void **state)
{
    struct client clients[1];
    struct rig *rig = call_open(clients, 0, SRTP_PROFILE_aead_aes_128_gcm);
    struct rtcp_reference_answer answer = {0}, other = {.ssrc = 5};
    const struct producer *p = &rig->worker->producers.all[0];
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rig_sent copy;
    uint64_t told_at = 0, ntp;
    uint32_t before;
    size_t at = 0, count;
    uint8_t rtcp[128];

    call_publish(rig, &clients[0], 1000, 0, true, 300);
    rig_turn(rig);
    assert_int_equal(p->round_trip_us, 0);
    rig_advance(rig, 1100 * NS_PER_MS);
    while ((count = client_next_rtcp(rig, &clients[0], &at, &copy, packets)) > 0)
        if (rtcp_read_reference_time(&packets[count - 1], &answer.ssrc, &ntp)) {
            assert_int_equal(packets[0].type, RTCP_RR);
            answer.last_rr = rtcp_ntp_middle(ntp);
            told_at = ntp;
        }
    assert_true(told_at != 0);
    before = rtcp_ntp_middle(rtcp_ntp(rig_wall_ns)) - answer.last_rr; /* 1/65536 s */
    answer.delay_since_last_rr = before + 65536 / 2;
    other.last_rr = answer.last_rr;
    rig_now_ns += 530 * NS_PER_MS;
    rig_wall_ns += 530 * NS_PER_MS;
    for (int i = 0; i < 3; i++) {
        struct rtcp_buffer b = {.data = rtcp, .capacity = 100};
        struct rtcp_reference_answer wrong = answer;

        if (i == 0) /* somebody else's clock */
            assert_true(rtcp_add_reference_answer(&b, VIDEO_SSRC, &other));
        wrong.delay_since_last_rr += 65536; /* it would have come before it was asked for */
        if (i == 1)
            assert_true(rtcp_add_reference_answer(&b, VIDEO_SSRC, &wrong));
        if (i == 2)
            assert_true(rtcp_add_reference_answer(&b, VIDEO_SSRC, &answer));
        client_send_rtcp(rig, &clients[0], rtcp, b.bytes);
        rig_turn(rig);
        if (i < 2)
            assert_int_equal(p->round_trip_us, 0);
    }
    assert_in_range(p->round_trip_us, 29900, 30200);
    assert_int_equal(rig->worker->turn.counters[COUNTER_publisher_round_trips], 1);
    call_close(rig, clients, 0);
}

/* A subscriber that tells its clock gets an answer with our next sender reports, once. */
static void subscribers_get_an_answer(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    uint8_t rtcp[64], clock[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = 40}, c = {.data = clock, .capacity = 40};
    struct rtcp_sender_info sent = {.ssrc = VIDEO_SSRC, .ntp = rtcp_ntp(rig_wall_ns)};
    struct rtcp_reference_answer answer = {0};
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rig_sent copy;
    size_t at = 0, answers = 0, count;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    call_publish(rig, &clients[0], 1, 499000, true, 500);
    rig_turn(rig);
    rtcp_add_sr(&b, &sent);
    client_send_rtcp(rig, &clients[0], rtcp, b.bytes);
    rtcp_add_reference_time(&c, 77, 0x123456789abcdef0);
    client_send_rtcp(rig, &clients[1], clock, c.bytes);
    rig_turn(rig);
    for (int step = 0; step < 40; step++, at = 0) {
        rig_advance(rig, 100 * NS_PER_MS);
        while ((count = client_next_rtcp(rig, &clients[1], &at, &copy, packets)) > 0)
            for (size_t i = 0; i < count; i++)
                answers += rtcp_read_reference_answer(&packets[i], 0, &answer);
    }
    assert_int_equal(answers, 1);
    assert_int_equal(answer.ssrc, 77);
    assert_int_equal(answer.last_rr, 0x56789abc);
    assert_in_range(answer.delay_since_last_rr, 0, 2 * 65536);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sender_reports_name_one_moment_on_both_clocks),
        cmocka_unit_test(many_sender_reports_share_compounds),
        cmocka_unit_test(publishers_tell_the_round_trip),
        cmocka_unit_test(subscribers_get_an_answer),
        cmocka_unit_test(receiver_reports_say_how_much_was_lost),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
