/* ICE restarts (RFC 8445 9): old and new credentials, which paths stay, media without a gap. */
#include "call.h"

enum { OLD_PORT = 5001, NEW_PORT = 6001 };

/* Client 1 consumes what client 0 publishes. */
static struct rig *pair_open(struct client clients[2])
{
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aead_aes_128_gcm);

    rig_consumer(rig, 0, 1, 0, 4000, false, 1);
    rig_turn(rig);
    return rig;
}

/* Writes the row as the control plane does at the nth ICE restart. Returns the client with the new
 * credentials; `c` keeps the old ones. */
static struct client restart(struct rig *rig, const struct client *c, unsigned nth)
{
    struct transport_row row = {
        .worker = rig->index, .direction = DIRECTION_send, .dtls_role = DTLS_ROLE_server};
    struct client renewed = *c;

    snprintf(renewed.ufrag, sizeof(renewed.ufrag), "again%02u%025u", nth, c->transport);
    snprintf(renewed.password, sizeof(renewed.password), "secret%02u%024u", nth, c->transport);
    memcpy(row.ice_ufrag, renewed.ufrag, 32);
    memcpy(row.ice_pwd, renewed.password, 32);
    rig_row(rig, TABLE_transport, c->transport, &row.header, 1);
    rig_turn(rig);
    return renewed;
}

static bool answered(struct rig *rig, struct client *c, bool nominate)
{
    uint64_t before = rig_verdict(rig, VERDICT_stun_answered);

    client_check(rig, c, nominate);
    return rig_verdict(rig, VERDICT_stun_answered) == before + 1;
}

static void publish(struct rig *rig, struct client *c, uint16_t sequence)
{
    uint8_t packet[1600];

    client_send_rtp(rig, c, packet,
                    client_rtp(packet, 96, sequence, sequence * 3000u, VIDEO_SSRC, true, 300));
    rig_turn(rig);
}

