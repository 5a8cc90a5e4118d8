/* The io_uring backend's parts: the ring and how it is locked down (ring.c), receiving
 * (receive.c), sending without copying (send.c), waiting (uring.c). What is copied it
 * sends by sendmmsg (sends.h).
 *
 *   kernel ─► CQ ─► arrivals (our queue of filled buffers) ─► io_datagram ─► io_release ─► spare
 *      ▲                                                                                   │
 *      └── buffer ring ◄─────────────── uring_arm, before the kernel is entered ◄──────────┘
 *
 * One ring of one thread. Every request is IORING_OP_RECVMSG (multishot, one per socket),
 * IORING_OP_POLL_ADD (multishot, the doorbell) or, where the kernel can, IORING_OP_SENDMSG_ZC and
 * IORING_OP_SENDMSG, on one of the two or three descriptors registered at open: the ring refuses
 * everything else from then on (threats.md H6). */
#ifndef RINGCAST_IO_URING_PARTS_H
#define RINGCAST_IO_URING_PARTS_H

#include <liburing.h>

#include "dataplane/io/sends.h"
#include "uring.h"
#include "zero_copy.h"

#define SUBMISSIONS 128 /* > SENDS_AT_ONCE and what arming needs */
/* Received messages that we may hold at once; what is beyond that waits in the socket. A power of two. */
#define BUFFERS 512
/* Of those that are free so many are with the kernel, the ones used last: it takes them in turn, and
 * with all of them in turn each message would find memory that no cache holds, or no page yet. One
 * entry into the kernel fills 32 for each of two sockets. A power of two. */
#define OFFERED 64
/* Transmit memory: that many turns can be with the kernel at once, less one. */
#define ARENAS 8
#define ARENA_SHIFT 16 /* of user_data: arena << 16 | run */
#define RUN_MASK 0xffffu
_Static_assert(RUNS_MAX <= RUN_MASK, "runs outgrew their part of user_data");

/* What may complete before we look: filled buffers and ends of receives, results of one submission,
 * notifications of all that is in flight. The completion queue cannot overflow. */
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

/* One buffer: struct io_uring_recvmsg_out | name | control | payload. 64 KiB of payload, or GRO's
 * super-packets would be cut. An odd number of cache lines apart (see socket.c). */
#define PAYLOAD_AT (sizeof(struct io_uring_recvmsg_out) + NAME_BYTES + CONTROL_BYTES)
#define URING_BUFFER_BYTES (RECEIVE_BYTES_MAX + 1600)
_Static_assert(URING_BUFFER_BYTES % 64 == 0 && URING_BUFFER_BYTES / 64 % 2 == 1, "even lines");
_Static_assert(PAYLOAD_AT + RECEIVE_BYTES_MAX + RECEIVE_BYTES_BEHIND <= URING_BUFFER_BYTES,
               "buffers too small");
_Static_assert(PAYLOAD_AT % 16 == 0, "payload not aligned");

/* user_data of a request: what it is << 32 | which one. */
enum request_kind {
    REQUEST_receive,
    REQUEST_doorbell,
    REQUEST_send,
    REQUEST_zero_copy,
    REQUEST_none,
};

struct filled_buffer {
    uint16_t buffer;
    uint8_t socket;
    uint32_t bytes; /* of the buffer that are filled */
};

struct io {
    struct io_uring ring;
    bool ring_is_open;
    struct udp_sockets sockets;
    int doorbell;
    unsigned doorbell_file; /* index of the registered file */
    bool doorbell_armed, rung;
    bool receive_armed[SOCKETS_MAX];
    int receive_error[SOCKETS_MAX]; /* errno that the last completion said, 0: none */
    struct msghdr receive_header;   /* tells the kernel how much room names and controls have */
    struct io_counters counters;

    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers;
    uint32_t offered, spare_count;
    uint16_t spare[BUFFERS]; /* a stack */
    /* Indexes count up for ever; a position is index % BUFFERS.
     *   [freed, next) handed out, [next, filled) waits. `current` is what is left of next - 1. */
    uint32_t freed, next, filled;
    struct super_datagram current;
    struct filled_buffer filled_buffers[BUFFERS];

    struct slots slots;
    struct sends sends[SOCKETS_MAX];
    struct zero_copy zero_copy;
    uint32_t arena;                /* that slots are in */
    uint32_t in_flight[ARENAS];    /* sends whose memory the kernel may still read … */
    uint32_t void_notices[ARENAS]; /* … and those among them that failed */
};

/* ---- ring.c ---- */

/* Sets the ring up, registers descriptors and buffers, restricts and enables it. True with a sentence
 * when it cannot send without copying. */
bool uring_ring_open(struct io *io, char *why);
void uring_ring_close(struct io *io);

/* ---- receive.c ---- */

/* Offers buffers and arms what is not armed; the requests leave with the next submission. */
void uring_arm(struct io *io);
/* Moves all completions to where they belong. Does not enter the kernel. */
void uring_reap(struct io *io);
size_t uring_receive(struct io *io, struct io_datagram *datagrams, size_t max);
void uring_release(struct io *io);

/* ---- send.c ---- */

void uring_transmit(struct io *io);

static inline bool uring_has_datagrams(const struct io *io)
{
    return io->current.pending || io->next != io->filled;
}

/* Is there work of ours that the kernel does only when entered? */
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
