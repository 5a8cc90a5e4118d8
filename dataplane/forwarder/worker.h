/* A worker: one thread that moves the packets of its transports. This is the table of contents of
 * the forwarder; every part has a file of its own, and a struct that names the parts it works with.
 *
 *   receive ─► classify ─► ingress ─► queue of its producer ─► fan-out ─► transmit
 *                 │ STUN: checks           │       ▲
 *                 │ DTLS: handshaker_link  │       │
 *                 │ RTCP: feedback         ▼       │
 *                 │                      replicas and handoff ═► other workers
 *                 └─► key_frames, reports (RTCP out)
 *
 *   rows of `desired` ─► reconcile ─► transport, producer, consumer ─► publish ─► rows of `actual`
 *   what a successor of this process needs: resume
 *
 * Threads: everything here belongs to one worker thread, but `stop`.
 * Memory:  mapped at start; a page takes memory when it is first touched. Nothing is allocated
 *          later.
 * Limits:  a turn receives IO_BATCH datagrams; see also fanout.h, reconcile.c, handoff.h. */
#ifndef RINGCAST_WORKER_H
#define RINGCAST_WORKER_H

#include "batch.h"
#include "checks.h"
#include "classify.h"
#include "consumer.h"
#include "dataplane/engines/batch_fill.h"
#include "fanout.h"
#include "feedback.h"
#include "handoff.h"
#include "handshaker_link.h"
#include "ingress.h"
#include "key_frames.h"
#include "producer.h"
#include "proofs.h"
#include "publish.h"
#include "random_pool.h"
#include "dataplane/engines/quality/history.h"
#include "reconcile.h"
#include "repair_in.h"
#include "repair_out.h"
#include "replay.h"
#include "replica.h"
#include "reports.h"
#include "resume.h"
#include "transmit.h"
#include "transport.h"
#include "turn.h"

struct worker_config {
    uint32_t index;
    const struct region *desired, *actual, *keys, *resume;
    const struct io_backend *backend;
    struct io *io;
    bool backend_is_measured;          /* `auto` chose it for its cost */
    int bell_control, bell_handshaker; /* eventfds, -1: none (tests) */
    struct handoff *handoff;           /* to the other workers; NULL: there are none */
    uint64_t consent_ns;
    struct policer_rate audio_rate, video_rate; /* what a client may send; 0: no limit (tests) */
    uint64_t fill_ns_max;                       /* see batch_fill.h */
    uint16_t udp_port;
    bool has_ipv4, has_ipv6;
    uint64_t (*monotonic_ns)(void); /* NULL: the real clock */
    uint64_t (*wall_ns)(void);      /* NULL: monotonic_ns + wall_offset_ns */
    uint64_t wall_offset_ns;        /* the same for all workers */
};

struct worker {
    struct worker_config config;
    struct turn turn;
    struct wheel wheel, fine_wheel; /* fine_wheel wakes the worker in time */
    struct pool pool;
    struct history history;
    struct random_pool random;
    struct srtp_engine *srtp;

    /* a packet's way */
    struct batch batch;
    struct classifier classifier;
    struct checks checks;
    struct handshaker_link handshaker;
    struct arrivals arrivals;
    struct lanes lanes;
    struct replicas replicas;
    struct fanout fanout;
    struct transmit transmit;

    /* repair */
    struct repair_in repair_in;
    struct repair_out repair_out;
    struct replays replays;
    struct proofs proofs;

    /* RTCP */
    struct feedback feedback;
    struct key_frames key_frames;
    struct reports reports;

    /* objects and their rows */
    struct reconciler reconciler;
    struct transports transports;
    struct producers producers;
    struct consumers consumers;
    struct publisher publisher;
    struct resume resume;

    uint64_t busy_ns, next_publish_ns;
    struct batch_fill batch_fill;
    _Atomic bool stop;
};

/* Maps what it needs and attaches to rings; false with a sentence. Call on the worker's thread. */
bool worker_open(struct worker *worker, const struct worker_config *config, char *why /* 192 */);
void worker_close(struct worker *worker);

/* One turn. False when there was nothing to do and nothing is left to do. */
bool worker_turn(struct worker *worker);

/* Turns and sleeps until worker->stop. */
void worker_run(struct worker *worker);

#endif
