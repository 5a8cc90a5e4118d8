/* The same work through the product's backends, and all methods in one table. */
#include <string.h>

#include "bench.h"
#include "dataplane/io/socket.h"
#include "dataplane/io/uring/uring.h"

static struct path path_to(const struct place *place, const struct sockaddr_in *to)
{
    struct path path = {.remote_port = ntohs(to->sin_port), .local_port = place->local_port};

    path.remote_ip[10] = path.remote_ip[11] = path.local_ip[10] = path.local_ip[11] = 0xff;
    memcpy(path.remote_ip + 12, &to->sin_addr, 4);
    memcpy(path.local_ip + 12, &place->local_ip, 4);
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

static void backend_send(const struct io_backend *backend, struct place *place, struct io *io,
                         const struct work *work)
{
    for (uint32_t r = 0; r < work->runs; r++) {
        struct path path = path_to(place, place_next(place));

        for (uint32_t i = 0; i < work->segments; i++)
            slot_take(backend, io, &path, work->bytes);
    }
    backend->transmit(io);
}

static uint32_t backend_receive(const struct io_backend *backend, struct io *io)
{
    static struct io_datagram packets[IO_BATCH];
    uint32_t count = 0;
    size_t received;

    do {
        received = backend->receive(io, packets, IO_BATCH);
        if (received)
            backend->release(io);
        count += (uint32_t)received;
    } while (received > 0);
    return count;
}

static void send_io_uring(struct place *place, struct io *io, const struct work *work)
{
    backend_send(&io_uring_backend, place, io, work);
}

static void send_socket(struct place *place, struct io *io, const struct work *work)
{
    backend_send(&io_socket_backend, place, io, work);
}

static uint32_t receive_io_uring(struct place *place, struct io *io)
{
    return backend_receive(&io_uring_backend, io);
}

static uint32_t receive_socket(struct place *place, struct io *io)
{
    return backend_receive(&io_socket_backend, io);
}

const struct method send_methods[] = {
    {"sendto", NULL, raw_sendto, NULL},
    {"sendmmsg", NULL, raw_sendmmsg, NULL},
    {"sendmmsg+segment", NULL, raw_sendmmsg_segmented, NULL},
    {"socket", &io_socket_backend, send_socket, NULL},
    {"io_uring", &io_uring_backend, send_io_uring, NULL},
};
const unsigned send_method_count = sizeof(send_methods) / sizeof(send_methods[0]);

const struct method receive_methods[] = {
    {"recvfrom", NULL, NULL, raw_recvfrom},
    {"recvmmsg", NULL, NULL, raw_recvmmsg},
    {"socket", &io_socket_backend, NULL, receive_socket},
    {"io_uring", &io_uring_backend, NULL, receive_io_uring},
};
const unsigned receive_method_count = sizeof(receive_methods) / sizeof(receive_methods[0]);
