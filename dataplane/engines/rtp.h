/* RTP: tells RTP from the other protocols of a port, parses the headers that clients send, and
 * builds the headers that consumers get.
 *
 * Shape:   functions of bytes; no state, no I/O, no clock.
 * Units:   bytes; RTP timestamps are in the units of the codec's clock.
 * Threads: any.
 * Memory:  a struct rtp_view holds offsets, not copies: it is of use as long as the packet is.
 * Errors:  false means that the packet is malformed, which is the peer's fault. The output is then
 *          undefined.
 * Source:  RFC 3550 5.1, RFC 8285 (header extensions of one and two bytes), RFC 7983
 *          (demultiplexing), the WebRTC extension abs-capture-time. */
#ifndef RINGCAST_RTP_H
#define RINGCAST_RTP_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "src/rows.h"

#define RTP_FIXED_BYTES 12
/* Of a header that we build. The longest that Chromium gives us reason for begins a key frame of AV1
 * L3T3: the dependency descriptor has 95 bytes, and with all other extensions the header has 160. */
#define RTP_HEADER_BYTES_MAX 192
#define ELEMENTS_MAX 16 /* header extensions of a packet; Chromium sends up to ten */
/* Nearly every header that we build is shorter. A copy of a constant size takes a few instructions;
 * a copy of any other size is a function call. */
#define RTP_COPY_BYTES 64

/* Header extension ids that all consumers get. Senders choose ids of their own; the control plane
 * says which of them means which of these. */
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

/* Which protocol a datagram belongs to, judged by its first two bytes. */
enum datagram_kind { DATAGRAM_stun, DATAGRAM_dtls, DATAGRAM_rtp, DATAGRAM_rtcp, DATAGRAM_unknown };
/* RFC 7983: a first byte of 0–3 is STUN, 20–63 DTLS, 128–191 RTP or RTCP. Of the last two, RTCP has
 * a second byte of 192–223 (RFC 5761 4). A datagram that is shorter than the fixed header of its
 * protocol is unknown. */
enum datagram_kind datagram_classify(const uint8_t *data, size_t bytes);

struct rtp_element {
    uint16_t offset; /* of the element's data in the packet; 0: the packet has no such element */
    uint8_t bytes;
    uint8_t id; /* that the sender gave: 1 to 14, or 1 to 255 in the two-byte form */
};

/* A parsed header. The first ELEMENTS_MAX header extensions are in it, in the order of the packet;
 * later ones are skipped. */
struct rtp_view {
    uint32_t ssrc;
    uint32_t timestamp;
    uint16_t sequence;
    uint8_t payload_type;
    bool marker;
    bool has_padding;      /* the P bit; how much is encrypted, see rtp_padding_strip */
    uint16_t header_bytes; /* fixed header, CSRCs and extension */
    uint16_t bytes;        /* the whole packet */
    uint8_t element_count;
    struct rtp_element elements[ELEMENTS_MAX];
};

/* The header extension to which the sender gave this id. If an id occurs twice, the first one
 * counts. Id 0 stands for an extension that the sender does not send. */
static inline struct rtp_element rtp_element(const struct rtp_view *view, uint8_t id)
{
    for (unsigned i = 0; i < view->element_count; i++)
        if (view->elements[i].id == id)
            return view->elements[i];
    return (struct rtp_element){0};
}

/* Parses fixed header, CSRCs and extension. False when they do not fit into `bytes` or the version
 * is not 2. Works on encrypted packets too, because SRTP does not encrypt the header. */
bool rtp_parse(const uint8_t *data, size_t bytes, struct rtp_view *view);

/* For a decrypted packet of clear_bytes: how long its payload is without RTP padding; 0 when there
 * is nothing but padding. False when the packet says that it has more padding than payload. */
bool rtp_padding_strip(const uint8_t *data, const struct rtp_view *view, size_t clear_bytes,
                       size_t *payload_bytes);

/* Overwrites an element with padding, so that nobody will find it in this packet again. `data` is the
 * packet that `view` was parsed from. */
void rtp_element_erase(uint8_t *data, struct rtp_view *view, uint8_t id);

/* The data of an abs-capture-time: when the media was captured, on the clock of the client that
 * captured it (32.32 NTP), and, in the long form, that clock minus the sender's clock. Moves the time
 * to our clock: ntp_offset is our clock minus the sender's. The difference of the clocks is then 0.
 * False: the data has neither 8 nor 16 bytes, and is unchanged. */
bool rtp_capture_time_move(uint8_t *data, size_t bytes, uint64_t ntp_offset);

/* The header of one packet for a group of consumers. It is built once; each consumer gets a copy
 * with a few fields of its own. */
struct rtp_template {
    uint8_t bytes[RTP_HEADER_BYTES_MAX];
    uint16_t size;
    /* Offsets of the data of these extensions; 0: the header has no such extension. */
    uint16_t mid_at, abs_send_time_at, transport_cc_at;
    uint8_t mid_bytes; /* at mid_at */
};

/* What the consumers of such a group have in common, besides the packet. */
struct rtp_template_options {
    const uint8_t *sent_id; /* [EXTENSIONS]: enum extension_id to the sender's id; 0: not sent */
    uint16_t mask;          /* bit i: the consumers accept extension i */
    uint8_t mid_bytes;      /* length of the consumers' MIDs, 0: they have none */
    uint8_t payload_type;   /* the one that the consumers expect */
    bool has_padding;       /* we put padding behind the payload */
    /* Takes the place of the dependency descriptor that the packet has; 0 bytes: that one is copied. */
    uint8_t descriptor_bytes;
    const uint8_t *descriptor;
};

/* Builds the header. Marker, sequence number and timestamp are those of the packet; the SSRC is 0;
 * there are no CSRCs. The extensions of the mask follow, in the order of their ids, in the one-byte
 * form; if one of them has no data or more than 16 bytes, in the two-byte form (RFC 8285 4.3). All
 * clients must accept both (a=extmap-allow-mixed, which mediasoup-client always offers):
 *   MID, abs-send-time and transport-cc are zero and have room for their data, also when the sender
 *   did not send them; RID and repaired RID are never sent; of the others, those that the sender
 *   sent are copied unchanged.
 * An extension that does not fit into RTP_HEADER_BYTES_MAX is left out. MIDs of one byte and of two
 * bytes make headers of the same length. */
void rtp_template_build(struct rtp_template *t, const uint8_t *data, const struct rtp_view *view,
                        const struct rtp_template_options *options);

/* The fields of one consumer. */
struct rtp_patch {
    uint32_t ssrc, timestamp;
    uint16_t sequence;
    const char *mid;        /* of the options' mid_bytes */
    uint32_t abs_send_time; /* see rtp_abs_send_time */
};
/* Writes a consumer's header into the first t->size bytes of `out`. It may overwrite the rest of
 * `room`, which is at least t->size. */
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
    for (unsigned i = 0; i < t->mid_bytes; i++)
        mid[i] = (uint8_t)patch->mid[i];
    if (t->abs_send_time_at != 0) {
        time[0] = (uint8_t)(patch->abs_send_time >> 16);
        time[1] = (uint8_t)(patch->abs_send_time >> 8);
        time[2] = (uint8_t)patch->abs_send_time;
    }
}

/* Makes an abs-send-time from a time of the wall clock: seconds modulo 64, as a fixed-point number
 * with 6 bits before the point and 18 after it. */
uint32_t rtp_abs_send_time(uint64_t wall_ns);

#endif
