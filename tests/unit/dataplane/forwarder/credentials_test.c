/* ICE restarts (RFC 8445 9): old and new credentials, which paths stay, media without a gap. */
#include "rig.h"

enum { OLD_PORT = 5001, NEW_PORT = 6001 };

/* Publisher 0, subscriber 1 that consumes it. */
static struct rig *call_open(struct client clients[2])
{
    struct rig *rig = rig_open();

    memset(clients, 0, 2 * sizeof(*clients));
    for (uint32_t i = 0; i < 2; i++)
        rig_connect(rig, &clients[i], i, SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(rig, 0, 0, false);
    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    return rig;
}

static void call_close(struct rig *rig, struct client clients[2])
{
    client_close(&clients[0]);
    client_close(&clients[1]);
    rig_close(rig);
}

/* The row as the control plane writes it at its nth ICE restart; the client with what it was told. */
static struct client restart(struct rig *rig, const struct client *c, unsigned nth)
{
    struct transport_row row = {
        .worker = rig->index, .direction = DIRECTION_send, .dtls_role = DTLS_ROLE_server};
    struct client told = *c;

    snprintf(told.ufrag, sizeof(told.ufrag), "again%02u%025u", nth, c->transport);
    snprintf(told.password, sizeof(told.password), "secret%02u%024u", nth, c->transport);
    memcpy(row.ice_ufrag, told.ufrag, 32);
    memcpy(row.ice_pwd, told.password, 32);
    rig_row(rig, TABLE_transport, c->transport, &row.header, 1);
    rig_turn(rig);
    return told;
}

static bool answered(struct rig *rig, struct client *c, bool nominate)
{
    uint64_t before = rig->worker->turn.verdicts[VERDICT_stun_answered];

    client_check(rig, c, nominate);
    return rig->worker->turn.verdicts[VERDICT_stun_answered] == before + 1;
}

static void publish(struct rig *rig, struct client *c, uint16_t sequence)
{
    uint8_t packet[1600];

    client_send_rtp(rig, c, packet,
                    client_rtp(packet, 96, sequence, sequence * 3000u, VIDEO_SSRC, true, 300));
    rig_turn(rig);
}

static void both_are_taken_until_the_new_ones_are_used(void **state)
{
    struct client clients[2], told;
    struct rig *rig = call_open(clients);
    struct transport *t = &rig->worker->transports.all[1];

    told = restart(rig, &clients[1], 1);
    assert_int_equal(rig->worker->turn.counters[COUNTER_rows_refused], 0);
    for (int i = 0; i < 3; i++)
        assert_true(answered(rig, &clients[1], true)); /* consent goes on meanwhile */
    publish(rig, &clients[0], 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_int_equal(rig->worker->turn.counters[COUNTER_ice_restarts], 0);

    assert_true(answered(rig, &told, true)); /* same address: nothing moves */
    assert_int_equal(rig->worker->turn.counters[COUNTER_ice_restarts], 1);
    assert_int_equal(t->ice.state, ICE_STATE_completed);
    publish(rig, &clients[0], 2);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_false(answered(rig, &clients[1], true));
    assert_int_equal(rig->worker->turn.verdicts[VERDICT_drop_stun_stranger], 1);
    assert_true(answered(rig, &told, true));
    assert_int_equal(rig->worker->turn.counters[COUNTER_ice_restarts], 1);
    call_close(rig, clients);
}

/* Neither the old password with the new name nor the other way round, before or after. */
static void names_and_passwords_do_not_mix(void **state)
{
    struct client clients[2], told, mixed;
    struct rig *rig = call_open(clients);
    uint64_t refused;

    told = restart(rig, &clients[1], 1);
    for (int after = 0; after < 2; after++) {
        refused = rig->worker->turn.verdicts[VERDICT_drop_stun_unauthentic] +
                  rig->worker->turn.verdicts[VERDICT_drop_stun_stranger];
        mixed = told;
        memcpy(mixed.password, clients[1].password, sizeof(mixed.password));
        assert_false(answered(rig, &mixed, true));
        mixed = clients[1];
        memcpy(mixed.password, told.password, sizeof(mixed.password));
        assert_false(answered(rig, &mixed, true));
        assert_int_equal(rig->worker->turn.verdicts[VERDICT_drop_stun_unauthentic] +
                             rig->worker->turn.verdicts[VERDICT_drop_stun_stranger],
                         refused + 2);
        assert_true(answered(rig, &told, true));
    }
    call_close(rig, clients);
}

/* From another network: media goes on to the old address until a check nominates the new one, and
 * neither a forged check nor media moves it (G6). */
static void media_follows_the_new_check_only(void **state)
{
    struct client clients[2], told, forged;
    struct rig *rig = call_open(clients);

    told = restart(rig, &clients[1], 1);
    told.path = rig_path(11, NEW_PORT);
    forged = told;
    memset(forged.password, 'x', 32);
    rig_advance(rig, 2 * NS_PER_S);
    assert_false(answered(rig, &forged, true));
    publish(rig, &clients[0], 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_int_equal(rig->worker->turn.counters[COUNTER_ice_restarts], 0);

    assert_true(answered(rig, &told, false)); /* a check without nomination */
    publish(rig, &clients[0], 2);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_int_equal(client_received_rtp(rig, &told, NULL, 0), 0);

    assert_true(answered(rig, &told, true));
    publish(rig, &clients[0], 3);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(client_received_rtp(rig, &told, NULL, 0), 1);
    call_close(rig, clients);
}

/* Paths that the old credentials validated and media does not take are no way in any more. */
static void old_paths_are_forgotten(void **state)
{
    struct client clients[2], told, spare;
    struct rig *rig = call_open(clients);
    uint64_t strangers;

    spare = clients[0];
    spare.path = rig_path(12, OLD_PORT + 70);
    assert_true(answered(rig, &spare, false)); /* a second, validated path of the publisher */
    publish(rig, &spare, 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    told = restart(rig, &clients[0], 1);
    publish(rig, &spare, 2);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_true(answered(rig, &told, true));
    strangers = rig->worker->turn.verdicts[VERDICT_drop_media_stranger];
    publish(rig, &spare, 3);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(rig->worker->turn.verdicts[VERDICT_drop_media_stranger], strangers + 1);
    publish(rig, &clients[0], 4);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients);
}

/* Two restarts before any check: the first's credentials never were, the old ones still are. */
static void a_second_restart_meanwhile(void **state)
{
    struct client clients[2], first, second;
    struct rig *rig = call_open(clients);
    uint32_t names = rig->worker->transports.ufrags.map.count;

    first = restart(rig, &clients[1], 1);
    assert_int_equal(rig->worker->transports.ufrags.map.count, names + 1);
    second = restart(rig, &clients[1], 2);
    assert_int_equal(rig->worker->transports.ufrags.map.count, names + 1);
    assert_true(answered(rig, &clients[1], true));
    assert_false(answered(rig, &first, true));
    assert_true(answered(rig, &second, true));
    assert_false(answered(rig, &clients[1], true));
    assert_int_equal(rig->worker->transports.ufrags.map.count, names);
    for (unsigned nth = 3; nth < 50; nth++) { /* and on and on: nothing piles up */
        first = restart(rig, &clients[1], nth);
        if (nth % 3 == 0)
            assert_true(answered(rig, &first, true));
        rig_advance(rig, 100 * NS_PER_MS);
    }
    assert_true(rig->worker->transports.ufrags.map.count <= names + 1);
    rig_free_row(rig, TABLE_transport, 1, 1);
    rig_turn(rig);
    assert_int_equal(rig->worker->transports.ufrags.map.count, names - 1);
    assert_false(answered(rig, &first, true));
    call_close(rig, clients);
}

/* Rows that make no sense are refused, and the transport stays as it was (H1). */
static void bad_rows_change_nothing(void **state)
{
    struct client clients[2];
    struct rig *rig = call_open(clients);
    struct transport_row row = {.direction = DIRECTION_send, .dtls_role = DTLS_ROLE_server};

    memcpy(row.ice_ufrag, clients[0].ufrag, 32); /* another transport's */
    memcpy(row.ice_pwd, clients[1].password, 32);
    rig_row(rig, TABLE_transport, 1, &row.header, 1);
    rig_turn(rig);
    memcpy(row.ice_ufrag, "abc", 4);
    rig_row(rig, TABLE_transport, 1, &row.header, 1);
    rig_turn(rig);
    memset(row.ice_ufrag, 'a', sizeof(row.ice_ufrag));
    rig_row(rig, TABLE_transport, 1, &row.header, 1);
    rig_turn(rig);
    assert_int_equal(rig->worker->turn.counters[COUNTER_rows_refused], 3);
    assert_true(answered(rig, &clients[0], true));
    assert_true(answered(rig, &clients[1], true));
    publish(rig, &clients[0], 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients);
}

/* A client that never takes up the restart lives on by its old checks; one that takes up neither
 * loses consent, and the new credentials bring it back. */
static void consent_through_a_restart(void **state)
{
    struct client clients[2], told;
    struct rig *rig = call_open(clients);
    struct transport *t = &rig->worker->transports.all[1];

    told = restart(rig, &clients[1], 1);
    for (int s = 0; s < 40; s++) {
        rig_advance(rig, NS_PER_S);
        assert_true(answered(rig, &clients[1], true));
        client_check(rig, &clients[0], true);
    }
    assert_int_equal(t->ice.state, ICE_STATE_completed);
    for (int s = 0; s < 32; s++)
        rig_advance(rig, NS_PER_S);
    assert_int_equal(t->ice.state, ICE_STATE_disconnected);
    assert_true(answered(rig, &told, true));
    assert_int_equal(t->ice.state, ICE_STATE_completed);
    client_check(rig, &clients[0], true);
    publish(rig, &clients[0], 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_are_taken_until_the_new_ones_are_used),
        cmocka_unit_test(names_and_passwords_do_not_mix),
        cmocka_unit_test(media_follows_the_new_check_only),
        cmocka_unit_test(old_paths_are_forgotten),
        cmocka_unit_test(a_second_restart_meanwhile),
        cmocka_unit_test(bad_rows_change_nothing),
        cmocka_unit_test(consent_through_a_restart),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
