/* I/O backends: the same corpus of paths, sizes and runs gives the same results on all of them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#include "net.h"
#include "src/limits.h"

/* ---- a log of datagrams, to compare backends ---- */

#define LOG_MAX 4096
struct entry {
    struct path path;
    uint32_t bytes, sum;
};
struct log {
    size_t count;
    struct entry entries[LOG_MAX];
};

static uint32_t sum_of(const uint8_t *data, uint32_t bytes)
{
    uint32_t sum = 2166136261u;

    for (uint32_t i = 0; i < bytes; i++)
        sum = (sum ^ data[i]) * 16777619u;
    return sum;
}

static void log_add(struct log *log, const struct path *path, const uint8_t *data, uint32_t bytes)
{
    assert_true(log->count < LOG_MAX);
    log->entries[log->count++] =
        (struct entry){.path = *path, .bytes = bytes, .sum = sum_of(data, bytes)};
}

static void log_received(void *context, const struct io_datagram *datagram)
{
    static volatile uint8_t beyond;

    for (unsigned i = 0; i < 32; i++) /* these bytes may be read */
        beyond = datagram->data[datagram->bytes + i];
    (void)beyond;
    log_add(context, &datagram->path, datagram->data, datagram->bytes);
    memset(datagram->data, 0xee, datagram->bytes); /* it is writable */
}

static void log_sent(void *context, const struct path *path, const uint8_t *data, uint32_t bytes)
{
    log_add(context, path, data, bytes);
}

static int entry_order(const void *a, const void *b)
{
    return memcmp(&((const struct entry *)a)->path, &((const struct entry *)b)->path,
                  sizeof(struct path));
}

/* Sorts by path and keeps the order of each path: sockets may be read in any order. */
static void log_sort(struct log *log)
{
    for (size_t i = 1; i < log->count; i++)
        for (size_t j = i; j > 0 && entry_order(&log->entries[j - 1], &log->entries[j]) > 0; j--) {
            struct entry swap = log->entries[j];

            log->entries[j] = log->entries[j - 1];
            log->entries[j - 1] = swap;
        }
}

static void logs_equal(struct log *a, struct log *b)
{
    log_sort(a);
    log_sort(b);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_true(path_equal(&a->entries[i].path, &b->entries[i].path));
        assert_int_equal(a->entries[i].bytes, b->entries[i].bytes);
        assert_int_equal(a->entries[i].sum, b->entries[i].sum);
    }
}

static void fill(uint8_t *data, uint32_t bytes, uint32_t seed)
{
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)((seed += 0x9e3779b9u) >> 24);
}

/* ---- receiving ---- */

/* What clients send, each to one of our addresses. segment 0: one datagram. */
static const struct {
    unsigned address;
    uint32_t bytes, segment;
} incoming[] = {
    {ADDRESS_A, 100, 0},      {ADDRESS_B, 100, 0},    {ADDRESS_6, 100, 0},
    {ADDRESS_A, 0, 0},        {ADDRESS_6, 0, 0},      {ADDRESS_A, 1, 0},
    {ADDRESS_A, 1499, 0},     {ADDRESS_A, 1500, 0},   {ADDRESS_A, 1501, 0},
    {ADDRESS_B, 9000, 0},     {ADDRESS_A, 65507, 0},  {ADDRESS_6, 65487, 0},
    {ADDRESS_A, 12000, 1200}, {ADDRESS_B, 1000, 100}, {ADDRESS_A, 1001, 100},
    {ADDRESS_6, 999, 100},    {ADDRESS_A, 6400, 100}, {ADDRESS_A, 100, 100},
    {ADDRESS_6, 63500, 1400}, {ADDRESS_A, 3, 1},
};

static size_t feed_clients(const struct server *server, const int clients[ADDRESS_COUNT],
                           struct log *expected)
{
    static uint8_t data[65536];

    expected->count = 0;
    for (size_t i = 0; i < sizeof(incoming) / sizeof(incoming[0]); i++) {
        unsigned a = incoming[i].address;
        uint32_t bytes = incoming[i].bytes, segment = incoming[i].segment, at = 0;
        struct path path = path_between(server, clients[a], addresses[a], addresses[a]);

        fill(data, bytes, (uint32_t)i);
        client_send(clients[a], &path, data, bytes, (uint16_t)segment);
        do {
            uint32_t part = segment && bytes - at > segment ? segment : bytes - at;

            log_add(expected, &path, data + at, part);
            at += part;
        } while (at < bytes);
    }
    return expected->count;
}

