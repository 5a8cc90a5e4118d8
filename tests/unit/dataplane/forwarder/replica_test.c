/* Replicas: a producer whose consumers live on another worker. Key-frame requests, rows and reports
 * cross between the workers, in any order. */
#include "pair.h"

/* Key-frame requests of a subscriber on another worker reach the publisher, at most one a second.
 */
static void key_frame_requests_reach_the_home(void **state)
{
    struct pair x;
    uint8_t rtcp[64];
    size_t seen;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    assert_int_equal(pair_key_frame_requests(&x), 1);
    pair_publish(&x, 1, true);
    pair_turn(&x);
    rig_now_ns += 2 * NS_PER_S;
    rig_wall_ns += 2 * NS_PER_S;
    pair_turn(&x);
    for (int n = 0; n < 5; n++) {
        struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};

        rtcp_add_pli(&b, 99, 1000 * AWAY_SUBSCRIBER);
        client_send_rtcp(x.away, &x.people[AWAY_SUBSCRIBER], rtcp, b.bytes);
    }
    pair_turn(&x);
    seen = pair_key_frame_requests(&x);
    assert_int_equal(seen, 1);
    for (int tick = 0; tick < 25; tick++) { /* asked again every second until one comes */
        rig_now_ns += 100 * NS_PER_MS;
        rig_wall_ns += 100 * NS_PER_MS;
        pair_turn(&x);
        seen += pair_key_frame_requests(&x);
    }
    assert_int_equal(seen, 3);
    pair_publish(&x, 2, true);
    pair_turn(&x);
    rig_now_ns += 2 * NS_PER_S;
    pair_turn(&x);
    assert_int_equal(pair_key_frame_requests(&x), 0);
    pair_close(&x);
}

/* When the producer is paused, resumed or removed, the other worker follows at once. */
static void replicas_follow_the_producers_row(void **state)
{
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    pair_publish(&x, 1, true);
    pair_turn(&x);
    assert_int_equal(pair_received(&x, AWAY_SUBSCRIBER), 1);
    rig_video_producer(x.home, 0, 0, true);
    pair_turn(&x);
    assert_true(x.away->worker->producers.all[0].paused);
    pair_publish(&x, 2, false);
    pair_turn(&x);
    assert_int_equal(pair_received(&x, AWAY_SUBSCRIBER), 0);
    rig_now_ns += 2 * NS_PER_S;
    rig_video_producer(x.home, 0, 0, false);
    pair_turn(&x);
    assert_int_equal(pair_key_frame_requests(&x), 1);
    pair_publish(&x, 3, true);
    pair_turn(&x);
    assert_int_equal(pair_received(&x, AWAY_SUBSCRIBER), 1);
    rig_free_row(x.home, TABLE_producer, 0, 1);
    pair_turn(&x);
    assert_int_equal(x.away->worker->consumers.count, 0);
    assert_int_equal(x.away->worker->producers.all[0].generation, 0);
    assert_int_equal(client_received_rtcp(x.away, &x.people[AWAY_SUBSCRIBER], RTCP_BYE, -1), 1);
    pair_close(&x);
}

/* The replica goes with its last consumer, and the home stops handing packets over. */
static void replicas_come_and_go(void **state)
{
    struct pair x;
    struct worker *home, *away;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    home = x.home->worker;
    away = x.away->worker;
    for (int round = 0; round < 3; round++) {
        pair_consume(&x, AWAY_SUBSCRIBER);
        pair_consume(&x, AWAY_SECOND);
        pair_turn(&x);
        assert_int_equal(home->producers.all[0].replica_workers, 2);
        rig_free_row(x.away, TABLE_consumer, AWAY_SUBSCRIBER, 1);
        pair_turn(&x);
        assert_int_equal(home->producers.all[0].replica_workers, 2);
        rig_free_row(x.away, TABLE_consumer, AWAY_SECOND, 1);
        pair_turn(&x);
        assert_int_equal(home->producers.all[0].replica_workers, 0);
        assert_int_equal(away->producers.all[0].generation, 0);
        pair_publish(&x, (uint16_t)(10 + round), true);
        pair_turn(&x);
        assert_int_equal(away->consumers.count, 0);
    }
    assert_int_equal(home->turn.verdicts[VERDICT_unwanted], 3);
    assert_int_equal(home->turn.counters[COUNTER_handed], 0);
    pair_close(&x);
}

