/* What only the files of the SRTP engine include: the engine, the content of a key, initialisation
 * vectors, comparison of tags, the replay window.
 *
 *   key.c    start, key derivation, calls of intel-ipsec-mb
 *   srtp.c   RTP
 *   srtcp.c  RTCP */
#ifndef RINGCAST_SRTP_ENGINE_H
#define RINGCAST_SRTP_ENGINE_H

#include <endian.h>
#include <string.h>

#define NO_COMPAT_IMB_API_053 /* else its names collide with those of openssl/sha.h */
#include <intel-ipsec-mb.h>

#include "srtp.h"

#define SRTP_INDEX_MAX ((1ull << 48) - 1)
#define SRTCP_INDEX_MAX ((1u << 31) - 1)
#define SRTP_HEADER_BYTES_MIN 12
#define SRTCP_HEADER_BYTES 8 /* not encrypted: the first RTCP header and the SSRC */
#define CM_TAG_BYTES 10
#define AEAD_TAG_BYTES 16
#define HMAC_OUT_BYTES 12 /* the shortest HMAC-SHA1 that intel-ipsec-mb writes; we use 10 */

/* The most jobs that we give intel-ipsec-mb in one call. It computes up to 16 at the same time (in
 * lanes) and gives a lane that has finished a short packet the next job; so there must be several
 * jobs per lane. With too many, the encrypted payload would no longer be in the L2 cache when it is
 * hashed. */
#define SRTP_CHUNK 64

/* Counter mode and HMAC of either RTP or RTCP: the round keys of AES, and the state of SHA-1 after
 * the block key ^ ipad (inner) and after the block key ^ opad (outer). */
struct srtp_cm {
    _Alignas(16) uint8_t round_keys[11 * 16];
    uint8_t inner[20], outer[20];
};

/* The content of struct srtp_key. For RTCP of the AEAD profiles, it has the session key but not the
 * tables that are computed from it. Computing them for each packet takes a few hundred nanoseconds,
 * some ten times per second. Storing them would make every key 1 KiB larger. Salts are padded with
 * zeros. */
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
    IMB_MGR *wide;   /* the manager that intel-ipsec-mb chooses: AEAD, counter mode, many HMACs */
    IMB_MGR *narrow; /* for few HMACs; may be the same as wide */
    /* `wide` gets as many HMACs as fill its lanes evenly. `narrow` gets the rest, unless the rest
     * is at least wide_hash_min. */
    size_t wide_lanes, wide_hash_min;

    IMB_JOB jobs[SRTP_CHUNK];
    uint8_t iv[SRTP_CHUNK][16];
    uint8_t computed[SRTP_CHUNK][16]; /* HMAC_OUT_BYTES each */
    uint8_t received[SRTP_CHUNK][16]; /* CM_TAG_BYTES each */
    uint64_t guess[SRTP_CHUNK];       /* index with which computed[i] was computed */
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

/* RFC 3711 4.1.1: (salt << 16) ^ (SSRC << 64) ^ (index << 16). */
static inline void srtp_cm_iv(uint8_t iv[16], const uint8_t salt[16], uint32_t ssrc, uint64_t index)
{
    srtp_store64(iv, srtp_load64(salt) ^ ssrc);
    srtp_store64(iv + 8, srtp_load64(salt + 8) ^ (index << 16));
}

/* RFC 7714 8.1 and 9.1: two zero bytes, SSRC, index in 48 bits; all of it XOR the salt. */
static inline void srtp_aead_iv(uint8_t iv[16], const uint8_t salt[16], uint32_t ssrc,
                                uint64_t index)
{
    srtp_store64(iv, srtp_load64(salt) ^ ((uint64_t)ssrc << 16 | index >> 32));
    srtp_store32(iv + 8, srtp_load32(salt + 8) ^ (uint32_t)index);
}

/* Takes the same time whether the tags are equal or not. */
static inline bool srtp_tag_equal(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    volatile uint8_t difference = 0;

    for (size_t i = 0; i < bytes; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

/* RFC 3711 3.3.2: true when the index was received before, or is too old to know. */
static inline bool srtp_replayed(const struct srtp_stream *stream, uint64_t index)
{
    if (!stream->started || index > stream->highest_index)
        return false;
    if (stream->highest_index - index >= SRTP_REPLAY_WINDOW)
        return true;
    return stream->window[index % SRTP_REPLAY_WINDOW / 64] >> index % 64 & 1;
}

/* Notes an index as received. Only for packets that are authentic and not replayed. */
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

/* The functions of key.c.
 * Sets session keys, not master keys. The salts have 12 bytes. */
void srtp_key_set_aead(struct srtp_engine *engine, struct srtp_key *key, enum srtp_profile profile,
                       const uint8_t *rtp_key, const uint8_t *rtp_salt, const uint8_t *rtcp_key,
                       const uint8_t *rtcp_salt);
/* Sets the session key and the authentication key. */
void srtp_cm_set(struct srtp_engine *engine, struct srtp_cm *cm, const uint8_t key[16],
                 const uint8_t authentication[20]);
/* RFC 3711 4.3.1 with key derivation rate 0, 4.3.3 (AES-CM). bytes is at most 32. */
void srtp_derive(struct srtp_engine *engine, const uint8_t *master_key, size_t key_bytes,
                 const uint8_t salt[14], uint8_t label, uint8_t *out, size_t bytes);
/* Fill in a job for counter mode, and one for HMAC. `computed` has room for HMAC_OUT_BYTES. */
void srtp_job_cipher(IMB_JOB *job, const struct srtp_cm *cm, uint8_t *out, const uint8_t *in,
                     size_t bytes, const uint8_t iv[16]);
void srtp_job_hash(IMB_JOB *job, const struct srtp_cm *cm, const uint8_t *in, size_t bytes,
                   uint8_t *computed);
void srtp_run_cipher(struct srtp_engine *engine, IMB_JOB *jobs, size_t count);
void srtp_run_hash(struct srtp_engine *engine, IMB_JOB *jobs, size_t count);

#endif
