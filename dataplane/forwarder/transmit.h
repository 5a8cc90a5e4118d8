/* A packet's way out: it takes a slot of the backend's transmit memory, encrypts the packets of the
 * turn, and gives them to the backend.
 *
 *   the fan-out, many packets   transmit_slot ─► write the header ─► transmit_add_job … ─► flush
 *   everybody else, one         transmit_datagram
 *
 * Shape:   the protect jobs of one burst; they are encrypted together, when SRTP_BURST of them
 *          wait, when the transmit memory is full, and at the end of the fan-out.
 * Threads: the worker's.
 * Memory:  a slot is the backend's. It must hold exactly the bytes that were asked for when the
 *          next flush happens; the payload that a job reads must stay as it is until then.
 * Errors:  when the backend has no room, send_full counts it; nobody waits. */
#ifndef RINGCAST_TRANSMIT_H
#define RINGCAST_TRANSMIT_H

#include "dataplane/engines/srtp/srtp.h"
#include "dataplane/io/io.h"
#include "turn.h"

struct transmit {
    struct turn *turn;
    struct io *io;
    const struct io_backend *backend;
    struct srtp_engine *srtp;
    size_t job_count;
    struct srtp_protect_job jobs[SRTP_BURST];
};

/* Encrypts all jobs and hands everything to the backend. */
void transmit_flush(struct transmit *x);

/* For transmit_slot: flushes, then asks the backend again. */
uint8_t *transmit_slot_after_flush(struct transmit *x, const struct path *path, uint32_t bytes);

/* Room for one datagram; flushes first when the transmit memory is full. NULL only when the backend
 * cannot send at all. */
static inline uint8_t *transmit_slot(struct transmit *x, const struct path *path, uint32_t bytes)
{
    uint8_t *slot = x->backend->slot(x->io, path, bytes);

    return slot ? slot : transmit_slot_after_flush(x, path, bytes);
}

/* Sends one datagram; true when the backend took it, which is counted as `counter`. */
bool transmit_datagram(struct transmit *x, const struct path *path, const void *data, size_t bytes,
                       enum worker_counter counter);

/* Flushes when fewer than `count` more jobs fit. */
static inline void transmit_make_room(struct transmit *x, size_t count)
{
    if (x->job_count + count > SRTP_BURST)
        transmit_flush(x);
}

/* Adds a job for the next flush; the caller made room for it and fills it in. */
static inline struct srtp_protect_job *transmit_add_job(struct transmit *x)
{
    return &x->jobs[x->job_count++];
}

#endif
