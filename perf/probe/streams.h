/* What the probe sends and what it measures of what it receives: streams that look like VP8 and
 * Opus to a server and carry time, a number and the probe's own mark, so that loss, duplicates and
 * latency are exact. No I/O.
 *
 * Threads: a sender belongs to its sending thread but for key_frame_wanted; a receiver to the
 * transport's thread, read by others after the run. */
#ifndef RINGCAST_PROBE_STREAMS_H
#define RINGCAST_PROBE_STREAMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_ROOM 1400 /* with room for SRTP */
#define LATENCIES_MAX 200000

struct sender {
    uint32_t ssrc;
    uint8_t payload_type;
    bool is_video;
    uint16_t sequence;
    uint32_t timestamp;
    uint64_t packets, bytes, frames;
    uint64_t frame_ns; /* of the last frame, with the time stamp before `timestamp` */
    _Atomic bool key_frame_wanted;
    /* what the server's receiver reports say; of the transport's thread */
    uint32_t reports, reported_lost;
    double round_trip_ms;
};

struct receiver {
    uint32_t ssrc;
    bool is_video, paused, started, ours; /* ours: the mark is this process's, so clocks agree */
    uint16_t first_sequence;
    int64_t highest; /* extended, relative to first_sequence */
    uint64_t packets, duplicates, bytes;
    uint64_t consumed_ns, first_ns, last_ns, key_frames;
    uint32_t first_number;    /* of the sender's own count, which no server rewrites */
    uint32_t transit, jitter; /* RFC 3550 A.8, time-stamp units; jitter scaled by 16 */
    uint32_t last_report;     /* middle of the NTP time of the server's last SR */
    uint64_t last_report_ns;
    uint8_t seen[8192]; /* bit map of the last 65536 sequence numbers */
    uint32_t *latencies_us;
    size_t latency_count;
};

/* Writes one frame's packets by calling send for each. bytes: of the frame's payload in all. */
void sender_frame(struct sender *sender, size_t bytes, uint64_t now_ns, uint64_t mark,
                  void (*send)(void *context, uint8_t *packet, size_t bytes), void *context);
void receiver_packet(struct receiver *receiver, const uint8_t *packet, size_t bytes,
                     uint64_t now_ns, uint64_t mark);
/* Packets that the sequence numbers say are missing. */
uint64_t receiver_lost(const struct receiver *receiver);
/* Packets that the sender sent since the first one that came and that did not come, whatever the
 * server made of the sequence numbers. */
uint64_t receiver_lost_of(const struct receiver *receiver, const struct sender *sender);
/* Latency percentile in microseconds; 0 when none was measured. Sorts. */
uint32_t receiver_latency_us(struct receiver *receiver, double percentile);

#endif
