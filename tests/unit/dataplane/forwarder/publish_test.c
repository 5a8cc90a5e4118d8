/* Statistics rows: rates of transports, producers and consumers. */
#include "call.h"

enum { SPEAKER = 0, LISTENER = 1, PAYLOAD = 60, PACKETS_PER_SECOND = 50 };

static void speak(struct rig *rig, struct client *c)
{
    static uint16_t sequence;
    uint8_t packet[200];

    sequence++;
    client_send_rtp(rig, c, packet,
                    client_rtp(packet, 111, sequence, sequence * 960u, AUDIO_SSRC, false, PAYLOAD));
}

static void read_row(struct rig *rig, enum table_id table, uint32_t index, uint32_t generation,
                     void *row)
{
    assert_int_equal(row_copy(table, row, region_row(&rig->actual, table, index), generation),
                     ROW_OK);
}

/* Bits per second of packets of `bytes` each, within a tenth. */
static void assert_rate(uint32_t bps, uint32_t bytes_min, uint32_t bytes_max)
{
    assert_in_range(bps, PACKETS_PER_SECOND * bytes_min * 8 * 9 / 10,
                    PACKETS_PER_SECOND * bytes_max * 8 * 11 / 10);
}

static struct rig *audio_call_open(struct client clients[2], struct consumer_row *consumer)
{
    struct rig *rig = rig_open();
    struct producer_row producer = rig_audio_row(SPEAKER, AUDIO_SSRC);

    memset(clients, 0, 2 * sizeof(*clients));
    for (uint32_t i = 0; i < 2; i++)
        rig_connect(rig, &clients[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    *consumer = (struct consumer_row){.transport = handle_make(LISTENER, 1),
                                      .producer = handle_make(0, 1),
                                      .ssrc = 4000,
                                      .payload_type = 100,
                                      .kind = MEDIA_KIND_audio};
    rig_row(rig, TABLE_producer, 0, &producer.header, 1);
    rig_row(rig, TABLE_consumer, 0, &consumer->header, 1);
    rig_turn(rig);
    return rig;
}

static void rates_are_of_the_last_half_second(void **state)
{
    struct client clients[2];
    struct consumer_row row;
    struct rig *rig = audio_call_open(clients, &row);
    struct transport_state_row in, out;
    struct producer_state_row producer;
    struct consumer_state_row consumer;

    for (int i = 0; i < 3 * PACKETS_PER_SECOND; i++) {
        speak(rig, &clients[SPEAKER]);
        rig_advance(rig, NS_PER_S / PACKETS_PER_SECOND);
    }
    read_row(rig, TABLE_transport_state, SPEAKER, 1, &in);
    read_row(rig, TABLE_transport_state, LISTENER, 1, &out);
    read_row(rig, TABLE_producer_state, 0, 1, &producer);
    read_row(rig, TABLE_consumer_state, 0, 1, &consumer);
    assert_rate(producer.encoding_bps[0], PAYLOAD + 12, PAYLOAD + 12);
    assert_rate(in.rtp_receive_bps, PAYLOAD + 12, PAYLOAD + 40);
    assert_true(in.receive_bps >= in.rtp_receive_bps * 99 / 100);
    assert_rate(out.rtp_send_bps, PAYLOAD + 12, PAYLOAD + 40);
    assert_true(out.send_bps >= out.rtp_send_bps);
    assert_int_equal(out.rtp_receive_bps, 0);
    assert_rate(consumer.send_bps, PAYLOAD + 12, PAYLOAD + 12);
    /* bytes of RTP packets, without the 16 that SRTP adds to each */
    assert_true(producer.encoding_packets[0] > 100);
    assert_int_equal(producer.encoding_bytes[0], producer.encoding_packets[0] * (PAYLOAD + 12));
    assert_true(consumer.packets_sent > 100);
    assert_int_equal(consumer.bytes_sent, consumer.packets_sent * (PAYLOAD + 12));
    assert_int_equal(out.rtp_bytes_sent, out.rtp_packets_sent * (PAYLOAD + 12));
    assert_int_equal(consumer.encoding, 0);
    assert_true(rig_now_ns - consumer.published_ns < 600 * NS_PER_MS);
    call_close(rig, clients, 1);
}

/* A row that was just published, or is of another object, gives no rate. */
static void another_object_begins_without_a_rate(void **state)
{
    struct client clients[2];
    struct consumer_row row;
    struct rig *rig = audio_call_open(clients, &row);
    struct consumer_state_row consumer;

    for (int i = 0; i < 3 * PACKETS_PER_SECOND; i++) {
        speak(rig, &clients[SPEAKER]);
        rig_advance(rig, NS_PER_S / PACKETS_PER_SECOND);
    }
    read_row(rig, TABLE_consumer_state, 0, 1, &consumer);
    assert_true(consumer.send_bps > 0);
    client_check(rig, &clients[SPEAKER], true); /* publishes the transport at once */
    row.ssrc += 2;                              /* an SSRC begins once on a transport */
    rig_row(rig, TABLE_consumer, 0, &row.header, 2);
    for (int i = 0; i < 4; i++) {
        speak(rig, &clients[SPEAKER]);
        rig_turn(rig);
    }
    rig_advance(rig, 600 * NS_PER_MS);
    read_row(rig, TABLE_consumer_state, 0, 2, &consumer);
    assert_int_equal(consumer.send_bps, 0);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_of_the_last_half_second),
        cmocka_unit_test(another_object_begins_without_a_rate),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
