/* Repair of what publishers send: asks them for lost packets, and takes their retransmissions.
 *
 *   ingress, for each packet       ─► repair_in_add ─► gaps ─► timer ─► NACK to the publisher
 *   its retransmission             ─► ingress makes it the packet that it repairs ─► repair_in_add
 *
 * Publishers whose audio has NACK send lost audio again as it was, in the same stream.
 *
 * Only streams that somebody consumes are repaired.
 *
 * Shape:   one struct stream_repair for each encoding, at history_stream(). engines/quality/nack.h
 *          decides when to ask.
 * Threads: the worker's; a producer is repaired at its home.
 * Memory:  mapped at start; a page takes memory when its stream first has an audience. */
#ifndef RINGCAST_REPAIR_IN_H
#define RINGCAST_REPAIR_IN_H

#include "dataplane/engines/quality/nack.h"
#include "dataplane/engines/wheel.h"
#include "producer.h"

struct key_frames;
struct reports;

struct stream_repair {
    struct timer timer; /* when to ask the next time */
    struct producer *producer;
    uint64_t packets; /* of the encoding; when it has more than we saw, we begin anew */
    uint8_t encoding;
    struct nack nack;
};

struct repair_in {
    struct turn *turn;
    struct wheel *wheel; /* the fine one */
    struct reports *reports;
    struct key_frames *key_frames;
    struct stream_repair *all; /* [HISTORY_STREAMS] */
};

/* Maps the array; false when there is no address space. */
bool repair_in_open(struct repair_in *r);
void repair_in_close(struct repair_in *r);

/* Notes a packet of an encoding that has an audience; the packet arrived for the first time. `index`: as
 * it was received, see numbers_in.h. */
void repair_in_add(struct repair_in *r, struct producer *p, const struct packet *packet,
                   uint64_t index, bool is_repair);
/* Audio that was asked for comes again in its own stream: is this such a packet? */
bool repair_in_is_audio_answer(const struct repair_in *r, const struct producer *p,
                               uint8_t encoding, uint32_t ssrc, uint64_t index);
/* The producer goes, or has no audience any longer. */
void repair_in_forget(struct repair_in *r, struct producer *p);
void repair_in_on_timer(struct repair_in *r, struct stream_repair *s);

#endif
