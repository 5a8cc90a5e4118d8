/* SRTP in: from the RTP datagrams of a batch to authentic packets of producers.
 *
 *   ingress_add, for each datagram parses the clear header, finds stream and producer, makes a job
 *   ingress_run, once decrypts all jobs together, counts, queues for the fan-out
 *
 * Shape:   `arrivals` and `jobs` hold the same datagram at the same place; jobs are an array of
 *          their own because the SRTP engine takes them as one.
 * Threads: the worker's.
 * Memory:  a packet that somebody wants is decrypted into the pool, any other one in place.
 * Errors:  verdicts. A packet that is not authentic has changed nothing (gate G5). */
#ifndef RINGCAST_INGRESS_H
#define RINGCAST_INGRESS_H

#include "dataplane/engines/rtp.h"
#include "dataplane/io/io.h"
#include "transport.h"
#include "src/verdicts.h"

/* A stream whose SSRC was seen in this turn only, in a clear header. It gets an entry of its
 * transport when one of its packets proves authentic, so that strangers can use up no entries
 * (threat D15). */
struct unproven_stream {
    struct transport *transport;
    struct stream *entry; /* that it got */
    struct stream stream;
};

/* One RTP datagram on its way in. */
struct arrival {
    uint32_t position; /* in the batch */
    struct transport *transport;
    struct stream *stream;
    struct unproven_stream *unproven; /* NULL: the stream is known */
    struct packet *packet;            /* it is decrypted into; NULL: in place, nobody wants it */
    struct rtp_view view;
};

struct arrivals {
    struct turn *turn;
    struct batch *batch;
    struct wheel *wheel;
    struct srtp_engine *srtp;
    struct pool *pool;
    struct producers *producers;
    struct replicas *replicas;
    struct fanout *fanout;

    size_t count;
    struct arrival arrivals[IO_BATCH];
    struct srtp_unprotect_job jobs[IO_BATCH];
    size_t unproven_count;
    struct unproven_stream unproven[IO_BATCH];
};

/* Takes the datagram at `position` of the batch. VERDICT_PENDING: ingress_run gives the verdict. */
enum verdict ingress_add(struct arrivals *a, struct transport *t,
                         const struct io_datagram *datagram, uint32_t position);
void ingress_run(struct arrivals *a);

#endif
