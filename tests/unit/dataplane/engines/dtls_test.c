/* The DTLS engine and a peer on OpenSSL, over good and bad networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "dtls_link.h"

#define AES128_CM "SRTP_AES128_CM_SHA1_80"
#define GCM_256 "SRTP_AEAD_AES_256_GCM"

/* ---- which peers are accepted ---- */

static const struct {
    const char *what;
    struct link_settings settings;
    enum dtls_state state;
    enum dtls_failure failure;
    enum srtp_profile profile;
} peers[] = {
#define GOOD(profile) DTLS_STATE_connected, DTLS_FAILURE_none, SRTP_PROFILE_##profile
#define BAD(failure) DTLS_STATE_failed, DTLS_FAILURE_##failure, SRTP_PROFILE_none
    {"all profiles", {SERVER, {V12}}, GOOD(aead_aes_128_gcm)},
    {"all, in the opposite order",
     {SERVER, {V12, .profiles = AES128_CM ":" GCM_256 ":" GCM_128}},
     GOOD(aead_aes_128_gcm)},
    {"GCM-256 before CM",
     {SERVER, {V12, .profiles = AES128_CM ":" GCM_256}},
     GOOD(aead_aes_256_gcm)},
    {"CM alone", {SERVER, {V12, .profiles = AES128_CM}}, GOOD(aes128_cm_sha1_80)},
    {"CM with 32-bit tag alone",
     {SERVER, {V12, .profiles = "SRTP_AES128_CM_SHA1_32"}},
     BAD(no_srtp_profile)},
    {"no use_srtp", {SERVER, {V12, .profiles = ""}}, BAD(no_srtp_profile)},
    {"as client, all", {CLIENT, {V12}}, GOOD(aes128_cm_sha1_80)}, /* the server chooses */
    {"as client, 128", {CLIENT, {V12, .profiles = GCM_128}}, GOOD(aead_aes_128_gcm)},
    {"as client, 256", {CLIENT, {V12, .profiles = GCM_256}}, GOOD(aead_aes_256_gcm)},
    {"as client, CM", {CLIENT, {V12, .profiles = AES128_CM}}, GOOD(aes128_cm_sha1_80)},
    {"as client, no use_srtp", {CLIENT, {V12, .profiles = ""}}, BAD(no_srtp_profile)},
    {"RSA peer", {SERVER, {V12, .certificate = PEER_RSA}}, GOOD(aead_aes_128_gcm)},
    {"as client, RSA",
     {CLIENT, {V12, .certificate = PEER_RSA, .profiles = GCM_128}},
     GOOD(aead_aes_128_gcm)},
    {"RSA-1024 peer", {SERVER, {V12, .certificate = PEER_RSA_1024}}, BAD(fingerprint_mismatch)},
    {"sha-384", {SERVER, {V12}, FINGERPRINT_sha_384}, GOOD(aead_aes_128_gcm)},
    {"sha-512", {SERVER, {V12}, FINGERPRINT_sha_512}, GOOD(aead_aes_128_gcm)},
    {"wrong sha-256", {SERVER, {V12}, .wrong_fingerprint = true}, BAD(fingerprint_mismatch)},
    {"wrong sha-384",
     {SERVER, {V12}, FINGERPRINT_sha_384, .wrong_fingerprint = true},
     BAD(fingerprint_mismatch)},
    {"wrong sha-512",
     {SERVER, {V12}, FINGERPRINT_sha_512, .wrong_fingerprint = true},
     BAD(fingerprint_mismatch)},
    {"as client, wrong", {CLIENT, {V12}, .wrong_fingerprint = true}, BAD(fingerprint_mismatch)},
    {"no certificate", {SERVER, {V12, .certificate = PEER_NO_CERTIFICATE}}, BAD(no_certificate)},
    {"up to DTLS 1.2",
     {SERVER, {.version_min = DTLS1_VERSION, .version_max = DTLS1_2_VERSION}},
     GOOD(aead_aes_128_gcm)},
    {"DTLS 1.0",
     {SERVER, {.version_min = DTLS1_VERSION, .version_max = DTLS1_VERSION}},
     BAD(protocol)},
    {"as client, DTLS 1.0",
     {CLIENT, {.version_min = DTLS1_VERSION, .version_max = DTLS1_VERSION}},
     BAD(protocol)},
#define ONLY(list) .ciphers = list "@SECLEVEL=0"
    {"AES-256-GCM",
     {SERVER, {V12, ONLY("ECDHE-ECDSA-AES256-GCM-SHA384:")}},
     GOOD(aead_aes_128_gcm)},
    {"ChaCha20", {SERVER, {V12, ONLY("ECDHE-ECDSA-CHACHA20-POLY1305:")}}, GOOD(aead_aes_128_gcm)},
    {"CBC",
     {SERVER, {V12, ONLY("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256:")}},
     BAD(protocol)},
    {"CCM",
     {SERVER, {V12, ONLY("ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-CCM:")}},
     BAD(protocol)},
    {"NULL", {SERVER, {V12, ONLY("ECDHE-ECDSA-NULL-SHA:eNULL:")}}, BAD(protocol)},
    {"anonymous",
     {SERVER, {V12, ONLY("AECDH-AES128-SHA:ADH-AES128-GCM-SHA256:aNULL:")}},
     BAD(protocol)},
    {"no forward secrecy", {SERVER, {V12, ONLY("AES128-GCM-SHA256:")}}, BAD(protocol)},
    {"finite-field", {SERVER, {V12, ONLY("DHE-RSA-AES128-GCM-SHA256:")}}, BAD(protocol)},
    {"PSK", {SERVER, {V12, ONLY("PSK-AES128-GCM-SHA256:")}}, BAD(protocol)},
    {"as client, CBC", {CLIENT, {V12, ONLY("ECDHE-ECDSA-AES128-SHA:")}}, BAD(protocol)},
    {"as client, NULL", {CLIENT, {V12, ONLY("ECDHE-ECDSA-NULL-SHA:")}}, BAD(protocol)},
    {"fragments of 260 bytes", {SERVER, {V12, .mtu = 260}}, GOOD(aead_aes_128_gcm)},
    {"as client, fragments",
     {CLIENT, {V12, .mtu = 260, .profiles = GCM_128}},
     GOOD(aead_aes_128_gcm)},
    {"RSA in fragments",
     {SERVER, {V12, .mtu = 300, .certificate = PEER_RSA}},
     GOOD(aead_aes_128_gcm)},
};

