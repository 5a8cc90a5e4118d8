/* What the files of the SRTP engine share and nobody else sees: the engine, the real content of a
 * key, initialisation vectors, tag comparison, the replay window.
 *
 *   srtp_key.c   engine, key derivation        srtp.c   RTP in bursts        srtp_rtcp.c   SRTCP */
#ifndef RINGCAST_SRTP_ENGINE_H
#define RINGCAST_SRTP_ENGINE_H

#include <endian.h>
#include <string.h>

#define NO_COMPAT_IMB_API_053 /* or its names clash with openssl/sha.h */
#include <intel-ipsec-mb.h>

#include "srtp.h"

#define SRTP_INDEX_MAX ((1ull << 48) - 1)
#define SRTCP_INDEX_MAX ((1u << 31) - 1)
#define SRTP_HEADER_BYTES_MIN 12
#define SRTCP_HEADER_BYTES 8 /* stays clear: first RTCP header and SSRC */
#define CM_TAG_BYTES 10
#define AEAD_TAG_BYTES 16
#define HMAC_OUT_BYTES 12 /* the shortest HMAC-SHA1 that ipsec-mb writes; 10 are used */

/* Jobs handed to the multi-buffer code at once. Three rounds of 16 lanes and a rest: large enough
 * that a lane freed by a short packet is refilled, small enough that the ciphertext just written is
 * still in L2 when it is hashed. */
#define SRTP_CHUNK 64

/* Counter mode and HMAC of one of RTP or RTCP: round keys, and SHA-1 after the block of key ^ ipad
 * and of key ^ opad. */
struct srtp_cm {
    _Alignas(16) uint8_t round_keys[11 * 16];
    uint8_t inner[20], outer[20];
};

/* What struct srtp_key really holds. RTCP of the AEAD profiles keeps its plain session key and is
 * expanded each time: a few hundred ns at some ten packets a second, against another KiB that every
 * walk over the consumers' keys would have to step over. Salts are padded with zeros. */
struct srtp_key_inside {
    uint8_t rtp_salt[16];
    uint8_t rtcp_key[32];
    uint8_t profile; /* enum srtp_profile */
    uint8_t reserved[15];
    union {
        struct gcm_key_data gcm;
        struct {
            struct srtp_cm rtp, rtcp;
        } cm;
    };
    uint8_t rtcp_salt[16];
};
_Static_assert(sizeof(struct srtp_key_inside) == sizeof(struct srtp_key), "srtp_key: wrong size");
_Static_assert(sizeof(struct srtp_key) % 64 == 0, "srtp_key: not a multiple of a cache line");

struct srtp_engine {
    IMB_MGR *wide;        /* what ipsec-mb thinks best: AEAD, counter mode, HMAC in many lanes */
    IMB_MGR *narrow;      /* HMAC of few packets; may be the same */
    size_t wide_lanes;    /* HMACs go to the wide one in full rounds of so many, */
    size_t wide_hash_min; /* and what is left over too if it is at least so many */

    IMB_JOB jobs[SRTP_CHUNK];
    uint8_t iv[SRTP_CHUNK][16];
    uint8_t computed[SRTP_CHUNK][16]; /* HMAC_OUT_BYTES each */
    uint8_t received[SRTP_CHUNK][16]; /* CM_TAG_BYTES each */
    uint64_t guess[SRTP_CHUNK];
    _Alignas(64) struct gcm_key_data rtcp;
};

static inline const struct srtp_key_inside *srtp_inside(const struct srtp_key *key)
{
    return (const struct srtp_key_inside *)key;
}

static inline uint64_t srtp_load64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, 8);
    return be64toh(v);
}

static inline uint32_t srtp_load32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return be32toh(v);
}

static inline void srtp_store64(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, 8);
}

static inline void srtp_store32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, 4);
}

/* RFC 3711 4.1.1: (salt << 16) ^ (SSRC << 64) ^ (index << 16). SRTCP: its 31-bit index. */
static inline void srtp_cm_iv(uint8_t iv[16], const uint8_t salt[16], uint32_t ssrc, uint64_t index)
{
    srtp_store64(iv, srtp_load64(salt) ^ ssrc);
    srtp_store64(iv + 8, srtp_load64(salt + 8) ^ (index << 16));
}

/* RFC 7714 8.1 and 9.1: 0 0 SSRC index48, xor salt. SRTCP: its 31-bit index. */
static inline void srtp_aead_iv(uint8_t iv[16], const uint8_t salt[16], uint32_t ssrc,
                                uint64_t index)
{
    srtp_store64(iv, srtp_load64(salt) ^ ((uint64_t)ssrc << 16 | index >> 32));
    srtp_store32(iv + 8, srtp_load32(salt + 8) ^ (uint32_t)index);
}

/* Takes the same time whatever the bytes are. */
static inline bool srtp_tag_equal(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    volatile uint8_t difference = 0;

    for (size_t i = 0; i < bytes; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

/* RFC 3711 3.3.2. */
static inline bool srtp_replayed(const struct srtp_stream *stream, uint64_t index)
{
    if (!stream->started || index > stream->highest_index)
        return false;
    if (stream->highest_index - index >= SRTP_REPLAY_WINDOW)
        return true;
    return stream->window[index % SRTP_REPLAY_WINDOW / 64] >> index % 64 & 1;
}

/* Call for authenticated packets that are not replayed only. */
static inline void srtp_window_move(struct srtp_stream *stream, uint64_t index)
{
    if (!stream->started ||
        (index > stream->highest_index && index - stream->highest_index >= SRTP_REPLAY_WINDOW)) {
        memset(stream->window, 0, sizeof(stream->window));
        stream->started = true;
        stream->highest_index = index;
    }
    while (stream->highest_index < index) {
        stream->highest_index++;
        stream->window[stream->highest_index % SRTP_REPLAY_WINDOW / 64] &=
            ~(1ull << stream->highest_index % 64);
    }
    stream->window[index % SRTP_REPLAY_WINDOW / 64] |= 1ull << index % 64;
}

/* srtp_key.c. Session keys instead of master keys; salts have the profile's size. */
void srtp_key_set_aead(struct srtp_engine *engine, struct srtp_key *key, enum srtp_profile profile,
                       const uint8_t *rtp_key, const uint8_t *rtp_salt, const uint8_t *rtcp_key,
                       const uint8_t *rtcp_salt);
/* Key, 20-byte authentication key. */
void srtp_cm_set(struct srtp_engine *engine, struct srtp_cm *cm, const uint8_t key[16],
                 const uint8_t authentication[20]);
/* RFC 3711 4.3.1 with key derivation rate 0, 4.3.3 (AES-CM); bytes ≤ 32. */
void srtp_derive(struct srtp_engine *engine, const uint8_t *master_key, size_t key_bytes,
                 const uint8_t salt[14], uint8_t label, uint8_t *out, size_t bytes);
/* Counter-mode job; HMAC job (computed: HMAC_OUT_BYTES of room). */
void srtp_job_cipher(IMB_JOB *job, const struct srtp_cm *cm, uint8_t *out, const uint8_t *in,
                     size_t bytes, const uint8_t iv[16]);
void srtp_job_hash(IMB_JOB *job, const struct srtp_cm *cm, const uint8_t *in, size_t bytes,
                   uint8_t *computed);
void srtp_run_cipher(struct srtp_engine *engine, IMB_JOB *jobs, size_t count);
void srtp_run_hash(struct srtp_engine *engine, IMB_JOB *jobs, size_t count);

#endif
