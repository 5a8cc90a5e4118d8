/* The handshaker with real regions. The test plays the forwarder, the control plane and the
 * browsers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include "world.h"
#include "src/log.h"
#include "tests/unit/dataplane/engines/hello_build.h"

/* ---- tests ---- */

static void handshake_through_rings(void **state)
{
    for (uint32_t w = 0; w < WORKERS; w++)
        for (int client_role = 0; client_role < 2; client_role++) {
            struct client client;
            uint64_t rung = 0;

            if (!world.handshaker)
                handshaker_start();
            client_open(&client, w * 10 + (uint32_t)client_role, 1 + w, w, client_role);
            client_signal(&client, client_role ? DTLS_ROLE_client : DTLS_ROLE_server);
            if (client_role)
                note_put(w, client.handle, DTLS_NOTE_validated, NULL, 0);
            else
                peer_continue(&client.peer);
            turns(1);
            expect_row(&client, DTLS_STATE_connecting, DTLS_FAILURE_none);
            client_run(&client);
            assert_true(client.peer.connected && client.noted_keys && !client.noted_closed);
            expect_row(&client, DTLS_STATE_connected, DTLS_FAILURE_none);
            keys_agree(&client, !client_role);
            assert_int_equal(read(world.bells[w], &rung, sizeof(rung)), sizeof(rung));
            assert_true(rung > 0);
            assert_int_equal(world.handshaker->unfinished, 0);
            peer_close(&client.peer);
        }
}

/* The certificate that a peer sees has the fingerprints that clients are told. */
static void peers_see_the_published_identity(void **state)
{
    struct client client;
    struct identity_row identity;
    uint8_t digest[32];
    unsigned bytes = 0;

    handshaker_start();
    client_connect(&client, 5, 1, 0);
    assert_int_equal(
        row_copy(TABLE_identity, &identity, region_row(&world.keys_seen, TABLE_identity, 0), 0),
        ROW_OK);
    X509_digest(SSL_get0_peer_certificate(client.peer.ssl), EVP_sha256(), digest, &bytes);
    assert_memory_equal(digest, identity.fingerprint_sha_256, 32);
    peer_close(&client.peer);
}

/* No handshake starts before signaling has completed the transport row, or by a note about another
 * one. */
static void no_handshake_without_signaling(void **state)
{
    struct client client;
    struct key_row row;
    static const uint8_t fingerprint[64];

    handshaker_start();
    client_open(&client, 9, 3, 1, false);
    peer_continue(&client.peer); /* no transport row */
    turns(3);
    assert_int_equal(key_row(&client, &row), ROW_FREE);
    transport_put(&client, DTLS_ROLE_unset, FINGERPRINT_none, fingerprint, 0);
    peer_continue(&client.peer);
    from_peer(&client, (const uint8_t *)"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x01x", 14);
    turns(3);
    assert_int_equal(key_row(&client, &row), ROW_FREE);
    client_signal(&client, DTLS_ROLE_server);
    note_put(0, client.handle, DTLS_NOTE_datagram, fingerprint,
             20); /* the ring of another worker */
    note_put(1, handle_make(9, 2), DTLS_NOTE_datagram, fingerprint, 20);
    note_put(1, handle_make(9, 4), DTLS_NOTE_datagram, fingerprint, 20);
    note_put(1, handle_make(9, 0), DTLS_NOTE_datagram, fingerprint, 20);
    note_put(0, handle_make(9, 0), DTLS_NOTE_datagram, fingerprint, 20);
    note_put(1, handle_make(TRANSPORTS_MAX, 3), DTLS_NOTE_datagram, fingerprint, 20);
    note_put(1, handle_make(UINT32_MAX, 3), DTLS_NOTE_validated, NULL, 0);
    note_put(1, client.handle, DTLS_NOTE_datagram, fingerprint, 1501);
    note_put(1, client.handle, DTLS_NOTE_datagram, fingerprint, UINT32_MAX);
    note_put(1, client.handle, DTLS_NOTE_validated, NULL, 0); /* as server we wait for a datagram */
    note_put(1, client.handle, 77, NULL, 0);
    turns(5);
    assert_int_equal(world.handshaker->associations[9].generation, 3);
    assert_int_equal(key_row(&client, &row), ROW_FREE);
    client.peer.failed = false;
    peer_close(&client.peer);
    forward(NULL);
    assert_int_equal(world.datagrams, 0);
}

