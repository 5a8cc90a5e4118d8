/* The io_uring backend from inside: what its ring refuses, and how it copes without free buffers
 * and with a kernel that refuses its requests. */
#define _GNU_SOURCE
#include "tests/unit/dataplane/io/net.h"

#include <sys/syscall.h>

#include "dataplane/io/uring/parts.h"

/* Stands in for the kernel: refuses the next `refusals` submissions. While `break_zero_copy` is set
 * it makes sends without copying fail, as some kernels before 6.15 do. */
static unsigned refusals;
static bool break_zero_copy;
static int submit_or_refuse(struct io_uring *ring)
{
    for (unsigned at = *ring->sq.khead; break_zero_copy && at != ring->sq.sqe_tail; at++) {
        struct io_uring_sqe *sqe = &ring->sq.sqes[at & *ring->sq.kring_mask];

        if (sqe->opcode == IORING_OP_SENDMSG_ZC)
            sqe->buf_index = 7; /* there is no such buffer: EFAULT */
    }
    if (refusals == 0)
        return io_uring_submit_and_get_events(ring);
    refusals--;
    return -EBUSY;
}
#define io_uring_submit_and_get_events submit_or_refuse
#include "dataplane/io/uring/send.c"
#undef io_uring_submit_and_get_events

static struct io *ring_open(struct server *server)
{
    char why[128] = "no reason given";
    struct io *io;

