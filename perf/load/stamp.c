/* The recognisable payload: pattern and stamp. */
#include "stamp.h"

#include <string.h>

#define PATTERN_PLACES 4096u /* a power of two */
#define CHECK_AT 14          /* in the stamp */

static uint8_t pattern[PATTERN_PLACES + STAMP_BODY_BYTES_MAX];
static uint32_t mark;

void stamp_open(uint64_t seed)
{
    uint64_t x = seed | 1;

    for (size_t i = 0; i < sizeof(pattern); i++) { /* xorshift64 */
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        pattern[i] = (uint8_t)(x >> 24);
    }
    mark = (uint32_t)(x >> 16);
}

static const uint8_t *body_of(const struct stamp *stamp)
{
    return pattern + ((stamp->number * 61u + stamp->stream * 1009u) & (PATTERN_PLACES - 1));
}

/* Over everything of the stamp but itself: no single changed bit goes by. */
static uint16_t check_of(const uint8_t *at)
{
    uint16_t words[STAMP_BYTES / 2], sum = 0;

    memcpy(words, at, sizeof(words));
    for (size_t i = 0; i < STAMP_BYTES / 2; i++)
        sum = (uint16_t)(sum + words[i]);
    return (uint16_t)(sum - words[CHECK_AT / 2]);
}

void stamp_write(uint8_t *payload, size_t head_bytes, size_t bytes, struct stamp *stamp)
{
    uint8_t *at = payload + bytes - STAMP_BYTES;
    uint16_t check;

    stamp->body_bytes = (uint16_t)(bytes - STAMP_BYTES - head_bytes);
    memcpy(payload + head_bytes, body_of(stamp), stamp->body_bytes);
    memcpy(at, &mark, 4);
    memcpy(at + 4, &stamp->stream, 4);
    memcpy(at + 8, &stamp->number, 4);
    memcpy(at + 12, &stamp->body_bytes, 2);
    memcpy(at + 16, &stamp->sent_ns, 8);
    check = check_of(at);
    memcpy(at + CHECK_AT, &check, 2);
}

enum stamp_verdict stamp_read(const uint8_t *payload, size_t bytes, struct stamp *stamp)
{
    const uint8_t *at = payload + bytes - STAMP_BYTES;
    uint16_t check;

    if (bytes < STAMP_BYTES || memcmp(at, &mark, 4) != 0)
        return STAMP_FOREIGN;
    memcpy(&stamp->stream, at + 4, 4);
    memcpy(&stamp->number, at + 8, 4);
    memcpy(&stamp->body_bytes, at + 12, 2);
    memcpy(&stamp->sent_ns, at + 16, 8);
    memcpy(&check, at + CHECK_AT, 2);
    if (check != check_of(at) || stamp->body_bytes > STAMP_BODY_BYTES_MAX ||
        (size_t)stamp->body_bytes + STAMP_BYTES > bytes ||
        memcmp(at - stamp->body_bytes, body_of(stamp), stamp->body_bytes) != 0)
        return STAMP_CORRUPT;
    return STAMP_OK;
}
