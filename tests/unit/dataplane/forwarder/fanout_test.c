/* Fan-out: who gets which packets, large rooms within a turn's budget and their small neighbours,
 * order, sweeps of audio, overload, the packet pool. */
#include "call.h"

static void every_consumer_gets_every_packet_in_every_profile(void **state)
{
    static const enum srtp_profile profiles[] = {SRTP_PROFILE_aead_aes_128_gcm,
                                                 SRTP_PROFILE_aead_aes_256_gcm,
                                                 SRTP_PROFILE_aes128_cm_sha1_80};

    for (size_t k = 0; k < 3; k++) {
        struct client clients[5];
        struct rig *rig = call_open(clients, 4, profiles[k]);
        struct rig_sent got[8];

        for (uint32_t i = 1; i <= 4; i++)
            rig_consumer(rig, i, i, 0, 1000 * i, false, 1);
        rig_turn(rig);
        for (uint16_t i = 0; i < 5; i++)
            call_publish(rig, &clients[0], (uint16_t)(65533 + i), 90000 + i * 3000u, i == 0,
                         900 + i);
        rig_turn(rig);
        for (uint32_t i = 1; i <= 4; i++) {
            assert_int_equal(client_received_rtp(rig, &clients[i], got, 8), 5);
            for (uint32_t n = 0; n < 5; n++) {
                const uint8_t *p = got[n].data;
                uint16_t first = sequence_of(&got[0]);

                assert_int_equal(get32(p + 8), 1000 * i);
                assert_int_equal(p[1] & 0x7f, 101);
                assert_int_equal((uint16_t)(p[2] << 8 | p[3]), (uint16_t)(first + n));
                assert_int_equal(get32(p + 4), 90000 + n * 3000);
                /* extension block: MID "0" with id 1, abs-send-time with id 4 */
                assert_int_equal(p[0] & 0x10, 0x10);
                assert_int_equal(get32(p + 12) >> 16, 0xbede);
                assert_int_equal(p[16], 0x10);
                assert_int_equal(p[17], '0');
                assert_int_equal(p[18], 0x42);
                /* padded to the longest of the burst, so that they leave in one send */
                assert_int_equal(got[n].bytes, 12 + 4 + 8 + 904);
                assert_int_equal(p[0] & 0x20, n < 4 ? 0x20 : 0);
                if (n < 4)
                    assert_int_equal(p[got[n].bytes - 1], 4 - n);
            }
        }
        assert_int_equal(rig_verdict(rig, VERDICT_forwarded), 5);
        call_close(rig, clients, 4);
    }
}

/* ---- large rooms and small ones ---- */

enum { CROWD = 300, SMALL_PUBLISHER = CROWD + 1, SMALL_SUBSCRIBER = CROWD + 2, PEOPLE = CROWD + 3 };

static struct client people[PEOPLE];

/* Two rooms. In the large one transport 0 publishes (producer 0) to CROWD subscribers; in the small
 * one SMALL_PUBLISHER publishes (producer 1) to SMALL_SUBSCRIBER. */
static struct rig *rooms_open(void)
{
    struct rig *rig = rig_open();

