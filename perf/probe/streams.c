/* Builds packets and counts received ones. */
#include "streams.h"

#include <stdlib.h>
#include <string.h>

#include "src/clock.h"

#define RTP_HEADER_BYTES 12
#define VIDEO_PACKET_BYTES 1100
#define KEY_FRAME_INTERVAL 300 /* frames */
#define LABEL_BYTES 20         /* run, time of sending, number */
#define PAYLOAD_BYTES_MIN 40   /* VP8's head and the label */

static void put_number(uint8_t *p, uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t)value;
        value >>= 8;
    }
}

static uint64_t get_number(const uint8_t *p, int bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | *p++;
    return value;
}

/* RFC 7741: each packet has a one-byte descriptor. In the first packet of a frame VP8's frame tag
 * follows, in a key frame also the start code and the size, 16 × 16. */
static void write_vp8_head(uint8_t *p, bool first, bool key)
{
    static const uint8_t key_head[] = {0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a, 16, 0, 16, 0};

    if (!first) {
        p[0] = 0x00;
        return;
    }
    p[0] = 0x10;
    if (key) {
        memcpy(p + 1, key_head, sizeof(key_head));
        return;
    }
    p[1] = 0x11;
    p[2] = p[3] = 0;
}

void sender_frame(struct sender *s, size_t bytes, uint64_t now_ns, uint64_t run,
                  void (*send)(void *context, uint8_t *packet, size_t bytes), void *context)
{
    bool key = s->is_video && (atomic_exchange(&s->key_frame_wanted, false) ||
                               s->frames % KEY_FRAME_INTERVAL == 0);
    bool first = true;

    do {
        uint8_t packet[PACKET_BYTES_MAX] = {0x80}, *label;
        size_t n = bytes < VIDEO_PACKET_BYTES ? bytes : VIDEO_PACKET_BYTES;
        bool last = bytes <= VIDEO_PACKET_BYTES;

        bytes -= n;
        if (n < PAYLOAD_BYTES_MIN)
            n = PAYLOAD_BYTES_MIN;
        packet[1] = (uint8_t)(s->payload_type | (last && s->is_video ? 0x80 : 0));
        put_number(packet + 2, s->sequence++, 2);
        put_number(packet + 4, s->timestamp, 4);
        put_number(packet + 8, s->ssrc, 4);
        if (s->is_video)
            write_vp8_head(packet + RTP_HEADER_BYTES, first, key);
        label = packet + RTP_HEADER_BYTES + n - LABEL_BYTES;
        put_number(label, run, 8);
        put_number(label + 8, now_ns, 8);
        put_number(label + 16, s->packets, 4);
        s->packets++;
        s->bytes += n;
        send(context, packet, RTP_HEADER_BYTES + n);
        first = false;
    } while (bytes > 0);
    s->frames++;
    s->frame_ns = now_ns;
    s->timestamp += s->is_video ? 3000 : 960;
}

static bool seen_before(struct receiver *r, uint16_t sequence)
{
    uint8_t bit = (uint8_t)(1u << (sequence & 7));
    bool seen = r->seen[sequence >> 3] & bit;

    r->seen[sequence >> 3] |= bit;
    /* Clear the bits of numbers that are half the number space away. So they are clear when the
     * numbers wrap around. */
    r->seen[(uint16_t)(sequence + 32768) >> 3] = 0;
    return seen;
}

static void update_jitter(struct receiver *r, uint32_t timestamp, uint64_t now_ns)
{
    uint64_t clock_rate = r->is_video ? 90000 : 48000;
    uint32_t transit = (uint32_t)((__uint128_t)now_ns * clock_rate / NS_PER_S) - timestamp;
    int32_t difference = (int32_t)(transit - r->transit);

    if (r->packets > 1)
        r->jitter += (uint32_t)(difference < 0 ? -difference : difference) - ((r->jitter + 8) >> 4);
    r->transit = transit;
}

void receiver_packet(struct receiver *r, const uint8_t *packet, size_t bytes, uint64_t now_ns,
                     uint64_t run)
{
    uint16_t sequence = (uint16_t)get_number(packet + 2, 2);
    size_t head = RTP_HEADER_BYTES;
    const uint8_t *label;

    if (bytes < RTP_HEADER_BYTES + LABEL_BYTES)
        return;
    if (packet[0] & 0x10)
        head += 4 + 4 * get_number(packet + RTP_HEADER_BYTES + 2, 2);
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
    r->last_ns = now_ns;
    r->bytes += bytes;
    if (r->is_video && bytes > head + 4 && packet[head] == 0x10 && !(packet[head + 1] & 1))
        r->key_frames++;
    update_jitter(r, (uint32_t)get_number(packet + 4, 4), now_ns);
    label = packet + bytes - LABEL_BYTES;
    if (get_number(label, 8) == run) {
        uint32_t number = (uint32_t)get_number(label + 16, 4);

        if (!r->is_own || number < r->first_number)
            r->first_number = number;
        r->is_own = true;
        if (r->latency_count < LATENCIES_MAX)
            r->latencies_us[r->latency_count++] =
                (uint32_t)((now_ns - get_number(label + 8, 8)) / 1000);
    }
}

uint64_t receiver_lost(const struct receiver *r)
{
    uint64_t expected = r->started ? (uint64_t)r->highest + 1 : 0;

    return expected > r->packets ? expected - r->packets : 0;
}

uint64_t receiver_lost_of(const struct receiver *r, const struct sender *sender)
{
    uint64_t expected = r->is_own ? sender->packets - r->first_number : 0;

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
