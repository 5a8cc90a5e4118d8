/* The control plane's sandbox: what an intruder would want fails, in old and new threads; what the
 * server needs still works. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "controlplane/sandbox.c"

static bool refused_now(long result)
{
    return result == -1 && errno == EPERM;
}

static pid_t fork_and_end(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return pid;
}

/* 0: all is refused; else the number of what was not. */
static int attack(void)
{
    static char *const words[] = {(char *)"true", NULL};
    static char *const nothing[] = {NULL};
    pid_t parent = getppid();

    if (!refused_now(fork_and_end()))
        return 2;
    if (!refused_now(kill(parent, 0)))
        return 3;
    if (!refused_now(ptrace(PTRACE_TRACEME, 0, NULL, NULL)))
        return 4;
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
            MAP_FAILED ||
        errno != EPERM)
        return 5;
    if (!refused_now(syscall(SYS_unshare, CLONE_NEWUSER)))
        return 6;
    if (!refused_now(syscall(SYS_io_uring_setup, 1, NULL)))
        return 7;
    if (!refused_now(syscall(SYS_bpf, 0, NULL, 0)))
        return 8;
    if (!refused_now(syscall(SYS_setuid, 0)))
        return 9;
    if (!refused_now(syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0)))
        return 10;
    return refused_now(execve("/bin/true", words, nothing)) ? 0 : 1; /* success does not return */
}

static void *attack_in_thread(void *result)
{
    *(int *)result = attack();
    return NULL;
}

static int gate[2];

static void *attack_after_the_gate(void *result)
{
    char byte;

    if (read(gate[0], &byte, 1) == 1)
        *(int *)result = attack();
    return NULL;
}

/* What a server does all day. */
static int serve(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    char name[] = "/tmp/ringcast-sandbox-XXXXXX";
    struct addrinfo *found = NULL;
    int fd = mkstemp(name);

    if (fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) != 0 || unlink(name) != 0)
        return 21;
    if (bind(listener, (struct sockaddr *)&address, bytes) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &bytes) != 0 ||
        connect(client, (struct sockaddr *)&address, bytes) != 0)
        return 22;
    if (getaddrinfo("localhost", "80", NULL, &found) != 0) /* loads libraries */
        return 23;
    freeaddrinfo(found);
    return kill(getpid(), 0) == 0 ? 0 : 24;
}

static int life(void)
{
    struct settings settings = {.sandbox = true};
    pthread_t early, late;
    int early_result = 31, late_result = 32, result;
    char why[WHY_BYTES];

    if (pipe(gate) != 0 || pthread_create(&early, NULL, attack_after_the_gate, &early_result) != 0)
        return 33;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!sandbox_enter(&settings, why))
        return 34;
    if (write(gate[1], "x", 1) != 1 || pthread_join(early, NULL) != 0 || early_result != 0)
        return early_result;
    if (pthread_create(&late, NULL, attack_in_thread, &late_result) != 0 ||
        pthread_join(late, NULL) != 0 || late_result != 0)
        return late_result;
    result = attack();
    return result ? result : serve();
}

static int in_child(int (*what)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(what());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void what_intruders_want_fails_and_serving_works(void **state)
{
    assert_int_equal(in_child(serve), 0);
    assert_int_not_equal(in_child(attack), 0); /* without the sandbox */
    if (!BUILT_WITH_SANITIZER)
        assert_int_equal(in_child(life), 0);
}

static int without(void)
{
    struct settings settings = {.sandbox = false};
    char why[WHY_BYTES];

    return sandbox_enter(&settings, why) && kill(getppid(), 0) == 0 ? 0 : 1;
}

static void it_can_be_switched_off(void **state)
{
    assert_int_equal(in_child(without), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_intruders_want_fails_and_serving_works),
        cmocka_unit_test(it_can_be_switched_off),
    };

    log_open("test", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
