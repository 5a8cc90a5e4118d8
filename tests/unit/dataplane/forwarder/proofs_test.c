/* Threat D4: valid checks from another address move media only when the client proves that it
 * receives there. Rules of a path alone: proof_test.c; of the selection: ice_test.c. */
#include "call.h"

enum { SSRC = 4000, ELSEWHERE = 77 };

static const uint8_t profile = SRTP_PROFILE_aead_aes_128_gcm;

/* A call whose publisher has sent packets and a sender report, so that the worker can report. */
static struct rig *open_call(struct client clients[2])
{
    struct rig *rig = call_open(clients, 1, (enum srtp_profile)profile);
    struct rtcp_sender_info sent = {
        .ssrc = VIDEO_SSRC, .timestamp = 3000, .ntp = rtcp_ntp(rig_wall_ns)};
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};

    rig_consumer(rig, 0, 1, 0, SSRC, false, 1);
    rig_turn(rig);
    call_publish(rig, &clients[0], 1, 3000, true, 500);
    rig_turn(rig);
    rtcp_add_sr(&b, &sent);
    client_send_rtcp(rig, &clients[0], rtcp, b.bytes);
    rig_turn(rig);
    return rig;
}

/* The same client at another address. */
static struct client elsewhere(const struct client *c)
{
    struct client moved = *c;

    moved.path = rig_path(ELSEWHERE, 7777);
    return moved;
}

static size_t bytes_to(const struct rig *rig, const struct path *path)
{
    size_t bytes = 0;

    for (size_t i = 0; i < rig->sent_count; i++)
        if (path_equal(&rig->sent[i].path, path))
            bytes += rig->sent[i].bytes;
    return bytes;
}

/* The last 32 bits of the time in the last sender report that was sent to this client in the last
 * turn; 0: none was. */
static uint32_t last_report_to(struct rig *rig, struct client *c)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rtcp_sender_info info;
    struct rig_sent copy;
    uint32_t found = 0;
    size_t at = 0;

    while (client_next_rtcp(rig, c, &at, &copy, packets) > 0)
        if (rtcp_read_sender_info(&packets[0], &info) && info.ssrc == SSRC)
            found = rtcp_ntp_middle(info.ntp);
    return found;
}

/* Sends a receiver report that repeats this time. */
static void report(struct rig *rig, struct client *c, uint32_t last_sr)
{
    struct rtcp_report_block block = {
        .ssrc = SSRC, .last_sr = last_sr, .delay_since_last_sr = 65536 / 100};
    uint8_t rtcp[128];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};

    rtcp_add_rr(&b, 1, &block, 1);
    client_send_rtcp(rig, c, rtcp, b.bytes);
    rig_turn(rig);
}

/* Where a video packet goes now: to the client at its old address (0), elsewhere (1), nowhere. */
static int media_goes(struct rig *rig, struct client *publisher, struct client *old,
                      struct client *moved)
{
    static uint16_t sequence = 100;
    bool here, there;

    sequence++;
    call_publish(rig, publisher, sequence, sequence * 3000u, true, 1000);
    rig_turn(rig);
    here = bytes_to(rig, &old->path) > 1000;
    there = bytes_to(rig, &moved->path) > 1000;
    assert_false(here && there);
    return here ? 0 : there ? 1 : -1;
}

/* ---- attacks ---- */

/* Checks with the address of somebody who is silent, four a second. The honest client checks on. */
static void checks_alone_move_nothing(void **state)
{
    struct client clients[2], victim;
    struct rig *rig = open_call(clients);
    uint8_t captured[256], copy[256];
    size_t got = 0, sent = 0, packets = 0;
    size_t bytes = client_stun(&clients[1], captured, true, clients[1].password);

    victim = elsewhere(&clients[1]);
    for (unsigned i = 0; i < 120; i++) { /* 30 s */
        rig_advance(rig, 250 * NS_PER_MS);
        got += bytes_to(rig, &victim.path);
        memcpy(copy, captured, bytes);
        assert_true(io_replay_feed(rig->io, &victim.path, copy, (uint32_t)bytes));
        sent += bytes;
        rig_turn(rig);
        got += bytes_to(rig, &victim.path);
        assert_true(got <= 3 * sent);
        if (i % 8 == 0) {
            client_check(rig, &clients[0], true);
            client_check(rig, &clients[1], true);
        }
        assert_int_equal(media_goes(rig, &clients[0], &clients[1], &victim), 0);
        got += bytes_to(rig, &victim.path);
        packets++;
    }
    printf("victim: %zu bytes in 30 s; client: %zu of 120 packets\n", got, packets);
    assert_true(got <= 10000);
    assert_int_equal(rig_counter(rig, COUNTER_path_moves), 0);
    call_close(rig, clients, 1);
}

