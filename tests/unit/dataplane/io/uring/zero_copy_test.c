/* Sends without copying: when they are made, and that their memory is not written meanwhile. The
 * device reads the data where it lies. */
#define _GNU_SOURCE
#include "tests/unit/dataplane/io/net.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "dataplane/io/uring/parts.h"
#include "perf/io/device.c"

/* ---- the decision ---- */

#define ENOUGH ZERO_COPY_TURN_BYTES_MIN

static void report(struct zero_copy *z, unsigned real, unsigned copied)
{
    for (unsigned i = 0; i < real; i++)
        zero_copy_reported(z, false);
    for (unsigned i = 0; i < copied; i++)
        zero_copy_reported(z, true);
}

static void decides_by_reports(void **state)
{
    static const struct {
        unsigned real, copied; /* of the trial */
        enum zero_copy_state then;
        unsigned later_real, later_copied; /* reports after the trial */
        enum zero_copy_state last;
    } table[] = {
        {8, 0, ZERO_COPY_on, 0, 0, ZERO_COPY_on},
        {8, 0, ZERO_COPY_on, 1000, 0, ZERO_COPY_on},
        {7, 1, ZERO_COPY_on, 0, 8, ZERO_COPY_on},
        {7, 1, ZERO_COPY_on, 0, 9, ZERO_COPY_off}, /* more than an eighth of a window was copied */
        {8, 0, ZERO_COPY_on, 64, 8, ZERO_COPY_on}, /* the next window */
        {0, 2, ZERO_COPY_off, 0, 0, ZERO_COPY_off},
        {6, 2, ZERO_COPY_off, 0, 0, ZERO_COPY_off},
        {7, 0, ZERO_COPY_trying, 0, 0, ZERO_COPY_trying}, /* one report is missing */
        {0, 0, ZERO_COPY_trying, 0, 0, ZERO_COPY_trying},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct zero_copy z;

        zero_copy_open(&z, true);
        assert_int_equal(zero_copy_allowed(&z, 20, ENOUGH), ZERO_COPY_TRIAL);
        for (unsigned n = 0; n < ZERO_COPY_TRIAL; n++)
            zero_copy_made(&z);
        assert_int_equal(zero_copy_allowed(&z, 20, ENOUGH), 0); /* waits for the reports */
        report(&z, table[i].real, table[i].copied);
        assert_int_equal(z.state, table[i].then);
        report(&z, table[i].later_real, table[i].later_copied);
        assert_int_equal(z.state, table[i].last);
        assert_int_equal(zero_copy_allowed(&z, 20, ENOUGH), z.state == ZERO_COPY_on ? 20 : 0);
        assert_int_equal(zero_copy_allowed(&z, 20, ENOUGH - 1), 0);
    }
}

static void retries_after_many_sends(void **state)
{
    struct zero_copy z;
    uint64_t sends = 0;

    zero_copy_open(&z, true);
    assert_int_equal(zero_copy_allowed(&z, 3, ENOUGH), 3); /* a trial may be shorter than allowed */
    for (unsigned n = 0; n < 3; n++)
        zero_copy_made(&z);
    assert_int_equal(zero_copy_allowed(&z, 20, ENOUGH), ZERO_COPY_TRIAL - 3);
    zero_copy_made(&z);
    zero_copy_failed(&z, false); /* the kernel did not take it, so it does not count */
    assert_int_equal(zero_copy_allowed(&z, 20, ENOUGH), ZERO_COPY_TRIAL - 3);
    report(&z, 0, 2);
    assert_int_equal(z.state, ZERO_COPY_off);
    report(&z, 0, 1); /* a late report changes nothing */
    while (zero_copy_allowed(&z, 10, ENOUGH) == 0)
        sends += 10;
    assert_true(sends > ZERO_COPY_TRIAL_EVERY - 20 && sends <= ZERO_COPY_TRIAL_EVERY);
    assert_int_equal(z.state, ZERO_COPY_trying);
    zero_copy_failed(&z, true);
    for (unsigned n = 0; n < 3 * ZERO_COPY_TRIAL_EVERY; n += 1000)
        assert_int_equal(zero_copy_allowed(&z, 1000, ENOUGH), 0);
    zero_copy_open(&z, false);
    assert_int_equal(zero_copy_allowed(&z, 1000, ENOUGH), 0);
}

/* ---- on a device, in a process and a namespace of its own ---- */

#define CHECK(condition)                                                     \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "line %d: " #condition " is false\n", __LINE__); \
            _exit(1);                                                        \
        }                                                                    \
    } while (0)
#define NOT_HERE 77

#define RUNS 6
#define SEGMENTS 24
#define BYTES 1200

struct scene {
    int device;
    struct server server;
    struct io *io;
    struct path paths[RUNS];
    const struct io_counters *counters;
};

