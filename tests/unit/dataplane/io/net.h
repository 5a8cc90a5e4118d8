/* What the I/O tests share: a worker's sockets on loopback, clients that send to them, and a count
 * of allocations. */
#ifndef IO_NET_H
#define IO_NET_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/io/replay.h"
#include "dataplane/io/socket.h"
#include "dataplane/io/uring/uring.h"
#include "src/clock.h"
#include "src/sanitizer.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define PATIENCE_NS (60 * NS_PER_S) /* an event that takes longer will not happen */

/* ---- allocations ---- */

static _Atomic unsigned long allocations;

#if BUILT_WITH_SANITIZER
void __sanitizer_malloc_hook(const volatile void *pointer, size_t bytes);
void __sanitizer_malloc_hook(const volatile void *pointer, size_t bytes)
{
    (void)pointer, (void)bytes;
    allocations++;
}
#else
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *pointer, size_t bytes);
void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes)
{
    allocations++;
    return __libc_calloc(count, bytes);
}
void *realloc(void *pointer, size_t bytes)
{
    allocations++;
    return __libc_realloc(pointer, bytes);
}
#endif

/* ---- sockets ---- */

static const char *const addresses[] = {"127.0.0.1", "127.0.0.2", "::1"};
enum { ADDRESS_A, ADDRESS_B, ADDRESS_6, ADDRESS_COUNT };

static inline void ip_parse(uint8_t ip[16], const char *text)
{
    memset(ip, 0, 16);
    if (strchr(text, ':')) {
        assert_int_equal(inet_pton(AF_INET6, text, ip), 1);
        return;
    }
    ip[10] = ip[11] = 0xff;
    assert_int_equal(inet_pton(AF_INET, text, ip + 12), 1);
}

static socklen_t name_make(struct sockaddr_storage *name, const char *address, uint16_t port)
{
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)name;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)name;

    memset(name, 0, sizeof(*name));
    if (strchr(address, ':')) {
        ipv6->sin6_family = AF_INET6;
        ipv6->sin6_port = htons(port);
        assert_int_equal(inet_pton(AF_INET6, address, &ipv6->sin6_addr), 1);
        return sizeof(*ipv6);
    }
    ipv4->sin_family = AF_INET;
    ipv4->sin_port = htons(port);
    assert_int_equal(inet_pton(AF_INET, address, &ipv4->sin_addr), 1);
    return sizeof(*ipv4);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in6 name;
    socklen_t bytes = sizeof(name);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &bytes), 0);
    return ntohs(name.sin6_port); /* sin_port has the same place */
}

static int socket_bound(const char *address)
{
    struct sockaddr_storage name;
    socklen_t bytes = name_make(&name, address, 0);
    int on = 1, fd = socket(name.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (name.ss_family == AF_INET6)
        assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, bytes), 0);
    return fd;
}

/* A worker's two sockets as the supervisor opens them, and its doorbell. */
#define WORKER 3 /* its number in the set */
struct server {
    struct descriptors descriptors;
    int udp4, udp6, doorbell; /* the same; the test closes them */
    uint16_t port4, port6;
};

/* The set of a worker that has these; -1: it has none. */
static inline struct descriptors descriptors_of(int udp4, int udp6, int doorbell)
{
    struct descriptors set = {0};

    if (udp4 >= 0)
        descriptors_add(&set, udp4, "udp4.%u", WORKER);
    if (udp6 >= 0)
        descriptors_add(&set, udp6, "udp6.%u", WORKER);
    if (doorbell >= 0)
        descriptors_add(&set, doorbell, "bell.worker.%u", WORKER);
    return set;
}

static inline void server_open_at(struct server *server, const char *ipv4, const char *ipv6)
{
    int on = 1;
    int udp4 = socket_bound(ipv4), udp6 = socket_bound(ipv6);

    assert_int_equal(setsockopt(udp4, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), 0);
    assert_int_equal(setsockopt(udp6, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)), 0);
    assert_int_equal(setsockopt(udp4, SOL_UDP, UDP_GRO, &on, sizeof(on)), 0);
    assert_int_equal(setsockopt(udp6, SOL_UDP, UDP_GRO, &on, sizeof(on)), 0);
    server->udp4 = udp4;
    server->udp6 = udp6;
    server->doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    server->descriptors = descriptors_of(udp4, udp6, server->doorbell);
    server->port4 = port_of(udp4);
    server->port6 = port_of(udp6);
}

