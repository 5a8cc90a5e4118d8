/* Repair of audio, for which browsers have no RTX. Lost audio of a publisher is asked for and comes again
 * as it was. A subscriber gets lost audio again with the index that it had, so it must be the same to the
 * last byte (threat D13). */
#include "repair.h"

enum {
    PRODUCER = 1,
    CONSUMER = 1,
    SSRC = 6000,
    AUDIO_STEP = 960,
    OTHER_CODEC = 112, /* which the consumer does not get */
    MASK = 1 << EXTENSION_mid | 1 << EXTENSION_abs_send_time | 1 << EXTENSION_transport_cc |
           1 << EXTENSION_audio_level,
};

/* ---- rows ---- */

static void audio_producer_with(struct rig *rig, handle_word transport, bool has_nack,
                                bool has_times)
{
    struct producer_row row = rig_audio_row(0, 0);

    row.transport = transport;
    row.has_audio_nack = has_nack;
    row.codec_count = 2;
    row.codec[1] = CODEC_opus;
    row.codec_payload_type[1] = OTHER_CODEC;
    row.codec_mapped_payload_type[1] = 99;
    row.codec_clock_rate[1] = 48000;
    row.mid_bytes = 1;
    row.mid[0] = 'a';
    row.extension_sent_id[EXTENSION_mid] = 4;
    row.extension_sent_id[EXTENSION_abs_send_time] = has_times ? 2 : 0;
    row.extension_sent_id[EXTENSION_audio_level] = 1;
    rig_row(rig, TABLE_producer, PRODUCER, &row.header, 1);
}

static void audio_producer(struct rig *rig, handle_word transport, bool has_nack)
{
    audio_producer_with(rig, transport, has_nack, false);
}

static void audio_consumer(struct rig *rig, uint32_t transport, uint16_t mask, bool has_nack,
                           bool paused)
{
    struct consumer_row row = {
        .transport = handle_make(transport, 1),
        .producer = handle_make(PRODUCER, 1),
        .ssrc = SSRC,
        .extension_mask = mask,
        .payload_type = 100,
        .kind = MEDIA_KIND_audio,
        .paused = paused,
        .priority = 1,
        .preferred_spatial_layer = 255,
        .preferred_temporal_layer = 255,
        .mid_bytes = 1,
        .mid = "5",
        .has_audio_nack = has_nack,
    };

    rig_row(rig, TABLE_consumer, CONSUMER, &row.header, 1);
}

static struct rig *audio_open(struct client clients[2])
{
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    audio_producer(rig, handle_make(0, 1), true);
    audio_consumer(rig, 1, MASK, true, false);
    rig_turn(rig);
    return rig;
}

/* ---- packets ---- */

/* Its length and content follow from its sequence number and SSRC; its MID is "a". */
static void speak_as(struct rig *rig, struct client *c, uint32_t ssrc, uint16_t sequence,
                     uint8_t payload_type)
{
    size_t payload = 60 + sequence % 7 * 5;
    uint8_t packet[300], plain[200];

    client_rtp(plain, payload_type, sequence, sequence * (uint32_t)AUDIO_STEP, ssrc, false,
               payload);
    memcpy(packet, plain, 12);
    packet[0] |= 0x10;
    put32(packet + 12, 0xbede0002);
    memcpy(packet + 16, (uint8_t[]){0x40, 'a', 0x10, (uint8_t)(sequence % 100), 0x22, 1, 2, 3}, 8);
    memcpy(packet + 24, plain + 12, payload);
    packet[24] = (uint8_t)ssrc;
    client_send_rtp(rig, c, packet, 24 + payload);
}

static void speak(struct rig *rig, struct client *c, uint16_t sequence)
{
    speak_as(rig, c, AUDIO_SSRC, sequence, 111);
}

/* The packets that this client was sent in the last turn, as they were on the wire. */
static size_t heard(const struct rig *rig, const struct client *c, struct rig_sent *out,
                    size_t room)
{
    size_t count = 0;

    for (size_t i = 0; i < rig->sent_count; i++)
        if (path_equal(&rig->sent[i].path, &c->path) &&
            datagram_classify(rig->sent[i].data, rig->sent[i].bytes) == DATAGRAM_rtp) {
            if (count < room)
                out[count] = rig->sent[i];
            count++;
        }
    return count;
}

static void ask(struct rig *rig, struct client *c, uint16_t sequence)
{
    repair_lose(rig, c, SSRC, &sequence, 1);
    rig_turn(rig);
}

static void assert_same(const struct rig_sent *a, const struct rig_sent *b)
{
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a->data, b->data, a->bytes);
}

