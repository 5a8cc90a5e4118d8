/* Numbers of packets that carry no media, and gaps in time without a gap in numbers. */
#include "call.h"

enum { CONSUMER_SSRC = 4000, PAYLOAD = 500, STEP = 3000, FIRST = 65530 /* numbers wrap */ };

static struct rig *open_with_consumer(struct client clients[2])
{
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aes128_cm_sha1_80);

    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
    rig_turn(rig);
    return rig;
}

static void publish(struct rig *rig, struct client *c, unsigned i)
{
    call_publish(rig, c, (uint16_t)(FIRST + i), i * STEP, i == 0, PAYLOAD);
}

/* A packet of padding and nothing else. */
static void publish_padding(struct rig *rig, struct client *c, unsigned i)
{
    uint8_t packet[300];
    size_t bytes = client_rtp(packet, 96, (uint16_t)(FIRST + i), i * STEP, VIDEO_SSRC, false, 200);

    packet[0] |= 0x20;
    packet[bytes - 1] = 200;
    client_send_rtp(rig, c, packet, bytes);
}

/* How many sequence numbers the publisher was asked for in the last turn. */
static size_t asked_for(struct rig *rig, struct client *publisher)
{
    return client_received_rtcp(rig, publisher, RTCP_RTPFB, RTPFB_NACK);
}

static void lose(struct rig *rig, struct client *subscriber, uint16_t sequence)
{
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = 40};

    assert_true(rtcp_add_nack(&b, 99, CONSUMER_SSRC, &sequence, 1));
    client_send_rtcp(rig, subscriber, rtcp, b.bytes);
}

static void padding_is_not_forwarded_and_leaves_no_gap(void **state)
{
    struct client clients[2];
    struct rig *rig = open_with_consumer(clients);
    const struct producer *p = &rig->worker->producers.all[0];
    struct rig_sent got[16];
    uint32_t jitter;
    uint16_t first;

    publish(rig, &clients[0], 0);
    rig_turn(rig);
    rig_now_ns += STEP * NS_PER_S / 90000;
    publish(rig, &clients[0], 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 16), 1);
    first = (uint16_t)(sequence_of(&got[0]) - 1);
    jitter = p->encodings[0].jitter;
    for (unsigned i = 2; i < 10; i++)
        publish_padding(rig, &clients[0], i);
    publish(rig, &clients[0], 10);
    publish_padding(rig, &clients[0], 11);
    publish(rig, &clients[0], 12);
    rig_now_ns += 9 * STEP * NS_PER_S / 90000; /* when number 10 is due */
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 16), 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(sequence_of(&got[i]), (uint16_t)(first + 2 + i));
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtp_empty), 9);
    /* Nothing is missing, for us and in our reports; it is not media. */
    rig_advance(rig, 100 * NS_PER_MS);
    assert_int_equal(asked_for(rig, &clients[0]), 0);
    assert_int_equal(p->encodings[0].packets, 13);
    /* Only numbers 10 and 12 tell about it; without that rule eight others would, too. */
    assert_in_range(p->encodings[0].jitter, 0, jitter + 2 * STEP);
    assert_int_equal(p->encodings[0].empty_packets, 9);
    assert_int_equal(p->encodings[0].highest_index - p->encodings[0].first_index, 12);
    call_close(rig, clients, 1);
}

static void a_packet_after_padding_is_sent_again(void **state)
{
    struct client clients[2];
    struct rig *rig = open_with_consumer(clients);
    struct rig_sent got[8];
    uint16_t first;

    publish(rig, &clients[0], 0);
    publish_padding(rig, &clients[0], 1);
    publish(rig, &clients[0], 2);
    publish(rig, &clients[0], 3);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 3);
    first = sequence_of(&got[0]);
    lose(rig, &clients[1], (uint16_t)(first + 1));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 1);
    /* The time stamp tells which it is. */
    assert_int_equal(got[0].data[6] << 8 | got[0].data[7], 2 * STEP);
    call_close(rig, clients, 1);
}

