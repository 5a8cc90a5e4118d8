/* Descriptor sets: adding and taking, sending one over a Unix socket, peers that misbehave. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "src/descriptors.c"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

static unsigned open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static int new_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static bool same_file(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static void add_get_take_close(void **state)
{
    unsigned before = open_descriptors();
    struct descriptors set = {0};
    int fd = new_fd();

    descriptors_add(&set, fd, "udp4.%u", 3u);
    descriptors_add(&set, new_fd(), "desired");
    descriptors_add(&set, new_fd(), "a name that is much too long for its room");
    assert_int_equal(set.count, 3);
    assert_int_equal(descriptors_get(&set, "udp4.3"), fd);
    assert_int_equal(descriptors_get(&set, "udp4.%d", 4), -1);
    assert_int_equal(strlen(set.list[2].name), DESCRIPTOR_NAME_BYTES - 1);
    assert_int_equal(descriptors_take(&set, "udp4.3"), fd);
    assert_int_equal(descriptors_take(&set, "udp4.3"), -1);
    assert_int_equal(descriptors_get(&set, "udp4.3"), -1);
    assert_true(descriptors_get(&set, "desired") >= 0);
    assert_int_equal(set.count, 2);
    descriptors_close(&set);
    assert_int_equal(set.count, 0);
    close(fd);
    for (unsigned i = 0; i <= DESCRIPTORS_MAX; i++) /* one more than DESCRIPTORS_MAX */
        descriptors_add(&set, new_fd(), "n.%u", i);
    assert_int_equal(set.count, DESCRIPTORS_MAX);
    descriptors_close(&set);
    assert_int_equal(open_descriptors(), before);
}

static void a_whole_set_is_received(void **state)
{
    static const unsigned sizes[] = {0, 1, 7, DESCRIPTORS_MAX};

    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        unsigned before = open_descriptors();
        struct descriptors sent = {0}, got;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        for (unsigned i = 0; i < sizes[s]; i++) {
            int memory = memfd_create("x", MFD_CLOEXEC);

            descriptors_add(&sent, memory, "fd.%u", i);
        }
        assert_int_equal(descriptors_send(pair[0], &sent), 0);
        assert_int_equal(descriptors_receive(pair[1], &got, 60000), 0);
        assert_int_equal(got.count, sizes[s]);
        for (unsigned i = 0; i < sizes[s]; i++) {
            assert_true(
                same_file(descriptors_get(&sent, "fd.%u", i), descriptors_get(&got, "fd.%u", i)));
            assert_int_equal(fcntl(got.list[i].fd, F_GETFD), FD_CLOEXEC);
        }
        descriptors_close(&sent);
        descriptors_close(&got);
        close(pair[0]);
        close(pair[1]);
        assert_int_equal(open_descriptors(), before);
    }
}

/* ---- peers that misbehave ---- */

static void send_raw(int socket_fd, const char *name, size_t bytes, unsigned fds)
{
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = {0};
    struct iovec text = {.iov_base = (void *)name, .iov_len = bytes};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
    int fd = new_fd();

    if (fds > 0) {
        struct cmsghdr *header;

        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fds * sizeof(int));
        for (unsigned i = 0; i < fds; i++)
            memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(fd));
    }
    assert_int_equal(sendmsg(socket_fd, &message, 0), bytes);
    close(fd);
}

static void messages_that_are_refused(void **state)
{
    static const struct {
        const char *name;
        size_t bytes;
        unsigned fds;
        int error;
    } rows[] = {
        {"fd", 2, 0, EPROTO},
        {"fd", 2, 2, EPROTO},
        {"fd", 2, 4, EPROTO},
        {"fd", 2, 8, EPROTO}, /* more than the receiver has room for */
        {"end", 3, 2, EPROTO},
        {"a\0b", 3, 1, EPROTO},
        {"good", 4, 1, EPROTO}, /* a second time */
        {"0123456789012345678901234567890", 31, 1, ETIMEDOUT},
        {"01234567890123456789012345678901", 32, 1, EPROTO},
        {"fine", 4, 1, ETIMEDOUT},
        {"", 0, 1, ECONNRESET},
        {"", 0, 0, ECONNRESET},
        {NULL, 0, 0, ECONNRESET}, /* closes the connection */
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned before = open_descriptors();
        struct descriptors got;
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        send_raw(pair[0], "good", 4, 1);
        if (rows[i].name)
            send_raw(pair[0], rows[i].name, rows[i].bytes, rows[i].fds);
        else
            shutdown(pair[0], SHUT_WR);
        assert_int_equal(
            descriptors_receive(pair[1], &got, rows[i].error == ETIMEDOUT ? 20 : 60000), -1);
        assert_int_equal(errno, rows[i].error);
        assert_int_equal(got.count, 0);
        close(pair[0]);
        close(pair[1]);
        assert_int_equal(open_descriptors(), before);
    }
}

