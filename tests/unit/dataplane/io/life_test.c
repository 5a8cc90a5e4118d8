/* I/O backends from opening to closing: waiting, the doorbell, no allocation, refusals, the gain of
 * runs. */
#include "net.h"

#include <pthread.h>

static void count_bytes(void *context, const struct io_datagram *datagram)
{
    *(uint64_t *)context += datagram->bytes;
}

/* ---- waiting ---- */

static void *ring_later(void *doorbell)
{
    uint64_t one = 1;

    usleep(20000);
    assert_int_equal(write(*(int *)doorbell, &one, sizeof(one)), sizeof(one));
    return NULL;
}

static void waits_for_datagram_doorbell_and_time(void **state)
{
    uint64_t one = 1, bytes = 0;

    EACH_BACKEND(backend)
    {
        struct server server;
        int client = socket_bound("127.0.0.1");
        struct io *io;
        struct path path;
        pthread_t thread;
        uint64_t start_ns;

        server_open(&server);
        io = backend_open(backend, &server);
        path = path_between(&server, client, "127.0.0.1", "127.0.0.1");

        start_ns = clock_monotonic_ns();
        assert_false(backend->wait(io, 30 * NS_PER_MS));
        assert_true(clock_monotonic_ns() - start_ns >= 30 * NS_PER_MS);
        assert_false(backend->wait(io, 0));

        for (unsigned i = 0; i < 3; i++) { /* rung before it waits: returns once */
            assert_int_equal(write(server.doorbell, &one, sizeof(one)), sizeof(one));
            assert_int_equal(write(server.doorbell, &one, sizeof(one)), sizeof(one));
            assert_true(backend->wait(io, UINT64_MAX));
            assert_int_equal(read(server.doorbell, &one, sizeof(one)), -1); /* reset */
            assert_false(backend->wait(io, NS_PER_MS));
        }
        assert_int_equal(pthread_create(&thread, NULL, ring_later, &server.doorbell), 0);
        assert_true(backend->wait(io, PATIENCE_NS));
        pthread_join(thread, NULL);

        start_ns = clock_monotonic_ns();
        client_send(client, &path, "x", 1, 0);
        assert_false(backend->wait(io, 2 * PATIENCE_NS));
        assert_true(clock_monotonic_ns() - start_ns < PATIENCE_NS);
        assert_int_equal(receive_all(backend, io, count_bytes, &bytes, 1, 1), 1);

        client_send(client, &path, "xyz", 3, 1); /* a super-datagram; only one part is taken */
        assert_int_equal(receive_all(backend, io, count_bytes, &bytes, 1, 1), 1);
        start_ns = clock_monotonic_ns();
        assert_false(backend->wait(io, 2 * PATIENCE_NS));
        assert_int_equal(write(server.doorbell, &one, sizeof(one)), sizeof(one));
        assert_true(backend->wait(io, 2 * PATIENCE_NS));
        assert_true(clock_monotonic_ns() - start_ns < PATIENCE_NS);
        assert_int_equal(receive_all(backend, io, count_bytes, &bytes, 2, 2), 2);
        backend->close(io);
        server_close(&server);
        close(client);
    }
}

static void allocates_nothing_after_open(void **state)
{
    static uint8_t data[1200];

    EACH_BACKEND(backend)
    {
        struct server server;
        int client = socket_bound("127.0.0.1");
        struct io *io;
        struct path path;
        uint64_t bytes = 0;
        unsigned long before;

        server_open(&server);
        io = backend_open(backend, &server);
        path = path_between(&server, client, "127.0.0.1", "127.0.0.1");
        free(malloc(1)); /* to prove that allocations are counted */
        assert_true(allocations > 0);
        before = allocations;
        for (unsigned round = 0; round < 200; round++) {
            for (unsigned i = 0; i < 20; i++)
                client_send(client, &path, data, 100, i % 2 ? 10 : 0);
            receive_all(backend, io, count_bytes, &bytes, 110, 256);
            for (unsigned i = 0; i < 30; i++)
                memset(backend->slot(io, &path, 100 + i / 10), 0, 100);
            backend->transmit(io);
            backend->wait(io, 0);
        }
        assert_int_equal(allocations, before);
        assert_int_equal(bytes, 200 * 20 * 100);
        backend->close(io);
        server_close(&server);
        close(client);
    }
}

