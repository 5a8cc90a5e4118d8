/* I/O backends: how a worker receives and sends datagrams. The code above this interface is the
 * same for all backends.
 *
 *   wait ─► receive ─► datagrams[] … work … ─► release          memory of the backend
 *   slot ─► write exactly the bytes asked for ─► slot … ─► transmit
 *
 * A backend is one constant of struct io_backend. dataplane/main.c lists those of the program;
 * nothing in this folder's core (io.c, choose.c) names one, so a new backend changes no line here.
 *
 * Threads: one worker owns one `struct io` and shares nothing of it.
 * Memory:  received datagrams belong to the backend and stay valid until release. Transmit slots
 *          belong to the backend too; the caller may write a slot from `slot` until `transmit`.
 *          Consecutive slots of equal path and equal size (the last may be shorter) leave as one
 *          segmented send (UDP_SEGMENT) where the backend can do that. So ask for them in that
 *          order.
 *          Nothing is allocated after open.
 * Errors:  a full queue is counted (struct io_counters) and never waited for. A peer cannot cause
 *          an error here. */
#ifndef RINGCAST_IO_H
#define RINGCAST_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/path.h"
#include "src/descriptors.h"

struct settings;

#define IO_BATCH 256             /* datagrams that one receive returns at most */
#define IO_SLOTS_BYTES (1 << 18) /* transmit memory of one turn; more would not stay in the cache */
#define IO_SEGMENTS_MAX 64       /* of one send with UDP_SEGMENT */
#define IO_WHY_BYTES 128         /* a sentence of a backend */
#define IO_CHOICE_BYTES 192      /* a sentence about the choice of a backend */

struct io_datagram {
    uint8_t *data;  /* writable; the 32 bytes behind the datagram may be read */
    uint32_t bytes; /* may be 0 or more than DATAGRAM_BYTES_MAX: the caller must check */
    struct path path;
};

struct io_counters {
    uint64_t received, received_bytes; /* datagrams, bytes */
    uint64_t truncated;                /* received datagrams that were cut */
    uint64_t receive_overflow;         /* dropped by the kernel: no room in the socket */
    uint64_t sent, sent_bytes, sends;  /* datagrams, bytes, and the sends that carried them */
    uint64_t send_full, send_failed;   /* datagrams: the queue was full; the send was refused */
    uint64_t zero_copy;                /* sends that asked the kernel not to copy … */
    uint64_t zero_copy_copied;         /* … and those of them that it copied nevertheless */
};

struct io; /* the state of one backend for one worker */

struct io_backend {
    const char *name;          /* as the setting io_backend says it */
    bool auto_may_choose;      /* false: used only when the setting names it */
    bool loopback_can_measure; /* its cost shows on loopback sockets, where choose.c measures */

    /* Runs in the supervisor, with its privileges, when the resources are made. Opens what `open`
     * needs and an unprivileged process may not open, and adds it to `set`, under names that begin
     * with "io.": the forwarder gets all of those. NULL: nothing to open. False: `why` says why. */
    bool (*open_privileged)(const struct settings *settings, uint32_t worker_count,
                            struct descriptors *set, char why[IO_WHY_BYTES]);

    /* Opens it for one worker. `descriptors` is the forwarder's whole set (src/descriptors.h lists
     * the names); it stays the caller's and outlives the backend. UDP sockets in it are bound and
     * non-blocking, with pktinfo and GRO on. NULL: this machine cannot do it, and `why` says why.
     * On success `why` may say what it cannot do here; if there is nothing to say it stays as it
     * was. */
    struct io *(*open)(const struct descriptors *descriptors, uint32_t worker,
                       char why[IO_WHY_BYTES]);
    /* Fills at most `max` (≤ IO_BATCH) datagrams; never waits. */
    size_t (*receive)(struct io *io, struct io_datagram *datagrams, size_t max);
    /* Gives all datagrams of the last receive back. */
    void (*release)(struct io *io);
    /* Room for one datagram of exactly `bytes` (≤ DATAGRAM_SENT_BYTES_MAX) that is sent back along
     * `path`. NULL: this turn's transmit memory is used up, so call transmit and ask again. Nothing
     * may be written behind `bytes`, since the next slot begins there. The 64 bytes before and
     * behind a slot may be read. */
    uint8_t *(*slot)(struct io *io, const struct path *path, uint32_t bytes);
    /* Sends all slots asked for since the last call. Those of one path leave in order, except in
     * the one turn in which the kernel first refuses segments on that path, or zero-copy. */
    void (*transmit)(struct io *io);
    /* Sleeps until a datagram arrives, the doorbell rings or timeout_ns is over. True when the
     * doorbell was rung; the doorbell is reset then. */
    bool (*wait)(struct io *io, uint64_t timeout_ns);
    /* Asks the kernel how many datagrams it dropped: a system call for each socket, so not for
     * every packet. */
    const struct io_counters *(*counters)(struct io *io);
    void (*close)(struct io *io);
};

/* The backends of a program. `auto` prefers an earlier one when their costs are nearly equal. */
#define IO_BACKENDS_MAX 8
struct io_backends {
    size_t count; /* ≤ IO_BACKENDS_MAX */
    const struct io_backend *const *list;
};

/* NULL: no backend has that name. */
const struct io_backend *io_backend_named(const struct io_backends *backends, const char *name);
/* Writes "no I/O backend is called …" with the names that there are. */
void io_backend_unknown(const struct io_backends *backends, const char *name,
                        char why[IO_CHOICE_BYTES]);

/* Which backend the workers of a process use. Made once by io_choose; after that all threads read
 * it. */
struct io_choice {
    const struct io_backends *backends;
    const struct io_backend *backend; /* NULL: use the first that opens */
    bool is_auto;                     /* when `backend` does not open, another one may */
    bool is_measured;                 /* by io_choose or by a process before this one */
    char reason[IO_CHOICE_BYTES];
};

/* Chooses the backend that is called `name`. "auto" measures the candidates on loopback and takes
 * the one that needs least CPU time; that takes some 80 ms. When a backend has the name
 * `measured_before` ("": none), "auto" takes that one and measures nothing: an earlier forwarder
 * measured it and has died, and media stands still until the new one works. Call this before the
 * process enters the sandbox, because it opens sockets. False: no backend has that name, and `why`
 * says which names there are. */
bool io_choose(struct io_choice *choice, const struct io_backends *backends, const char *name,
               const char *measured_before, char why[IO_CHOICE_BYTES]);

/* Opens the chosen backend for one worker. `why` says which one was opened and the reason, or why
 * none works (NULL). When `auto` could not measure, or its choice does not open here, this takes
 * the first backend of the list that opens. */
struct io *io_open(const struct io_choice *choice, const struct descriptors *descriptors,
                   uint32_t worker, const struct io_backend **backend, char why[IO_CHOICE_BYTES]);

#endif
