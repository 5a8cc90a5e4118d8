/* Prints how long protecting takes, in ns per packet, for bursts of different sizes, and the same
 * for bare calls of intel-ipsec-mb. The only requirement holds on any machine: the engine takes
 * less than twice as long as the bare calls. Each number is the best of many short rounds, so that
 * a busy machine does not matter. */
#include "support.h"

#include <time.h>

#define KEYS 1024
#define SLOT_BYTES 1280
#define ROUND_NS 400000
#define ROUNDS 12

static struct srtp_engine *engine;
static struct test_key (*keys)[KEYS];
static uint8_t *slots, payload[1200];

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int set_up(void **state)
{
    engine = srtp_engine_new();
    keys = calloc(PROFILES, sizeof(*keys));
    slots = aligned_alloc(64, (size_t)SRTP_BURST * SLOT_BYTES);
    if (!engine || !keys || !slots)
        return -1;
    for (size_t p = 0; p < PROFILES; p++)
        for (size_t i = 0; i < KEYS; i++)
            test_key_make(engine, &keys[p][i], profiles[p]);
    random_fill(payload, sizeof(payload));
    return 0;
}

static int tear_down(void **state)
{
    srtp_engine_delete(engine);
    free(keys);
    free(slots);
    return 0;
}

static void engine_burst(size_t profile, size_t first, size_t burst, size_t bytes, uint64_t index)
{
    struct srtp_protect_job jobs[SRTP_BURST];

    for (size_t i = 0; i < burst; i++) {
        jobs[i] = (struct srtp_protect_job){
            .key = &keys[profile][(first + i) % KEYS].key,
            .out = slots + i * SLOT_BYTES,
            .payload = payload,
            .index = index,
            .ssrc = (uint32_t)i,
            .header_bytes = 12,
            .payload_bytes = (uint16_t)bytes,
        };
        memset(jobs[i].out, 0x80, 12);
    }
    srtp_protect_burst(engine, jobs, burst);
}

static void bare_burst(size_t profile, size_t first, size_t burst, size_t bytes, uint64_t index)
{
    for (size_t i = 0; i < burst; i++) {
        const struct srtp_key_inside *key = srtp_inside(&keys[profile][(first + i) % KEYS].key);
        uint8_t *out = slots + i * SLOT_BYTES, iv[16] = {(uint8_t)i, (uint8_t)index};
        struct gcm_context_data context;

        if (profiles[profile] == SRTP_PROFILE_aead_aes_256_gcm) {
            IMB_AES256_GCM_ENC(engine->wide, &key->gcm, &context, out + 12, payload, bytes, iv, out,
                               12, out + 12 + bytes, 16);
        } else if (profiles[profile] == SRTP_PROFILE_aead_aes_128_gcm) {
            IMB_AES128_GCM_ENC(engine->wide, &key->gcm, &context, out + 12, payload, bytes, iv, out,
                               12, out + 12 + bytes, 16);
        } else {
            srtp_job_cipher(&engine->jobs[i], &key->cm.rtp, out + 12, payload, bytes,
                            engine->iv[i]);
        }
    }
    if (profiles[profile] != SRTP_PROFILE_aes128_cm_sha1_80)
        return;
    srtp_run_cipher(engine, engine->jobs, burst);
    for (size_t i = 0; i < burst; i++)
        srtp_job_hash(&engine->jobs[i],
                      &srtp_inside(&keys[profile][(first + i) % KEYS].key)->cm.rtp,
                      slots + i * SLOT_BYTES, 16 + bytes, engine->computed[i]);
    srtp_run_hash(engine, engine->jobs, burst);
}

typedef void burst_function(size_t profile, size_t first, size_t burst, size_t bytes,
                            uint64_t index);

static double best_ns(burst_function *function, size_t profile, size_t burst, size_t bytes,
                      bool many_keys)
{
    double best = 1e9;

    for (size_t round = 0; round < ROUNDS; round++) {
        uint64_t start = now_ns(), end = start, packets = 0, index = 0;
        size_t first = 0;

        while (end - start < ROUND_NS) {
            function(profile, first, burst, bytes, index++);
            packets += burst;
            if (many_keys)
                first += burst;
            end = now_ns();
        }
        if ((double)(end - start) / (double)packets < best)
            best = (double)(end - start) / (double)packets;
    }
    return best;
}

