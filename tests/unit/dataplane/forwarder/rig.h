/* A worker on a test bench: real regions, the replay backend, a virtual clock, and clients made of
 * OpenSSL and libsrtp2 (none of our engines), all in one thread. */
#ifndef RINGCAST_TEST_RIG_H
#define RINGCAST_TEST_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/engines/rtcp.h"
#include "dataplane/forwarder/worker.h"
#include "dataplane/io/replay.h"
#include "src/clock.h"

static uint64_t rig_now_ns = 1000 * NS_PER_S;
static uint64_t rig_wall_ns = 1700000000ull * NS_PER_S;

static inline uint64_t rig_monotonic(void)
{
    return rig_now_ns;
}

static inline uint64_t rig_wall(void)
{
    return rig_wall_ns;
}

struct rig_sent {
    struct path path;
    uint32_t bytes;
    uint8_t data[1600];
};

struct rig {
    struct region desired, actual, keys, resume;
    struct worker *worker;
    struct io *io;
    struct ring changes, to_handshaker, from_handshaker, events;
    struct rig_sent *sent;
    size_t sent_count, sent_max;
    uint32_t index;          /* of the worker */
    struct handoff *handoff; /* NULL: it is alone */
    bool shares_regions;     /* with the first worker's rig */
};

static inline void rig_sink(void *context, const struct path *path, const uint8_t *data,
                            uint32_t bytes)
{
    struct rig *rig = context;
    struct rig_sent *s;

    if (rig->sent_count == rig->sent_max)
        return;
    s = &rig->sent[rig->sent_count++];
    assert_true(bytes <= sizeof(s->data));
    s->path = *path;
    s->bytes = bytes;
    memcpy(s->data, data, bytes);
}

static inline void rig_region(struct region *region, enum region_id id)
{
    char why[128];
    int fd = region_create(id, 7);

    assert_true(fd >= 0);
    assert_true(region_map(region, id, fd, true, why));
    close(fd);
}

static inline void rig_start_worker(struct rig *rig)
{
    struct worker_config config = {
        .index = rig->index,
        .handoff = rig->handoff,
        .desired = &rig->desired,
        .actual = &rig->actual,
        .keys = &rig->keys,
        .resume = &rig->resume,
        .backend = &io_replay_backend,
        .bell_control = -1,
        .bell_handshaker = -1,
        .consent_ns = 30 * NS_PER_S,
        .udp_port = 40000,
        .has_ipv4 = true,
        .monotonic_ns = rig_monotonic,
        .wall_ns = rig_wall,
    };
    char why[192];

    rig->io = io_replay_open();
    assert_non_null(rig->io);
    io_replay_sink(rig->io, rig_sink, rig);
    config.io = rig->io;
    rig->worker = mmap(NULL, sizeof(struct worker), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(worker_open(rig->worker, &config, why));
}

static inline void rig_stop_worker(struct rig *rig)
{
    worker_close(rig->worker);
    munmap(rig->worker, sizeof(struct worker));
    io_replay_backend.close(rig->io);
}

static inline void rig_begin(struct rig *rig)
{
    rig->sent_max = 65536;
    rig->sent = malloc(rig->sent_max * sizeof(*rig->sent));
    rig->changes = region_ring(&rig->desired, &rig->actual, rig->index);
    rig->events = region_ring(&rig->actual, &rig->desired, rig->index);
    rig->to_handshaker = region_ring(&rig->resume, &rig->keys, rig->index);
    rig->from_handshaker = region_ring(&rig->keys, &rig->resume, rig->index);
    rig_start_worker(rig);
}

static inline struct rig *rig_open_first(struct handoff *handoff)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    rig->handoff = handoff;
    rig_region(&rig->desired, REGION_desired);
    rig_region(&rig->actual, REGION_actual);
    rig_region(&rig->keys, REGION_keys);
    rig_region(&rig->resume, REGION_resume);
    rig_begin(rig);
    return rig;
}

static inline struct rig *rig_open(void)
{
    return rig_open_first(NULL);
}

/* One more worker on the regions of the first; close it before that one. */
static inline struct rig *rig_open_next(const struct rig *first, uint32_t index)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    *rig = (struct rig){.desired = first->desired,
                        .actual = first->actual,
                        .keys = first->keys,
                        .resume = first->resume,
                        .handoff = first->handoff,
                        .index = index,
                        .shares_regions = true};
    rig_begin(rig);
    return rig;
}

static inline void rig_close(struct rig *rig)
{
    rig_stop_worker(rig);
    if (!rig->shares_regions) {
        region_unmap(&rig->desired);
        region_unmap(&rig->actual);
        region_unmap(&rig->keys);
        region_unmap(&rig->resume);
    }
    free(rig->sent);
    free(rig);
}

/* Turns until the worker has nothing left to receive, then returns how much it sent since. */
static inline size_t rig_turn(struct rig *rig)
{
    rig->sent_count = 0;
    do
        rig_now_ns += 1000;
    while (worker_turn(rig->worker) > 0);
    worker_turn(rig->worker);
    return rig->sent_count;
}

