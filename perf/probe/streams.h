/* The streams that the probe sends and measures. To a server they look like VP8 and Opus. Each
 * payload ends with a label: the run of the probe, the time of sending and a number. So loss,
 * duplicates and latency are exact. No I/O.
 *
 * Threads: a sender belongs to the sending thread, except key_frame_wanted and what the reports
 *          say. A receiver belongs to the transport's thread; others read it after the run. */
#ifndef RINGCAST_PROBE_STREAMS_H
#define RINGCAST_PROBE_STREAMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_BYTES_MAX 1400 /* including what SRTP adds */
#define LATENCIES_MAX 200000

struct sender {
    uint32_t ssrc;
    uint8_t payload_type;
    bool is_video;
    uint16_t sequence;
    uint32_t timestamp; /* RTP time stamp of the next frame */
    uint64_t packets, bytes, frames;
    uint64_t frame_ns; /* when the latest frame was sent */
    _Atomic bool key_frame_wanted;
    /* From the server's receiver reports; these belong to the transport's thread. */
    uint32_t reports, reported_lost;
    double round_trip_ms;
};

struct receiver {
    uint32_t ssrc;
    bool is_video, paused, started;
    bool is_own; /* this process sent the stream, so sender and receiver have the same clock */
    uint16_t first_sequence;
    int64_t highest; /* sequence number, extended and relative to first_sequence */
    uint64_t packets, duplicates, bytes;
    uint64_t consumed_ns, first_ns, last_ns, key_frames;
    uint32_t first_number;    /* the lowest number in a label */
    uint32_t transit, jitter; /* RFC 3550 A.8, in units of the RTP time stamp; jitter × 16 */
    uint32_t last_report;     /* middle 32 bits of the NTP time in the server's latest SR */
    uint64_t last_report_ns;
    uint8_t seen[8192]; /* bitmap of sequence numbers */
    uint32_t *latencies_us;
    size_t latency_count;
};

/* Builds the packets of one frame and calls `send` for each. bytes: payload of the whole frame.
 * run: a random number of this process, which is part of each label. */
void sender_frame(struct sender *sender, size_t bytes, uint64_t now_ns, uint64_t run,
                  void (*send)(void *context, uint8_t *packet, size_t bytes), void *context);
/* A decrypted packet arrived. */
void receiver_packet(struct receiver *receiver, const uint8_t *packet, size_t bytes,
                     uint64_t now_ns, uint64_t run);
/* Missing packets, counted by sequence numbers. */
uint64_t receiver_lost(const struct receiver *receiver);
/* Missing packets, counted by the numbers in the labels, which no server can change: those that
 * `sender` sent since the first packet that arrived. */
uint64_t receiver_lost_of(const struct receiver *receiver, const struct sender *sender);
/* Percentile of the latency in microseconds; 0: none was measured. It sorts the latencies. */
uint32_t receiver_latency_us(struct receiver *receiver, double percentile);

#endif
