/* Audio levels and rates as the worker publishes them: RFC 6464 bytes by time, gaps, bursts, pauses;
 * bits per second of streams and transports. */
#include "rig.h"

enum { LEVEL_ID = 7, SPEAKER = 0, LISTENER = 1 };

static void audio_producer(struct rig *rig, uint32_t index, bool paused, uint32_t generation)
{
    struct producer_row row = rig_audio_row(SPEAKER, AUDIO_SSRC);

    row.paused = paused;
    row.extension_router_id[LEVEL_ID] = EXTENSION_audio_level;
    rig_row(rig, TABLE_producer, index, &row.header, generation);
}

static struct rig *call_open(struct client clients[2])
{
    struct rig *rig = rig_open();

    memset(clients, 0, 2 * sizeof(*clients));
    for (uint32_t i = 0; i < 2; i++)
        rig_connect(rig, &clients[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    audio_producer(rig, 0, false, 1);
    rig_turn(rig);
    return rig;
}

static void call_close(struct rig *rig, struct client clients[2])
{
    client_close(&clients[0]);
    client_close(&clients[1]);
    rig_close(rig);
}

/* An Opus packet with a block of header extensions; `bytes` of the level's element, 0: no block. */
static size_t speak_packet(uint8_t *out, uint16_t sequence, uint8_t level, size_t bytes)
{
    out[0] = bytes ? 0x90 : 0x80;
    out[1] = 111;
    put16(out + 2, sequence);
    put32(out + 4, sequence * 960u);
    put32(out + 8, AUDIO_SSRC);
    if (bytes) {
        put32(out + 12, 0xbede0001);
        memset(out + 16, 0, 4);
        out[16] = (uint8_t)(LEVEL_ID << 4 | (bytes - 1));
        out[17] = level;
    }
    memset(out + 12 + (bytes ? 8 : 0), 0x55, 60);
    return 12 + (bytes ? 8 : 0) + 60;
}

static uint16_t sequence;

static void speak(struct rig *rig, struct client *c, uint8_t level)
{
    uint8_t packet[200];

    client_send_rtp(rig, c, packet, speak_packet(packet, ++sequence, level, 1));
}

static bool read_levels(struct rig *rig, struct audio_level_row *row)
{
    return row_copy(TABLE_audio_level, row, region_row(&rig->actual, TABLE_audio_level, 0), 1) ==
           ROW_OK;
}

/* The published levels from the newest back, as long as `wanted` is. */
static void assert_levels(struct rig *rig, const uint8_t *wanted, size_t count)
{
    struct audio_level_row row;

    assert_true(read_levels(rig, &row));
    for (size_t i = 0; i < count; i++) {
        uint8_t got = row.level[(row.newest_interval - i) % AUDIO_LEVEL_INTERVALS];

        if (got != wanted[i])
            fail_msg("%zu slots back: %#x, not %#x", i, got, wanted[i]);
    }
}

static void align(void) /* a turn's clock goes on by microseconds: keep clear of a slot's end */
{
    rig_now_ns += AUDIO_INTERVAL_NS - rig_now_ns % AUDIO_INTERVAL_NS + AUDIO_INTERVAL_NS / 2;
}

static void one_level_a_slot(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients);
    struct audio_level_row row;
    uint8_t wanted[AUDIO_LEVEL_INTERVALS];
    uint32_t behind;

    align();
    for (int i = 0; i < 40; i++) { /* nobody consumes it: it is heard all the same */
        speak(rig, &clients[SPEAKER], (uint8_t)(0x80 | i));
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_true(read_levels(rig, &row));
    behind = (uint32_t)(rig_now_ns / AUDIO_INTERVAL_NS) - 1 - row.newest_interval;
    assert_true(behind < AUDIO_PUBLISH_INTERVALS); /* published with every fifth */
    for (size_t i = 0; i < AUDIO_LEVEL_INTERVALS; i++)
        wanted[i] = (uint8_t)(0x80 | (39 - behind - i));
    assert_levels(rig, wanted, AUDIO_LEVEL_INTERVALS);
    call_close(rig, clients);
}

static void gaps_are_empty(void **state)
{
    static const unsigned gaps[] = {1, 2, 7, 31, 32, 33, 5000};

    for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
        struct client clients[2];
        struct rig *rig = call_open(clients);
        uint8_t wanted[AUDIO_LEVEL_INTERVALS];
        size_t empty = gaps[i] < AUDIO_LEVEL_INTERVALS ? gaps[i] : AUDIO_LEVEL_INTERVALS - 5;

        align();
        for (int n = 0; n < 40; n++) {
            speak(rig, &clients[SPEAKER], 60);
            rig_turn(rig);
            rig_now_ns += AUDIO_INTERVAL_NS;
        }
        rig_now_ns += gaps[i] * (uint64_t)AUDIO_INTERVAL_NS;
        client_check(rig, &clients[SPEAKER], true);
        for (int n = 0; n < 5; n++) {
            speak(rig, &clients[SPEAKER], (uint8_t)n);
            rig_turn(rig);
            rig_now_ns += AUDIO_INTERVAL_NS;
        }
        memset(wanted, 60, sizeof(wanted));
        memset(wanted + 5, AUDIO_LEVEL_NONE, empty > 27 ? 27 : empty);
        memcpy(wanted, (uint8_t[]){4, 3, 2, 1, 0}, 5);
        /* published with the fifth since the last time: maybe one or two packets before the end */
        {
            struct audio_level_row row;
            size_t behind;

            assert_true(read_levels(rig, &row));
            behind = (uint32_t)(rig_now_ns / AUDIO_INTERVAL_NS) - 1 - row.newest_interval;
            assert_true(behind < AUDIO_PUBLISH_INTERVALS);
            assert_levels(rig, wanted + behind, 20);
        }
        call_close(rig, clients);
    }
}

/* Held up in the network and come at once: they take slots one after the other, some of them ahead. */
static void a_burst_spreads(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients);
    struct audio_level_row row;