static void old_credentials_work_until_the_new_ones_are_used(void **state)
{
    struct client clients[2], renewed;
    struct rig *rig = pair_open(clients);
    struct transport *t = &rig->worker->transports.all[1];

    renewed = restart(rig, &clients[1], 1);
    assert_int_equal(rig_counter(rig, COUNTER_rows_refused), 0);
    for (int i = 0; i < 3; i++)
        assert_true(answered(rig, &clients[1], true)); /* the old ones keep consent alive */
    publish(rig, &clients[0], 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_int_equal(rig_counter(rig, COUNTER_ice_restarts), 0);

    assert_true(answered(rig, &renewed, true)); /* from the same address: media stays there */
    assert_int_equal(rig_counter(rig, COUNTER_ice_restarts), 1);
    assert_int_equal(t->ice.state, ICE_STATE_completed);
    publish(rig, &clients[0], 2);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_false(answered(rig, &clients[1], true));
    assert_int_equal(rig_verdict(rig, VERDICT_drop_stun_stranger), 1);
    assert_true(answered(rig, &renewed, true));
    assert_int_equal(rig_counter(rig, COUNTER_ice_restarts), 1);
    call_close(rig, clients, 1);
}

/* The old password with the new name, or the new password with the old name, is refused: before the
 * first check with the new credentials, and after it. */
static void names_and_passwords_cannot_be_mixed(void **state)
{
    struct client clients[2], renewed, mixed;
    struct rig *rig = pair_open(clients);
    uint64_t refused;

    renewed = restart(rig, &clients[1], 1);
    for (int after = 0; after < 2; after++) {
        refused = rig_verdict(rig, VERDICT_drop_stun_unauthentic) +
                  rig_verdict(rig, VERDICT_drop_stun_stranger);
        mixed = renewed;
        memcpy(mixed.password, clients[1].password, sizeof(mixed.password));
        assert_false(answered(rig, &mixed, true));
        mixed = clients[1];
        memcpy(mixed.password, renewed.password, sizeof(mixed.password));
        assert_false(answered(rig, &mixed, true));
        assert_int_equal(rig_verdict(rig, VERDICT_drop_stun_unauthentic) +
                             rig_verdict(rig, VERDICT_drop_stun_stranger),
                         refused + 2);
        assert_true(answered(rig, &renewed, true));
    }
    call_close(rig, clients, 1);
}

/* The client is in another network: media goes to the old address until a check nominates the new
 * one and the client proves that it receives there. Neither a forged check nor media moves it (gate
 * G6), nor does a check alone (threat D4). */
static void media_moves_only_with_a_nominating_check(void **state)
{
    struct client clients[2], renewed, forged;
    struct rig *rig = pair_open(clients);

    renewed = restart(rig, &clients[1], 1);
    renewed.path = rig_path(11, NEW_PORT);
    forged = renewed;
    memset(forged.password, 'x', 32);
    rig_advance(rig, 2 * NS_PER_S);
    assert_false(answered(rig, &forged, true));
    publish(rig, &clients[0], 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_int_equal(rig_counter(rig, COUNTER_ice_restarts), 0);

    assert_true(answered(rig, &renewed, false)); /* a check without nomination */
    publish(rig, &clients[0], 2);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_int_equal(client_received_rtp(rig, &renewed, NULL, 0), 0);

    client_prove(rig, &renewed); /* without nomination nothing moves */
    publish(rig, &clients[0], 3);
    assert_int_equal(client_received_rtp(rig, &renewed, NULL, 0), 0);
    assert_true(answered(rig, &renewed, true));
    publish(rig, &clients[0], 4);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(client_received_rtp(rig, &renewed, NULL, 0), 1);
    call_close(rig, clients, 1);
}

/* A path that only the old credentials validated, and that media does not use, is refused after the
 * restart. */
static void unused_old_paths_are_forgotten(void **state)
{
    struct client clients[2], renewed, spare;
    struct rig *rig = pair_open(clients);
    uint64_t strangers;

    spare = clients[0];
    spare.path = rig_path(12, OLD_PORT + 70);
    assert_true(answered(rig, &spare, false)); /* a second, validated path of the publisher */
    publish(rig, &spare, 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    renewed = restart(rig, &clients[0], 1);
    publish(rig, &spare, 2);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    assert_true(answered(rig, &renewed, true));
    strangers = rig_verdict(rig, VERDICT_drop_media_stranger);
    publish(rig, &spare, 3);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 0);
    assert_int_equal(rig_verdict(rig, VERDICT_drop_media_stranger), strangers + 1);
    publish(rig, &clients[0], 4);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients, 1);
}

/* Two restarts before any check: the credentials of the first are dropped, the oldest ones still
 * work. */
static void a_second_restart_before_the_first_is_used(void **state)
{
    struct client clients[2], first, second;
    struct rig *rig = pair_open(clients);
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
    for (unsigned nth = 3; nth < 50; nth++) { /* many restarts: no credentials pile up */
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
    call_close(rig, clients, 1);
}

/* Threat H1: rows with unusable credentials are refused, and the transport stays as it was. */
static void bad_rows_change_nothing(void **state)
{
    struct client clients[2];
    struct rig *rig = pair_open(clients);
    struct transport_row row = {.direction = DIRECTION_send, .dtls_role = DTLS_ROLE_server};

    memcpy(row.ice_ufrag, clients[0].ufrag, 32); /* those of another transport */
    memcpy(row.ice_pwd, clients[1].password, 32);
    rig_row(rig, TABLE_transport, 1, &row.header, 1);
    rig_turn(rig);
    memcpy(row.ice_ufrag, "abc", 4);
    rig_row(rig, TABLE_transport, 1, &row.header, 1);
    rig_turn(rig);
    memset(row.ice_ufrag, 'a', sizeof(row.ice_ufrag));
    rig_row(rig, TABLE_transport, 1, &row.header, 1);
    rig_turn(rig);
    assert_int_equal(rig_counter(rig, COUNTER_rows_refused), 3);
    assert_true(answered(rig, &clients[0], true));
    assert_true(answered(rig, &clients[1], true));
    publish(rig, &clients[0], 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients, 1);
}

/* A client that never uses the new credentials keeps consent with the old ones. One that does not
 * check at all loses consent, and a check with the new credentials brings it back. */
static void consent_during_a_restart(void **state)
{
    struct client clients[2], renewed;
    struct rig *rig = pair_open(clients);
    struct transport *t = &rig->worker->transports.all[1];

    renewed = restart(rig, &clients[1], 1);
    for (int s = 0; s < 40; s++) {
        rig_advance(rig, NS_PER_S);
        assert_true(answered(rig, &clients[1], true));
        client_check(rig, &clients[0], true);
    }
    assert_int_equal(t->ice.state, ICE_STATE_completed);
    for (int s = 0; s < 32; s++)
        rig_advance(rig, NS_PER_S);
    assert_int_equal(t->ice.state, ICE_STATE_disconnected);
    assert_true(answered(rig, &renewed, true));
    assert_int_equal(t->ice.state, ICE_STATE_completed);
    client_check(rig, &clients[0], true);
    client_prove(rig, &clients[1]);
    publish(rig, &clients[0], 1);
    assert_int_equal(client_received_rtp(rig, &clients[1], NULL, 0), 1);
    call_close(rig, clients, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_credentials_work_until_the_new_ones_are_used),
        cmocka_unit_test(names_and_passwords_cannot_be_mixed),
        cmocka_unit_test(media_moves_only_with_a_nominating_check),
        cmocka_unit_test(unused_old_paths_are_forgotten),
        cmocka_unit_test(a_second_restart_before_the_first_is_used),
        cmocka_unit_test(bad_rows_change_nothing),
        cmocka_unit_test(consent_during_a_restart),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
