/* Two workers of one forwarder: a room spread over both, by forced interleavings and by threads. */
#include "rig.h"

#include <pthread.h>

#include "dataplane/engines/rtcp.h"

enum { HOME_SUBSCRIBER = 1, AWAY_SUBSCRIBER = 2, AWAY_SECOND = 3, PEOPLE = 4 };

/* The publisher (transport 0, producer 0) and transport 1 live on worker 0, the others on worker 1. */
struct pair {
    struct handoff *handoff;
    struct rig *home, *away;
    struct client people[PEOPLE];
};

static void both_turn(struct pair *x)
{
    bool busy;

    x->home->sent_count = 0;
    x->away->sent_count = 0;
    for (int idle = 0; idle < 3; idle++) {
        do {
            rig_now_ns += 1000;
            busy = worker_turn(x->home->worker);
            busy |= worker_turn(x->away->worker);
        } while (busy);
    }
}

static struct rig *rig_of(struct pair *x, uint32_t who)
{
    return who >= AWAY_SUBSCRIBER ? x->away : x->home;
}

static void pair_open(struct pair *x, enum srtp_profile profile)
{
    memset(x, 0, sizeof(*x));
    x->handoff = handoff_new(2);
    assert_non_null(x->handoff);
    x->home = rig_open_first(x->handoff);
    x->away = rig_open_next(x->home, 1);
    for (uint32_t i = 0; i < PEOPLE; i++)
        rig_connect(rig_of(x, i), &x->people[i], i, profile);
    rig_video_producer(x->home, 0, 0, false);
    both_turn(x);
}

static void pair_close(struct pair *x)
{
    for (uint32_t i = 0; i < PEOPLE; i++)
        client_close(&x->people[i]);
    rig_close(x->away);
    rig_close(x->home);
    handoff_delete(x->handoff);
}

static void consume(struct pair *x, uint32_t who, bool paused)
{
    rig_consumer(rig_of(x, who), who, who, 0, 1000 * who, paused, 1);
}

static void publish(struct pair *x, uint16_t sequence, bool key_frame)
{
    uint8_t packet[1600];

    client_send_rtp(x->home, &x->people[0], packet,
                    client_rtp(packet, 96, sequence, sequence * 3000u, VIDEO_SSRC, key_frame, 700));
}

static size_t got(struct pair *x, uint32_t who)
{
    return client_received_rtp(rig_of(x, who), &x->people[who], NULL, 0);
}

static size_t asked(struct pair *x)
{
    return client_received_rtcp(x->home, &x->people[0], RTCP_PSFB, PSFB_PLI);
}

static void everybody_gets_every_packet(void **state)
{
    static const enum srtp_profile profiles[] = {SRTP_PROFILE_aead_aes_128_gcm,
                                                 SRTP_PROFILE_aes128_cm_sha1_80};

    for (size_t k = 0; k < 2; k++) {
        struct rig_sent *packets = calloc(16, sizeof(*packets));
        struct pair x;

        pair_open(&x, profiles[k]);
        for (uint32_t who = 1; who < PEOPLE; who++)
            consume(&x, who, false);
        both_turn(&x);
        assert_int_equal(asked(&x), 1); /* by all of them together */
        assert_int_equal(x.home->worker->producers.all[0].replica_workers, 1 << 1);
        assert_true(x.away->worker->producers.all[0].is_replica);
        for (uint16_t i = 0; i < 12; i++)
            publish(&x, (uint16_t)(65530 + i), i == 0);
        both_turn(&x);
        for (uint32_t who = 1; who < PEOPLE; who++) {
            assert_int_equal(client_received_rtp(rig_of(&x, who), &x.people[who], packets, 16), 12);
            for (uint32_t n = 0; n < 12; n++) {
                assert_int_equal(get32(packets[n].data + 8), 1000 * who);
                assert_int_equal((uint16_t)(get32(packets[n].data) - get32(packets[0].data)), n);
                assert_int_equal(packets[n].bytes, 12 + 4 + 8 + 700);
            }
        }
        assert_int_equal(x.home->worker->turn.verdicts[VERDICT_forwarded], 12);
        assert_int_equal(x.away->worker->turn.verdicts[VERDICT_forwarded], 0);
        assert_int_equal(x.home->worker->turn.counters[COUNTER_handed], 12);
        assert_int_equal(x.home->worker->pool.taken, 0);
        assert_int_equal(x.away->worker->pool.taken, 0);
        free(packets);
        pair_close(&x);
    }
}

