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
#include "payload.h"
#include "verify.h"

struct rtcp_report_block;

struct receiver {
    uint32_t stream;       /* id of the sender whose packets must arrive here */
    uint32_t stream_count; /* with simulcast: of the first of so many senders */
    uint8_t codec;         /* of video: enum video_codec */
    /* The server chooses among layers. So packets are missing on purpose, and loss is counted by the
     * sequence numbers that the server gives. */
    bool is_layered;
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
    bool asks;             /* NACK was negotiated, and the options want it */
    bool needs_key;        /* video: a gap was not repaired, and no key frame has come since */
    struct gaps gaps;      /* used if `asks` */
    struct verify *verify; /* video, with --verify; else NULL */
    /* the first complete key frame: which one is being collected, and its packets so far */
    uint64_t key_complete_ns; /* 0: none is complete yet */
    uint32_t key_stream, key_frame, key_packets;
    uint64_t key_seen[4];
    /* --layers: the layer that was asked for and has not arrived yet; -1: none */
    int awaited_layer;
    uint64_t awaited_since_ns;
};

/* A packet of the stream arrived. index: roll-over counter and sequence number. */
void receiver_count(struct receiver *receiver, uint64_t index, uint32_t timestamp,
                    uint64_t arrived_ns);
/* A packet of a key frame arrived: completes the first one. */
void receiver_count_key(struct receiver *receiver, const struct payload_label *label,
                        uint64_t arrived_ns);
/* Fills the report block about the time since the previous block. */
void receiver_report(struct receiver *receiver, struct rtcp_report_block *block, uint64_t now_ns);

#endif
