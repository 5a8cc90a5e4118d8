/* The pattern, and the label at the end of each payload. */
#include "payload.h"

#include <string.h>

#define BODY_OFFSETS 4096u /* where a body may begin in the pattern; a power of two */
#define CHECKSUM_AT 14     /* in the label */
#define KEY 0x80
#define NEEDS_LOWER 0x40
#define BACK 0x3f

static uint8_t pattern[BODY_OFFSETS + PAYLOAD_BODY_BYTES_MAX];
static uint32_t mark;

void payload_open(uint64_t seed)
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

static const uint8_t *body_of(const struct payload_label *label)
{
    return pattern + ((label->number * 61u + label->stream * 1009u) & (BODY_OFFSETS - 1));
}

/* The sum of all other words of the label. Each single changed bit changes it. */
static uint16_t checksum_of(const uint8_t *at)
{
    uint16_t words[LABEL_BYTES / 2], sum = 0;

    memcpy(words, at, sizeof(words));
    for (size_t i = 0; i < LABEL_BYTES / 2; i++)
        sum = (uint16_t)(sum + words[i]);
    return (uint16_t)(sum - words[CHECKSUM_AT / 2]);
}

void payload_write(uint8_t *payload, size_t head_bytes, size_t bytes, struct payload_label *label)
{
    uint8_t *at = payload + bytes - LABEL_BYTES;
    uint16_t checksum;

    label->body_bytes = (uint16_t)(bytes - LABEL_BYTES - head_bytes);
    memcpy(payload + head_bytes, body_of(label), label->body_bytes);
    memcpy(at, &mark, 4);
    memcpy(at + 4, &label->stream, 4);
    memcpy(at + 8, &label->number, 4);
    memcpy(at + 12, &label->body_bytes, 2);
    memcpy(at + 16, &label->sent_ns, 8);
    memcpy(at + 24, &label->frame, 4);
    at[28] = (uint8_t)(label->spatial << 4 | label->temporal);
    at[29] = label->at;
    at[30] = label->last;
    at[31] = (uint8_t)((label->key ? KEY : 0) | (label->needs_lower ? NEEDS_LOWER : 0) |
                       (label->back & BACK));
    checksum = checksum_of(at);
    memcpy(at + CHECKSUM_AT, &checksum, 2);
}

enum payload_verdict payload_read(const uint8_t *payload, size_t bytes, struct payload_label *label)
{
    const uint8_t *at = payload + bytes - LABEL_BYTES;
    uint16_t checksum;

    if (bytes < LABEL_BYTES || memcmp(at, &mark, 4) != 0)
        return PAYLOAD_FOREIGN;
    memcpy(&label->stream, at + 4, 4);
    memcpy(&label->number, at + 8, 4);
    memcpy(&label->body_bytes, at + 12, 2);
    memcpy(&label->sent_ns, at + 16, 8);
    memcpy(&label->frame, at + 24, 4);
    label->spatial = at[28] >> 4;
    label->temporal = at[28] & 15;
    label->at = at[29];
    label->last = at[30];
    label->back = at[31] & BACK;
    label->key = at[31] & KEY;
    label->needs_lower = at[31] & NEEDS_LOWER;
    memcpy(&checksum, at + CHECKSUM_AT, 2);
    if (checksum != checksum_of(at) || label->body_bytes > PAYLOAD_BODY_BYTES_MAX ||
        (size_t)label->body_bytes + LABEL_BYTES > bytes ||
        memcmp(at - label->body_bytes, body_of(label), label->body_bytes) != 0)
        return PAYLOAD_CORRUPT;
    return PAYLOAD_OK;
}
