/* sd_notify messages as a service manager receives them, and getting stored descriptors back. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "src/notify.c"
#include "src/sanitizer.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char socket_path[] = "/tmp/ringcast-notify-XXXXXX";
static int manager = -1;

/* Opens the socket of a service manager at an address in the form of NOTIFY_SOCKET. */
static void listen_at(const char *where)
{
    struct sockaddr_un address;
    socklen_t bytes;

    setenv("NOTIFY_SOCKET", where, 1);
    bytes = manager_address(&address);
    assert_true(bytes > 0);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(manager, (struct sockaddr *)&address, bytes), 0);
}

static void stop_listening(void)
{
    close(manager);
    manager = -1;
    unsetenv("NOTIFY_SOCKET");
}

/* The next message. *fd is the descriptor that came with it, or -1. */
static const char *next_message(int *fd)
{
    static char text[600];
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec room = {.iov_base = text, .iov_len = sizeof(text) - 1};
    struct msghdr message = {.msg_iov = &room,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t bytes = recvmsg(manager, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    text[bytes > 0 ? bytes : 0] = '\0';
    *fd = -1;
    if (bytes > 0 && header)
        memcpy(fd, CMSG_DATA(header), sizeof(*fd));
    return text;
}

static void messages(void **state)
{
    uint64_t before_us = clock_monotonic_ns() / NS_PER_US;
    unsigned long long usec = 0;
    int fd;

    listen_at(socket_path);
    assert_true(notify_wanted());
    assert_int_equal(notify_ready(), 0);
    assert_string_equal(next_message(&fd), "READY=1\n");
    assert_int_equal(fd, -1);
    assert_int_equal(notify_watchdog(), 0);
    assert_string_equal(next_message(&fd), "WATCHDOG=1\n");
    assert_int_equal(notify_stopping(), 0);
    assert_string_equal(next_message(&fd), "STOPPING=1\n");
    assert_int_equal(notify_reloading(), 0); /* systemd wants both lines in one message */
    assert_int_equal(sscanf(next_message(&fd), "RELOADING=1\nMONOTONIC_USEC=%llu\n", &usec), 1);
    assert_in_range(usec, before_us, clock_monotonic_ns() / NS_PER_US);
    assert_int_equal(notify_status("%d workers\nMAINPID=%d", 2, 1), 0);
    assert_string_equal(next_message(&fd), "STATUS=2 workers MAINPID=1\n");
    assert_int_equal(notify_status("%600s", "x"), 0);
    assert_int_equal(strlen(next_message(&fd)), STATE_BYTES - 1);
    stop_listening();
    unlink(socket_path);
}

static void storing_descriptors(void **state)
{
    static const char *const unfit[] = {
        "", "a:b", "a b", "a\nFDPOLL=1", "ä", "01234567890123456789012345678901"};
    struct descriptors set = {0};
    struct stat sent, got;
    int memory = memfd_create("x", MFD_CLOEXEC), fd;

    listen_at("@ringcast-notify-test"); /* an abstract address */
    assert_int_equal(notify_store(memory, "udp4.%u", 3u), 0);
    assert_string_equal(next_message(&fd), "FDSTORE=1\nFDNAME=udp4.3\nFDPOLL=0\n");
    assert_true(fd >= 0 && fstat(fd, &got) == 0 && fstat(memory, &sent) == 0);
    assert_int_equal(sent.st_ino, got.st_ino);
    close(fd);
    assert_int_equal(notify_store_remove("udp4.%u", 3u), 0);
    assert_string_equal(next_message(&fd), "FDSTOREREMOVE=1\nFDNAME=udp4.3\n");
    assert_int_equal(fd, -1);
    for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
        assert_int_equal(notify_store(memory, "%s", unfit[i]), -1);
        assert_int_equal(errno, EINVAL);
        assert_int_equal(notify_store_remove("%s", unfit[i]), -1);
    }
    assert_int_equal(notify_store(-1, "x"), -1);
    assert_string_equal(next_message(&fd), "");
    descriptors_add(&set, memory, "desired");
    descriptors_add(&set, dup(memory), "actual");
    assert_int_equal(notify_store_all(&set), 0);
    assert_string_equal(next_message(&fd), "FDSTORE=1\nFDNAME=desired\nFDPOLL=0\n");
    close(fd);
    assert_string_equal(next_message(&fd), "FDSTORE=1\nFDNAME=actual\nFDPOLL=0\n");
    close(fd);
    descriptors_close(&set);
    stop_listening();
}

static void without_a_service_manager(void **state)
{
    unsetenv("NOTIFY_SOCKET");
    assert_false(notify_wanted());
    assert_int_equal(notify_ready(), 0);
    assert_int_equal(notify_store(0, "x"), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    assert_false(notify_wanted());
    setenv("NOTIFY_SOCKET", "relative/path", 1);
    assert_int_equal(notify_ready(), -1);
    assert_int_equal(errno, EINVAL);
    setenv("NOTIFY_SOCKET", "/tmp/ringcast-nobody-listens", 1);
    assert_int_equal(notify_ready(), -1);
    unsetenv("NOTIFY_SOCKET");
}

static void watchdog_interval(void **state)
{
    static const struct {
        const char *interval, *pid; /* "us": the pid of this process */
        uint64_t expected;
    } rows[] = {{NULL, NULL, 0},
                {"5000000", NULL, 5000000},
                {"5000000", "us", 5000000},
                {"5000000", "1", 0},
                {"x", NULL, 0},
                {"-5", NULL, 0},
                {"99999999999999999999999", NULL, 0},
                {"5000000", "", 0}};
    char us[16];

    snprintf(us, sizeof(us), "%d", (int)getpid());
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
        if (rows[i].interval)
            setenv("WATCHDOG_USEC", rows[i].interval, 1);
        if (rows[i].pid)
            setenv("WATCHDOG_PID", strcmp(rows[i].pid, "us") == 0 ? us : rows[i].pid, 1);
        assert_int_equal(notify_watchdog_interval_us(), rows[i].expected);
    }
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

/* ---- stored descriptors; in a child, because it needs the descriptors from 3 on ---- */

struct stored {
    const char *count, *names, *pid; /* pid "us": the pid of the child */
    unsigned there;                  /* descriptors that are open, from 3 on */
    int taken;
    const char *expected; /* names of the set, comma separated */
};

static int take_in_child(const struct stored *row)
{
    struct descriptors set;
    char pid[16], names[400] = "";

    for (int fd = 3; fd < 40; fd++)
        close(fd);
    for (unsigned i = 0; i < row->there; i++)
        if (memfd_create("stored", 0) != (int)(3 + i))
            return 1;
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    if (row->count)
        setenv("LISTEN_FDS", row->count, 1);
    if (row->names)
        setenv("LISTEN_FDNAMES", row->names, 1);
    if (row->pid)
        setenv("LISTEN_PID", strcmp(row->pid, "us") == 0 ? pid : row->pid, 1);
    if (notify_take_stored(&set) != row->taken)
        return 2;
    for (size_t i = 0; row->taken > 0 && i < set.count; i++) {
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i ? "," : "",
                 set.list[i].name);
        if (fcntl(set.list[i].fd, F_GETFD) != FD_CLOEXEC)
            return 3;
    }
    if (row->expected && strcmp(names, row->expected) != 0)
        return 4;
    if (getenv("LISTEN_FDS") || getenv("LISTEN_PID") || getenv("LISTEN_FDNAMES"))
        return 5;
    return 0;
}

static void stored_descriptors_come_back(void **state)
{
    static const struct stored rows[] = {
        {NULL, NULL, NULL, 0, 0, NULL},
        {"2", "desired:actual", "us", 2, 2, "desired,actual"},
        {"2", "desired:actual", "1", 2, 0, NULL},
        {"2", "desired:actual", NULL, 2, 0, NULL},
        {"3", "desired:actual:desired", "us", 3, 2, "desired,actual"}, /* stored twice */
        {"3", "desired", "us", 3, 3, "desired,stored.1,stored.2"},
        {"2", "desired::", "us", 2, 2, "desired,stored.1"},
        {"2", "01234567890123456789012345678901:b", "us", 2, 2, "stored.0,b"},
        {"1", NULL, "us", 1, 1, "stored.0"},
        {"0", "", "us", 0, 0, NULL},
        {"3", "a:b:c", "us", 2, -1, NULL}, /* the third is not open */
        {"97", "a", "us", 1, -1, NULL},
        {"-1", "a", "us", 1, -1, NULL},
        {"x", "a", "us", 1, -1, NULL},
        {NULL, "a", "us", 1, -1, NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0)
            _exit(take_in_child(&rows[i]));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0)
            fail_msg("row %zu: step %d", i, WEXITSTATUS(status));
    }
}

