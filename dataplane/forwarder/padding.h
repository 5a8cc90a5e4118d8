/* RTP padding that makes neighbouring packets equal in size.
 *
 * The packets of a video frame differ by a few bytes, and only packets of equal size (the last may
 * be shorter) leave in one segmented send. One send costs as much as encrypting and copying about
 * ten thousand bytes, so a few bytes of padding are cheap.
 *
 *   sizes as they arrive 1187 1187 1186 1186 | 1187 …         three sends to each subscriber
 *   padded               1187 1187 1187 1186                  one
 *
 * The padding is written once, behind the payload in the packet's room, for all consumers (RFC 3550
 * 5.1: the P bit is set, and the last byte says how many bytes there are). */
#ifndef RINGCAST_PADDING_H
#define RINGCAST_PADDING_H

#include "packet.h"

#define PADDING_RUN_MAX 64 /* packets of one call; = IO_SEGMENTS_MAX */

/* Pads packets of one stream that arrived together, before anybody else sees them. `typical` is the
 * header that a consumer of this stream gets; payload_type 0: there was none yet, nothing is
 * padded. */
void padding_merge(const uint8_t *sent_id, const struct header_kind *typical,
                   struct packet *const *packets, unsigned count /* ≤ PADDING_RUN_MAX */);

#endif
