/* For all SRTP tests: hexadecimal text, random numbers from a seed, memory that ends at an
 * inaccessible page. */
#ifndef RINGCAST_TESTS_SRTP_SUPPORT_H
#define RINGCAST_TESTS_SRTP_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "dataplane/engines/srtp/engine.h"

#define PROFILES 3
static const enum srtp_profile profiles[PROFILES] = {
    SRTP_PROFILE_aes128_cm_sha1_80,
    SRTP_PROFILE_aead_aes_128_gcm,
    SRTP_PROFILE_aead_aes_256_gcm,
};

static inline size_t unhex(const char *hex, uint8_t *out, size_t room)
{
    size_t bytes = strlen(hex) / 2;

    assert_true(bytes <= room);
    for (size_t i = 0; i < bytes; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};

        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return bytes;
}

static inline void assert_hex(const uint8_t *data, size_t bytes, const char *hex)
{
    assert_int_equal(bytes, strlen(hex) / 2);
    for (size_t i = 0; i < bytes; i++) {
        char pair[3];

        snprintf(pair, sizeof(pair), "%02x", data[i]);
        if (strncasecmp(pair, hex + 2 * i, 2) != 0)
            fail_msg("byte %zu of %zu is %s, not %.2s", i, bytes, pair, hex + 2 * i);
    }
}

static uint64_t random_state = 0x9e3779b97f4a7c15ull;
static inline uint64_t random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1dull;
}

static inline size_t random_below(size_t n)
{
    return (size_t)(random64() % n);
}

static inline void random_fill(uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(random64() >> 32);
}

/* Memory that ends at an inaccessible page, so that an access to the next byte ends the test. */
static inline uint8_t *guarded_new(size_t bytes, size_t *mapped)
{
    size_t page = 4096, whole = (bytes + page - 1) / page * page;
    uint8_t *p =
        mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(p != MAP_FAILED);
    assert_int_equal(mprotect(p + whole, page, PROT_NONE), 0);
    *mapped = whole + page;
    return p + whole - bytes;
}

static inline void guarded_delete(uint8_t *data, size_t mapped)
{
    munmap((void *)((uintptr_t)data & ~(uintptr_t)4095), mapped);
}

/* A master key and salt, and the session keys that the engine derives from them. */
struct test_key {
    enum srtp_profile profile;
    uint8_t master[46]; /* key || salt */
    size_t key_bytes, salt_bytes;
    struct srtp_key key;
};

static inline void test_key_make(struct srtp_engine *engine, struct test_key *k,
                                 enum srtp_profile profile)
{
    k->profile = profile;
    srtp_profile_sizes(profile, &k->key_bytes, &k->salt_bytes);
    random_fill(k->master, k->key_bytes + k->salt_bytes);
    assert_true(srtp_key_init(engine, &k->key, profile, k->master, k->master + k->key_bytes));
}

/* Writes an RTP header that, at random, has CSRCs and an extension block. Returns its length. */
static inline size_t random_header(uint8_t *out, uint32_t ssrc, uint16_t sequence)
{
    size_t csrcs = random_below(3) == 0 ? random_below(16) : 0;
    size_t words = random_below(2) == 0 ? random_below(8) : 0, bytes = 12 + 4 * csrcs;
    bool extension = words > 0;

    random_fill(out, bytes + 4 + 4 * words);
    out[0] = (uint8_t)(0x80 | (extension ? 0x10 : 0) | csrcs);
    out[1] = (uint8_t)(random64() & 1 ? 0x80 | 101 : 101);
    out[2] = (uint8_t)(sequence >> 8);
    out[3] = (uint8_t)sequence;
    srtp_store32(out + 8, ssrc);
    if (!extension)
        return bytes;
    out[bytes] = 0xbe;
    out[bytes + 1] = 0xde;
    out[bytes + 2] = 0;
    out[bytes + 3] = (uint8_t)words;
    return bytes + 4 + 4 * words;
}

/* Protects one packet, `bytes` of header and payload. Returns its new length. */
static inline size_t protect_one(struct srtp_engine *engine, const struct srtp_key *key,
                                 uint64_t index, const uint8_t *clear, size_t header_bytes,
                                 size_t bytes, uint8_t *out)
{
    struct srtp_protect_job job = {
        .key = key,
        .out = out,
        .payload = clear + header_bytes,
        .index = index,
        .ssrc = srtp_load32(clear + 8),
        .header_bytes = (uint16_t)header_bytes,
        .payload_bytes = (uint16_t)(bytes - header_bytes),
    };

    memcpy(out, clear, header_bytes);
    srtp_protect_burst(engine, &job, 1);
    return bytes + srtp_tag_bytes(srtp_inside(key)->profile);
}

static inline struct srtp_unprotect_job unprotect_job(const struct srtp_key *key,
                                                      struct srtp_stream *stream, uint8_t *packet,
                                                      size_t header_bytes, size_t bytes)
{
    return (struct srtp_unprotect_job){
        .key = key,
        .stream = stream,
        .packet = packet,
        .ssrc = srtp_load32(packet + 8),
        .sequence = (uint16_t)(packet[2] << 8 | packet[3]),
        .header_bytes = (uint16_t)header_bytes,
        .bytes = (uint16_t)bytes,
    };
}

#endif