static void receives_what_clients_send(void **state)
{
    static struct log expected, seen;
    static const size_t batches[] = {256, 64, 3, 1};
    int clients[ADDRESS_COUNT];

    for (unsigned a = 0; a < ADDRESS_COUNT; a++)
        clients[a] = socket_bound(addresses[a]);
    EACH_BACKEND(backend)
    {
        for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++) {
            struct server server;
            struct io *io;
            size_t count;
            uint64_t bytes = 0;

            server_open(&server);
            io = backend_open(backend, &server);
            count = feed_clients(&server, clients, &expected);
            seen.count = 0;
            assert_int_equal(receive_all(backend, io, log_received, &seen, count, batches[b]),
                             count);
            logs_equal(&expected, &seen);
            for (size_t i = 0; i < seen.count; i++)
                bytes += seen.entries[i].bytes;
            assert_int_equal(backend->counters(io)->received, count);
            assert_int_equal(backend->counters(io)->received_bytes, bytes);
            assert_int_equal(backend->counters(io)->truncated, 0);
            backend->close(io);
            server_close(&server);
        }
    }
    for (unsigned a = 0; a < ADDRESS_COUNT; a++)
        close(clients[a]);
}

static void replay_receives_what_was_fed(void **state)
{
    static struct log expected, seen;
    static uint8_t data[65536];
    struct io *io = io_replay_open();
    struct path path = {.remote_port = 1};
    unsigned refused = 0;

    for (unsigned round = 0; round < 20; round++) {
        expected.count = seen.count = 0;
        for (unsigned i = 0; i < 600; i++) {
            uint32_t bytes = i % 97 == 0 ? 65535 : (i * 7919 + round) % 1501;

            fill(data, bytes, i);
            path.remote_port = (uint16_t)i;
            if (io_replay_feed(io, &path, data, bytes))
                log_add(&expected, &path, data, bytes);
            else
                refused++;
        }
        receive_all(&io_replay_backend, io, log_received, &seen, expected.count, 256);
        logs_equal(&expected, &seen);
    }
    assert_int_equal(refused, 0);
    for (unsigned i = 0; i < 4096; i++)
        assert_true(io_replay_feed(io, &path, data, 1500));
    assert_false(io_replay_feed(io, &path, data, 1));
    assert_false(io_replay_backend.wait(io, NS_PER_S));
    seen.count = 0;
    assert_int_equal(receive_all(&io_replay_backend, io, log_received, &seen, 4096, 256), 4096);
    assert_true(io_replay_feed(io, &path, data, 1));
    assert_false(io_replay_feed(io, &path, data, 65537));
    io_replay_backend.close(io);
}

/* A queue that is never empty uses its ring of memory several times round. */
#define ROUND_FEEDS 30000
struct rounds {
    size_t seen;
    uint32_t sums[ROUND_FEEDS];
};

static void check_next(void *context, const struct io_datagram *datagram)
{
    struct rounds *rounds = context;

    assert_int_equal(sum_of(datagram->data, datagram->bytes), rounds->sums[rounds->seen]);
    assert_int_equal(datagram->path.remote_port, rounds->seen % 65536);
    rounds->seen++;
}

static void replay_keeps_what_is_queued(void **state)
{
    static struct rounds rounds;
    static uint8_t data[65536];
    struct io *io = io_replay_open();
    struct path path = {.remote_port = 1};
    size_t fed = 0, full = 0;

    while (fed < ROUND_FEEDS) {
        uint32_t bytes = fed % 50 == 49 ? 60000 : 1500 - (uint32_t)fed % 70;

        fill(data, bytes, (uint32_t)fed);
        path.remote_port = (uint16_t)fed;
        rounds.sums[fed] = sum_of(data, bytes);
        if (io_replay_feed(io, &path, data, bytes))
            fed++;
        else
            full++;
        if (full || fed % 300 == 0) { /* takes fewer than were fed */
            receive_all(&io_replay_backend, io, check_next, &rounds, 250, 250);
            assert_true(rounds.seen < fed);
            full = 0;
        }
    }
    receive_all(&io_replay_backend, io, check_next, &rounds, fed - rounds.seen, 256);
    assert_int_equal(rounds.seen, ROUND_FEEDS);
    io_replay_backend.close(io);
}

