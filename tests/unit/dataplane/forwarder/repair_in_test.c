/* Repair of what publishers send: lost packets are asked for, and retransmissions are taken. */
#include "repair.h"

/* The publisher sends `sequence` as a retransmission; without payload it is what publishers send to
 * measure the bandwidth. */
static void publish_again(struct rig *rig, struct client *c, uint16_t rtx_sequence,
                          uint16_t sequence, size_t payload)
{
    uint8_t media[1600], packet[1600];

    client_rtp(media, 97, rtx_sequence, sequence * (uint32_t)TIMESTAMP_STEP, VIDEO_RTX_SSRC, false,
               PAYLOAD);
    memcpy(packet, media, 12);
    put16(packet + 12, sequence);
    for (size_t i = 0; i < payload; i++)
        packet[14 + i] = (uint8_t)(sequence + i);
    if (payload >= 10)
        memcpy(packet + 14, media + 12, 10);
    client_send_rtp(rig, c, packet, 14 + payload);
}

static void a_lost_packet_is_asked_for_and_forwarded(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    uint16_t sequences[300];
    struct rig_sent got[8];
    uint16_t expected;

    repair_publish(rig, &clients[0], 100, true);
    repair_publish(rig, &clients[0], 101, false);
    repair_publish(rig, &clients[0], 103, false);
    repair_publish(rig, &clients[0], 106, false);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 4);
    expected = sequence_of(&got[0]);
    assert_int_equal(repair_asked_for(rig, &clients[0], sequences), 0); /* it may just be late */
    rig_advance(rig, 10 * NS_PER_MS);
    assert_int_equal(repair_asked_for(rig, &clients[0], sequences), 3);
    assert_int_equal(sequences[0], 102);
    assert_int_equal(sequences[1], 104);
    assert_int_equal(sequences[2], 105);
    rig_now_ns += 20 * NS_PER_MS;
    publish_again(rig, &clients[0], 1, 102, PAYLOAD);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 1);
    assert_int_equal(sequence_of(&got[0]), (uint16_t)(expected + 2));
    assert_int_equal(get32(got[0].data + 4), 102 * TIMESTAMP_STEP);
    assert_int_equal(get32(got[0].data + 8), CONSUMER_SSRC);
    assert_int_equal(got[0].data[got[0].bytes - 1], (uint8_t)(102 + PAYLOAD - 1));
    assert_int_equal(rig_counter(rig, COUNTER_repaired_in), 1);
    rig_advance(rig, 200 * NS_PER_MS);
    assert_int_equal(repair_asked_for(rig, &clients[0], sequences), 2); /* the two others, again */
    assert_int_equal(rig_counter(rig, COUNTER_nack_sent), 5);
    rig_advance(rig, NS_PER_S);
    {
        const struct producer_state_row *row =
            (const struct producer_state_row *)region_row(&rig->actual, TABLE_producer_state, 0);

        assert_true(row->encoding_nacks_sent[0] >= 2);
        assert_true(row->encoding_packets_asked[0] >= 5);
        assert_int_equal(row->encoding_packets_repaired[0], 1);
        assert_int_equal(row->encoding_bytes_repaired[0], 12 + PAYLOAD); /* as it was at first */
        assert_int_equal(row->encoding_rtx_ssrc[0], VIDEO_RTX_SSRC);
    }
    {
        const struct transport_state_row *row =
            (const struct transport_state_row *)region_row(&rig->actual, TABLE_transport_state, 0);

        assert_int_equal(row->rtx_bytes_received, 12 + 2 + PAYLOAD);
        assert_int_equal(row->rtp_bytes_received, 5 * (12 + PAYLOAD) + 2);
    }
    call_close(rig, clients, 1);
}

static void a_retransmission_is_taken_once(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);

    publish_again(rig, &clients[0], 1, 100, PAYLOAD); /* before the stream began */
    rig_turn(rig);
    repair_publish(rig, &clients[0], 100, true);
    repair_publish(rig, &clients[0], 101, false);
    publish_again(rig, &clients[0], 2, 101, PAYLOAD); /* of a packet that had arrived */
    publish_again(rig, &clients[0], 3, 0, 0);         /* padding */
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 2);
    publish_again(rig, &clients[0], 4, 102, PAYLOAD); /* overtakes its original */
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    repair_publish(rig, &clients[0], 102, false);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtx_unused), 3);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtp_replay), 1);
    call_close(rig, clients, 1);
}

/* A retransmission of a stream that was replaced names numbers that this one is far from. If they were
 * believed, the next packets would be too old. */
static void a_retransmission_from_far_ahead_is_not_taken(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);

    repair_publish(rig, &clients[0], 100, true);
    publish_again(rig, &clients[0], 1, 20000, PAYLOAD);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    repair_publish(rig, &clients[0], 101, false);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtx_unused), 1);
    call_close(rig, clients, 1);
}

/* Nobody needs the packets, so nobody asks for them; and what was lost then is not asked for later.
 */
static void streams_without_an_audience_are_not_repaired(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    uint16_t sequences[300];

    repair_publish(rig, &clients[0], 100, true);
    repair_publish(rig, &clients[0], 102, false);
    rig_turn(rig);
    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
    rig_turn(rig);
    repair_publish(rig, &clients[0], 104, true);
    rig_turn(rig);
    rig_free_row(rig, TABLE_consumer, 0, 1);
    rig_turn(rig);
    repair_publish(rig, &clients[0], 110, false);
    rig_turn(rig);
    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC + 2, false, 2);
    rig_turn(rig);
    repair_publish(rig, &clients[0], 114, true);
    rig_turn(rig);
    for (unsigned i = 0; i < 50; i++) {
        rig_advance(rig, 10 * NS_PER_MS);
        assert_int_equal(repair_asked_for(rig, &clients[0], sequences), 0);
    }
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_packet_is_asked_for_and_forwarded),
        cmocka_unit_test(a_retransmission_is_taken_once),
        cmocka_unit_test(a_retransmission_from_far_ahead_is_not_taken),
        cmocka_unit_test(streams_without_an_audience_are_not_repaired),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