/* Nobody at home: the packets are not "unwanted", and are kept until the other worker is done. */
static void only_the_other_worker_has_subscribers(void **state)
{
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    consume(&x, AWAY_SUBSCRIBER, false);
    both_turn(&x);
    publish(&x, 5, true);
    worker_turn(x.home->worker);
    assert_int_equal(x.home->worker->pool.taken, 1);
    assert_int_equal(x.home->worker->turn.verdicts[VERDICT_forwarded], 0); /* not yet */
    x.away->sent_count = 0;
    worker_turn(x.away->worker);
    assert_int_equal(got(&x, AWAY_SUBSCRIBER), 1);
    assert_int_equal(x.home->worker->pool.taken, 1);
    worker_turn(x.home->worker);
    assert_int_equal(x.home->worker->pool.taken, 0);
    assert_int_equal(x.home->worker->turn.verdicts[VERDICT_forwarded], 1);
    pair_close(&x);
}

/* Key-frame requests of a subscriber elsewhere reach the publisher, at most one a second. */
static void key_frame_requests_cross(void **state)
{
    struct pair x;
    uint8_t rtcp[64];
    size_t seen;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    consume(&x, AWAY_SUBSCRIBER, false);
    both_turn(&x);
    assert_int_equal(asked(&x), 1);
    publish(&x, 1, true);
    both_turn(&x);
    rig_now_ns += 2 * NS_PER_S;
    rig_wall_ns += 2 * NS_PER_S;
    both_turn(&x);
    for (int n = 0; n < 5; n++) {
        struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};

        rtcp_add_pli(&b, 99, 1000 * AWAY_SUBSCRIBER);
        client_send_rtcp(x.away, &x.people[AWAY_SUBSCRIBER], rtcp, b.bytes);
    }
    both_turn(&x);
    seen = asked(&x);
    assert_int_equal(seen, 1);
    for (int tick = 0; tick < 25; tick++) { /* it is asked again until one comes */
        rig_now_ns += 100 * NS_PER_MS;
        rig_wall_ns += 100 * NS_PER_MS;
        both_turn(&x);
        seen += asked(&x);
    }
    assert_int_equal(seen, 3);
    publish(&x, 2, true);
    both_turn(&x);
    rig_now_ns += 2 * NS_PER_S;
    both_turn(&x);
    assert_int_equal(asked(&x), 0);
    pair_close(&x);
}

/* Pause, resume and removal of the producer act on the other worker at once. */
static void the_producers_row_acts_elsewhere(void **state)
{
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    consume(&x, AWAY_SUBSCRIBER, false);
    both_turn(&x);
    publish(&x, 1, true);
    both_turn(&x);
    assert_int_equal(got(&x, AWAY_SUBSCRIBER), 1);
    rig_video_producer(x.home, 0, 0, true);
    both_turn(&x);
    assert_true(x.away->worker->producers.all[0].paused);
    publish(&x, 2, false);
    both_turn(&x);
    assert_int_equal(got(&x, AWAY_SUBSCRIBER), 0);
    rig_now_ns += 2 * NS_PER_S;
    rig_video_producer(x.home, 0, 0, false);
    both_turn(&x);
    assert_int_equal(asked(&x), 1);
    publish(&x, 3, true);
    both_turn(&x);
    assert_int_equal(got(&x, AWAY_SUBSCRIBER), 1);
    rig_free_row(x.home, TABLE_producer, 0, 1);
    both_turn(&x);
    assert_int_equal(x.away->worker->consumers.count, 0);
    assert_int_equal(x.away->worker->producers.all[0].generation, 0);
    assert_int_equal(client_received_rtcp(x.away, &x.people[AWAY_SUBSCRIBER], RTCP_BYE, -1), 1);
    pair_close(&x);
}

/* The replica goes with its last consumer, and its home stops handing over. */
static void replicas_come_and_go(void **state)
{
    struct pair x;
    struct worker *home, *away;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    home = x.home->worker;
    away = x.away->worker;
    for (int round = 0; round < 3; round++) {
        consume(&x, AWAY_SUBSCRIBER, false);
        consume(&x, AWAY_SECOND, false);
        both_turn(&x);
        assert_int_equal(home->producers.all[0].replica_workers, 2);
        rig_free_row(x.away, TABLE_consumer, AWAY_SUBSCRIBER, 1);
        both_turn(&x);
        assert_int_equal(home->producers.all[0].replica_workers, 2);
        rig_free_row(x.away, TABLE_consumer, AWAY_SECOND, 1);
        both_turn(&x);
        assert_int_equal(home->producers.all[0].replica_workers, 0);
        assert_int_equal(away->producers.all[0].generation, 0);
        publish(&x, (uint16_t)(10 + round), true);
        both_turn(&x);
        assert_int_equal(away->consumers.count, 0);
    }
    assert_int_equal(home->turn.verdicts[VERDICT_unwanted], 3);
    assert_int_equal(home->turn.counters[COUNTER_handed], 0);
    pair_close(&x);
}