/* Publishes one packet; returns what the subscriber got. */
static struct rig_sent said(struct rig *rig, struct client *clients, uint16_t sequence)
{
    struct rig_sent got[2];

    speak(rig, &clients[0], sequence);
    rig_turn(rig);
    assert_int_equal(heard(rig, &clients[1], got, 2), 1);
    return got[0];
}

/* ---- to subscribers ---- */

static void lost_audio_leaves_again_as_it_was(void **state)
{
    struct client clients[2];
    struct rig *rig = audio_open(clients);
    struct rig_sent first[8], again[2];

    for (uint16_t i = 0; i < 8; i++) /* a burst of packets of different lengths */
        speak(rig, &clients[0], (uint16_t)(65530 + i));
    rig_turn(rig);
    assert_int_equal(heard(rig, &clients[1], first, 8), 8);
    for (unsigned i = 0; i < 8; i++) {
        rig_now_ns += 3 * NS_PER_S / 2;
        rig_wall_ns += 3 * NS_PER_S / 2;
        ask(rig, &clients[1], sequence_of(&first[i]));
        assert_int_equal(heard(rig, &clients[1], again, 2), 1);
        assert_same(&first[i], &again[0]);
    }
    assert_int_equal(rig_counter(rig, COUNTER_rtx_sent), 8);
    call_close(rig, clients, 1);
}

