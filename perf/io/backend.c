/* The same work through the backends of the product, and the tables of all methods. */
#include <string.h>

#include "bench.h"
#include "dataplane/io/socket.h"
#include "dataplane/io/uring/uring.h"

static struct path path_to(const struct sender *sender, const struct sockaddr_in *to)
{
    struct path path = {.remote_port = ntohs(to->sin_port), .local_port = sender->local_port};

    path.remote_ip[10] = path.remote_ip[11] = path.local_ip[10] = path.local_ip[11] = 0xff;
    memcpy(path.remote_ip + 12, &to->sin_addr, 4);
    memcpy(path.local_ip + 12, &sender->local_ip, 4);
    return path;
}

static void slot_take(const struct io_backend *backend, struct io *io, const struct path *path,
                      uint32_t bytes)
{
    uint8_t *slot = backend->slot(io, path, bytes);

    if (!slot) {
        backend->transmit(io);
        slot = backend->slot(io, path, bytes);
    }
    payload_write(slot, bytes);
}

static void backend_send(const struct io_backend *backend, struct io *io, struct sender *sender,
                         const struct work *work)
{
    for (uint32_t r = 0; r < work->runs; r++) {
        struct path path = path_to(sender, sender_next(sender));

        for (uint32_t i = 0; i < work->segments; i++)
            slot_take(backend, io, &path, work->bytes);
    }
    backend->transmit(io);
}

static uint32_t backend_receive(const struct io_backend *backend, struct io *io,
                                struct sender *sender)
{
    static struct io_datagram datagrams[IO_BATCH];
    uint32_t count = 0;
    size_t received;

    do {
        received = backend->receive(io, datagrams, IO_BATCH);
        if (received)
            backend->release(io);
        count += (uint32_t)received;
    } while (received > 0);
    return count;
}

const struct method send_methods[] = {
    {"sendto", NULL, raw_sendto, NULL},
    {"sendmmsg", NULL, raw_sendmmsg, NULL},
    {"sendmmsg+segment", NULL, raw_sendmmsg_segmented, NULL},
    {"socket", &io_socket_backend, backend_send, NULL},
    {"io_uring", &io_uring_backend, backend_send, NULL},
};
const unsigned send_method_count = sizeof(send_methods) / sizeof(send_methods[0]);

const struct method receive_methods[] = {
    {"recvfrom", NULL, NULL, raw_recvfrom},
    {"recvmmsg", NULL, NULL, raw_recvmmsg},
    {"socket", &io_socket_backend, NULL, backend_receive},
    {"io_uring", &io_uring_backend, NULL, backend_receive},
};
const unsigned receive_method_count = sizeof(receive_methods) / sizeof(receive_methods[0]);
