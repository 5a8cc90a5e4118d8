/* Clients for rig.h: they make ICE checks, SRTP and SRTCP with OpenSSL and libsrtp2. Of our own
 * engines only rtcp.h is used, to build and split compounds; so an error in an engine is not hidden
 * by the same error here. */
#ifndef RINGCAST_TEST_CLIENT_H
#define RINGCAST_TEST_CLIENT_H

#include "rig.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <srtp2/srtp.h>

#include "dataplane/engines/rtcp.h"

struct client {
    struct path path; /* as the worker sees it */
    uint32_t transport;
    char ufrag[33], password[33];
    uint8_t ours_key[46], theirs_key[46]; /* ours: what the worker sends with */
    enum srtp_profile profile;
    srtp_t send, receive;
};

static inline struct path rig_path(uint8_t host, uint16_t port)
{
    struct path p = {.remote_port = port, .local_port = 40000};
    const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    memcpy(p.remote_ip, mapped, 12);
    memcpy(p.local_ip, mapped, 12);
    memcpy(p.remote_ip + 12, (uint8_t[]){127, 0, 0, host}, 4);
    memcpy(p.local_ip + 12, (uint8_t[]){127, 0, 0, 1}, 4);
    return p;
}

static inline void rig_transport(struct rig *rig, struct client *c, uint32_t index,
                                 uint32_t generation)
{
    struct transport_row row = {
        .worker = rig->index, .direction = DIRECTION_send, .dtls_role = DTLS_ROLE_server};

    snprintf(c->ufrag, sizeof(c->ufrag), "ufrag%027u", index);
    snprintf(c->password, sizeof(c->password), "password%024u", index);
    c->path = rig_path(10, (uint16_t)(5000 + index));
    c->transport = index;
    memcpy(row.ice_ufrag, c->ufrag, 32);
    memcpy(row.ice_pwd, c->password, 32);
    rig_row(rig, TABLE_transport, index, &row.header, generation);
}

static inline void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static inline uint32_t crc32_of(const uint8_t *data, size_t bytes)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return ~crc;
}

/* A binding request as Chromium sends it; returns its length. */
static inline size_t client_stun(const struct client *c, uint8_t out[256], bool use_candidate,
                                 const char *password)
{
    size_t at = 20, user = strlen(c->ufrag) + 1 + 4;
    unsigned hmac_bytes = 20;

    memset(out, 0, 256);
    put16(out, 0x0001);
    put32(out + 4, 0x2112a442);
    for (int i = 8; i < 20; i++)
        out[i] = (uint8_t)rand();
    put16(out + at, 0x0006);
    put16(out + at + 2, (uint32_t)user);
    sprintf((char *)out + at + 4, "%s:abcd", c->ufrag);
    at += 4 + (user + 3) / 4 * 4;
    out[at - 1] = 0;
    put16(out + at, 0x802a); /* ICE-CONTROLLING */
    put16(out + at + 2, 8);
    at += 12;
    if (use_candidate) {
        put16(out + at, 0x0025);
        at += 4;
    }
    put16(out + at, 0x0024); /* PRIORITY */
    put16(out + at + 2, 4);
    put32(out + at + 4, 1853817087);
    at += 8;
    put16(out + 2, (uint32_t)(at + 24 - 20));
    put16(out + at, 0x0008);
    put16(out + at + 2, 20);
    HMAC(EVP_sha1(), password, (int)strlen(password), out, at, out + at + 4, &hmac_bytes);
    at += 24;
    put16(out + 2, (uint32_t)(at + 8 - 20));
    put16(out + at, 0x8028);
    put16(out + at + 2, 4);
    put32(out + at + 4, crc32_of(out, at) ^ 0x5354554e);
    return at + 8;
}

static inline void client_check(struct rig *rig, struct client *c, bool use_candidate)
{
    uint8_t request[256];
    size_t bytes = client_stun(c, request, use_candidate, c->password);

    assert_true(io_replay_feed(rig->io, &c->path, request, (uint32_t)bytes));
    rig_turn(rig);
}

