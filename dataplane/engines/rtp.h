/* RTP headers: parsing what clients send and building what consumers get. No state, no I/O.
 *
 * Source: RFC 3550 5.1, RFC 8285 (one- and two-byte header extensions), RFC 7983 (demultiplexing).
 * Errors: false = malformed, the peer's fault; nothing was written that a caller may use. */
#ifndef RINGCAST_RTP_H
#define RINGCAST_RTP_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "src/rows.h"

#define RTP_FIXED_BYTES 12
#define RTP_HEADER_BYTES_MAX 128 /* of what we build */
#define RTP_COPY_BYTES 64        /* nearly every header: copied in a few moves instead of a call */

/* Extension ids towards consumers: the router's (ortc.md §3). */
enum extension_id {
    EXTENSION_mid = 1,
    EXTENSION_rid = 2,
    EXTENSION_repaired_rid = 3,
    EXTENSION_abs_send_time = 4,
    EXTENSION_transport_cc = 5,
    EXTENSION_audio_level = 6,
    EXTENSION_dependency_descriptor = 7,
    EXTENSION_video_orientation = 8,
    EXTENSION_toffset = 9,
    EXTENSION_abs_capture_time = 10,
    EXTENSION_playout_delay = 11,
    EXTENSION_packet_id = 12,
};

/* What a datagram is, by its first byte(s). */
enum datagram_kind { DATAGRAM_stun, DATAGRAM_dtls, DATAGRAM_rtp, DATAGRAM_rtcp, DATAGRAM_unknown };
/* RFC 7983: 0–3 STUN, 20–63 DTLS, 128–191 RTP or RTCP; RTCP when the second byte is 192–223
 * (RFC 5761 4). Shorter than the protocol's fixed header: unknown. */
enum datagram_kind datagram_classify(const uint8_t *data, size_t bytes);

struct rtp_element {
    uint16_t offset; /* of the data in the packet; 0: not there */
    uint8_t bytes;
};

/* A parsed header. element[i] is the extension that the *sender* numbers i (1…14, or 1…15 in the
 * two-byte form, larger ids are skipped). */
struct rtp_view {
    uint32_t ssrc;
    uint32_t timestamp;
    uint16_t sequence;
    uint8_t payload_type;
    bool marker;
    bool has_padding;      /* P bit; the count is encrypted, see rtp_padding_strip */
    uint16_t header_bytes; /* fixed header + CSRCs + extension */
    uint16_t bytes;        /* whole packet as given */
    struct rtp_element element[16];
};

/* Bytes of header + CSRCs + extension, all inside `bytes`; false when they are not. Works on still
 * encrypted packets: SRTP leaves the header clear. */
bool rtp_parse(const uint8_t *data, size_t bytes, struct rtp_view *view);

/* After decryption: payload bytes without RTP padding; false when the padding count does not fit.
 * *payload_bytes 0: padding only. */
bool rtp_padding_strip(const uint8_t *data, const struct rtp_view *view, size_t clear_bytes,
                       size_t *payload_bytes);

/* The header that a group of consumers gets for one packet: built once, then copied and patched. */
struct rtp_template {
    uint8_t bytes[RTP_HEADER_BYTES_MAX];
    uint16_t size;
    uint16_t mid_at;           /* offset of the MID's data, 0: none */
    uint16_t abs_send_time_at; /* 3 bytes, 0: none */
    uint16_t transport_cc_at;  /* 2 bytes, 0: none */
};

/* What consumers of one kind share, besides the packet itself. */
struct rtp_template_options {
    const uint8_t *router_id; /* [16]: sender's extension id → router's id, 0: none */
    uint16_t mask;            /* bit i: router id i may be sent */
    uint8_t mid_bytes;        /* room for the consumer's MID, 0: no MID */
    uint8_t payload_type;     /* the consumer's */
    bool has_padding;         /* of ours, at the end of the payload */
};

/* Builds version, marker, payload type, sequence, timestamp as in the packet, SSRC 0, and the
 * extension block (one-byte form) in ascending id: MID and abs-send-time and transport-cc (if in the
 * mask) get zeroed room whether the sender had them or not; of the rest, what the sender sent, its id
 * is mapped and in the mask, copied verbatim. RID and repaired RID are never sent. Elements that do
 * not fit RTP_HEADER_BYTES_MAX are left out. CSRCs are dropped. MIDs of one and of two bytes make
 * headers of one size. */
void rtp_template_build(struct rtp_template *t, const uint8_t *data, const struct rtp_view *view,
                        const struct rtp_template_options *options);

/* Per consumer, into the first t->size bytes of `out`; what of its `room` (≥ t->size) lies behind them
 * may be overwritten, too. mid has the options' mid_bytes. abs_send_time is the 24-bit 6.18 fixed-point
 * value. */
struct rtp_patch {
    uint32_t ssrc, timestamp;
    uint16_t sequence;
    const char *mid;
    uint32_t abs_send_time;
};
static inline void rtp_template_copy(uint8_t *out, size_t room, const struct rtp_template *t,
                                     const struct rtp_patch *patch)
{
    uint16_t sequence = htobe16(patch->sequence);
    uint32_t timestamp = htobe32(patch->timestamp), ssrc = htobe32(patch->ssrc);
    uint8_t *mid = out + t->mid_at, *time = out + t->abs_send_time_at;

    if (t->size <= RTP_COPY_BYTES && room >= RTP_COPY_BYTES)
        memcpy(out, t->bytes, RTP_COPY_BYTES);
    else
        memcpy(out, t->bytes, t->size);
    memcpy(out + 2, &sequence, sizeof(sequence));
    memcpy(out + 4, &timestamp, sizeof(timestamp));
    memcpy(out + 8, &ssrc, sizeof(ssrc));
    if (t->mid_at != 0) /* the element's head says how long */
        for (unsigned i = 0; i <= (mid[-1] & 15u); i++)
            mid[i] = (uint8_t)patch->mid[i];
    if (t->abs_send_time_at != 0) {
        time[0] = (uint8_t)(patch->abs_send_time >> 16);
        time[1] = (uint8_t)(patch->abs_send_time >> 8);
        time[2] = (uint8_t)patch->abs_send_time;
    }
}

/* 24-bit abs-send-time of a moment (wall clock, ns). */
uint32_t rtp_abs_send_time(uint64_t wall_ns);

/* Does this payload start a key frame (VP8 RFC 7741, VP9 RFC 9628, H264 RFC 6184, AV1 aggregation
 * header N bit)? Any other codec: true. Truncated payloads: false. */
bool rtp_payload_is_key_frame(enum codec codec, const uint8_t *payload, size_t bytes);

#endif