/* What is lost near padding is still asked for by its own number and takes its place. */
static void late_packets_take_their_places(void **state)
{
    struct client clients[2];
    struct rig *rig = open_with_consumer(clients);
    struct rig_sent got[8];
    uint16_t first;

    publish(rig, &clients[0], 0);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 1);
    first = sequence_of(&got[0]);
    publish_padding(rig, &clients[0], 3); /* 1 and 2 are missing */
    publish(rig, &clients[0], 4);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 1);
    assert_int_equal(sequence_of(&got[0]), (uint16_t)(first + 3));
    rig_advance(rig, 20 * NS_PER_MS);
    assert_true(asked_for(rig, &clients[0]) > 0);
    publish(rig, &clients[0], 2);
    /* Number 1 was padding: the subscriber waits for something, and gets an empty packet. */
    publish_padding(rig, &clients[0], 1);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 2);
    assert_int_equal(sequence_of(&got[0]), (uint16_t)(first + 2));
    assert_int_equal(sequence_of(&got[1]), (uint16_t)(first + 1));
    assert_true(got[1].bytes < 80 && got[0].bytes > PAYLOAD);
    rig_advance(rig, 300 * NS_PER_MS);
    assert_int_equal(asked_for(rig, &clients[0]), 0);
    call_close(rig, clients, 1);
}

/* The first padding of the stream is late. */
static void late_padding_leaves_empty(void **state)
{
    struct client clients[2];
    struct rig *rig = open_with_consumer(clients);
    struct rig_sent got[8];
    uint16_t first;

    publish(rig, &clients[0], 0);
    publish(rig, &clients[0], 2);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 2);
    first = sequence_of(&got[0]);
    publish_padding(rig, &clients[0], 1);
    publish(rig, &clients[0], 3);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 2);
    assert_int_equal(sequence_of(&got[0]), (uint16_t)(first + 1));
    assert_int_equal(sequence_of(&got[1]), (uint16_t)(first + 3));
    assert_true(got[0].bytes < 80 && got[1].bytes > PAYLOAD);
    call_close(rig, clients, 1);
}

/* Two seconds of silence (DTX): no packets, and the time stamps jump; the numbers do not. */
static void silence_is_no_loss(void **state)
{
    struct client clients[2];
    struct rig *rig = rig_open();
    struct consumer_row row = {.transport = handle_make(1, 1),
                               .producer = handle_make(0, 1),
                               .ssrc = CONSUMER_SSRC,
                               .payload_type = 100,
                               .kind = MEDIA_KIND_audio,
                               .priority = 1,
                               .preferred_spatial_layer = 255,
                               .preferred_temporal_layer = 255};
    struct producer_row speaker = rig_audio_row(0, AUDIO_SSRC);
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rig_sent got[8], copy;
    struct rtcp_report_block block;
    uint16_t expected = 0;
    uint32_t timestamp = 0;
    size_t at = 0, reports = 0;

    memset(clients, 0, sizeof(clients));
    for (uint32_t i = 0; i < 2; i++)
        rig_connect(rig, &clients[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    rig_row(rig, TABLE_producer, 0, &speaker.header, 1);
    rig_row(rig, TABLE_consumer, 0, &row.header, 1);
    rig_turn(rig);
    for (uint16_t i = 0; i < 6; i++) {
        uint8_t packet[100];
        size_t bytes = client_rtp(packet, 111, i, timestamp, AUDIO_SSRC, false, i % 2 ? 1 : 60);

        client_send_rtp(rig, &clients[0], packet, bytes);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 1);
        if (i > 0)
            assert_int_equal(sequence_of(&got[0]), expected);
        expected = (uint16_t)(sequence_of(&got[0]) + 1);
        assert_int_equal((uint32_t)got[0].data[5] << 16 | (uint32_t)got[0].data[6] << 8 |
                             got[0].data[7],
                         timestamp);
        rig_advance(rig, 2 * NS_PER_S);
        timestamp += 2 * 48000;
        at = 0;
        while (client_next_rtcp(rig, &clients[0], &at, &copy, packets) > 0)
            if (rtcp_read_report_block(&packets[0], 0, &block)) {
                assert_int_equal(block.packets_lost, 0);
                assert_int_equal(block.fraction_lost, 0);
                assert_int_equal(block.jitter, 0);
                reports++;
            }
    }
    assert_true(reports > 0);
    assert_int_equal(rig->worker->turn.counters[COUNTER_nack_sent], 0);
    for (uint32_t i = 0; i < 2; i++)
        client_close(&clients[i]);
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_is_not_forwarded_and_leaves_no_gap),
        cmocka_unit_test(a_packet_after_padding_is_sent_again),
        cmocka_unit_test(late_packets_take_their_places),
        cmocka_unit_test(late_padding_leaves_empty),
        cmocka_unit_test(silence_is_no_loss),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
