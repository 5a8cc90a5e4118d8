/* Statistics of what was received of an encoding (RFC 3550 A.3, A.8). */
#ifndef RINGCAST_RECEPTION_H
#define RINGCAST_RECEPTION_H

#include "producer.h"

/* A packet with this SRTP index arrived, by itself, not as a retransmission. packet_bytes 0: it carries no
 * media. Then it only counts as received, and tells nothing about the jitter: its time stamp is that of
 * the media before it. */
void reception_add(struct encoding *e, const struct rtp_view *view, uint64_t index,
                   size_t packet_bytes, uint32_t clock_rate, uint64_t now_ns);

#endif