static void peers_are_accepted_or_refused(void **state)
{
    for (size_t i = 0; i < COUNT(peers); i++) {
        struct dtls_keys keys, zero = {0};
        bool good = peers[i].state == DTLS_STATE_connected;

        link_open(&link_, context, &peers[i].settings);
        link_run(&link_, 40 * NS_PER_S);
        if (dtls_state(link_.engine) != peers[i].state ||
            dtls_failure(link_.engine) != peers[i].failure)
            fail_msg("%s: state %d, failure %d, %s", peers[i].what, dtls_state(link_.engine),
                     dtls_failure(link_.engine), dtls_reason(link_.engine));
        assert_int_equal(dtls_export(link_.engine, &keys), good);
        assert_int_equal(keys.profile, peers[i].profile);
        if (good && !link_keys_agree(&link_, peers[i].settings.role))
            fail_msg("%s: keys differ", peers[i].what);
        if (!good && memcmp(&keys, &zero, sizeof(keys)) != 0)
            fail_msg("%s: keys of a failed handshake", peers[i].what);
        if (link_.largest_from_engine > DTLS_MTU_BYTES)
            fail_msg("%s: sent %zu bytes", peers[i].what, link_.largest_from_engine);
        link_close(&link_);
    }
}

/* Both ends know at once that the handshake has failed; nobody waits for the deadline. */
static void both_ends_know_of_a_failure_at_once(void **state)
{
    static const struct link_settings refused[] = {
        {SERVER, {V12}, .wrong_fingerprint = true},
        {CLIENT, {V12}, .wrong_fingerprint = true},
        {SERVER, {V12, .certificate = PEER_NO_CERTIFICATE}},
    };

    for (size_t i = 0; i < COUNT(refused); i++) {
        uint64_t start_ns = virtual_ns;

        link_open(&link_, context, &refused[i]);
        link_run(&link_, 5 * NS_PER_S);
        assert_int_equal(dtls_state(link_.engine), DTLS_STATE_failed);
        assert_true(link_.peer.failed);
        assert_true(virtual_ns - start_ns < 3 * NS_PER_S);
        link_close(&link_);
    }
}

/* A ClientHello that we cannot accept gets no answer: it may have come from somebody else (threat
 * D5). The alert of a server that cannot accept ours counts after three seconds. */
