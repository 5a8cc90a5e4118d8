/* The parts of the io_uring backend: the ring and its restrictions (ring.c), receiving (receive.c),
 * sending without copying (send.c), opening and waiting (uring.c). Sends that copy use sendmmsg
 * (sends.h).
 *
 *   kernel ─► completion queue ─► filled_buffers ─► io_datagram ─► release ─► spare
 *      ▲                                                                        │
 *      └── buffer ring ◄────────── uring_arm, before the kernel is entered ◄────┘
 *
 * A worker has one ring and uses it from one thread. These are all requests: IORING_OP_RECVMSG
 * (multishot, one for each socket), IORING_OP_POLL_ADD (multishot, the doorbell) and, where the
 * kernel can, IORING_OP_SENDMSG_ZC and IORING_OP_SENDMSG. They use only the two or three
 * descriptors that were registered at open. After open the ring refuses everything else (threat
 * H6). */
#ifndef RINGCAST_IO_URING_PARTS_H
#define RINGCAST_IO_URING_PARTS_H

#include <liburing.h>

#include "dataplane/io/sends.h"
#include "uring.h"
#include "zero_copy.h"

#define SUBMISSIONS 128 /* more than SENDS_AT_ONCE and the requests of uring_arm */
/* Received super-datagrams that we may hold at the same time; more of them wait in the socket. A
 * power of two. */
#define BUFFERS 512
/* Free buffers that the kernel has: those that were used last. It uses its buffers in turn; if it
 * had all free ones, each super-datagram would go into memory that is in no cache. One call into
 * the kernel fills 32 for each of two sockets. A power of two. */
#define OFFERED 64
/* Arenas of transmit memory: the kernel may hold those of seven turns while the eighth is
 * written. */
#define ARENAS 8
#define ARENA_SHIFT 16 /* of user_data: arena << 16 | run */
#define RUN_MASK 0xffffu
_Static_assert(RUNS_MAX <= RUN_MASK, "user_data has no room for the index of a run");

/* The completion queue has room for everything that may complete before we read it: filled buffers,
 * ends of receives, results of one submission, and notifications of all sends without copying. */
#define COMPLETIONS 1024
_Static_assert(OFFERED + SUBMISSIONS + ARENAS * (IO_SLOTS_BYTES / ZERO_COPY_BYTES_MIN) <=
                   COMPLETIONS,
               "the completion queue could overflow");

#ifndef IORING_RECVSEND_FIXED_BUF
#define IORING_RECVSEND_FIXED_BUF (1U << 2)
#endif
#ifndef IORING_SEND_ZC_REPORT_USAGE /* Linux 6.2 */
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

/* One buffer: struct io_uring_recvmsg_out | name | control | payload. The payload needs 64 KiB:
 * that is the longest super-datagram. The buffers have an odd number of cache lines (see
 * socket.c). */
#define PAYLOAD_AT (sizeof(struct io_uring_recvmsg_out) + NAME_BYTES + CONTROL_BYTES)
#define URING_BUFFER_BYTES (RECEIVE_BYTES_MAX + 1600)
_Static_assert(URING_BUFFER_BYTES % 64 == 0 && URING_BUFFER_BYTES / 64 % 2 == 1,
               "the buffers do not have an odd number of cache lines");
_Static_assert(PAYLOAD_AT + RECEIVE_BYTES_MAX + RECEIVE_BYTES_BEHIND <= URING_BUFFER_BYTES,
               "a buffer cannot hold the longest super-datagram");
_Static_assert(PAYLOAD_AT % 16 == 0, "the payload is not aligned to 16 bytes");

/* user_data of a request: its kind << 32 | which one (a socket, a run, or an arena and a run). */
enum request_kind {
    REQUEST_receive,
    REQUEST_doorbell,
    REQUEST_send,
    REQUEST_zero_copy,
    REQUEST_none,
};

struct filled_buffer {
    uint16_t buffer;
    uint8_t socket; /* index of the socket that it came from */
    uint32_t bytes; /* filled, headers included */
};

struct io {
    struct io_uring ring;
    bool ring_is_open;
    struct udp_sockets sockets;
    int doorbell;
    unsigned doorbell_file; /* index of the registered file */
    bool doorbell_armed, rung;
    bool receive_armed[SOCKETS_MAX];
    int receive_error[SOCKETS_MAX]; /* errno of the last completion, 0: none */
    struct msghdr receive_header;   /* tells the kernel how much room name and control have */
    struct io_counters counters;

    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers;
    uint32_t offered, spare_count; /* free buffers: with the kernel, with us */
    uint16_t spare[BUFFERS];       /* a stack */
    /* The indexes only grow; a place in filled_buffers is index % BUFFERS. The caller has [freed,
     * next), and [next, filled) is queued. `current` is the rest of the super-datagram next - 1. */
    uint32_t freed, next, filled;
    struct super_datagram current;
    struct filled_buffer filled_buffers[BUFFERS];

    struct slots slots;
    struct sends sends[SOCKETS_MAX];
    struct zero_copy zero_copy;
    uint32_t arena;                /* of this turn */
    uint32_t in_flight[ARENAS];    /* sends of each arena that the kernel may still read … */
    uint32_t void_notices[ARENAS]; /* … and how many of them have failed */
};

/* ---- ring.c ---- */

/* Creates the ring, registers descriptors and buffers, restricts and enables the ring. When the
 * ring can only send by copying, it returns true and `why` says the reason. */
bool uring_ring_open(struct io *io, char *why);
void uring_ring_close(struct io *io);

/* ---- receive.c ---- */

/* Offers buffers to the kernel and prepares the requests that are missing: a receive for each
 * socket, the poll of the doorbell. They leave with the next submission. */
void uring_arm(struct io *io);
/* Reads all completions and records their results. Does not enter the kernel. */
void uring_reap(struct io *io);
size_t uring_receive(struct io *io, struct io_datagram *datagrams, size_t max);
void uring_release(struct io *io);

/* ---- send.c ---- */

void uring_transmit(struct io *io);

static inline bool uring_has_datagrams(const struct io *io)
{
    return io->current.pending || io->next != io->filled;
}

/* Does the kernel have work for this ring that it does only when we enter it? */
static inline bool uring_kernel_has_work(const struct io *io)
{
    unsigned flags = __atomic_load_n(io->ring.sq.kflags, __ATOMIC_ACQUIRE);

    return flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW) || io_uring_sq_ready(&io->ring) > 0;
}

static inline uint64_t request_word(enum request_kind kind, uint32_t which)
{
    return (uint64_t)kind << 32 | which;
}

#endif
