/* Instant join: the last key frame and what followed it, out of the history. */
#include "repair.h"

#include "dataplane/engines/quality/history.h"
#include "dataplane/forwarder/replay.h"

enum { STEP = TIMESTAMP_STEP, ROOM = 64 };

static void publish(struct rig *rig, struct client *c, uint16_t sequence, bool key_frame)
{
    call_publish(rig, c, sequence, sequence * (uint32_t)STEP, key_frame, 300);
}

/* A call in which somebody watches already, so that there is a history: packets 100 (a key frame) to 109. */
static struct rig *open_with_history(struct client *clients, uint32_t subscribers)
{
    struct rig *rig = call_open(clients, subscribers, SRTP_PROFILE_aead_aes_128_gcm);

    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
    rig_turn(rig);
    for (uint16_t i = 0; i < 10; i++) {
        publish(rig, &clients[0], (uint16_t)(100 + i), i == 0);
        rig_turn(rig);
    }
    return rig;
}

/* Turns until the replay has ended, and gathers what this client got. */
static size_t gather(struct rig *rig, struct client *c, struct rig_sent *got)
{
    size_t count = client_received_rtp(rig, c, got, ROOM);

    for (int i = 0; i < 20; i++) {
        rig_advance(rig, 2 * NS_PER_MS);
        count += client_received_rtp(rig, c, got + count, ROOM - count);
    }
    return count;
}

static void a_joiner_gets_the_last_key_frame_at_once(void **state)
{
    static struct rig_sent got[ROOM], live[ROOM];
    struct client clients[3];
    struct rig *rig = open_with_history(clients, 2);
    size_t count;

    call_key_frame_requests(rig, &clients[0]);
    rig_consumer(rig, 1, 2, 0, CONSUMER_SSRC + 10, false, 1);
    rig_turn(rig);
    assert_int_equal(call_key_frame_requests(rig, &clients[0]), 0);
    count = gather(rig, &clients[2], got);
    assert_int_equal(count, 10);
    assert_int_equal(rig_counter(rig, COUNTER_replays), 1);
    for (size_t i = 1; i < count; i++) {
        assert_int_equal(sequence_of(&got[i]), (uint16_t)(sequence_of(&got[0]) + i));
        assert_true((int32_t)(get32(got[i].data + 4) - get32(got[i - 1].data + 4)) > 0);
    }
    /* The last picture is on the clock, and the others stand close to it. */
    assert_int_equal(get32(got[9].data + 4), 109 * STEP);
    assert_true(get32(got[9].data + 4) - get32(got[0].data + 4) < STEP);
    assert_int_equal(got[0].data[got[0].bytes - 1], (uint8_t)(300 - 1 + 100));

    publish(rig, &clients[0], 110, false); /* from here on it is as for everybody */
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[2], live, ROOM), 1);
    assert_int_equal(sequence_of(&live[0]), (uint16_t)(sequence_of(&got[9]) + 1));
    assert_int_equal(get32(live[0].data + 4), 110 * STEP);
    call_close(rig, clients, 2);
}

/* What is sent again has the time stamp of the first time: of the replay, or of the clock. */
static void a_resend_has_the_time_stamp_of_the_first_send(void **state)
{
    static struct rig_sent got[ROOM], again[ROOM];
    struct client clients[3];
    struct rig *rig = open_with_history(clients, 2);
    size_t count;
    uint16_t lost[2];

    rig_consumer(rig, 1, 2, 0, CONSUMER_SSRC + 10, false, 1);
    rig_turn(rig);
    count = gather(rig, &clients[2], got);
    assert_int_equal(count, 10);
    publish(rig, &clients[0], 110, false);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[2], got + count, 1), 1);
    lost[0] = sequence_of(&got[3]);
    lost[1] = sequence_of(&got[10]);
    repair_lose(rig, &clients[2], CONSUMER_SSRC + 10, lost, 2);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[2], again, ROOM), 2);
    assert_int_equal(get32(again[0].data + 4), get32(got[3].data + 4));
    assert_int_equal(get32(again[1].data + 4), get32(got[10].data + 4));
    call_close(rig, clients, 2);
}

