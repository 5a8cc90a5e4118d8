/* Threat D5: the first datagrams of a peer, or of somebody with its address. Only a ClientHello
 * begins a handshake; after anything else the client still connects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include "world.h"
#include "src/log.h"
#include "tests/unit/dataplane/engines/hello_build.h"

/* Nothing was sent, nothing was written, and no memory is held. */
static void expect_untouched(const struct client *client, const char *name)
{
    const struct association *association =
        &world.handshaker->associations[handle_index(client->handle)];
    struct key_row row;

    if (key_row(client, &row) != ROW_FREE || association->state != DTLS_STATE_new ||
        association->handshake || world.handshaker->kept > 0 || world.datagrams > 0 ||
        world.keys_notes > 0 || world.closed_notes > 0)
        fail_msg("%s changed the transport", name);
}

static void bad_first_datagrams_leave_the_transport_alone(void **state)
{
    unsigned shapes = 0;

    handshaker_start();
    for (;; shapes++) {
        uint8_t datagram[HELLO_BYTES_MAX];
        struct client client;
        const char *name;
        size_t bytes = bad_first(shapes, datagram, &name);

        if (bytes == 0)
            break;
        world.keys_notes = world.closed_notes = world.datagrams = 0;
        client_open(&client, shapes, 1, 0, false);
        client_signal(&client, DTLS_ROLE_server);
        for (unsigned times = 0; times < 3; times++) {
            from_peer(&client, datagram, bytes);
            turns(1);
            forward(&client);
            expect_untouched(&client, name);
        }
        peer_continue(&client.peer); /* the honest client */
        client_run(&client);
        expect_row(&client, DTLS_STATE_connected, DTLS_FAILURE_none);
        keys_agree(&client, true);
        note_put(0, client.handle, DTLS_NOTE_closed, NULL, 0);
        client_run(&client);
        peer_close(&client.peer);
    }
    print_message("%u kinds of bad first datagrams: no transport changed, all connected\n", shapes);
}

/* Also those that OpenSSL sends in fragments. */
static void every_hello_of_a_client_begins_the_handshake(void **state)
{
    static const struct {
        int mtu;
    } clients[] = {{1200}, {300}, {256}};

    handshaker_start();
    for (uint32_t i = 0; i < COUNT(clients); i++) {
        struct peer_settings settings = {
            .version_min = DTLS1_2_VERSION, .version_max = DTLS1_2_VERSION, .mtu = clients[i].mtu};
        struct client client;

        client_open_as(&client, i, 1, 0, &settings);
        client_signal(&client, DTLS_ROLE_server);
        peer_continue(&client.peer);
        client_run(&client);
        expect_row(&client, DTLS_STATE_connected, DTLS_FAILURE_none);
        keys_agree(&client, true);
        peer_close(&client.peer);
    }
}

static void give_hello(struct client *client, uint16_t sequence, const uint8_t *body, size_t bytes,
                       size_t offset, size_t count)
{
    uint8_t datagram[HELLO_BYTES_MAX];

    from_peer(client, datagram, hello_fragment(datagram, 1, sequence, body, bytes, offset, count));
    turns(1);
    forward(NULL);
}

/* A ClientHello that offers DTLS 1.3 too, in two datagrams, in both orders, the first part lost
 * once, and all of it again after it has begun the handshake. */
static void long_hello_in_fragments_begins_the_handshake(void **state)
{
    uint8_t body[HELLO_BYTES_MAX];
    size_t bytes = hello_body(body, true), half = bytes / 2;

    handshaker_start();
    for (uint32_t i = 0; i < 3; i++) {
        struct client client;

        client_open(&client, i, 1, 0, false);
        client_signal(&client, DTLS_ROLE_server);
        if (i == 1)
            give_hello(&client, 2, body, bytes, half, bytes - half);
        if (i < 2)
            give_hello(&client, 1, body, bytes, 0, half);
        if (i != 1)
            give_hello(&client, 2, body, bytes, half, bytes - half);
        if (i == 2)
            give_hello(&client, 3, body, bytes, 0, half);
        expect_row(&client, DTLS_STATE_connecting, DTLS_FAILURE_none);
        assert_true(world.datagrams > 0);
        give_hello(&client, 5, body, bytes, 0, half);
        give_hello(&client, 6, body, bytes, half, bytes - half);
        expect_row(&client, DTLS_STATE_connecting, DTLS_FAILURE_none);
        peer_close(&client.peer);
    }
    assert_int_equal(world.handshaker->unfinished, 3);
}

/* Many clients send only a part: their memory is bounded, and it keeps nobody out. */
static void parts_of_hellos_keep_nobody_out(void **state)
{
    uint8_t body[HELLO_BYTES_MAX];
    size_t bytes = hello_body(body, true), half = bytes / 2;
    struct client client;

    handshaker_start();
    for (uint32_t i = 0; i < 3 * HELLOS_MAX; i++) {
        client_open(&client, 100 + i, 1, 0, false);
        client_signal(&client, DTLS_ROLE_server);
        give_hello(&client, 1, body, bytes, 0, half);
        peer_close(&client.peer);
    }
    client_open(&client, 1, 1, 0, false);
    client_signal(&client, DTLS_ROLE_server);
    give_hello(&client, 1, body, bytes, 0, half);
    for (uint32_t i = 0; i < HELLOS_MAX - 1; i++) {
        struct client other = {.handle = handle_make(100 + i, 1)};

        give_hello(&other, 1, body, bytes, 0, half);
    }
    give_hello(&client, 2, body, bytes, half, bytes - half);
    expect_row(&client, DTLS_STATE_connecting, DTLS_FAILURE_none);
    assert_int_equal(world.handshaker->unfinished, 1);
    peer_close(&client.peer);
}

