/* SRTCP (RFC 3711 3.4, RFC 7714 9): one compound at a time.
 *
 *   counter mode   header (8 bytes)   ciphertext   E and index (4)   tag (10)
 *   AEAD           header (8 bytes)   ciphertext   tag (16)          E and index (4)
 *
 * The bit E says that the packet is encrypted. RFC 3711 allows packets without it; we do not accept
 * them (gate G7). */
#include "engine.h"

#define ENCRYPTED 0x80000000u
#define TRAILER_BYTES 4
#define RTCP_BYTES_MAX 65535

/* Encrypts or decrypts packet[8 … bytes) in place and writes the tag to `computed`. */
static void aead_run(struct srtp_engine *engine, const struct srtp_key_inside *key, bool encrypt,
                     uint32_t index, uint8_t *packet, size_t bytes, uint8_t *computed)
{
    bool large = key->profile == SRTP_PROFILE_aead_aes_256_gcm;
    uint8_t iv[16], aad[SRTCP_HEADER_BYTES + TRAILER_BYTES];
    uint8_t *text = packet + SRTCP_HEADER_BYTES;
    size_t text_bytes = bytes - SRTCP_HEADER_BYTES;
    struct gcm_context_data context;

    memcpy(aad, packet, SRTCP_HEADER_BYTES);
    srtp_store32(aad + SRTCP_HEADER_BYTES, ENCRYPTED | index);
    srtp_aead_iv(iv, key->rtcp_salt, srtp_load32(packet + 4), index);
    if (large)
        IMB_AES256_GCM_PRE(engine->wide, key->rtcp_key, &engine->rtcp);
    else
        IMB_AES128_GCM_PRE(engine->wide, key->rtcp_key, &engine->rtcp);
    if (large && encrypt)
        IMB_AES256_GCM_ENC(engine->wide, &engine->rtcp, &context, text, text, text_bytes, iv, aad,
                           sizeof(aad), computed, AEAD_TAG_BYTES);
    else if (large)
        IMB_AES256_GCM_DEC(engine->wide, &engine->rtcp, &context, text, text, text_bytes, iv, aad,
                           sizeof(aad), computed, AEAD_TAG_BYTES);
    else if (encrypt)
        IMB_AES128_GCM_ENC(engine->wide, &engine->rtcp, &context, text, text, text_bytes, iv, aad,
                           sizeof(aad), computed, AEAD_TAG_BYTES);
    else
        IMB_AES128_GCM_DEC(engine->wide, &engine->rtcp, &context, text, text, text_bytes, iv, aad,
                           sizeof(aad), computed, AEAD_TAG_BYTES);
    explicit_bzero(&engine->rtcp, sizeof(engine->rtcp));
}

/* Encrypts or decrypts packet[8 … bytes) in place: in counter mode these are the same operation. */
static void cm_cipher(struct srtp_engine *engine, const struct srtp_key_inside *key, uint32_t index,
                      uint8_t *packet, size_t bytes)
{
    uint8_t *text = packet + SRTCP_HEADER_BYTES;
    IMB_JOB job = {0};
    uint8_t iv[16];

    if (bytes == SRTCP_HEADER_BYTES)
        return;
    srtp_cm_iv(iv, key->rtcp_salt, srtp_load32(packet + 4), index);
    srtp_job_cipher(&job, &key->cm.rtcp, text, text, bytes - SRTCP_HEADER_BYTES, iv);
    srtp_run_cipher(engine, &job, 1);
}

static void cm_hash(struct srtp_engine *engine, const struct srtp_key_inside *key,
                    const uint8_t *packet, size_t bytes, uint8_t computed[HMAC_OUT_BYTES])
{
    IMB_JOB job = {0};

    srtp_job_hash(&job, &key->cm.rtcp, packet, bytes, computed);
    srtp_run_hash(engine, &job, 1);
}

/* The entry of an SSRC, or SRTCP_SENDERS_MAX when it has none. */
static size_t window_find(const struct srtcp_window *window, uint32_t ssrc)
{
    size_t i = 0;

    while (i < SRTCP_SENDERS_MAX &&
           (window->senders[i].seen == 0 || window->senders[i].ssrc != ssrc))
        i++;
    return i;
}