/* A participant points its own stream at a victim: it is silent at its own address, so that the
 * victim's is selected, and it has the keys. It does not get what went to the victim, so it guesses. */
static void a_hostile_participant_moves_little(void **state)
{
    struct client clients[2], victim;
    struct rig *rig = open_call(clients);
    size_t got = 0, most = 0, per_second[30] = {0};

    victim = elsewhere(&clients[1]);
    for (unsigned i = 0; i < 90 * 20; i++) { /* 90 s */
        size_t *now = &per_second[i / 20 % 30];

        if (i % 20 == 0)
            *now = 0;
        rig_advance(rig, 50 * NS_PER_MS);
        *now += bytes_to(rig, &victim.path);
        client_check(rig, &victim, true);
        *now += bytes_to(rig, &victim.path);
        report(rig, &victim, rtcp_ntp_middle(rtcp_ntp(rig_wall_ns)) - i);
        *now += bytes_to(rig, &victim.path);
        if (i % 40 == 0)
            client_check(rig, &clients[0], true);
        for (unsigned k = 0; k < 10; k++) {
            call_publish(rig, &clients[0], (uint16_t)(10 * i + k), i * 1000, true, 1000);
            rig_turn(rig);
            *now += bytes_to(rig, &victim.path);
        }
        got = 0;
        for (unsigned s = 0; s < 30; s++)
            got += per_second[s];
        most = got > most ? got : most;
    }
    printf("victim: at most %zu bytes in 30 s\n", most);
    assert_true(most > 1000); /* its address was selected: the old one is silent */
    assert_true(most <= 10000);
    assert_true(rig_verdict(rig, VERDICT_drop_path_unproven) > 1000);
    call_close(rig, clients, 1);
}

/* Somebody who sends a captured check very often does not use up the client's own limit. */
static void captured_checks_do_not_use_up_the_limit(void **state)
{
    struct client clients[2], attacker;
    struct rig *rig = open_call(clients);
    uint64_t before;

    attacker = elsewhere(&clients[1]);
    for (unsigned i = 0; i < 200; i++)
        client_check(rig, &attacker, true);
    assert_true(rig_verdict(rig, VERDICT_drop_stun_limit) > 0);
    before = rig_verdict(rig, VERDICT_stun_answered);
    client_check(rig, &clients[1], true);
    assert_int_equal(rig_verdict(rig, VERDICT_stun_answered), before + 1);
    call_close(rig, clients, 1);
}

/* ---- who moves honestly ---- */

static void an_echo_from_the_new_address_moves_media(void **state)
{
    struct client clients[2], moved;
    struct rig *rig = open_call(clients);
    uint32_t challenge;

    rig_advance(rig, 1200 * NS_PER_MS);
    moved = elsewhere(&clients[1]);
    client_check(rig, &moved, true);
    challenge = last_report_to(rig, &moved);
    assert_int_not_equal(challenge, 0);
    assert_int_equal(last_report_to(rig, &clients[1]), 0); /* it went only there */
    assert_true(bytes_to(rig, &moved.path) <= 3 * 108);
    assert_int_equal(media_goes(rig, &clients[0], &clients[1], &moved), 0);

    report(rig, &clients[1], challenge); /* from the old address: proves nothing */
    assert_int_equal(media_goes(rig, &clients[0], &clients[1], &moved), 0);
    report(rig, &moved, challenge ^ 1u << 31);
    assert_int_equal(media_goes(rig, &clients[0], &clients[1], &moved), 0);
    report(rig, &moved, challenge);
    assert_int_equal(call_key_frame_requests(rig, &clients[0]), 1); /* what was lost meanwhile */
    assert_int_equal(media_goes(rig, &clients[0], &clients[1], &moved), 1);
    assert_int_equal(rig_counter(rig, COUNTER_path_proofs), 1);
    assert_int_equal(rig_counter(rig, COUNTER_path_moves), 1);
    /* A challenge tells no round-trip time, because its time is not that of its sending. */
    assert_int_equal(rig->worker->consumers.details[0].round_trip_us, 0);
    call_close(rig, clients, 1);
}

