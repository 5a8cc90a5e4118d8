/* Transport-wide congestion control: makes RTCP reports of arrival times. */
#include "transport_cc.h"

#include <string.h>

#define TICK_NS 250000ull
#define TICKS_PER_REFERENCE 256 /* the unit of the reference time is 64 ms */
#define HEADER_BYTES 20
#define VECTOR_SYMBOLS 7 /* symbols of two bits in one status vector chunk */
#define RUN_MAX 8191
#define SYMBOLS_MAX TRANSPORT_CC_WINDOW

enum symbol { NOT_RECEIVED = 0, SMALL_DELTA = 1, LARGE_DELTA = 2 };

bool transport_cc_add_packet(struct transport_cc *cc, uint16_t sequence, uint64_t now_ns)
{
    uint32_t tick = (uint32_t)(now_ns / TICK_NS);
    int16_t ahead = (int16_t)(sequence - cc->base);
    bool first = cc->count == 0;

    if (tick == 0)
        tick = 1;
    if (!cc->started || ahead >= 2 * TRANSPORT_CC_WINDOW || ahead < -2 * TRANSPORT_CC_WINDOW) {
        /* The first packet, or the sender has begun to count anew. */
        memset(cc->ticks, 0, sizeof(cc->ticks));
        cc->started = true;
        cc->base = sequence;
        cc->count = 1;
    } else if (ahead < 0) {
        if (ahead + TRANSPORT_CC_WINDOW <= cc->count)
            return false; /* too old: a newer packet has its place in ticks */
        cc->count = (uint16_t)(cc->count - ahead);
        cc->base = sequence;
    } else {
        while (ahead >= TRANSPORT_CC_WINDOW) {
            cc->ticks[cc->base % TRANSPORT_CC_WINDOW] = 0; /* the oldest is forgotten unreported */
            cc->base++;
            if (cc->count)
                cc->count--;
            ahead--;
        }
        while (cc->count <= ahead)
            cc->ticks[(uint16_t)(cc->base + cc->count++) % TRANSPORT_CC_WINDOW] = 0;
    }
    cc->ticks[sequence % TRANSPORT_CC_WINDOW] = tick;
    return first;
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

static uint32_t tick_of(const struct transport_cc *cc, size_t i)
{
    return cc->ticks[(uint16_t)(cc->base + i) % TRANSPORT_CC_WINDOW];
}

/* Packs symbols into chunks: a run chunk for seven or more equal ones, else a vector chunk of
 * seven. Returns the length. */
static size_t chunks_write(const uint8_t *symbols, size_t count, uint8_t *out)
{
    size_t bytes = 0;

    for (size_t i = 0; i < count; bytes += 2) {
        size_t run = 1;
        uint32_t chunk;

        while (i + run < count && run < RUN_MAX && symbols[i + run] == symbols[i])
            run++;
        if (run >= VECTOR_SYMBOLS || i + run == count) {
            chunk = (uint32_t)symbols[i] << 13 | (uint32_t)run;
            i += run;
        } else {
            chunk = 0xc000;
            for (int k = 0; k < VECTOR_SYMBOLS && i < count; k++, i++)
                chunk |= (uint32_t)symbols[i] << (12 - 2 * k);
        }
        put16(out + bytes, chunk);
    }
    return bytes;
}

size_t transport_cc_build_report(struct transport_cc *cc, uint32_t sender_ssrc, uint32_t media_ssrc,
                                 uint8_t *out, size_t room)
{
    uint8_t symbols[SYMBOLS_MAX];
    int16_t deltas[SYMBOLS_MAX];
    size_t taken = 0, first = 0, delta_count = 0, delta_bytes = 0, at, bytes;
    uint32_t reference, before;

    while (first < cc->count && tick_of(cc, first) == 0)
        first++;
    if (first == cc->count)
        return 0;
    reference = tick_of(cc, first) / TICKS_PER_REFERENCE;
    before = reference * TICKS_PER_REFERENCE;
    for (; taken < cc->count; taken++) {
        uint32_t tick = tick_of(cc, taken);
        int32_t delta = (int32_t)(tick - before);

        /* Two bytes per chunk of seven symbols, 8 bytes for a chunk that is not full and for
         * padding, two bytes for this delta. */
        if (HEADER_BYTES + 2 * (taken + 1) / VECTOR_SYMBOLS + 8 + delta_bytes + 2 > room)
            break;
        if (tick == 0) {
            symbols[taken] = NOT_RECEIVED;
            continue;
        }
        if (delta < INT16_MIN || delta > INT16_MAX)
            break; /* the next report begins here, with a new reference time */
        symbols[taken] = delta >= 0 && delta <= 255 ? SMALL_DELTA : LARGE_DELTA;
        delta_bytes += symbols[taken];
        deltas[delta_count++] = (int16_t)delta;
        before = tick;
    }
    memset(out, 0, HEADER_BYTES);
    at = HEADER_BYTES + chunks_write(symbols, taken, out + HEADER_BYTES);
    for (size_t i = 0; i < delta_count; i++) {
        if (deltas[i] >= 0 && deltas[i] <= 255) {
            out[at++] = (uint8_t)deltas[i];
        } else {
            put16(out + at, (uint16_t)deltas[i]);
            at += 2;
        }
    }
    bytes = (at + 3) / 4 * 4;
    memset(out + at, 0, bytes - at);
    out[0] = 0x80 | 15;
    if (bytes != at) { /* RFC 3550 6.4.1: the last byte of the padding says how much there is */
        out[0] |= 0x20;
        out[bytes - 1] = (uint8_t)(bytes - at);
    }
    out[1] = 205;
    put16(out + 2, (uint32_t)(bytes / 4 - 1));
    put32(out + 4, sender_ssrc);
    put32(out + 8, media_ssrc);
    put16(out + 12, cc->base);
    put16(out + 14, (uint32_t)taken);
    put32(out + 16, (reference & 0xffffff) << 8 | cc->report_count++);
    cc->base = (uint16_t)(cc->base + taken);
    cc->count = (uint16_t)(cc->count - taken);
    return bytes;
}
