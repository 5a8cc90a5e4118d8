/* I/O by recvmmsg and sendmmsg, with UDP_GRO and UDP_SEGMENT. */
#define _GNU_SOURCE
#include "socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "doorbell.h"
#include "sends.h"
#include "src/clock.h"

#define WAIT_SECONDS_MAX 3600
/* An odd number of cache lines: so the beginnings of the buffers do not share one cache set. */
#define BUFFER_BYTES (RECEIVE_BYTES_MAX + RECEIVE_BYTES_BEHIND + 1568)
_Static_assert(BUFFER_BYTES % 64 == 0 && BUFFER_BYTES / 64 % 2 == 1,
               "the buffers do not have an odd number of cache lines");

struct receive_room {
    uint8_t name[NAME_BYTES];
    uint8_t control[CONTROL_BYTES] __attribute__((aligned(8)));
    struct iovec iovec;
    const struct udp_socket *socket;
};

struct io {
    struct udp_sockets sockets;
    int doorbell;
    unsigned turn; /* counts receives: the sockets take turns at being read first */
    struct io_counters counters;

    /* Received super-datagrams: first `current` is handed out, then [next, count). */
    unsigned next, count;
    struct super_datagram current;
    struct mmsghdr received[IO_BATCH];
    struct receive_room receive_rooms[IO_BATCH];
    uint8_t *buffers; /* IO_BATCH × BUFFER_BYTES */

    struct slots slots;
    struct sends sends[SOCKETS_MAX];
};

static void received_reset(struct io *io, unsigned i)
{
    struct msghdr *header = &io->received[i].msg_hdr;

    header->msg_name = io->receive_rooms[i].name;
    header->msg_namelen = NAME_BYTES;
    header->msg_iov = &io->receive_rooms[i].iovec;
    header->msg_iovlen = 1;
    header->msg_control = io->receive_rooms[i].control;
    header->msg_controllen = CONTROL_BYTES;
    header->msg_flags = 0;
}

static void socket_close(struct io *io)
{
    slots_close(&io->slots);
    pages_unmap(io->buffers, (size_t)IO_BATCH * BUFFER_BYTES);
    pages_unmap(io, sizeof(*io));
}

static struct io *socket_open(const struct descriptors *descriptors, uint32_t worker,
                              char why[IO_WHY_BYTES])
{
    struct io *io = pages_map(sizeof(*io));

    if (!io) {
        snprintf(why, IO_WHY_BYTES, "no memory for the socket backend");
        return NULL;
    }
    io->doorbell = descriptors_get(descriptors, "bell.worker.%u", worker);
    if (!udp_sockets_open(&io->sockets, descriptors, worker, why)) {
        socket_close(io);
        return NULL;
    }
    io->buffers = pages_map((size_t)IO_BATCH * BUFFER_BYTES);
    if (!io->buffers || !slots_open(&io->slots, 1) || !doorbell_prepare(io->doorbell)) {
        if (!io->buffers || !io->slots.memory)
            snprintf(why, IO_WHY_BYTES, "no memory for packet buffers");
        else
            snprintf(why, IO_WHY_BYTES, "the doorbell, descriptor %d, is not an eventfd",
                     io->doorbell);
        socket_close(io);
        return NULL;
    }
    sends_open(io->sends, &io->sockets);
    for (unsigned i = 0; i < IO_BATCH; i++) {
        io->receive_rooms[i].iovec.iov_base = io->buffers + (size_t)i * BUFFER_BYTES;
        io->receive_rooms[i].iovec.iov_len = RECEIVE_BYTES_MAX;
        received_reset(io, i);
    }
    return io;
}

/* ---- receiving ---- */

static void socket_fill(struct io *io, const struct udp_socket *socket, unsigned max)
{
    int received = io->count >= max ? 0
                                    : recvmmsg(socket->fd, io->received + io->count,
                                               max - io->count, MSG_DONTWAIT, NULL);

    /* An error (a queued ICMP error, an interrupt) only means that no datagram was received: the
     * next turn tries again. */
    for (int i = 0; i < received; i++)
        io->receive_rooms[io->count++].socket = socket;
}

/* Makes the next super-datagram current; false when there is none. */
static bool super_datagram_next(struct io *io)
{
    struct mmsghdr *received = &io->received[io->next];
    struct receive_room *room = &io->receive_rooms[io->next];

    if (io->next == io->count)
        return false;
    io->next++;
    io->counters.truncated += (received->msg_hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    io->current.data = room->iovec.iov_base;
    io->current.bytes = received->msg_len;
    io->current.pending = super_datagram_describe(&io->current, room->socket, &received->msg_hdr);
    return true;
}

static size_t socket_receive(struct io *io, struct io_datagram *datagrams, size_t max)
{
    size_t count = 0;

    if (max > IO_BATCH)
        max = IO_BATCH;
    if (!io->current.pending && io->next == io->count) {
        unsigned sockets = io->sockets.count;

        io->next = io->count = 0;
        io->turn++;
        for (unsigned i = 0; i < sockets; i++)
            socket_fill(io, &io->sockets.list[(io->turn + i) % sockets], (unsigned)max);
    }
    do
        count += super_datagram_split(&io->current, datagrams + count, max - count, &io->counters);
    while (count < max && super_datagram_next(io));
    return count;
}

static void socket_release(struct io *io)
{
    if (io->current.pending || io->next < io->count)
        return; /* a super-datagram is not handed out completely: its buffer is still in use */
    for (unsigned i = 0; i < io->count; i++)
        received_reset(io, i);
    io->next = io->count = 0;
}

/* ---- sending ---- */

static uint8_t *socket_slot(struct io *io, const struct path *path, uint32_t bytes)
{
    return slots_take(&io->slots, path, bytes);
}

static void socket_transmit(struct io *io)
{
    sends_transmit(io->sends, &io->sockets, &io->slots, &io->counters);
}

/* ---- waiting ---- */

static bool socket_wait(struct io *io, uint64_t timeout_ns)
{
    struct pollfd polls[SOCKETS_MAX + 1] = {{.fd = io->doorbell, .events = POLLIN}};
    struct timespec timeout = {0};

    if (!io->current.pending && io->next == io->count) {
        uint64_t seconds = timeout_ns / NS_PER_S;

        timeout.tv_sec = (time_t)(seconds > WAIT_SECONDS_MAX ? WAIT_SECONDS_MAX : seconds);
        timeout.tv_nsec = (long)(timeout_ns % NS_PER_S);
    }
    for (unsigned i = 0; i < io->sockets.count; i++)
        polls[i + 1] = (struct pollfd){.fd = io->sockets.list[i].fd, .events = POLLIN};
    if (ppoll(polls, io->sockets.count + 1, &timeout, NULL) <= 0)
        return false;
    return polls[0].revents & POLLIN && doorbell_reset(io->doorbell);
}

static const struct io_counters *socket_counters(struct io *io)
{
    io->counters.receive_overflow += udp_sockets_dropped(&io->sockets);
    return &io->counters;
}

const struct io_backend io_socket_backend = {
    .name = "socket",
    .auto_may_choose = true,
    .loopback_can_measure = true,
    .open = socket_open,
    .receive = socket_receive,
    .release = socket_release,
    .slot = socket_slot,
    .transmit = socket_transmit,
    .wait = socket_wait,
    .counters = socket_counters,
    .close = socket_close,
};
