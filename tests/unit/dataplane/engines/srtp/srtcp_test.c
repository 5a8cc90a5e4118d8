/* SRTCP: vectors of RFC 7714, attacks, the E bit, limits. */
#include "support.h"

static struct srtp_engine *engine;

static int set_up(void **state)
{
    engine = srtp_engine_new();
    return engine ? 0 : -1;
}

static int tear_down(void **state)
{
    srtp_engine_delete(engine);
    return 0;
}

#define RTCP_CLEAR                                                                     \
    "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeef" \
    "deadbeefdeadbeefdeadbeef"

/* RFC 7714 17.1 and 17.2, which give session keys. The packet of 17.3 is authentic but not
 * encrypted (E = 0) and must be refused (gate G7). */
static void vectors_of_rfc7714_17(void **state)
{
    static const struct {
        enum srtp_profile profile;
        const char *key, *wire;
    } rows[] = {
        {SRTP_PROFILE_aead_aes_128_gcm, "000102030405060708090a0b0c0d0e0f",
         "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda"
         "4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4"},
        {SRTP_PROFILE_aead_aes_256_gcm,
         "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
         "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be"
         "8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        uint8_t session[32], salt[12], packet[128];
        struct srtcp_window window = {0};
        struct srtp_key key = {0};
        size_t bytes;

        unhex(rows[i].key, session, sizeof(session));
        unhex("517569642070726f2071756f", salt, sizeof(salt));
        srtp_key_set_aead(engine, &key, rows[i].profile, session, salt, session, salt);
        bytes = unhex(RTCP_CLEAR, packet, sizeof(packet));
        assert_int_equal(srtcp_protect(engine, &key, 0x5d4, packet, &bytes), SRTP_OK);
        assert_hex(packet, bytes, rows[i].wire);
        assert_int_equal(srtcp_unprotect(engine, &key, &window, packet, &bytes), SRTP_OK);
        assert_hex(packet, bytes, RTCP_CLEAR);
        if (i > 0)
            continue;
        window = (struct srtcp_window){0};
        bytes = unhex(RTCP_CLEAR "841dd9683dd78ec92ae58790125f62b3000005d4", packet, 128);
        assert_int_equal(srtcp_unprotect(engine, &key, &window, packet, &bytes), SRTP_UNAUTHENTIC);
        assert_int_equal(window.senders[0].seen, 0);
    }
}

/* A packet with E = 0 is refused in every profile, also when its tag is right. */
static void packet_without_encryption_is_refused(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        uint8_t packet[128] = {0x80, 201, 0, 1, 0, 0, 0, 9}, iv[16], aad[64];
        struct srtcp_window window = {0};
        struct test_key k;
        size_t bytes = 32;

        test_key_make(engine, &k, profiles[p]);
        if (profiles[p] == SRTP_PROFILE_aes128_cm_sha1_80) {
            IMB_JOB job = {0};
            uint8_t computed[16];

            srtp_store32(packet + 32, 5);
            srtp_job_hash(&job, &srtp_inside(&k.key)->cm.rtcp, packet, 36, computed);
            srtp_run_hash(engine, &job, 1);
            memcpy(packet + 36, computed, CM_TAG_BYTES);
            bytes = 46;
        } else {
            const struct srtp_key_inside *key = srtp_inside(&k.key);
            struct gcm_context_data context;
            struct gcm_key_data gcm;

            memcpy(aad, packet, 32);
            srtp_store32(aad + 32, 5);
            srtp_aead_iv(iv, key->rtcp_salt, 9, 5);
            if (profiles[p] == SRTP_PROFILE_aead_aes_256_gcm) {
                IMB_AES256_GCM_PRE(engine->wide, key->rtcp_key, &gcm);
                IMB_AES256_GCM_ENC(engine->wide, &gcm, &context, aad, aad, 0, iv, aad, 36,
                                   packet + 32, 16);
            } else {
                IMB_AES128_GCM_PRE(engine->wide, key->rtcp_key, &gcm);
                IMB_AES128_GCM_ENC(engine->wide, &gcm, &context, aad, aad, 0, iv, aad, 36,
                                   packet + 32, 16);
            }
            srtp_store32(packet + 48, 5);
            bytes = 52;
        }
        assert_int_equal(srtcp_unprotect(engine, &k.key, &window, packet, &bytes),
                         SRTP_UNAUTHENTIC);
        assert_int_equal(window.senders[0].seen, 0);
    }
}

/* A packet in which one bit is inverted is not accepted, whichever bit it is. */
static void inverted_bit_is_never_accepted(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        static const struct srtcp_window nothing;
        uint8_t clear[100], wire[128], out[128];
        struct srtcp_window window = {0};
        struct test_key k;
        size_t bytes = sizeof(clear);

        test_key_make(engine, &k, profiles[p]);
        random_fill(clear, sizeof(clear));
        memcpy(wire, clear, sizeof(clear));
        assert_int_equal(srtcp_protect(engine, &k.key, 1, wire, &bytes), SRTP_OK);
        for (size_t bit = 0; bit < 8 * bytes; bit++) {
            size_t n = bytes;

            memcpy(out, wire, n);
            out[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(srtcp_unprotect(engine, &k.key, &window, out, &n), SRTP_UNAUTHENTIC);
            assert_int_equal(n, bytes);
            assert_memory_equal(&window, &nothing, sizeof(window));
        }
        assert_int_equal(srtcp_unprotect(engine, &k.key, &window, wire, &bytes), SRTP_OK);
        assert_int_equal(bytes, sizeof(clear));
        assert_memory_equal(wire, clear, sizeof(clear));
    }
}

