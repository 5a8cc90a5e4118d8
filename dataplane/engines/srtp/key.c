/* SRTP engine: start, key derivation, and calls of intel-ipsec-mb. */
#include "engine.h"

#include <stdlib.h>

/* RFC 3711 4.3.2 */
enum {
    LABEL_RTP_KEY = 0,
    LABEL_RTP_AUTHENTICATION = 1,
    LABEL_RTP_SALT = 2,
    LABEL_RTCP_KEY = 3,
    LABEL_RTCP_AUTHENTICATION = 4,
    LABEL_RTCP_SALT = 5,
};

/* With fewer HMACs than this, most of the 16 lanes of AVX512 are idle, and the two lanes of SHA-NI
 * are faster. Measured per packet of 1200 bytes: SHA-NI 474 ns for any number; AVX512 513 ns for 8
 * packets and 320 ns for 16. */
#define WIDE_HASH_MIN 12

static void managers_start(struct srtp_engine *engine, uint8_t *memory, size_t manager_bytes)
{
    uint64_t features = imb_get_feature_flags();

    engine->wide = imb_set_pointers_mb_mgr(memory, 0, 1);
    init_mb_mgr_auto(engine->wide, NULL);
    engine->narrow = engine->wide;
    engine->wide_hash_min = 0;
    engine->wide_lanes = 1;
    /* Ask the CPU first: a manager whose instructions the CPU does not have jumps to address 0. */
    if ((features & IMB_CPUFLAGS_SSE_T2) == IMB_CPUFLAGS_SSE_T2) {
        engine->narrow = imb_set_pointers_mb_mgr(memory + manager_bytes, 0, 1);
        init_mb_mgr_sse(engine->narrow);
        if (engine->wide->used_arch == IMB_ARCH_AVX512) {
            engine->wide_lanes = 16;
            engine->wide_hash_min = WIDE_HASH_MIN;
        } else {
            engine->wide_lanes = SIZE_MAX; /* never: SHA-NI is faster than the 8 lanes of AVX2 */
            engine->wide_hash_min = SIZE_MAX;
        }
    }
}

static bool manager_usable(const IMB_MGR *manager)
{
    uint64_t tested = IMB_FEATURE_SELF_TEST | IMB_FEATURE_SELF_TEST_PASS;

    if (manager->imb_errno != 0 || !manager->gcm128_enc || !manager->submit_hash_burst_nocheck ||
        !manager->submit_cipher_burst_nocheck)
        return false;
    return !(manager->features & IMB_FEATURE_SELF_TEST) || (manager->features & tested) == tested;
}

struct srtp_engine *srtp_engine_new(void)
{
    size_t manager_bytes = (imb_get_mb_mgr_size() + 63) & ~(size_t)63;
    size_t engine_bytes = (sizeof(struct srtp_engine) + 63) & ~(size_t)63;
    struct srtp_engine *engine;
    void *memory;

    if (posix_memalign(&memory, 64, engine_bytes + 2 * manager_bytes) != 0)
        return NULL;
    memset(memory, 0, engine_bytes + 2 * manager_bytes);
    engine = memory;
    managers_start(engine, (uint8_t *)memory + engine_bytes, manager_bytes);
    if (!manager_usable(engine->wide) || !manager_usable(engine->narrow)) {
        free(memory);
        return NULL;
    }
    return engine;
}

void srtp_engine_delete(struct srtp_engine *engine)
{
    if (!engine)
        return;
    explicit_bzero(engine, sizeof(*engine));
    free(engine);
}

void srtp_profile_sizes(enum srtp_profile profile, size_t *key_bytes, size_t *salt_bytes)
{
    switch (profile) {
    case SRTP_PROFILE_aes128_cm_sha1_80:
        *key_bytes = 16;
        *salt_bytes = 14;
        return;
    case SRTP_PROFILE_aead_aes_128_gcm:
        *key_bytes = 16;
        *salt_bytes = 12;
        return;
    case SRTP_PROFILE_aead_aes_256_gcm:
        *key_bytes = 32;
        *salt_bytes = 12;
        return;
    case SRTP_PROFILE_none:
        break;
    }
    *key_bytes = 0;
    *salt_bytes = 0;
}