    memset(people, 0, sizeof(people));
    for (uint32_t i = 0; i < PEOPLE; i++)
        rig_connect(rig, &people[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_video_producer(rig, 1, SMALL_PUBLISHER, false);
    for (uint32_t i = 1; i <= CROWD; i++)
        rig_consumer(rig, i, i, 0, 1000 + i, false, 1);
    rig_consumer(rig, SMALL_SUBSCRIBER, SMALL_SUBSCRIBER, 1, 999, false, 1);
    rig_turn(rig);
    for (int i = 0; i < 10; i++)
        rig_turn(rig); /* a turn applies some of the rows */
    assert_int_equal(rig->worker->consumers.count, CROWD + 1);
    return rig;
}

static void rooms_close(struct rig *rig)
{
    for (uint32_t i = 0; i < PEOPLE; i++)
        client_close(&people[i]);
    rig_close(rig);
}

static void publish(struct rig *rig, uint32_t who, uint16_t sequence, bool key_frame)
{
    uint8_t packet[1600];

    client_send_rtp(rig, &people[who], packet,
                    client_rtp(packet, 96, sequence, sequence * 3000u, VIDEO_SSRC, key_frame, 600));
}

static bool same_subscriber(const struct rig_sent *a, const struct rig_sent *b)
{
    return memcmp(&a->path, &b->path, sizeof(a->path)) == 0;
}

/* A burst of the large room is more than one turn's work. A packet of the small room that comes
 * later leaves before the rest of the burst. */
static void a_large_room_does_not_delay_a_small_one(void **state)
{
    struct rig *rig = rooms_open();
    struct rig_sent small;
    size_t first;

    rig->sent_count = 0;
    publish(rig, SMALL_PUBLISHER, 1, true);
    rig_turn(rig);
    assert_int_equal(rig->sent_count, 1);
    small = rig->sent[0];
    for (uint16_t i = 0; i < 10; i++)
        publish(rig, 0, (uint16_t)(10 + i), i == 0);
    rig->sent_count = 0;
    assert_true(worker_turn(rig->worker)); /* as much as the budget of a turn allows */
    assert_true(rig->sent_count > 1000 && rig->sent_count < 2500);
    publish(rig, SMALL_PUBLISHER, 2, false);
    first = rig->sent_count;
    while (worker_turn(rig->worker))
        ;
    assert_true(same_subscriber(&rig->sent[first], &small));
    assert_int_equal(client_received_rtp(rig, &people[SMALL_SUBSCRIBER], NULL, 0), 1);
    for (uint32_t i = 1; i <= CROWD; i++)
        assert_int_equal(client_received_rtp(rig, &people[i], NULL, 0), 10);
    assert_int_equal(rig->worker->pool.taken, 0);
    assert_int_equal(rig_verdict(rig, VERDICT_forwarded), 12);
    rooms_close(rig);
}

/* A hall: SPEAKERS publish audio, and everybody else gets all of it. */
enum { SPEAKERS = 8 };

static struct rig *hall_open(void)
{
    struct rig *rig = rig_open();

    memset(people, 0, sizeof(people));
    for (uint32_t i = 0; i < SPEAKERS + CROWD && i < PEOPLE; i++)
        rig_connect(rig, &people[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    for (uint32_t s = 0; s < SPEAKERS; s++) {
        struct producer_row row = rig_audio_row(s, AUDIO_SSRC + s);

        rig_row(rig, TABLE_producer, s, &row.header, 1);
    }
    for (uint32_t i = SPEAKERS; i < PEOPLE; i++)
        for (uint32_t s = 0; s < SPEAKERS; s++) {
            struct consumer_row row = {
                .transport = handle_make(i, 1),
                .producer = handle_make(s, 1),
                .ssrc = 10000 + i * SPEAKERS + s,
                .payload_type = 100,
                .kind = MEDIA_KIND_audio,
                .priority = 1,
            };

            rig_row(rig, TABLE_consumer, i * SPEAKERS + s, &row.header, 1);
        }
    for (int i = 0; i < 60; i++)
        rig_turn(rig);
    assert_int_equal(rig->worker->consumers.count, (PEOPLE - SPEAKERS) * SPEAKERS);
    return rig;
}

static void speak(struct rig *rig, uint32_t who, uint16_t sequence)
{
    uint8_t packet[600];

    client_send_rtp(
        rig, &people[who], packet,
        client_rtp(packet, 111, sequence, sequence * 960u, AUDIO_SSRC + who, false, 400));
}

/* Audio packets that arrive while a sweep of the hall is running leave side by side in the next
 * sweep. */
static void audio_goes_in_sweeps(void **state)
{
    struct rig *rig = hall_open();
    struct worker *w = rig->worker;
    size_t listeners = PEOPLE - SPEAKERS, side_by_side = 0, began;

    rig->sent_count = 0;
    for (uint32_t s = 0; s < 6; s++)
        speak(rig, s, 1);
    assert_true(worker_turn(w)); /* more than a turn's budget */
    began = rig->sent_count;
    assert_true(began > listeners && began < 6 * listeners);
    speak(rig, 6, 1);
    speak(rig, 7, 1);
    worker_turn(w);
    assert_int_equal(rig->sent_count, 6 * listeners); /* the first sweep is complete */
    while (worker_turn(w))
        ;
    assert_int_equal(rig->sent_count, 8 * listeners);
    for (size_t i = 6 * listeners; i < 8 * listeners; i += 2)
        side_by_side += same_subscriber(&rig->sent[i], &rig->sent[i + 1]);
    assert_int_equal(side_by_side, listeners);
    assert_int_equal(w->pool.taken, 0);
    rooms_close(rig);
}

/* Packets that arrive while a job is running are sent after it, in order. */
static void packets_stay_in_order_across_jobs(void **state)
{
    struct rig *rig = rooms_open();
    struct rig_sent *got = calloc(64, sizeof(*got));

    for (uint16_t i = 0; i < 40; i++) {
        publish(rig, 0, (uint16_t)(100 + i), i == 0);
        if (i == 0)
            rig->sent_count = 0;
        worker_turn(rig->worker);
    }
    while (worker_turn(rig->worker))
        ;
    for (uint32_t i = 1; i <= CROWD; i += 37) {
        assert_int_equal(client_received_rtp(rig, &people[i], got, 64), 40);
        for (uint32_t n = 0; n < 40; n++)
            assert_int_equal((uint16_t)(get32(got[n].data) - get32(got[0].data)), n);
    }
    assert_int_equal(rig->worker->pool.taken, 0);
    free(got);
    rooms_close(rig);
}

/* Consumers and producers that are removed in the middle of a job leave no packet in the pool, and
 * the other room continues. */
static void removal_in_the_middle_of_a_job(void **state)
{
    for (int what = 0; what < 4; what++) {
        struct rig *rig = rooms_open();
        struct worker *w = rig->worker;
        uint32_t next, gone = 60;

        for (uint16_t i = 0; i < 10; i++)
            publish(rig, 0, (uint16_t)(10 + i), i == 0);
        worker_turn(w);
        assert_non_null(w->producers.all[0].cursor);
        next = w->producers.all[0].cursor->index;
        for (uint32_t i = 0; what == 0 && i < gone;
             i++) /* also the one that is next in the coming turn */
            rig_free_row(rig, TABLE_consumer, next - i, 1);
        if (what == 1)
            rig_free_row(rig, TABLE_producer, 0, 1);
        else if (what == 2)
            rig_free_row(rig, TABLE_transport, 0, 1); /* the publisher's */
        else if (what == 3)
            rig_video_producer(rig, 0, 0, true); /* paused */
        for (int i = 0; i < 20; i++)
            rig_turn(rig);
        assert_int_equal(w->consumers.count, what == 0   ? CROWD + 1 - gone
                                             : what == 3 ? CROWD + 1
                                                         : 1);
        assert_int_equal(w->pool.taken, 0);
        assert_false(fan_out_has_work(&w->fanout));
        publish(rig, SMALL_PUBLISHER, 1, true);
        rig_turn(rig);
        assert_int_equal(client_received_rtp(rig, &people[SMALL_SUBSCRIBER], NULL, 0), 1);
        rooms_close(rig);
    }
}

/* While packets of a producer wait longer than BACKLOG_NS_MAX, those that arrive are dropped and
 * counted; afterwards the producer continues. */
static void a_backlog_drops_new_packets(void **state)
{
    struct rig *rig = rooms_open();
    struct worker *w = rig->worker;

    for (uint16_t i = 0; i < 10; i++)
        publish(rig, 0, (uint16_t)(10 + i), i == 0);
    worker_turn(w);
    rig_now_ns += BACKLOG_NS_MAX + 1;
    publish(rig, 0, 20, false);
    worker_turn(w);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_overload), 1);
    assert_int_equal(rig_counter(rig, COUNTER_backlog_full), 1);
    while (worker_turn(w))
        ;
    publish(rig, 0, 21, false);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &people[1], NULL, 0), 1);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_overload), 1);
    assert_int_equal(w->pool.taken, 0);
    rooms_close(rig);
}

