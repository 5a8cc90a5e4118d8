/* What clients send. */
#include "packets.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "dataplane/engines/srtp/srtp.h"

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

void packet_rtp_write(uint8_t *out, const struct packet_rtp *rtp)
{
    static const uint8_t extensions[12] = {
        0xbe, 0xde, 0, 2, PACKET_ID_ABS_SEND_TIME << 4 | 2, 0, 0, 0, PACKET_ID_MID << 4, '0'};
    static const uint8_t vp8[10] = {0x10, 0x10, 2, 0, 0x9d, 0x01, 0x2a, 0, 1, 0};
    uint8_t *payload = out + PACKET_HEADER_BYTES;
    uint32_t bytes = rtp->bytes - PACKET_HEADER_BYTES;

    out[0] = 0x90; /* version 2, extension */
    out[1] = (uint8_t)((rtp->marker ? 0x80 : 0) | PACKET_PAYLOAD_TYPE);
    put16(out + 2, (uint32_t)rtp->index);
    put32(out + 4, rtp->timestamp);
    put32(out + 8, rtp->ssrc);
    memcpy(out + 12, extensions, sizeof(extensions));
    if (rtp->level) {
        out[22] = PACKET_ID_AUDIO_LEVEL << 4;
        out[23] = rtp->level;
    }
    memset(payload, (uint8_t)((uint32_t)rtp->index * 31u + rtp->ssrc * 7u), bytes);
    if (bytes < sizeof(vp8))
        return;
    memcpy(payload, vp8, sizeof(vp8));
    payload[1] = rtp->is_key_frame ? 0x10 : 0x11; /* RFC 7741 4.3: P, inverse key frame */
}

void packet_rtp_protect(struct srtp_engine *engine, const struct srtp_key *key, uint8_t *out,
                        const uint8_t *clear, const struct packet_rtp *rtp)
{
    struct srtp_protect_job job = {
        .key = key,
        .out = out,
        .payload = clear + PACKET_HEADER_BYTES,
        .index = rtp->index,
        .ssrc = rtp->ssrc,
        .header_bytes = PACKET_HEADER_BYTES,
        .payload_bytes = (uint16_t)(rtp->bytes - PACKET_HEADER_BYTES),
    };

    memcpy(out, clear, PACKET_HEADER_BYTES);
    srtp_protect_burst(engine, &job, 1);
}

static uint32_t crc32_of(const uint8_t *data, size_t bytes)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return ~crc;
}

static size_t attribute(uint8_t *out, size_t at, uint32_t type, const void *value, uint32_t bytes)
{
    put16(out + at, type);
    put16(out + at + 2, bytes);
    memcpy(out + at + 4, value, bytes);
    return at + 4 + ((bytes + 3) & ~3u);
}

/* RFC 8489 14.5, 14.7: MESSAGE-INTEGRITY and FINGERPRINT are computed over a header whose length
 * ends behind the attribute. */
uint32_t packet_stun_write(uint8_t *out, const char *ufrag, const char *password,
                           uint64_t transaction, bool use_candidate)
{
    static const uint8_t tie_breaker[8] = {1, 2, 3, 4, 5, 6, 7, 8}, priority[4] = {110, 127, 30, 1};
    uint8_t digest[EVP_MAX_MD_SIZE], crc[4];
    unsigned digest_bytes = 20;
    char user[64];
    size_t at = 20, ufrag_bytes = strlen(ufrag);

    memset(out, 0, 256);
    put16(out, 0x0001);
    put32(out + 4, 0x2112a442);
    memcpy(out + 8, &transaction, sizeof(transaction));
    memcpy(user, ufrag, ufrag_bytes);
    memcpy(user + ufrag_bytes, ":abcd", 5);
    at = attribute(out, at, 0x0006, user, (uint32_t)ufrag_bytes + 5);
    at = attribute(out, at, 0x802a, tie_breaker, sizeof(tie_breaker)); /* ICE-CONTROLLING */
    if (use_candidate)
        at = attribute(out, at, 0x0025, "", 0);
    at = attribute(out, at, 0x0024, priority, sizeof(priority));
    put16(out + 2, (uint32_t)(at + 24 - 20));
    if (!HMAC(EVP_sha1(), password, (int)strlen(password), out, at, digest, &digest_bytes))
        bench_die("OpenSSL has no HMAC-SHA1");
    at = attribute(out, at, 0x0008, digest, 20);
    put16(out + 2, (uint32_t)(at + 8 - 20));
    put32(crc, crc32_of(out, at) ^ 0x5354554e);
    return (uint32_t)attribute(out, at, 0x8028, crc, sizeof(crc));
}
