/* The DTLS engine and hostile peers: what they cannot do, and how much memory they can use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "dtls_link.h"

static void renegotiation_is_refused(void **state)
{
    for (int role = SERVER; role <= CLIENT; role++) {
        struct link_settings settings = {(enum dtls_role)role, {V12, .profiles = GCM_128}};
        struct dtls_keys before, after;

        link_open(&link_, context, &settings);
        link_run(&link_, 5 * NS_PER_S);
        assert_true(dtls_export(link_.engine, &before));
        SSL_renegotiate(link_.peer.ssl);
        SSL_do_handshake(link_.peer.ssl);
        link_run(&link_, 5 * NS_PER_S);
        assert_int_not_equal(dtls_state(link_.engine), DTLS_STATE_connecting);
        if (dtls_export(link_.engine, &after))
            assert_memory_equal(&before, &after, sizeof(before));
        assert_false(SSL_in_init(link_.peer.ssl) && link_.peer.closed);
        link_close(&link_);
    }
}

static void sessions_are_not_resumed(void **state)
{
    struct link_settings settings = {SERVER, {V12}};
    SSL_SESSION *session;

    link_open(&link_, context, &settings);
    link_run(&link_, 5 * NS_PER_S);
    assert_true(link_.peer.connected);
    session = SSL_get1_session(link_.peer.ssl);
    assert_false(SSL_SESSION_has_ticket(session));
    link_close(&link_);
    settings.peer.resume = session;
    link_open(&link_, context, &settings);
    link_run(&link_, 5 * NS_PER_S);
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_connected);
    assert_false(SSL_session_reused(link_.peer.ssl));
    assert_true(link_keys_agree(&link_, SERVER));
    link_close(&link_);
    SSL_SESSION_free(session);
}

static void garbage_is_dropped_unread(void **state)
{
    struct link_settings settings = {SERVER, {V12}};
    uint8_t garbage[1600];

    link_open(&link_, context, &settings);
    for (unsigned i = 0; i < 3000; i++) {
        size_t bytes = link_random(&link_, sizeof(garbage));

        for (size_t n = 0; n < bytes; n++)
            garbage[n] = (uint8_t)link_random(&link_, 256);
        if (bytes && i % 2)
            garbage[0] = (uint8_t)(20 + link_random(&link_, 44));
        dtls_receive(link_.engine, virtual_ns, garbage, bytes);
    }
    assert_int_equal(link_.from_engine, 0);
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_connecting);
    link_run(&link_, 5 * NS_PER_S); /* the handshake still works */
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_connected);
    for (unsigned i = 0; i < 3000; i++) { /* records of epoch 1 that are not authentic */
        static const uint8_t header[13] = {23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 1, 0, 0, 0, 64};

        memcpy(garbage, header, sizeof(header));
        garbage[0] = (uint8_t)(20 + i % 4);
        for (size_t n = 13; n < 13 + 64; n++)
            garbage[n] = (uint8_t)link_random(&link_, 256);
        virtual_ns += 10 * NS_PER_MS;
        dtls_receive(link_.engine, virtual_ns, garbage, 13 + 64);
        dtls_receive(link_.engine, virtual_ns, chromium_client_hello_0, 1200);
    }
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_connected);
    assert_true(link_keys_agree(&link_, SERVER));
    link_close(&link_);
}

static size_t allocated; /* bytes that OpenSSL has allocated and not freed */

static void *count_malloc(size_t bytes, const char *file, int line)
{
    size_t *p = malloc(bytes + 16);

    if (!p)
        return NULL;
    *p = bytes;
    allocated += bytes;
    return p + 2;
}

static void count_free(void *pointer, const char *file, int line)
{
    size_t *p = pointer;

    if (!p)
        return;
    allocated -= p[-2];
    free(p - 2);
}

static void *count_realloc(void *pointer, size_t bytes, const char *file, int line)
{
    size_t *p = pointer;
    void *q;

    if (!p)
        return count_malloc(bytes, file, line);
    if (bytes == 0) {
        count_free(pointer, file, line);
        return NULL;
    }
    q = count_malloc(bytes, file, line);
    if (q) {
        memcpy(q, p, p[-2] < bytes ? p[-2] : bytes);
        count_free(pointer, file, line);
    }
    return q;
}

/* A datagram of 1200 bytes with a fragment of a message of which the rest never comes (RFC 6347
 * 4.2.2). OpenSSL expects message number 1 after the hello, and stores fragments of later ones. */
static void endless_fragment(uint8_t datagram[1200], unsigned epoch, uint32_t number,
                             uint32_t length_min)
{
    uint32_t message = 2 + link_random(&link_, 24);
    uint32_t length = length_min + message * 256, at = link_random(&link_, length - 1175);

    memset(datagram, 0, 1200);
    datagram[0] = 22;
    datagram[1] = 0xfe, datagram[2] = 0xfd;
    datagram[4] = (uint8_t)epoch;
    datagram[8] = (uint8_t)(number >> 16), datagram[9] = (uint8_t)(number >> 8);
    datagram[10] = (uint8_t)number;
    datagram[11] = (1200 - 13) >> 8, datagram[12] = (1200 - 13) & 0xff;
    datagram[13] = 11; /* certificate */
    datagram[15] = (uint8_t)(length >> 8), datagram[16] = (uint8_t)length;
    datagram[18] = (uint8_t)message;
    datagram[20] = (uint8_t)(at >> 8), datagram[21] = (uint8_t)at;
    datagram[23] = (1200 - 25) >> 8, datagram[24] = (1200 - 25) & 0xff;
}

