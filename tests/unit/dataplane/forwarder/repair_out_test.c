/* Repair of what subscribers lost: they get again what they ask for, within limits. */
#include "repair.h"

static void a_subscriber_gets_a_lost_packet_again(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    struct rig_sent first[4], got[4];
    uint16_t lost;

    for (uint16_t i = 0; i < 4; i++)
        repair_publish(rig, &clients[0], (uint16_t)(100 + i), i == 0);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], first, 4), 4);
    lost = sequence_of(&first[2]);
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 4), 1);
    assert_int_equal(got[0].data[1] & 0x7f, 102);
    assert_int_equal(get32(got[0].data + 4), get32(first[2].data + 4));
    assert_int_equal(get32(got[0].data + 8), RTX_SSRC);
    assert_int_equal(got[0].bytes, first[2].bytes + 2);
    {
        size_t header = first[2].bytes - PAYLOAD;

        assert_memory_equal(got[0].data + header, first[2].data + 2, 2);
        assert_memory_equal(got[0].data + header + 2, first[2].data + header, PAYLOAD);
    }
    assert_int_equal(rig_counter(rig, COUNTER_rtx_sent), 1);
    rig_advance(rig, NS_PER_S);
    {
        const struct consumer_state_row *row =
            (const struct consumer_state_row *)region_row(&rig->actual, TABLE_consumer_state, 0);

        assert_int_equal(row->nack_received, 1);
        assert_int_equal(row->packets_asked, 1);
        assert_int_equal(row->packets_sent_again, 1);
        assert_int_equal(row->packets_sent, 4);
        assert_int_equal(row->packets_repaired, 1);
        assert_int_equal(row->bytes_sent_again, got[0].bytes);
    }
    {
        const struct transport_state_row *row =
            (const struct transport_state_row *)region_row(&rig->actual, TABLE_transport_state, 1);

        assert_int_equal(row->rtx_bytes_sent, got[0].bytes);
        assert_int_equal(row->rtp_bytes_sent, first[0].bytes + 3 * first[1].bytes + got[0].bytes);
        assert_int_equal(rig_counter(rig, COUNTER_nack_received), 1);
    }
    call_close(rig, clients, 1);
}

static void a_packet_is_sent_again_once_per_round_trip_and_ten_times(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    struct rig_sent got[4];
    uint16_t lost, never;

    repair_publish(rig, &clients[0], 100, true);
    rig_turn(rig);
    client_received_rtp(rig, &clients[1], got, 4);
    lost = sequence_of(&got[0]);
    for (unsigned i = 0; i < 12; i++) {
        for (unsigned k = 0; k < 3; k++) /* asked three times in a round trip */
            repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), i < 10);
        rig_now_ns += 60 * NS_PER_MS;
    }
    never = (uint16_t)(lost + 1);
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &never, 1);
    never = (uint16_t)(lost - 1);
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &never, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(rig_counter(rig, COUNTER_rtx_missing), 2);
    call_close(rig, clients, 1);
}

/* The numbers share the place where tries are remembered. */
static void two_packets_that_take_turns_are_not_sent_without_an_end(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    struct rig_sent got[1];
    uint16_t lost[2] = {0};

    for (uint16_t i = 0; i <= RESEND_PACKETS; i++) {
        repair_publish(rig, &clients[0], (uint16_t)(100 + i), i == 0);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], got, 1), 1);
        lost[i > 0] = sequence_of(&got[0]);
    }
    assert_int_equal((uint16_t)(lost[1] - lost[0]), RESEND_PACKETS);
    for (unsigned i = 0; i < 20; i++)
        repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost[i % 2], 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 2);
    rig_now_ns += 60 * NS_PER_MS;
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost[0], 1); /* its turn came */
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients, 1);
}

/* Threat D20: whatever a client asks for, its retransmissions stay a part of what it is sent. */
static void retransmissions_have_a_share(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    uint64_t sent = 0, again = 0;
    uint16_t sequences[256], highest = 0;

    for (uint16_t i = 0; i < 2000; i++) {
        struct rig_sent got[1];

        repair_publish(rig, &clients[0], (uint16_t)(100 + i), i == 0);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], got, 1), 1);
        sent += rig->sent[0].bytes;
        highest = sequence_of(&got[0]);
        if (i < 256 || i % 20)
            continue;
        for (unsigned k = 0; k < 256; k++)
            sequences[k] = (uint16_t)(highest - 255 + k);
        rig_now_ns += 100 * NS_PER_MS;
        repair_lose(rig, &clients[1], CONSUMER_SSRC, sequences, 256);
        rig_turn(rig);
        for (size_t k = 0; k < rig->sent_count; k++)
            if (path_equal(&rig->sent[k].path, &clients[1].path) &&
                datagram_classify(rig->sent[k].data, rig->sent[k].bytes) == DATAGRAM_rtp)
                again += rig->sent[k].bytes;
    }
    print_message("# %u packets asked for again and again: %.0f kB sent again beside %.0f kB\n",
                  88 * 256, (double)again / 1000, (double)sent / 1000);
    assert_true(again > sent * 20 / 100); /* the honest share is granted */
    assert_true(again < sent * 30 / 100 + RESEND_BURST_BYTES);
    call_close(rig, clients, 1);
}

