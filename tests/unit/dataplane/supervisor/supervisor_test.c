/* The supervisor: media ports, which process gets which descriptors, and a whole life with
 * children. This program plays the children: it is started again with --role=. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/supervisor/supervisor.h"
#include "src/data_directory.h"
#include "src/log.h"

#define MS(count) ((uint64_t)(count)*NS_PER_MS)
#define PATIENCE_NS (60 * NS_PER_S) /* an event that takes longer will not happen */

/* Backends that need nothing from the supervisor, as io_uring and socket do. */
static const struct io_backend plain = {.name = "plain", .auto_may_choose = true};
static const struct io_backend *const plain_list[] = {&plain};
static const struct io_backends backends = {1, plain_list};

/* ---- sockets ---- */

static struct settings settings_on(const char *listen_ip, uint32_t first, uint32_t last)
{
    struct settings settings = {
        .socket_buffer_bytes = 65536, .media_port_min = first, .media_port_max = last};

    snprintf(settings.media_listen_ip, sizeof(settings.media_listen_ip), "%s", listen_ip);
    strcpy(settings.io_backend, "auto");
    return settings;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in6 address = {0};
    socklen_t bytes = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &bytes) == 0 ? ntohs(address.sin6_port) : 0;
}

/* Opens a port for IPv4 or IPv6. The three ports above it are probably free. */
static int taken_port(int family, uint32_t *port)
{
    for (*port = 42000 + (uint32_t)getpid() % 5000; *port < 60000; *port += 4) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)*port)};
        struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
        int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;

        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        if ((family == AF_INET ? bind(fd, (struct sockaddr *)&four, sizeof(four))
                               : bind(fd, (struct sockaddr *)&six, sizeof(six))) == 0)
            return fd;
        close(fd);
    }
    return -1;
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t bytes = sizeof(value);

    getsockopt(fd, level, option, &value, &bytes);
    return value;
}