/* The time of a challenge is random, and the RTP time belongs to it, so that it disturbs no clock. */
static void a_challenge_is_random_and_true(void **state)
{
    uint32_t seen[40], different = 0;

    for (unsigned i = 0; i < 40; i++) {
        struct client clients[2], moved;
        struct rig *rig = open_call(clients);
        struct rtcp_packet packets[RTCP_PACKETS_MAX];
        struct rtcp_sender_info info;
        struct rig_sent copy;
        size_t at = 0;
        double ntp_s, rtp_s;

        rig_advance(rig, 5 * NS_PER_S);
        moved = elsewhere(&clients[1]);
        client_check(rig, &moved, true);
        assert_true(client_next_rtcp(rig, &moved, &at, &copy, packets) > 0);
        assert_true(rtcp_read_sender_info(&packets[0], &info));
        ntp_s = (double)(int64_t)(info.ntp - rtcp_ntp(rig_wall_ns)) / 4294967296.0;
        rtp_s = ((double)(int32_t)(info.timestamp - 3000) / 90000.0) - 5;
        assert_true(ntp_s <= 0.001 && ntp_s > -4.001);
        assert_true(rtp_s - ntp_s < 0.001 && rtp_s - ntp_s > -0.001);
        seen[i] = (uint32_t)(-ntp_s * 65536);
        call_close(rig, clients, 1);
    }
    for (unsigned i = 0; i < 40; i++)
        for (unsigned k = 0; k <= i; k++)
            different += k == i || seen[k] != seen[i];
    assert_true(different > 800); /* of 820 pairs */
}

/* A client whose old address is dead, and whose network loses the first challenges. */
static void a_lost_challenge_is_sent_again(void **state)
{
    struct client clients[2], moved;
    struct rig *rig = open_call(clients);
    uint32_t first, again = 0;
    unsigned i;

    moved = elsewhere(&clients[1]);
    client_check(rig, &moved, true);
    first = last_report_to(rig, &moved);
    assert_int_not_equal(first, 0);
    for (i = 0; i < 10 && !again; i++) {
        rig_advance(rig, 100 * NS_PER_MS);
        again = last_report_to(rig, &moved);
    }
    assert_true(i >= 2);
    assert_int_equal(again, first); /* the answer to either proves */
    rig_advance(rig, NS_PER_S);
    rig_advance(rig, 300 * NS_PER_MS);
    report(rig, &moved, 12345); /* the client has heard only an older report */
    assert_int_equal(last_report_to(rig, &moved), first);
    report(rig, &moved, first);
    assert_int_equal(media_goes(rig, &clients[0], &clients[1], &moved), 1);
    call_close(rig, clients, 1);
}

/* Both addresses work: reports to the old one would hide the challenge. */
static void reports_to_the_old_address_wait_for_the_proof(void **state)
{
    struct client clients[2], moved;
    struct rig *rig = open_call(clients);

    moved = elsewhere(&clients[1]);
    client_check(rig, &moved, true);
    rig_advance(rig, 1200 * NS_PER_MS);
    assert_int_not_equal(last_report_to(rig, &clients[1]), 0); /* it is not heard there yet */
    report(rig, &moved, 12345);
    rig_advance(rig, 1200 * NS_PER_MS);
    assert_int_equal(last_report_to(rig, &clients[1]), 0);
    for (unsigned i = 0; i < 9; i++) /* but they do not wait for ever */
        rig_advance(rig, NS_PER_S);
    assert_int_not_equal(last_report_to(rig, &clients[1]), 0);
    call_close(rig, clients, 1);
}

/* A client that moved before it got any media: its old address falls silent, then what little may be
 * sent to the new one starts its reports. */
