/* A simulated network between the DTLS engine and a test peer. It loses, duplicates, reorders and
 * damages datagrams at random; the same seed gives the same events. The clock is virtual, for
 * OpenSSL too. Include this in one file of a program. */
#ifndef RINGCAST_TEST_DTLS_LINK_H
#define RINGCAST_TEST_DTLS_LINK_H

#include <sys/time.h>

#include "dataplane/engines/dtls.h"
#include "dtls_peer.h"
#include "src/clock.h"
#include "tests/data/chromium_client_hello.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define GCM_128 "SRTP_AEAD_AES_128_GCM"
#define SERVER DTLS_ROLE_server
#define CLIENT DTLS_ROLE_client
#define V12 .version_min = DTLS1_2_VERSION, .version_max = DTLS1_2_VERSION

static uint64_t virtual_ns;

/* Replaces the function of the C library, with which OpenSSL 3.0 decides when to send again. */
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    now->tv_sec = (time_t)(1800000000 + virtual_ns / NS_PER_S);
    now->tv_usec = (suseconds_t)(virtual_ns % NS_PER_S / 1000);
    return 0;
}

#define LINK_DATAGRAMS 512

struct link_datagram {
    uint64_t due_ns;
    uint32_t order;
    bool to_engine;
    size_t bytes; /* 0: this entry is free */
    uint8_t data[1600];
};

struct link {
    struct dtls *engine;
    struct peer peer;
    uint64_t seed;
    unsigned loss, duplicates, damage; /* percent */
    uint64_t delay_ns, jitter_ns;
    unsigned from_engine, from_peer; /* datagrams sent, also those that the network lost */
    size_t bytes_from_engine;
    size_t largest_from_engine;
    uint32_t order;
    struct link_datagram datagrams[LINK_DATAGRAMS];
};

static inline uint32_t link_random(struct link *link, uint32_t below)
{
    link->seed ^= link->seed << 13;
    link->seed ^= link->seed >> 7;
    link->seed ^= link->seed << 17;
    return (uint32_t)((link->seed >> 16) % below);
}

static inline void link_put(struct link *link, bool to_engine, const uint8_t *data, size_t bytes)
{
    unsigned copies = link_random(link, 100) < link->duplicates ? 2 : 1;

    if (link_random(link, 100) < link->loss)
        return;
    for (unsigned i = 0; i < LINK_DATAGRAMS && copies; i++) {
        struct link_datagram *d = &link->datagrams[i];

        if (d->bytes || bytes > sizeof(d->data))
            continue;
        d->due_ns = virtual_ns + link->delay_ns +
                    (link->jitter_ns ? link_random(link, (uint32_t)link->jitter_ns) : 0);
        d->order = link->order++;
        d->to_engine = to_engine;
        d->bytes = bytes;
        memcpy(d->data, data, bytes);
        if (link_random(link, 100) < link->damage)
            d->data[link_random(link, (uint32_t)bytes)] ^= (uint8_t)(1 + link_random(link, 255));
        copies--;
    }
}

static inline void link_from_engine(void *context, const uint8_t *data, size_t bytes)
{
    struct link *link = context;

    link->from_engine++;
    link->bytes_from_engine += bytes;
    if (bytes > link->largest_from_engine)
        link->largest_from_engine = bytes;
    link_put(link, false, data, bytes);
}

static inline void link_from_peer(void *context, const uint8_t *data, size_t bytes)
{
    struct link *link = context;

    link->from_peer++;
    link_put(link, true, data, bytes);
}

static inline uint64_t link_peer_next(struct link *link)
{
    struct timeval left;

    if (link->peer.connected || link->peer.failed || !DTLSv1_get_timeout(link->peer.ssl, &left))
        return UINT64_MAX;
    return virtual_ns + (uint64_t)left.tv_sec * NS_PER_S + (uint64_t)left.tv_usec * NS_PER_US;
}

/* Does the next event, a delivery or a timer. False when there is none up to until_ns. */
static inline bool link_step(struct link *link, uint64_t until_ns)
{
    struct link_datagram *first = NULL;
    uint64_t engine_ns = dtls_next_ns(link->engine), peer_ns = link_peer_next(link);
    uint64_t next_ns = engine_ns < peer_ns ? engine_ns : peer_ns;

    for (unsigned i = 0; i < LINK_DATAGRAMS; i++) {
        struct link_datagram *d = &link->datagrams[i];

        if (d->bytes && (!first || d->due_ns < first->due_ns ||
                         (d->due_ns == first->due_ns && d->order < first->order)))
            first = d;
    }
    if (first && first->due_ns <= next_ns)
        next_ns = first->due_ns;
    else
        first = NULL;
    if (next_ns > until_ns) {
        virtual_ns = until_ns > virtual_ns ? until_ns : virtual_ns;
        return false;
    }
    if (next_ns > virtual_ns)
        virtual_ns = next_ns;
    if (first) {
        struct link_datagram d = *first;

        first->bytes = 0;
        if (d.to_engine)
            dtls_receive(link->engine, virtual_ns, d.data, d.bytes);
        else
            peer_receive(&link->peer, d.data, d.bytes);
    } else if (engine_ns <= peer_ns) {
        dtls_tick(link->engine, virtual_ns);
    } else {
        ERR_clear_error();
        link->peer.failed |= DTLSv1_handle_timeout(link->peer.ssl) < 0;
        ERR_clear_error();
    }
    return true;
}

