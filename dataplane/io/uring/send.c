/* Sends over the ring without copying. For sending, io_uring has no other advantage (zero_copy.h
 * says when it is used).
 *
 *   slots.pages = arena 0 │ arena 1 │ … │ arena ARENAS-1     all together one registered buffer
 *                 filled    in flight until the kernel has notified that it is done
 *
 * When a turn has any send without copying, all its sends go over the ring: the ring carries out
 * requests in their order, so datagrams stay in order. The arena of that turn is not written again
 * until the kernel is done with it; the next turn uses another one. When only one arena is free,
 * its turn is sent by copying, so that the arena is free again at once. */
#define _GNU_SOURCE
#include <errno.h>

#include "parts.h"

#define SUBMIT_TRIES 4

static bool arena_is_free(const struct io *io)
{
    for (unsigned i = 0; i < ARENAS; i++)
        if (i != io->arena && io->in_flight[i] == 0)
            return true;
    return false;
}

/* After a turn: chooses another arena if the kernel still reads this one. */
static void arena_rotate(struct io *io)
{
    for (unsigned i = 1; io->in_flight[io->arena] > 0 && i <= ARENAS; i++)
        io->arena = (io->arena + 1) % ARENAS;
    slots_use_arena(&io->slots, io->arena);
}

/* A send that the kernel did not take must not stay in the queue: its memory will soon hold other
 * packets. So it becomes a request that the restrictions of the ring refuse. */
static void submissions_spoil(struct io *io, int error)
{
    struct io_uring_sq *sq = &io->ring.sq;
    unsigned mask = *sq->kring_mask;

    for (unsigned at = *sq->khead; at != sq->sqe_tail; at++) {
        struct io_uring_sqe *sqe = &sq->sqes[at & mask];
        uint32_t which = (uint32_t)sqe->user_data;

        switch ((enum request_kind)(sqe->user_data >> 32)) {
        case REQUEST_zero_copy:
            io->in_flight[which >> ARENA_SHIFT]--;
            zero_copy_failed(&io->zero_copy, false);
            io->slots.runs[which & RUN_MASK].error = error;
            break;
        case REQUEST_send:
            io->slots.runs[which].error = error;
            break;
        default:
            continue;
        }
        sqe->opcode = IORING_OP_NOP;
        sqe->user_data = request_word(REQUEST_none, 0);
    }
}

/* Gives all prepared requests to the kernel. The kernel carries out UDP sends within this call
 * (because of MSG_DONTWAIT): when it returns, failures are known and the headers can be used
 * again. */
static void submit(struct io *io)
{
    int result = 0;

    for (unsigned i = 0; i < SUBMIT_TRIES && io_uring_sq_ready(&io->ring) > 0; i++) {
        result = io_uring_submit_and_get_events(&io->ring);
        uring_reap(io);
    }
    if (io_uring_sq_ready(&io->ring) > 0)
        submissions_spoil(io, result < 0 ? -result : EAGAIN);
    for (unsigned e = 0; e < io->sockets.count; e++)
        io->sends[e].count = 0;
}

static void send_request(struct io *io, uint32_t r, int e, bool without_copying)
{
    struct run *run = &io->slots.runs[r];
    struct sends *sends = &io->sends[e];
    struct msghdr *header = &sends->messages[sends->count].msg_hdr;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);

    if (!sqe) { /* uring_arm may have used some; after a submit all headers are free */
        submit(io);
        header = &sends->messages[0].msg_hdr;
        sqe = io_uring_get_sqe(&io->ring);
    }
    if (!sqe) {
        run->error = EAGAIN;
        return;
    }
    send_describe(header, &sends->rooms[sends->count], sends->socket, &run->path,
                  io->slots.memory + run->at, run->bytes,
                  run->segments > 1 ? run->segment_bytes : 0);
    io_uring_prep_sendmsg(sqe, e, header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (without_copying) {
        sqe->opcode = IORING_OP_SENDMSG_ZC;
        sqe->flags |= IOSQE_FIXED_FILE;
        sqe->ioprio = IORING_RECVSEND_FIXED_BUF | IORING_SEND_ZC_REPORT_USAGE;
        sqe->buf_index = 0;
        sqe->user_data = request_word(REQUEST_zero_copy, io->arena << ARENA_SHIFT | r);
        run->without_copying = true;
        io->in_flight[io->arena]++;
        zero_copy_made(&io->zero_copy);
    } else {
        sqe->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
        sqe->user_data = request_word(REQUEST_send, r);
    }
    if (++sends->count == SENDS_AT_ONCE)
        submit(io);
}

static bool error_is_of_zero_copy(int error)
{
    return error == EINVAL || error == EOPNOTSUPP || error == EFAULT;
}

/* Counts a run. If a zero-copy run failed, it is first sent again with copying. If that works, and
 * the error says that this kernel has no zero-copy (some before Linux 6.15), the ring stops using
 * zero-copy. */
static void run_finish(struct io *io, struct run *run)
{
    int e = udp_socket_of(&io->sockets, &run->path), error = run->error;

    if (run->without_copying && error && !error_means_full(error)) {
        sends_retry(&io->sends[e], &io->slots, run);
        if (error_is_of_zero_copy(error) && !run->error)
            zero_copy_failed(&io->zero_copy, true);
    }
    if (run->segments > 1 && error_refuses_segments(run->error))
        sends_send_singly(io->sends[e].socket, &io->slots, run, &io->counters);
    else
        run_count(&io->counters, run);
}

static inline bool run_qualifies(const struct run *run)
{
    return run->bytes >= ZERO_COPY_BYTES_MIN;
}

/* How many of this turn's sends may go without copying. */
static uint32_t allowance(struct io *io)
{
    uint32_t sends = 0, bytes = 0;

    if (!io->zero_copy.possible || !arena_is_free(io))
        return 0;
    for (uint32_t r = 0; r < io->slots.run_count; r++) {
        const struct run *run = &io->slots.runs[r];

        sends += run_qualifies(run);
        bytes += run_qualifies(run) ? run->bytes : 0;
    }
    return zero_copy_allowed(&io->zero_copy, sends, bytes);
}

void uring_transmit(struct io *io)
{
    struct slots *slots = &io->slots;
    uint32_t left = allowance(io);

    if (left == 0) {
        sends_transmit(io->sends, &io->sockets, slots, &io->counters);
        return;
    }
    for (uint32_t r = 0; r < slots->run_count; r++) {
        struct run *run = &slots->runs[r];
        int e = udp_socket_of(&io->sockets, &run->path);
        bool without_copying = left > 0 && run_qualifies(run);

        if (e < 0) {
            run->error = EAFNOSUPPORT;
            continue;
        }
        left -= without_copying;
        send_request(io, r, e, without_copying);
    }
    submit(io);
    for (uint32_t r = 0; r < slots->run_count; r++)
        run_finish(io, &slots->runs[r]);
    slots_clear(slots);
    arena_rotate(io);
}
