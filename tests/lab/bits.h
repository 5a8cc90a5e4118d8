/* Bits, the highest of a byte first. */
#ifndef RINGCAST_LAB_BITS_H
#define RINGCAST_LAB_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bits {
    uint8_t *data;
    size_t at, end; /* in bits */
    bool overrun;
};

static inline void bits_put(struct bits *b, unsigned count, uint32_t value)
{
    while (count-- > 0) {
        uint8_t mask = (uint8_t)(0x80 >> b->at % 8), *byte = &b->data[b->at / 8];

        if (b->at == b->end) {
            b->overrun = true;
            return;
        }
        *byte = (uint8_t)((*byte & ~mask) | (value >> count & 1 ? mask : 0));
        b->at++;
    }
}

static inline uint32_t bits_take(struct bits *b, unsigned count)
{
    uint32_t value = 0;

    while (count-- > 0) {
        if (b->at == b->end) {
            b->overrun = true;
            return 0;
        }
        value = value << 1 | (b->data[b->at / 8] >> (7 - b->at % 8) & 1);
        b->at++;
    }
    return value;
}

/* A number below n in as few bits as that takes ("non-symmetric", AV1 4.10.7). */
static inline uint32_t bits_take_below(struct bits *b, uint32_t n)
{
    unsigned width = 0;
    uint32_t few, value;

    while (n >> width)
        width++;
    few = (1u << width) - n;
    value = bits_take(b, width - 1);
    if (value < few)
        return value;
    return (value << 1) - few + bits_take(b, 1);
}

static inline void bits_put_below(struct bits *b, uint32_t n, uint32_t value)
{
    unsigned width = 0;
    uint32_t few;

    while (n >> width)
        width++;
    few = (1u << width) - n;
    if (value < few)
        bits_put(b, width - 1, value);
    else
        bits_put(b, width, value + few);
}

#endif
