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

/* The sequence numbers of the FIR that this client got in the last turn (RFC 5104 4.3.1). */
static size_t firs(struct rig *rig, struct client *publisher, uint8_t *sequences)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    size_t at = 0, found = 0, count;
    struct rig_sent copy;
    uint32_t media;

    while ((count = client_next_rtcp(rig, publisher, &at, &copy, packets)) > 0)
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; packets[i].type == RTCP_PSFB && packets[i].count == PSFB_FIR &&
                               rtcp_read_fir(&packets[i], k, &media, &sequences[found]);
                 k++) {
                assert_int_equal(media, VIDEO_SSRC);
                found++;
            }
    return found;
}

/* A publisher that takes FIR only is asked with FIR, with a new number each time: a repeated number
 * would be the same request. */
static void a_publisher_that_knows_only_fir(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    struct producer_row row;
    struct producer_state_row said;
    uint8_t sequences[16];
    size_t seen = 0;

    assert_int_equal(
        row_copy(TABLE_producer, &row, region_row(&rig->desired, TABLE_producer, 0), 1), ROW_OK);
    rig_free_row(rig, TABLE_producer, 0, 1);
    rig_turn(rig);
    row.uses_fir = 1;
    rig_row(rig, TABLE_producer, 0, &row.header, 1);
    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    for (int tick = 0; tick < 35; tick++) { /* 3.5 s without a key frame */
        rig_turn(rig);
        seen += firs(rig, &clients[0], sequences + seen);
        rig_advance(rig, 100 * NS_PER_MS);
        seen += firs(rig, &clients[0], sequences + seen);
    }
    assert_in_range(seen, 3, 5);
    for (size_t i = 0; i < seen; i++)
        assert_int_equal(sequences[i], i + 1);
    call_publish(rig, &clients[0], 1, 1, true, 100);
    rig_advance(rig, NS_PER_S);
    assert_int_equal(
        row_copy(TABLE_producer_state, &said, region_row(&rig->actual, TABLE_producer_state, 0), 1),
        ROW_OK);
    assert_int_equal(said.encoding_fir_sent[0], seen);
    assert_int_equal(said.encoding_pli_sent[0], 0);
    assert_int_equal(said.encoding_key_frames[0], 1);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_publisher_is_asked_once_a_second),
        cmocka_unit_test(a_publisher_that_knows_only_fir),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