static inline srtp_t client_session(enum srtp_profile profile, uint8_t *key, bool outbound)
{
    srtp_policy_t policy = {0};
    srtp_t session;

    if (profile == SRTP_PROFILE_aead_aes_128_gcm) {
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp);
    } else if (profile == SRTP_PROFILE_aead_aes_256_gcm) {
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtp);
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtcp);
    } else {
        srtp_crypto_policy_set_rtp_default(&policy.rtp);
        srtp_crypto_policy_set_rtcp_default(&policy.rtcp);
    }
    policy.ssrc.type = outbound ? ssrc_any_outbound : ssrc_any_inbound;
    policy.key = key;
    policy.window_size = 1024;
    policy.allow_repeat_tx = 1;
    assert_int_equal(srtp_create(&session, &policy), srtp_err_status_ok);
    return session;
}

/* Plays the handshaker: a datagram of DTLS for the client, if it has bytes, or another note. */
static inline void client_handshaker_note(struct rig *rig, const struct client *c,
                                          uint32_t generation, enum dtls_note kind, uint32_t bytes)
{
    struct ring_datagram *note = ring_reserve(&rig->from_handshaker);

    note->handle = handle_make(c->transport, generation);
    note->note = kind;
    note->bytes = bytes;
    memset(note->data, 22, bytes);
    ring_publish(&rig->from_handshaker);
}

/* Plays the handshaker: sends the client a DTLS datagram, so that the end of the handshake proves
 * its path, then writes the key row and puts a note in the ring. */
static inline void client_keys(struct rig *rig, struct client *c, uint32_t generation,
                               enum srtp_profile profile)
{
    struct key_row row = {.header = {.generation = generation, .used = 1},
                          .transport = handle_make(c->transport, generation),
                          .state = DTLS_STATE_connected,
                          .profile = (uint8_t)profile};
    size_t key_bytes, salt_bytes;

    srtp_profile_sizes(profile, &key_bytes, &salt_bytes);
    for (size_t i = 0; i < sizeof(c->ours_key); i++) {
        c->ours_key[i] = (uint8_t)rand();
        c->theirs_key[i] = (uint8_t)rand();
    }
    memcpy(row.ours_key, c->ours_key, key_bytes);
    memcpy(row.ours_salt, c->ours_key + key_bytes, salt_bytes);
    memcpy(row.theirs_key, c->theirs_key, key_bytes);
    memcpy(row.theirs_salt, c->theirs_key + key_bytes, salt_bytes);
    c->profile = profile;
    c->send = client_session(profile, c->theirs_key, true);
    c->receive = client_session(profile, c->ours_key, false);
    row_write(TABLE_key, region_row(&rig->keys, TABLE_key, c->transport), &row.header);
    client_handshaker_note(rig, c, generation, DTLS_NOTE_datagram, 100);
    client_handshaker_note(rig, c, generation, DTLS_NOTE_keys, 0);
    rig_turn(rig);
}

static inline void client_close(struct client *c)
{
    if (c->send)
        srtp_dealloc(c->send);
    if (c->receive)
        srtp_dealloc(c->receive);
    c->send = c->receive = NULL;
}

/* One clear RTP packet: VP8 (a key frame when asked) or opus-like bytes. Returns its length. */
static inline size_t client_rtp(uint8_t *out, uint8_t payload_type, uint16_t sequence,
                                uint32_t timestamp, uint32_t ssrc, bool key_frame, size_t payload)
{
    out[0] = 0x80;
    out[1] = payload_type;
    put16(out + 2, sequence);
    put32(out + 4, timestamp);
    put32(out + 8, ssrc);
    for (size_t i = 0; i < payload; i++)
        out[12 + i] = (uint8_t)(sequence + i);
    if (payload >= 10) {
        /* VP8 descriptor: S=1, partition 0; then the frame tag's P bit and the start code. */
        memcpy(out + 12,
               (uint8_t[]){0x10, key_frame ? 0x10 : 0x11, 2, 0, 0x9d, 0x01, 0x2a, 0, 1, 0}, 10);
    }
    return 12 + payload;
}