/* Such notes must not even create an association, although the transport waits for a datagram. */
static void refused_notes_leave_associations_alone(void **state)
{
    static uint8_t record[HELLO_BYTES_MAX];
    const uint32_t whole = (uint32_t)hello_whole(record, 0);
    const struct {
        uint32_t worker, generation, note, bytes;
        bool taken;
    } notes[] = {
        {0, 3, DTLS_NOTE_datagram, whole, false}, {2, 3, DTLS_NOTE_datagram, whole, false},
        {1, 0, DTLS_NOTE_datagram, whole, false}, {0, 0, DTLS_NOTE_datagram, whole, false},
        {1, 2, DTLS_NOTE_datagram, whole, false}, {1, 4, DTLS_NOTE_datagram, whole, false},
        {1, 3, DTLS_NOTE_datagram, 1501, false},  {1, 3, DTLS_NOTE_datagram, UINT32_MAX, false},
        {1, 3, DTLS_NOTE_datagram, whole, true},
    };

    handshaker_start();
    for (uint32_t i = 0; i < COUNT(notes); i++) {
        struct client client;

        client_open(&client, i, 3, 1, false);
        client_signal(&client, DTLS_ROLE_server);
        note_put(notes[i].worker, handle_make(i, notes[i].generation), notes[i].note, record,
                 notes[i].bytes);
        turns(2);
        assert_int_equal(world.handshaker->associations[i].generation, notes[i].taken ? 3 : 0);
        assert_int_equal(world.handshaker->associations[i].handshake != NULL, notes[i].taken);
        peer_close(&client.peer);
    }
}

static void unacceptable_fingerprints_fail(void **state)
{
    static const struct {
        enum fingerprint_algorithm algorithm;
        size_t bytes;
    } refused[] = {{FINGERPRINT_sha_1, 20},   {FINGERPRINT_sha_224, 28}, {FINGERPRINT_none, 0},
                   {FINGERPRINT_sha_256, 31}, {FINGERPRINT_sha_512, 32}, {FINGERPRINT_sha_256, 0},
                   {FINGERPRINT_sha_256, 32} /* a wrong one */};
    uint8_t fingerprint[64] = {1, 2, 3};

    handshaker_start();
    for (uint32_t i = 0; i < COUNT(refused); i++) {
        struct client client;

        client_open(&client, i, 1, 0, false);
        transport_put(&client, DTLS_ROLE_server, refused[i].algorithm, fingerprint,
                      refused[i].bytes);
        peer_continue(&client.peer);
        client_run(&client);
        expect_row(&client, DTLS_STATE_failed, DTLS_FAILURE_fingerprint_mismatch);
        assert_true(client.noted_closed);
        assert_false(client.peer.connected);
        /* A transport has only one handshake: the right fingerprint is too late. */
        client_signal(&client, DTLS_ROLE_server);
        peer_continue(&client.peer);
        client_run(&client);
        expect_row(&client, DTLS_STATE_failed, DTLS_FAILURE_fingerprint_mismatch);
        assert_int_equal(world.handshaker->unfinished, 0);
        peer_close(&client.peer);
    }
}

