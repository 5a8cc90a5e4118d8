/* SipHash-2-4. */
#include "keyed_hash.h"

#include <stdbool.h>

#include "src/random.h"

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void mix(uint64_t v[4], unsigned rounds)
{
    while (rounds-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32) + v[3];
        v[2] += v[1];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

/* The next `count` bytes, at most 8, the lowest first. */
static uint64_t word_of(const unsigned char *bytes, size_t count)
{
    uint64_t word = 0;

    for (size_t i = 0; i < count; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

uint64_t keyed_hash_with(const uint64_t key[2], const void *bytes, size_t count)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                     key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
    const unsigned char *at = bytes;
    size_t left = count;
    uint64_t word;

    for (; left >= 8; left -= 8, at += 8) {
        word = word_of(at, 8);
        v[3] ^= word;
        mix(v, 2);
        v[0] ^= word;
    }
    word = word_of(at, left) | (uint64_t)count << 56;
    v[3] ^= word;
    mix(v, 2);
    v[0] ^= word;
    v[2] ^= 0xff;
    mix(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t keyed_hash(const void *bytes, size_t count)
{
    static uint64_t key[2];
    static bool has_key;

    if (!has_key)
        random_bytes(key, sizeof(key));
    has_key = true;
    return keyed_hash_with(key, bytes, count);
}
