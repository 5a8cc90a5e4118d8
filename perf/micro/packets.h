/* What clients send: RTP with the usual extensions, SRTP of our own engine with the clients' keys,
 * ICE checks. */
#ifndef RINGCAST_BENCH_PACKETS_H
#define RINGCAST_BENCH_PACKETS_H

#include "bench.h"
#include "dataplane/engines/srtp/srtp.h"

enum {
    PACKET_HEADER_BYTES = 24, /* MID of one character and abs-send-time, in and out alike */
    PACKET_PAYLOAD_TYPE = 96,
    PACKET_PAYLOAD_TYPE_OUT = 101,
    PACKET_ID_ABS_SEND_TIME = 2, /* as the client numbers them */
    PACKET_ID_MID = 4,
    PACKET_ID_AUDIO_LEVEL = 6,
};

struct packet_rtp {
    uint64_t index; /* of SRTP; the sequence number is its end */
    uint32_t ssrc, timestamp;
    bool marker;
    bool is_key_frame; /* VP8 */
    uint8_t level;     /* of sound (RFC 6464), 0: not told */
    uint32_t bytes;    /* header and payload, without the tag */
};

/* The clear packet. Its payload depends on index and SSRC: what comes out can be told apart. */
void packet_rtp_write(uint8_t *out, const struct packet_rtp *rtp);
/* Protects what packet_rtp_write wrote to `clear` into `out`: longer by the profile's tag. */
void packet_rtp_protect(struct srtp_engine *engine, const struct srtp_key *key, uint8_t *out,
                        const uint8_t *clear, const struct packet_rtp *rtp);

/* An ICE check as Chromium sends it, 256 bytes of room; returns its length. */
uint32_t packet_stun_write(uint8_t *out, const char *ufrag, const char *password,
                           uint64_t transaction, bool use_candidate);

#endif