/* A peer sends all that makes us store something, as fast as we read it: fragments of messages that
 * never become complete, encrypted records that we cannot decrypt yet, and both. */
static void memory_is_bounded(void **state)
{
    struct link_settings settings = {SERVER, {V12}};
    size_t before, worst[4] = {0}, connected;
    uint8_t datagram[1200];

    for (unsigned mix = 0; mix < 4; mix++) {
        link_open(&link_, context, &settings);
        memset(link_.datagrams, 0, sizeof(link_.datagrams));
        before = allocated;
        hello_flight(false, false);
        for (uint32_t i = 0; i < 4000; i++) {
            endless_fragment(datagram, mix == 1 || (mix == 2 && i % 2), i + 8,
                             mix == 3 ? DTLS_MESSAGE_BYTES_MAX : 1500);
            virtual_ns += 6 * NS_PER_MS;
            dtls_receive(link_.engine, virtual_ns, datagram, sizeof(datagram));
            dtls_tick(link_.engine, virtual_ns);
            if (allocated > before && allocated - before > worst[mix])
                worst[mix] = allocated - before;
            if (dtls_state(link_.engine) != DTLS_STATE_connecting)
                fail_msg("mix %u, datagram %u: %s (%d)", mix, i, dtls_reason(link_.engine),
                         dtls_failure(link_.engine));
        }
        assert_int_equal(dtls_state(link_.engine), DTLS_STATE_connecting);
        link_close(&link_);
    }
    link_open(&link_, context, &settings);
    link_run(&link_, 5 * NS_PER_S);
    connected = allocated;
    dtls_free(link_.engine);
    connected -= allocated;
    link_.engine = NULL;
    peer_close(&link_.peer);
    print_message("bytes of one association: under attack %zu, %zu, %zu, %zu, connected %zu\n",
                  worst[0], worst[1], worst[2], worst[3], connected);
    for (unsigned mix = 0; mix < 3; mix++) /* the lower bound shows that the attack worked */
        assert_in_range(worst[mix], 60 * 1024, 256 * 1024);
    assert_true(worst[3] < worst[0] - 16 * 1024); /* messages that are too long are not stored */
    assert_true(connected < 48 * 1024);
}

/* A fragment that ends outside its message would make OpenSSL 3.0 end the handshake, and anybody
 * can send one. */
static void bad_fragments_are_dropped(void **state)
{
    struct link_settings settings = {SERVER, {V12}};
    static const struct {
        uint8_t length, offset, fragment;
    } bad[] = {{0, 0, 25}, {24, 0, 25}, {255, 231, 25}, {25, 1, 25}, {255, 255, 25}, {9, 0, 26}};

    link_open(&link_, context, &settings);
    memset(link_.datagrams, 0, sizeof(link_.datagrams));
    hello_flight(false, false);
    for (size_t i = 0; i < COUNT(bad); i++)
        for (uint8_t number = 1; number < 4; number++) {
            uint8_t datagram[13 + 12 + 25] = {22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 37, 11};

            datagram[16] = bad[i].length;
            datagram[18] = number;
            datagram[21] = bad[i].offset;
            datagram[24] = bad[i].fragment;
            dtls_receive(link_.engine, virtual_ns, datagram, sizeof(datagram));
            assert_int_equal(dtls_state(link_.engine), DTLS_STATE_connecting);
        }
    link_close(&link_);
}

static void rate_is_limited(void **state)
{
    struct link_settings settings = {SERVER, {V12}};
    unsigned answered;

    link_open(&link_, context, &settings);
    link_run(&link_, 5 * NS_PER_S);
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_connected);
    link_.loss = 100;
    link_.from_engine = 0;
    /* During a flood, a close_notify of the peer is not read. */
    for (unsigned i = 0; i < DTLS_RATE_BURST * 10; i++) {
        uint8_t record[14] = {23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, (uint8_t)i, 0, 1};

        dtls_receive(link_.engine, virtual_ns, record, sizeof(record));
    }
    link_.loss = 0;
    SSL_shutdown(link_.peer.ssl);
    for (unsigned i = 0; i < LINK_DATAGRAMS; i++)
        if (link_.datagrams[i].bytes)
            dtls_receive(link_.engine, virtual_ns, link_.datagrams[i].data,
                         link_.datagrams[i].bytes);
    answered = link_.from_engine;
    assert_int_equal(answered, 0);
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_connected);
    link_run(&link_, NS_PER_S); /* some time later the same datagram is read */
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_closed);
    link_close(&link_);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renegotiation_is_refused),  cmocka_unit_test(sessions_are_not_resumed),
        cmocka_unit_test(garbage_is_dropped_unread), cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(bad_fragments_are_dropped), cmocka_unit_test(rate_is_limited),
    };

    CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free);
    return cmocka_run_group_tests(tests, link_set_up, link_tear_down);
}
