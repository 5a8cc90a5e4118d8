/* One RTP stream that an endpoint receives: its SRTP state, what its reports need (RFC 3550 A.3,
 * A.8), and which of the latest packets are missing (for NACK). No I/O.
 *
 * Threads: the media thread. Memory: the endpoint owns it. */
#ifndef RINGCAST_LOAD_RECEIVER_H
#define RINGCAST_LOAD_RECEIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/engines/srtp/srtp.h"
#include "loss_counter.h"

#define NACK_BYTES_MAX (12 + 4 * 64) /* header, and one entry per missing packet */

struct rtcp_report_block;

struct receiver {
    uint32_t stream; /* id of the sender whose packets must arrive here */
    uint32_t room;
    uint8_t kind, payload_type, rtx_payload_type;
    uint32_t ssrc, rtx_ssrc;
    struct srtp_stream srtp, *srtp_rtx;
    struct loss_counter loss;
    bool decodable; /* video: a key frame has arrived; audio: any packet */
    uint32_t before_key_frame;
    uint64_t key_frame_asked_ns; /* when the latest PLI was sent */
    /* RFC 3550 A.3, A.8 */
    bool has_packets;
    uint32_t base, highest, packets, expected_before, packets_before;
    uint32_t jitter, transit;
    uint32_t last_sr;
    uint64_t last_sr_ns;
    uint64_t missing_mask; /* bit i: the packet with sequence number highest - 1 - i is missing */
    uint64_t nacked_ns;    /* when the latest NACK was sent */
};

/* A packet of the stream arrived. index: roll-over counter and sequence number. */
void receiver_count(struct receiver *receiver, uint64_t index, uint32_t timestamp,
                    uint64_t arrived_ns);
/* A missing packet arrived as RTX. */
void receiver_recovered(struct receiver *receiver, uint16_t sequence);
/* Fills the report block about the time since the previous block. */
void receiver_report(struct receiver *receiver, struct rtcp_report_block *block, uint64_t now_ns);
/* Writes an RTCP NACK that names every missing packet. Returns its bytes. */
size_t receiver_nack(const struct receiver *receiver, uint32_t sender_ssrc,
                     uint8_t out[NACK_BYTES_MAX]);

#endif