/* Rows that a compromised control plane may write. */
static void hostile_rows_start_nothing(void **state)
{
    struct client client;
    struct transport_row *shared;
    struct key_row row;
    static const struct {
        size_t offset;
        uint8_t value;
    } fields[] = {
        {offsetof(struct transport_row, worker), 200},
        {offsetof(struct transport_row, worker) + 3, 1},
        {offsetof(struct transport_row, dtls_role), 3},
        {offsetof(struct transport_row, fingerprint_algorithm), 6},
        {offsetof(struct transport_row, fingerprint_bytes), 65},
        {offsetof(struct transport_row, header.used), 2},
        {offsetof(struct transport_row, header.sequence), 1}, /* torn */
    };

    handshaker_start();
    for (size_t i = 0; i < COUNT(fields); i++) {
        client_open(&client, 4, 10 + (uint32_t)i, 0, false);
        client_signal(&client, DTLS_ROLE_server);
        shared = (struct transport_row *)region_row(&world.desired, TABLE_transport, 4);
        ((uint8_t *)shared)[fields[i].offset] = fields[i].value;
        peer_continue(&client.peer);
        client_run(&client);
        assert_int_equal(key_row(&client, &row), ROW_FREE);
        assert_false(client.peer.connected);
        peer_close(&client.peer);
    }
}

static void late_client_role_starts_a_handshake(void **state)
{
    struct client client;
    static const uint8_t none[1];

    handshaker_start();
    client_open(&client, 100, 1, 2, true);
    transport_put(&client, DTLS_ROLE_unset, FINGERPRINT_none, none, 0);
    note_put(2, client.handle, DTLS_NOTE_validated, NULL, 0);
    turns(5);
    forward(&client);
    assert_int_equal(world.datagrams, 0);
    client_signal(&client, DTLS_ROLE_client); /* the sweep finds it within 2.6 s */
    for (unsigned i = 0; i < 2700 && !client.peer.connected; i++) {
        turns(1);
        forward(&client);
    }
    client_run(&client);
    expect_row(&client, DTLS_STATE_connected, DTLS_FAILURE_none);
    keys_agree(&client, false);
    peer_close(&client.peer);
}

static void closed_note_wipes_the_keys(void **state)
{
    struct client client;

    handshaker_start();
    client_connect(&client, 20, 1, 1);
    note_put(0, client.handle, DTLS_NOTE_closed, NULL, 0); /* it belongs to another worker */
    note_put(1, handle_make(20, 2), DTLS_NOTE_closed, NULL, 0);
    client_run(&client);
    expect_row(&client, DTLS_STATE_connected, DTLS_FAILURE_none);
    transport_remove(&client);
    note_put(1, client.handle, DTLS_NOTE_closed, NULL, 0);
    client_run(&client);
    expect_wiped(&client);
    assert_null(world.handshaker->associations[20].handshake);
    peer_close(&client.peer);
}

/* When the note `closed` is lost, the sweep wipes the keys, or the next transport with that
 * index. */
static void removed_transport_is_wiped(void **state)
{
    struct client client, next;

    handshaker_start();
    client_connect(&client, 30, 1, 0);
    transport_remove(&client);
    turns(2700);
    expect_wiped(&client);
    peer_close(&client.peer);
    client_connect(&client, 30, 2, 0);
    client_open(&next, 30, 3, 2, false);
    client_signal(&next, DTLS_ROLE_server);
    note_put(2, next.handle, DTLS_NOTE_validated, NULL, 0);
    turns(2);
    expect_wiped(&next);
    peer_continue(&next.peer);
    client_run(&next);
    expect_row(&next, DTLS_STATE_connected, DTLS_FAILURE_none);
    peer_close(&client.peer);
    peer_close(&next.peer);
}

/* When too many handshakes are kept, those that finished long ago are freed. Their keys stay, and
 * later datagrams of such a peer change nothing. */
static void old_handshakes_are_freed(void **state)
{
    struct client clients[4];
    struct handshaker *h;

    handshaker_start();
    h = world.handshaker;
    h->config.handshakes_kept_max = 2;
    for (uint32_t i = 0; i < 4; i++)
        client_connect(&clients[i], 40 + i, 1, 0);
    assert_int_equal(h->kept, 4);
    turns(2700);
    assert_int_equal(h->kept, 4); /* too young */
    world.now_ns += HANDSHAKE_KEEP_NS;
    turns(2700);
    assert_int_equal(h->kept, 2);
    for (uint32_t i = 0; i < 4; i++) {
        expect_row(&clients[i], DTLS_STATE_connected, DTLS_FAILURE_none);
        SSL_shutdown(clients[i].peer.ssl);
        client_run(&clients[i]);
    }
    for (uint32_t i = 0, connected = 0; i < 4; i++) {
        connected += h->associations[40 + i].state == DTLS_STATE_connected;
        assert_true(i < 3 || connected == 2); /* those that still receive close_notify are closed */
        transport_remove(&clients[i]);
        peer_close(&clients[i].peer);
    }
    turns(2700);
    for (uint32_t i = 0; i < 4; i++)
        expect_wiped(&clients[i]);
    assert_int_equal(h->kept, 0);
}