/* ---- sending ---- */

/* What is sent: `count` datagrams of `bytes` to one client, from the address that it talks to. */
static const struct {
    unsigned address, count;
    uint32_t bytes;
} outgoing[] = {
    {ADDRESS_A, 10, 1200}, {ADDRESS_A, 1, 700}, /* one run: the last datagram is shorter */
    {ADDRESS_A, 1, 700},                        /* after a shorter datagram a new run begins */
    {ADDRESS_B, 5, 160},   {ADDRESS_6, 5, 160},  {ADDRESS_A, 1, 160},
    {ADDRESS_B, 1, 160},   {ADDRESS_A, 70, 100}, /* more than 64 segments: two runs */
    {ADDRESS_6, 60, 1500},                       /* more than 65000 bytes: two runs */
    {ADDRESS_A, 1, 0},     {ADDRESS_A, 2, 0},    /* an empty datagram is a run of its own */
    {ADDRESS_B, 1, 1500},  {ADDRESS_B, 1, 1},    {ADDRESS_B, 1, 1},
    {ADDRESS_6, 2, 999},   {ADDRESS_6, 1, 1000}, /* a longer datagram begins a new run */
};
#define OUTGOING_SENDS 17
#define OUTGOING_SENDS_WITHOUT_SEGMENTS 100 /* IPv4: one for each datagram, IPv6: 5 runs */

static unsigned send_corpus(const struct io_backend *backend, struct io *io,
                            const struct path paths[ADDRESS_COUNT])
{
    unsigned sent = 0;

    for (size_t i = 0; i < sizeof(outgoing) / sizeof(outgoing[0]); i++) {
        for (unsigned n = 0; n < outgoing[i].count; n++) {
            uint8_t *slot = backend->slot(io, &paths[outgoing[i].address], outgoing[i].bytes);

            assert_non_null(slot);
            fill(slot, outgoing[i].bytes, sent++);
        }
    }
    backend->transmit(io);
    return sent;
}

static void clients_log(const int clients[ADDRESS_COUNT], const struct path paths[ADDRESS_COUNT],
                        size_t count, struct log *log)
{
    static uint8_t data[65536];
    uint8_t from_ip[16];
    uint16_t from_port;

    log->count = 0;
    for (unsigned a = 0; a < ADDRESS_COUNT; a++) {
        for (size_t i = 0; i < sizeof(outgoing) / sizeof(outgoing[0]); i++) {
            for (unsigned n = 0; outgoing[i].address == a && n < outgoing[i].count; n++) {
                ssize_t bytes = client_receive(clients[a], data, sizeof(data), from_ip, &from_port);

                assert_true(bytes >= 0);
                /* The answer comes from the address that the client sent to. */
                assert_memory_equal(from_ip, paths[a].local_ip, 16);
                assert_int_equal(from_port, paths[a].local_port);
                log_add(log, &paths[a], data, (uint32_t)bytes);
            }
        }
    }
    assert_int_equal(log->count, count);
}

static void check_counters(const struct io_counters *counters, const struct log *log,
                           uint64_t sends)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < log->count; i++)
        bytes += log->entries[i].bytes;
    assert_int_equal(counters->sent, log->count);
    assert_int_equal(counters->sent_bytes, bytes);
    assert_int_equal(counters->sends, sends);
    assert_int_equal(counters->send_full, 0);
    assert_int_equal(counters->send_failed, 0);
}

enum { WILDCARD, SPECIFIC, WITHOUT_SEGMENTS, ARRANGEMENTS };

/* Datagrams of a refused segmented send still arrive. From then on the path gets single sends, in
 * order. */
static const uint32_t learning[] = {300, 300, 200};
static void refuse_segments_once(const struct io_backend *backend, struct io *io,
                                 const struct path paths[ADDRESS_COUNT],
                                 const int clients[ADDRESS_COUNT])
{
    uint8_t data[2048], from_ip[16];
    uint16_t from_port;

    for (unsigned a = ADDRESS_A; a <= ADDRESS_B; a++)
        for (unsigned i = 0; i < 3; i++)
            backend->slot(io, &paths[a], learning[i]);
    backend->transmit(io);
    for (unsigned a = ADDRESS_A; a <= ADDRESS_B; a++)
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(client_receive(clients[a], data, sizeof(data), from_ip, &from_port),
                             learning[i]);
}