size_t srtp_tag_bytes(enum srtp_profile profile)
{
    return profile == SRTP_PROFILE_aes128_cm_sha1_80 ? CM_TAG_BYTES : AEAD_TAG_BYTES;
}

void srtp_job_cipher(IMB_JOB *job, const struct srtp_cm *cm, uint8_t *out, const uint8_t *in,
                     size_t bytes, const uint8_t iv[16])
{
    job->cipher_mode = IMB_CIPHER_CNTR;
    job->cipher_direction = IMB_DIR_ENCRYPT;
    job->enc_keys = cm->round_keys;
    job->key_len_in_bytes = 16;
    job->src = in;
    job->dst = out;
    job->cipher_start_src_offset_in_bytes = 0;
    job->msg_len_to_cipher_in_bytes = bytes;
    job->iv = iv;
    job->iv_len_in_bytes = 16;
}

void srtp_job_hash(IMB_JOB *job, const struct srtp_cm *cm, const uint8_t *in, size_t bytes,
                   uint8_t *computed)
{
    job->hash_alg = IMB_AUTH_HMAC_SHA_1;
    job->src = in;
    job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_hash_in_bytes = bytes;
    job->auth_tag_output = computed;
    job->auth_tag_output_len_in_bytes = HMAC_OUT_BYTES;
    job->u.HMAC._hashed_auth_key_xor_ipad = cm->inner;
    job->u.HMAC._hashed_auth_key_xor_opad = cm->outer;
}

void srtp_run_cipher(struct srtp_engine *engine, IMB_JOB *jobs, size_t count)
{
    if (count > 0)
        IMB_SUBMIT_CIPHER_BURST_NOCHECK(engine->wide, jobs, (uint32_t)count, IMB_CIPHER_CNTR,
                                        IMB_DIR_ENCRYPT, IMB_KEY_128_BYTES);
}

void srtp_run_hash(struct srtp_engine *engine, IMB_JOB *jobs, size_t count)
{
    size_t rest = count % engine->wide_lanes;
    size_t wide = rest >= engine->wide_hash_min ? count : count - rest;

    if (wide > 0)
        IMB_SUBMIT_HASH_BURST_NOCHECK(engine->wide, jobs, (uint32_t)wide, IMB_AUTH_HMAC_SHA_1);
    if (count > wide)
        IMB_SUBMIT_HASH_BURST_NOCHECK(engine->narrow, jobs + wide, (uint32_t)(count - wide),
                                      IMB_AUTH_HMAC_SHA_1);
}

void srtp_derive(struct srtp_engine *engine, const uint8_t *master_key, size_t key_bytes,
                 const uint8_t salt[14], uint8_t label, uint8_t *out, size_t bytes)
{
    _Alignas(16) uint8_t encrypt[15 * 16], decrypt[15 * 16];
    static const uint8_t zeros[32];
    uint8_t iv[16] = {0};
    IMB_JOB job = {0};

    memcpy(iv, salt, 14);
    /* key_id is the label and 48 zero bits; the IV is (key_id ^ salt) << 16. */
    iv[7] ^= label;
    if (key_bytes == 32)
        IMB_AES_KEYEXP_256(engine->wide, master_key, encrypt, decrypt);
    else
        IMB_AES_KEYEXP_128(engine->wide, master_key, encrypt, decrypt);
    job.cipher_mode = IMB_CIPHER_CNTR;
    job.cipher_direction = IMB_DIR_ENCRYPT;
    job.enc_keys = encrypt;
    job.key_len_in_bytes = key_bytes;
    job.src = zeros;
    job.dst = out;
    job.msg_len_to_cipher_in_bytes = bytes;
    job.iv = iv;
    job.iv_len_in_bytes = 16;
    IMB_SUBMIT_CIPHER_BURST_NOCHECK(engine->wide, &job, 1, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT,
                                    key_bytes == 32 ? IMB_KEY_256_BYTES : IMB_KEY_128_BYTES);
    explicit_bzero(encrypt, sizeof(encrypt));
    explicit_bzero(decrypt, sizeof(decrypt));
}