/* An empty datagram ends a multishot receive. No datagram may be lost because of that, neither when
 * empty ones are queued before open nor when many arrive. */
static void empty_datagrams_lose_nothing(void **state)
{
    EACH_BACKEND(backend)
    {
        struct server server;
        int client = socket_bound("127.0.0.1");
        struct io_datagram datagrams[64];
        struct path path;
        struct io *io;
        uint64_t bytes = 0;

        server_open(&server);
        path = path_between(&server, client, "127.0.0.1", "127.0.0.1");
        for (unsigned i = 0; i < 10; i++)
            client_send(client, &path, "", 0, 0);
        io = backend_open(backend, &server);
        assert_int_equal(receive_all(backend, io, count_bytes, &bytes, 10, 256), 10);
        for (unsigned round = 0; round < 50; round++) {
            for (unsigned i = 0; i < 20; i++)
                client_send(client, &path, "data", i % 2 ? 4 : 0, 0);
            assert_true(backend->receive(io, datagrams, 64) >= 8); /* several in one turn */
            backend->release(io);
            while (backend->counters(io)->received < 10 + (round + 1) * 20)
                assert_true(receive_all(backend, io, count_bytes, &bytes, 1, 64) > 0);
        }
        assert_int_equal(backend->counters(io)->received, 10 + 50 * 20);
        assert_int_equal(backend->counters(io)->received_bytes, 50 * 10 * 4);
        backend->close(io);
        server_close(&server);
        close(client);
    }
}

static void opens_by_name(void **state)
{
    static const struct {
        const char *name, *backend; /* NULL: it does not open */
        bool with_sockets;
        const char *why;
    } table[] = {
        {"auto", "*", true, " ns a datagram"},
        {"io_uring", "io_uring", true, "io_uring, as configured"},
        {"socket", "socket", true, "socket, as configured"},
        {"replay", "replay", false, "replay, as configured"},
        {"auto", NULL, false, "no UDP socket"},
        {"io_uring", NULL, false, "io_uring: no UDP socket"},
        {"socket", NULL, false, "socket: no UDP socket"},
    };
    static const struct descriptors none;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct io_backend *backend = NULL;
        struct io_choice choice;
        struct server server;
        char why[IO_CHOICE_BYTES] = "";
        struct io *io;

        server_open(&server);
        if (strcmp(table[i].name, "auto") == 0)
            choose_auto(&choice);
        else
            assert_true(io_choose(&choice, &backends, table[i].name, "", why));
        io = io_open(&choice, table[i].with_sockets ? &server.descriptors : &none, WORKER, &backend,
                     why);
        print_message("  %s: %s\n", table[i].name, why);
        assert_non_null(strstr(why, table[i].why));
        assert_int_equal(io != NULL, table[i].backend != NULL);
        if (io) {
            if (strcmp(table[i].backend, "*") == 0) /* the one that was measured to be cheaper */
                assert_true(backend == &io_uring_backend || backend == &io_socket_backend);
            else
                assert_string_equal(backend->name, table[i].backend);
            backend->close(io);
        }
        server_close(&server);
    }
}

/* A name that no backend has is refused with the names of the list. */
static void refuses_unknown_names(void **state)
{
    static const char *const names[] = {"dpdk", "", "socke"};
    struct io_choice choice;
    char why[IO_CHOICE_BYTES];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_false(io_choose(&choice, &backends, names[i], "socket", why));
        assert_non_null(strstr(why, "there are: auto, io_uring, socket, replay"));
    }
}

/* Descriptors of the wrong kind are refused with a sentence. */
static void refuses_wrong_descriptors(void **state)
{
    EACH_BACKEND(backend)
    {
        struct server server;
        int unbound = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        int stream = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int pipes[2];

        server_open(&server);
        assert_int_equal(pipe(pipes), 0);
        struct descriptors table[] = {
            descriptors_of(unbound, -1, -1),      descriptors_of(stream, -1, -1),
            descriptors_of(pipes[0], -1, -1),     descriptors_of(4095, -1, -1),
            descriptors_of(server.udp6, -1, -1),  descriptors_of(-1, server.udp4, -1),
            descriptors_of(server.udp4, -1, 4095)};

        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
            char why[128] = "";

            assert_null(backend->open(&table[i], WORKER, why));
            assert_true(strlen(why) > 10);
        }
        char why[IO_WHY_BYTES] = "";

        assert_null(backend->open(&server.descriptors, WORKER + 1, why)); /* it has no socket */
        assert_string_equal(why, "no UDP socket was given");
        close(unbound), close(stream), close(pipes[0]), close(pipes[1]);
        server_close(&server);
    }
}