/* Rows may reach the two workers in any order: what comes out is the same. */
static void any_order_of_the_notes(void **state)
{
    for (unsigned order = 0; order < 8; order++) {
        struct pair x;

        pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
        rig_free_row(x.home, TABLE_producer, 0, 1);
        both_turn(&x);
        /* the producer's new life, paused, and a consumer of it; then it is resumed */
        {
            struct producer_row row;
            struct consumer_row consumer = {.transport = handle_make(AWAY_SUBSCRIBER, 1),
                                            .producer = handle_make(0, 2),
                                            .ssrc = 77,
                                            .payload_type = 101,
                                            .kind = MEDIA_KIND_video,
                                            .priority = 1,
                                            .preferred_spatial_layer = 255};

            rig_video_producer(x.home, 0, 0, true);
            memcpy(&row, region_row(&x.home->desired, TABLE_producer, 0), sizeof(row));
            rig_row(x.home, TABLE_producer, 0, &row.header, 2);
            if (order & 1)
                worker_turn(x.home->worker);
            rig_row(x.away, TABLE_consumer, 5, &consumer.header, 1);
            if (order & 2)
                worker_turn(x.away->worker);
            row.paused = 0;
            rig_row(x.home, TABLE_producer, 0, &row.header, 2);
            if (order & 4)
                worker_turn(x.home->worker);
        }
        both_turn(&x);
        assert_int_equal(x.away->worker->consumers.count, 1);
        assert_int_equal(x.home->worker->producers.all[0].replica_workers, 2);
        assert_false(x.away->worker->producers.all[0].paused);
        publish(&x, 1, true);
        both_turn(&x);
        assert_int_equal(got(&x, AWAY_SUBSCRIBER), 1);
        pair_close(&x);
    }
}

/* The same index taken anew while the other worker still has the old producer. */
static void an_index_taken_anew(void **state)
{
    struct pair x;
    struct producer_row row;
    struct consumer_row consumer;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    consume(&x, AWAY_SUBSCRIBER, false);
    consume(&x, AWAY_SECOND, false);
    both_turn(&x);
    memcpy(&row, region_row(&x.home->desired, TABLE_producer, 0), sizeof(row));
    rig_row(x.home, TABLE_producer, 0, &row.header, 2);
    memcpy(&consumer, region_row(&x.home->desired, TABLE_consumer, AWAY_SUBSCRIBER),
           sizeof(consumer));
    consumer.producer = handle_make(0, 2);
    rig_row(x.away, TABLE_consumer, AWAY_SUBSCRIBER, &consumer.header, 2);
    worker_turn(x.away->worker); /* before the home knows */
    both_turn(&x);
    assert_int_equal(x.away->worker->consumers.count, 1); /* the second one's producer is gone */
    assert_int_equal(x.home->worker->producers.all[0].replica_workers, 2);
    publish(&x, 1, true);
    both_turn(&x);
    assert_int_equal(got(&x, AWAY_SUBSCRIBER), 1);
    pair_close(&x);
}

/* A worker that does not turn costs its own subscribers packets, nobody else's, and what it misses is
 * counted; lost notes are made good by a look at all rows. */
static void a_lane_that_is_full(void **state)
{
    struct pair x;
    size_t sent = 0;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    consume(&x, HOME_SUBSCRIBER, false);
    consume(&x, AWAY_SUBSCRIBER, false);
    both_turn(&x);
    for (uint32_t i = 0; i < HANDOFF_NOTES + 50; i++) {
        publish(&x, (uint16_t)i, i == 0);
        rig_turn(x.home);
        sent += got(&x, HOME_SUBSCRIBER);
    }
    assert_int_equal(sent, HANDOFF_NOTES + 50);
    assert_in_range(x.home->worker->turn.counters[COUNTER_handoff_full], 50, 60);
    rig_video_producer(x.home, 0, 0, true); /* a note that finds no place */
    rig_turn(x.home);
    assert_false(x.away->worker->producers.all[0].paused);
    for (int i = 0; i < 30; i++)
        both_turn(&x);
    assert_true(x.away->worker->producers.all[0].paused);
    assert_int_equal(x.home->worker->pool.taken, 0);
    assert_int_equal(x.away->worker->pool.taken, 0);
    pair_close(&x);
}

