/* SRTP in: from the RTP datagrams of a batch to authentic packets of producers.
 *
 *   ingress_add   for each datagram: parses the clear header, finds stream and producer
 *   ingress_run   once: decrypts all together, counts, queues the packets for the fan-out
 *
 * Shape:   arrivals[i] and jobs[i] belong to one datagram. Jobs are an array of their own because
 *          the SRTP engine takes an array of jobs.
 * Threads: the worker's.
 * Memory:  a packet that has a consumer is decrypted into the pool, any other one in place.
 * Errors:  verdicts. A packet that is not authentic changes nothing (gate G5). */
#ifndef RINGCAST_INGRESS_H
#define RINGCAST_INGRESS_H

#include "dataplane/engines/quality/layer.h"
#include "dataplane/engines/rtp.h"
#include "dataplane/io/io.h"
#include "numbers_in.h"
#include "src/verdicts.h"
#include "transport.h"

/* A stream whose SSRC was first seen in this turn, in a header that nobody has authenticated yet.
 * When one of its packets proves authentic, it gets an entry of its transport. So strangers cannot
 * use up the entries (threat D15). */
struct unproven_stream {
    struct transport *transport;
    struct stream *entry; /* NULL: it has none yet */
    struct stream stream;
};

/* One RTP datagram on its way in. */
struct arrival {
    uint32_t position; /* in the batch */
    struct transport *transport;
    struct stream *stream;
    struct unproven_stream *unproven; /* NULL: the stream is known */
    struct packet *packet; /* where it is decrypted to; NULL: in place, no consumer needs it */
    bool is_repair;        /* it came as a retransmission */
    bool may_prove;        /* nothing is proven yet about the path that it came on */
    struct rtp_view view;
};

/* What the packets of an encoding told about its layers, and whose packets they were. */
struct layer_memory {
    uint32_t owner; /* see struct producer */
    uint8_t source;
    struct layer_source layers;
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
    struct history *history;
    struct repair_in *repair_in;
    struct proofs *proofs;

    struct layer_memory *layers; /* [HISTORY_STREAMS], by producer_stream */
    struct numbers_in numbers;

    size_t count;
    struct arrival arrivals[IO_BATCH];
    struct srtp_unprotect_job jobs[IO_BATCH];
    size_t unproven_count;
    struct unproven_stream unproven[IO_BATCH];
};

/* Maps `layers` and `numbers`; false when there is no address space. */
bool ingress_open(struct arrivals *a);
void ingress_close(struct arrivals *a);

/* Takes the datagram at `position` of the batch. VERDICT_PENDING: ingress_run gives the verdict.
 * may_prove: see struct arrival. */
enum verdict ingress_add(struct arrivals *a, struct transport *t,
                         const struct io_datagram *datagram, uint32_t position, bool may_prove);
void ingress_run(struct arrivals *a);

#endif
