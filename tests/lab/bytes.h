/* Numbers in network order, and a random generator with a seed. The lab has code of its own for
 * this and for every format, because an error in the product's code would otherwise hide itself. */
#ifndef RINGCAST_LAB_BYTES_H
#define RINGCAST_LAB_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline void write16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void write32(uint8_t *p, uint32_t v)
{
    write16(p, v >> 16);
    write16(p + 2, v);
}

static inline uint32_t read16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t read32(const uint8_t *p)
{
    return read16(p) << 16 | read16(p + 2);
}

/* splitmix64 (Steele, Lea and Flood 2014) */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* 0 to n - 1 */
static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((random_next(state) >> 32) * n >> 32);
}

/* FNV-1a over `bytes`, begun with `hash`. */
static inline uint64_t hash_more(uint64_t hash, const void *data, size_t bytes)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    return hash;
}

/* Sequence numbers that count for ever: the value nearest to `last` that ends in `low`, which has
 * `bits` bits. */
static inline int64_t unwrap_near(int64_t last, uint32_t low, unsigned bits)
{
    int64_t modulus = (int64_t)1 << bits, difference = (low - last) & (modulus - 1);

    return last + (difference >= modulus / 2 ? difference - modulus : difference);
}

#endif