/* When no packet is free, the drop is counted. Video leaves a reserve of packets to audio. */
static void an_exhausted_pool_is_counted(void **state)
{
    struct rig *rig = rooms_open();
    struct worker *w = rig->worker;
    struct packet **taken = calloc(POOL_PACKETS + 1, sizeof(*taken));
    uint32_t count = 0;

    while (w->pool.taken < POOL_PACKETS - POOL_AUDIO_PACKETS)
        taken[count++] = pool_take(&w->pool);
    publish(rig, SMALL_PUBLISHER, 1, true);
    rig_turn(rig);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_no_memory), 1);
    assert_int_equal(client_received_rtp(rig, &people[SMALL_SUBSCRIBER], NULL, 0), 0);
    while ((taken[count] = pool_take(&w->pool)) != NULL)
        count++;
    assert_int_equal(count, POOL_PACKETS);
    while (count > 0)
        pool_give(&w->pool, taken[--count]);
    publish(rig, SMALL_PUBLISHER, 2, true);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &people[SMALL_SUBSCRIBER], NULL, 0), 1);
    free(taken);
    rooms_close(rig);
}

/* ---- what is not sent ---- */

/* The last line of defence against a keystream that is used twice (threat D13): if an error makes
 * the indexes of a consumer go back, used ones are refused and the others are sent. */