static void refused_hello_gets_no_answer(void **state)
{
    struct link_settings server = {SERVER, {V12, ONLY("ECDHE-ECDSA-AES128-SHA:")}};
    struct link_settings client = {CLIENT, {V12, ONLY("ECDHE-ECDSA-AES128-SHA:")}};
    uint64_t start_ns;

    link_open(&link_, context, &server);
    link_run(&link_, 5 * NS_PER_S);
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_failed);
    assert_int_equal(link_.from_engine, 0);
    assert_false(link_.peer.failed);
    link_close(&link_);

    start_ns = virtual_ns;
    link_open(&link_, context, &client);
    link_run(&link_, 5 * NS_PER_S);
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_failed);
    assert_int_equal(dtls_failure(link_.engine), DTLS_FAILURE_protocol);
    assert_true(link_.peer.failed);
    assert_true(virtual_ns - start_ns < 5 * NS_PER_S);
    link_close(&link_);
}

static void fingerprint_must_fit_its_algorithm(void **state)
{
    uint8_t fingerprint[64] = {0};
    static const struct {
        enum fingerprint_algorithm algorithm;
        size_t bytes;
        bool good;
    } rows[] = {
        {FINGERPRINT_sha_256, 32, true},  {FINGERPRINT_sha_384, 48, true},
        {FINGERPRINT_sha_512, 64, true},  {FINGERPRINT_sha_1, 20, false},
        {FINGERPRINT_sha_224, 28, false}, {FINGERPRINT_none, 0, false},
        {FINGERPRINT_sha_256, 31, false}, {FINGERPRINT_sha_256, 64, false},
        {FINGERPRINT_sha_256, 0, false},  {FINGERPRINT_sha_512, 32, false},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct dtls_options options = {SERVER,   rows[i].algorithm, rows[i].bytes, fingerprint,
                                       NS_PER_S, link_from_engine,  &link_};
        struct dtls *dtls = dtls_new(context, &options, 0);

        assert_int_equal(dtls != NULL, rows[i].good);
        dtls_free(dtls);
    }
}

/* ---- bad networks ---- */

static void lossy(unsigned loss, unsigned duplicates, uint64_t jitter_ns, unsigned seeds)
{
    for (unsigned seed = 1; seed <= seeds; seed++) {
        struct link_settings settings = {
            .role = seed % 2 ? SERVER : CLIENT,
            .peer = {V12, .profiles = GCM_128, .mtu = seed % 3 ? 1200 : 400},
            .loss = loss,
            .duplicates = duplicates,
            .jitter_ns = jitter_ns,
            .seed = seed,
        };

        link_open(&link_, context, &settings);
        link_run(&link_, 60 * NS_PER_S);
        if (dtls_state(link_.engine) != DTLS_STATE_connected || !link_.peer.connected)
            fail_msg("loss %u, seed %u: engine %d (%s), peer %d", loss, seed,
                     dtls_state(link_.engine), dtls_reason(link_.engine), link_.peer.connected);
        assert_true(link_keys_agree(&link_, settings.role));
        link_close(&link_);
    }
}

static void handshake_without_loss(void **state)
{
    lossy(0, 0, 0, 6);
    assert_int_equal(link_.loss, 0);
}

static void handshake_with_reordered_and_duplicated_datagrams(void **state)
{
    lossy(0, 30, 150 * NS_PER_MS, 24);
}

static void handshake_with_10_percent_loss(void **state)
{
    lossy(10, 10, 50 * NS_PER_MS, 30);
}

static void handshake_with_30_percent_loss(void **state)
{
    lossy(30, 10, 50 * NS_PER_MS, 30);
}

/* Damaged datagrams can end a handshake, because alerts are not authenticated yet. They never make
 * the two ends have different keys. */
static void damage_never_leads_to_different_keys(void **state)
{
    unsigned connected = 0;

    for (unsigned seed = 1; seed <= 60; seed++) {
        struct link_settings settings = {.role = seed % 2 ? SERVER : CLIENT,
                                         .peer = {V12, .profiles = GCM_128},
                                         .damage = 20,
                                         .seed = seed};

        link_open(&link_, context, &settings);
        link_run(&link_, 40 * NS_PER_S);
        assert_int_not_equal(dtls_state(link_.engine), DTLS_STATE_connecting);
        if (dtls_state(link_.engine) == DTLS_STATE_connected && link_.peer.connected) {
            assert_true(link_keys_agree(&link_, settings.role));
            connected++;
        }
        link_close(&link_);
    }
    assert_in_range(connected, 10, 60);
}

/* ---- a real browser ---- */

