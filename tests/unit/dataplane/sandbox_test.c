/* What the sandbox forbids and what it allows. A child process enters the sandbox and tries every
 * probe, on the thread that shut it and on a thread that existed before. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <liburing.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "dataplane/sandbox.c"

/* What the probes use. It is made between sandbox_prepare and sandbox_enter. */
static struct {
    int bell, udp;
    struct io_uring ring;
    bool has_ring;
    pthread_barrier_t shut;
} before;

/* ---- probes: they return 0 when it worked, else errno ---- */

#define TRY(call) ((call) < 0 ? errno : 0)

static int probe_open(void)
{
    return TRY(open("/etc/passwd", O_RDONLY));
}
static int probe_create(void)
{
    return TRY(open("/tmp/ringcast-sandbox-probe", O_WRONLY | O_CREAT, 0600));
}
static int probe_socket(void)
{
    return TRY(socket(AF_INET, SOCK_DGRAM, 0));
}
static int probe_socketpair(void)
{
    int pair[2];

    return TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
}
static int probe_connect(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return TRY(connect(before.udp, (struct sockaddr *)&to, sizeof(to)));
}
static int probe_bind(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};

    return TRY(bind(before.udp, (struct sockaddr *)&at, sizeof(at)));
}
static int probe_execve(void)
{
    char *const words[] = {"/bin/true", NULL};

    return TRY(execve(words[0], words, NULL));
}
static int probe_ptrace(void)
{
    return TRY(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}
static int probe_kill(void)
{
    return TRY(kill(getppid(), 0));
}
static int probe_tgkill_other(void)
{
    return TRY(syscall(SYS_tgkill, getppid(), getppid(), 0));
}
static int probe_fork(void)
{
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    return TRY(child);
}
static void *nothing(void *argument)
{
    return argument;
}
static int probe_thread(void)
{
    pthread_t thread;

    return pthread_create(&thread, NULL, nothing, NULL);
}
static int probe_executable_memory(void)
{
    void *at =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? errno : 0;
}
static int probe_make_executable(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return TRY(mprotect(at, 4096, PROT_READ | PROT_EXEC));
}
static int probe_ring(void)
{
    struct io_uring_params parameters = {0};

    return TRY(syscall(SYS_io_uring_setup, 4, &parameters));
}
static int probe_ring_register(void)
{
    return TRY(syscall(SYS_io_uring_register, before.ring.ring_fd, IORING_REGISTER_PROBE, NULL, 0));
}
static int probe_root(void)
{
    return TRY(setuid(0));
}
static int probe_chmod(void)
{
    return TRY(chmod("/tmp/ringcast-sandbox-probe", 0600));
}
static int probe_unlink(void)
{
    return TRY(unlink("/tmp/ringcast-sandbox-probe"));
}
static int probe_memory_of_others(void)
{
    char byte;
    struct iovec ours = {&byte, 1}, theirs = {&byte, 1};

    return TRY(syscall(SYS_process_vm_readv, getppid(), &ours, 1, &theirs, 1, 0));
}
static int probe_dumpable(void)
{
    return TRY(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int probe_bell(void)
{
    uint64_t value = 1;

    if (write(before.bell, &value, sizeof(value)) != sizeof(value))
        return errno;
    return TRY(read(before.bell, &value, sizeof(value)));
}
static int probe_memory(void)
{
    char *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *heap;

    if (at == MAP_FAILED || (at = mremap(at, 8192, 1 << 20, MREMAP_MAYMOVE)) == MAP_FAILED)
        return errno;
    at[(1 << 20) - 1] = 1;
    if (madvise(at, 1 << 20, MADV_DONTNEED) != 0 || mprotect(at, 4096, PROT_READ) != 0 ||
        munmap(at, 1 << 20) != 0)
        return errno;
    for (size_t bytes = 16; bytes < (64 << 20); bytes *= 4) {
        heap = malloc(bytes);
        if (!heap)
            return ENOMEM;
        memset(heap, 1, bytes);
        free(heap);
    }
    return 0;
}
static int probe_futex(void)
{
    int word = 0;

    return TRY(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
}
static int probe_clocks(void)
{
    struct timespec nap = {.tv_nsec = 1000};
    char bytes[16];

    if (clock_gettime(CLOCK_MONOTONIC, &nap) != 0)
        return errno;
    nap = (struct timespec){.tv_nsec = 1000};
    if (clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL) != 0 || sched_yield() != 0)
        return errno;
    return TRY(getrandom(bytes, sizeof(bytes), 0));
}
static int probe_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    if (sigaction(SIGUSR1, &ignore, NULL) != 0)
        return errno;
    return raise(SIGUSR1) == 0 ? 0 : errno;
}
static int probe_datagram(void)
{
    struct sockaddr_in self;
    socklen_t size = sizeof(self);
    struct pollfd wanted = {.fd = before.udp, .events = POLLIN};
    struct iovec data = {"x", 1};
    struct mmsghdr message = {
        .msg_hdr = {
            .msg_name = &self, .msg_namelen = sizeof(self), .msg_iov = &data, .msg_iovlen = 1}};
    char byte;

    if (getsockname(before.udp, (struct sockaddr *)&self, &size) != 0)
        return errno;
    if (sendmmsg(before.udp, &message, 1, 0) != 1 || poll(&wanted, 1, 60000) != 1)
        return errno;
    return TRY(recv(before.udp, &byte, 1, MSG_DONTWAIT));
}
static int probe_ring_enter(void)
{
    return before.has_ring ? TRY(syscall(SYS_io_uring_enter, before.ring.ring_fd, 0, 0, 0, NULL, 0))
                           : ENOSYS;
}
static int probe_standard_error(void)
{
    return TRY(write(STDERR_FILENO, "", 0));
}

static const struct probe {
    const char *name;
    int (*run)(void);
    bool forwarder, handshaker; /* is it allowed there? */
} probes[] = {
    {"open", probe_open, false, false},
    {"create", probe_create, false, false},
    {"socket", probe_socket, false, false},
    {"socketpair", probe_socketpair, false, false},
    {"connect", probe_connect, false, false},
    {"bind", probe_bind, false, false},
    {"execve", probe_execve, false, false},
    {"ptrace", probe_ptrace, false, false},
    {"kill", probe_kill, false, false},
    {"tgkill of another process", probe_tgkill_other, false, false},
    {"fork", probe_fork, false, false},
    {"thread", probe_thread, false, false},
    {"executable mmap", probe_executable_memory, false, false},
    {"executable mprotect", probe_make_executable, false, false},
    {"io_uring_setup", probe_ring, false, false},
    {"io_uring_register", probe_ring_register, false, false},
    {"setuid", probe_root, false, false},
    {"chmod", probe_chmod, false, false},
    {"unlink", probe_unlink, false, false},
    {"process_vm_readv", probe_memory_of_others, false, false},
    {"become dumpable", probe_dumpable, false, false},
    {"eventfd", probe_bell, true, true},
    {"memory", probe_memory, true, true},
    {"futex", probe_futex, true, true},
    {"clocks, random", probe_clocks, true, true},
    {"own signals", probe_signals, true, true},
    {"standard error", probe_standard_error, true, true},
    {"datagram", probe_datagram, true, false},
    {"io_uring_enter", probe_ring_enter, true, false},
};
#define PROBE_COUNT (sizeof(probes) / sizeof(probes[0]))

/* ---- running them ---- */

#define NOT_RUN 255

static struct settings settings_for_test(void)
{
    struct settings settings = {.sandbox = true};

    strcpy(settings.run_as, "nobody");
    return settings;
}

/* Without filters only harmless probes run. */
static bool run_all_probes;

/* Results of all probes, written by the child: [0] of the thread that entered the sandbox, [1] of
 * the older thread. */
static uint8_t (*results)[PROBE_COUNT];

static void run_probes(uint8_t *out)
{
    for (size_t i = 0; i < PROBE_COUNT; i++) {
        bool harmless = probes[i].run == probe_open || probes[i].run == probe_socket ||
                        probes[i].run == probe_root;

        if (run_all_probes || harmless)
            out[i] = (uint8_t)probes[i].run();
    }
}

static void *older_thread(void *argument)
{
    sigset_t all;

    sigfillset(&all); /* the workers of the forwarder block all signals, too */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_barrier_wait(&before.shut); /* this thread runs */
    pthread_barrier_wait(&before.shut); /* the child is in the sandbox */
    run_probes(results[1]);
    return NULL;
}

static void child_main(enum sandbox_role role, const struct settings *settings)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    char why[SANDBOX_WHY_BYTES];
    pthread_t thread;

    log_open("test", LOG_ERROR, false);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!sandbox_prepare(role, settings, why)) {
        fprintf(stderr, "prepare: %s\n", why);
        _exit(2);
    }
    before.bell = eventfd(0, EFD_NONBLOCK);
    before.udp = socket(AF_INET, SOCK_DGRAM, 0);
    before.has_ring = io_uring_queue_init(4, &before.ring, 0) == 0;
    pthread_barrier_init(&before.shut, NULL, 2);
    if (bind(before.udp, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        pthread_create(&thread, NULL, older_thread, NULL) != 0)
        _exit(3);
    pthread_barrier_wait(&before.shut);
    if (!sandbox_enter(role, settings, why)) {
        fprintf(stderr, "enter: %s\n", why);
        _exit(4);
    }
    pthread_barrier_wait(&before.shut);
    pthread_join(thread, NULL);
    run_probes(results[0]);
    _exit(0);
}

static int in_child(enum sandbox_role role, const struct settings *settings)
{
    pid_t child;
    int status;

    memset(results, NOT_RUN, 2 * sizeof(*results));
    run_all_probes = filters_wanted(settings);
    child = fork();
    if (child == 0)
        child_main(role, settings);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void check_role(enum sandbox_role role)
{
    struct settings settings = settings_for_test();

    assert_int_equal(in_child(role, &settings), 0);
    for (unsigned thread = 0; thread < 2; thread++) {
        for (size_t i = 0; i < PROBE_COUNT; i++) {
            bool possible = role == SANDBOX_FORWARDER ? probes[i].forwarder : probes[i].handshaker;
            int error = results[thread][i];

            if (possible ? error != 0 : error != EPERM)
                fail_msg("%s, %s thread, %s: %s, but it should be %s", role_names[role],
                         thread ? "older" : "this", probes[i].name,
                         error == NOT_RUN ? "not run" : strerror(error),
                         possible ? "allowed" : "refused");
        }
    }
}

static void test_sandbox_of_the_forwarder(void **state)
{
    check_role(SANDBOX_FORWARDER);
}

static void test_sandbox_of_the_handshaker(void **state)
{
    check_role(SANDBOX_HANDSHAKER);
}

/* Between the two steps system folders can be read, but nothing can be written or executed. */
static void test_after_prepare(void **state)
{
    struct settings settings = settings_for_test();
    char why[SANDBOX_WHY_BYTES], path[] = "/tmp/ringcast-sandbox-XXXXXX";
    int status, private = mkstemp(path);
    pid_t child = fork();

    if (child == 0) {
        int bad = !sandbox_prepare(SANDBOX_FORWARDER, &settings, why);

        bad |= (probe_open() != 0) << 1;
        bad |= (probe_create() != EACCES) << 2;
        bad |= (probe_execve() != EACCES) << 3;
        bad |= (TRY(open(path, O_RDONLY)) != EACCES) << 4;
        bad |= (prctl(PR_GET_DUMPABLE) != 0) << 5;
        bad |= (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) << 6;
        _exit(bad);
    }
    waitpid(child, &status, 0);
    close(private);
    unlink(path);
    assert_int_equal(status, 0);
}

/* With the setting off, and in every build with a sanitizer, the process still changes its user. */
static void test_setting_off_still_changes_the_user(void **state)
{
    struct settings settings = settings_for_test();

    settings.sandbox = false;
    assert_int_equal(in_child(SANDBOX_FORWARDER, &settings), 0);
    for (size_t i = 0; i < PROBE_COUNT; i++) {
        if (probes[i].run == probe_open || probes[i].run == probe_socket)
            assert_int_equal(results[0][i], 0);
        if (probes[i].run == probe_root)
            assert_int_equal(results[0][i], EPERM);
    }
}

static void test_wrong_user_is_refused(void **state)
{
    static const struct {
        const char *run_as, *says;
    } rows[] = {{"no-such-user", "no user of this machine"}, {"root", "root"}};

    for (size_t i = 0; i < 2; i++) {
        struct settings settings = settings_for_test();
        char why[SANDBOX_WHY_BYTES] = "";

        if (geteuid() != 0)
            return; /* a process that is not root cannot change its user and ignores run_as */
        strcpy(settings.run_as, rows[i].run_as);
        assert_false(sandbox_enter(SANDBOX_FORWARDER, &settings, why));
        assert_non_null(strstr(why, rows[i].says));
    }
}

/* sandbox_enter refuses a thread that still has capabilities: sandbox_prepare was forgotten. */
static void test_capabilities_refused(void **state)
{
    struct settings settings = settings_for_test();
    char why[SANDBOX_WHY_BYTES] = "";

    settings.run_as[0] = '\0';
    if (geteuid() == 0 && !BUILT_WITH_SANITIZER) {
        assert_false(sandbox_enter(SANDBOX_FORWARDER, &settings, why));
        assert_non_null(strstr(why, "still has capabilities"));
    }
    assert_int_equal(in_child(SANDBOX_FORWARDER, &settings),
                     0); /* with sandbox_prepare no capability is left */
}

int main(void)
{
    const struct CMUnitTest filters[] = {
        cmocka_unit_test(test_sandbox_of_the_forwarder),
        cmocka_unit_test(test_sandbox_of_the_handshaker),
        cmocka_unit_test(test_after_prepare),
    };
    const struct CMUnitTest users[] = {
        cmocka_unit_test(test_setting_off_still_changes_the_user),
        cmocka_unit_test(test_wrong_user_is_refused),
        cmocka_unit_test(test_capabilities_refused),
    };
    int failed = 0;

    results =
        mmap(NULL, 2 * sizeof(*results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!BUILT_WITH_SANITIZER)
        failed += cmocka_run_group_tests(filters, NULL, NULL);
    return failed + cmocka_run_group_tests(users, NULL, NULL);
}
