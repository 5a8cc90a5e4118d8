/* The part of a transport that sending to its client needs. The fan-out walks thousands of these,
 * so they lie in an array of their own, each at the index of its transport.
 *
 * transport_update_egress copies path and key state from the ICE agent and the keys. */
#ifndef RINGCAST_EGRESS_H
#define RINGCAST_EGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/engines/srtp/srtp.h"
#include "dataplane/path.h"

struct consumer;

struct egress {
    struct path path;
    bool open;       /* there are keys, and a path that ICE has validated */
    bool is_limited; /* the path is not proven yet: ask proofs_may_send_rtp (threat D4) */
    bool dirty;      /* something was sent since the statistics were published */
    uint8_t tag_bytes;
    struct consumer *due_first, *due_last; /* in this turn: consumers that get packets here */
    struct egress *next_touched;
    uint64_t packets, bytes;         /* RTP sent */
    uint64_t rtx_packets, rtx_bytes; /* of those, sent again */
    struct srtp_key key;             /* the key for sending */
};

#endif