static void a_client_that_never_received_gets_some_media_to_report(void **state)
{
    struct client clients[2], moved;
    struct rig *rig = call_open(clients, 1, (enum srtp_profile)profile);
    unsigned got = 0;

    moved = elsewhere(&clients[1]);
    for (unsigned i = 0; i < 80; i++) {
        rig_advance(rig, 250 * NS_PER_MS);
        if (i % 4 == 0)
            client_check(rig, &moved, true);
        client_check(rig, &clients[0], true);
    }
    assert_true(path_equal(&rig->worker->transports.egresses[1].path, &moved.path));
    rig_consumer(rig, 0, 1, 0, SSRC, false, 1);
    rig_turn(rig);
    for (uint16_t i = 0; i < 100; i++) {
        call_publish(rig, &clients[0], i, i * 3000u, i == 0, 700);
        rig_turn(rig);
        got += bytes_to(rig, &moved.path) > 700;
    }
    printf("%u packets of 700 bytes before the proof\n", got);
    assert_in_range(got, 2, 6);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_path_unproven), 100 - got);
    call_close(rig, clients, 1);
}

/* A publisher at a new address: its media is enough, because it gets no media itself. */
static void a_publisher_proves_by_its_media(void **state)
{
    struct client clients[2], moved;
    struct rig *rig = open_call(clients);
    uint8_t packet[1600], replayed[1600];
    size_t bytes = client_rtp(packet, 96, 50, 150000, VIDEO_SSRC, true, 500);
    int n = (int)bytes;

    moved = elsewhere(&clients[0]);
    client_check(rig, &moved, true);
    assert_int_equal(srtp_protect(clients[0].send, packet, &n), srtp_err_status_ok);
    assert_true(io_replay_feed(rig->io, &clients[0].path, memcpy(replayed, packet, (size_t)n),
                               (uint32_t)n));
    rig_turn(rig);
    for (unsigned i = 0; i < 20; i++) { /* replayed from the new address: proves nothing */
        memcpy(replayed, packet, (size_t)n);
        assert_true(io_replay_feed(rig->io, &moved.path, replayed, (uint32_t)n));
        rig_turn(rig);
    }
    assert_true(path_equal(&rig->worker->transports.egresses[0].path, &clients[0].path));
    for (uint16_t i = 0; i < 4; i++) {
        assert_true(path_equal(&rig->worker->transports.egresses[0].path, &clients[0].path));
        call_publish(rig, &moved, (uint16_t)(60 + i), 180000, false, 500);
        rig_turn(rig);
    }
    assert_true(path_equal(&rig->worker->transports.egresses[0].path, &moved.path));
    rig_advance(rig, 1200 * NS_PER_MS);
    assert_true(client_received_rtcp(rig, &moved, RTCP_RR, -1) > 0);
    call_close(rig, clients, 1);
}

/* A successor of the forwarder knows the proven address, also one that was proven later. */
static void a_proof_outlives_the_forwarder(void **state)
{
    struct client clients[2], moved, other;
    struct rig *rig = open_call(clients);

    moved = elsewhere(&clients[1]);
    other = elsewhere(&clients[1]);
    other.path.remote_port++;
    rig_advance(rig, NS_PER_S);
    client_check(rig, &moved, true);
    report(rig, &moved, last_report_to(rig, &moved));
    assert_int_equal(media_goes(rig, &clients[0], &clients[1], &moved), 1);
    for (unsigned lives = 0; lives < 2; lives++) {
        rig_stop_worker(rig);
        rig_start_worker(rig);
        rig_turn(rig);
        client_check(rig, &clients[0], true);
        client_check(rig, &other, true); /* whoever comes first gets little */
        assert_int_equal(media_goes(rig, &clients[0], &clients[1], &moved), -1);
        assert_true(bytes_to(rig, &other.path) <= 3 * 108);
        client_check(rig, &moved, true);
        assert_int_equal(media_goes(rig, &clients[0], &clients[1], &moved), 1);
    }
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_alone_move_nothing),
        cmocka_unit_test(a_hostile_participant_moves_little),
        cmocka_unit_test(captured_checks_do_not_use_up_the_limit),
        cmocka_unit_test(an_echo_from_the_new_address_moves_media),
        cmocka_unit_test(a_challenge_is_random_and_true),
        cmocka_unit_test(a_lost_challenge_is_sent_again),
        cmocka_unit_test(reports_to_the_old_address_wait_for_the_proof),
        cmocka_unit_test(a_client_that_never_received_gets_some_media_to_report),
        cmocka_unit_test(a_publisher_proves_by_its_media),
        cmocka_unit_test(a_proof_outlives_the_forwarder),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
