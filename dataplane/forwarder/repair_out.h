/* Repair of what subscribers lost: answers their NACKs.
 *
 *   feedback ─► repair_out_answer ─► which packet it was ─► history of the home worker ─► transmit
 *                                                             video: as a retransmission (RFC 4588)
 *                                                             audio: once more, as it was
 *
 * A consumer's sequence numbers are those of its producer plus an offset, which changes when the
 * consumer is synchronised anew. The last offsets are remembered, so that what was sent before the
 * change can be sent again, with the time stamp that it had.
 *
 * Retransmissions of video have an SSRC, sequence numbers and SRTP indexes of their own, so nothing
 * that was encrypted once is encrypted again under the same index (threat D13). Consumers without RTX
 * get no retransmissions; the next key frame repairs them.
 *
 * Browsers have no RTX for audio. Lost audio leaves again with the SRTP index that it had, so it must be
 * the same to the last byte, as if the network had doubled it. All that makes it is still the same:
 *   the packet       an SRTP index of a publisher is accepted once, and the history knows each producer
 *   time stamp       from the segment in which it left
 *   header           the SSRC, payload type and MID of a consumer do not change; consumers with NACK for
 *                    audio have no header extension that changes with each send
 *   mask             when it changes, nothing older is sent again (repair_out_close_past)
 *   padding          audio has none
 * And it must have left: an index that was skipped may yet be used by a late packet.
 *
 * Shape:   struct retransmission at the consumer's index.
 * Threads: the worker of the consumer's transport. It reads the history of any worker.
 * Memory:  mapped at start; a page takes memory when a consumer is first synchronised anew, or sends
 *          its first NACK.
 * Limits:  a packet is sent again at most once per round trip and RESEND_TRIES_MAX times.
 *          Retransmissions take at most RESEND_SHARE_PERCENT of what the consumer was sent (threat
 *          D20). */
#ifndef RINGCAST_REPAIR_OUT_H
#define RINGCAST_REPAIR_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/engines/quality/history.h"
#include "dataplane/engines/quality/squeeze.h"

#define RESEND_TRIES_MAX 10
#define RESEND_SHARE_PERCENT 30
#define RESEND_BURST_BYTES 65536 /* that may be sent again however little was sent */
#define RESEND_AUDIO_BURST_BYTES 8192
#define RESEND_PACKETS 128 /* whose tries are remembered; a power of two */
#define RESEND_SEGMENTS 4

struct consumer;
struct consumer_details;
struct consumers;
struct producer;
struct rtcp_packet;

/* Packets that were sent with the same offsets. Layered consumers have struct selection instead. */
struct segment {
    uint64_t first_out; /* the first index of it */
    uint64_t index_offset;
    struct squeeze squeeze;
    uint64_t squeezed_until; /* index in; later ones left as they came */
    uint32_t timestamp_offset;
    uint8_t encoding, source;
};

struct retransmission {
    uint64_t next_index, index_reserved; /* of the RTX stream; 0, 0: it has not begun */
    uint64_t floor_out;                  /* audio: nothing below this index is sent again */
    uint64_t bytes_seen;                 /* of the media stream, when the budget was last filled */
    uint32_t budget_bytes;
    uint32_t packets, repaired; /* sent again; of these, for the first time */
    uint64_t bytes;
    uint32_t segment_count;                   /* ever */
    struct segment segments[RESEND_SEGMENTS]; /* number i lies at i % RESEND_SEGMENTS */
    struct {
        uint64_t sent_ns;
        uint16_t sequence;
        uint8_t tries;
    } tried[RESEND_PACKETS]; /* by sequence number */
};
_Static_assert(sizeof(struct retransmission) <= 2304, "retransmission: more than planned");

struct repair_out {
    struct turn *turn;
    struct transmit *transmit;
    const struct resume *resume;
    const struct history *own;
    struct lanes *lanes;
    const struct consumers *consumers;
    struct retransmission *all; /* [CONSUMERS_MAX] */
};

/* Maps the array; false when there is no address space. */
bool repair_out_open(struct repair_out *r);
void repair_out_close(struct repair_out *r);

/* Acts on a NACK (RFC 4585 6.2.1) about a consumer. Looks at no more than `limit` sequence numbers;
 * returns how many it looked at. */
unsigned repair_out_answer(struct repair_out *r, const struct consumer_details *d,
                           const struct rtcp_packet *nack, unsigned limit);
/* The history in which the packets of this producer are; NULL: there is none. */
const struct history *repair_history(const struct repair_out *r, const struct producer *p);
/* The offsets of the consumer are about to change. */
void repair_out_remember(struct repair_out *r, const struct consumer *c);
/* The same packet would be another one from now on: what this consumer was sent until now is not sent
 * again as it was. */
void repair_out_close_past(struct repair_out *r, const struct consumer *c);
/* Was anything sent again to this consumer? Then its RTX stream has used indexes. */
static inline bool repair_out_has_begun(const struct repair_out *r, uint32_t consumer)
{
    return r->all[consumer].next_index != 0;
}
void repair_out_forget(struct repair_out *r, uint32_t consumer);

#endif
