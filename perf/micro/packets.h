/* What clients send: RTP with the usual extensions, encrypted by our own engine with the clients'
 * keys, and ICE checks. */
#ifndef RINGCAST_BENCH_PACKETS_H
#define RINGCAST_BENCH_PACKETS_H

#include "bench.h"
#include "dataplane/engines/srtp/srtp.h"

enum {
    PACKET_HEADER_BYTES = 24, /* with a MID of one character and abs-send-time; in and out */
    PACKET_PAYLOAD_TYPE = 96,
    PACKET_PAYLOAD_TYPE_OUT = 101,
    PACKET_ID_ABS_SEND_TIME = 2, /* as the client numbers them */
    PACKET_ID_MID = 4,
    PACKET_ID_AUDIO_LEVEL = 6,
};

struct packet_rtp {
    uint64_t index; /* SRTP index; its low 16 bits are the sequence number */
    uint32_t ssrc, timestamp;
    bool marker;
    bool is_key_frame; /* VP8 */
    uint8_t level;     /* audio level (RFC 6464), 0: none */
    uint32_t bytes;    /* header and payload, without the tag */
};

/* Writes the clear packet. Its payload depends on index and SSRC, so what comes out can be
 * recognised. */
void packet_rtp_write(uint8_t *out, const struct packet_rtp *rtp);
/* Encrypts what packet_rtp_write wrote to `clear`; `out` is longer by the tag of the profile. */
void packet_rtp_protect(struct srtp_engine *engine, const struct srtp_key *key, uint8_t *out,
                        const uint8_t *clear, const struct packet_rtp *rtp);

/* Writes an ICE check as Chromium sends it; `out` has room for 256 bytes. Returns its length. */
uint32_t packet_stun_write(uint8_t *out, const char *ufrag, const char *password,
                           uint64_t transaction, bool use_candidate);

#endif
