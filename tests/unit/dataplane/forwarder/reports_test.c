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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sender_reports_name_one_moment_on_both_clocks),
        cmocka_unit_test(many_sender_reports_share_compounds),
        cmocka_unit_test(receiver_reports_say_how_much_was_lost),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
