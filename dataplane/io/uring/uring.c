/* The io_uring backend: opening and waiting. parts.h has a picture of the parts. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/io/doorbell.h"
#include "src/clock.h"
#include "parts.h"

#define WAIT_NS_MAX (3600 * NS_PER_S)

static void uring_close(struct io *io)
{
    uring_ring_close(io);
    slots_close(&io->slots);
    pages_unmap(io, sizeof(*io));
}

/* Linux before 6.0 knows recvmsg, but refuses it as multishot. Other errors of a receive do not
 * matter here: datagrams may have arrived already. */
static bool receive_works(struct io *io, char *why)
{
    uring_arm(io);
    io_uring_submit_and_get_events(&io->ring);
    uring_reap(io);
    for (unsigned i = 0; i < io->sockets.count; i++) {
        int error = io->receive_error[i];

        if (error == EINVAL || error == EOPNOTSUPP || error == EBADF || error == EACCES) {
            snprintf(why, IO_WHY_BYTES,
                     "the kernel refuses multishot receive (%s): use Linux 6.0 or newer",
                     strerror(error));
            return false;
        }
    }
    return true;
}

static struct io *uring_open(const struct descriptors *descriptors, uint32_t worker,
                             char why[IO_WHY_BYTES])
{
    struct io *io = pages_map(sizeof(*io));

    if (!io) {
        snprintf(why, IO_WHY_BYTES, "no memory for the io_uring backend");
        return NULL;
    }
    io->doorbell = descriptors_get(descriptors, "bell.worker.%u", worker);
    io->receive_header.msg_namelen = NAME_BYTES;
    io->receive_header.msg_controllen = CONTROL_BYTES;
    if (!udp_sockets_open(&io->sockets, descriptors, worker, why)) {
        uring_close(io);
        return NULL;
    }
    sends_open(io->sends, &io->sockets);
    if (!slots_open(&io->slots, ARENAS))
        snprintf(why, IO_WHY_BYTES, "no memory for transmit slots");
    else if (!doorbell_prepare(io->doorbell))
        snprintf(why, IO_WHY_BYTES, "the doorbell, descriptor %d, is not an eventfd", io->doorbell);
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

/* ---- waiting ---- */

static bool expects_notifications(const struct io *io)
{
    for (unsigned i = 0; i < ARENAS; i++)
        if (io->in_flight[i] > 0)
            return true;
    return false;
}

static bool receives_are_armed(const struct io *io)
{
    for (unsigned i = 0; i < io->sockets.count; i++)
        if (!io->receive_armed[i])
            return false;
    return true;
}

/* Goes back to sleep after a notification: that the kernel is done with a send need not wake the
 * worker. */
static void sleep_until_event(struct io *io, uint64_t timeout_ns)
{
    uint64_t end_ns = expects_notifications(io) ? clock_monotonic_ns() + timeout_ns : 0;

    do {
        struct __kernel_timespec timeout = {.tv_sec = (int64_t)(timeout_ns / NS_PER_S),
                                            .tv_nsec = (long long)(timeout_ns % NS_PER_S)};
        struct io_uring_cqe *cqe;
        uint64_t now_ns;

        if (io_uring_submit_and_wait_timeout(&io->ring, &cqe, 1, &timeout, NULL) < 0)
            return; /* the time is over, or there was a signal */
        uring_reap(io);
        now_ns = end_ns ? clock_monotonic_ns() : 0;
        timeout_ns = end_ns > now_ns ? end_ns - now_ns : 0;
    } while (timeout_ns > 0 && !uring_has_datagrams(io) && !io->rung && receives_are_armed(io));
}

static bool uring_wait(struct io *io, uint64_t timeout_ns)
{
    bool rung;

    if (timeout_ns > WAIT_NS_MAX)
        timeout_ns = WAIT_NS_MAX;
    uring_reap(io);
    uring_arm(io);
    if (!uring_has_datagrams(io) && !io->rung)
        sleep_until_event(io, timeout_ns);
    else if (uring_kernel_has_work(io)) /* no sleep; but the doorbell may have rung meanwhile */
        io_uring_submit_and_get_events(&io->ring);
    uring_reap(io);
    rung = io->rung;
    io->rung = false;
    return rung && doorbell_reset(io->doorbell);
}

static const struct io_counters *uring_counters(struct io *io)
{
    io->counters.receive_overflow += udp_sockets_dropped(&io->sockets);
    return &io->counters;
}

const struct io_backend io_uring_backend = {
    .name = "io_uring",
    .auto_may_choose = true,
    .loopback_can_measure = true,
    .open = uring_open,
    .receive = uring_receive,
    .release = uring_release,
    .slot = uring_slot,
    .transmit = uring_transmit,
    .wait = uring_wait,
    .counters = uring_counters,
    .close = uring_close,
};