static void clients_without_rtx_get_nothing_again(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    struct consumer_row row;
    struct rig_sent got[1];
    uint16_t lost;

    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
    row_copy(TABLE_consumer, &row, region_row(&rig->desired, TABLE_consumer, 0), 1);
    row.rtx_payload_type = 0;
    rig_row(rig, TABLE_consumer, 0, &row.header, 1);
    rig_turn(rig);
    repair_publish(rig, &clients[0], 100, true);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 1), 1);
    lost = sequence_of(&got[0]);
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(rig->worker->consumers.details[0].nack_received, 1);
    call_close(rig, clients, 1);
}

/* After a pause the offsets are others; a packet from before leaves again as it was. */
static void packets_from_before_a_pause_leave_as_they_were(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    struct rig_sent before[2], after[2], again[2];
    uint16_t lost;

    repair_publish(rig, &clients[0], 100, true);
    repair_publish(rig, &clients[0], 101, false);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], before, 2), 2);
    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, true, 1);
    rig_turn(rig);
    for (uint16_t i = 0; i < 10; i++)
        repair_publish(rig, &clients[0], (uint16_t)(102 + i), false);
    rig_turn(rig);
    rig_advance(rig, REPLAY_AGE_NS + NS_PER_MS); /* the key frame is too old to be replayed */
    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
    rig_turn(rig);
    repair_publish(rig, &clients[0], 112, true);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], after, 2), 1);
    lost = sequence_of(&before[1]);
    assert_int_equal(sequence_of(&after[0]), (uint16_t)(lost + 1));
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], again, 2), 1);
    assert_int_equal(get32(again[0].data + 4), get32(before[1].data + 4));
    assert_int_equal(again[0].data[again[0].bytes - 1], before[1].data[before[1].bytes - 1]);
    call_close(rig, clients, 1);
}

static void a_pending_key_frame_silences_repair(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    struct rig_sent got[2];
    uint16_t lost;

    repair_publish(rig, &clients[0], 100, true);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 2), 1);
    lost = sequence_of(&got[0]);
    rig_advance(rig, 1100 * NS_PER_MS);
    rtcp_add_pli(&b, 99, CONSUMER_SSRC);
    client_send_rtcp(rig, &clients[1], rtcp, b.bytes);
    rig_turn(rig);
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    repair_publish(rig, &clients[0], 101, true);
    rig_turn(rig);
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients, 1);
}

/* ---- across workers, and across the death of one ---- */

static void the_history_of_the_home_serves_other_workers(void **state)
{
    const uint32_t ssrc = 1000 * AWAY_SUBSCRIBER;
    struct rig_sent got[4];
    struct pair x;
    uint16_t lost;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    pair_publish(&x, 1, true);
    pair_publish(&x, 2, false);
    pair_turn(&x);
    assert_int_equal(client_received_rtp(x.away, &x.people[AWAY_SUBSCRIBER], got, 4), 2);
    lost = sequence_of(&got[0]);
    repair_lose(x.away, &x.people[AWAY_SUBSCRIBER], ssrc, &lost, 1);
    pair_turn(&x);
    assert_int_equal(client_received_rtp(x.away, &x.people[AWAY_SUBSCRIBER], got, 4), 1);
    assert_int_equal(get32(got[0].data + 8), ssrc + 1);
    assert_int_equal(rig_counter(x.away, COUNTER_rtx_sent), 1);
    pair_close(&x);
}

/* Threat D13 holds for retransmissions, too. */
static void a_successor_uses_no_index_of_the_rtx_stream_again(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    uint64_t before;

    for (unsigned life = 0; life < 3; life++) {
        struct rig_sent got[2];
        uint16_t lost;

        repair_publish(rig, &clients[0], (uint16_t)(100 + life), true);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], got, 2), 1);
        lost = sequence_of(&got[0]);
        repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
        if (life)
            assert_true(rig->worker->repair_out.all[0].next_index > before);
        before = rig->worker->repair_out.all[0].index_reserved;
        rig_stop_worker(rig);
        rig_start_worker(rig);
        for (int i = 0; i < 10; i++)
            rig_turn(rig);
        client_check(rig, &clients[0], true);
        client_check(rig, &clients[1], true);
    }
    call_close(rig, clients, 1);
}

/* Threat D13: an SSRC with which packets were sent does not begin again, also when the consumer that
 * had it comes back and goes without sending anything. */
