/* As much SDP as it takes to publish to and to subscribe at a server that speaks offer and answer. No
 * I/O. One BUNDLE group, all candidates in the description (no trickle), RTCP on the port of RTP.
 *
 * Roles:   we are always the DTLS client (a=setup:active).
 * Memory:  texts and lists that are returned are the caller's to free.
 * Errors:  false with a sentence in `why` (TARGET_WHY_BYTES).
 * Source:  RFC 8866 (lines), RFC 8829 (their use), RFC 8839 (ICE), RFC 5576 (a=ssrc), captures/. */
#ifndef RINGCAST_LOAD_SDP_H
#define RINGCAST_LOAD_SDP_H

#include "target.h"

/* One m-line of the other side's description. */
struct sdp_media {
    char mid[16];
    uint8_t kind; /* enum stream_kind */
    bool active;  /* neither rejected nor a=inactive */
    uint8_t payload_type, rtx_payload_type, transport_cc_id;
    uint32_t ssrc, rtx_ssrc; /* 0: it sends nothing there */
};

struct sdp {
    struct target_remote remote; /* controls: it offered and is a full ICE agent */
    struct sdp_media *media;     /* audio and video, in their order */
    unsigned media_count;
};

/* The description that came as an offer or as an answer. */
bool sdp_read(const char *text, bool is_offer, struct sdp *sdp, char *why);

/* What a browser offers that sends these streams. */
char *sdp_offer(const struct target_local *local, const struct target_stream *streams,
                unsigned count);
/* Takes everything that was offered as it was offered; of transport-cc and REMB nothing unless
 * transport_cc: a server that counted on feedback which nobody sends would hold back. */
char *sdp_answer(const char *offer, const struct target_local *local, bool transport_cc);

#endif