    server_open(server);
    io = io_uring_backend.open(&server->descriptors, WORKER, why);
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

static void ring_refuses_other_requests(void **state)
{
    static const uint8_t allowed[] = {IORING_OP_RECVMSG, IORING_OP_POLL_ADD, IORING_OP_SENDMSG,
                                      IORING_OP_SENDMSG_ZC};
    static const struct {
        uint8_t opcode, flags;
    } wrong[] = {
        {IORING_OP_RECVMSG, IOSQE_BUFFER_SELECT}, /* its descriptor is not a registered one */
        {IORING_OP_POLL_ADD, 0},
        {IORING_OP_SENDMSG, 0},
        {IORING_OP_SENDMSG_ZC, 0},
        {IORING_OP_SENDMSG_ZC, IOSQE_FIXED_FILE | IOSQE_ASYNC},
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
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct io_uring_sqe request = {.opcode = wrong[i].opcode, .flags = wrong[i].flags};

        assert_int_equal(result_of(io, &request), -EACCES);
    }
    struct io_uring_sqe none = {.opcode = IORING_OP_POLL_ADD, .flags = IOSQE_FIXED_FILE, .fd = 3};

    assert_int_equal(result_of(io, &none), -EBADF); /* the worker has only three descriptors */
    for (unsigned operation = 0; operation < 32; operation++) {
        errno = 0;
        assert_int_equal(syscall(SYS_io_uring_register, io->ring.ring_fd, operation, files, 1), -1);
        assert_true(errno == EACCES || errno == EINVAL || errno == EBADFD);
    }
    io_uring_backend.close(io);
    server_close(&server);
}

static void count_one(void *context, const struct io_datagram *datagram)
{
    assert_int_equal(datagram->bytes, 100);
    (*(size_t *)context)++;
}

/* When the caller holds all buffers, receiving stops; new datagrams wait in the socket and none is
 * lost. */
static void continues_after_it_had_no_buffers(void **state)
{
    static struct io_datagram datagrams[IO_BATCH];
    static uint8_t data[100];
    struct server server;
    struct io *io = ring_open(&server);
    int client = socket_bound("127.0.0.1");
    struct path path = path_between(&server, client, "127.0.0.1", "127.0.0.1");

    for (unsigned round = 0; round < 5; round++) {
        size_t held = 0, seen = 0;

        for (unsigned i = 0; i < BUFFERS / 100 + 2; i++) { /* in steps: the socket holds some 250 */
            for (unsigned n = 0; n < 100; n++)
                client_send(client, &path, data, sizeof(data), 0);
            for (unsigned tries = 0; tries < 4; tries++)
                held += io_uring_backend.receive(io, datagrams, IO_BATCH);
        }
        assert_int_equal(held, BUFFERS);
        assert_false(io->receive_armed[io->sockets.ipv4]);
        assert_int_equal(io_uring_backend.receive(io, datagrams, IO_BATCH), 0);
        io_uring_backend.release(io);
        assert_int_equal(receive_all(&io_uring_backend, io, count_one, &seen,
                                     (BUFFERS / 100 + 2) * 100 - held, IO_BATCH),
                         (BUFFERS / 100 + 2) * 100 - held);
    }
    io_uring_backend.close(io);
    server_close(&server);
    close(client);
}

/* The buffer of a super-datagram is freed only after its last part was handed out and released. */
static void keeps_a_buffer_until_its_last_part(void **state)
{
    struct server server;
    struct io *io = ring_open(&server);
    int client = socket_bound("127.0.0.1");
    struct path path = path_between(&server, client, "127.0.0.1", "127.0.0.1");
    struct io_datagram datagram;
    uint32_t freed = io->freed;

    client_send(client, &path, "abc", 3, 1);
    for (unsigned part = 0; part < 3; part++) {
        assert_int_equal(io_uring_backend.receive(io, &datagram, 1), 1);
        assert_int_equal(datagram.data[0], 'a' + part);
        assert_int_equal(io->freed, freed);
        io_uring_backend.release(io);
        assert_int_equal(io->freed, freed + (part == 2));
    }
    io_uring_backend.close(io);
    server_close(&server);
    close(client);
}

/* Writes a turn that leaves by the ring: `count` small sends, and five runs of BIG that go without
 * copying. Returns its datagrams. */
#define BIG 17
#define BIG_BYTES 1000
static unsigned turn_write(struct io *io, struct path *path, unsigned count, int fill)
{
    unsigned datagrams = 0;

    io->zero_copy.possible = true;
    io->zero_copy.state = ZERO_COPY_on;
    for (unsigned i = 0; i < count; i++) {
        path->local_ip[15] = (uint8_t)(1 + i % 2); /* so the small ones form no runs */
        memset(io_uring_backend.slot(io, path, 100), fill, 100);
        datagrams++;
        for (unsigned n = 0; i < 5 && n < BIG; n++, datagrams++)
            memset(io_uring_backend.slot(io, path, BIG_BYTES), fill, BIG_BYTES);
    }
    return datagrams;
}

/* When the kernel refuses all submissions, the datagrams are counted as lost. They are not sent
 * later, when their memory holds others. Receiving and the doorbell still work. */
static void never_sends_stale_memory(void **state)
{
    struct server server;
    struct io *io = ring_open(&server);
    int client = socket_bound("127.0.0.1");
    struct path path = path_between(&server, client, "127.0.0.1", "127.0.0.1");
    uint8_t data[2000], from_ip[16];
    uint16_t from_port;
    uint64_t one = 1;
    size_t seen = 0;

    for (unsigned count = 5; count <= 605; count += 600) {
        uint64_t full = io->counters.send_full;
        unsigned datagrams = turn_write(io, &path, count, 'a');

        refusals = 1000000;
        io->receive_armed[0] = io->receive_armed[1] =
            false; /* so that uring_arm queues requests, too */
        uring_arm(io);
        uring_transmit(io);
        refusals = 0;
        assert_int_equal(io->counters.send_full, full + datagrams);
        assert_int_equal(io->in_flight[0], 0);
    }
    assert_int_equal(io->counters.sent, 0);
    turn_write(io, &path, 5, 'b');
    uring_transmit(io);
    assert_int_equal(io->counters.sent, 5 + 5 * BIG);
    assert_int_equal(io->counters.send_failed, 0);
    for (unsigned i = 0; i < 5 + 5 * BIG; i++) {
        assert_int_equal(client_receive(client, data, sizeof(data), from_ip, &from_port),
                         i % (BIG + 1) ? BIG_BYTES : 100);
        assert_int_equal(data[0], 'b');
    }
    assert_int_equal(recv(client, data, sizeof(data), 0), -1);

    path.local_ip[15] = 1;
    client_send(client, &path, data, 100, 0);
    assert_int_equal(receive_all(&io_uring_backend, io, count_one, &seen, 1, 1), 1);
    assert_int_equal(write(server.doorbell, &one, sizeof(one)), sizeof(one));
    assert_true(io_uring_backend.wait(io, PATIENCE_NS));
    io_uring_backend.close(io);
    server_close(&server);
    close(client);
}

/* A kernel may know the request, but refuse registered memory: then everything is sent by copying,
 * and the ring does not ask again. An address that is not ours is no reason to stop asking. */
static void copies_when_the_kernel_cannot_do_without(void **state)
{
    static const struct {
        bool broken;
        const char *from;
        bool arrives, stays_possible;
    } table[] = {
        {false, "127.0.0.1", true, true},
        {true, "127.0.0.1", true, false},
        {false, "192.0.2.1", false, true},
        {true, "192.0.2.1", false, true}, /* the reason of the failure is not known */
    };

    for (size_t t = 0; t < sizeof(table) / sizeof(table[0]); t++) {
        struct server server;
        struct io *io = ring_open(&server);
        int client = socket_bound("127.0.0.1");
        struct path path = path_between(&server, client, "127.0.0.1", table[t].from);
        uint8_t data[2000], from_ip[16];
        uint16_t from_port;
        const unsigned all = 5 * BIG;
        bool broken = table[t].broken;

        io->zero_copy.state = ZERO_COPY_on;
        for (unsigned i = 0; i < all; i++)
            memset(io_uring_backend.slot(io, &path, BIG_BYTES), (int)i, BIG_BYTES);
        break_zero_copy = broken;
        uring_transmit(io);
        break_zero_copy = false;
        for (unsigned i = 0; table[t].arrives && i < all; i++) {
            assert_int_equal(client_receive(client, data, sizeof(data), from_ip, &from_port),
                             BIG_BYTES);
            assert_true(data[0] == i || broken); /* in order, except in that one turn */
        }
        assert_int_equal(io->counters.sent, table[t].arrives ? all : 0);
        assert_int_equal(io->counters.send_failed, table[t].arrives ? 0 : all);
        assert_int_equal(io->zero_copy.possible, table[t].stays_possible);
        io_uring_backend.close(io);
        server_close(&server);
        close(client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring_refuses_other_requests),
        cmocka_unit_test(continues_after_it_had_no_buffers),
        cmocka_unit_test(keeps_a_buffer_until_its_last_part),
        cmocka_unit_test(never_sends_stale_memory),
        cmocka_unit_test(copies_when_the_kernel_cannot_do_without),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
