/* RTCP: reads compound packets and builds ours.
 *
 * Shape:   functions of bytes; no state, no I/O, no clock.
 * Units:   bytes, and those of the fields in RFC 3550.
 * Threads: any.
 * Memory:  a struct rtcp_packet points into the compound. Buffers belong to the caller.
 * Errors:  reading returns false or 0 for what is malformed, missing or of another type, which is
 *          the peer's fault. Building returns false when the buffer has no room.
 * Limits:  a compound of more than 16 packets is malformed.
 * Source:  RFC 3550 6.4–6.6, RFC 4585 6, RFC 5104 4.3.1 (FIR), RFC 5506 (reduced size), RFC 3611
 *          (XR). */
#ifndef RINGCAST_RTCP_H
#define RINGCAST_RTCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTCP_PACKETS_MAX 16

enum rtcp_type {
    RTCP_SR = 200,
    RTCP_RR = 201,
    RTCP_SDES = 202,
    RTCP_BYE = 203,
    RTCP_APP = 204,
    RTCP_RTPFB = 205,
    RTCP_PSFB = 206,
    RTCP_XR = 207,
};
/* Values of the field `count` in feedback packets, where it is called format. */
enum { RTPFB_NACK = 1, RTPFB_TRANSPORT_CC = 15 };
enum { PSFB_PLI = 1, PSFB_FIR = 4, PSFB_REMB = 15 };

struct rtcp_packet {
    uint8_t type;        /* enum rtcp_type or any other */
    uint8_t count;       /* the 5-bit field: a number of blocks, or the format */
    const uint8_t *body; /* behind the header of 4 bytes */
    size_t bytes;        /* of the body, without padding */
};

/* Splits a decrypted compound. Returns the number of packets (1 to RTCP_PACKETS_MAX), or 0 when a
 * version, a length or the padding is wrong or there are too many packets. */
size_t rtcp_split(const uint8_t *data, size_t bytes, struct rtcp_packet packets[RTCP_PACKETS_MAX]);

struct rtcp_sender_info {
    uint32_t ssrc;
    uint64_t ntp; /* see rtcp_ntp */
    uint32_t timestamp, packets, bytes;
};
struct rtcp_report_block {
    uint32_t ssrc;
    uint8_t fraction_lost;
    int32_t packets_lost;      /* 24 bits; may be negative */
    uint32_t highest_sequence; /* in the upper 16 bits: how often it has wrapped */
    uint32_t jitter, last_sr, delay_since_last_sr;
};

/* The sender information of an SR, and report block i of an SR or RR. */
bool rtcp_read_sender_info(const struct rtcp_packet *packet, struct rtcp_sender_info *sender);
bool rtcp_read_report_block(const struct rtcp_packet *packet, size_t i,
                            struct rtcp_report_block *block);
/* The SSRC number i of a BYE. */
bool rtcp_read_bye(const struct rtcp_packet *packet, size_t i, uint32_t *ssrc);
/* The SSRC of the sender of a feedback packet, and the SSRC of the media that it is about. */
bool rtcp_read_feedback(const struct rtcp_packet *packet, uint32_t *sender, uint32_t *media);
/* Entry i of a FIR: the SSRC that must send a key frame, and the sequence number of the
 * request. */
bool rtcp_read_fir(const struct rtcp_packet *packet, size_t i, uint32_t *ssrc, uint8_t *sequence);
/* Entry i of a generic NACK: the sequence number of a lost packet, and a mask for the 16 after
 * it. */
bool rtcp_read_nack(const struct rtcp_packet *packet, size_t i, uint16_t *packet_id,
                    uint16_t *mask);

/* Extended reports (XR). Who receives media tells its clock: the NTP time of the report. Who sends media
 * answers with the middle 32 bits of it (0: it heard none yet) and the time since then, in 1/65536 s. So
 * the receiver knows the round trip. */
bool rtcp_read_reference_time(const struct rtcp_packet *packet, uint32_t *sender, uint64_t *ntp);
struct rtcp_reference_answer {
    uint32_t ssrc; /* of who told its clock */
    uint32_t last_rr, delay_since_last_rr;
};
/* Answer i of the packet. */
bool rtcp_read_reference_answer(const struct rtcp_packet *packet, size_t i,
                                struct rtcp_reference_answer *answer);

/* Each function appends one packet to the buffer. It returns false and changes nothing when the
 * whole packet does not fit. */
struct rtcp_buffer {
    uint8_t *data;
    size_t bytes, capacity;
};
bool rtcp_add_sr(struct rtcp_buffer *b, const struct rtcp_sender_info *sender);
bool rtcp_add_rr(struct rtcp_buffer *b, uint32_t sender_ssrc,
                 const struct rtcp_report_block *blocks, size_t count);
struct rtcp_cname {
    uint32_t ssrc;
    const char *cname; /* at most 255 bytes, then a zero byte */
};
/* One SDES packet for up to 31 sources. */
bool rtcp_add_sdes(struct rtcp_buffer *b, const struct rtcp_cname *sources, size_t count);
bool rtcp_add_reference_time(struct rtcp_buffer *b, uint32_t sender_ssrc, uint64_t ntp);
bool rtcp_add_reference_answer(struct rtcp_buffer *b, uint32_t sender_ssrc,
                               const struct rtcp_reference_answer *answer);
bool rtcp_add_bye(struct rtcp_buffer *b, uint32_t ssrc);
bool rtcp_add_pli(struct rtcp_buffer *b, uint32_t sender_ssrc, uint32_t media_ssrc);
/* Asks for packets again: generic NACK (RFC 4585 6.2.1). The sequence numbers ascend. */
bool rtcp_add_nack(struct rtcp_buffer *b, uint32_t sender_ssrc, uint32_t media_ssrc,
                   const uint16_t *sequences, size_t count);
bool rtcp_add_fir(struct rtcp_buffer *b, uint32_t sender_ssrc, uint32_t media_ssrc,
                  uint8_t sequence);

/* The NTP time of a moment of the wall clock: seconds since 1900 in the upper 32 bits, fractions in
 * the lower ones. Reports repeat only the middle 32 bits. */
uint64_t rtcp_ntp(uint64_t wall_ns);
static inline uint32_t rtcp_ntp_middle(uint64_t ntp)
{
    return (uint32_t)(ntp >> 16);
}

#endif
