/* Consumers: when video starts, pauses and resumes, and which encoding of a simulcast producer they
 * get. */
#include "call.h"

static void video_starts_only_at_a_key_frame(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    assert_int_equal(call_key_frame_requests(rig, &clients[0]), 1);
    call_publish(rig, &clients[0], 10, 1, false, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    call_publish(rig, &clients[0], 11, 2, true, 500);
    call_publish(rig, &clients[0], 12, 2, false, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 2);
    call_close(rig, clients, 1);
}

/* The subscriber sees no gap in the sequence numbers after a pause, and resuming asks the publisher
 * for a key frame. */
static void pausing_leaves_no_gap_in_the_numbering(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aes128_cm_sha1_80);
    struct rig_sent got[4];
    uint16_t last;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    call_publish(rig, &clients[0], 100, 9000, true, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 4), 1);
    last = sequence_of(&got[0]);
    for (int who = 0; who < 2; who++) { /* first the consumer is paused, then the producer */
        if (who == 0)
            rig_consumer(rig, 0, 1, 0, 4000, true, 1);
        else
            rig_video_producer(rig, 0, 0, true);
        rig_turn(rig);
        for (uint16_t i = 0; i < 3; i++)
            call_publish(rig, &clients[0], (uint16_t)(101 + who * 10 + i), 9100, true, 500);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
        rig_advance(rig, 2 * NS_PER_S);
        if (who == 0)
            rig_consumer(rig, 0, 1, 0, 4000, false, 1);
        else
            rig_video_producer(rig, 0, 0, false);
        rig_turn(rig);
        assert_int_equal(call_key_frame_requests(rig, &clients[0]), 1);
        call_publish(rig, &clients[0], (uint16_t)(105 + who * 10), 9200, true, 500);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &clients[1], got, 4), 1);
        assert_int_equal(sequence_of(&got[0]), (uint16_t)(last + 1));
        last++;
    }
    assert_true(rig_verdict(rig, VERDICT_drop_rtp_paused) == 3);
    call_close(rig, clients, 1);
}

/* A simulcast producer with two encodings: the consumer gets the best one that is alive and changes
 * at a key frame; sequence numbers and time stamps continue. */
static void simulcast_switches_at_key_frames(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    struct rig_sent got[8];
    uint8_t packet[1600];
    struct producer_row row = {.transport = handle_make(0, 1),
                               .kind = MEDIA_KIND_video,
                               .type = PRODUCER_TYPE_simulcast,
                               .codec_count = 1,
                               .encoding_count = 2,
                               .codec = {CODEC_vp8},
                               .codec_payload_type = {96},
                               .codec_mapped_payload_type = {101},
                               .codec_clock_rate = {90000},
                               .encoding_ssrc = {0xa0, 0xb0}};

    rig_row(rig, TABLE_producer, 1, &row.header, 1);
    rig_consumer(rig, 0, 1, 1, 4000, false, 1);
    rig_turn(rig);
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 96, 7, 1000, 0xa0, true, 400));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 8), 1);
    client_send_rtp(rig, &clients[0], packet,
                    client_rtp(packet, 96, 900, 777000, 0xb0, false, 400));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    rig_advance(rig, 600 * NS_PER_MS); /* now the upper one should be forwarded */
    assert_int_equal(rig->worker->consumers.all[0].target, 1);
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 96, 8, 46000, 0xa0, false, 400));
    rig_turn(rig);
    /* until its key frame comes, the lower one still is */
    assert_int_equal(client_received_rtp(rig, &clients[1], got + 1, 1), 1);
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 96, 901, 822000, 0xb0, true, 400));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got + 2, 1), 1);
    assert_int_equal((uint16_t)(get32(got[2].data) - get32(got[1].data)), 1);
    assert_in_range(get32(got[2].data + 4) - get32(got[1].data + 4), 1, 9000);
    client_send_rtp(rig, &clients[0], packet, client_rtp(packet, 96, 9, 49000, 0xa0, true, 400));
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(video_starts_only_at_a_key_frame),
        cmocka_unit_test(pausing_leaves_no_gap_in_the_numbering),
        cmocka_unit_test(simulcast_switches_at_key_frames),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