/* Rows may reach the two workers in any order; the result is the same. */
static void the_order_of_notes_does_not_matter(void **state)
{
    for (unsigned order = 0; order < 8; order++) {
        struct pair x;

        pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
        rig_free_row(x.home, TABLE_producer, 0, 1);
        pair_turn(&x);
        /* the index is used for a new producer, which is paused, and a consumer of it; then it is
         * resumed */
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
        pair_turn(&x);
        assert_int_equal(x.away->worker->consumers.count, 1);
        assert_int_equal(x.home->worker->producers.all[0].replica_workers, 2);
        assert_false(x.away->worker->producers.all[0].paused);
        pair_publish(&x, 1, true);
        pair_turn(&x);
        assert_int_equal(pair_received(&x, AWAY_SUBSCRIBER), 1);
        pair_close(&x);
    }
}

/* A producer's index is used again while the other worker still has a replica of the old one. */
static void an_index_that_is_used_again(void **state)
{
    struct pair x;
    struct producer_row row;
    struct consumer_row consumer;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_consume(&x, AWAY_SECOND);
    pair_turn(&x);
    memcpy(&row, region_row(&x.home->desired, TABLE_producer, 0), sizeof(row));
    rig_row(x.home, TABLE_producer, 0, &row.header, 2);
    memcpy(&consumer, region_row(&x.home->desired, TABLE_consumer, AWAY_SUBSCRIBER),
           sizeof(consumer));
    consumer.producer = handle_make(0, 2);
    consumer.ssrc += 2; /* an SSRC begins once on a transport */
    rig_row(x.away, TABLE_consumer, AWAY_SUBSCRIBER, &consumer.header, 2);
    worker_turn(x.away->worker); /* before the home has read the row */
    pair_turn(&x);
    assert_int_equal(x.away->worker->consumers.count,
                     1); /* the other consumer's producer is gone */
    assert_int_equal(x.home->worker->producers.all[0].replica_workers, 2);
    pair_publish(&x, 1, true);
    pair_turn(&x);
    assert_int_equal(pair_received(&x, AWAY_SUBSCRIBER), 1);
    pair_close(&x);
}

/* The times in the publisher's sender reports reach consumers on another worker. */
static void sender_reports_reach_consumers_elsewhere(void **state)
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
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    pair_publish(&x, 1, true);
    pair_turn(&x);
    sent.ntp = rtcp_ntp(rig_wall_ns - 3 * NS_PER_S);
    rtcp_add_sr(&b, &sent);
    client_send_rtcp(x.home, &x.people[0], rtcp, b.bytes);
    pair_turn(&x);
    rig_now_ns += 2 * NS_PER_S;
    rig_wall_ns += 2 * NS_PER_S;
    pair_turn(&x);
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

/* A replica that is made later knows what reports said before. */
static void a_new_replica_knows_the_clock(void **state)
{
    struct pair x;
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    struct rtcp_sender_info sent = {.ssrc = VIDEO_SSRC, .timestamp = 500000};

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_publish(&x, 1, true);
    pair_turn(&x);
    sent.ntp = rtcp_ntp(rig_wall_ns - 3 * NS_PER_S);
    rtcp_add_sr(&b, &sent);
    client_send_rtcp(x.home, &x.people[0], rtcp, b.bytes);
    pair_turn(&x);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    assert_true(x.away->worker->producers.all[0].encodings[0].has_sr);
    assert_int_equal(x.away->worker->producers.all[0].encodings[0].sr_timestamp, 500000);
    assert_int_equal(x.away->worker->producers.all[0].ntp_offset,
                     x.home->worker->producers.all[0].ntp_offset);
    pair_close(&x);
}

/* The row changes after the replica has read it, and before its home knows of the replica. The home
 * then makes the replica read the row again. */
static void a_row_that_changes_while_a_replica_is_made(void **state)
{
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    assert_non_null(producer_or_replica(&x.away->worker->replicas, handle_make(0, 1)));
    rig_video_producer(x.home, 0, 0, true);
    worker_turn(x.home->worker);
    assert_true(x.home->worker->producers.all[0].paused);
    assert_false(x.away->worker->producers.all[0].paused);
    handoff_publish(&x.away->worker->lanes);
    pair_turn(&x);
    assert_true(x.away->worker->producers.all[0].paused);
    pair_close(&x);
}

/* The other worker reads first that the producer is gone, and needs several turns to remove its
 * consumers. Meanwhile its home worker, which does not know it yet, hands packets over. They are
 * finished, and the next producer's packets arrive. */