static inline void rig_advance(struct rig *rig, uint64_t ns)
{
    rig_now_ns += ns;
    rig_wall_ns += ns;
    rig_turn(rig);
}

static inline void rig_row(struct rig *rig, enum table_id table, uint32_t index,
                           struct row_header *row, uint32_t generation)
{
    row->generation = generation;
    row->used = 1;
    row_write(table, region_row(&rig->desired, table, index), row);
    ring_put_note(&rig->changes,
                  (struct ring_note){.table = table, .handle = handle_make(index, generation)});
}

static inline void rig_free_row(struct rig *rig, enum table_id table, uint32_t index,
                                uint32_t generation)
{
    _Alignas(8) uint8_t empty[1024] = {0};

    ((struct row_header *)empty)->generation = generation;
    row_write(table, region_row(&rig->desired, table, index), (struct row_header *)empty);
    ring_put_note(&rig->changes,
                  (struct ring_note){.table = table, .handle = handle_make(index, generation)});
}

/* ---- a client ---- */

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

/* Plays the handshaker: writes the key row and tells the worker. */
static inline void client_keys(struct rig *rig, struct client *c, uint32_t generation,
                               enum srtp_profile profile)
{
    struct key_row row = {.header = {.generation = generation, .used = 1},
                          .transport = handle_make(c->transport, generation),
                          .state = DTLS_STATE_connected,
                          .profile = (uint8_t)profile};
    size_t key_bytes, salt_bytes;
    struct ring_datagram *note;

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
    note = ring_reserve(&rig->from_handshaker);
    note->handle = row.transport;
    note->note = DTLS_NOTE_keys;
    note->bytes = 0;
    ring_publish(&rig->from_handshaker);
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

/* ---- rows of a usual call ---- */

enum { VIDEO_SSRC = 0x11111111, VIDEO_RTX_SSRC = 0x22222222, AUDIO_SSRC = 0x33333333 };

static inline void rig_video_producer(struct rig *rig, uint32_t index, uint32_t transport,
                                      bool paused)
{
    struct producer_row row = {
        .transport = handle_make(transport, 1),
        .kind = MEDIA_KIND_video,
        .type = PRODUCER_TYPE_simple,
        .paused = paused,
        .codec_count = 1,
        .encoding_count = 1,
        .codec = {CODEC_vp8},
        .codec_payload_type = {96},
        .codec_mapped_payload_type = {101},
        .codec_rtx_payload_type = {97},
        .codec_mapped_rtx_payload_type = {102},
        .codec_clock_rate = {90000},
        .encoding_ssrc = {VIDEO_SSRC},
        .encoding_rtx_ssrc = {VIDEO_RTX_SSRC},
        .cname = "publisher",
    };

    row.extension_router_id[4] = EXTENSION_mid;
    row.extension_router_id[2] = EXTENSION_abs_send_time;
    rig_row(rig, TABLE_producer, index, &row.header, 1);
}

static inline struct producer_row rig_audio_row(uint32_t transport, uint32_t ssrc)
{
    return (struct producer_row){
        .transport = handle_make(transport, 1),
        .kind = MEDIA_KIND_audio,
        .type = PRODUCER_TYPE_simple,
        .codec_count = 1,
        .encoding_count = 1,
        .codec = {CODEC_opus},
        .codec_payload_type = {111},
        .codec_mapped_payload_type = {100},
        .codec_clock_rate = {48000},
        .encoding_ssrc = {ssrc},
        .cname = "speaker",
    };
}

static inline void rig_consumer(struct rig *rig, uint32_t index, uint32_t transport,
                                uint32_t producer, uint32_t ssrc, bool paused, uint32_t generation)
{
    struct consumer_row row = {
        .transport = handle_make(transport, 1),
        .producer = handle_make(producer, 1),
        .ssrc = ssrc,
        .rtx_ssrc = ssrc + 1,
        .extension_mask = 1 << EXTENSION_mid | 1 << EXTENSION_abs_send_time,
        .payload_type = 101,
        .rtx_payload_type = 102,
        .kind = MEDIA_KIND_video,
        .paused = paused,
        .priority = 1,
        .preferred_spatial_layer = 255,
        .preferred_temporal_layer = 255,
        .mid_bytes = 1,
        .mid = "0",
    };

    rig_row(rig, TABLE_consumer, index, &row.header, generation);
}

/* Transport `index` up to media: row, ICE, keys. */
static inline void rig_connect(struct rig *rig, struct client *c, uint32_t index,
                               enum srtp_profile profile)
{
    rig_transport(rig, c, index, 1);
    rig_turn(rig);
    client_check(rig, c, true);
    client_keys(rig, c, 1, profile);
}

/* How many of the last turn's datagrams went to this client and are RTP; decrypts them into `out`
 * (packets of 1600 bytes) unless NULL. */
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

/* The next compound among what `c` was sent, from place *at on, opened into `copy` and split. 0: there
 * is none any more. */
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
        assert_true(count > 0); /* what we send we would take */
        return count;
    }
    return 0;
}

/* Likewise for RTCP; counts feedback of one packet type (and format, -1: any). */
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

static inline uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