static void clients_without_nack_for_audio_get_nothing_again(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    struct rig_sent first;

    audio_producer(rig, handle_make(0, 1), true);
    audio_consumer(rig, 1, MASK, false, false);
    rig_turn(rig);
    first = said(rig, clients, 100);
    ask(rig, &clients[1], sequence_of(&first));
    assert_int_equal(heard(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(rig->worker->consumers.all[CONSUMER].header.extension_mask, MASK);
    call_close(rig, clients, 1);
}

/* The index of a packet that never left may yet be used: by that packet, when it comes late. */
static void what_never_left_does_not_leave_again(void **state)
{
    struct client clients[2];
    struct rig *rig = audio_open(clients);
    struct rig_sent first = said(rig, clients, 100), late, again[2];
    uint16_t missing = (uint16_t)(sequence_of(&first) + 1);

    said(rig, clients, 102);
    ask(rig, &clients[1], missing);
    ask(rig, &clients[1], (uint16_t)(missing + 2));
    assert_int_equal(heard(rig, &clients[1], NULL, 0), 0);
    late = said(rig, clients, 101);
    assert_int_equal(sequence_of(&late), missing);
    ask(rig, &clients[1], missing);
    assert_int_equal(heard(rig, &clients[1], again, 2), 1);
    assert_same(&late, &again[0]);
    /* A packet for which the backend had no room left no trace: its index was taken, and not reserved. */
    rig->worker->consumers.all[CONSUMER].index_reserved =
        srtp_sent_next(&rig->worker->consumers.all[CONSUMER].sent) - 1;
    ask(rig, &clients[1], (uint16_t)(missing + 1));
    assert_int_equal(heard(rig, &clients[1], NULL, 0), 0);
    call_close(rig, clients, 1);
}

/* The packet is in the history, but this consumer does not get its codec. */
static void another_codec_does_not_leave(void **state)
{
    struct client clients[2];
    struct rig *rig = audio_open(clients);
    struct rig_sent first = said(rig, clients, 100);

    speak_as(rig, &clients[0], AUDIO_SSRC, 101, OTHER_CODEC);
    rig_turn(rig);
    assert_int_equal(heard(rig, &clients[1], NULL, 0), 0);
    said(rig, clients, 102);
    ask(rig, &clients[1], (uint16_t)(sequence_of(&first) + 1));
    assert_int_equal(heard(rig, &clients[1], NULL, 0), 0);
    call_close(rig, clients, 1);
}

/* The packet is in the history, and was not sent, because the consumer had been paused. */
static void what_came_during_a_pause_does_not_leave(void **state)
{
    struct client clients[2];
    struct rig *rig = audio_open(clients);
    struct rig_sent before = said(rig, clients, 100), after, again[2];

    audio_consumer(rig, 1, MASK, true, true);
    rig_turn(rig);
    for (uint16_t i = 0; i < 10; i++)
        speak(rig, &clients[0], (uint16_t)(101 + i));
    rig_turn(rig);
    ask(rig, &clients[1], sequence_of(&before)); /* not while it is paused */
    assert_int_equal(heard(rig, &clients[1], NULL, 0), 0);
    audio_consumer(rig, 1, MASK, true, false);
    rig_turn(rig);
    after = said(rig, clients, 111);
    assert_int_equal(sequence_of(&after), (uint16_t)(sequence_of(&before) + 1));
    ask(rig, &clients[1], sequence_of(&before));
    assert_int_equal(heard(rig, &clients[1], again, 2), 1);
    assert_same(&before, &again[0]);
    ask(rig, &clients[1], sequence_of(&after));
    assert_int_equal(heard(rig, &clients[1], again, 2), 1);
    assert_same(&after, &again[0]);
    call_close(rig, clients, 1);
}

/* A publisher that begins anew with another SSRC and the same sequence numbers. */
static void packets_of_another_stream_are_not_taken_for_them(void **state)
{
    struct client clients[2];
    struct rig *rig = audio_open(clients);
    struct rig_sent first = said(rig, clients, 100), other[2], again[2];

    rig_now_ns += NS_PER_S;
    speak_as(rig, &clients[0], AUDIO_SSRC + 1, 100, 111);
    rig_turn(rig);
    assert_int_equal(heard(rig, &clients[1], other, 2), 1);
    assert_int_equal(sequence_of(&other[0]), (uint16_t)(sequence_of(&first) + 1));
    ask(rig, &clients[1], sequence_of(&first));
    assert_int_equal(heard(rig, &clients[1], NULL, 0), 0);
    ask(rig, &clients[1], sequence_of(&other[0]));
    assert_int_equal(heard(rig, &clients[1], again, 2), 1);
    assert_same(&other[0], &again[0]);
    call_close(rig, clients, 1);
}

/* With other header extensions the same packet would be another one. */
static void nothing_from_before_another_mask_leaves_again(void **state)
{
    struct client clients[2];
    struct rig *rig = audio_open(clients);
    struct rig_sent before = said(rig, clients, 100), after, again[2];

    audio_consumer(rig, 1, 1 << EXTENSION_mid, true, false);
    rig_turn(rig);
    after = said(rig, clients, 101);
    ask(rig, &clients[1], sequence_of(&before));
    assert_int_equal(heard(rig, &clients[1], NULL, 0), 0);
    ask(rig, &clients[1], sequence_of(&after));
    assert_int_equal(heard(rig, &clients[1], again, 2), 1);
    assert_same(&after, &again[0]);
    call_close(rig, clients, 1);
}

/* Threat D20. */
static void audio_that_leaves_again_has_a_share(void **state)
{
    struct client clients[2];
    struct rig *rig = audio_open(clients);
    uint64_t sent = 0, again = 0;
    uint16_t sequences[64], highest;

    for (uint16_t i = 0; i < 1500; i++) {
        struct rig_sent first = said(rig, clients, (uint16_t)(100 + i));
        uint64_t before = rig_counter(rig, COUNTER_rtx_sent);

        sent += first.bytes;
        highest = sequence_of(&first);
        if (i < 64 || i % 10)
            continue;
        for (unsigned k = 0; k < 64; k++)
            sequences[k] = (uint16_t)(highest - 63 + k);
        rig_now_ns += 100 * NS_PER_MS;
        repair_lose(rig, &clients[1], SSRC, sequences, 64);
        rig_turn(rig);
        again += (rig_counter(rig, COUNTER_rtx_sent) - before) * first.bytes;
    }
    print_message("# %.0f kB sent again beside %.0f kB\n", (double)again / 1000,
                  (double)sent / 1000);
    assert_true(again > sent * 20 / 100);
    assert_true(again < sent * 35 / 100 + 8192);
    call_close(rig, clients, 1);
}

/* ---- across workers ---- */

/* A hostile control plane makes the transport and the producer anew, with the row that was there, before
 * the other worker looks. There the producer seems to be the same, but its packets are others. */
static void a_producer_that_comes_again_is_another_one(void **state)
{
    struct rig_sent first[2], other[2], again[2];
    struct client *subscriber;
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    subscriber = &x.people[AWAY_SUBSCRIBER];
    audio_producer(x.home, handle_make(0, 1), true);
    audio_consumer(x.away, AWAY_SUBSCRIBER, MASK, true, false);
    pair_turn(&x);
    speak(x.home, &x.people[0], 100);
    speak(x.home, &x.people[0], 101);
    pair_turn(&x);
    assert_int_equal(heard(x.away, subscriber, first, 2), 2);
    rig_free_row(x.home, TABLE_producer, PRODUCER, 1);
    rig_free_row(x.home, TABLE_producer, 0, 1);
    rig_free_row(x.home, TABLE_transport, 0, 1);
    rig_turn(x.home);
    client_close(&x.people[0]);
    rig_transport(x.home, &x.people[0], 0, 2);
    rig_turn(x.home);
    client_check(x.home, &x.people[0], true);
    rig_turn(x.home);
    client_keys(x.home, &x.people[0], 2, SRTP_PROFILE_aead_aes_128_gcm);
    audio_producer(x.home, handle_make(0, 2), true);
    rig_turn(x.home);
    speak_as(x.home, &x.people[0], AUDIO_SSRC + 77, 100, 111); /* the same index, other bytes */
    pair_turn(&x);
    assert_int_equal(heard(x.away, subscriber, other, 2), 0); /* the index was used */
    repair_lose(x.away, subscriber, SSRC, (uint16_t[]){sequence_of(&first[0])}, 1);
    pair_turn(&x);
    assert_int_equal(heard(x.away, subscriber, again, 2), 0);
    speak_as(x.home, &x.people[0], AUDIO_SSRC + 77, 102, 111);
    pair_turn(&x);
    assert_int_equal(heard(x.away, subscriber, other, 2), 1);
    repair_lose(x.away, subscriber, SSRC, (uint16_t[]){sequence_of(&other[0])}, 1);
    pair_turn(&x);
    assert_int_equal(heard(x.away, subscriber, again, 2), 1);
    assert_same(&other[0], &again[0]);
    pair_close(&x);
}

/* ---- from publishers ---- */

static void lost_audio_is_asked_for_and_comes_as_it_was(void **state)
{
    struct client clients[2];
    struct rig *rig = audio_open(clients);
    const struct encoding *e = &rig->worker->producers.all[PRODUCER].encodings[0];
    uint16_t sequences[300];
    uint64_t packets;

    said(rig, clients, 100);
    said(rig, clients, 102);
    rig_advance(rig, 10 * NS_PER_MS);
    assert_int_equal(repair_asked_for(rig, &clients[0], sequences), 1);
    assert_int_equal(sequences[0], 101);
    rig_now_ns += 40 * NS_PER_MS;
    packets = e->packets;
    said(rig, clients, 101);
    assert_int_equal(e->packets_repaired, 1);
    assert_true(e->packets == packets); /* reports say what was lost */
    said(rig, clients, 104);
    said(rig, clients, 103); /* only late */
    assert_int_equal(e->packets_repaired, 1);
    assert_true(e->packets == packets + 2);
    for (unsigned i = 0; i < 20; i++) {
        rig_advance(rig, 50 * NS_PER_MS);
        assert_int_equal(repair_asked_for(rig, &clients[0], sequences), 0);
    }
    call_close(rig, clients, 1);
}

/* Threat D13: with AES-GCM a client must not send again a packet with another time in its header. */
static void publishers_are_asked_only_for_what_they_can_repeat(void **state)
{
    static const struct {
        bool has_nack, has_times, is_gcm, asked;
    } rows[] = {{true, false, true, true},   {true, true, true, false},
                {true, true, false, true},   {true, false, false, true},
                {false, false, true, false}, {false, true, false, false}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client clients[2];
        struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aes128_cm_sha1_80);
        struct client *publisher = &clients[!rows[i].is_gcm];
        uint16_t sequences[300];
        size_t asked = 0;

        audio_producer_with(rig, handle_make(publisher->transport, 1), rows[i].has_nack,
                            rows[i].has_times);
        audio_consumer(rig, !publisher->transport, MASK, true, false);
        rig_turn(rig);
        speak(rig, publisher, 100);
        speak(rig, publisher, 102);
        rig_turn(rig);
        for (unsigned k = 0; k < 20; k++) {
            rig_advance(rig, 10 * NS_PER_MS);
            asked += repair_asked_for(rig, publisher, sequences);
        }
        assert_int_equal(asked > 0, rows[i].asked);
        call_close(rig, clients, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_audio_leaves_again_as_it_was),
        cmocka_unit_test(clients_without_nack_for_audio_get_nothing_again),
        cmocka_unit_test(what_never_left_does_not_leave_again),
        cmocka_unit_test(another_codec_does_not_leave),
        cmocka_unit_test(what_came_during_a_pause_does_not_leave),
        cmocka_unit_test(packets_of_another_stream_are_not_taken_for_them),
        cmocka_unit_test(nothing_from_before_another_mask_leaves_again),
        cmocka_unit_test(audio_that_leaves_again_has_a_share),
        cmocka_unit_test(a_producer_that_comes_again_is_another_one),
        cmocka_unit_test(lost_audio_is_asked_for_and_comes_as_it_was),
        cmocka_unit_test(publishers_are_asked_only_for_what_they_can_repeat),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