static inline void client_send_rtp(struct rig *rig, struct client *c, uint8_t *packet, size_t bytes)
{
    int n = (int)bytes;

    assert_int_equal(srtp_protect(c->send, packet, &n), srtp_err_status_ok);
    assert_true(io_replay_feed(rig->io, &c->path, packet, (uint32_t)n));
}

static inline void client_send_rtcp(struct rig *rig, struct client *c, uint8_t *packet,
                                    size_t bytes)
{
    int n = (int)bytes;

    assert_int_equal(srtp_protect_rtcp(c->send, packet, &n), srtp_err_status_ok);
    assert_true(io_replay_feed(rig->io, &c->path, packet, (uint32_t)n));
}

/* Makes transport `index` and connects its client: row, ICE check, keys. */
static inline void rig_connect(struct rig *rig, struct client *c, uint32_t index,
                               enum srtp_profile profile)
{
    rig_transport(rig, c, index, 1);
    rig_turn(rig);
    client_check(rig, c, true);
    client_keys(rig, c, 1, profile);
}

/* ---- what the worker sent ---- */

/* How many RTP packets the worker sent to this client in the last rig_turn. Up to `max` of them are
 * decrypted into `out`, unless it is NULL. */
static inline size_t client_received_rtp(struct rig *rig, struct client *c, struct rig_sent *out,
                                         size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < rig->sent_count; i++) {
        struct rig_sent *s = &rig->sent[i];
        int n = (int)s->bytes;

        if (!path_equal(&s->path, &c->path) || datagram_classify(s->data, s->bytes) != DATAGRAM_rtp)
            continue;
        if (out && count < max) {
            out[count] = *s;
            assert_int_equal(srtp_unprotect(c->receive, out[count].data, &n), srtp_err_status_ok);
            out[count].bytes = (uint32_t)n;
        }
        count++;
    }
    return count;
}

/* The next RTCP compound that the worker sent to this client, looked for from rig->sent[*at] on:
 * decrypted into `copy` and split. Returns its number of packets; 0: there is no other compound. */
static inline size_t client_next_rtcp(struct rig *rig, struct client *c, size_t *at,
                                      struct rig_sent *copy,
                                      struct rtcp_packet packets[RTCP_PACKETS_MAX])
{
    while (*at < rig->sent_count) {
        size_t count;
        int n;

        *copy = rig->sent[(*at)++];
        n = (int)copy->bytes;
        if (!path_equal(&copy->path, &c->path) ||
            datagram_classify(copy->data, copy->bytes) != DATAGRAM_rtcp)
            continue;
        assert_int_equal(srtp_unprotect_rtcp(c->receive, copy->data, &n), srtp_err_status_ok);
        count = rtcp_split(copy->data, (size_t)n, packets);
        assert_true(count > 0); /* what we send we would accept */
        return count;
    }
    return 0;
}

/* How many RTCP packets of this type and format (-1: any) the worker sent to this client. */
static inline size_t client_received_rtcp(struct rig *rig, struct client *c, uint8_t type,
                                          int format)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    size_t at = 0, found = 0, count;
    struct rig_sent copy;

    while ((count = client_next_rtcp(rig, c, &at, &copy, packets)) > 0)
        for (size_t i = 0; i < count; i++)
            found += packets[i].type == type && (format < 0 || packets[i].count == format);
    return found;
}

/* Of an RTP packet. */
static inline uint16_t sequence_of(const struct rig_sent *sent)
{
    return (uint16_t)(sent->data[2] << 8 | sent->data[3]);
}

static inline uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