static const struct io_counters *counters_of_corpus(const struct io_counters *counters,
                                                    unsigned arrangement)
{
    static struct io_counters corpus;

    corpus = *counters;
    if (arrangement == WITHOUT_SEGMENTS) {
        corpus.sent -= 6;
        corpus.sends -= 6;
        corpus.sent_bytes -= 2 * 800;
    }
    return &corpus;
}

static void clients_receive_what_is_sent(void **state)
{
    static struct log expected, seen;

    EACH_BACKEND(backend)
    {
        for (unsigned arrangement = 0; arrangement < ARRANGEMENTS; arrangement++) {
            struct io *replay = io_replay_open(), *io;
            struct path paths[ADDRESS_COUNT];
            struct server server;
            int clients[ADDRESS_COUNT], on = 1;
            unsigned sent;

            if (arrangement == SPECIFIC)
                server_open_at(&server, "127.0.0.1", "::1");
            else
                server_open(&server);
            if (arrangement == WITHOUT_SEGMENTS) { /* then the kernel refuses UDP_SEGMENT */
                int fd = server.udp4;

                assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
            }
            for (unsigned a = 0; a < ADDRESS_COUNT; a++) {
                const char *local =
                    arrangement == SPECIFIC && a == ADDRESS_B ? addresses[ADDRESS_A] : addresses[a];

                clients[a] = socket_bound(addresses[a]);
                paths[a] = path_between(&server, clients[a], addresses[a], local);
            }
            expected.count = 0;
            io_replay_sink(replay, log_sent, &expected);
            sent = send_corpus(&io_replay_backend, replay, paths);
            assert_int_equal(expected.count, sent);
            check_counters(io_replay_backend.counters(replay), &expected, OUTGOING_SENDS);

            io = backend_open(backend, &server);
            if (arrangement == WITHOUT_SEGMENTS)
                refuse_segments_once(backend, io, paths, clients);
            assert_int_equal(send_corpus(backend, io, paths), sent);
            clients_log(clients, paths, sent, &seen);
            check_counters(counters_of_corpus(backend->counters(io), arrangement), &seen,
                           arrangement == WITHOUT_SEGMENTS ? OUTGOING_SENDS_WITHOUT_SEGMENTS
                                                           : OUTGOING_SENDS);
            logs_equal(&expected, &seen);
            backend->close(io);
            io_replay_backend.close(replay);
            server_close(&server);
            for (unsigned a = 0; a < ADDRESS_COUNT; a++)
                close(clients[a]);
        }
    }
}

/* A send that fails does not harm the other sends, and is counted. */
static void failed_sends_are_counted(void **state)
{
    uint8_t data[2048], from_ip[16];
    uint16_t from_port;

    EACH_BACKEND(backend)
    {
        struct server server;
        int client = socket_bound("127.0.0.1");
        struct path good, no_port, not_ours, ipv6;
        const struct io_counters *counters;
        struct io *io;

        server_open(&server);
        good = path_between(&server, client, "127.0.0.1", "127.0.0.1");
        no_port = not_ours = good;
        no_port.remote_port = 0;
        ip_parse(not_ours.local_ip, "192.0.2.1");
        server.descriptors = descriptors_of(server.udp4, -1, server.doorbell);
        ipv6 = good;
        ip_parse(ipv6.remote_ip, "::1");
        ip_parse(ipv6.local_ip, "::1");
        io = backend_open(backend, &server);
        counters = backend->counters(io);

        backend->slot(io, &good, 100);
        backend->slot(io, &no_port, 100);
        backend->slot(io, &good, 101);
        for (unsigned i = 0; i < 3; i++)
            backend->slot(io, &not_ours, 102);
        backend->slot(io, &ipv6, 100);
        backend->slot(io, &good, 103);
        backend->transmit(io);
        for (ssize_t bytes = 100; bytes <= 103; bytes += bytes == 101 ? 2 : 1)
            assert_int_equal(client_receive(client, data, sizeof(data), from_ip, &from_port),
                             bytes);
        assert_int_equal(counters->sent, 3);
        assert_int_equal(counters->send_failed, 5);
        assert_int_equal(counters->send_full, 0);

        backend->close(io);
        server_close(&server);
        close(client);
    }
}

