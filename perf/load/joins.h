/* Many subscribers join a running publisher within a second: how long does each wait for its first
 * picture, and how many key frames does the server ask the publisher for?
 *
 * A subscriber waits from its request to resume until a key frame is complete, all its packets
 * counted. So the time holds its own ICE and DTLS handshake, too; `connected` says how much that is.
 *
 * Units:   ns in the histograms. Threads: the signaling thread. */
#ifndef RINGCAST_LOAD_JOINS_H
#define RINGCAST_LOAD_JOINS_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"

struct run;

struct joins {
    unsigned joined, without_key_frame;         /* the latter: none within JOIN_PATIENCE_NS */
    double seconds;                             /* from the first join to the last */
    uint32_t key_frames_asked, key_frames_sent; /* of all publishers of the room */
    struct histogram waited, connected;
};

/* Lets --join subscribers join and waits for their pictures. False: a request failed. */
bool joins_run(struct run *run, struct joins *joins);
void joins_print(const struct joins *joins);

#endif
