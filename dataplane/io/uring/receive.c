/* Receives by multishot recvmsg into a ring of buffers, and reads all completions of the ring. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include <poll.h>

#include "parts.h"

/* A full batch needs several calls into the kernel: one call makes at most 32 completions of a
 * socket, and an empty datagram ends it. */
#define ROUNDS_MAX 16

static void buffers_offer(struct io *io)
{
    int count = 0;

    for (; io->offered < OFFERED && io->spare_count > 0; io->offered++) {
        uint16_t buffer = io->spare[--io->spare_count];

        io_uring_buf_ring_add(io->buffer_ring, io->buffers + (size_t)buffer * URING_BUFFER_BYTES,
                              URING_BUFFER_BYTES, buffer, io_uring_buf_ring_mask(OFFERED), count++);
    }
    if (count)
        io_uring_buf_ring_advance(io->buffer_ring, count);
}

void uring_arm(struct io *io)
{
    struct io_uring_sqe *sqe;

    buffers_offer(io);
    for (unsigned i = 0; i < io->sockets.count; i++) {
        /* Without a free buffer the receive would end at once. */
        if (io->receive_armed[i] || io->offered == 0)
            continue;
        sqe = io_uring_get_sqe(&io->ring);
        if (!sqe)
            return; /* the submission queue is full: the next call retries */
        io_uring_prep_recvmsg_multishot(sqe, (int)i, &io->receive_header, MSG_TRUNC);
        sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
        sqe->buf_group = 0;
        sqe->user_data = request_word(REQUEST_receive, i);
        io->receive_armed[i] = true;
    }
    if (io->doorbell < 0 || io->doorbell_armed)
        return;
    sqe = io_uring_get_sqe(&io->ring);
    if (!sqe)
        return;
    io_uring_prep_poll_multishot(sqe, (int)io->doorbell_file, POLLIN);
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = request_word(REQUEST_doorbell, 0);
    io->doorbell_armed = true;
}

/* A multishot receive filled a buffer, or ended, or both. It ends when there are no buffers, when
 * the socket has an error, and after an empty datagram. uring_arm starts it again. */
static void receive_completed(struct io *io, const struct io_uring_cqe *cqe, uint32_t which)
{
    if (!(cqe->flags & IORING_CQE_F_MORE))
        io->receive_armed[which] = false;
    io->receive_error[which] = cqe->res < 0 ? -cqe->res : 0;
    if (!(cqe->flags & IORING_CQE_F_BUFFER))
        return;
    io->offered--;
    io->filled_buffers[io->filled++ % BUFFERS] =
        (struct filled_buffer){.buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT),
                               .socket = (uint8_t)which,
                               .bytes = cqe->res > 0 ? (uint32_t)cqe->res : 0};
}

/* A send without copying completes twice: with its result, and when its memory is free (the
 * notification). A send that failed may notify, too; its notification says "copied", which must not
 * be counted. */
static void zero_copy_completed(struct io *io, const struct io_uring_cqe *cqe, uint32_t which)
{
    uint32_t arena = which >> ARENA_SHIFT;
    bool copied = (uint32_t)cqe->res & IORING_NOTIF_USAGE_ZC_COPIED;

    if (cqe->flags & IORING_CQE_F_NOTIF) {
        io->in_flight[arena]--;
        if (copied && io->void_notices[arena] > 0) {
            io->void_notices[arena]--;
            return;
        }
        io->counters.zero_copy_copied += copied;
        zero_copy_reported(&io->zero_copy, copied);
        return;
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        io->in_flight[arena]--;
    if (cqe->res >= 0) {
        io->counters.zero_copy++;
        return;
    }
    io->slots.runs[which & RUN_MASK].error = -cqe->res;
    io->void_notices[arena] += (cqe->flags & IORING_CQE_F_MORE) != 0;
    zero_copy_failed(&io->zero_copy, false);
}

void uring_reap(struct io *io)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;

    io_uring_for_each_cqe(&io->ring, head, cqe)
    {
        uint32_t which = (uint32_t)cqe->user_data;

        count++;
        switch ((enum request_kind)(cqe->user_data >> 32)) {
        case REQUEST_receive:
            receive_completed(io, cqe, which);
            break;
        case REQUEST_send: /* only a failed send completes (IOSQE_CQE_SKIP_SUCCESS) */
            io->slots.runs[which].error = cqe->res < 0 ? -cqe->res : 0;
            break;
        case REQUEST_zero_copy:
            zero_copy_completed(io, cqe, which);
            break;
        case REQUEST_none:
            break;
        case REQUEST_doorbell:
            io->rung = true;
            io->doorbell_armed = (cqe->flags & IORING_CQE_F_MORE) != 0;
            break;
        }
    }
    io_uring_cq_advance(&io->ring, count);
}

/* Makes the next filled buffer current; false when there is none. */
static bool filled_buffer_next(struct io *io)
{
    const struct filled_buffer *filled = &io->filled_buffers[io->next % BUFFERS];
    uint8_t *buffer = io->buffers + (size_t)filled->buffer * URING_BUFFER_BYTES;
    const struct io_uring_recvmsg_out *out = (const struct io_uring_recvmsg_out *)buffer;
    struct msghdr header = {.msg_name = buffer + sizeof(*out)};

    if (io->next == io->filled)
        return false;
    io->next++;
    io->current.pending = false;
    if (filled->bytes < PAYLOAD_AT || out->namelen > NAME_BYTES || out->controllen > CONTROL_BYTES)
        return true; /* not a header of the kernel: nothing becomes current */
    header.msg_namelen = out->namelen;
    header.msg_control = buffer + sizeof(*out) + NAME_BYTES;
    header.msg_controllen = out->controllen;
    io->counters.truncated += (out->flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    io->current.data = buffer + PAYLOAD_AT;
    io->current.bytes = filled->bytes - (uint32_t)PAYLOAD_AT;
    io->current.pending =
        super_datagram_describe(&io->current, &io->sockets.list[filled->socket], &header);
    return true;
}

size_t uring_receive(struct io *io, struct io_datagram *datagrams, size_t max)
{
    size_t count = 0;

    if (max > IO_BATCH)
        max = IO_BATCH;
    uring_reap(io);
    for (unsigned i = 0; i < ROUNDS_MAX && io->filled - io->next < max; i++) {
        uring_arm(io);
        if (!uring_kernel_has_work(io))
            break;
        io_uring_submit_and_get_events(&io->ring);
        uring_reap(io);
    }
    do
        count += super_datagram_split(&io->current, datagrams + count, max - count, &io->counters);
    while (count < max && filled_buffer_next(io));
    return count;
}

/* Keeps the buffer that is not handed out completely, and all later ones. */
void uring_release(struct io *io)
{
    uint32_t end = io->current.pending ? io->next - 1 : io->next;

    for (; io->freed != end; io->freed++)
        io->spare[io->spare_count++] = io->filled_buffers[io->freed % BUFFERS].buffer;
}