/* In a network namespace of its own, sends to a neighbour that does not exist: the datagrams wait
 * for ARP and fill the send buffer of the socket. A child of the test does it; its exit status is
 * 0, or the line of the condition that failed. */
#define CHECK(condition)                                \
    do {                                                \
        if (!(condition))                               \
            _exit(__LINE__ & 127 ? __LINE__ & 127 : 1); \
    } while (0)

/* Root may do this directly, another user in a user namespace. */
static bool namespace_enter(void)
{
    char map[32];
    int fd, bytes = snprintf(map, sizeof(map), "0 %u 1", (unsigned)geteuid());

    if (unshare(CLONE_NEWNET) == 0)
        return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, map, (size_t)bytes) == bytes && close(fd) == 0;
}

static void fill_the_queue(const struct io_backend *backend)
{
    struct server server;
    struct path far = {.remote_port = 9}, near = far;
    const struct io_counters *counters;
    struct io *io;
    char why[128];
    int small = 1, here;
    uint64_t start_ns;

    CHECK(namespace_enter());
    CHECK(system("ip link set lo up && ip link add far type veth peer name end && "
                 "ip addr add 10.9.9.1/24 dev far && ip link set far up && ip link set end up") ==
          0);
    server_open(&server);
    CHECK(setsockopt(server.udp4, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    io = backend->open(&server.descriptors, WORKER, why);
    CHECK(io);
    counters = backend->counters(io);
    here = socket_bound("127.0.0.1");
    near = path_between(&server, here, "127.0.0.1", "127.0.0.1");
    ip_parse(far.remote_ip, "10.9.9.2");
    ip_parse(far.local_ip, "10.9.9.1");
    far.local_port = server.port4;
    start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < 100; i++) {
        backend->slot(io, &far, 1000 + i % 2 * 100);
        backend->transmit(io);
    }
    for (unsigned i = 0; i < 100; i++)
        backend->slot(io, i % 2 ? &far : &near, 1000);
    backend->transmit(io);
    /* It did not wait for room: that would take more than a minute, since ARP gives up after 3
     * s. */
    CHECK(clock_monotonic_ns() - start_ns < 20 * NS_PER_S);
    CHECK(counters->sent > 0 && counters->sent < 20);
    CHECK(counters->sent + counters->send_full == 200);
    CHECK(counters->send_failed == 0);
    backend->close(io);
    _exit(0);
}

static void full_queue_is_counted_and_not_waited_for(void **state)
{
    EACH_BACKEND(backend)
    {
        int status = -1;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0)
            fill_the_queue(backend);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

static void slots_touch_and_run_out(void **state)
{
    struct io *io = io_replay_open();
    const struct io_counters *counters = io_replay_backend.counters(io);
    struct path path = {.remote_port = 1};
    uint64_t slots = 0, runs = 0;
    uint8_t *slot, *end = NULL;

    assert_null(io_replay_backend.slot(io, &path, DATAGRAM_SENT_BYTES_MAX + 1));
    for (; (slot = io_replay_backend.slot(io, &path, 1500)); slots++) {
        assert_true(!end || slot == end); /* no gap between slots */
        end = slot + 1500;
        memset(slot, 1, 1500);
    }
    assert_true(slots <= IO_SLOTS_BYTES / 1500 && slots > (IO_SLOTS_BYTES - 32768) / 1500);
    io_replay_backend.transmit(io);
    assert_int_equal(counters->sent, slots);
    for (; (slot = io_replay_backend.slot(io, &path, 10)); runs++)
        path.remote_port++;
    assert_true(runs >= 1000);
    io_replay_backend.transmit(io);
    assert_int_equal(counters->sent, slots + runs);
    io_replay_backend.transmit(io); /* nothing to send */
    assert_int_equal(counters->sent, slots + runs);
    io_replay_backend.close(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receives_what_clients_send),
        cmocka_unit_test(replay_receives_what_was_fed),
        cmocka_unit_test(replay_keeps_what_is_queued),
        cmocka_unit_test(clients_receive_what_is_sent),
        cmocka_unit_test(failed_sends_are_counted),
        cmocka_unit_test(full_queue_is_counted_and_not_waited_for),
        cmocka_unit_test(slots_touch_and_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
