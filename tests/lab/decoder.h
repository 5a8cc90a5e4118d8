/* From packets to pictures: the part of a receiver that knows codecs. */
#ifndef RINGCAST_LAB_DECODER_H
#define RINGCAST_LAB_DECODER_H

#include "receiver.h"

/* A packet is in r->packets now: complete frames are made, and decoded when they can be. */
void decoder_add(struct receiver *r, struct arrived *packet);
/* Time has gone by: pictures have waited long enough for older ones. */
void decoder_tick(struct receiver *r);

#endif
