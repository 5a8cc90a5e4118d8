/* Replicas: a producer on a worker that is not its home. Its packets come from the home worker.
 *
 * A room may have subscribers on every worker. A worker that has consumers of a producer but not
 * its transport makes a replica of it from the row, when the first consumer comes; the home hands
 * it every packet (handoff.h); the replica goes with its last consumer.
 *
 * Threads: each worker has its own replicas; notes go between them.
 * Errors:  notes may be lost or come in any order. The wanted word of each worker and the
 *          producer's row say what should be, and a note only says "look". */
#ifndef RINGCAST_REPLICA_H
#define RINGCAST_REPLICA_H

#include <stdbool.h>
#include <stdint.h>

#include "src/handle.h"

struct packet;
struct producer;

struct replicas {
    struct turn *turn;
    struct pool *pool;
    struct lanes *lanes;
    const struct region *desired;
    struct producers *producers;
    struct fanout *fanout;
    struct key_frames *key_frames;
    struct repair_out *repair_out;
    struct reconciler *reconciler;
};

/* ---- at the replica ---- */

/* The producer of a handle. If it lives on another worker, a replica of it is made. NULL: there is
 * no such row, or not yet. */
struct producer *producer_or_replica(struct replicas *rs, handle_word handle);
/* replica_request tells the home that this worker has a replica, or that its consumers changed;
 * replica_release, that it has none. */
void replica_request(struct replicas *rs, const struct producer *p);
void replica_release(struct replicas *rs, const struct producer *p);
/* Removes a replica that has no consumers. */
void replica_drop_unused(struct replicas *rs, struct producer *p);
/* Tells the home that a consumer here waits for a key frame. */
void replica_request_key_frame(struct replicas *rs, const struct producer *p, uint8_t encoding);

/* Bit per encoding that the home says the publisher sends; 0: it has not said it yet. */
unsigned replica_alive(const struct replicas *rs, const struct producer *p);

/* ---- at home ---- */

/* Finds out which workers have a replica of p, and sends new ones the last reports. */
void replicas_update_workers(struct replicas *rs, struct producer *p);
/* Tells the replicas that p's row changed, or is gone. */
void replicas_row_changed(struct replicas *rs, const struct producer *p);
/* Hands a packet to all workers that have a replica. False when none of them had room. */
bool replicas_hand_over(struct replicas *rs, const struct producer *p, struct packet *packet);
/* Writes down for them which encodings the publisher sends. */
void replicas_share_alive(const struct replicas *rs, const struct producer *p, unsigned alive);
/* Sends them what the publisher's sender reports said. */
void replicas_send_report(struct replicas *rs, const struct producer *p, uint16_t workers);

/* ---- both ---- */

/* Takes the notes of other workers and acts on them. True when there were any. */
bool replicas_receive(struct replicas *rs);

#endif