/* A worker that began its turn before the packets' owner did sees packets from its own future. */
static void a_turn_that_began_earlier(void **state)
{
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    consume(&x, AWAY_SUBSCRIBER, false);
    both_turn(&x);
    for (uint16_t i = 0; i < 9; i++)
        publish(&x, i, i == 0);
    rig_now_ns += 1000;
    worker_turn(x.home->worker);
    rig_now_ns -= 1000;
    x.away->sent_count = 0;
    worker_turn(x.away->worker);
    assert_int_equal(got(&x, AWAY_SUBSCRIBER), 9);
    assert_int_equal(x.away->worker->turn.counters[COUNTER_handoff_full], 0);
    rig_now_ns += 1000;
    pair_close(&x);
}

/* The times of the publisher's reports reach consumers elsewhere. */
static void sender_reports_cross(void **state)
{
    struct pair x;
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    struct rtcp_sender_info sent = {.ssrc = VIDEO_SSRC, .timestamp = 500000};
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rtcp_sender_info info;
    struct rig_sent copy;
    size_t at = 0, reports = 0;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    consume(&x, AWAY_SUBSCRIBER, false);
    both_turn(&x);
    publish(&x, 1, true);
    both_turn(&x);
    sent.ntp = rtcp_ntp(rig_wall_ns - 3 * NS_PER_S);
    rtcp_add_sr(&b, &sent);
    client_send_rtcp(x.home, &x.people[0], rtcp, b.bytes);
    both_turn(&x);
    rig_now_ns += 2 * NS_PER_S;
    rig_wall_ns += 2 * NS_PER_S;
    both_turn(&x);
    while (client_next_rtcp(x.away, &x.people[AWAY_SUBSCRIBER], &at, &copy, packets) > 0) {
        if (!rtcp_read_sender_info(&packets[0], &info))
            continue;
        assert_int_equal(info.ssrc, 1000 * AWAY_SUBSCRIBER);
        assert_in_range(info.timestamp, 500000 + 2 * 90000 - 2, 500000 + 2 * 90000 + 2);
        reports++;
    }
    assert_true(reports > 0);
    pair_close(&x);
}

/* The home keeps a packet until the last subscriber elsewhere has it, over several turns. */
static void packets_are_held_while_a_job_lasts(void **state)
{
    enum { CONSUMERS = 300, BURST = 10 }; /* more than a turn's budget */
    struct pair x;
    size_t total = 0;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    for (uint32_t i = 0; i < CONSUMERS; i++)
        rig_consumer(x.away, 10 + i, AWAY_SUBSCRIBER, 0, 5000 + i, false, 1);
    for (int i = 0; i < 5; i++)
        both_turn(&x);
    for (uint16_t i = 0; i < BURST; i++)
        publish(&x, i, i == 0);
    worker_turn(x.home->worker);
    x.away->sent_count = 0;
    worker_turn(x.away->worker);
    assert_true(fan_out_has_work(&x.away->worker->fanout));
    for (int i = 0; i < 3; i++)
        worker_turn(x.home->worker);
    assert_int_equal(x.home->worker->pool.taken, BURST);
    for (uint16_t i = 0; i < BURST; i++) /* would take the same places */
        publish(&x, (uint16_t)(BURST + i), false);
    worker_turn(x.home->worker);
    assert_int_equal(x.home->worker->pool.taken, 2 * BURST);
    while (worker_turn(x.away->worker))
        ;
    /* Every one authenticates and is what was sent: the payload begins with its own number. */
    for (size_t i = 0; i < x.away->sent_count; i++) {
        struct rig_sent s = x.away->sent[i];
        int n = (int)s.bytes;

        if (datagram_classify(s.data, s.bytes) != DATAGRAM_rtp)
            continue;
        assert_int_equal(srtp_unprotect(x.people[AWAY_SUBSCRIBER].receive, s.data, &n), 0);
        assert_int_equal(s.data[n - 1], (uint8_t)(get32(s.data + 4) / 3000 + 699));
        total++;
    }
    assert_int_equal(total, CONSUMERS * 2 * BURST);
    both_turn(&x);
    assert_int_equal(x.home->worker->pool.taken, 0);
    pair_close(&x);
}

/* A replica made later knows what reports said before it was there. */
static void a_new_replica_knows_the_clock(void **state)
{
    struct pair x;
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    struct rtcp_sender_info sent = {.ssrc = VIDEO_SSRC, .timestamp = 500000};

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    publish(&x, 1, true);
    both_turn(&x);
    sent.ntp = rtcp_ntp(rig_wall_ns - 3 * NS_PER_S);
    rtcp_add_sr(&b, &sent);
    client_send_rtcp(x.home, &x.people[0], rtcp, b.bytes);
    both_turn(&x);
    consume(&x, AWAY_SUBSCRIBER, false);
    both_turn(&x);
    assert_true(x.away->worker->producers.all[0].encodings[0].has_sr);
    assert_int_equal(x.away->worker->producers.all[0].encodings[0].sr_timestamp, 500000);
    assert_int_equal(x.away->worker->producers.all[0].ntp_offset,
                     x.home->worker->producers.all[0].ntp_offset);
    pair_close(&x);
}