    align();
    for (int i = 0; i < 10; i++)
        speak(rig, &clients[SPEAKER], (uint8_t)(70 - i)); /* ever louder */
    rig_turn(rig);
    rig_now_ns += 5 * (uint64_t)AUDIO_INTERVAL_NS;
    for (int i = 0; i < 6; i++) {
        speak(rig, &clients[SPEAKER], 100);
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_true(read_levels(rig, &row));
    /* slots 0 … 4 of the burst: 70 69 68 67 and the loudest of the rest */
    for (int i = 0; i < 5; i++) {
        uint32_t at = (uint32_t)(rig_now_ns / AUDIO_INTERVAL_NS) - 11 + (uint32_t)i;

        assert_int_equal(row.level[at % AUDIO_LEVEL_INTERVALS], i < 4 ? 70 - i : 61);
    }
    call_close(rig, clients);
}

static void what_is_no_level(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients);
    struct audio_level_row row;
    uint8_t packet[200];

    align();
    for (uint16_t i = 0; i < 20; i++) {
        size_t bytes = speak_packet(packet, ++sequence, 10, i % 2 ? 0 : 3);

        client_send_rtp(rig, &clients[SPEAKER], packet, bytes);
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_false(read_levels(rig, &row)); /* no element, or one of three bytes */
    for (int i = 0; i < 20; i++) { /* forged: nobody has proved that it comes from the client */
        size_t bytes = speak_packet(packet, ++sequence, 10, 1);

        assert_true(io_replay_feed(rig->io, &clients[SPEAKER].path, packet, (uint32_t)bytes));
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_false(read_levels(rig, &row));
    audio_producer(rig, 0, true, 1); /* paused */
    rig_turn(rig);
    for (int i = 0; i < 20; i++) {
        speak(rig, &clients[SPEAKER], 10);
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_false(read_levels(rig, &row));
    audio_producer(rig, 0, false, 1);
    for (int i = 0; i < 20; i++) {
        speak(rig, &clients[SPEAKER], 10);
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_true(read_levels(rig, &row));
    rig_free_row(rig, TABLE_producer, 0, 1); /* it goes, and its row */
    rig_turn(rig);
    assert_false(read_levels(rig, &row));
    call_close(rig, clients);
}

/* ---- rates ---- */

static void rates_are_of_the_last_half_second(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients);
    struct consumer_row row = {.transport = handle_make(LISTENER, 1),
                               .producer = handle_make(0, 1),
                               .ssrc = 4000,
                               .payload_type = 100,
                               .kind = MEDIA_KIND_audio};
    struct transport_state_row in, out;
    struct producer_state_row producer;
    struct consumer_state_row consumer;

    rig_row(rig, TABLE_consumer, 0, &row.header, 1);
    rig_turn(rig);
    for (int i = 0; i < 150; i++) { /* 3 s of 50 packets of 60 bytes payload */
        speak(rig, &clients[SPEAKER], 40);
        rig_advance(rig, 20 * NS_PER_MS);
    }
    assert_int_equal(row_copy(TABLE_transport_state, &in,
                              region_row(&rig->actual, TABLE_transport_state, SPEAKER), 1),
                     ROW_OK);
    assert_int_equal(row_copy(TABLE_transport_state, &out,
                              region_row(&rig->actual, TABLE_transport_state, LISTENER), 1),
                     ROW_OK);
    assert_int_equal(row_copy(TABLE_producer_state, &producer,
                              region_row(&rig->actual, TABLE_producer_state, 0), 1),
                     ROW_OK);
    assert_int_equal(row_copy(TABLE_consumer_state, &consumer,
                              region_row(&rig->actual, TABLE_consumer_state, 0), 1),
                     ROW_OK);
    assert_in_range(producer.encoding_bps[0], 50 * 60 * 8 * 9 / 10, 50 * 60 * 8 * 11 / 10);
    assert_in_range(in.rtp_receive_bps, 50 * 80 * 8 * 9 / 10, 50 * 100 * 8 * 11 / 10);
    assert_true(in.receive_bps >= in.rtp_receive_bps * 99 / 100);
    assert_in_range(out.rtp_send_bps, 50 * 60 * 8, 50 * 100 * 8 * 11 / 10);
    assert_true(out.send_bps >= out.rtp_send_bps);
    assert_int_equal(out.rtp_receive_bps, 0);
    assert_in_range(consumer.send_bps, 50 * 60 * 8 * 9 / 10, 50 * 100 * 8 * 11 / 10);
    assert_int_equal(consumer.encoding, 0);
    assert_true(rig_now_ns - consumer.published_ns < 600 * NS_PER_MS);
    client_check(rig, &clients[SPEAKER], true);      /* published at once: no rate of a moment */
    rig_row(rig, TABLE_consumer, 0, &row.header, 2); /* another life of that row: from nothing */
    for (int i = 0; i < 4; i++) {
        speak(rig, &clients[SPEAKER], 40);
        rig_turn(rig);
    }
    rig_advance(rig, 600 * NS_PER_MS);
    assert_int_equal(row_copy(TABLE_consumer_state, &consumer,
                              region_row(&rig->actual, TABLE_consumer_state, 0), 2),
                     ROW_OK);
    assert_int_equal(consumer.send_bps, 0);
    call_close(rig, clients);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_level_a_slot),
        cmocka_unit_test(gaps_are_empty),
        cmocka_unit_test(a_burst_spreads),
        cmocka_unit_test(what_is_no_level),
        cmocka_unit_test(rates_are_of_the_last_half_second),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
