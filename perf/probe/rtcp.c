/* Writes and reads RTCP compounds. */
#include "rtcp.h"

#include <string.h>

#include "src/clock.h"

#define NTP_EPOCH_S 2208988800ull /* from 1900 to 1970 */

enum { RTCP_SR = 200, RTCP_RR = 201, RTCP_SDES = 202, RTCP_PSFB = 206 };

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

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The NTP time stamp: seconds since 1900 × 2^32. */
static uint64_t ntp_of(uint64_t wall_ns)
{
    return (wall_ns / NS_PER_S + NTP_EPOCH_S) << 32 | ((wall_ns % NS_PER_S) << 32) / NS_PER_S;
}

static void write_header(uint8_t *out, unsigned count, unsigned type, size_t bytes)
{
    out[0] = (uint8_t)(0x80 | count);
    out[1] = (uint8_t)type;
    put16(out + 2, (uint32_t)(bytes / 4 - 1));
}

/* ---- writing ---- */

size_t rtcp_write_sender_report(uint8_t out[REPORT_BYTES_MAX], const struct sender *s,
                                uint64_t now_ns, uint64_t wall_ns)
{
    static const uint8_t name[] = {1, 5, 'p', 'r', 'o', 'b', 'e', 0}; /* CNAME, end */
    uint64_t clock_rate = s->is_video ? 90000 : 48000, ntp = ntp_of(wall_ns);
    uint32_t step = s->is_video ? 3000 : 960;

    if (!s->frames)
        return 0;
    write_header(out, 0, RTCP_SR, 28);
    put32(out + 4, s->ssrc);
    put32(out + 8, (uint32_t)(ntp >> 32));
    put32(out + 12, (uint32_t)ntp);
    put32(out + 16,
          s->timestamp - step + (uint32_t)((now_ns - s->frame_ns) * clock_rate / NS_PER_S));
    put32(out + 20, (uint32_t)s->packets);
    put32(out + 24, (uint32_t)s->bytes);
    write_header(out + 28, 1, RTCP_SDES, 16);
    put32(out + 32, s->ssrc);
    memcpy(out + 36, name, sizeof(name));
    return 44;
}

static void write_block(uint8_t *out, const struct receiver *r, uint64_t now_ns)
{
    uint64_t lost = receiver_lost(r);
    uint32_t delay =
        r->last_report ? (uint32_t)(((now_ns - r->last_report_ns) << 16) / NS_PER_S) : 0;

    put32(out, r->ssrc);
    put32(out + 4, (uint32_t)(lost < 0x7fffff ? lost : 0x7fffff));
    put32(out + 8, (uint32_t)(r->first_sequence + r->highest));
    put32(out + 12, r->jitter >> 4);
    put32(out + 16, r->last_report);
    put32(out + 20, delay);
}

size_t rtcp_write_receiver_report(uint8_t out[REPORT_BYTES_MAX], const struct receiver *receivers,
                                  unsigned count, uint32_t ssrc, uint64_t now_ns)
{
    unsigned blocks = 0;

    for (unsigned i = 0; i < count && blocks < REPORT_BLOCKS_MAX; i++)
        if (receivers[i].started)
            write_block(out + 8 + (size_t)24 * blocks++, &receivers[i], now_ns);
    if (!blocks)
        return 0;
    write_header(out, blocks, RTCP_RR, 8 + (size_t)24 * blocks);
    put32(out + 4, ssrc);
    return 8 + (size_t)24 * blocks;
}

/* ---- reading ---- */

/* The next packet of a compound; NULL: the end, or a wrong length. */
static const uint8_t *next_packet(const uint8_t *data, size_t bytes, size_t *at, size_t *length)
{
    const uint8_t *packet = data + *at;

    if (bytes - *at < 8)
        return NULL;
    *length = 4 + 4 * ((size_t)packet[2] << 8 | packet[3]);
    if (*length < 8 || *length > bytes - *at)
        return NULL;
    *at += *length;
    return packet;
}

static void read_block(struct sender *s, const uint8_t *b, uint64_t wall_ns)
{
    uint32_t now = (uint32_t)(ntp_of(wall_ns) >> 16), last = get32(b + 16), delay = get32(b + 20);

    if (get32(b) != s->ssrc)
        return;
    s->reports++;
    s->reported_lost = get32(b + 4) & 0xffffff;
    if (s->reported_lost > 0x7fffff) /* negative, because of duplicates */
        s->reported_lost = 0;
    if (last)
        s->round_trip_ms = (double)(int32_t)(now - delay - last) * 1000 / 65536;
}

void rtcp_read_about_sender(struct sender *s, const uint8_t *data, size_t bytes, uint64_t wall_ns)
{
    const uint8_t *packet;
    size_t at = 0, length;

    while ((packet = next_packet(data, bytes, &at, &length))) {
        unsigned count = packet[0] & 31;
        size_t first = packet[1] == RTCP_SR ? 28 : 8;

        /* payload-specific feedback 1 is PLI, 4 is FIR (RFC 4585, RFC 5104) */
        if (packet[1] == RTCP_PSFB && length >= 12 &&
            ((count == 1 && get32(packet + 8) == s->ssrc) ||
             (count == 4 && length >= 16 && get32(packet + 12) == s->ssrc)))
            atomic_store(&s->key_frame_wanted, true);
        if (packet[1] == RTCP_SR || packet[1] == RTCP_RR)
            for (size_t b = first; count-- && b + 24 <= length; b += 24)
                read_block(s, packet + b, wall_ns);
    }
}

void rtcp_read_about_receiver(struct receiver *r, const uint8_t *data, size_t bytes,
                              uint64_t now_ns)
{
    const uint8_t *packet;
    size_t at = 0, length;

    while ((packet = next_packet(data, bytes, &at, &length)))
        if (packet[1] == RTCP_SR && length >= 28 && get32(packet + 4) == r->ssrc) {
            r->last_report = get32(packet + 8) << 16 | get32(packet + 12) >> 16;
            r->last_report_ns = now_ns;
        }
}
