/* io_uring backend from inside: what its ring refuses, how it survives want of buffers. */
#define _GNU_SOURCE
#include "io_net.h"

#include <sys/syscall.h>

#include "dataplane/io/uring.h"

static struct io *ring_open(struct server *server)
{
    char why[128] = "no reason given";
    struct io *io;

    server_open(server);
    io = io_uring_backend.open(&server->descriptors, why);
    if (!io)
        fail_msg("%s", why);
    return io;
}

static int result_of(struct io *io, const struct io_uring_sqe *request)
{
    struct io_uring_cqe *cqe;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
    int result;

    *sqe = *request;
    sqe->user_data = 42;
    assert_true(io_uring_submit_and_get_events(&io->ring) >= 0);
    if (io_uring_peek_cqe(&io->ring, &cqe) != 0)
        fail_msg("opcode %u flags %x: no completion", request->opcode, request->flags);
    assert_int_equal(cqe->user_data, 42);
    result = cqe->res;
    io_uring_cqe_seen(&io->ring, cqe);
    return result;
}

static void refuses_all_but_its_own(void **state)
{
    static const uint8_t allowed[] = {IORING_OP_RECVMSG, IORING_OP_POLL_ADD};
    static const struct {
        uint8_t opcode, flags;
    } bent[] = {
        {IORING_OP_RECVMSG, IOSQE_BUFFER_SELECT}, /* a descriptor by number, not a registered one */
        {IORING_OP_POLL_ADD, 0},
        {IORING_OP_RECVMSG, IOSQE_FIXED_FILE | IOSQE_ASYNC},
        {IORING_OP_POLL_ADD, IOSQE_FIXED_FILE | IOSQE_IO_LINK},
    };
    struct server server;
    struct io *io = ring_open(&server);
    int files[1] = {0};

    for (unsigned opcode = 0; opcode < 62; opcode++) {
        struct io_uring_sqe request = {.opcode = (uint8_t)opcode, .flags = IOSQE_FIXED_FILE};

        if (!memchr(allowed, (int)opcode, sizeof(allowed)))
            assert_int_equal(result_of(io, &request), -EACCES);
    }
    for (size_t i = 0; i < sizeof(bent) / sizeof(bent[0]); i++) {
        struct io_uring_sqe request = {.opcode = bent[i].opcode, .flags = bent[i].flags};

        assert_int_equal(result_of(io, &request), -EACCES);
    }
    struct io_uring_sqe none = {.opcode = IORING_OP_POLL_ADD, .flags = IOSQE_FIXED_FILE, .fd = 3};

    assert_int_equal(result_of(io, &none), -EBADF); /* only the three descriptors of the worker */
    for (unsigned operation = 0; operation < 32; operation++) {
        errno = 0;
        assert_int_equal(syscall(SYS_io_uring_register, io->ring.ring_fd, operation, files, 1), -1);
        assert_true(errno == EACCES || errno == EINVAL || errno == EBADFD);
    }
    io_uring_backend.close(io);
    server_close(&server);
}

static void count_packet(void *context, const struct io_packet *packet)
{
    assert_int_equal(packet->bytes, 100);
    (*(size_t *)context)++;
}

/* All buffers held: receiving stops, what comes waits in the socket, and nothing is lost. */
static void goes_on_after_want_of_buffers(void **state)
{
    static struct io_packet packets[IO_BATCH];
    static uint8_t data[100];
    struct server server;
    struct io *io = ring_open(&server);
    int client = socket_bound("127.0.0.1");
    struct path path = path_between(&server, client, "127.0.0.1", "127.0.0.1");

    for (unsigned round = 0; round < 5; round++) {
        size_t held = 0, seen = 0;

        for (unsigned i = 0; i < BUFFERS / 100 + 2; i++) { /* in parts: the socket holds some 250 */
            for (unsigned n = 0; n < 100; n++)
                client_send(client, &path, data, sizeof(data), 0);
            for (unsigned tries = 0; tries < 4; tries++)
                held += io_uring_backend.receive(io, packets, IO_BATCH);
        }
        assert_int_equal(held, BUFFERS);
        assert_false(io->receive_armed[io->endpoints.ipv4]);
        assert_int_equal(io_uring_backend.receive(io, packets, IO_BATCH), 0);
        io_uring_backend.release(io);
        assert_int_equal(receive_all(&io_uring_backend, io, count_packet, &seen,
                                     (BUFFERS / 100 + 2) * 100 - held, IO_BATCH),
                         (BUFFERS / 100 + 2) * 100 - held);
    }
    io_uring_backend.close(io);
    server_close(&server);
    close(client);
}

/* The buffer of a super-packet stays ours until its last part was handed out and given back. */
static void keeps_a_buffer_while_parts_wait(void **state)
{
    struct server server;
    struct io *io = ring_open(&server);
    int client = socket_bound("127.0.0.1");
    struct path path = path_between(&server, client, "127.0.0.1", "127.0.0.1");
    struct io_packet packet;
    uint32_t freed = io->freed;

    client_send(client, &path, "abc", 3, 1);
    for (unsigned part = 0; part < 3; part++) {
        assert_int_equal(io_uring_backend.receive(io, &packet, 1), 1);
        assert_int_equal(packet.data[0], 'a' + part);
        assert_int_equal(io->freed, freed);
        io_uring_backend.release(io);
        assert_int_equal(io->freed, freed + (part == 2));
    }
    io_uring_backend.close(io);
    server_close(&server);
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_all_but_its_own),
        cmocka_unit_test(goes_on_after_want_of_buffers),
        cmocka_unit_test(keeps_a_buffer_while_parts_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