/* A manager that is stopped (Ctrl-Z) reads nothing. No call may wait for it for ever, and signs of life
 * must not wait at all; when it reads again, messages arrive again. */
static void a_manager_that_does_not_read(void **state)
{
    uint64_t began_ns, signs_ns, ready_ns;
    unsigned lost = 0;
    int fd;

    listen_at(socket_path);
    alarm(60); /* before, this test never ended */
    began_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < 2000; i++)
        lost += notify_watchdog() != 0 || notify_status("%u", i) != 0;
    signs_ns = clock_monotonic_ns() - began_ns;
    assert_true(lost > 0);
    assert_int_equal(errno, EAGAIN);
    began_ns = clock_monotonic_ns();
    assert_int_equal(notify_ready(), -1);
    ready_ns = clock_monotonic_ns() - began_ns;
    print_message("%u of 2000 signs of life lost in %u ms; READY gave up after %u ms\n", lost,
                  (unsigned)(signs_ns / NS_PER_MS), (unsigned)(ready_ns / NS_PER_MS));
    assert_true(ready_ns < 10 * NS_PER_S * SANITIZER_PATIENCE);
    while (*next_message(&fd))
        continue;
    assert_int_equal(notify_ready(), 0);
    assert_string_equal(next_message(&fd), "READY=1\n");
    alarm(0);
    stop_listening();
    unlink(socket_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),
        cmocka_unit_test(storing_descriptors),
        cmocka_unit_test(without_a_service_manager),
        cmocka_unit_test(watchdog_interval),
        cmocka_unit_test(a_manager_that_does_not_read),
        cmocka_unit_test(stored_descriptors_come_back),
    };
    int holder = mkstemp(socket_path); /* finds a free name for the socket */

    close(holder);
    unlink(socket_path);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
