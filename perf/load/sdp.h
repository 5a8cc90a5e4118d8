/* The part of SDP that a client needs with a server that uses offers and answers. No I/O. One
 * BUNDLE group, all candidates in the description (no trickle), RTCP on the port of RTP.
 *
 * Roles:   the generator is always the DTLS client (a=setup:active).
 * Memory:  the caller frees returned texts and lists.
 * Errors:  false with a sentence in `why` (TARGET_WHY_BYTES).
 * Source:  RFC 8866 (lines), RFC 8829 (their use), RFC 8839 (ICE), RFC 5576 (a=ssrc). */
#ifndef RINGCAST_LOAD_SDP_H
#define RINGCAST_LOAD_SDP_H

#include "target.h"

/* One m-line of the server's description. */
struct sdp_media {
    char mid[16];
    uint8_t kind; /* enum stream_kind */
    bool active;  /* neither rejected nor a=inactive */
    uint8_t payload_type, rtx_payload_type, transport_cc_id;
    uint32_t ssrc, rtx_ssrc; /* 0: the server sends nothing here */
};

struct sdp {
    struct target_remote remote; /* `controls`: the server sent the offer and is a full ICE agent */
    struct sdp_media *media;     /* audio and video, in their order */
    unsigned media_count;
};

/* Reads an offer or an answer of the server. */
bool sdp_read(const char *text, bool is_offer, struct sdp *sdp, char *why);

/* The offer of a browser that sends these streams. */
char *sdp_offer(const struct target_local *local, const struct target_stream *streams,
                unsigned count);
/* An answer that accepts everything that was offered. Without transport_cc it leaves out
 * transport-cc and REMB, because a server that expects this feedback would send less without it. */
char *sdp_answer(const char *offer, const struct target_local *local, bool transport_cc);

#endif
