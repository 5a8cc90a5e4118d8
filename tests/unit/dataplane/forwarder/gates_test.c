/* The gates of the packet path that the forwarder keeps, see dataplane/README.md: G1, G2, G3, G5,
 * G6, G7, G8. A refused datagram changes no state and causes no byte to be sent. The handshaker
 * keeps G4 (dtls_test.c). tests/gates-mutate removes one gate after the other and checks that a
 * test fails. */
#include "call.h"
#include "tests/unit/dataplane/engines/hello_build.h"

static void feed(struct rig *rig, const struct path *path, const void *data, size_t bytes)
{
    assert_true(io_replay_feed(rig->io, path, data, (uint32_t)bytes));
}

/* Did the handshaker get a DTLS datagram since this was last asked? */
static bool handshaker_got_datagram(struct rig *rig)
{
    bool got = false;
    const struct ring_datagram *note;

    while ((note = ring_peek(&rig->to_handshaker))) {
        got |= note->note == DTLS_NOTE_datagram;
        ring_consume(&rig->to_handshaker);
    }
    return got;
}

static void g1_unauthenticated_stun_gets_no_answer(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0}, stranger = {.ufrag = "nobodyknowsthisufrag"};
    uint8_t request[256];
    size_t bytes;

    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    bytes = client_stun(&c, request, true, "wrongpasswordwrongpassword");
    feed(rig, &c.path, request, bytes);
    assert_int_equal(rig_turn(rig), 0);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_stun_unauthentic), 1);

    bytes = client_stun(&stranger, request, true, "whatever");
    feed(rig, &c.path, request, bytes);
    assert_int_equal(rig_turn(rig), 0);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_stun_stranger), 1);

    /* without MESSAGE-INTEGRITY: header, USERNAME and FINGERPRINT */
    bytes = client_stun(&c, request, true, c.password);
    {
        size_t at = 20 + 4 + 40;

        put16(request + 2, (uint32_t)(at + 8 - 20));
        put16(request + at, 0x8028);
        put16(request + at + 2, 4);
        put32(request + at + 4, crc32_of(request, at) ^ 0x5354554e);
        feed(rig, &c.path, request, at + 8);
    }
    assert_int_equal(rig_turn(rig), 0);
    /* the transport continues: a valid check from the same address is answered */
    client_check(rig, &c, true);
    assert_int_equal(rig_verdict(rig, VERDICT_stun_answered), 2);
    assert_int_equal(rig->worker->transports.all[0].ice.state, ICE_STATE_completed);
    client_close(&c);
    rig_close(rig);
}

static void g1_a_check_with_a_changed_byte_gets_no_answer(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};

    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    for (size_t i = 0; i < 120; i++) {
        uint8_t request[256];
        size_t bytes = client_stun(&c, request, true, c.password);

        if (i >= bytes)
            break;
        request[i] ^= 0x20;
        feed(rig, &c.path, request, bytes);
        assert_int_equal(rig_turn(rig), 0);
    }
    assert_int_equal(rig_verdict(rig, VERDICT_stun_answered), 1);
    client_close(&c);
    rig_close(rig);
}

static void g2_dtls_from_an_unvalidated_address_is_dropped(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    struct path elsewhere = rig_path(66, 6666);
    uint8_t hello[HELLO_BYTES_MAX];
    size_t hello_bytes = hello_whole(hello, 0);

    rig_transport(rig, &c, 0, 1);
    rig_turn(rig);
    feed(rig, &c.path, hello, hello_bytes); /* before any check */
    assert_int_equal(rig_turn(rig), 0);
    assert_false(handshaker_got_datagram(rig));
    assert_int_equal(rig_verdict(rig, VERDICT_drop_dtls_stranger), 1);
    client_check(rig, &c, true);
    feed(rig, &elsewhere, hello, hello_bytes);
    assert_int_equal(rig_turn(rig), 0);
    assert_false(handshaker_got_datagram(rig));
    feed(rig, &c.path, hello, hello_bytes);
    rig_turn(rig);
    assert_true(handshaker_got_datagram(rig));
    assert_int_equal(rig_verdict(rig, VERDICT_dtls_passed), 1);
    rig_close(rig);
}

/* Threat D5: from the right address, but no ClientHello. first_datagram_test sends them to the
 * handshaker, as if this worker had not dropped them. */