/* Checks cipher suite and extensions of the ServerHello (RFC 5246 7.4.1.3, RFC 5764 4.1.1). */
static void server_hello_is_right(const uint8_t *datagram, size_t bytes)
{
    const uint8_t *body = datagram + 13 + 12, *extension, *end;
    bool srtp = false, renegotiation = false, ticket = false, secret = false;

    assert_true(bytes > 13 + 12 + 38 && bytes <= DTLS_MTU_BYTES);
    assert_int_equal(datagram[0], 22);
    assert_int_equal(datagram[13], 2);
    assert_int_equal(body[0] << 8 | body[1], 0xfefd);
    assert_int_equal(body[34], 0);                      /* no session ID, so no resumption */
    assert_int_equal(body[35] << 8 | body[36], 0xc02b); /* ECDHE-ECDSA-AES128-GCM-SHA256 */
    assert_int_equal(body[37], 0);
    extension = body + 40;
    end = extension + (body[38] << 8 | body[39]);
    assert_true(end <= datagram + bytes);
    while (extension + 4 <= end) {
        unsigned type = (unsigned)(extension[0] << 8 | extension[1]);
        unsigned length = (unsigned)(extension[2] << 8 | extension[3]);

        if (type == 14) {
            static const uint8_t gcm_128[] = {0, 2, 0, 7, 0};

            assert_int_equal(length, sizeof(gcm_128));
            assert_memory_equal(extension + 4, gcm_128, sizeof(gcm_128));
            srtp = true;
        }
        renegotiation |= type == 0xff01;
        ticket |= type == 35;
        secret |= type == 23;
        extension += 4 + length;
    }
    assert_true(extension == end && srtp && renegotiation && secret && !ticket);
}

static void hello_of_chromium_is_answered(void **state)
{
    for (unsigned order = 0; order < 4; order++) {
        struct link_settings settings = {SERVER, {V12}};
        size_t flight;

        link_open(&link_, context, &settings);
        memset(link_.datagrams, 0, sizeof(link_.datagrams)); /* drops the hello of the test peer */
        flight = hello_flight(order & 1, order & 2);
        assert_int_equal(dtls_state(link_.engine), DTLS_STATE_connecting);
        assert_in_range(flight, 500, 1200); /* less than the hello, so there is no amplification */
        assert_int_equal(link_.from_engine, 1);
        server_hello_is_right(link_.datagrams[0].data, link_.datagrams[0].bytes);
        link_close(&link_);
    }
}

/* After the hello the peer sends nothing more. The engine sends its messages again, less and less
 * often, and gives up at the deadline. */
static void silent_peer_gets_few_datagrams(void **state)
{
    struct link_settings settings = {SERVER, {V12}};
    uint64_t start_ns;

    link_open(&link_, context, &settings);
    memset(link_.datagrams, 0, sizeof(link_.datagrams));
    start_ns = virtual_ns;
    link_.loss = 100;
    link_.peer.failed = true; /* so that it sends nothing */
    hello_flight(false, false);
    for (unsigned i = 0; i < 200 && link_step(&link_, start_ns + 60 * NS_PER_S); i++)
        continue;
    assert_int_equal(dtls_state(link_.engine), DTLS_STATE_failed);
    assert_int_equal(dtls_failure(link_.engine), DTLS_FAILURE_timeout);
    /* OpenSSL sends each of its five messages again in a datagram of its own. */
    assert_in_range(link_.from_engine, 1 + 5 * 7, 1 + 5 * 12);
    assert_true(link_.bytes_from_engine < DTLS_SENT_BYTES_MAX);
    link_close(&link_);
}

static void handshake_ends_at_its_deadline(void **state)
{
    static const uint32_t seconds[] = {1, 5, 30, 120};

    for (size_t i = 0; i < COUNT(seconds); i++)
        for (int role = SERVER; role <= CLIENT; role++) {
            uint8_t fingerprint[32] = {0};
            struct dtls_options options = {
                (enum dtls_role)role,  FINGERPRINT_sha_256, 32,    fingerprint,
                seconds[i] * NS_PER_S, link_from_engine,    &link_};
            uint64_t start_ns = virtual_ns;

            memset(&link_, 0, sizeof(link_));
            link_.seed = 1;
            link_.loss = 100;
            link_.engine = dtls_new(context, &options, virtual_ns);
            dtls_start(link_.engine, virtual_ns);
            for (unsigned n = 0; n < 100 && dtls_next_ns(link_.engine) != UINT64_MAX; n++) {
                virtual_ns = dtls_next_ns(link_.engine);
                dtls_tick(link_.engine, virtual_ns);
            }
            assert_int_equal(dtls_state(link_.engine), DTLS_STATE_failed);
            assert_int_equal(dtls_failure(link_.engine), DTLS_FAILURE_timeout);
            assert_true(virtual_ns - start_ns == seconds[i] * NS_PER_S);
            dtls_free(link_.engine);
        }
}

