/* What a forwarder leaves to its successor: no SRTP index is used twice (threat D13). */
#define _GNU_SOURCE
#include "call.h"

/* ---- the rows ---- */

#define HANDLE(index, generation) ((uint64_t)(generation) << 32 | (index))

static const struct resume_consumer seven = {
    .index = 7, .generation = 3, .ssrc = 5000, .transport = HANDLE(1, 2)};

static void only_the_same_object_finds_what_was_reserved(void **state)
{
    struct region region;
    struct resume resume = {.region = &region};
    struct resume_consumer other = seven;
    uint64_t rtp = 0;
    uint32_t rtcp = 0;

    rig_region(&region, REGION_resume);
    assert_false(resume_find_rtp(&resume, &seven, &rtp));
    assert_false(resume_find_rtcp(&resume, 7, 1, &rtcp));
    assert_int_equal(resume_reserve_rtp(&resume, &seven, 100), 100 + INDEX_RESERVE);
    assert_int_equal(resume_reserve_rtcp(&resume, 7, 3, 200), 200 + INDEX_RESERVE);
    assert_true(resume_find_rtp(&resume, &seven, &rtp));
    assert_int_equal(rtp, 100 + INDEX_RESERVE);
    assert_true(resume_find_rtcp(&resume, 7, 3, &rtcp));
    assert_int_equal(rtcp, 200 + INDEX_RESERVE);
    other.generation = 4; /* the index was used again */
    assert_false(resume_find_rtp(&resume, &other, &rtp));
    other = seven;
    other.ssrc++;
    assert_false(resume_find_rtp(&resume, &other, &rtp));
    other = seven;
    other.transport = HANDLE(1, 3);
    assert_false(resume_find_rtp(&resume, &other, &rtp));
    assert_false(resume_find_rtcp(&resume, 8, 3, &rtcp));
    region_unmap(&region);
}

static bool is_taken(const struct resume *resume, uint32_t generation, uint32_t ssrc)
{
    struct srtp_sent taken;
    struct srtp_skipped skipped;

    resume_find_ssrcs(resume, 1, generation, &taken, &skipped);
    return !srtp_sent_take_late(&taken, &skipped, ssrc);
}

/* A successor knows which SSRCs were used with a transport's key, also when reports were reserved
 * meanwhile, or when the forwarder died while it wrote. */
static void used_ssrcs_are_known(void **state)
{
    struct region region;
    struct resume resume = {.region = &region};
    uint32_t rtcp = 0;

    rig_region(&region, REGION_resume);
    for (uint32_t ssrc = 100000; ssrc < 110000; ssrc += 2) {
        assert_false(is_taken(&resume, 2, ssrc));
        resume_take_ssrc(&resume, HANDLE(1, 2), ssrc);
        if (ssrc % 1000 == 0)
            resume_reserve_rtcp(&resume, 1, 2, ssrc);
    }
    assert_true(resume_find_rtcp(&resume, 1, 2, &rtcp));
    assert_int_equal(rtcp, 109000 + INDEX_RESERVE);
    for (uint32_t ssrc = 100000; ssrc < 110000; ssrc += 2)
        assert_true(is_taken(&resume, 2, ssrc));
    assert_false(is_taken(&resume, 2, 109001)); /* passed over */
    assert_false(is_taken(&resume, 2, 110002));
    atomic_fetch_add(&region_row(&region, TABLE_transport_resume, 1)->sequence, 1);
    assert_true(is_taken(&resume, 2, 109001)); /* what may be half an old value counts as used */
    assert_false(is_taken(&resume, 2, 110002));
    assert_false(is_taken(&resume, 3, 109000)); /* other keys */
    region_unmap(&region);
}

/* A forwarder that died while it wrote leaves an odd sequence; what the row holds still counts. */
static void a_torn_row_is_found_too(void **state)
{
    struct region region;
    struct resume resume = {.region = &region};
    uint64_t rtp = 0;

    rig_region(&region, REGION_resume);
    resume_reserve_rtp(&resume, &seven, 100);
    atomic_fetch_add(&region_row(&region, TABLE_consumer_resume, 7)->sequence, 1);
    assert_true(resume_find_rtp(&resume, &seven, &rtp));
    assert_int_equal(rtp, 100 + INDEX_RESERVE);
    assert_int_equal(resume_reserve_rtp(&resume, &seven, rtp), 100 + 2 * INDEX_RESERVE);
    region_unmap(&region);
}

/* ---- a worker and its successor ---- */

static void forward_one(struct rig *rig, struct client *clients, uint16_t sequence)
{
    struct rig_sent got[4];

    call_publish(rig, &clients[0], sequence, sequence * 3000u, true, 500);
    rig_turn(rig);
    assert_int_equal(client_received_rtp(rig, &clients[1], got, 4), 1);
}

static void a_successor_starts_behind_the_reserved_indexes(void **state)
{
    for (int torn = 0; torn < 2; torn++) { /* torn: it died while it wrote the row */
        struct client clients[2];
        struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
        uint64_t before, after;

        rig_consumer(rig, 0, 1, 0, 4000, false, 1);
        rig_turn(rig);
        forward_one(rig, clients, 100);
        before = srtp_sent_next(&rig->worker->consumers.all[0].sent);
        if (torn)
            atomic_fetch_add(&region_row(&rig->resume, TABLE_consumer_resume, 0)->sequence, 1);
        rig_stop_worker(rig);
        rig_start_worker(rig);
        for (int i = 0; i < 10; i++)
            rig_turn(rig);
        assert_int_equal(rig->worker->consumers.count, 1);
        assert_true(rig->worker->transports.all[1].profile != 0); /* the keys were there */
        client_check(rig, &clients[0], true);
        client_check(rig, &clients[1], true);
        forward_one(rig, clients, 101);
        after = srtp_sent_next(&rig->worker->consumers.all[0].sent);
        assert_in_range(after, before + INDEX_RESERVE, before + INDEX_RESERVE + 2);
        call_close(rig, clients, 1);
    }
}

static bool region_holds(const struct region *region, const uint8_t ip[16])
{
    for (unsigned t = 0; t < TABLE_COUNT; t++) /* the first rows: the test uses no others */
        if (region->tables[t] && memmem(region->tables[t], 4096, ip, 16))
            return true;
    return false;
}

/* Index reservations outlive their transport. Its client's address must not. */
static void nothing_keeps_the_address_of_a_client_that_left(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);
    uint8_t ip[16];
    uint32_t rtcp = 0;

    memcpy(ip, clients[0].path.remote_ip, sizeof(ip));
    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    forward_one(rig, clients, 100);
    rig_advance(rig, 2 * NS_PER_S); /* reports: RTCP indexes are reserved */
    rig_advance(rig, 2 * NS_PER_S);
    assert_true(region_holds(&rig->actual, ip));
    for (uint32_t i = 0; i < 2; i++)
        rig_free_row(rig, TABLE_transport, i, 1);
    rig_turn(rig);
    assert_true(resume_find_rtcp(&(struct resume){.region = &rig->resume}, 0, 1, &rtcp));
    assert_true(rtcp > 0);
    assert_false(region_holds(&rig->actual, ip));
    assert_false(region_holds(&rig->resume, ip));
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_same_object_finds_what_was_reserved),
        cmocka_unit_test(used_ssrcs_are_known),
        cmocka_unit_test(a_torn_row_is_found_too),
        cmocka_unit_test(nothing_keeps_the_address_of_a_client_that_left),
        cmocka_unit_test(a_successor_starts_behind_the_reserved_indexes),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