static void dtls_before_a_client_hello_is_dropped(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    uint8_t datagram[HELLO_BYTES_MAX];
    const char *name;

    rig_transport(rig, &c, 0, 1);
    rig_turn(rig);
    client_check(rig, &c, true);
    for (unsigned i = 0; i < BAD_FIRST_MALFORMED; i++) {
        feed(rig, &c.path, datagram, bad_first(i, datagram, &name));
        assert_int_equal(rig_turn(rig), 0);
        assert_false(handshaker_got_datagram(rig));
        assert_int_equal(rig_verdict(rig, VERDICT_drop_dtls_no_hello), i + 1);
    }
    feed(rig, &c.path, datagram, hello_whole(datagram, 0));
    rig_turn(rig);
    assert_true(handshaker_got_datagram(rig));
    rig_close(rig);
}

static void g3_media_before_keys_is_dropped(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    uint8_t packet[200];

    rig_transport(rig, &c, 0, 1);
    rig_video_producer(rig, 0, 0, false);
    rig_turn(rig);
    client_check(rig, &c, true);
    feed(rig, &c.path, packet, client_rtp(packet, 96, 1, 1, VIDEO_SSRC, true, 100));
    memcpy(packet, (uint8_t[]){0x80, 200, 0, 6}, 4);
    feed(rig, &c.path, packet, 28);
    assert_int_equal(rig_turn(rig), 0);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_media_unkeyed), 2);
    assert_int_equal(rig->worker->producers.all[0].encodings[0].packets, 0);
    rig_close(rig);
}

static void g5_a_packet_that_is_not_authentic_is_not_used_and_closes_nothing(void **state)
{
    struct rig *rig = rig_open();
    struct client clients[2] = {0};
    uint8_t packet[400], copy[400];

    rig_connect(rig, &clients[0], 0, SRTP_PROFILE_aes128_cm_sha1_80);
    rig_connect(rig, &clients[1], 1, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    for (int i = 0; i < 40; i++) {
        int n = (int)client_rtp(packet, 96, (uint16_t)(100 + i), 1, VIDEO_SSRC, true, 200);

        assert_int_equal(srtp_protect(clients[0].send, packet, &n), srtp_err_status_ok);
        memcpy(copy, packet, (size_t)n);
        copy[12 + i * 5] ^= 1;
        feed(rig, &clients[0].path, copy, (size_t)n);
        assert_int_equal(rig_turn(rig), 0);
    }
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtp_unauthentic), 40);
    assert_int_equal(rig->worker->producers.all[0].encodings[0].packets, 0);
    /* RTCP, too: a forged BYE does nothing */
    memcpy(packet, (uint8_t[]){0x81, 203, 0, 1, 0x11, 0x11, 0x11, 0x11, 0x80, 0, 0, 1}, 12);
    memset(packet + 12, 7, 20);
    feed(rig, &clients[0].path, packet, 32);
    rig_turn(rig);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtcp_unauthentic), 1);
    client_send_rtp(rig, &clients[0], packet,
                    client_rtp(packet, 96, 200, 1, VIDEO_SSRC, true, 200));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    client_close(&clients[0]);
    client_close(&clients[1]);
    rig_close(rig);
}

static void g6_media_never_moves_the_send_address(void **state)
{
    struct rig *rig = rig_open();
    struct client clients[2] = {0};
    struct path real, victim = rig_path(66, 6666);
    uint8_t packet[400];

    rig_connect(rig, &clients[0], 0, SRTP_PROFILE_aead_aes_128_gcm);
    rig_connect(rig, &clients[1], 1, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    real = clients[1].path;
    clients[1].path = victim; /* the subscriber's own RTCP, authentic, but from another address */
    memcpy(packet, (uint8_t[]){0x80, 201, 0, 1, 0, 0, 0, 9}, 8);
    client_send_rtcp(rig, &clients[1], packet, 8);
    rig_turn(rig);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_media_stranger), 1);
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 96, 1, 1, VIDEO_SSRC, true, 200));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    clients[1].path = real;
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    client_close(&clients[0]);
    client_close(&clients[1]);
    rig_close(rig);
}

static void g7_nothing_is_taken_or_sent_in_the_clear(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    uint8_t packet[400];
    struct ring_datagram *note;
    struct key_row row = {.header = {.generation = 1, .used = 1}, .state = DTLS_STATE_connected};

    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_turn(rig);
    feed(rig, &c.path, packet, client_rtp(packet, 96, 1, 1, VIDEO_SSRC, true, 200));
    /* SRTCP with the E bit 0: "not encrypted" */
    memset(packet, 0, sizeof(packet));
    memcpy(packet, (uint8_t[]){0x81, 203, 0, 1, 0x11, 0x11, 0x11, 0x11}, 8);
    feed(rig, &c.path, packet, 8 + 4 + 16);
    assert_int_equal(rig_turn(rig), 0);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtp_unauthentic), 1);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtcp_unauthentic), 1);

    /* a handshake that ends without a protection profile gives no keys */
    client_close(&c);
    rig_transport(rig, &c, 1, 1);
    rig_turn(rig);
    client_check(rig, &c, true);
    row.transport = handle_make(1, 1);
    row_write(TABLE_key, region_row(&rig->keys, TABLE_key, 1), &row.header);
    note = ring_reserve(&rig->from_handshaker);
    note->handle = row.transport;
    note->note = DTLS_NOTE_keys;
    note->bytes = 0;
    ring_publish(&rig->from_handshaker);
    rig_turn(rig);
    feed(rig, &c.path, packet, client_rtp(packet, 96, 1, 1, VIDEO_SSRC, true, 200));
    assert_int_equal(rig_turn(rig), 0);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_media_unkeyed), 1);
    rig_close(rig);
}