static void an_ssrc_that_was_used_is_not_given_back(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    struct rig_sent got[2];
    uint64_t refused;
    uint16_t lost;

    repair_publish(rig, &clients[0], 100, true);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 2), 1);
    lost = sequence_of(&got[0]);
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    for (unsigned i = 0; i < 2; i++) { /* the second time it sends nothing */
        rig_free_row(rig, TABLE_consumer, 0, 1);
        rig_turn(rig);
        if (i == 0)
            rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
        rig_turn(rig);
    }
    refused = rig_counter(rig, COUNTER_rows_refused);
    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 2);
    rig_turn(rig);
    rig_consumer(rig, 1, 1, 0, RTX_SSRC, false, 2);
    rig_turn(rig);
    assert_int_equal(rig_counter(rig, COUNTER_rows_refused), refused + 2);
    call_close(rig, clients, 1);
}

/* A subscriber asks for something, and its transport goes in the same turn. What leaves is encrypted
 * with the key that it was meant for. */
static void a_transport_that_goes_takes_no_key_from_a_retransmission(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    struct rig_sent got[2];
    uint16_t lost;

    repair_publish(rig, &clients[0], 100, true);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 2), 1);
    lost = sequence_of(&got[0]);
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
    rig_free_row(rig, TABLE_transport, 1, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 2), 1); /* decrypts it */
    assert_int_equal(get32(got[0].data + 8), RTX_SSRC);
    call_close(rig, clients, 1);
}

/* Threat D18: a limit that was reached stays reached until the second ends. */
static void sequence_numbers_in_nacks_have_a_limit(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    uint16_t sequences[4000];

    for (unsigned i = 0; i < 4000; i++)
        sequences[i] = (uint16_t)i;
    repair_publish(rig, &clients[0], 100, true);
    rig_turn(rig);
    for (unsigned i = 0; i < 20; i++)
        repair_lose(rig, &clients[1], CONSUMER_SSRC, sequences, 4000);
    rig_turn(rig);
    assert_int_equal(rig->worker->consumers.details[0].packets_asked, NACKED_PER_SECOND_MAX);
    call_close(rig, clients, 1);
}

/* A consumer that lost nothing so far has an old RTX SSRC that was never used: nobody can tell after
 * the forwarder died. It goes on without retransmissions. */
static void a_successor_keeps_an_old_consumer_that_never_lost_a_packet(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);

    rig_consumer(rig, 1, 1, 0, CONSUMER_SSRC + 2000, false, 1);
    rig_turn(rig);
    repair_publish(rig, &clients[0], 100, true);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 2);
    rig_stop_worker(rig);
    rig_start_worker(rig);
    for (int i = 0; i < 10; i++)
        rig_turn(rig);
    client_check(rig, &clients[0], true);
    client_check(rig, &clients[1], true);
    repair_publish(rig, &clients[0], 101, true);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 2);
    call_close(rig, clients, 1);
}

/* The producer paused and goes on, and its key frame is awaited. What is asked for meanwhile was sent
 * with the offsets from before. */
static void packets_leave_as_they_were_while_a_key_frame_is_awaited(void **state)
{
    struct client clients[2];
    struct rig *rig = repair_open(clients);
    struct rig_sent before[2], again[2];
    uint16_t lost;

    repair_publish(rig, &clients[0], 100, true);
    rig_turn(rig);
    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, true, 1);
    rig_turn(rig);
    for (uint16_t i = 0; i < 10; i++)
        repair_publish(rig, &clients[0], (uint16_t)(101 + i), false);
    rig_turn(rig);
    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
    rig_turn(rig);
    repair_publish(rig, &clients[0], 111, true);
    repair_publish(rig, &clients[0], 112, false);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], before, 2), 2);
    lost = sequence_of(&before[1]);
    rig_video_producer(rig, 0, 0, true);
    rig_turn(rig);
    rig_video_producer(rig, 0, 0, false);
    rig_turn(rig);
    repair_lose(rig, &clients[1], CONSUMER_SSRC, &lost, 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], again, 2), 1);
    assert_int_equal(get32(again[0].data + 4), get32(before[1].data + 4));
    assert_int_equal(again[0].data[again[0].bytes - 1], before[1].data[before[1].bytes - 1]);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subscriber_gets_a_lost_packet_again),
        cmocka_unit_test(a_packet_is_sent_again_once_per_round_trip_and_ten_times),
        cmocka_unit_test(two_packets_that_take_turns_are_not_sent_without_an_end),
        cmocka_unit_test(retransmissions_have_a_share),
        cmocka_unit_test(clients_without_rtx_get_nothing_again),
        cmocka_unit_test(packets_from_before_a_pause_leave_as_they_were),
        cmocka_unit_test(a_pending_key_frame_silences_repair),
        cmocka_unit_test(the_history_of_the_home_serves_other_workers),
        cmocka_unit_test(a_successor_uses_no_index_of_the_rtx_stream_again),
        cmocka_unit_test(an_ssrc_that_was_used_is_not_given_back),
        cmocka_unit_test(a_transport_that_goes_takes_no_key_from_a_retransmission),
        cmocka_unit_test(sequence_numbers_in_nacks_have_a_limit),
        cmocka_unit_test(a_successor_keeps_an_old_consumer_that_never_lost_a_packet),
        cmocka_unit_test(packets_leave_as_they_were_while_a_key_frame_is_awaited),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
