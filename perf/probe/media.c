/* The probe's generated streams and its exact measurements. */
#include "media.h"

#include <stdlib.h>
#include <string.h>

#define RTP_HEADER_BYTES 12
#define VIDEO_PACKET_BYTES 1100
#define KEY_FRAME_INTERVAL 300 /* frames */
#define STAMP_BYTES 16         /* mark, send time */

static void put(uint8_t *p, uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t)value;
        value >>= 8;
    }
}

static uint64_t get(const uint8_t *p, int bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | *p++;
    return value;
}

/* RFC 7741: a one-byte descriptor on every packet; a frame's first packet starts with the frame
 * tag, and of a key frame with the start code and a size of 16 × 16. */
static size_t vp8_head(uint8_t *p, bool first, bool key)
{
    static const uint8_t key_head[] = {0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a, 16, 0, 16, 0};

    if (!first) {
        p[0] = 0x00;
        return 1;
    }
    p[0] = 0x10;
    if (key) {
        memcpy(p + 1, key_head, sizeof(key_head));
        return 1 + sizeof(key_head);
    }
    p[1] = 0x11;
    p[2] = p[3] = 0;
    return 4;
}

void sender_frame(struct sender *s, size_t bytes, uint64_t now_ns, uint64_t mark,
                  void (*send)(void *context, uint8_t *packet, size_t bytes), void *context)
{
    bool key = s->is_video && (atomic_exchange(&s->key_frame_wanted, false) ||
                               s->frames % KEY_FRAME_INTERVAL == 0);
    bool first = true;

    do {
        uint8_t packet[PACKET_ROOM] = {0x80};
        size_t n = bytes < VIDEO_PACKET_BYTES ? bytes : VIDEO_PACKET_BYTES, at = RTP_HEADER_BYTES;
        bool last = bytes <= VIDEO_PACKET_BYTES;

        packet[1] = (uint8_t)(s->payload_type | (last && s->is_video ? 0x80 : 0));
        put(packet + 2, s->sequence++, 2);
        put(packet + 4, s->timestamp, 4);
        put(packet + 8, s->ssrc, 4);
        if (s->is_video)
            at += vp8_head(packet + at, first, key);
        put(packet + RTP_HEADER_BYTES + n - STAMP_BYTES, mark, 8);
        put(packet + RTP_HEADER_BYTES + n - STAMP_BYTES + 8, now_ns, 8);
        (void)at;
        s->packets++;
        s->bytes += n;
        send(context, packet, RTP_HEADER_BYTES + n);
        bytes -= n;
        first = false;
    } while (bytes > 0);
    s->frames++;
    s->timestamp += s->is_video ? 3000 : 960;
}

static bool seen_before(struct receiver *r, uint16_t sequence)
{
    uint8_t bit = (uint8_t)(1u << (sequence & 7));
    bool seen = r->seen[sequence >> 3] & bit;

    r->seen[sequence >> 3] |= bit;
    /* what is half the number space away is forgotten, so that the map serves for ever */
    r->seen[(uint16_t)(sequence + 32768) >> 3] = 0;
    return seen;
}

void receiver_packet(struct receiver *r, const uint8_t *packet, size_t bytes, uint64_t now_ns,
                     uint64_t mark)
{
    uint16_t sequence = (uint16_t)get(packet + 2, 2);
    size_t head = RTP_HEADER_BYTES;

    if (bytes < RTP_HEADER_BYTES + STAMP_BYTES)
        return;
    if (packet[0] & 0x10)
        head += 4 + 4 * get(packet + RTP_HEADER_BYTES + 2, 2);
    if (!r->started) {
        r->started = true;
        r->first_sequence = sequence;
        r->first_ns = now_ns;
    } else {
        int16_t ahead = (int16_t)(sequence - (uint16_t)(r->first_sequence + r->highest));

        if (ahead > 0)
            r->highest += ahead;
    }
    if (seen_before(r, sequence)) {
        r->duplicates++;
        return;
    }
    r->packets++;
    r->bytes += bytes;
    if (r->is_video && bytes > head + 4 && packet[head] == 0x10 && !(packet[head + 1] & 1))
        r->key_frames++;
    if (get(packet + bytes - STAMP_BYTES, 8) == mark && r->latency_count < LATENCIES_MAX) {
        uint64_t sent_ns = get(packet + bytes - 8, 8);

        r->ours = true;
        r->latencies_us[r->latency_count++] = (uint32_t)((now_ns - sent_ns) / 1000);
    }
}

uint64_t receiver_lost(const struct receiver *r)
{
    uint64_t expected = r->started ? (uint64_t)r->highest + 1 : 0;

    return expected > r->packets ? expected - r->packets : 0;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

uint32_t receiver_latency_us(struct receiver *r, double percentile)
{
    size_t i;

    if (r->latency_count == 0)
        return 0;
    qsort(r->latencies_us, r->latency_count, sizeof(uint32_t), ascending);
    i = (size_t)(percentile / 100 * (double)r->latency_count);
    return r->latencies_us[i < r->latency_count ? i : r->latency_count - 1];
}