static void test_each_worker_gets_one_port(void **state)
{
    struct descriptors set = {0};
    struct settings settings;
    char why[SUPERVISOR_WHY_BYTES];
    uint32_t port;
    int taken = taken_port(AF_INET6, &port);

    /* the first port is in use for IPv6: worker 0 gets the next one, for IPv4 and IPv6 */
    settings = settings_on("127.0.0.1, ::1", port, port + 3);
    assert_true(media_sockets_open(&settings, 2, &set, why));
    assert_int_equal(set.count, 4);
    for (uint32_t w = 0; w < 2; w++) {
        int udp4 = descriptors_get(&set, "udp4.%u", w), udp6 = descriptors_get(&set, "udp6.%u", w);

        assert_true(port_of(udp4) > port);
        assert_int_equal(port_of(udp4), port_of(udp6));
        assert_true(fcntl(udp4, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(udp6, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(option_of(udp4, IPPROTO_IP, IP_PKTINFO), 1);
        assert_int_equal(option_of(udp4, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_OMIT);
        assert_int_equal(option_of(udp6, IPPROTO_IPV6, IPV6_RECVPKTINFO), 1);
        assert_int_equal(option_of(udp6, IPPROTO_IPV6, IPV6_V6ONLY), 1);
        assert_int_equal(option_of(udp6, SOL_SOCKET, SO_RCVBUF), 2 * 65536);
        assert_int_equal(option_of(udp4, 17 /* SOL_UDP */, 104 /* UDP_GRO */), 1);
    }
    descriptors_close(&set);
    close(taken);
}

/* :: alone serves both families, each with a socket of its own; other IPv6 addresses do not. */
static void test_any_address_means_both_families(void **state)
{
    static const struct {
        const char *listen_ip;
        bool ipv4, ipv6;
    } rows[] = {
        {"::", true, true},   {"0:0:0:0:0:0:0:0", true, true}, {"::, 127.0.0.1", true, true},
        {"::1", false, true}, {"0.0.0.0", true, false},        {"::ffff:127.0.0.1", true, false}};
    uint32_t port;
    int taken = taken_port(AF_INET, &port); /* for IPv4 only: so the worker gets the next one */

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct settings settings = settings_on(rows[i].listen_ip, port, port + 3);
        struct descriptors set = {0};
        char why[SUPERVISOR_WHY_BYTES];
        int udp4, udp6;

        if (!media_sockets_open(&settings, 1, &set, why))
            fail_msg("%s: %s", rows[i].listen_ip, why);
        udp4 = descriptors_get(&set, "udp4.%u", 0);
        udp6 = descriptors_get(&set, "udp6.%u", 0);
        assert_int_equal(udp4 >= 0, rows[i].ipv4);
        assert_int_equal(udp6 >= 0, rows[i].ipv6);
        if (udp4 >= 0)
            assert_true(port_of(udp4) > port);
        if (udp4 >= 0 && udp6 >= 0)
            assert_int_equal(port_of(udp4), port_of(udp6));
        if (udp6 >= 0)
            assert_int_equal(option_of(udp6, IPPROTO_IPV6, IPV6_V6ONLY), 1);
        descriptors_close(&set);
    }
    close(taken);
}

static void test_bad_addresses_and_used_ports_are_refused(void **state)
{
    uint32_t port;
    int taken = taken_port(AF_INET, &port);
    const struct {
        const char *listen_ip;
        uint32_t last, workers;
        const char *says;
    } rows[] = {
        {"0.0.0.0", port, 1, "no media port is left for worker 0"},
        {"0.0.0.0", port + 1, 2, "no media port is left for worker 1"},
        {"192.0.2.1", port + 3, 1, "no such address"},
        {"0.0.0.0,127.0.0.1", port + 3, 1, "second one of its IP version"},
        {"::,::1", port + 3, 1, "second one of its IP version"},
        {"localhost", port + 3, 1, "no address"},
        {"0.0.0.0,", port + 3, 1, "no address"},
        {"", port + 3, 1, "no address"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct settings settings = settings_on(rows[i].listen_ip, port, rows[i].last);
        struct descriptors set = {0};
        char why[SUPERVISOR_WHY_BYTES] = "";

        assert_false(media_sockets_open(&settings, rows[i].workers, &set, why));
        if (!strstr(why, rows[i].says))
            fail_msg("\"%s\": %s", rows[i].listen_ip, why);
        descriptors_close(&set);
    }
    close(taken);
}

static void test_worker_count_follows_settings_and_cores(void **state)
{
    struct settings settings = settings_on("0.0.0.0", 40000, 49999);
    cpu_set_t before, one;

    settings.workers = 5;
    assert_int_equal(workers_wanted(&settings), 5);
    settings.workers = 0;
    sched_getaffinity(0, sizeof(before), &before);
    assert_int_equal(workers_wanted(&settings),
                     CPU_COUNT(&before) < WORKERS_MAX ? CPU_COUNT(&before) : WORKERS_MAX);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before))
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
    assert_int_equal(workers_wanted(&settings), 1);
    sched_setaffinity(0, sizeof(before), &before);
    settings.media_port_max = 40000; /* one port: one worker */
    assert_int_equal(workers_wanted(&settings), 1);
}

/* ---- which process gets which descriptors ---- */

static bool is_writable(int fd)
{
    return (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

/* The table of processes.h, and nothing else. w: may write, r: may only read. */
static void test_each_process_gets_its_descriptors(void **state)
{
    static const struct {
        const char *who, *desired, *actual, *keys, *resume;
        bool udp, bell_worker, bell_control, bell_handshaker;
    } rows[] = {
        {"forwarder", "r", "w", "r", "w", true, true, true, true},
        {"handshaker", "r", "", "w", "r", false, true, false, true},
        {"control", "w", "r", "", "", false, true, true, false},
        {"inspect", "r", "r", "", "", false, false, false, false},
    };
    struct settings settings = settings_on("127.0.0.1", 43000 + (uint32_t)getpid() % 5000, 60000);
    struct descriptors set;
    struct resources resources;
    char why[SUPERVISOR_WHY_BYTES];
    int pidfds[CHILD_COUNT];

    settings.workers = 2;
    assert_true(resources_open(&resources, &settings, &backends, pidfds, why));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *wanted[REGION_COUNT] = {rows[i].desired, rows[i].actual, rows[i].keys,
                                            rows[i].resume};
        size_t count = 0;

        if (i < CHILD_COUNT)
            resources_for_child(&resources, (enum child_role)i, &set);
        else
            assert_true(resources_for_client(&resources, rows[i].who, &set));
        for (unsigned id = 0; id < REGION_COUNT; id++) {
            int fd = descriptors_get(&set, "%s", region_names[id]);

            assert_int_equal(fd >= 0, wanted[id][0] != '\0');
            if (fd >= 0)
                assert_int_equal(is_writable(fd), wanted[id][0] == 'w');
            count += fd >= 0;
        }
        assert_int_equal(descriptors_get(&set, "udp4.1") >= 0, rows[i].udp);
        assert_int_equal(descriptors_get(&set, "bell.worker.1") >= 0, rows[i].bell_worker);
        assert_int_equal(descriptors_get(&set, "bell.control") >= 0, rows[i].bell_control);
        assert_int_equal(descriptors_get(&set, "bell.handshaker") >= 0, rows[i].bell_handshaker);
        count += 2u * rows[i].udp + 2u * rows[i].bell_worker + rows[i].bell_control +
                 rows[i].bell_handshaker;
        assert_int_equal(set.count, count);
    }
    assert_false(
        resources_for_client(&resources, "forwarder", &set)); /* that is the role of a child */
    assert_false(resources_for_client(&resources, "", &set));
    resources_close(&resources);
}

/* ---- what I/O backends need ---- */

static bool link_open(const struct settings *settings, uint32_t worker_count,
                      struct descriptors *set, char why[IO_WHY_BYTES])
{
    for (uint32_t w = 0; w < worker_count; w++)
        descriptors_add(set, socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "io.link.%u", w);
    return true;
}

static bool link_refuse(const struct settings *settings, uint32_t worker_count,
                        struct descriptors *set, char why[IO_WHY_BYTES])
{
    snprintf(why, IO_WHY_BYTES, "no such card");
    return false;
}

static const struct io_backend with_link = {
    .name = "link", .auto_may_choose = true, .open_privileged = link_open};
static const struct io_backend refusing = {
    .name = "refusing", .auto_may_choose = true, .open_privileged = link_refuse};
static const struct io_backend named_only = {.name = "named-only", .open_privileged = link_open};

/* Only the forwarder gets them, and only those of backends that may be used. */
static void test_only_the_forwarder_gets_what_backends_open(void **state)
{
    static const struct io_backend *const list[] = {&plain, &refusing, &with_link, &named_only};
    static const struct io_backends all = {4, list}, without_link = {2, list};
    static const struct {
        const char *io_backend;
        const struct io_backends *backends;
        unsigned links;
        const char *refusal; /* NULL: the supervisor starts */
    } rows[] = {
        {"auto", &all, 2, NULL},
        {"auto", &without_link, 0, NULL}, /* `auto` can do without the one that refuses */
        {"link", &all, 2, NULL},
        {"named-only", &all, 2, NULL},
        {"plain", &all, 0, NULL},
        {"refusing", &all, 0, "I/O backend refusing: no such card"},
        {"dpdk", &without_link, 0, "there are: auto, plain, refusing"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct settings settings =
            settings_on("127.0.0.1", 43000 + (uint32_t)getpid() % 5000, 60000);
        struct descriptors forwarder, handshaker;
        struct resources resources;
        char why[SUPERVISOR_WHY_BYTES] = "";
        int pidfds[CHILD_COUNT];

        settings.workers = 2;
        strcpy(settings.io_backend, rows[i].io_backend);
        assert_int_equal(resources_open(&resources, &settings, rows[i].backends, pidfds, why),
                         rows[i].refusal == NULL);
        if (rows[i].refusal) {
            assert_non_null(strstr(why, rows[i].refusal));
            continue;
        }
        resources_for_child(&resources, CHILD_forwarder, &forwarder);
        resources_for_child(&resources, CHILD_handshaker, &handshaker);
        for (unsigned w = 0; w < 2; w++) {
            assert_int_equal(descriptors_get(&forwarder, "io.link.%u", w) >= 0, w < rows[i].links);
            assert_int_equal(descriptors_get(&handshaker, "io.link.%u", w), -1);
        }
        resources_close(&resources);
    }
}

/* ---- a whole life ---- */

static volatile sig_atomic_t stop_wanted;

static void on_stop(int number)
{
    stop_wanted = 1;
}

/* Hangs in two ways: SIGUSR1 spins, SIGUSR2 sleeps. */
static void on_hang(int number)
{
    while (number == SIGUSR1)
        atomic_signal_fence(memory_order_seq_cst);
    pause();
    pause();
}

/* Writes heartbeats until it is told to stop. Its region shows the test its pid and its starts. */
static int fake_child(const char *role)
{
    bool forwarder = strcmp(role, "forwarder") == 0;
    enum region_id id = forwarder ? REGION_actual : REGION_keys;
    struct sigaction action = {.sa_handler = on_stop};
    struct descriptors set;
    struct region region;
    char why[128];

    sigaction(SIGTERM, &action, NULL);
    signal(SIGUSR1, on_hang);
    signal(SIGUSR2, on_hang);
    if (descriptors_receive(CHILD_DESCRIPTOR_SOCKET, &set, PATIENCE_NS / NS_PER_MS) != 0 ||
        !region_map(&region, id, descriptors_get(&set, "%s", region_names[id]), true, why))
        return 3;
    atomic_store(&region.header->writer_pid, (uint32_t)getpid());
    atomic_fetch_add(&region.header->writer_starts, 1);
    while (!stop_wanted) {
        region_beat(&region, 0, clock_monotonic_ns());
        usleep(10000);
    }
    return 0;
}

struct life {
    char directory[64], socket[96];
    struct settings settings;
    int notify; /* this test plays the service manager */
    char notify_name[48];
    struct descriptors store; /* what it keeps */
    pid_t supervisor;
    struct region actual, keys;
};

/* Reads what the supervisor sent to its service manager. Returns how often it was READY. */
static unsigned manage(struct life *life)
{
    unsigned ready = 0;

    for (;;) {
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        char text[512], name[DESCRIPTOR_NAME_BYTES], *at;
        struct iovec part = {text, sizeof(text) - 1};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        ssize_t bytes = recvmsg(life->notify, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        struct cmsghdr *header;
        int fd;

        if (bytes < 0)
            return ready;
        text[bytes] = '\0';
        ready += strstr(text, "READY=1") != NULL;
        at = strstr(text, "FDNAME=");
        if (!at || sscanf(at, "FDNAME=%31[^\n]", name) != 1)
            continue;
        header = CMSG_FIRSTHDR(&message);
        if (strstr(text, "FDSTOREREMOVE=1")) {
            while ((fd = descriptors_take(&life->store, "%s", name)) >= 0)
                close(fd);
        } else if (header && header->cmsg_type == SCM_RIGHTS) {
            memcpy(&fd, CMSG_DATA(header), sizeof(fd));
            descriptors_add(&life->store, fd, "%s", name);
        }
    }
}

/* Until the condition holds. */
#define WAIT_FOR(life, condition)                                \
    do {                                                         \
        uint64_t limit_ns_ = clock_monotonic_ns() + PATIENCE_NS; \
        while (!(condition)) {                                   \
            assert_true(clock_monotonic_ns() < limit_ns_);       \
            manage(life);                                        \
            usleep(2000);                                        \
        }                                                        \
    } while (0)

static void supervisor_start(struct life *life)
{
    static char name[] = "supervisor_test";
    char *arguments[] = {name, NULL}, names[DESCRIPTORS_MAX * DESCRIPTOR_NAME_BYTES] = "",
         number[24];
    int count = (int)life->store.count, moved[DESCRIPTORS_MAX];

    life->supervisor = fork();
    if (life->supervisor != 0)
        return;
    log_open("supervisor", LOG_ERROR, false);
    setenv("NOTIFY_SOCKET", life->notify_name, 1);
    snprintf(number, sizeof(number), "%d", (int)getpid());
    setenv("LISTEN_PID", number, 1);
    snprintf(number, sizeof(number), "%d", count);
    setenv("LISTEN_FDS", number, 1);
    for (int i = 0; i < count; i++) {
        moved[i] = fcntl(life->store.list[i].fd, F_DUPFD, 3 + count);
        strcat(strcat(names, i ? ":" : ""), life->store.list[i].name);
    }
    for (int i = 0; i < count; i++)
        dup2(moved[i], 3 + i);
    close_range((unsigned)(3 + count), ~0u, 0);
    setenv("LISTEN_FDNAMES", names, 1);
    _exit(supervisor_main(&life->settings, &backends, 1, arguments));
}

static int life_begin(void **state)
{
    static struct life life;
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memset(&life, 0, sizeof(life));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    strcpy(life.directory, "/tmp/ringcast-supervisor-XXXXXX");
    if (!mkdtemp(life.directory))
        return -1;
    chmod(life.directory, 0755);
    life.settings = settings_on("127.0.0.1", 44000 + (uint32_t)getpid() % 5000, 60000);
    life.settings.workers = 2;
    snprintf(life.settings.data_directory, sizeof(life.settings.data_directory), "%s/data",
             life.directory);
    strcpy(life.settings.run_as, "nobody");
    strcpy(life.settings.log_level, "error");
    snprintf(life.socket, sizeof(life.socket), "%s/data/dataplane.sock", life.directory);
    snprintf(life.notify_name, sizeof(life.notify_name), "@supervisor_test.%d", (int)getpid());
    memcpy(address.sun_path + 1, life.notify_name + 1, strlen(life.notify_name) - 1);
    life.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    *state = &life;
    return bind(life.notify, (struct sockaddr *)&address,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(life.notify_name)));
}

static int life_end(void **state)
{
    struct life *life = *state;
    char path[128];

    if (life->supervisor > 0) {
        kill(life->supervisor, SIGKILL);
        waitpid(life->supervisor, NULL, 0);
    }
    manage(life); /* the store holds the pidfds of those that run now */
    for (size_t i = 0; i < life->store.count; i++)
        if (strncmp(life->store.list[i].name, "child.", 6) == 0)
            syscall(424 /* pidfd_send_signal */, life->store.list[i].fd, SIGKILL, NULL, 0);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    descriptors_close(&life->store);
    close(life->notify);
    region_unmap(&life->actual);
    region_unmap(&life->keys);
    unlink(life->socket);
    snprintf(path, sizeof(path), "%s/data/dataplane.lock", life->directory);
    unlink(path);
    snprintf(path, sizeof(path), "%s/data", life->directory);
    rmdir(path);
    return rmdir(life->directory);
}

static void wait_ready(struct life *life)
{
    uint64_t limit_ns = clock_monotonic_ns() + PATIENCE_NS;
    char why[128];

    while (manage(life) == 0) {
        assert_true(clock_monotonic_ns() < limit_ns);
        usleep(2000);
    }
    if (life->actual.base)
        return;
    assert_true(region_map(&life->actual, REGION_actual, descriptors_get(&life->store, "actual"),
                           false, why));
    assert_true(
        region_map(&life->keys, REGION_keys, descriptors_get(&life->store, "keys"), false, why));
}

static pid_t writer(const struct region *region)
{
    return (pid_t)atomic_load(&region->header->writer_pid);
}

static uint32_t starts(const struct region *region)
{
    return atomic_load(&region->header->writer_starts);
}

static void test_dead_child_is_replaced(void **state)
{
    struct life *life = *state;
    pid_t forwarder, handshaker;

    supervisor_start(life);
    wait_ready(life);
    forwarder = writer(&life->actual);
    handshaker = writer(&life->keys);
    /* killed: it is replaced with the same regions, and the other child is not touched */
    kill(forwarder, SIGKILL);
    WAIT_FOR(life, starts(&life->actual) == 2);
    assert_int_not_equal(writer(&life->actual), forwarder);
    assert_int_equal(starts(&life->keys), 1);
    /* ends by itself: it is replaced, too */
    kill(handshaker, SIGTERM);
    WAIT_FOR(life, starts(&life->keys) == 2);
}

/* A child that is stopped, spins or sleeps has no heartbeat: it is killed and replaced. */
static void test_hung_child_is_replaced(void **state)
{
    static const int ways[] = {SIGSTOP, SIGUSR1, SIGUSR2};
    struct life *life = *state;

    supervisor_start(life);
    wait_ready(life);
    for (uint32_t i = 0; i < 3; i++) {
        pid_t forwarder = writer(&life->actual);
        uint64_t began_ns = clock_monotonic_ns();

        /* Wait for some heartbeats, so that the supervisor has seen one. */
        WAIT_FOR(life, region_heartbeat(life->actual.header) > began_ns + MS(100));
        began_ns = clock_monotonic_ns();
        kill(forwarder, ways[i]);
        WAIT_FOR(life, kill(forwarder, 0) != 0);
        print_message("signal %d: gone after %u ms\n", ways[i],
                      (unsigned)((clock_monotonic_ns() - began_ns) / NS_PER_MS));
        WAIT_FOR(life, starts(&life->actual) == i + 2);
    }
    assert_int_equal(starts(&life->keys), 1);
}

static void test_next_supervisor_takes_over(void **state)
{
    struct life *life = *state;
    pid_t forwarder, handshaker, old;
    uint64_t beat_ns;
    int status;

    supervisor_start(life);
    wait_ready(life);
    forwarder = writer(&life->actual);
    handshaker = writer(&life->keys);
    old = life->supervisor;
    kill(old, SIGKILL);
    waitpid(old, NULL, 0);
    manage(life);
    beat_ns = region_heartbeat(life->actual.header);
    WAIT_FOR(life, region_heartbeat(life->actual.header) > beat_ns + MS(100));
    /* a new one takes over and starts no child; it sees that a child which it did not start dies */
    supervisor_start(life);
    wait_ready(life);
    assert_int_equal(writer(&life->actual), forwarder);
    assert_int_equal(writer(&life->keys), handshaker);
    assert_int_equal(starts(&life->actual) + starts(&life->keys), 2);
    kill(forwarder, SIGKILL);
    waitpid(forwarder, NULL, 0);
    WAIT_FOR(life, starts(&life->actual) == 2);
    /* it stops: the adopted handshaker ends with it, the control socket is gone, the store is
     * empty */
    kill(life->supervisor, SIGTERM);
    WAIT_FOR(life, waitpid(life->supervisor, &status, WNOHANG) == life->supervisor);
    assert_int_equal(status, 0);
    assert_int_equal(waitpid(handshaker, &status, 0), handshaker);
    assert_int_equal(status, 0);
    manage(life);
    assert_int_equal(life->store.count, 0);
    assert_int_equal(access(life->socket, F_OK), -1);
    life->supervisor = 0;
}

/* Incomplete resources are not used: the old children end, and everything is created anew. */
static void test_incomplete_store_is_not_used(void **state)
{
    struct life *life = *state;
    uint64_t instance;
    pid_t forwarder;

    supervisor_start(life);
    wait_ready(life);
    instance = life->actual.header->instance_id;
    forwarder = writer(&life->actual);
    kill(life->supervisor, SIGKILL);
    waitpid(life->supervisor, NULL, 0);
    manage(life);
    close(descriptors_take(&life->store, "bell.control"));
    region_unmap(&life->actual);
    region_unmap(&life->keys);
    supervisor_start(life);
    /* the old descriptors leave the store, the new ones are in it */
    wait_ready(life);
    assert_int_not_equal(life->actual.header->instance_id, instance);
    assert_int_not_equal(writer(&life->actual), forwarder);
    assert_int_equal(waitpid(forwarder, NULL, 0), forwarder);
    assert_true(descriptors_get(&life->store, "bell.control") >= 0);
}

static void test_control_socket_serves_its_roles(void **state)
{
    struct life *life = *state;
    struct descriptors set;
    char why[SUPERVISOR_WHY_BYTES];

    supervisor_start(life);
    wait_ready(life);
    assert_int_equal(descriptors_from_supervisor(life->socket, "control", &set, why), 0);
    assert_true(is_writable(descriptors_get(&set, "desired")));
    assert_false(is_writable(descriptors_get(&set, "actual")));
    assert_int_equal(descriptors_get(&set, "keys"), -1);
    descriptors_close(&set);
    assert_int_equal(descriptors_from_supervisor(life->socket, "inspect", &set, why), 0);
    assert_int_equal(set.count, 2); /* desired and actual; never resume */
    assert_int_equal(descriptors_get(&set, "resume"), -1);
    descriptors_close(&set);
    assert_int_equal(descriptors_from_supervisor(life->socket, "forwarder", &set, why), -1);
    assert_int_equal(descriptors_from_supervisor(life->socket, "a-role-of-many-letters", &set, why),
                     -1);
    /* a second supervisor on the same directory */
    assert_int_equal(data_directory_lock(life->settings.data_directory, "dataplane.lock",
                                         "another data plane", 0, why),
                     -1);
    assert_non_null(strstr(why, "another data plane already uses"));
}

/* Does the supervisor say that the forwarder is dead? */
static bool is_said_to_be_dead(const struct life *life)
{
    char why[SUPERVISOR_WHY_BYTES];
    struct descriptors set;
    bool dead;

    assert_int_equal(descriptors_from_supervisor(life->socket, "control", &set, why), 0);
    dead = descriptors_get(&set, DESCRIPTOR_FORWARDER_DEAD) >= 0;
    descriptors_close(&set);
    return dead;
}

/* Only a forwarder that crashes again and again is said to be dead, and only while its successor
 * waits. */
static void test_control_plane_hears_of_a_dead_forwarder(void **state)
{
    struct life *life = *state;
    uint32_t starts_before;
    bool dead = false;

    supervisor_start(life);
    wait_ready(life);
    assert_false(is_said_to_be_dead(life));
    for (unsigned deaths = 0; deaths < 6 && !dead; deaths++) {
        pid_t forwarder = writer(&life->actual);

        starts_before = starts(&life->actual);
        kill(forwarder, SIGABRT);
        WAIT_FOR(life, (dead = is_said_to_be_dead(life)) || starts(&life->actual) > starts_before);
    }
    assert_true(dead);
    WAIT_FOR(life, starts(&life->actual) > starts_before);
    assert_false(is_said_to_be_dead(life));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_worker_gets_one_port),
        cmocka_unit_test(test_any_address_means_both_families),
        cmocka_unit_test(test_bad_addresses_and_used_ports_are_refused),
        cmocka_unit_test(test_worker_count_follows_settings_and_cores),
        cmocka_unit_test(test_each_process_gets_its_descriptors),
        cmocka_unit_test(test_only_the_forwarder_gets_what_backends_open),
        cmocka_unit_test_setup_teardown(test_dead_child_is_replaced, life_begin, life_end),
        cmocka_unit_test_setup_teardown(test_hung_child_is_replaced, life_begin, life_end),
        cmocka_unit_test_setup_teardown(test_next_supervisor_takes_over, life_begin, life_end),
        cmocka_unit_test_setup_teardown(test_incomplete_store_is_not_used, life_begin, life_end),
        cmocka_unit_test_setup_teardown(test_control_socket_serves_its_roles, life_begin, life_end),
        cmocka_unit_test_setup_teardown(test_control_plane_hears_of_a_dead_forwarder, life_begin,
                                        life_end),
    };

    if (argc > 1 && strncmp(argv[1], "--role=", 7) == 0)
        return fake_child(argv[1] + 7);
    log_open("test", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
