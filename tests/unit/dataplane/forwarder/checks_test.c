/* ICE checks: consent. What is authenticated and what is answered: gates_test.c,
 * credentials_test.c. */
#include "call.h"

/* Threat D28 (RFC 7675): 30 s after its last check a client is sent nothing any more. */
static void nothing_is_sent_without_consent(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    for (int s = 0; s < 29; s++) {
        rig_advance(rig, NS_PER_S);
        client_check(rig, &clients[0], true);
    }
    call_publish(rig, &clients[0], 1, 1, true, 100);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    for (int s = 0; s < 4; s++)
        rig_advance(rig, NS_PER_S);
    call_publish(rig, &clients[0], 2, 2, true, 100);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(rig_counter(rig, COUNTER_consent_expired), 1);
    client_check(rig, &clients[1], true); /* it is back, with the same keys */
    call_publish(rig, &clients[0], 3, 3, true, 100);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_sent_without_consent),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
