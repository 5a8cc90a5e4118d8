/* One RTP stream that an endpoint receives: its SRTP state, what its reports need (RFC 3550 A.3,
 * A.8), and which packets are missing. No I/O.
 *
 * Threads: the media thread. Memory: the endpoint owns it. */
#ifndef RINGCAST_LOAD_RECEIVER_H
#define RINGCAST_LOAD_RECEIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/engines/srtp/srtp.h"
#include "gaps.h"
#include "loss_counter.h"

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
    bool asks;        /* NACK was negotiated, and the options want it */
    bool needs_key;   /* video: a gap was not repaired, and no key frame has come since */
    struct gaps gaps; /* used if `asks` */
};

/* A packet of the stream arrived. index: roll-over counter and sequence number. */
void receiver_count(struct receiver *receiver, uint64_t index, uint32_t timestamp,
                    uint64_t arrived_ns);
/* Fills the report block about the time since the previous block. */
void receiver_report(struct receiver *receiver, struct rtcp_report_block *block, uint64_t now_ns);

#endif