static void close_notify_closes(void **state)
{
    struct client client;

    handshaker_start();
    client_connect(&client, 40, 1, 0);
    SSL_shutdown(client.peer.ssl);
    client_run(&client);
    expect_row(&client, DTLS_STATE_closed, DTLS_FAILURE_none);
    assert_true(client.noted_closed);
    assert_null(world.handshaker->associations[40].handshake);
    peer_close(&client.peer);
}

static void handshake_fails_at_its_deadline(void **state)
{
    struct client client;

    handshaker_start();
    client_open(&client, 50, 1, 0, false);
    client_signal(&client, DTLS_ROLE_server);
    peer_continue(&client.peer);
    turns(2);
    expect_row(&client, DTLS_STATE_connecting, DTLS_FAILURE_none);
    world.now_ns += 29 * NS_PER_S;
    turns(20);
    expect_row(&client, DTLS_STATE_connecting, DTLS_FAILURE_none);
    world.now_ns += NS_PER_S;
    turns(20);
    expect_row(&client, DTLS_STATE_failed, DTLS_FAILURE_timeout);
    forward(NULL);
    assert_true(world.closed_notes == 1);
    assert_int_equal(world.handshaker->unfinished, 0);
    peer_close(&client.peer);
}

/* When the ring of a worker is full, the worker gets its note later. */
static void full_ring_only_delays(void **state)
{
    struct client client;

    handshaker_start();
    client_open(&client, 60, 1, 0, false);
    client_signal(&client, DTLS_ROLE_server);
    for (unsigned i = 0; i < DTLS_RING_ENTRIES; i++) { /* nobody reads them */
        struct ring_datagram *entry = ring_reserve(&world.handshaker->to_worker[0]);

        memset(entry, 0, sizeof(*entry));
        ring_publish(&world.handshaker->to_worker[0]);
    }
    peer_continue(&client.peer);
    turns(50);
    assert_int_equal(world.handshaker->unsent_notes, 1);
    forward(NULL); /* empties the ring */
    turns(20);
    forward(&client);
    assert_int_equal(world.handshaker->unsent_notes, 0);
    assert_true(client.noted_keys);
    peer_close(&client.peer);
}

static void unfinished_handshakes_are_limited(void **state)
{
    uint8_t record[HELLO_BYTES_MAX];
    size_t bytes = hello_whole(record, 0);
    struct client client;

    handshaker_start();
    client_open(&client, 0, 1, 0, false);
    for (uint32_t i = 0; i <= HANDSHAKES_MAX; i++) {
        client.handle = handle_make(i, 1);
        client_signal(&client, DTLS_ROLE_server);
        from_peer(&client, record, bytes);
        turns(1);
        forward(NULL);
    }
    assert_int_equal(world.handshaker->unfinished, HANDSHAKES_MAX);
    assert_int_equal(world.handshaker->associations[HANDSHAKES_MAX].state, DTLS_STATE_new);
    from_peer(&client, record, bytes);
    turns(1);
    assert_int_equal(world.handshaker->associations[HANDSHAKES_MAX].state, DTLS_STATE_new);
    world.now_ns += HANDSHAKE_YIELD_MS * NS_PER_MS;
    from_peer(&client, record, bytes);
    turns(1);
    assert_int_equal(world.handshaker->associations[HANDSHAKES_MAX].state, DTLS_STATE_connecting);
    assert_int_equal(world.handshaker->unfinished, HANDSHAKES_MAX);
    client.handle = handle_make(0, 1);
    expect_row(&client, DTLS_STATE_failed, DTLS_FAILURE_timeout);
    peer_close(&client.peer);
}

