/* Scores of streams that lose packets, and of streams that stop. Each change is published at once. */
#include "call.h"

#define TICK_NS (20 * NS_PER_MS)

static uint16_t sequence;

/* Sends video for this long; every lost_every-th packet is lost on its way. 0: none is. */
static void publish_for(struct rig *rig, struct client *c, uint64_t ns, unsigned lost_every)
{
    for (uint64_t t = 0; t < ns; t += TICK_NS) {
        sequence++;
        if (!lost_every || sequence % lost_every)
            call_publish(rig, c, sequence, sequence * 1800u, false, 100);
        rig_advance(rig, TICK_NS);
    }
}

static struct producer_state_row producer_row(struct rig *rig)
{
    struct producer_state_row row;

    assert_int_equal(
        row_copy(TABLE_producer_state, &row, region_row(&rig->actual, TABLE_producer_state, 0), 1),
        ROW_OK);
    return row;
}

/* How many events about rows of this table came since the last call. */
static unsigned events_about(struct rig *rig, enum table_id table)
{
    const struct ring_note *note;
    unsigned count = 0;

    while ((note = ring_peek(&rig->events))) {
        count += note->table == table;
        ring_consume(&rig->events);
    }
    return count;
}

static void a_publisher_that_loses_packets(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    publish_for(rig, &clients[0], 3 * NS_PER_S, 0);
    assert_int_equal(producer_row(rig).encoding_score[0], 10);
    events_about(rig, TABLE_producer_state);
    publish_for(rig, &clients[0], 4 * NS_PER_S, 0);
    assert_int_equal(events_about(rig, TABLE_producer_state), 0); /* it has not changed */
    publish_for(rig, &clients[0], 20 * NS_PER_S,
                10); /* nobody consumes it, so nothing is repaired */
    assert_in_range(producer_row(rig).encoding_score[0], 6, 7); /* 0.89^4 */
    assert_in_range(events_about(rig, TABLE_producer_state), 2, 5);
    call_close(rig, clients, 1);
}

/* Repaired packets count less, but more than lost ones. */
static void a_publisher_whose_packets_are_repaired(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    struct encoding *e = &rig->worker->producers.all[0].encodings[0];

    publish_for(rig, &clients[0], 2 * NS_PER_S, 0);
    for (int i = 0; i < 20; i++) {
        publish_for(rig, &clients[0], NS_PER_S, 10);
        e->packets_repaired += 5; /* all of them, at the first try; how: repair_test.c */
        e->packets_asked += 5;
    }
    assert_in_range(producer_row(rig).encoding_score[0], 8, 9);
    call_close(rig, clients, 1);
}

static void a_publisher_that_stops(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    publish_for(rig, &clients[0], 2 * NS_PER_S, 0);
    events_about(rig, TABLE_producer_state);
    rig_advance(rig, 1400 * NS_PER_MS);
    rig_advance(rig, NS_PER_MS);
    assert_int_equal(producer_row(rig).encoding_score[0], 10);
    for (int i = 0; i < 50; i++)
        rig_advance(rig, TICK_NS);
    assert_int_equal(producer_row(rig).encoding_score[0], 0);
    assert_int_equal(events_about(rig, TABLE_producer_state), 1);
    for (int i = 0; i < 100; i++)
        rig_advance(rig, TICK_NS);
    assert_int_equal(producer_row(rig).encoding_score[0], 0);
    publish_for(rig, &clients[0], 700 * NS_PER_MS, 0);
    assert_int_equal(producer_row(rig).encoding_score[0], 10);
    assert_int_equal(events_about(rig, TABLE_producer_state), 1);
    call_close(rig, clients, 1);
}