/* A client whose ClientHellos all fail costs at most STARTS_PER_S tries a second, and not those of
 * another client. */
static void failing_starts_are_limited(void **state)
{
    uint8_t bad[HELLO_BYTES_MAX];
    const char *name;
    size_t bytes = bad_first(10, bad, &name);
    struct client hostile, honest;
    uint64_t tried_ns;

    handshaker_start();
    client_open(&hostile, 1, 1, 0, false);
    client_signal(&hostile, DTLS_ROLE_server);
    for (unsigned i = 0; i < 100; i++) {
        from_peer(&hostile, bad, bytes);
        turns(1);
    }
    tried_ns = world.handshaker->associations[1].starts_ns - world.now_ns;
    assert_in_range(tried_ns, (STARTS_BURST - 2) * NS_PER_S / STARTS_PER_S,
                    STARTS_BURST * NS_PER_S / STARTS_PER_S);
    peer_continue(&hostile.peer); /* too soon: it is not read */
    turns(1);
    forward(NULL);
    expect_untouched(&hostile, "a ClientHello over the limit");
    client_connect(&honest, 2, 1, 0);
    world.now_ns += NS_PER_S;
    peer_close(&hostile.peer);
    client_open(&hostile, 1, 1, 0, false);
    client_signal(&hostile, DTLS_ROLE_server);
    peer_continue(&hostile.peer); /* later it is read */
    client_run(&hostile);
    expect_row(&hostile, DTLS_STATE_connected, DTLS_FAILURE_none);
    peer_close(&hostile.peer);
    peer_close(&honest.peer);
}

/* As DTLS client we send first. What comes instead of a ServerHello changes nothing. */
static void bad_first_answers_leave_the_transport_alone(void **state)
{
    unsigned shapes = 0;

    handshaker_start();
    for (;; shapes++) {
        uint8_t datagram[HELLO_BYTES_MAX];
        struct client client;
        const char *name;
        size_t bytes = bad_first(shapes, datagram, &name);

        if (bytes == 0)
            break;
        if (shapes == 4) /* a ServerHello is what we wait for, and this one is none */
            continue;
        client_open(&client, shapes, 1, 0, true);
        client_signal(&client, DTLS_ROLE_client);
        note_put(0, client.handle, DTLS_NOTE_validated, NULL, 0);
        turns(1);
        from_peer(&client, datagram, bytes);
        turns(1);
        expect_row(&client, DTLS_STATE_connecting, DTLS_FAILURE_none);
        client_run(&client);
        if (!client.peer.connected)
            fail_msg("no handshake after %s", name);
        expect_row(&client, DTLS_STATE_connected, DTLS_FAILURE_none);
        peer_close(&client.peer);
    }
}

/* An alert that nobody has authenticated ends no handshake that goes on. If it was true and the
 * client is gone, we do not wait for the whole deadline. */
static void plaintext_alert_ends_no_handshake(void **state)
{
    uint8_t alert[HELLO_BYTES_MAX];
    const char *name;
    size_t bytes = bad_first(0, alert, &name);
    struct client client;

    handshaker_start();
    client_open(&client, 1, 1, 0, false);
    client_signal(&client, DTLS_ROLE_server);
    peer_continue(&client.peer);
    turns(1);
    expect_row(&client, DTLS_STATE_connecting, DTLS_FAILURE_none);
    from_peer(&client, alert, bytes);
    turns(1);
    expect_row(&client, DTLS_STATE_connecting, DTLS_FAILURE_none);
    client_run(&client);
    expect_row(&client, DTLS_STATE_connected, DTLS_FAILURE_none);
    peer_close(&client.peer);

    client_open(&client, 2, 1, 0, false);
    client_signal(&client, DTLS_ROLE_server);
    peer_continue(&client.peer);
    turns(1);
    from_peer(&client, alert, bytes);
    turns(1);
    world.now_ns += 3 * NS_PER_S;
    turns(20);
    expect_row(&client, DTLS_STATE_failed, DTLS_FAILURE_protocol);
    peer_close(&client.peer);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(bad_first_datagrams_leave_the_transport_alone),
        IN_WORLD(every_hello_of_a_client_begins_the_handshake),
        IN_WORLD(long_hello_in_fragments_begins_the_handshake),
        IN_WORLD(parts_of_hellos_keep_nobody_out),
        IN_WORLD(failing_starts_are_limited),
        IN_WORLD(bad_first_answers_leave_the_transport_alone),
        IN_WORLD(plaintext_alert_ends_no_handshake),
    };

    log_open("first_datagram_test", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