/* The row changes, and its home acts on that, after the replica has read it and before the home hears of
 * the replica: it is told to look again. */
static void a_row_that_changes_meanwhile(void **state)
{
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    assert_non_null(producer_or_replica(&x.away->worker->replicas, handle_make(0, 1)));
    rig_video_producer(x.home, 0, 0, true);
    worker_turn(x.home->worker);
    assert_true(x.home->worker->producers.all[0].paused);
    assert_false(x.away->worker->producers.all[0].paused);
    handoff_publish(&x.away->worker->lanes);
    both_turn(&x);
    assert_true(x.away->worker->producers.all[0].paused);
    pair_close(&x);
}

/* ---- two threads ---- */

enum { THREAD_PACKETS = 20000, IN_FLIGHT_MAX = 400 };

static _Atomic bool away_stops;
static _Atomic uint64_t away_sent;

static void count_rtp(void *context, const struct path *path, const uint8_t *data, uint32_t bytes)
{
    if (datagram_classify(data, bytes) == DATAGRAM_rtp)
        atomic_fetch_add((_Atomic uint64_t *)context, 1);
}

static void *away_thread(void *argument)
{
    struct rig *rig = argument;
    uint32_t turns = 0;

    while (!atomic_load(&away_stops)) {
        worker_turn(rig->worker);
        if (++turns % 512 == 0) { /* the consumer comes and goes under traffic */
            if (turns % 1024 == 0)
                rig_consumer(rig, AWAY_SECOND, AWAY_SECOND, 0, 3000, false, 1);
            else
                rig_free_row(rig, TABLE_consumer, AWAY_SECOND, 1);
        }
    }
    return NULL;
}

/* The real thing: both turn at the same time, for ThreadSanitizer and for memory that is given back
 * too early (every packet is authenticated before it is counted). */
static void two_threads(void **state)
{
    struct pair x;
    pthread_t thread;
    uint32_t fed = 0;
    uint64_t limit;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    consume(&x, AWAY_SUBSCRIBER, false);
    both_turn(&x);
    atomic_store(&away_sent, 0);
    atomic_store(&away_stops, false);
    io_replay_sink(x.away->io, count_rtp, &away_sent);
    pthread_create(&thread, NULL, away_thread, x.away);
    for (uint64_t spins = 0; fed < THREAD_PACKETS && spins < 50000000; spins++) {
        if (fed < atomic_load(&away_sent) + IN_FLIGHT_MAX && x.home->worker->pool.taken < 1000) {
            publish(&x, (uint16_t)fed, fed == 0);
            fed++;
        }
        worker_turn(x.home->worker);
    }
    assert_int_equal(fed, THREAD_PACKETS);
    limit = clock_monotonic_ns() + 20 * NS_PER_S;
    while (x.home->worker->pool.taken > 0 && clock_monotonic_ns() < limit)
        worker_turn(x.home->worker);
    atomic_store(&away_stops, true);
    pthread_join(thread, NULL);
    both_turn(&x);
    assert_int_equal(x.home->worker->turn.counters[COUNTER_handoff_full], 0);
    assert_int_equal(x.home->worker->pool.taken, 0);
    assert_int_equal(x.away->worker->pool.taken, 0);
    assert_int_equal(x.home->worker->turn.verdicts[VERDICT_forwarded], THREAD_PACKETS);
    assert_true(atomic_load(&away_sent) >= THREAD_PACKETS);
    pair_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_gets_every_packet),
        cmocka_unit_test(only_the_other_worker_has_subscribers),
        cmocka_unit_test(key_frame_requests_cross),
        cmocka_unit_test(the_producers_row_acts_elsewhere),
        cmocka_unit_test(replicas_come_and_go),
        cmocka_unit_test(any_order_of_the_notes),
        cmocka_unit_test(an_index_taken_anew),
        cmocka_unit_test(a_lane_that_is_full),
        cmocka_unit_test(a_turn_that_began_earlier),
        cmocka_unit_test(sender_reports_cross),
        cmocka_unit_test(packets_are_held_while_a_job_lasts),
        cmocka_unit_test(a_new_replica_knows_the_clock),
        cmocka_unit_test(a_row_that_changes_meanwhile),
        cmocka_unit_test(two_threads),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