static void packets_that_come_during_a_replay_wait_for_it(void **state)
{
    static struct rig_sent got[ROOM];
    struct client clients[3];
    struct rig *rig = open_with_history(clients, 2);
    size_t count;

    for (uint16_t i = 110; i < 130; i++) /* so that one slice is not enough */
        publish(rig, &clients[0], i, false);
    rig_turn(rig);
    rig_consumer(rig, 1, 2, 0, CONSUMER_SSRC + 10, false, 1);
    publish(rig, &clients[0], 130, false);
    rig_turn(rig);
    publish(rig, &clients[0], 131, false);
    count = client_received_rtp(rig, &clients[2], got, ROOM);
    rig_turn(rig);
    count += client_received_rtp(rig, &clients[2], got + count, ROOM - count);
    count += gather(rig, &clients[2], got + count);
    assert_int_equal(count, 32);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sequence_of(&got[i]), (uint16_t)(sequence_of(&got[0]) + i));
    assert_int_equal(rig_counter(rig, COUNTER_index_refused), 0);
    call_close(rig, clients, 2);
}

static void an_old_key_frame_is_not_replayed(void **state)
{
    struct client clients[3];
    struct rig *rig = open_with_history(clients, 2);

    rig_advance(rig, REPLAY_AGE_NS);
    call_key_frame_requests(rig, &clients[0]);
    rig_consumer(rig, 1, 2, 0, CONSUMER_SSRC + 10, false, 1);
    rig_turn(rig);
    assert_int_equal(rig_counter(rig, COUNTER_replays), 0);
    assert_int_equal(client_received_rtp(rig, &clients[2], NULL, 0), 0);
    assert_int_equal(call_key_frame_requests(rig, &clients[0]), 1);
    call_close(rig, clients, 2);
}

static void a_long_picture_group_is_not_replayed(void **state)
{
    struct client clients[3];
    struct rig *rig = open_with_history(clients, 2);

    for (uint16_t i = 0; i < REPLAY_PACKETS_MAX; i++) {
        publish(rig, &clients[0], (uint16_t)(110 + i), false);
        if (i % 32 == 0)
            rig_turn(rig);
    }
    rig_turn(rig);
    rig_consumer(rig, 1, 2, 0, CONSUMER_SSRC + 10, false, 1);
    rig_turn(rig);
    assert_int_equal(rig_counter(rig, COUNTER_replays), 0);
    call_close(rig, clients, 2);
}

/* Nobody gets the same pictures twice: their own numbers would go back. */
static void who_has_the_pictures_does_not_get_them_again(void **state)
{
    struct client clients[2];
    struct rig *rig = open_with_history(clients, 1);

    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, true, 1);
    rig_turn(rig);
    call_key_frame_requests(rig, &clients[0]);
    rig_advance(rig, NS_PER_S); /* the key frame is still young enough */
    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
    rig_turn(rig);
    assert_int_equal(rig_counter(rig, COUNTER_replays), 0);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(call_key_frame_requests(rig, &clients[0]), 1);
    call_close(rig, clients, 1);
}

/* A packet that never came keeps its number; when it comes at last, it can be had. */
static void a_hole_in_the_history_stays_a_hole(void **state)
{
    static struct rig_sent got[ROOM];
    struct client clients[3];
    struct rig *rig = open_with_history(clients, 2);
    size_t count;

    publish(rig, &clients[0], 111, false);
    rig_turn(rig);
    rig_consumer(rig, 1, 2, 0, CONSUMER_SSRC + 10, false, 1);
    rig_turn(rig);
    count = gather(rig, &clients[2], got);
    assert_int_equal(count, 11);
    assert_int_equal(sequence_of(&got[10]), (uint16_t)(sequence_of(&got[9]) + 2));
    call_close(rig, clients, 2);
}

