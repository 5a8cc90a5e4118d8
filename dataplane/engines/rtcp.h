/* RTCP: reading compounds and building ours. No state, no I/O.
 *
 * Source: RFC 3550 6.4–6.6, RFC 4585 6, RFC 5104 4.3.1 (FIR), RFC 5506 (reduced size), RFC 3611 (XR).
 * Limits: 16 packets per compound, 31 report blocks; beyond that the compound is malformed. */
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
/* count/format field of feedback packets */
enum { RTPFB_NACK = 1, RTPFB_TRANSPORT_CC = 15 };
enum { PSFB_PLI = 1, PSFB_FIR = 4, PSFB_REMB = 15 };

struct rtcp_packet {
    uint8_t type;        /* enum rtcp_type, others are passed too */
    uint8_t count;       /* 5-bit count or format */
    const uint8_t *body; /* behind the 4-byte header */
    size_t bytes;        /* of the body, padding removed */
};

/* Splits a clear compound. Returns the number of packets (1…RTCP_PACKETS_MAX), or 0 when it is
 * malformed (version, lengths, padding, more packets than allowed). */
size_t rtcp_split(const uint8_t *data, size_t bytes, struct rtcp_packet packets[RTCP_PACKETS_MAX]);

struct rtcp_sender_info {
    uint32_t ssrc;
    uint64_t ntp; /* 32.32 */
    uint32_t timestamp, packets, bytes;
};
struct rtcp_report_block {
    uint32_t ssrc;
    uint8_t fraction_lost;
    int32_t packets_lost;      /* 24-bit signed */
    uint32_t highest_sequence; /* extended */
    uint32_t jitter, last_sr, delay_since_last_sr;
};

/* SR → *sender; SR or RR → report block i. False: not of that type or too short. */
bool rtcp_read_sender_info(const struct rtcp_packet *packet, struct rtcp_sender_info *sender);
bool rtcp_read_report_block(const struct rtcp_packet *packet, size_t i,
                            struct rtcp_report_block *block);
/* SSRC i of a BYE. */
bool rtcp_read_bye(const struct rtcp_packet *packet, size_t i, uint32_t *ssrc);
/* Feedback: the SSRC of the sender of the feedback, and of the media it is about. */
bool rtcp_read_feedback(const struct rtcp_packet *packet, uint32_t *sender, uint32_t *media);
/* FIR entry i: SSRC that is asked for a key frame, and its sequence number. */
bool rtcp_read_fir(const struct rtcp_packet *packet, size_t i, uint32_t *ssrc, uint8_t *sequence);
/* NACK entry i (Generic NACK: packet id and bitmask). */
bool rtcp_read_nack(const struct rtcp_packet *packet, size_t i, uint16_t *packet_id,
                    uint16_t *mask);

/* Builders append to a buffer; false, and nothing changed, when there is no room for the whole
 * packet. */
struct rtcp_buffer {
    uint8_t *data;
    size_t bytes, capacity;
};
bool rtcp_add_sr(struct rtcp_buffer *b, const struct rtcp_sender_info *sender);
bool rtcp_add_rr(struct rtcp_buffer *b, uint32_t sender_ssrc,
                 const struct rtcp_report_block *blocks, size_t count);
struct rtcp_cname {
    uint32_t ssrc;
    const char *cname; /* NUL-terminated, ≤ 255 bytes */
};
/* One SDES with a chunk for each of up to 31 sources. */
bool rtcp_add_sdes(struct rtcp_buffer *b, const struct rtcp_cname *sources, size_t count);
bool rtcp_add_bye(struct rtcp_buffer *b, uint32_t ssrc);
bool rtcp_add_pli(struct rtcp_buffer *b, uint32_t sender_ssrc, uint32_t media_ssrc);
bool rtcp_add_fir(struct rtcp_buffer *b, uint32_t sender_ssrc, uint32_t media_ssrc,
                  uint8_t sequence);

/* 32.32 NTP time of a wall-clock moment (ns since 1970), and its middle 32 bits. */
uint64_t rtcp_ntp(uint64_t wall_ns);
static inline uint32_t rtcp_ntp_middle(uint64_t ntp)
{
    return (uint32_t)(ntp >> 16);
}

#endif