static inline void server_open(struct server *server)
{
    server_open_at(server, "0.0.0.0", "::");
}

static inline void server_close(struct server *server)
{
    close(server->udp4);
    close(server->udp6);
    close(server->doorbell);
}

/* The path that the server sees when `client` (a socket) talks to its address `address`. */
static inline struct path path_between(const struct server *server, int client,
                                       const char *client_address, const char *address)
{
    struct path path;

    ip_parse(path.remote_ip, client_address);
    ip_parse(path.local_ip, address);
    path.remote_port = port_of(client);
    path.local_port = strchr(address, ':') ? server->port6 : server->port4;
    return path;
}

static inline void client_send(int client, const struct path *path, const void *data, size_t bytes,
                               uint16_t segment_bytes)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_storage name;
    int segment = segment_bytes;
    bool ipv4 = path_is_ipv4(path);
    socklen_t name_bytes;

    inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? path->local_ip + 12 : path->local_ip, text,
              sizeof(text));
    name_bytes = name_make(&name, text, path->local_port);
    assert_int_equal(setsockopt(client, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
    assert_int_equal(sendto(client, data, bytes, 0, (struct sockaddr *)&name, name_bytes), bytes);
}

/* Waits for the next datagram at a client and says where it came from. Returns its bytes; -1: none
 * came. */
static inline ssize_t client_receive(int client, uint8_t *data, size_t room, uint8_t from_ip[16],
                                     uint16_t *from_port)
{
    struct pollfd ready = {.fd = client, .events = POLLIN};
    struct sockaddr_storage name;
    socklen_t bytes = sizeof(name);
    ssize_t received;

    if (poll(&ready, 1, PATIENCE_NS / NS_PER_MS) != 1)
        return -1;
    received = recvfrom(client, data, room, MSG_TRUNC, (struct sockaddr *)&name, &bytes);
    assert_true(received >= 0);
    memset(from_ip, 0, 16);
    if (name.ss_family == AF_INET) {
        from_ip[10] = from_ip[11] = 0xff;
        memcpy(from_ip + 12, &((struct sockaddr_in *)&name)->sin_addr, 4);
    } else {
        memcpy(from_ip, &((struct sockaddr_in6 *)&name)->sin6_addr, 16);
    }
    *from_port = ntohs(((struct sockaddr_in6 *)&name)->sin6_port);
    return received;
}

/* Receives `count` datagrams, at most `batch` of them at a time. Returns how many came. */
static inline size_t receive_all(const struct io_backend *backend, struct io *io,
                                 void (*each)(void *context, const struct io_datagram *datagram),
                                 void *context, size_t count, size_t batch)
{
    static struct io_datagram datagrams[IO_BATCH];
    uint64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    size_t got = 0;

    while (got < count && clock_monotonic_ns() < end_ns) {
        size_t n = backend->receive(io, datagrams, batch);

        assert_true(n <= batch);
        for (size_t i = 0; i < n; i++)
            each(context, &datagrams[i]);
        backend->release(io);
        got += n;
        if (n > 0)
            end_ns = clock_monotonic_ns() + PATIENCE_NS;
        else
            backend->wait(io, 10 * NS_PER_MS);
    }
    return got;
}

/* ---- backends ---- */

#define KERNEL_BACKENDS 2 /* the first of the list */
static const struct io_backend *const backend_list[] = {&io_uring_backend, &io_socket_backend,
                                                        &io_replay_backend};
static const struct io_backends backends = {sizeof(backend_list) / sizeof(backend_list[0]),
                                            backend_list};

#define EACH_BACKEND(b)                                          \
    for (const struct io_backend *const *at_ = backend_list, *b; \
         at_ < backend_list + KERNEL_BACKENDS &&                 \
         (b = *at_, print_message("  %s\n", b->name), true);     \
         at_++)

/* Chooses `auto`. Measures again when the machine was too busy to measure. */
static inline void choose_auto(struct io_choice *choice)
{
    uint64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    char why[IO_CHOICE_BYTES];

    do
        io_choose(choice, &backends, "auto", "", why);
    while (!choice->is_measured && clock_monotonic_ns() < end_ns);
}

static inline struct io *backend_open(const struct io_backend *backend, const struct server *server)
{
    char why[128] = "no reason given";
    struct io *io = backend->open(&server->descriptors, WORKER, why);

    if (!io)
        fail_msg("%s: %s", backend->name, why);
    return io;
}

#endif
