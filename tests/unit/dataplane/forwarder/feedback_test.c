/* RTCP that clients send. */
#include "call.h"

static void a_fir_that_was_sent_again_counts_once(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

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

static void receiver_reports_give_loss_and_round_trip(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fir_that_was_sent_again_counts_once),
        cmocka_unit_test(receiver_reports_give_loss_and_round_trip),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
