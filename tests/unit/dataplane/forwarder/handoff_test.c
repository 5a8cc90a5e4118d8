/* Packets handed from one worker to another: who holds them, full lanes, two threads. */
#include "pair.h"
#include "src/sanitizer.h"

#include <pthread.h>
#include <sched.h>

static void subscribers_on_both_workers_get_every_packet(void **state)
{
    static const enum srtp_profile profiles[] = {SRTP_PROFILE_aead_aes_128_gcm,
                                                 SRTP_PROFILE_aes128_cm_sha1_80};

    for (size_t k = 0; k < 2; k++) {
        struct rig_sent *packets = calloc(16, sizeof(*packets));
        struct pair x;

        pair_open(&x, profiles[k]);
        for (uint32_t who = 1; who < PEOPLE; who++)
            pair_consume(&x, who);
        pair_turn(&x);
        assert_int_equal(pair_key_frame_requests(&x), 1); /* for all of them together */
        assert_int_equal(x.home->worker->producers.all[0].replica_workers, 1 << 1);
        assert_true(x.away->worker->producers.all[0].is_replica);
        for (uint16_t i = 0; i < 12; i++)
            pair_publish(&x, (uint16_t)(65530 + i), i == 0);
        pair_turn(&x);
        for (uint32_t who = 1; who < PEOPLE; who++) {
            assert_int_equal(client_received_rtp(rig_of(&x, who), &x.people[who], packets, 16), 12);
            for (uint32_t n = 0; n < 12; n++) {
                assert_int_equal(get32(packets[n].data + 8), 1000 * who);
                assert_int_equal((uint16_t)(get32(packets[n].data) - get32(packets[0].data)), n);
                assert_int_equal(packets[n].bytes, 12 + 4 + 8 + 700);
            }
        }
        assert_int_equal(rig_verdict(x.home, VERDICT_forwarded), 12);
        assert_int_equal(rig_verdict(x.away, VERDICT_forwarded), 0);
        assert_int_equal(rig_counter(x.home, COUNTER_handed), 12);
        assert_int_equal(x.home->worker->pool.taken, 0);
        assert_int_equal(x.away->worker->pool.taken, 0);
        free(packets);
        pair_close(&x);
    }
}

/* There is no consumer at home: the packets are not "unwanted", and the home keeps them until the
 * other worker is done with them. */
static void a_packet_is_held_until_the_other_worker_is_done(void **state)
{
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    pair_publish(&x, 5, true);
    worker_turn(x.home->worker);
    assert_int_equal(x.home->worker->pool.taken, 1);
    assert_int_equal(rig_verdict(x.home, VERDICT_forwarded), 0); /* not yet */
    x.away->sent_count = 0;
    worker_turn(x.away->worker);
    assert_int_equal(pair_received(&x, AWAY_SUBSCRIBER), 1);
    assert_int_equal(x.home->worker->pool.taken, 1);
    worker_turn(x.home->worker);
    assert_int_equal(x.home->worker->pool.taken, 0);
    assert_int_equal(rig_verdict(x.home, VERDICT_forwarded), 1);
    pair_close(&x);
}

/* A worker that does not turn loses packets for its own subscribers only, and they are counted. A
 * lost note of another kind makes it rescan the tables. */
static void a_full_lane_loses_packets_and_leads_to_a_rescan(void **state)
{
    struct pair x;
    size_t sent = 0;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_consume(&x, HOME_SUBSCRIBER);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    for (uint32_t i = 0; i < HANDOFF_NOTES + 50; i++) {
        pair_publish(&x, (uint16_t)i, i == 0);
        rig_turn(x.home);
        sent += pair_received(&x, HOME_SUBSCRIBER);
    }
    assert_int_equal(sent, HANDOFF_NOTES + 50);
    assert_in_range(rig_counter(x.home, COUNTER_handoff_full), 50, 60);
    rig_video_producer(x.home, 0, 0, true); /* its note finds no room */
    rig_turn(x.home);
    assert_false(x.away->worker->producers.all[0].paused);
    for (int i = 0; i < 30; i++)
        pair_turn(&x);
    assert_true(x.away->worker->producers.all[0].paused);
    assert_int_equal(x.home->worker->pool.taken, 0);
    assert_int_equal(x.away->worker->pool.taken, 0);
    pair_close(&x);
}

/* A worker that began its turn before the owner of the packets did: they arrived in its future. */
static void packets_may_be_newer_than_the_turn(void **state)
{
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    for (uint16_t i = 0; i < 9; i++)
        pair_publish(&x, i, i == 0);
    rig_now_ns += 1000;
    worker_turn(x.home->worker);
    rig_now_ns -= 1000;
    x.away->sent_count = 0;
    worker_turn(x.away->worker);
    assert_int_equal(pair_received(&x, AWAY_SUBSCRIBER), 9);
    assert_int_equal(rig_counter(x.away, COUNTER_handoff_full), 0);
    rig_now_ns += 1000;
    pair_close(&x);
}