static void an_index_that_was_used_is_refused(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    size_t received = 0;

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    for (uint16_t i = 0; i < 20; i++) {
        if (i == 10)
            rig->worker->consumers.all[0].index_offset -= 5;
        call_publish(rig, &clients[0], (uint16_t)(100 + i), 3000u * i, i == 0, 500);
        rig_turn(rig);
        received += client_received_rtp(rig, &clients[1], NULL, 0);
    }
    assert_int_equal(received, 15);
    assert_int_equal(rig_verdict(rig, VERDICT_forwarded), 15);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_index_used), 5);
    assert_int_equal(rig_counter(rig, COUNTER_index_refused), 5);
    call_close(rig, clients, 1);
}

/* Rewriting the header makes a packet longer: more extensions, a longer tag. The longest that is
 * received must still leave. */
static void the_longest_packets_leave_longer_than_they_came(void **state)
{
    struct client clients[3];
    struct rig *rig = call_open(clients, 2, SRTP_PROFILE_aes128_cm_sha1_80);
    struct rig_sent got[1];
    size_t received = 0;

    for (uint32_t i = 1; i <= 2; i++)
        rig_consumer(rig, i - 1, i, 0, 1000 * i, false, 1);
    rig_turn(rig);
    for (uint16_t i = 0; i < 1000; i++) {
        size_t payload = DATAGRAM_BYTES_MAX - 16 - 12 - i % 40;

        call_publish(rig, &clients[0], i, i * 3000u, i == 0, payload);
        rig_turn(rig);
        for (uint32_t k = 1; k <= 2; k++) {
            assert_int_equal(client_received_rtp(rig, &clients[k], got, 1), 1);
            assert_int_equal(got[0].bytes, 12 + 4 + 8 + payload);
            received++;
        }
    }
    print_message("%zu of 2000 packets of up to %d bytes arrived\n", received, DATAGRAM_BYTES_MAX);
    assert_int_equal(rig_verdict(rig, VERDICT_forwarded), 1000);
    call_close(rig, clients, 2);
}

static uint8_t *no_slot(struct io *io, const struct path *path, uint32_t bytes)
{
    return NULL;
}

/* A packet that nobody got is never `forwarded`. */
static void what_finds_no_room_is_not_forwarded(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    struct io_backend full = io_replay_backend;

    full.slot = no_slot;
    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    rig->worker->transmit.backend = &full;
    for (uint16_t i = 0; i < 10; i++)
        call_publish(rig, &clients[0], i, 3000u * i, i == 0, 500);
    rig_turn(rig);
    assert_int_equal(rig_verdict(rig, VERDICT_forwarded), 0);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_send_full), 10);
    assert_int_equal(rig_counter(rig, COUNTER_send_full), 10);
    rig->worker->transmit.backend = &io_replay_backend;
    for (uint16_t i = 10; i < 20; i++)
        call_publish(rig, &clients[0], i, 3000u * i, false, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 10);
    assert_int_equal(rig_verdict(rig, VERDICT_forwarded), 10);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_consumer_gets_every_packet_in_every_profile),
        cmocka_unit_test(a_large_room_does_not_delay_a_small_one),
        cmocka_unit_test(audio_goes_in_sweeps),
        cmocka_unit_test(packets_stay_in_order_across_jobs),
        cmocka_unit_test(removal_in_the_middle_of_a_job),
        cmocka_unit_test(a_backlog_drops_new_packets),
        cmocka_unit_test(an_exhausted_pool_is_counted),
        cmocka_unit_test(an_index_that_was_used_is_refused),
        cmocka_unit_test(the_longest_packets_leave_longer_than_they_came),
        cmocka_unit_test(what_finds_no_room_is_not_forwarded),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