static void g8_sctp_outside_dtls_is_dropped(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    /* SCTP INIT, ports 5000 → 5000 */
    uint8_t init[32] = {0x13, 0x88, 0x13, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20};

    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    handshaker_got_datagram(rig);
    feed(rig, &c.path, init, sizeof(init));
    assert_int_equal(rig_turn(rig), 0);
    assert_false(handshaker_got_datagram(rig));
    assert_int_equal(rig_verdict(rig, VERDICT_drop_first_byte), 1);
    client_close(&c);
    rig_close(rig);
}

/* Threat D12: the whole stream comes again, in the same batch or later. None of it is used. */
static void replayed_packets_are_refused(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    static uint8_t packets[100][300];
    int bytes[100];

    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_turn(rig);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++) {
            uint8_t copy[300];

            if (round == 0) {
                bytes[i] = (int)client_rtp(packets[i], 96, (uint16_t)i, 1, VIDEO_SSRC, true, 100);
                srtp_protect(c.send, packets[i], &bytes[i]);
            }
            memcpy(copy, packets[i], sizeof(copy));
            feed(rig, &c.path, copy, (size_t)bytes[i]);
        }
        if (round != 1)
            rig_turn(rig); /* the second and the third round come in one batch */
    }
    assert_int_equal(rig->worker->producers.all[0].encodings[0].packets, 100);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtp_replay), 200);
    client_close(&c);
    rig_close(rig);
}

/* Threat D15: a valid client that sends from many SSRCs makes the worker keep nothing about them.
 */
static void random_ssrcs_leave_no_state(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    uint8_t packet[300];

    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_turn(rig);
    for (uint32_t i = 0; i < 1000; i++)
        client_send_rtp(rig, &c, packet, client_rtp(packet, 96, 1, 1, 0x5000 + i, true, 100));
    rig_turn(rig);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtp_unrouted), 1000);
    for (int i = 0; i < STREAMS_MAX; i++)
        assert_null(rig->worker->transports.ingresses[0].streams[i].producer);
    client_close(&c);
    rig_close(rig);
}

/* Threat D15: forged packets from 200 SSRCs, whose clear MID names a producer, use up no stream
 * entry. A true packet of a new SSRC in the same batch gets one. */
static void forged_ssrcs_use_up_no_stream_entries(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    uint8_t packet[300];
    struct producer_row row = {.transport = handle_make(0, 1),
                               .kind = MEDIA_KIND_video,
                               .type = PRODUCER_TYPE_simple,
                               .codec_count = 1,
                               .encoding_count = 1,
                               .codec = {CODEC_vp8},
                               .codec_payload_type = {96},
                               .codec_mapped_payload_type = {101},
                               .codec_clock_rate = {90000},
                               .mid = "7",
                               .mid_bytes = 1};

    row.extension_sent_id[EXTENSION_mid] = 4;
    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    rig_row(rig, TABLE_producer, 0, &row.header, 1);
    rig_turn(rig);
    for (uint32_t i = 0; i <= 200; i++) {
        size_t bytes = client_rtp(packet, 96, 1, 1, 0x5000 + i, true, 100);

        memmove(packet + 20, packet + 12, bytes - 12);
        memcpy(packet + 12, (uint8_t[]){0xbe, 0xde, 0, 1, 0x40, '7', 0, 0}, 8);
        packet[0] |= 0x10;
        if (i < 200)
            feed(rig, &c.path, packet, bytes + 8 + 16);
        else
            client_send_rtp(rig, &c, packet, bytes + 8);
    }
    rig_turn(rig);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtp_unauthentic), 200);
    assert_int_equal(rig->worker->producers.all[0].encodings[0].packets, 1);
    assert_int_equal(rig->worker->transports.ingresses[0].streams[0].ssrc, 0x5000 + 200);
    assert_null(rig->worker->transports.ingresses[0].streams[1].producer);
    client_close(&c);
    rig_close(rig);
}