/* ---- closing ---- */

static void either_end_may_close(void **state)
{
    for (int role = SERVER; role <= CLIENT; role++)
        for (int we_close = 0; we_close < 2; we_close++) {
            struct link_settings settings = {(enum dtls_role)role, {V12, .profiles = GCM_128}};
            struct dtls_keys keys;

            link_open(&link_, context, &settings);
            link_run(&link_, 5 * NS_PER_S);
            assert_true(dtls_export(link_.engine, &keys));
            if (we_close)
                dtls_close(link_.engine);
            else
                SSL_shutdown(link_.peer.ssl);
            link_run(&link_, 2 * NS_PER_S);
            assert_int_equal(dtls_state(link_.engine), DTLS_STATE_closed);
            assert_true(link_.peer.closed || !we_close);
            assert_false(dtls_export(link_.engine, &keys));
            assert_true(dtls_next_ns(link_.engine) == UINT64_MAX);
            link_close(&link_);
        }
}

/* Calls every function in every state. */
static void any_call_is_safe_in_any_state(void **state)
{
    static const struct {
        struct link_settings settings;
        bool run, close;
        enum dtls_state state;
    } rows[] = {
        {{SERVER, {V12}}, false, false, DTLS_STATE_connecting},
        {{CLIENT, {V12}}, false, false, DTLS_STATE_connecting},
        {{SERVER, {V12}}, false, true, DTLS_STATE_closed},
        {{CLIENT, {V12}}, true, false, DTLS_STATE_connected},
        {{SERVER, {V12}}, true, true, DTLS_STATE_closed},
        {{SERVER, {V12}, .wrong_fingerprint = true}, true, false, DTLS_STATE_failed},
        {{SERVER, {V12}, .wrong_fingerprint = true}, true, true, DTLS_STATE_failed},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct dtls_keys keys;

        link_open(&link_, context, &rows[i].settings);
        if (rows[i].run)
            link_run(&link_, 5 * NS_PER_S);
        if (rows[i].close)
            dtls_close(link_.engine);
        assert_int_equal(dtls_state(link_.engine), rows[i].state);
        dtls_receive(link_.engine, virtual_ns, (const uint8_t *)"", 0);
        dtls_receive(link_.engine, virtual_ns, chromium_client_hello_1, 263);
        dtls_tick(link_.engine, virtual_ns);
        assert_int_equal(dtls_export(link_.engine, &keys), rows[i].state == DTLS_STATE_connected);
        assert_int_equal(dtls_state(link_.engine), rows[i].state);
        dtls_close(link_.engine);
        dtls_close(link_.engine);
        assert_int_equal(dtls_state(link_.engine), rows[i].state == DTLS_STATE_failed
                                                       ? DTLS_STATE_failed
                                                       : DTLS_STATE_closed);
        link_close(&link_);
    }
}

static void self_test_succeeds(void **state)
{
    char why[128] = "";

    assert_true(dtls_self_test(context, &identity, why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peers_are_accepted_or_refused),
        cmocka_unit_test(both_ends_know_of_a_failure_at_once),
        cmocka_unit_test(refused_hello_gets_no_answer),
        cmocka_unit_test(fingerprint_must_fit_its_algorithm),
        cmocka_unit_test(handshake_without_loss),
        cmocka_unit_test(handshake_with_reordered_and_duplicated_datagrams),
        cmocka_unit_test(handshake_with_10_percent_loss),
        cmocka_unit_test(handshake_with_30_percent_loss),
        cmocka_unit_test(damage_never_leads_to_different_keys),
        cmocka_unit_test(hello_of_chromium_is_answered),
        cmocka_unit_test(silent_peer_gets_few_datagrams),
        cmocka_unit_test(handshake_ends_at_its_deadline),
        cmocka_unit_test(either_end_may_close),
        cmocka_unit_test(any_call_is_safe_in_any_state),
        cmocka_unit_test(self_test_succeeds),
    };

    return cmocka_run_group_tests(tests, link_set_up, link_tear_down);
}