static enum srtp_result receive(const struct srtp_key *key, struct srtcp_window *window,
                                uint32_t ssrc, uint32_t index)
{
    uint8_t packet[64] = {0x80, 201, 0, 1};
    size_t bytes = 8;

    srtp_store32(packet + 4, ssrc);
    assert_int_equal(srtcp_protect(engine, key, index, packet, &bytes), SRTP_OK);
    return srtcp_unprotect(engine, key, window, packet, &bytes);
}

/* A window protects each sender on its own. */
static void replay_protection_is_per_sender(void **state)
{
    static const struct {
        uint32_t ssrc, index;
        enum srtp_result result;
    } steps[] = {
        {1, 1, SRTP_OK},
        {1, 1, SRTP_REPLAYED},
        {0xfa17fa17, 1, SRTP_OK}, /* the SSRC that Chromium uses */
        {0xfa17fa17, 1, SRTP_REPLAYED},
        {0, 0, SRTP_OK},
        {0, 0, SRTP_REPLAYED},
        {1, 3, SRTP_OK},
        {1, 2, SRTP_OK},
        {1, 2, SRTP_REPLAYED},
        {1, 0, SRTP_OK},
        {1, 1000, SRTP_OK},
        {1, 3, SRTP_REPLAYED},
        {1, 1000 - 64, SRTP_REPLAYED},
        {1, 1000 - 63, SRTP_OK},
        {1, 1000 - 63, SRTP_REPLAYED},
        {1, 1063, SRTP_OK},
        {1, 1000, SRTP_REPLAYED},
        {1, 1001, SRTP_OK},
        {1, SRTCP_INDEX_MAX, SRTP_OK},
        {1, SRTCP_INDEX_MAX, SRTP_REPLAYED},
        {1, 1064, SRTP_REPLAYED},
        {0xfa17fa17, 2, SRTP_OK},
    };
    struct srtcp_window window = {0};
    struct test_key k;

    test_key_make(engine, &k, SRTP_PROFILE_aead_aes_128_gcm);
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++)
        if (receive(&k.key, &window, steps[i].ssrc, steps[i].index) != steps[i].result)
            fail_msg("step %zu", i);
    /* Three entries are taken. As many new senders as there are entries replace only the old
     * senders. */
    for (uint32_t ssrc = 100; ssrc < 100 + SRTCP_SENDERS_MAX; ssrc++)
        assert_int_equal(receive(&k.key, &window, ssrc, 7), SRTP_OK);
    for (uint32_t ssrc = 100; ssrc < 100 + SRTCP_SENDERS_MAX; ssrc++)
        assert_int_equal(receive(&k.key, &window, ssrc, 7), SRTP_REPLAYED);
}

/* Compounds of all sizes up to a few blocks: nothing outside them is written. */
static void nothing_outside_the_packet_is_written(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        struct test_key k;

        test_key_make(engine, &k, profiles[p]);
        for (size_t clear_bytes = 8; clear_bytes < 300; clear_bytes++) {
            size_t tag = srtp_tag_bytes(profiles[p]), bytes = clear_bytes, mapped;
            uint8_t *packet = guarded_new(clear_bytes + 4 + tag, &mapped), clear[300];
            struct srtcp_window window = {0};

            random_fill(clear, sizeof(clear));
            memcpy(packet, clear, clear_bytes);
            assert_int_equal(srtcp_protect(engine, &k.key, 5, packet, &bytes), SRTP_OK);
            assert_int_equal(bytes, clear_bytes + 4 + tag);
            assert_true(bytes - clear_bytes <= SRTP_TAIL_BYTES_MAX);
            assert_int_equal(srtcp_unprotect(engine, &k.key, &window, packet, &bytes), SRTP_OK);
            assert_int_equal(bytes, clear_bytes);
            assert_memory_equal(packet, clear, clear_bytes);
            guarded_delete(packet, mapped);
        }
    }
}

static void lengths_and_indexes_have_limits(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        size_t tag = srtp_tag_bytes(profiles[p]), bytes;
        struct srtcp_window window = {0};
        uint8_t packet[64] = {0x80};
        struct test_key k;

        test_key_make(engine, &k, profiles[p]);
        for (size_t n = 0; n < 8 + 4 + tag; n++) {
            bytes = n;
            assert_int_equal(srtcp_unprotect(engine, &k.key, &window, packet, &bytes),
                             SRTP_MALFORMED);
            assert_int_equal(bytes, n);
        }
        for (size_t n = 0; n < 8; n++) {
            bytes = n;
            assert_int_equal(srtcp_protect(engine, &k.key, 0, packet, &bytes), SRTP_MALFORMED);
        }
        bytes = 8;
        assert_int_equal(srtcp_protect(engine, &k.key, 1u << 31, packet, &bytes), SRTP_KEY_LIMIT);
        assert_int_equal(bytes, 8);
        assert_int_equal(srtcp_protect(engine, &k.key, SRTCP_INDEX_MAX, packet, &bytes), SRTP_OK);
        assert_int_equal(bytes, 8 + 4 + tag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_rfc7714_17),
        cmocka_unit_test(packet_without_encryption_is_refused),
        cmocka_unit_test(inverted_bit_is_never_accepted),
        cmocka_unit_test(replay_protection_is_per_sender),
        cmocka_unit_test(nothing_outside_the_packet_is_written),
        cmocka_unit_test(lengths_and_indexes_have_limits),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