static void scene_open(struct scene *scene)
{
    char why[128] = "";
    int room = 16 << 20;

    scene->device = device_null_open(true, why);
    if (scene->device < 0) {
        fprintf(stderr, "  %s\n", why);
        _exit(NOT_HERE);
    }
    server_open(&scene->server);
    CHECK(setsockopt(scene->server.udp4, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == 0);
    scene->io = io_uring_backend.open(&scene->server.descriptors, WORKER, why);
    CHECK(scene->io);
    if (!scene->io->zero_copy.possible) {
        fprintf(stderr, "  %s\n", why);
        _exit(NOT_HERE);
    }
    scene->counters = io_uring_backend.counters(scene->io);
    for (unsigned r = 0; r < RUNS; r++) {
        scene->paths[r] =
            (struct path){.remote_port = (uint16_t)(1000 + r), .local_port = scene->server.port4};
        ip_parse(scene->paths[r].remote_ip, "10.9.1.1");
        ip_parse(scene->paths[r].local_ip, "10.9.0.1");
    }
}

/* Sends one turn. All bytes of a run hold one number, and each run has another one. */
static void turn(struct scene *scene, unsigned number)
{
    static struct io_datagram datagrams[IO_BATCH];

    for (unsigned r = 0; r < RUNS; r++)
        for (unsigned i = 0; i < SEGMENTS; i++) {
            uint8_t *slot = io_uring_backend.slot(scene->io, &scene->paths[r], BYTES);

            CHECK(slot);
            memset(slot, (int)(number * RUNS + r), BYTES);
        }
    io_uring_backend.transmit(scene->io);
    io_uring_backend.receive(scene->io, datagrams,
                             IO_BATCH); /* reads notifications, as a worker does */
    io_uring_backend.release(scene->io);
}

static void follow_the_device(struct scene *scene)
{
    for (unsigned t = 0; t < 50; t++)
        turn(scene, t);
    CHECK(scene->io->zero_copy.state == ZERO_COPY_on);
    CHECK(scene->counters->zero_copy > 45 * RUNS && scene->counters->zero_copy_copied == 0);
    CHECK(scene->counters->sent == 50 * RUNS * SEGMENTS);
    CHECK(scene->counters->sends == 50 * RUNS);

    /* Now the device copies: sending without copying stops, except for trials. */
    CHECK(device_null_drop(scene->device, false));
    for (unsigned t = 0; t < 1000; t++)
        turn(scene, t);
    CHECK(scene->io->zero_copy.state == ZERO_COPY_off);
    CHECK(scene->counters->zero_copy_copied > 0 && scene->counters->zero_copy_copied < 100);
    CHECK(scene->counters->zero_copy < 50 * RUNS + 100);

    /* The device does not copy any more: a trial notices. */
    CHECK(device_null_drop(scene->device, true));
    for (unsigned t = 0; t < ZERO_COPY_TRIAL_EVERY / RUNS + 50; t++)
        turn(scene, t);
    CHECK(scene->io->zero_copy.state == ZERO_COPY_on);
    CHECK(scene->counters->send_full + scene->counters->send_failed == 0);
}

static uint32_t in_flight(const struct io *io)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < ARENAS; i++)
        sum += io->in_flight[i];
    return sum;
}

static void wait_for_notifications(struct io *io)
{
    uint64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;

    while (in_flight(io) > 0 && clock_monotonic_ns() < end_ns)
        io_uring_backend.wait(io, 10 * NS_PER_MS);
}

/* Reads `count` frames from the device. All bytes of a frame must hold one number. */
static void frames_check(struct scene *scene, unsigned count)
{
    static uint8_t frame[80000];
    enum { HEADERS = 10 + 14 + 20 + 8 }; /* virtio, Ethernet, IP, UDP */
    static unsigned seen[256];
    uint64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;

    for (unsigned n = 0; n < count;) {
        ssize_t bytes = read(scene->device, frame, sizeof(frame));

        CHECK(clock_monotonic_ns() < end_ns);
        if (bytes < HEADERS || frame[10 + 12] != 0x08 || frame[10 + 14 + 9] != IPPROTO_UDP) {
            if (bytes < 0)
                usleep(100);
            continue;
        }
        CHECK(bytes == HEADERS + SEGMENTS * BYTES);
        for (ssize_t i = HEADERS; i < bytes; i++)
            CHECK(frame[i] == frame[HEADERS]);
        CHECK(seen[frame[HEADERS]]++ == 0);
        n++;
    }
}

/* A slow queue before the device holds what is sent. Memory that the queue still reads is not
 * written; when it holds all arenas but one, the last one is sent by copying. */