/* The home keeps packets until the last subscriber elsewhere has them, for several turns. */
static void packets_are_held_for_the_whole_job(void **state)
{
    enum { CONSUMERS = 300, BURST = 10 }; /* more than a turn's budget */
    struct pair x;
    size_t total = 0;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    for (uint32_t i = 0; i < CONSUMERS; i++)
        rig_consumer(x.away, 10 + i, AWAY_SUBSCRIBER, 0, 5000 + 2 * i, false, 1);
    for (int i = 0; i < 5; i++)
        pair_turn(&x);
    for (uint16_t i = 0; i < BURST; i++)
        pair_publish(&x, i, i == 0);
    worker_turn(x.home->worker);
    x.away->sent_count = 0;
    worker_turn(x.away->worker);
    assert_true(fan_out_has_work(&x.away->worker->fanout));
    for (int i = 0; i < 3; i++)
        worker_turn(x.home->worker);
    assert_int_equal(x.home->worker->pool.taken, BURST);
    for (uint16_t i = 0; i < BURST; i++) /* they would overwrite packets given back too early */
        pair_publish(&x, (uint16_t)(BURST + i), false);
    worker_turn(x.home->worker);
    assert_int_equal(x.home->worker->pool.taken, 2 * BURST);
    while (worker_turn(x.away->worker))
        ;
    /* Every packet authenticates and holds what was sent: its last byte follows from its time
     * stamp. */
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
    pair_turn(&x);
    assert_int_equal(x.home->worker->pool.taken, 0);
    pair_close(&x);
}

/* ---- two threads ---- */

enum { THREAD_PACKETS = 20000, IN_FLIGHT_MAX = 400 };
#define HANG_NS (60 * NS_PER_S * SANITIZER_PATIENCE)

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
        if (++turns % 512 == 0) { /* a consumer comes and goes under traffic */
            if (turns % 1024 == 0)
                rig_consumer(rig, AWAY_SECOND, AWAY_SECOND, 0, 3000, false, 1);
            else
                rig_free_row(rig, TABLE_consumer, AWAY_SECOND, 1);
        }
    }
    return NULL;
}

/* Both workers turn at the same time: for ThreadSanitizer, and to find packets that are given back
 * too early. The time limit only ends a test that hangs. */
static void two_threads(void **state)
{
    struct pair x;
    pthread_t thread;
    uint32_t fed = 0;
    uint64_t deadline_ns;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    atomic_store(&away_sent, 0);
    atomic_store(&away_stops, false);
    io_replay_sink(x.away->io, count_rtp, &away_sent);
    pthread_create(&thread, NULL, away_thread, x.away);
    deadline_ns = clock_monotonic_ns() + HANG_NS;
    while (fed < THREAD_PACKETS && clock_monotonic_ns() < deadline_ns) {
        if (fed < atomic_load(&away_sent) + IN_FLIGHT_MAX && x.home->worker->pool.taken < 1000) {
            pair_publish(&x, (uint16_t)fed, fed == 0);
            fed++;
        } else {
            sched_yield(); /* the other thread may share this core */
        }
        worker_turn(x.home->worker);
    }
    while (x.home->worker->pool.taken > 0 && clock_monotonic_ns() < deadline_ns) {
        worker_turn(x.home->worker);
        sched_yield();
    }
    atomic_store(&away_stops, true);
    pthread_join(thread, NULL);
    if (fed < THREAD_PACKETS || x.home->worker->pool.taken > 0)
        fail_msg("hangs: %u of %u packets published, %u still held", fed, THREAD_PACKETS,
                 (unsigned)x.home->worker->pool.taken);
    pair_turn(&x);
    assert_int_equal(rig_counter(x.home, COUNTER_handoff_full), 0);
    assert_int_equal(x.home->worker->pool.taken, 0);
    assert_int_equal(x.away->worker->pool.taken, 0);
    assert_int_equal(rig_verdict(x.home, VERDICT_forwarded), THREAD_PACKETS);
    assert_true(atomic_load(&away_sent) >= THREAD_PACKETS);
    pair_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscribers_on_both_workers_get_every_packet),
        cmocka_unit_test(a_packet_is_held_until_the_other_worker_is_done),
        cmocka_unit_test(a_full_lane_loses_packets_and_leads_to_a_rescan),
        cmocka_unit_test(packets_may_be_newer_than_the_turn),
        cmocka_unit_test(packets_are_held_for_the_whole_job),
        cmocka_unit_test(two_threads),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