static void a_set_that_is_too_large(void **state)
{
    unsigned before = open_descriptors();
    struct descriptors got;
    int pair[2];
    char name[16];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    for (unsigned i = 0; i <= DESCRIPTORS_MAX; i++)
        send_raw(pair[0], name, (size_t)snprintf(name, sizeof(name), "n%u", i), 1);
    assert_int_equal(descriptors_receive(pair[1], &got, 60000), -1);
    assert_int_equal(errno, EPROTO);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(open_descriptors(), before);
}

static void sending_to_a_closed_socket(void **state)
{
    struct descriptors set = {0};
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    close(pair[1]);
    assert_int_equal(descriptors_send(pair[0], &set), -1); /* without SIGPIPE */
    close(pair[0]);
}

/* ---- asking the supervisor ---- */

struct supervisor {
    char path[64];
    int listening;
    char role[16];
    bool answer;
};

static void *serve_one(void *context)
{
    struct supervisor *s = context;
    int peer = accept4(s->listening, NULL, NULL, SOCK_CLOEXEC);
    ssize_t bytes = recv(peer, s->role, sizeof(s->role) - 1, 0);
    struct descriptors set = {0};

    s->role[bytes > 0 ? bytes : 0] = '\0';
    descriptors_add(&set, new_fd(), "desired");
    if (s->answer)
        descriptors_send(peer, &set);
    descriptors_close(&set);
    close(peer);
    return NULL;
}

static void ask(struct supervisor *s, bool answer, const char *sentence)
{
    struct descriptors set;
    char why[WHY_BYTES] = "";
    pthread_t thread;
    int result;

    s->answer = answer;
    assert_int_equal(pthread_create(&thread, NULL, serve_one, s), 0);
    result = descriptors_from_supervisor(s->path, "inspect", &set, why);
    pthread_join(thread, NULL);
    assert_string_equal(s->role, "inspect");
    assert_int_equal(result, answer ? 0 : -1);
    assert_int_equal(set.count, answer ? 1 : 0);
    if (!strstr(why, sentence))
        fail_msg("\"%s\" does not say \"%s\"", why, sentence);
    descriptors_close(&set);
}

static void a_supervisor_answers(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct supervisor s = {.path = "/tmp/ringcast-descriptors-XXXXXX"};
    int holder = mkstemp(s.path);

    assert_true(holder >= 0);
    close(holder);
    unlink(s.path);
    strcpy(address.sun_path, s.path);
    s.listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s.listening, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(s.listening, 4), 0);
    ask(&s, true, "");
    ask(&s, false, "did not hand out its shared memory");
    close(s.listening);
    unlink(s.path);
}

static void no_supervisor(void **state)
{
    struct descriptors set;
    char long_path[200], why[WHY_BYTES];

    assert_int_equal(
        descriptors_from_supervisor("/tmp/ringcast-nobody/dataplane.sock", "control", &set, why),
        -1);
    assert_non_null(strstr(why, "start ringcast-dataplane"));
    assert_int_equal(errno, ENOENT);
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(descriptors_from_supervisor(long_path, "control", &set, why), -1);
    assert_non_null(strstr(why, "set data_directory to a shorter path"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_get_take_close),
        cmocka_unit_test(a_whole_set_is_received),
        cmocka_unit_test(messages_that_are_refused),
        cmocka_unit_test(a_set_that_is_too_large),
        cmocka_unit_test(sending_to_a_closed_socket),
        cmocka_unit_test(a_supervisor_answers),
        cmocka_unit_test(no_supervisor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