static void engine_adds_little_to_protecting(void **state)
{
    static const size_t bursts[] = {1, 8, 16, 50};
    static const size_t sizes[] = {1200, 160};
    static const char *names[PROFILES] = {"cm_sha1_80", "gcm_128", "gcm_256"};
    double engine_sum = 0, bare_sum = 0;

    fprintf(stderr, "# ns per packet: engine / bare calls / engine over %d keys\n", KEYS);
    for (size_t p = 0; p < PROFILES; p++)
        for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
            for (size_t b = 0; b < sizeof(bursts) / sizeof(*bursts); b++) {
                double ours = best_ns(engine_burst, p, bursts[b], sizes[s], false);
                double bare = best_ns(bare_burst, p, bursts[b], sizes[s], false);
                double many = best_ns(engine_burst, p, bursts[b], sizes[s], true);

                fprintf(stderr, "# %-10s %4zu B, burst %2zu: %5.0f / %5.0f / %5.0f\n", names[p],
                        sizes[s], bursts[b], ours, bare, many);
                engine_sum += ours;
                bare_sum += bare;
            }
    assert_true(engine_sum < 2 * bare_sum);
}

/* Every packet is the next one of its stream. */
static void prints_time_of_unprotecting(void **state)
{
    static const char *names[PROFILES] = {"cm_sha1_80", "gcm_128", "gcm_256"};
    static struct srtp_stream streams[16];
    static uint8_t copies[16][SLOT_BYTES];
    struct srtp_unprotect_job jobs[16];

    for (size_t p = 0; p < PROFILES; p++)
        for (size_t bytes = 160; bytes <= 1200; bytes += 1040)
            for (size_t burst = 1; burst <= 16; burst += 15) {
                uint64_t best = UINT64_MAX;

                memset(streams, 0, sizeof(streams));
                for (size_t round = 0; round < 200; round++) {
                    uint64_t start;

                    engine_burst(p, 0, burst, bytes, round);
                    for (size_t i = 0; i < burst; i++) {
                        memcpy(copies[i], slots + i * SLOT_BYTES, SLOT_BYTES);
                        jobs[i] = unprotect_job(&keys[p][i].key, &streams[i], copies[i], 12,
                                                12 + bytes + srtp_tag_bytes(profiles[p]));
                        jobs[i].ssrc = (uint32_t)i;
                        jobs[i].sequence = (uint16_t)round;
                    }
                    start = now_ns();
                    srtp_unprotect_burst(engine, jobs, burst);
                    if (now_ns() - start < best)
                        best = now_ns() - start;
                    for (size_t i = 0; i < burst; i++)
                        assert_int_equal(jobs[i].result, SRTP_OK);
                }
                fprintf(stderr, "# unprotect %-10s %4zu B, burst %2zu: %5.0f\n", names[p], bytes,
                        burst, (double)best / (double)burst);
            }
}

static void prints_time_of_protecting_rtcp(void **state)
{
    static const char *names[PROFILES] = {"cm_sha1_80", "gcm_128", "gcm_256"};

    for (size_t p = 0; p < PROFILES; p++) {
        uint64_t best = UINT64_MAX;

        for (uint32_t round = 0; round < 2000; round++) {
            size_t bytes = 80;
            uint64_t start = now_ns();

            assert_int_equal(srtcp_protect(engine, &keys[p][0].key, round, slots, &bytes), SRTP_OK);
            if (now_ns() - start < best)
                best = now_ns() - start;
        }
        fprintf(stderr, "# srtcp %-10s 80 B: %llu\n", names[p], (unsigned long long)best);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine_adds_little_to_protecting),
        cmocka_unit_test(prints_time_of_unprotecting),
        cmocka_unit_test(prints_time_of_protecting_rtcp),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