/* When one worker floods its ring, another worker waits for one turn, not for the whole ring. */
static void workers_are_served_in_turn(void **state)
{
    struct client other;

    handshaker_start();
    while (note_put(0, handle_make(1, 1), DTLS_NOTE_validated, NULL, 0))
        continue;
    client_open(&other, 70, 1, 2, false);
    client_signal(&other, DTLS_ROLE_server);
    peer_continue(&other.peer);
    assert_true(handshaker_turn(world.handshaker)); /* there are more notes */
    expect_row(&other, DTLS_STATE_connecting, DTLS_FAILURE_none);
    forward(&other);
    assert_int_equal(world.datagrams, 1);
    assert_non_null(ring_peek(&world.handshaker->from_worker[0]));
    peer_close(&other.peer);
}

static void damaged_ring_is_skipped(void **state)
{
    struct client client;

    handshaker_start();
    atomic_fetch_add(&world.resume.header->heads[0].published, 100000);
    turns(30);
    client_connect(&client, 71, 1, 0);
    peer_close(&client.peer);
}

static void heartbeats_continue(void **state)
{
    struct region_header *header = world.keys_seen.header;
    uint64_t before;

    handshaker_start();
    assert_int_equal(header->writer_pid, getpid());
    assert_int_equal(header->writer_starts, 1);
    before = region_heartbeat(header);
    turns(REGION_HEARTBEAT_NS / NS_PER_MS - 1);
    assert_true(region_heartbeat(header) == before);
    turns(2);
    assert_true(region_heartbeat(header) >= before + REGION_HEARTBEAT_NS);
    handshaker_start();
    assert_int_equal(header->writer_starts, 2);
}

/* ---- after a restart ---- */

static void successor_takes_rows_over(void **state)
{
    struct client connected, connecting, gone, torn;
    struct key_row before, after;
    struct identity_row identity, kept;
    struct row_header *row;

    handshaker_start();
    client_connect(&connected, 80, 1, 0);
    client_connect(&gone, 81, 1, 1);
    client_connect(&torn, 82, 1, 2);
    client_open(&connecting, 83, 5, 1, false);
    client_signal(&connecting, DTLS_ROLE_server);
    peer_continue(&connecting.peer);
    turns(1);
    assert_int_equal(key_row(&connected, &before), ROW_OK);
    row_copy(TABLE_identity, &identity, region_row(&world.keys_seen, TABLE_identity, 0), 0);
    transport_remove(&gone);
    row = region_row(&world.keys, TABLE_key, 82);
    atomic_fetch_or(&row->sequence, 1); /* the writer died while it wrote */
    row = region_row(&world.keys, TABLE_identity, 0);
    atomic_fetch_or(&row->sequence, 1);
    forward(NULL);
    world.closed_notes = 0;

    handshaker_start();
    assert_int_equal(
        row_copy(TABLE_identity, &kept, region_row(&world.keys_seen, TABLE_identity, 0), 0),
        ROW_OK);
    assert_memory_equal(kept.certificate, identity.certificate, sizeof(kept.certificate));
    assert_memory_equal(kept.private_key, identity.private_key, sizeof(kept.private_key));
    assert_memory_equal(kept.fingerprint_sha_512, identity.fingerprint_sha_512, 64);
    assert_int_equal(key_row(&connected, &after), ROW_OK);
    assert_memory_equal(&before, &after,
                        sizeof(before)); /* the sequence, too: it was not written */
    expect_wiped(&gone);
    expect_row(&torn, DTLS_STATE_failed, DTLS_FAILURE_restarted);
    expect_row(&connecting, DTLS_STATE_failed, DTLS_FAILURE_restarted);
    forward(NULL);
    assert_int_equal(world.closed_notes, 2);

    /* Later datagrams for finished handshakes are dropped; removal still wipes. */
    SSL_shutdown(connected.peer.ssl);
    client_run(&connected);
    expect_row(&connected, DTLS_STATE_connected, DTLS_FAILURE_none);
    note_put(0, connected.handle, DTLS_NOTE_closed, NULL, 0);
    client_run(&connected);
    expect_wiped(&connected);
    peer_close(&connected.peer);
    peer_close(&gone.peer);
    peer_close(&torn.peer);
    peer_close(&connecting.peer);
    client_connect(&connected, 84, 1, 0);
    peer_close(&connected.peer);
}

