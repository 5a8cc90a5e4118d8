/* I/O by io_uring: opening, sending, waiting. Parts and their picture: uring.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "doorbell.h"
#include "src/clock.h"
#include "uring.h"

#define WAIT_SECONDS_MAX 3600

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
    sends_open(io->sends, &io->endpoints);
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

static void uring_transmit(struct io *io)
{
    sends_transmit(io->sends, &io->endpoints, &io->slots, &io->counters);
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

static const struct io_counters *uring_counters(struct io *io)
{
    io->counters.receive_overflow += endpoints_dropped(&io->endpoints);
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