#define HELD_TURNS 20
static void hold_memory(struct scene *scene)
{
    struct io *io = scene->io;
    uint64_t start_ns;

    CHECK(device_null_drop(scene->device, false));
    CHECK(system("tc qdisc add dev null0 root tbf rate 400mbit burst 70kb limit 20mb") == 0);
    CHECK(HELD_TURNS * RUNS < 256);
    io->zero_copy.state = ZERO_COPY_on;
    for (unsigned t = 0; t < HELD_TURNS; t++) {
        bool is_free = false;

        turn(scene, t);
        CHECK(io->in_flight[io->arena] == 0); /* the arena of the next turn */
        for (unsigned i = 0; i < ARENAS; i++)
            is_free |= i != io->arena && io->in_flight[i] == 0;
        CHECK(is_free || t >= ARENAS - 2);
    }
    CHECK(scene->counters->zero_copy >= (ARENAS - 1) * RUNS - ZERO_COPY_WINDOW / 8);
    CHECK(scene->counters->zero_copy < HELD_TURNS * RUNS);
    CHECK(scene->counters->sent == HELD_TURNS * RUNS * SEGMENTS);
    CHECK(in_flight(io) > 0);

    start_ns = clock_monotonic_ns(); /* notifications arrive in this time and must not wake it */
    CHECK(!io_uring_backend.wait(io, 30 * NS_PER_MS));
    CHECK(clock_monotonic_ns() - start_ns >= 30 * NS_PER_MS);
    frames_check(scene, HELD_TURNS * RUNS);
    wait_for_notifications(io);
    CHECK(in_flight(io) == 0);
    CHECK(scene->counters->zero_copy_copied == scene->counters->zero_copy);
    CHECK(io->zero_copy.state == ZERO_COPY_off);
}

/* Closing with sends in flight: the kernel still sends all of them. */
static void close_with_sends_in_flight(struct scene *scene)
{
    CHECK(device_null_drop(scene->device, false));
    CHECK(system("tc qdisc add dev null0 root tbf rate 400mbit burst 70kb limit 20mb") == 0);
    scene->io->zero_copy.state = ZERO_COPY_on;
    for (unsigned t = 0; t < 5; t++)
        turn(scene, t);
    CHECK(in_flight(scene->io) > 0);
    io_uring_backend.close(scene->io);
    frames_check(scene, 5 * RUNS);
}

/* A send that finds the socket full fails and completes as "copied". That says nothing about the
 * device. */
static void fill_the_socket(struct scene *scene)
{
    int room = 200000;
    uint64_t sent;

    CHECK(setsockopt(scene->server.udp4, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) == 0);
    CHECK(system("tc qdisc add dev null0 root tbf rate 400mbit burst 70kb limit 20mb") == 0);
    scene->io->zero_copy.state = ZERO_COPY_on;
    for (unsigned t = 0; t < 100; t++)
        turn(scene, t);
    sent = scene->counters->sent;
    CHECK(scene->counters->send_full > 0 && sent > 0);
    CHECK(sent + scene->counters->send_full == 100 * RUNS * SEGMENTS);
    CHECK(scene->counters->zero_copy > 0 && scene->counters->zero_copy_copied == 0);
    CHECK(scene->io->zero_copy.state == ZERO_COPY_on);
    wait_for_notifications(scene->io);
    CHECK(in_flight(scene->io) == 0);
}

static void in_a_scene(void (*body)(struct scene *scene))
{
    static struct scene scene;
    int status = -1;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        scene_open(&scene);
        body(&scene);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE) {
        if (getenv("CI")) /* a skipped test must not look like a passed one there */
            fail_msg("there is no /dev/net/tun: modprobe tun");
        skip();
    }
    assert_int_equal(status, 0);
}

static void is_on_only_while_the_device_does_not_copy(void **state)
{
    in_a_scene(follow_the_device);
}

static void does_not_write_memory_in_flight(void **state)
{
    in_a_scene(hold_memory);
}

static void closes_with_sends_in_flight(void **state)
{
    in_a_scene(close_with_sends_in_flight);
}

static void learns_nothing_from_a_full_socket(void **state)
{
    in_a_scene(fill_the_socket);
}

/* Without the right to lock memory the backend sends by copying and says why. */
static void copies_when_memory_cannot_be_locked(void **state)
{
    int status = -1;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {64 << 10, 64 << 10};
        char why[128] = "";
        struct server server;
        struct io *io;

        CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
        CHECK(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
        server_open(&server);
        io = io_uring_backend.open(&server.descriptors, WORKER, why);
        fprintf(stderr, "  %s\n", why);
        CHECK(io && !io->zero_copy.possible);
        CHECK(strstr(why, "no zero-copy sending"));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_by_reports),
        cmocka_unit_test(retries_after_many_sends),
        cmocka_unit_test(is_on_only_while_the_device_does_not_copy),
        cmocka_unit_test(does_not_write_memory_in_flight),
        cmocka_unit_test(closes_with_sends_in_flight),
        cmocka_unit_test(learns_nothing_from_a_full_socket),
        cmocka_unit_test(copies_when_memory_cannot_be_locked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