static void packets_for_a_replica_that_leaves_are_finished(void **state)
{
    enum { CONSUMERS = 300 };
    const struct lane_ends *ends;
    struct producer_row row;
    _Alignas(8) struct producer_row gone = {.header = {.generation = 1}};
    struct pair x;
    bool left = false;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    for (uint32_t i = 0; i < CONSUMERS; i++)
        rig_consumer(x.away, i, AWAY_SUBSCRIBER, 0, 5000 + 2 * i, false, 1);
    for (int i = 0; i < 10; i++)
        pair_turn(&x);
    pair_publish(&x, 1, true);
    pair_turn(&x);
    assert_int_equal(pair_received(&x, AWAY_SUBSCRIBER), CONSUMERS);
    memcpy(&row, region_row(&x.home->desired, TABLE_producer, 0), sizeof(row));
    row_write(TABLE_producer, region_row(&x.home->desired, TABLE_producer, 0), &gone.header);
    reconcile_start_rescan(&x.away->worker->reconciler);
    for (uint16_t turn = 0; turn < 40; turn++) {
        for (uint16_t i = 0; i < 200; i++)
            pair_publish(&x, (uint16_t)(2 + turn * 200 + i), true);
        worker_turn(x.home->worker);
        rig_now_ns += 1000;
        worker_turn(x.away->worker);
        left |= x.away->worker->producers.all[0].is_leaving;
    }
    assert_true(left);
    pair_turn(&x);
    assert_int_equal(x.away->worker->consumers.count, 0);
    assert_int_equal(x.away->worker->pool.taken, 0);
    ends = &x.away->worker->lanes.ends[0];
    assert_int_equal(ends->finished, ends->taken);
    row.encoding_ssrc[0] = VIDEO_SSRC;
    rig_row(x.home, TABLE_producer, 0, &row.header, 2);
    {
        struct consumer_row consumer;

        memcpy(&consumer, region_row(&x.home->desired, TABLE_consumer, 0), sizeof(consumer));
        consumer.producer = handle_make(0, 2);
        consumer.ssrc = 6000;
        rig_row(x.away, TABLE_consumer, 0, &consumer.header, 2);
    }
    pair_turn(&x);
    pair_publish(&x, 20000, true);
    pair_turn(&x);
    assert_int_equal(pair_received(&x, AWAY_SUBSCRIBER), 1);
    assert_int_equal(x.home->worker->pool.taken, 0);
    pair_close(&x);
}

/* Threat D13: a control plane that tells two workers of one transport, and lets the first not know
 * that it goes. Both would send with one key. */
static void only_one_worker_has_a_transport(void **state)
{
    struct transport_row row;
    struct pair x;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    assert_int_equal(row_copy(TABLE_transport, &row,
                              region_row(&x.home->desired, TABLE_transport, HOME_SUBSCRIBER), 1),
                     ROW_OK);
    row.worker = 1;
    rig_row(x.away, TABLE_transport, HOME_SUBSCRIBER, &row.header, 1); /* no note for worker 0 */
    for (int i = 0; i < 10; i++) {
        rig_now_ns += 150 * NS_PER_MS;
        pair_turn(&x);
    }
    assert_int_equal(x.home->worker->transports.all[HOME_SUBSCRIBER].generation, 1);
    assert_int_equal(x.away->worker->transports.all[HOME_SUBSCRIBER].generation, 0);
    assert_true(rig_counter(x.away, COUNTER_rescans) >= 5); /* it asks again */
    rig_row(x.home, TABLE_transport, HOME_SUBSCRIBER, &row.header, 1);
    for (int i = 0; i < 3; i++) {
        rig_now_ns += 150 * NS_PER_MS;
        pair_turn(&x);
    }
    assert_int_equal(x.home->worker->transports.all[HOME_SUBSCRIBER].generation, 0);
    assert_int_equal(x.away->worker->transports.all[HOME_SUBSCRIBER].generation, 1);
    pair_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_frame_requests_reach_the_home),
        cmocka_unit_test(replicas_follow_the_producers_row),
        cmocka_unit_test(replicas_come_and_go),
        cmocka_unit_test(the_order_of_notes_does_not_matter),
        cmocka_unit_test(an_index_that_is_used_again),
        cmocka_unit_test(sender_reports_reach_consumers_elsewhere),
        cmocka_unit_test(a_new_replica_knows_the_clock),
        cmocka_unit_test(a_row_that_changes_while_a_replica_is_made),
        cmocka_unit_test(packets_for_a_replica_that_leaves_are_finished),
        cmocka_unit_test(only_one_worker_has_a_transport),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
