/* Header extensions with ids above 14, which need two-byte headers (RFC 8285 4.3). A client that
 * offered extmap-allow-mixed changes between both forms from packet to packet. */
#include "call.h"

enum { MID_ID = 15, LEVEL_ID = 16, ORIENTATION_ID = 255, ONE_BYTE_ID = 14, SUBSCRIBER = 1 };

/* A producer that only its MID names. */
static void mid_producer(struct rig *rig)
{
    struct producer_row row = rig_audio_row(0, 0);

    row.mid[0] = '7';
    row.mid_bytes = 1;
    row.extension_sent_id[EXTENSION_mid] = MID_ID;
    row.extension_sent_id[EXTENSION_audio_level] = LEVEL_ID;
    row.extension_sent_id[EXTENSION_video_orientation] = ORIENTATION_ID;
    row.extension_sent_id[EXTENSION_toffset] = ONE_BYTE_ID;
    rig_row(rig, TABLE_producer, 0, &row.header, 1);
}

static void subscriber(struct rig *rig)
{
    struct consumer_row row = {
        .transport = handle_make(SUBSCRIBER, 1),
        .producer = handle_make(0, 1),
        .ssrc = 1000,
        .extension_mask = 1 << EXTENSION_mid | 1 << EXTENSION_audio_level |
                          1 << EXTENSION_video_orientation | 1 << EXTENSION_toffset |
                          1 << EXTENSION_abs_capture_time | 1 << EXTENSION_dependency_descriptor,
        .payload_type = 100,
        .kind = MEDIA_KIND_audio,
        .priority = 1,
        .preferred_spatial_layer = 255,
        .preferred_temporal_layer = 255,
        .mid_bytes = 1,
        .mid = "0",
    };

    rig_row(rig, TABLE_consumer, 0, &row.header, 1);
}

/* Sends a packet with this extension block. */
static void speak(struct rig *rig, struct client *c, uint16_t sequence, const char *block,
                  size_t block_bytes)
{
    uint8_t packet[400];
    size_t bytes = client_rtp(packet, 111, sequence, sequence * 960u, AUDIO_SSRC, false, 60);

    memmove(packet + 12 + block_bytes, packet + 12, bytes - 12);
    memcpy(packet + 12, block, block_bytes);
    packet[0] |= 0x10;
    client_send_rtp(rig, c, packet, bytes + block_bytes);
    rig_turn(rig);
}
#define SPEAK(rig, c, sequence, block) speak(rig, c, sequence, block, sizeof(block) - 1)

/* What the subscriber got in this turn has these bytes after our MID. */
static void expect_elements(struct rig *rig, struct client *c, const char *elements, size_t bytes)
{
    struct rig_sent got;

    assert_int_equal(client_received_rtp(rig, c, &got, 1), 1);
    assert_memory_equal(got.data + 12, "\xbe\xde", 2); /* always the one-byte form */
    assert_memory_equal(got.data + 16,
                        "\x10"
                        "0",
                        2);
    assert_memory_equal(got.data + 18, elements, bytes);
}
#define EXPECT(rig, c, elements) expect_elements(rig, c, elements, sizeof(elements) - 1)

static void ids_above_14_are_understood_beside_others(void **state)
{
    struct client clients[2];
    struct rig *rig = rig_open();

    memset(clients, 0, sizeof(clients));
    for (uint32_t i = 0; i < 2; i++)
        rig_connect(rig, &clients[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    mid_producer(rig);
    subscriber(rig);
    rig_turn(rig);
    /* Two-byte: MID 7, level, orientation. Only the MID says to which producer it belongs. */
    SPEAK(rig, &clients[0], 1,
          "\x10\0\0\x03"
          "\x0f\x01"
          "7"
          "\x10\x01\x22"
          "\xff\x01\x05"
          "\0\0\0");
    EXPECT(rig, &clients[1],
           "\x60\x22"
           "\x80\x05");
    /* One-byte: only what has an id up to 14 fits into it. */
    SPEAK(rig, &clients[0], 2,
          "\xbe\xde\0\x01"
          "\xe0\x77\0\0");
    EXPECT(rig, &clients[1], "\x90\x77");
    /* Two-byte again, an id up to 14 among the others. */
    SPEAK(rig, &clients[0], 3,
          "\x10\0\0\x02"
          "\x0e\x01\x66"
          "\x10\x01\x33"
          "\0\0");
    EXPECT(rig, &clients[1],
           "\x60\x33"
           "\x90\x66");
    assert_int_equal(rig_verdict(rig, VERDICT_forwarded), 3);
    {
        struct producer_state_row row;

        rig_advance(rig, NS_PER_S); /* senders tell the orientation in some packets only */
        assert_int_equal(row_copy(TABLE_producer_state, &row,
                                  region_row(&rig->actual, TABLE_producer_state, 0), 1),
                         ROW_OK);
        assert_int_equal(row.orientation, 5);
    }
    assert_int_equal(rig->worker->producers.all[0].levels.extension_id, LEVEL_ID);
    /* A packet of a new SSRC with another MID belongs to no producer. */
    {
        uint8_t packet[400];
        size_t bytes = client_rtp(packet, 111, 1, 1, 0x99, false, 60);

        memmove(packet + 20, packet + 12, bytes - 12);
        memcpy(packet + 12,
               "\x10\0\0\x01"
               "\x0f\x01"
               "8"
               "\0",
               8);
        packet[0] |= 0x10;
        client_send_rtp(rig, &clients[0], packet, bytes + 8);
        rig_turn(rig);
    }
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtp_unrouted), 1);
    for (uint32_t i = 0; i < 2; i++)
        client_close(&clients[i]);
    rig_close(rig);
}

