/* I/O by io_uring: opening, sending, waiting. Parts and their picture: uring.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "doorbell.h"
#include "src/clock.h"
#include "uring.h"

#define WAIT_SECONDS_MAX 3600
#define SUBMIT_TRIES 4

static void uring_close(struct io *io)
{
    uring_ring_close(io);
    slots_close(&io->slots);
    pages_unmap(io, sizeof(*io));
}

/* Kernels before 6.0 know recvmsg, but refuse it as multishot. That it ended for other reasons says
 * nothing: packets may be waiting already. */
static bool receive_works(struct io *io, char *why)
{
    uring_arm(io);
    io_uring_submit_and_get_events(&io->ring);
    uring_reap(io);
    for (unsigned i = 0; i < io->endpoints.count; i++) {
        int error = io->receive_error[i];

        if (error == EINVAL || error == EOPNOTSUPP || error == EBADF || error == EACCES) {
            snprintf(why, URING_WHY_BYTES, "multishot receive is refused (%s): Linux 6.0 or newer",
                     strerror(error));
            return false;
        }
    }
    return true;
}

static struct io *uring_open(const struct io_descriptors *descriptors, char *why)
{
    struct io *io = pages_map(sizeof(*io));

    if (!io) {
        snprintf(why, URING_WHY_BYTES, "no memory for the io_uring backend");
        return NULL;
    }
    io->doorbell = descriptors->doorbell;
    io->receive_header.msg_namelen = NAME_BYTES;
    io->receive_header.msg_controllen = CONTROL_BYTES;
    if (!endpoints_open(&io->endpoints, descriptors, why)) {
        uring_close(io);
        return NULL;
    }
    if (!slots_open(&io->slots))
        snprintf(why, URING_WHY_BYTES, "no memory for transmit slots");
    else if (!doorbell_prepare(io->doorbell))
        snprintf(why, URING_WHY_BYTES, "doorbell: descriptor %d is no eventfd", io->doorbell);
    else if (uring_ring_open(io, why) && receive_works(io, why))
        return io;
    uring_close(io);
    return NULL;
}

/* ---- sending ---- */

static uint8_t *uring_slot(struct io *io, const struct path *path, uint32_t bytes)
{
    return slots_take(&io->slots, path, bytes);
}

/* What the kernel did not take must not stay in the queue: its memory is about to hold other
 * packets. It is turned into a request that the ring's restrictions refuse. */
static void submissions_spoil(struct io *io, int error)
{
    struct io_uring_sq *sq = &io->ring.sq;
    unsigned mask = *sq->kring_mask;

    for (unsigned at = *sq->khead; at != sq->sqe_tail; at++) {
        struct io_uring_sqe *sqe = &sq->sqes[at & mask];
        uint32_t which = (uint32_t)sqe->user_data;

        switch ((enum request_kind)(sqe->user_data >> 32)) {
        case REQUEST_send:
            io->slots.runs[which].error = error;
            break;
        case REQUEST_single:
            io->single_errors[which] = error;
            break;
        default:
            continue;
        }
        sqe->opcode = IORING_OP_NOP;
        sqe->user_data = request_word(REQUEST_none, 0);
    }
}

/* Hands all prepared requests to the kernel. Sends of UDP complete within this call (MSG_DONTWAIT:
 * never later), so their failures are known and their memory is free when it returns. */
static void submit(struct io *io)
{
    int result = 0;

    for (unsigned i = 0; i < SUBMIT_TRIES && io_uring_sq_ready(&io->ring) > 0; i++) {
        result = io_uring_submit_and_get_events(&io->ring);
        uring_reap(io);
    }
    if (io_uring_sq_ready(&io->ring) > 0)
        submissions_spoil(io, result < 0 ? -result : EAGAIN);
}

static void send_request(struct io *io, enum request_kind kind, uint32_t which,
                         const struct msghdr *header, int endpoint)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);

    if (!sqe) {
        submit(io);
        sqe = io_uring_get_sqe(&io->ring);
    }
    if (!sqe) {
        if (kind == REQUEST_send)
            io->slots.runs[which].error = EAGAIN;
        else
            io->single_errors[which] = EAGAIN;
        return;
    }
    io_uring_prep_sendmsg(sqe, endpoint, header, MSG_DONTWAIT | MSG_NOSIGNAL);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = request_word(kind, which);
}

/* A run that the kernel did not take as one: each datagram by itself. What followed on the same path
 * is sent already; from now on slots_refused keeps them in order. */
static void send_singly(struct io *io, const struct run *run, int endpoint)
{
    struct msghdr headers[IO_SEGMENTS_MAX];
    struct send_room rooms[IO_SEGMENTS_MAX];

    slots_refused(&io->slots, &run->path);
    for (uint32_t i = 0; i < run->segments; i++) {
        io->single_errors[i] = 0;
        send_describe(&headers[i], &rooms[i], &io->endpoints.list[endpoint], &run->path,
                      io->slots.memory + run->at + (size_t)i * run->segment_bytes,
                      run_segment_bytes(run, i), 0);
        send_request(io, REQUEST_single, i, &headers[i], endpoint);
    }
    submit(io);
    for (uint32_t i = 0; i < run->segments; i++) {
        struct run single = {
            .bytes = run_segment_bytes(run, i), .segments = 1, .error = io->single_errors[i]};

        run_count(&io->counters, &single);
    }
}

static void uring_transmit(struct io *io)
{
    struct slots *slots = &io->slots;

    for (uint32_t r = 0; r < slots->run_count; r++) {
        struct run *run = &slots->runs[r];
        int endpoint = endpoint_of(&io->endpoints, &run->path);

        if (endpoint < 0) {
            run->error = EAFNOSUPPORT;
            continue;
        }
        send_describe_run(&io->send_headers[r], &io->send_rooms[r], &io->endpoints.list[endpoint],
                          slots, run);
        send_request(io, REQUEST_send, r, &io->send_headers[r], endpoint);
    }
    submit(io);
    for (uint32_t r = 0; r < slots->run_count; r++) {
        struct run *run = &slots->runs[r];

        if (run->segments > 1 && error_refuses_segments(run->error))
            send_singly(io, run, endpoint_of(&io->endpoints, &run->path));
        else
            run_count(&io->counters, run);
    }
    slots_clear(slots);
}

/* ---- waiting ---- */

static bool uring_wait(struct io *io, uint64_t timeout_ns)
{
    uint64_t seconds = timeout_ns / NS_PER_S;
    struct __kernel_timespec timeout = {
        .tv_sec = (int64_t)(seconds > WAIT_SECONDS_MAX ? WAIT_SECONDS_MAX : seconds),
        .tv_nsec = (long long)(timeout_ns % NS_PER_S)};
    struct io_uring_cqe *cqe;
    bool rung;

    uring_reap(io);
    uring_arm(io);
    if (!uring_has_arrivals(io) && !io->rung)
        io_uring_submit_and_wait_timeout(&io->ring, &cqe, 1, &timeout, NULL);
    else if (uring_kernel_has_work(io)) /* packets are here, but the doorbell may be among it */
        io_uring_submit_and_get_events(&io->ring);
    uring_reap(io);
    rung = io->rung;
    io->rung = false;
    return rung && doorbell_reset(io->doorbell);
}

static const struct io_counters *uring_counters(const struct io *io)
{
    return &io->counters;
}

const struct io_backend io_uring_backend = {
    .name = "io_uring",
    .open = uring_open,
    .receive = uring_receive,
    .release = uring_release,
    .slot = uring_slot,
    .transmit = uring_transmit,
    .wait = uring_wait,
    .counters = uring_counters,
    .close = uring_close,
};