/* 100 people join in a second: the publisher makes one key frame. */
static void many_joiners_cost_one_key_frame(void **state)
{
    enum { JOINERS = 20, TURNS = 100 };
    static struct client clients[JOINERS + 1];
    struct rig *rig = call_open(clients, JOINERS, SRTP_PROFILE_aead_aes_128_gcm);
    size_t requests = 0, served = 0;
    bool has[JOINERS + 1] = {false};

    for (uint16_t turn = 0; turn < TURNS; turn++) {
        if (turn % 5 == 0)
            rig_consumer(rig, turn / 5, turn / 5 + 1, 0, CONSUMER_SSRC + 10u * turn, false, 1);
        rig_advance(rig, 10 * NS_PER_MS);
        for (uint32_t i = 1; i <= JOINERS; i++)
            has[i] |= client_received_rtp(rig, &clients[i], NULL, 0) > 0;
        if (call_key_frame_requests(rig, &clients[0]) > 0) {
            requests++;
            publish(rig, &clients[0], (uint16_t)(1000 + turn), true);
        } else {
            publish(rig, &clients[0], (uint16_t)(1000 + turn), false);
        }
    }
    rig_advance(rig, 10 * NS_PER_MS);
    for (uint32_t i = 1; i <= JOINERS; i++)
        served += has[i] || client_received_rtp(rig, &clients[i], NULL, 0) > 0;
    assert_int_equal(served, JOINERS);
    assert_int_equal(requests, 1);
    call_close(rig, clients, JOINERS);
}

/* What overtook the first packet of a key frame leaves with it. */
static void the_overtaken_part_of_a_key_frame_is_sent(void **state)
{
    static struct rig_sent got[ROOM];
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    size_t count;

    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
    rig_turn(rig);
    publish(rig, &clients[0], 99, false);
    publish(rig, &clients[0], 101, false);
    publish(rig, &clients[0], 102, false);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    rig_now_ns += NS_PER_MS;
    publish(rig, &clients[0], 100, true);
    rig_turn(rig);
    count = client_received_rtp(rig, &clients[1], got, ROOM);
    assert_int_equal(count, 3);
    publish(rig, &clients[0], 103, false);
    rig_turn(rig);
    count += client_received_rtp(rig, &clients[1], got + count, ROOM - count);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) { /* in any order */
        unsigned seen = 0;

        for (size_t k = 0; k < count; k++)
            seen += get32(got[k].data + 4) == (uint32_t)((100 + i) * STEP);
        assert_int_equal(seen, 1);
    }
    call_close(rig, clients, 1);
}

static void a_joiner_on_another_worker_gets_it_too(void **state)
{
    struct pair x;
    size_t count = 0;

    pair_open(&x, SRTP_PROFILE_aead_aes_128_gcm);
    pair_consume(&x, AWAY_SUBSCRIBER);
    pair_turn(&x);
    for (uint16_t i = 0; i < 5; i++) {
        pair_publish(&x, (uint16_t)(500 + i), i == 0);
        pair_turn(&x);
    }
    pair_consume(&x, AWAY_SECOND);
    for (int i = 0; i < 10; i++) {
        rig_now_ns += 2 * NS_PER_MS;
        pair_turn(&x);
        count += pair_received(&x, AWAY_SECOND);
    }
    assert_int_equal(count, 5);
    assert_int_equal(rig_counter(x.away, COUNTER_replays), 1);
    pair_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_joiner_gets_the_last_key_frame_at_once),
        cmocka_unit_test(a_resend_has_the_time_stamp_of_the_first_send),
        cmocka_unit_test(packets_that_come_during_a_replay_wait_for_it),
        cmocka_unit_test(an_old_key_frame_is_not_replayed),
        cmocka_unit_test(a_long_picture_group_is_not_replayed),
        cmocka_unit_test(who_has_the_pictures_does_not_get_them_again),
        cmocka_unit_test(a_hole_in_the_history_stays_a_hole),
        cmocka_unit_test(many_joiners_cost_one_key_frame),
        cmocka_unit_test(the_overtaken_part_of_a_key_frame_is_sent),
        cmocka_unit_test(a_joiner_on_another_worker_gets_it_too),
    };
    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