/* A dependency descriptor of 95 bytes, as it begins a key frame of AV1, needs the two-byte form; the
 * next packet of the stream does not. */
static void a_long_element_reaches_the_subscriber(void **state)
{
    enum { DESCRIPTOR_BYTES = 95, DESCRIPTOR_ID = 12 };
    struct client clients[2];
    struct rig *rig = rig_open();
    struct producer_row row = rig_audio_row(0, AUDIO_SSRC);
    uint8_t block[4 + 100] = {0x10, 0, 0, 25, DESCRIPTOR_ID, DESCRIPTOR_BYTES};
    struct rig_sent got;

    memset(clients, 0, sizeof(clients));
    for (uint32_t i = 0; i < 2; i++)
        rig_connect(rig, &clients[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    row.extension_sent_id[EXTENSION_dependency_descriptor] = DESCRIPTOR_ID;
    rig_row(rig, TABLE_producer, 0, &row.header, 1);
    subscriber(rig);
    rig_turn(rig);
    for (unsigned i = 0; i < DESCRIPTOR_BYTES; i++)
        block[6 + i] = (uint8_t)(i + 1);
    speak(rig, &clients[0], 1, (const char *)block, sizeof(block));
    assert_int_equal(client_received_rtp(rig, &clients[1], &got, 1), 1);
    assert_memory_equal(got.data + 12, "\x10\0\0\x1a\1\1\x30\7\x5f", 9);
    assert_memory_equal(got.data + 21, block + 6, DESCRIPTOR_BYTES);
    SPEAK(rig, &clients[0], 2, "\xbe\xde\0\1\xc2\1\2\3");
    EXPECT(rig, &clients[1], "\x72\1\2\3");
    for (uint32_t i = 0; i < 2; i++)
        client_close(&clients[i]);
    rig_close(rig);
}

/* ---- abs-capture-time ---- */

enum { CAPTURE_ID = 9 };

static struct rig *open_with_capture_time(struct client clients[2])
{
    struct rig *rig = rig_open();
    struct producer_row row = rig_audio_row(0, AUDIO_SSRC);

    memset(clients, 0, 2 * sizeof(*clients));
    for (uint32_t i = 0; i < 2; i++)
        rig_connect(rig, &clients[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    row.extension_sent_id[EXTENSION_toffset] = ONE_BYTE_ID;
    row.extension_sent_id[EXTENSION_abs_capture_time] = CAPTURE_ID;
    rig_row(rig, TABLE_producer, 0, &row.header, 1);
    subscriber(rig);
    rig_turn(rig);
    return rig;
}

/* The time of capture is 10.5 s on the publisher's clock, and there is another element. */
#define TIME_10_5 "\0\0\0\x0a\x80\0\0\0"
#define SHORT_FORM "\xbe\xde\0\x03\x97" TIME_10_5 "\xe0\x77\0"
/* That publisher forwards from a client whose clock is 2.25 s ahead of its own. */
#define LONG_FORM "\x10\0\0\x06\x09\x10" TIME_10_5 "\0\0\0\x02\x40\0\0\0\x0e\x01\x77\0\0\0"

static void a_capture_time_is_moved_to_our_clock(void **state)
{
    struct client clients[2];
    struct rig *rig = open_with_capture_time(clients);
    struct rtcp_sender_info info = {.ssrc = AUDIO_SSRC};
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};

    /* Its clock is not known. */
    SPEAK(rig, &clients[0], 1, SHORT_FORM);
    EXPECT(rig, &clients[1], "\x90\x77\0\0");
    SPEAK(rig, &clients[0], 2, LONG_FORM);
    EXPECT(rig, &clients[1], "\x90\x77\0\0");
    /* Ours is 256.75 s ahead. */
    info.ntp = rtcp_ntp(rig_wall_ns) - (0x100ull << 32 | 0xc0000000);
    rtcp_add_sr(&b, &info);
    client_send_rtcp(rig, &clients[0], rtcp, b.bytes);
    rig_turn(rig);
    SPEAK(rig, &clients[0], 3, SHORT_FORM);
    EXPECT(rig, &clients[1], "\x90\x77\xa7\0\0\x01\x0b\x40\0\0\0");
    SPEAK(rig, &clients[0], 4, LONG_FORM);
    EXPECT(rig, &clients[1], "\x90\x77\xaf\0\0\x01\x09\0\0\0\0\0\0\0\0\0\0\0\0");
    /* Neither form. */
    SPEAK(rig, &clients[0], 5, "\xbe\xde\0\x02\x92\1\2\3\xe0\x77\0\0");
    EXPECT(rig, &clients[1], "\x90\x77\0\0");
    for (uint32_t i = 0; i < 2; i++)
        client_close(&clients[i]);
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_above_14_are_understood_beside_others),
        cmocka_unit_test(a_long_element_reaches_the_subscriber),
        cmocka_unit_test(a_capture_time_is_moved_to_our_clock),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