/* Threat D18: at most 100 RTCP compounds a second are acted upon, and forged ones do not count. */
static void forged_rtcp_does_not_count_against_the_limit(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};

    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    rig_turn(rig);
    for (int i = 0; i < 400; i++) { /* 200 forged ones, then 200 true ones */
        uint8_t report[64] = {0x80, 201, 0, 1, 0x11, 0x11, 0x11, 0x11};

        if (i < 200)
            feed(rig, &c.path, report, 8 + 4 + 16);
        else
            client_send_rtcp(rig, &c, report, 8);
    }
    rig_turn(rig);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtcp_unauthentic), 200);
    assert_int_equal(rig_verdict(rig, VERDICT_rtcp_consumed), RTCP_PER_SECOND_MAX);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtcp_limit), 100);
    client_close(&c);
    rig_close(rig);
}

/* Threat D12: a producer is closed and comes back with the same SSRC. Packets from before are still
 * refused as replayed, new ones are taken. */
static void replay_protection_survives_a_closed_producer(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    uint8_t packet[300], first[300];
    int bytes;

    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_turn(rig);
    bytes = (int)client_rtp(first, 96, 65530, 1, VIDEO_SSRC, true, 100);
    srtp_protect(c.send, first, &bytes);
    memcpy(packet, first, sizeof(packet));
    feed(rig, &c.path, packet, (size_t)bytes);
    client_send_rtp(rig, &c, packet, client_rtp(packet, 96, 65535, 1, VIDEO_SSRC, true, 100));
    client_send_rtp(rig, &c, packet, client_rtp(packet, 96, 0, 1, VIDEO_SSRC, true, 100));
    rig_turn(rig);
    rig_free_row(rig, TABLE_producer, 0, 1);
    rig_turn(rig);
    rig_video_producer(rig, 1, 0, false);
    rig_turn(rig);
    memcpy(packet, first, sizeof(packet));
    feed(rig, &c.path, packet, (size_t)bytes);
    rig_turn(rig);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_rtp_replay), 1);
    client_send_rtp(rig, &c, packet, client_rtp(packet, 96, 1, 1, VIDEO_SSRC, true, 100));
    rig_turn(rig);
    assert_int_equal(rig->worker->producers.all[1].encodings[0].packets, 1);
    client_close(&c);
    rig_close(rig);
}

/* Threat D24: every first byte with many lengths. Each datagram has one verdict, and none is
 * answered. */
static void every_first_byte_has_a_verdict(void **state)
{
    struct rig *rig = rig_open();
    struct client c = {0};
    uint8_t packet[1600];
    uint64_t before = 0, after = 0;

    rig_connect(rig, &c, 0, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_turn(rig);
    for (int v = 0; v < VERDICT_COUNT; v++)
        before += rig->worker->turn.verdicts[v];
    for (unsigned first = 0; first < 256; first++)
        for (size_t n = 0; n < 40; n++) {
            size_t bytes = n < 30 ? n : n * 40;

            for (size_t i = 0; i < bytes; i++)
                packet[i] = (uint8_t)rand();
            packet[0] = (uint8_t)first;
            feed(rig, &c.path, packet, bytes);
            rig_turn(rig);
            for (size_t s = 0; s < rig->sent_count; s++)
                assert_int_not_equal(datagram_classify(rig->sent[s].data, rig->sent[s].bytes),
                                     DATAGRAM_stun);
        }
    for (int v = 0; v < VERDICT_COUNT; v++)
        after += rig->worker->turn.verdicts[v];
    assert_int_equal(after - before, 256 * 40);
    assert_int_equal(rig_verdict(rig, VERDICT_forwarded), 0);
    client_close(&c);
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(g1_unauthenticated_stun_gets_no_answer),
        cmocka_unit_test(g1_a_check_with_a_changed_byte_gets_no_answer),
        cmocka_unit_test(g2_dtls_from_an_unvalidated_address_is_dropped),
        cmocka_unit_test(dtls_before_a_client_hello_is_dropped),
        cmocka_unit_test(g3_media_before_keys_is_dropped),
        cmocka_unit_test(g5_a_packet_that_is_not_authentic_is_not_used_and_closes_nothing),
        cmocka_unit_test(g6_media_never_moves_the_send_address),
        cmocka_unit_test(g7_nothing_is_taken_or_sent_in_the_clear),
        cmocka_unit_test(g8_sctp_outside_dtls_is_dropped),
        cmocka_unit_test(replayed_packets_are_refused),
        cmocka_unit_test(random_ssrcs_leave_no_state),
        cmocka_unit_test(forged_ssrcs_use_up_no_stream_entries),
        cmocka_unit_test(forged_rtcp_does_not_count_against_the_limit),
        cmocka_unit_test(replay_protection_survives_a_closed_producer),
        cmocka_unit_test(every_first_byte_has_a_verdict),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
