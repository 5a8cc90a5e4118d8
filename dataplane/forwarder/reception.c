/* What was received of an encoding. */
#include "reception.h"

#include "src/clock.h"

void reception_add(struct encoding *e, const struct rtp_view *view, uint64_t index,
                   size_t packet_bytes, uint32_t clock_rate, uint64_t now_ns)
{
    uint32_t arrival = (uint32_t)((__uint128_t)now_ns * clock_rate / NS_PER_S);
    uint32_t transit = arrival - view->timestamp;

    if (!e->started || e->seen_ssrc != view->ssrc) {
        e->started = true;
        e->seen_ssrc = view->ssrc;
        e->first_index = index;
        e->highest_index = index;
        e->highest_before = 0;
        e->sends_parameters = false;
        e->packets = 0;
        e->empty_packets = 0;
        e->has_dropped_numbers = false;
        e->expected_prior = 0;
        e->received_prior = 0;
        e->jitter = 0;
        e->transit = transit;
        e->has_sr = false;
    } else if (packet_bytes) {
        int32_t d = (int32_t)(transit - e->transit);

        e->jitter += (uint32_t)(d < 0 ? -d : d) - ((e->jitter + 8) >> 4);
    }
    if (index > e->highest_index) {
        e->highest_before = e->highest_index;
        e->highest_index = index;
    }
    if (index < e->first_index)
        e->first_index = index;
    e->packets++;
    if (packet_bytes == 0) {
        e->empty_packets++;
        return;
    }
    e->transit = transit;
    e->bytes += packet_bytes;
    e->last_packet_ns = now_ns;
}