/* Datagrams that found a socket full are counted, on both sockets. A backend that opens the same
 * sockets later counts them, too. */
#define FLOOD 1500
static void datagrams_dropped_by_the_kernel_are_counted(void **state)
{
    static const char *const to[] = {"127.0.0.1", "::1"};
    static uint8_t data[1000];

    EACH_BACKEND(backend)
    {
        struct server server;
        int clients[2] = {socket_bound(to[0]), socket_bound(to[1])};
        const struct io_counters *counters;
        uint64_t bytes = 0, dropped, end_ns = clock_monotonic_ns() + PATIENCE_NS;
        struct io *io;

        server_open(&server);
        io = backend_open(backend, &server);
        assert_int_equal(backend->counters(io)->receive_overflow, 0);
        for (unsigned c = 0; c < 2; c++) {
            struct path path = path_between(&server, clients[c], to[c], to[c]);

            for (unsigned i = 0; i < FLOOD; i++)
                client_send(clients[c], &path, data, sizeof(data), 0);
        }
        do { /* until all are received or dropped */
            receive_all(backend, io, count_bytes, &bytes, 1, 256);
            counters = backend->counters(io);
            dropped = counters->receive_overflow;
        } while (counters->received + dropped < 2 * FLOOD && clock_monotonic_ns() < end_ns);
        assert_true(dropped > 100);
        assert_int_equal(counters->received + dropped, 2 * FLOOD);
        assert_int_equal(backend->counters(io)->receive_overflow, dropped);
        backend->close(io);
        io = backend_open(backend, &server);
        assert_int_equal(backend->counters(io)->receive_overflow, dropped);
        backend->close(io);
        server_close(&server);
        close(clients[0]), close(clients[1]);
    }
}

static int order_ns(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

/* Prints the median CPU time of a datagram that is sent singly, and in a run of ten. */
#define BENCH_ROUNDS 30
static void prints_the_gain_of_runs(void **state)
{
    EACH_BACKEND(backend)
    {
        struct server server;
        struct path paths[10];
        int clients[10];
        uint64_t ns[2][BENCH_ROUNDS];
        struct io *io;

        server_open(&server);
        io = backend_open(backend, &server);
        for (unsigned i = 0; i < 10; i++) {
            clients[i] = socket_bound("127.0.0.1");
            paths[i] = path_between(&server, clients[i], "127.0.0.1", "127.0.0.1");
        }
        for (unsigned round = 0; round < 2 * BENCH_ROUNDS; round++) {
            uint64_t start_ns = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);

            for (unsigned i = 0; i < 200; i++)
                memset(backend->slot(io, &paths[round % 2 ? i / 10 % 10 : i % 10], 1200), 0, 16);
            backend->transmit(io);
            ns[round % 2][round / 2] = (clock_read_ns(CLOCK_PROCESS_CPUTIME_ID) - start_ns) / 200;
        }
        for (unsigned i = 0; i < 2; i++)
            qsort(ns[i], BENCH_ROUNDS, sizeof(ns[i][0]), order_ns);
        print_message("  %s: %lu ns a datagram singly, %lu in runs of ten: %.2f×\n", backend->name,
                      (unsigned long)ns[0][BENCH_ROUNDS / 2],
                      (unsigned long)ns[1][BENCH_ROUNDS / 2],
                      (double)ns[0][BENCH_ROUNDS / 2] / (double)(ns[1][BENCH_ROUNDS / 2] + 1));
        assert_int_equal(backend->counters(io)->sends, BENCH_ROUNDS * (200 + 20));
        for (unsigned i = 0; i < 10; i++)
            close(clients[i]);
        backend->close(io);
        server_close(&server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_datagram_doorbell_and_time),
        cmocka_unit_test(allocates_nothing_after_open),
        cmocka_unit_test(empty_datagrams_lose_nothing),
        cmocka_unit_test(datagrams_dropped_by_the_kernel_are_counted),
        cmocka_unit_test(opens_by_name),
        cmocka_unit_test(refuses_unknown_names),
        cmocka_unit_test(refuses_wrong_descriptors),
        cmocka_unit_test(prints_the_gain_of_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
