/* Key-frame requests and their throttle. */
#include "call.h"

/* Threat D19: however often subscribers ask, the publisher gets at most one request a second. */
static void the_publisher_is_asked_once_a_second(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    size_t seen = 0, sent = 0;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    for (int tick = 0; tick < 50; tick++) { /* 5 s */
        uint8_t rtcp[64];

        for (int n = 0; n < 5; n++) {
            struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};

            rtcp_add_pli(&b, 99, 4000);
            client_send_rtcp(rig, &clients[1], rtcp, b.bytes);
            sent++;
        }
        rig_turn(rig);
        seen += call_key_frame_requests(rig, &clients[0]);
        rig_advance(rig, 100 * NS_PER_MS);
        seen += call_key_frame_requests(rig, &clients[0]);
    }
    assert_in_range(seen, 4, 6);
    assert_int_equal(rig->worker->consumers.details[0].pli_received, sent);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_publisher_is_asked_once_a_second),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
