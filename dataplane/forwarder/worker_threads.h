/* The worker threads of the forwarder.
 *
 *   main thread     prepare ─► start ─────────► (sandbox) ─► release … stop
 *   worker thread            └► open its I/O ─► wait ──────► turns    └► close
 *
 * Everything that a sandbox forbids (rings, buffers, threads) is made between start and release.
 *
 * Threads: the functions are for the main thread. Memory: mapped by prepare, unmapped by stop.
 * Errors: false, with the reason in the log; the process then ends, and with it the threads that
 * wait. */
#ifndef RINGCAST_WORKER_THREADS_H
#define RINGCAST_WORKER_THREADS_H

#include <pthread.h>

#include "worker.h"

struct worker_threads;

struct worker_thread {
    struct worker_threads *all;
    struct worker *worker;
    struct worker_config config;
    int doorbell; /* eventfd */
    pthread_t thread;
    bool ok;                      /* it is open and will run */
    char why[IO_CHOICE_BYTES];    /* why it is not */
    char reason[IO_CHOICE_BYTES]; /* for its backend */
};

struct worker_threads {
    uint32_t count;
    struct worker_thread list[WORKERS_MAX];
    struct handoff *handoff;
    uint64_t wall_offset_ns; /* from the monotonic clock to the wall clock, at the start */
    const struct io_choice *choice;
    const struct descriptors *descriptors;
    pthread_barrier_t opened;   /* every worker is open, or has failed */
    pthread_barrier_t released; /* the process is in the sandbox */
    pthread_barrier_t stopped;  /* no worker reads packets of another one any more */
};

/* What all workers have in common. */
struct worker_threads_config {
    const struct settings *settings;
    const struct descriptors *descriptors; /* the forwarder's set */
    const struct io_choice *choice;
    const struct region *desired, *actual, *keys, *resume;
};

/* One worker for each W that has a media socket (udp4.W or udp6.W). `choice` and
 * `descriptors` of `config` must outlive the threads. */
bool worker_threads_prepare(struct worker_threads *threads,
                            const struct worker_threads_config *config);
/* Starts the threads and waits until each one has opened its I/O. */
bool worker_threads_start(struct worker_threads *threads);
/* Lets the threads work. */
void worker_threads_release(struct worker_threads *threads);
void worker_threads_stop(struct worker_threads *threads);

#endif