static inline bool link_is_done(const struct link *link)
{
    enum dtls_state state = dtls_state(link->engine);

    return state != DTLS_STATE_connecting && (link->peer.connected || link->peer.failed);
}

/* Runs until both ends are done, at most limit_ns and 20 000 events; then delivers what is still
 * under way. */
static inline void link_run(struct link *link, uint64_t limit_ns)
{
    uint64_t until_ns = virtual_ns + limit_ns;

    for (unsigned i = 0; i < 20000 && link_step(link, until_ns); i++)
        if (link_is_done(link))
            break;
    for (unsigned i = 0; i < 200 && link_step(link, virtual_ns + NS_PER_S); i++)
        continue;
}

struct link_settings {
    enum dtls_role role; /* of the engine */
    struct peer_settings peer;
    enum fingerprint_algorithm algorithm; /* none: sha-256 */
    unsigned loss, duplicates, damage;
    uint64_t jitter_ns, seed;
    bool wrong_fingerprint;
};

static inline void link_open(struct link *link, struct dtls_context *context,
                             const struct link_settings *settings)
{
    uint8_t fingerprint[64] = {0};
    enum fingerprint_algorithm algorithm =
        settings->algorithm ? settings->algorithm : FINGERPRINT_sha_256;
    struct peer_settings peer = settings->peer;
    struct dtls_options options = {
        .role = settings->role,
        .fingerprint_algorithm = algorithm,
        .fingerprint_bytes = fingerprint_bytes(algorithm),
        .fingerprint = fingerprint,
        .timeout_ns = 30 * NS_PER_S,
        .send = link_from_engine,
        .send_context = link,
    };

    memset(link, 0, sizeof(*link));
    peer.server = settings->role == DTLS_ROLE_client;
    peer_open(&link->peer, &peer);
    link->peer.send = link_from_peer;
    link->peer.send_context = link;
    link->seed = settings->seed * 0x9e3779b97f4a7c15u + 0x1234567;
    link->loss = settings->loss;
    link->duplicates = settings->duplicates;
    link->damage = settings->damage;
    link->delay_ns = 20 * NS_PER_MS;
    link->jitter_ns = settings->jitter_ns;
    peer_fingerprint(&link->peer,
                     algorithm == FINGERPRINT_sha_512   ? EVP_sha512()
                     : algorithm == FINGERPRINT_sha_384 ? EVP_sha384()
                                                        : EVP_sha256(),
                     fingerprint);
    if (settings->wrong_fingerprint)
        fingerprint[options.fingerprint_bytes - 1] ^= 1;
    link->engine = dtls_new(context, &options, virtual_ns);
    if (!link->engine)
        abort();
    dtls_start(link->engine, virtual_ns);
    if (!peer.server)
        peer_continue(&link->peer);
}

static inline void link_close(struct link *link)
{
    dtls_free(link->engine);
    peer_close(&link->peer);
}

/* True when both ends have the same keys, in the order of RFC 5764 4.2. */
static inline bool link_keys_agree(const struct link *link, enum dtls_role role)
{
    struct dtls_keys keys;
    uint8_t all[96];
    size_t key, salt, first = role == DTLS_ROLE_client ? 0 : 1;

    if (!dtls_export(link->engine, &keys))
        return false;
    key = keys.profile == SRTP_PROFILE_aead_aes_256_gcm ? 32 : 16;
    salt = keys.profile == SRTP_PROFILE_aes128_cm_sha1_80 ? 14 : 12;
    return peer_export(&link->peer, all, 2 * (key + salt)) &&
           SSL_get_selected_srtp_profile(link->peer.ssl)->id == keys.profile &&
           memcmp(keys.ours_key, all + first * key, key) == 0 &&
           memcmp(keys.theirs_key, all + (1 - first) * key, key) == 0 &&
           memcmp(keys.ours_salt, all + 2 * key + first * salt, salt) == 0 &&
           memcmp(keys.theirs_salt, all + 2 * key + (1 - first) * salt, salt) == 0;
}

/* ---- for all tests ---- */

static struct dtls_context *context;
static struct identity identity;
static struct link link_;

/* Delivers the ClientHello of Chromium: its two datagrams, in either order, once or twice. Returns
 * the number of bytes that the engine sent. */
static inline size_t hello_flight(bool reversed, bool twice)
{
    static const struct {
        const uint8_t *data;
        size_t bytes;
    } hello[2] = {{chromium_client_hello_0, sizeof(chromium_client_hello_0)},
                  {chromium_client_hello_1, sizeof(chromium_client_hello_1)}};

    for (unsigned i = 0; i < (twice ? 4u : 2u); i++) {
        unsigned which = (i ^ (unsigned)reversed) & 1;

        dtls_receive(link_.engine, virtual_ns, hello[which].data, hello[which].bytes);
    }
    return link_.bytes_from_engine;
}

static inline int link_set_up(void **state)
{
    struct identity_row row = {0};
    char why[128];

    if (!identity_make(&row, why) || !identity_open(&identity, &row, why))
        return -1;
    context = dtls_context_new(&identity, why);
    return context ? 0 : -1;
}

static inline int link_tear_down(void **state)
{
    dtls_context_free(context);
    identity_close(&identity);
    return 0;
}

#endif