static bool window_replayed(const struct srtcp_window *window, size_t i, uint32_t index)
{
    if (i == SRTCP_SENDERS_MAX || index > window->senders[i].highest_index)
        return false;
    index = window->senders[i].highest_index - index;
    return index >= SRTCP_REPLAY_WINDOW || (window->senders[i].seen >> index & 1);
}

static void window_move(struct srtcp_window *window, size_t i, uint32_t ssrc, uint32_t index)
{
    uint32_t ahead;

    if (i == SRTCP_SENDERS_MAX) {
        i = window->next++ % SRTCP_SENDERS_MAX;
        window->senders[i].ssrc = ssrc;
        window->senders[i].highest_index = index;
        window->senders[i].seen = 1;
        return;
    }
    if (index <= window->senders[i].highest_index) {
        window->senders[i].seen |= 1ull << (window->senders[i].highest_index - index);
        return;
    }
    ahead = index - window->senders[i].highest_index;
    window->senders[i].seen = ahead < SRTCP_REPLAY_WINDOW ? window->senders[i].seen << ahead : 0;
    window->senders[i].seen |= 1;
    window->senders[i].highest_index = index;
}

enum srtp_result srtcp_protect(struct srtp_engine *engine, const struct srtp_key *key,
                               uint32_t index, uint8_t *packet, size_t *bytes)
{
    const struct srtp_key_inside *inside = srtp_inside(key);
    uint8_t computed[AEAD_TAG_BYTES];
    size_t clear = *bytes;

    if (clear < SRTCP_HEADER_BYTES || clear > RTCP_BYTES_MAX)
        return SRTP_MALFORMED;
    if (index > SRTCP_INDEX_MAX)
        return SRTP_KEY_LIMIT;
    if (inside->profile != SRTP_PROFILE_aes128_cm_sha1_80) {
        aead_run(engine, inside, true, index, packet, clear, packet + clear);
        srtp_store32(packet + clear + AEAD_TAG_BYTES, ENCRYPTED | index);
        *bytes = clear + AEAD_TAG_BYTES + TRAILER_BYTES;
        return SRTP_OK;
    }
    cm_cipher(engine, inside, index, packet, clear);
    srtp_store32(packet + clear, ENCRYPTED | index);
    cm_hash(engine, inside, packet, clear + TRAILER_BYTES, computed);
    memcpy(packet + clear + TRAILER_BYTES, computed, CM_TAG_BYTES);
    *bytes = clear + TRAILER_BYTES + CM_TAG_BYTES;
    return SRTP_OK;
}

enum srtp_result srtcp_unprotect(struct srtp_engine *engine, const struct srtp_key *key,
                                 struct srtcp_window *window, uint8_t *packet, size_t *bytes)
{
    const struct srtp_key_inside *inside = srtp_inside(key);
    bool cm = inside->profile == SRTP_PROFILE_aes128_cm_sha1_80;
    size_t tag_bytes = srtp_tag_bytes(inside->profile);
    uint8_t computed[AEAD_TAG_BYTES];
    uint32_t trailer, index, ssrc;
    size_t clear, sender;

    if (*bytes < SRTCP_HEADER_BYTES + TRAILER_BYTES + tag_bytes || *bytes > RTCP_BYTES_MAX)
        return SRTP_MALFORMED;
    clear = *bytes - TRAILER_BYTES - tag_bytes;
    trailer = srtp_load32(packet + clear + (cm ? 0 : tag_bytes));
    index = trailer & ~ENCRYPTED;
    if (!(trailer & ENCRYPTED))
        return SRTP_UNAUTHENTIC;
    ssrc = srtp_load32(packet + 4);
    sender = window_find(window, ssrc);
    if (window_replayed(window, sender, index))
        return SRTP_REPLAYED;
    if (cm) {
        cm_hash(engine, inside, packet, clear + TRAILER_BYTES, computed);
        if (!srtp_tag_equal(computed, packet + clear + TRAILER_BYTES, CM_TAG_BYTES))
            return SRTP_UNAUTHENTIC;
        cm_cipher(engine, inside, index, packet, clear);
    } else {
        aead_run(engine, inside, false, index, packet, clear, computed);
        if (!srtp_tag_equal(computed, packet + clear, AEAD_TAG_BYTES))
            return SRTP_UNAUTHENTIC;
    }
    window_move(window, sender, ssrc, index);
    *bytes = clear;
    return SRTP_OK;
}
