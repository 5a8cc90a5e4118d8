/* The counters behind receiver reports. */
#include "receiver.h"

#include <string.h>

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
    if (ahead > 0)
        r->highest = extended;
}

void receiver_count_key(struct receiver *r, const struct payload_label *label, uint64_t arrived_ns)
{
    uint64_t bit = 1ull << label->at % 64, *word = &r->key_seen[label->at / 64];

    if (r->key_complete_ns || !label->key || label->spatial != 0)
        return;
    if (!r->key_packets || r->key_stream != label->stream || r->key_frame != label->frame) {
        memset(r->key_seen, 0, sizeof(r->key_seen));
        r->key_stream = label->stream;
        r->key_frame = label->frame;
        r->key_packets = 0;
    }
    r->key_packets += !(*word & bit);
    *word |= bit;
    if (r->key_packets == label->last + 1u)
        r->key_complete_ns = arrived_ns;
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
