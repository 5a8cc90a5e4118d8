/* The counters behind receiver reports and NACKs. */
#include "receiver.h"

#include "dataplane/engines/rtcp.h"
#include "src/clock.h"
#include "target.h"

void receiver_count(struct receiver *r, uint64_t index, uint32_t timestamp, uint64_t arrived_ns)
{
    uint64_t clock_rate = r->kind == STREAM_VIDEO ? 90000 : 48000;
    uint32_t transit = (uint32_t)(arrived_ns / 1000 * clock_rate / 1000000) - timestamp;
    int32_t difference = (int32_t)(transit - r->transit);
    uint32_t extended = (uint32_t)index; /* roll-over counter and sequence number */
    int32_t ahead = (int32_t)(extended - r->highest);

    r->packets++;
    r->transit = transit;
    if (!r->has_packets) {
        r->has_packets = true;
        r->base = r->highest = extended;
        return;
    }
    r->jitter += (uint32_t)(difference < 0 ? -difference : difference) - ((r->jitter + 8) >> 4);
    if (ahead > 0) {
        r->missing_mask = ahead >= 64 ? 0 : r->missing_mask << ahead;
        r->missing_mask |= ahead > 64 ? 0 : ((ahead > 1) ? (1ull << (ahead - 1)) - 1 : 0);
        r->highest = extended;
    } else if (ahead < 0 && ahead >= -64) {
        r->missing_mask &= ~(1ull << (-ahead - 1));
    }
}

void receiver_recovered(struct receiver *r, uint16_t sequence)
{
    uint16_t behind = (uint16_t)((uint16_t)r->highest - sequence);

    if (behind >= 1 && behind <= 64)
        r->missing_mask &= ~(1ull << (behind - 1));
}

/* RFC 3550 A.3 */
void receiver_report(struct receiver *r, struct rtcp_report_block *block, uint64_t now_ns)
{
    uint32_t expected = r->highest - r->base + 1;
    uint32_t expected_now = expected - r->expected_before;
    int32_t lost_now = (int32_t)(expected_now - (r->packets - r->packets_before));

    *block = (struct rtcp_report_block){.ssrc = r->ssrc,
                                        .packets_lost = (int32_t)(expected - r->packets),
                                        .highest_sequence = r->highest,
                                        .jitter = r->jitter >> 4,
                                        .last_sr = r->last_sr};
    if (expected_now && lost_now > 0)
        block->fraction_lost = (uint8_t)(((uint64_t)lost_now << 8) / expected_now > 255
                                             ? 255
                                             : ((uint64_t)lost_now << 8) / expected_now);
    if (r->last_sr_ns)
        block->delay_since_last_sr = (uint32_t)((now_ns - r->last_sr_ns) / 1000 * 65536 / 1000000);
    r->expected_before = expected;
    r->packets_before = r->packets;
}

/* RFC 4585 6.2.1: each entry is a sequence number and a mask of the sixteen numbers after it. */
size_t receiver_nack(const struct receiver *r, uint32_t sender_ssrc, uint8_t out[NACK_BYTES_MAX])
{
    uint64_t left = r->missing_mask;
    size_t bytes = 12;

    out[0] = 0x80 | RTPFB_NACK;
    out[1] = RTCP_RTPFB;
    out[2] = 0;
    for (int i = 0; i < 4; i++) {
        out[4 + i] = (uint8_t)(sender_ssrc >> (24 - 8 * i));
        out[8 + i] = (uint8_t)(r->ssrc >> (24 - 8 * i));
    }
    while (left) {
        int oldest = 63 - __builtin_clzll(left); /* bit i stands for highest - 1 - i */
        uint16_t id = (uint16_t)(r->highest - 1 - (uint32_t)oldest), mask = 0;

        left &= ~(1ull << oldest);
        for (int k = 1; k <= 16 && oldest - k >= 0; k++)
            if (left >> (oldest - k) & 1) {
                mask |= (uint16_t)(1u << (k - 1));
                left &= ~(1ull << (oldest - k));
            }
        out[bytes++] = (uint8_t)(id >> 8);
        out[bytes++] = (uint8_t)id;
        out[bytes++] = (uint8_t)(mask >> 8);
        out[bytes++] = (uint8_t)mask;
    }
    out[3] = (uint8_t)(bytes / 4 - 1);
    return bytes;
}
