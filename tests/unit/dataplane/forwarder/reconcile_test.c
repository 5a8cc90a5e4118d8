/* Rows become objects: stale handles, rows of other workers, rows that contradict each other,
 * removal, lost notes. */
#include "call.h"

static void rows_that_make_no_sense_make_no_object(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    rig_consumer(rig, 5, 1, 9, 4000, false, 1); /* producer 9 does not exist */
    rig_turn(rig);
    assert_int_equal(rig->worker->consumers.count, 0);
    assert_int_equal(rig_counter(rig, COUNTER_rows_refused), 1);
    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_consumer(rig, 1, 1, 0, 4000, false, 1); /* the same SSRC on the same transport */
    rig_turn(rig);
    assert_int_equal(rig->worker->consumers.count, 1);
    assert_int_equal(rig_counter(rig, COUNTER_rows_refused), 2);
    call_close(rig, clients, 1);
}

/* Threat D16: two producers of one transport cannot have the same SSRC. */
static void a_second_producer_with_the_same_ssrc_is_refused(void **state)
{
    struct client clients[1];
    struct rig *rig = call_open(clients, 0, SRTP_PROFILE_aead_aes_128_gcm);

    rig_video_producer(rig, 1, 0, false);
    rig_turn(rig);
    assert_int_equal(rig->worker->producers.count, 1);
    assert_int_equal(rig->worker->producers.all[1].generation, 0);
    assert_int_equal(rig_counter(rig, COUNTER_rows_refused), 1);
    call_close(rig, clients, 0);
}

static void transports_of_other_workers_are_not_ours(void **state)
{
    struct client clients[1];
    struct rig *rig = call_open(clients, 0, SRTP_PROFILE_aead_aes_128_gcm);
    struct transport_row foreign = {
        .worker = 3, .ice_ufrag = "abcdabcd", .ice_pwd = "0123456789012345678901"};

    rig_row(rig, TABLE_transport, 9, &foreign.header, 1);
    rig_turn(rig);
    assert_int_equal(rig->worker->transports.count, 1);
    assert_int_equal(rig->worker->transports.all[9].generation, 0);
    assert_int_equal(rig_counter(rig, COUNTER_rows_refused), 0);
    call_close(rig, clients, 0);
}

static void an_index_that_is_used_again_holds_the_new_object(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    rig_consumer(rig, 0, 1, 0, 5000, false, 2);
    rig_turn(rig);
    assert_int_equal(rig->worker->consumers.count, 1);
    assert_int_equal(rig->worker->consumers.details[0].generation, 2);
    assert_int_equal(rig->worker->consumers.all[0].ssrc, 5000);
    call_close(rig, clients, 1);
}

static void a_transport_that_goes_takes_its_producers_and_their_consumers_along(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    rig_free_row(rig, TABLE_transport, 0, 1);
    rig_turn(rig);
    assert_int_equal(rig->worker->consumers.count, 0);
    assert_int_equal(rig->worker->producers.count, 0);
    assert_int_equal(rig->worker->transports.count, 1);
    call_close(rig, clients, 1);
}

/* More notes than the ring holds: a scan of all rows has the same result as the notes. */
static void lost_notes_lead_to_a_rescan(void **state)
{
    enum { CONSUMERS = 2001 };
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    for (uint32_t i = 0; i + 1 < CONSUMERS; i++)
        rig_consumer(rig, i, 1, 0, 10000 + 2 * i, true, 1);
    for (int i = 0; i < CHANGE_RING_ENTRIES; i++)
        ring_put_note(&rig->changes, (struct ring_note){.table = TABLE_room});
    rig_consumer(rig, CONSUMERS - 1, 1, 0, 90000, true, 1); /* its note is lost */
    for (int i = 0; i < 400; i++)
        rig_turn(rig);
    assert_int_equal(rig->worker->consumers.count, CONSUMERS);
    assert_true(rig_counter(rig, COUNTER_rescans) >= 1);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_make_no_sense_make_no_object),
        cmocka_unit_test(a_second_producer_with_the_same_ssrc_is_refused),
        cmocka_unit_test(transports_of_other_workers_are_not_ours),
        cmocka_unit_test(an_index_that_is_used_again_holds_the_new_object),
        cmocka_unit_test(a_transport_that_goes_takes_its_producers_and_their_consumers_along),
        cmocka_unit_test(lost_notes_lead_to_a_rescan),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