/* A paused producer may be silent, and has some time when it goes on. */
static void a_producer_that_is_paused(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    publish_for(rig, &clients[0], 2 * NS_PER_S, 0);
    rig_video_producer(rig, 0, 0, true);
    for (int i = 0; i < 200; i++)
        rig_advance(rig, TICK_NS);
    assert_int_equal(producer_row(rig).encoding_score[0], 10);
    rig_video_producer(rig, 0, 0, false);
    for (int i = 0; i < 45; i++)
        rig_advance(rig, TICK_NS);
    assert_int_equal(producer_row(rig).encoding_score[0], 10);
    call_close(rig, clients, 1);
}

/* A pause in speech lasts longer than one in video. */
static void a_microphone_that_is_silent(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    struct producer_row audio = rig_audio_row(0, AUDIO_SSRC);
    struct encoding *e = &rig->worker->producers.all[1].encodings[0];
    uint8_t packet[100];

    rig_row(rig, TABLE_producer, 1, &audio.header, 1);
    rig_turn(rig);
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 111, 1, 1, AUDIO_SSRC, false, 9));
    for (int i = 0; i < 49; i++)
        rig_advance(rig, 5 * TICK_NS);
    assert_int_equal(e->score.value, 10);
    for (int i = 0; i < 10; i++)
        rig_advance(rig, 5 * TICK_NS);
    assert_int_equal(e->score.value, 0);
    call_close(rig, clients, 1);
}

static void report(struct rig *rig, struct client *c, uint32_t ssrc, int32_t lost)
{
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    struct rtcp_report_block block = {.ssrc = ssrc, .packets_lost = lost};

    rtcp_add_rr(&b, 1, &block, 1);
    client_send_rtcp(rig, c, rtcp, b.bytes);
    rig_turn(rig);
}

static void a_subscriber_that_loses_packets(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    struct consumer_state_row row;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    sequence++;
    call_publish(rig, &clients[0], sequence, sequence * 1800u, true, 100);
    publish_for(rig, &clients[0], NS_PER_S, 0);
    report(rig, &clients[1], 4000, 0);
    events_about(rig, TABLE_consumer_state);
    publish_for(rig, &clients[0], NS_PER_S, 0);
    report(rig, &clients[1], 4000, 10); /* of 50 */
    assert_int_equal(
        row_copy(TABLE_consumer_state, &row, region_row(&rig->actual, TABLE_consumer_state, 0), 1),
        ROW_OK);
    assert_int_equal(row.score, 6); /* (1 × 10 + 2 × 4) / 3 */
    assert_int_equal(events_about(rig, TABLE_consumer_state), 1);
    for (int lost = 11; lost < 60; lost++) /* a flood of reports is one report */
        report(rig, &clients[1], 4000, lost);
    assert_int_equal(rig->worker->consumers.details[0].score.value, 6);
    call_close(rig, clients, 1);
}

/* A packet that was sent again three times was repaired once. */
static void repaired_packets_are_counted_once(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    const struct retransmission *again = &rig->worker->repair_out.all[0];
    struct rig_sent sent[4];
    uint16_t out;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    sequence++;
    call_publish(rig, &clients[0], sequence, sequence * 1800u, true, 100);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], sent, 4), 1);
    out = sequence_of(&sent[0]);
    for (int i = 0; i < 3; i++) {
        uint8_t rtcp[64];
        struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};

        rtcp_add_nack(&b, 1, 4000, &out, 1);
        client_send_rtcp(rig, &clients[1], rtcp, b.bytes);
        rig_turn(rig);
        rig_advance(rig, 300 * NS_PER_MS);
    }
    assert_int_equal(again->packets, 3);
    assert_int_equal(again->repaired, 1);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publisher_that_loses_packets),
        cmocka_unit_test(a_publisher_whose_packets_are_repaired),
        cmocka_unit_test(a_publisher_that_stops),
        cmocka_unit_test(a_producer_that_is_paused),
        cmocka_unit_test(a_microphone_that_is_silent),
        cmocka_unit_test(a_subscriber_that_loses_packets),
        cmocka_unit_test(repaired_packets_are_counted_once),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