void srtp_cm_set(struct srtp_engine *engine, struct srtp_cm *cm, const uint8_t key[16],
                 const uint8_t authentication[20])
{
    _Alignas(16) uint8_t decrypt[11 * 16];
    uint8_t block[IMB_SHA1_BLOCK_SIZE];

    IMB_AES_KEYEXP_128(engine->wide, key, cm->round_keys, decrypt);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (i < 20 ? authentication[i] : 0) ^ 0x36;
    IMB_SHA1_ONE_BLOCK(engine->wide, block, cm->inner);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36 ^ 0x5c;
    IMB_SHA1_ONE_BLOCK(engine->wide, block, cm->outer);
    explicit_bzero(decrypt, sizeof(decrypt));
    explicit_bzero(block, sizeof(block));
}

void srtp_key_set_aead(struct srtp_engine *engine, struct srtp_key *key, enum srtp_profile profile,
                       const uint8_t *rtp_key, const uint8_t *rtp_salt, const uint8_t *rtcp_key,
                       const uint8_t *rtcp_salt)
{
    struct srtp_key_inside *inside = (struct srtp_key_inside *)key;

    inside->profile = (uint8_t)profile;
    memcpy(inside->rtp_salt, rtp_salt, 12);
    memcpy(inside->rtcp_salt, rtcp_salt, 12);
    if (profile == SRTP_PROFILE_aead_aes_256_gcm) {
        memcpy(inside->rtcp_key, rtcp_key, 32);
        IMB_AES256_GCM_PRE(engine->wide, rtp_key, &inside->gcm);
    } else {
        memcpy(inside->rtcp_key, rtcp_key, 16);
        IMB_AES128_GCM_PRE(engine->wide, rtp_key, &inside->gcm);
    }
}

bool srtp_key_init(struct srtp_engine *engine, struct srtp_key *key, enum srtp_profile profile,
                   const uint8_t *master_key, const uint8_t *master_salt)
{
    struct srtp_key_inside *inside = (struct srtp_key_inside *)key;
    uint8_t rtp[32], rtcp[32], authentication[20];
    uint8_t salt[14] = {0}; /* RFC 7714 11: a salt of 12 bytes gets zeros at its end */
    uint8_t rtp_salt[14], rtcp_salt[14];
    size_t key_bytes, salt_bytes;

    memset(key, 0, sizeof(*key));
    srtp_profile_sizes(profile, &key_bytes, &salt_bytes);
    if (key_bytes == 0)
        return false;
    memcpy(salt, master_salt, salt_bytes);
    srtp_derive(engine, master_key, key_bytes, salt, LABEL_RTP_KEY, rtp, key_bytes);
    srtp_derive(engine, master_key, key_bytes, salt, LABEL_RTCP_KEY, rtcp, key_bytes);
    srtp_derive(engine, master_key, key_bytes, salt, LABEL_RTP_SALT, rtp_salt, salt_bytes);
    srtp_derive(engine, master_key, key_bytes, salt, LABEL_RTCP_SALT, rtcp_salt, salt_bytes);
    if (profile == SRTP_PROFILE_aes128_cm_sha1_80) {
        inside->profile = (uint8_t)profile;
        memcpy(inside->rtp_salt, rtp_salt, salt_bytes);
        memcpy(inside->rtcp_salt, rtcp_salt, salt_bytes);
        srtp_derive(engine, master_key, key_bytes, salt, LABEL_RTP_AUTHENTICATION, authentication,
                    sizeof(authentication));
        srtp_cm_set(engine, &inside->cm.rtp, rtp, authentication);
        srtp_derive(engine, master_key, key_bytes, salt, LABEL_RTCP_AUTHENTICATION, authentication,
                    sizeof(authentication));
        srtp_cm_set(engine, &inside->cm.rtcp, rtcp, authentication);
        explicit_bzero(authentication, sizeof(authentication));
    } else {
        srtp_key_set_aead(engine, key, profile, rtp, rtp_salt, rtcp, rtcp_salt);
    }
    explicit_bzero(rtp, sizeof(rtp));
    explicit_bzero(rtcp, sizeof(rtcp));
    explicit_bzero(rtp_salt, sizeof(rtp_salt));
    explicit_bzero(rtcp_salt, sizeof(rtcp_salt));
    explicit_bzero(salt, sizeof(salt));
    return true;
}

void srtp_key_wipe(struct srtp_key *key)
{
    explicit_bzero(key, sizeof(*key));
}