static void damaged_identity_is_replaced(void **state)
{
    struct identity_row *shared, before, after;

    handshaker_start();
    shared = (struct identity_row *)region_row(&world.keys, TABLE_identity, 0);
    row_copy(TABLE_identity, &before, &shared->header, 0);
    shared->certificate[40] ^= 1;
    handshaker_start();
    assert_int_equal(row_copy(TABLE_identity, &after, &shared->header, 0), ROW_OK);
    assert_memory_not_equal(before.fingerprint_sha_256, after.fingerprint_sha_256, 32);
    shared->certificate_bytes = IDENTITY_BYTES_MAX + 1;
    handshaker_start();
    assert_int_equal(row_copy(TABLE_identity, &before, &shared->header, 0), ROW_OK);
    assert_memory_not_equal(before.fingerprint_sha_256, after.fingerprint_sha_256, 32);
}

static uint32_t chance(uint32_t below)
{
    static uint64_t seed = 99;

    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

/* Random notes and rows do not disturb a later handshake. */
static void random_notes_do_no_harm(void **state)
{
    struct client client;

    handshaker_start();
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t data[1500];
        uint32_t bytes = chance(64) ? chance(200) : chance(5000);
        struct client any = {.handle = handle_make(chance(40), 1 + chance(3)),
                             .worker = chance(WORKERS)};

        for (unsigned n = 0; n < sizeof(data) && n < bytes; n++)
            data[n] = (uint8_t)chance(256);
        if (bytes > 30 && chance(2)) {
            memcpy(data, "\x16\xfe\xfd\0\0\0\0\0\0\0\0\0", 12);
            data[12] = (uint8_t)(bytes - 13);
        }
        if (chance(8) == 0)
            transport_put(&any, chance(3), chance(6), data, chance(65));
        if (chance(20) == 0)
            transport_remove(&any);
        if (chance(50) == 0)
            ((uint8_t *)region_row(&world.desired, TABLE_transport, chance(40)))[4 + chance(252)] =
                (uint8_t)chance(256);
        note_put(any.worker, any.handle, 1 + chance(5), data, bytes);
        turns(chance(3));
        if (chance(4) == 0)
            forward(NULL);
    }
    forward(NULL);
    client_connect(&client, 1000, 1, 1);
    keys_agree(&client, true);
    peer_close(&client.peer);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(handshake_through_rings),
        IN_WORLD(peers_see_the_published_identity),
        IN_WORLD(no_handshake_without_signaling),
        IN_WORLD(refused_notes_leave_associations_alone),
        IN_WORLD(unacceptable_fingerprints_fail),
        IN_WORLD(hostile_rows_start_nothing),
        IN_WORLD(late_client_role_starts_a_handshake),
        IN_WORLD(closed_note_wipes_the_keys),
        IN_WORLD(old_handshakes_are_freed),
        IN_WORLD(removed_transport_is_wiped),
        IN_WORLD(close_notify_closes),
        IN_WORLD(handshake_fails_at_its_deadline),
        IN_WORLD(full_ring_only_delays),
        IN_WORLD(unfinished_handshakes_are_limited),
        IN_WORLD(workers_are_served_in_turn),
        IN_WORLD(damaged_ring_is_skipped),
        IN_WORLD(heartbeats_continue),
        IN_WORLD(successor_takes_rows_over),
        IN_WORLD(damaged_identity_is_replaced),
        IN_WORLD(random_notes_do_no_harm),
    };

    log_open("handshaker_test", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
