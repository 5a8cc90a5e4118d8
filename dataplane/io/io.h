/* I/O backends: how a worker's packets come in and go out. Everything above is the same on all.
 *
 *   io_receive ─► datagrams[] (memory of the backend) … work … ─► io_release
 *   io_slot ─► write exactly the bytes asked for ─► io_slot … ─► io_transmit
 *
 * Threads: one worker owns one `struct io`; nothing here is shared.
 * Memory:  received datagrams belong to the backend and stay valid until io_release. Transmit slots
 *          belong to the backend; a slot is the caller's from io_slot to io_transmit. Consecutive
 *          slots of equal path and equal size (the last may be shorter) leave as one segmented send
 *          (UDP_SEGMENT) where the backend can; so ask for them in that order.
 *          Nothing is allocated after open.
 * Errors:  PEER errors do not exist here; a full queue is counted (io_counters), never waited for.
 * Backends: io_uring, socket (recvmmsg/sendmmsg), replay (memory, for tests and benchmarks). */
#ifndef RINGCAST_IO_H
#define RINGCAST_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/path.h"

#define IO_BATCH 256             /* datagrams that one io_receive returns at most */
#define IO_SLOTS_BYTES (1 << 18) /* transmit memory of one turn; more would not stay in the cache */
#define IO_SEGMENTS_MAX 64       /* UDP_SEGMENT: segments of one send */

struct io_datagram {
    uint8_t *data;  /* writable; at least 32 bytes may be read beyond `bytes` */
    uint32_t bytes; /* may be 0 or more than DATAGRAM_BYTES_MAX: the caller judges */
    struct path path;
};

struct io_counters {
    uint64_t received, received_bytes, truncated;
    uint64_t
        receive_overflow; /* dropped by the kernel for want of room, since the socket is open */
    uint64_t sent, sent_bytes, sends; /* datagrams, bytes, and system-level sends they took */
    uint64_t send_full, send_failed;
    uint64_t zero_copy,
        zero_copy_copied; /* sends asked to go without copying; copied all the same */
};

/* Descriptors that the supervisor opened; -1 for what there is not. Sockets are bound, non-blocking,
 * with pktinfo and GRO on. doorbell is an eventfd: io_wait returns when it is rung and resets it. */
struct io_descriptors {
    int udp4, udp6, doorbell;
};

struct io; /* one backend's state */

struct io_backend {
    const char *name;
    /* NULL with a sentence in `why` (128 bytes) when this machine cannot do it. Else `why` may say
     * what it does without, or stays empty. */
    struct io *(*open)(const struct io_descriptors *descriptors, char *why);
    /* Fills at most `max` (≤ IO_BATCH) datagrams; never waits. */
    size_t (*receive)(struct io *io, struct io_datagram *datagrams, size_t max);
    /* Gives all datagrams of the last receive back. */
    void (*release)(struct io *io);
    /* Room for one datagram of exactly `bytes` (≤ DATAGRAM_BYTES_MAX) on the way back along `path`.
     * NULL when this turn's transmit memory is used up: call transmit and ask again. 16 bytes
     * before the slot are not touched by it; nothing may be written past `bytes`. */
    uint8_t *(*slot)(struct io *io, const struct path *path, uint32_t bytes);
    /* Sends all slots asked for since the last call, those of one path in order (but for the one
     * turn in which a path is found to refuse segments, or the kernel to refuse zero-copy). */
    void (*transmit)(struct io *io);
    /* Sleeps until a packet, the doorbell or timeout_ns. True when the doorbell was rung. */
    bool (*wait)(struct io *io, uint64_t timeout_ns);
    /* Asks the kernel for what only it knows: a system call per socket, not for every packet. */
    const struct io_counters *(*counters)(struct io *io);
    void (*close)(struct io *io);
};

extern const struct io_backend io_uring_backend, io_socket_backend, io_replay_backend;

/* Opens the backend called `name`, says what it picked and why in `why` (192 bytes). NULL when none
 * works. "auto" takes the one that costs least CPU time: it is measured on loopback by the first call
 * in a process (some 80 ms; others wait for it), so call it before the sandbox is shut. Where measuring
 * is not possible it takes the first that works, with a warning. */
struct io *io_open(const char *name, const struct io_descriptors *descriptors,
                   const struct io_backend **backend, char *why);
/* "auto" takes this one, unmeasured: a process before this one measured, and its successor is in a
 * hurry. Before the first io_open, on one thread. Unknown names change nothing. */
void io_prefer(const char *name);
/* Does the choice of "auto" come from measuring, here or before? */
bool io_was_measured(void);

/* ---- replay: what a test or benchmark feeds and sees; see replay.c ---- */

struct io *io_replay_open(void);
/* Queues a copy of one datagram for the next receive; false when 4096 wait already. */
bool io_replay_feed(struct io *io, const struct path *path, const uint8_t *data, uint32_t bytes);
/* Calls `sink` for every transmitted datagram from now on; NULL: only count them. */
void io_replay_sink(struct io *io,
                    void (*sink)(void *context, const struct path *path, const uint8_t *data,
                                 uint32_t bytes),
                    void *context);

#endif
