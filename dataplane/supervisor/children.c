/* Starts forwarder and handshaker, and replaces one that dies or hangs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/log.h"
#include "src/notify.h"
#include "supervisor.h"

/* Time between two checks of the children; less when a heartbeat would be late sooner. */
#define TICK_MS 100
#define TICK_NEW_MS 25  /* while a child has not written a heartbeat yet */
#define TICK_BUSY_MS 10 /* while a child is suspect or waits to be started */
#define START_LIMIT_NS (30 * NS_PER_S)
#define ADOPTED_LIMIT_NS (1 * NS_PER_S) /* an adopted child may still be starting */
#define STOP_LIMIT_MS 5000
#define DEATHS_FORGIVEN_NS (10 * NS_PER_S)
#define RETRY_FIRST_NS (100 * NS_PER_MS)
#define RETRY_LAST_NS (5 * NS_PER_S)
#define CAUSE_TRIES 10
#define CAUSE_RETRY_US 2000

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* As in linux/pidfd.h of Linux 6.13 and newer; the exit code since 6.15. */
struct pidfd_info_request {
    uint64_t mask, cgroup_id;
    uint32_t pid, tgid, ppid, ids[8];
    int32_t exit_code;
};
_Static_assert(sizeof(struct pidfd_info_request) == 64,
               "the size is part of the number of the request");
#define PIDFD_GET_INFO_REQUEST _IOWR(0xFF, 11, struct pidfd_info_request)
#define PIDFD_INFO_EXIT_MASK (1ull << 3)

/* ---- starting ---- */

/* Variables that a child must not have: only the supervisor talks to the service manager.
 * (settings_forget_secrets removes the secrets of the control plane.) */
static const char *const withheld[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                       "LISTEN_PID",    "LISTEN_FDS",    "LISTEN_FDNAMES"};

static void child_exec(const struct supervisor *s, enum child_role role, int socket)
    __attribute__((noreturn));

/* Writes the settings that are in force to a file in memory, at descriptor CHILD_SETTINGS. */
static bool settings_hand_over(const struct settings *settings)
{
    int fd = memfd_create("ringcast-settings", MFD_CLOEXEC);

    if (fd < 0)
        return false;
    settings_print(settings, SETTINGS_AS_FILE, fd);
    if (fd == CHILD_SETTINGS)
        return fcntl(fd, F_SETFD, 0) == 0;
    return dup2(fd, CHILD_SETTINGS) == CHILD_SETTINGS;
}

/* A session of its own: Ctrl-C in a terminal must reach only the process that started us, which
 * passes it on. Without a service manager no later supervisor could adopt this child, so it ends
 * with us. */
static void child_exec(const struct supervisor *s, enum child_role role, int socket)
{
    char role_option[32], config_option[40];
    char *arguments[] = {s->argv[0], role_option, config_option, NULL};
    sigset_t none;

    setsid();
    if (!notify_wanted())
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (size_t i = 0; i < sizeof(withheld) / sizeof(withheld[0]); i++)
        unsetenv(withheld[i]);
    settings_unset_secrets();
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (socket == CHILD_DESCRIPTOR_SOCKET)
        fcntl(socket, F_SETFD, 0);
    else
        dup2(socket, CHILD_DESCRIPTOR_SOCKET);
    if (!settings_hand_over(s->settings)) {
        LOG(ERROR, "child", "cannot hand over the settings", F("error", "%s", strerror(errno)));
        _exit(127);
    }
    close_range(CHILD_SETTINGS + 1, ~0u, 0);

    snprintf(role_option, sizeof(role_option), "--role=%s", child_names[role]);
    snprintf(config_option, sizeof(config_option), "--config=/proc/self/fd/%d", CHILD_SETTINGS);
    execv("/proc/self/exe", arguments);
    LOG(ERROR, "child", "cannot execute our own program", F("error", "%s", strerror(errno)));
    _exit(127);
}

/* Stores the pidfd before it hands over descriptors. If we die in between, the child sees that its
 * socket is closed and ends: so no child works that a later supervisor does not know. */
static bool child_introduce(const struct supervisor *s, struct child *child, int socket)
{
    struct descriptors set;

    notify_store_remove("child.%s", child_names[child->role]);
    if (notify_store(child->pidfd, "child.%s", child_names[child->role]) != 0)
        return false;
    resources_for_child(&s->resources, child->role, &set);
    return descriptors_send(socket, &set) == 0;
}

static void child_failed(struct child *child, uint64_t now_ns)
{
    uint64_t wait_ns = RETRY_FIRST_NS;

    child->deaths++;
    for (uint32_t i = 2; i < child->deaths && wait_ns < RETRY_LAST_NS; i++)
        wait_ns *= 2;
    if (wait_ns > RETRY_LAST_NS)
        wait_ns = RETRY_LAST_NS;
    child->start_again_ns = child->deaths == 1 ? now_ns : now_ns + wait_ns;
}

static void child_start(struct supervisor *s, struct child *child, uint64_t now_ns)
{
    int pair[2], error;

    child->adopted = child->beating = child->killed_by_us = false;
    child->health.suspect_ns = 0;
    child->start_ns = child->judge_ns = now_ns;
    child->pid = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0) {
        child->pid = fork();
        if (child->pid == 0)
            child_exec(s, child->role, pair[1]);
        error = errno;
        close(pair[1]);
        errno = error;
    }
    if (child->pid < 0) {
        LOG(ERROR, "child", "cannot start a process; will retry",
            F("role", "%s", child_names[child->role]), F("error", "%s", strerror(errno)));
        child_failed(child, now_ns);
        return;
    }
    child->pidfd = pidfd_open(child->pid, 0); /* the pid is not reused before we wait for it */
    if (child->pidfd < 0 || !child_introduce(s, child, pair[0])) {
        /* It would end by itself. The kill makes sure that it does not run unwatched. */
        LOG(ERROR, "child", "cannot send a process its descriptors; killing it",
            F("role", "%s", child_names[child->role]), F("error", "%s", strerror(errno)));
        child->killed_by_us = true;
        kill(child->pid, SIGKILL);
    } else {
        LOG(INFO, "child", "started", F("role", "%s", child_names[child->role]),
            F("pid", "%d", child->pid));
    }
    close(pair[0]);
    if (child->pidfd < 0) {
        waitpid(child->pid, NULL, 0);
        child_failed(child, now_ns);
    }
}

/* ---- taking over ---- */

static pid_t pidfd_pid(int pidfd)
{
    char path[48], text[512];
    const char *line;
    ssize_t bytes;
    int fd;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    bytes = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (bytes <= 0)
        return -1;
    text[bytes] = '\0';
    line = strstr(text, "\nPid:");
    return line ? atoi(line + 5) : -1;
}

void children_open(struct supervisor *s, const int pidfds[CHILD_COUNT])
{
    uint64_t now_ns = clock_monotonic_ns();

    for (unsigned c = 0; c < CHILD_COUNT; c++) {
        struct child *child = &s->children[c];

        *child = (struct child){.role = c, .pidfd = pidfds[c], .start_again_ns = now_ns};
        child->header =
            c == CHILD_forwarder ? s->resources.actual.header : s->resources.keys.header;
        if (child->pidfd < 0)
            continue;
        child->adopted = true;
        child->start_ns = child->judge_ns = now_ns;
        child->pid = pidfd_pid(child->pidfd);
        if (child->pid < 0) /* it is dead, as poll will show; its region has its pid for the log */
            child->pid = (pid_t)atomic_load(&child->header->writer_pid);
        LOG(INFO, "child", "adopted", F("role", "%s", child_names[c]), F("pid", "%d", child->pid));
    }
}

/* ---- death ---- */

static void cause_text(int status, char *text, size_t bytes)
{
    if (status < 0) {
        snprintf(text, bytes, "unknown (an earlier supervisor started it)");
    } else if (WIFSIGNALED(status)) {
        int number = WTERMSIG(status);
        const char *name = sigabbrev_np(number);

        snprintf(text, bytes, "signal %d (%s)", number, name ? name : "?");
    } else {
        snprintf(text, bytes, "exit status %d", WEXITSTATUS(status));
    }
}

/* waitid knows the status of our own children. An adopted child is reaped by another process; after
 * that, new kernels tell its exit code. */
int pidfd_status(int pidfd)
{
    struct pidfd_info_request info;
    siginfo_t ended = {0};

    if (waitid(P_PIDFD, (id_t)pidfd, &ended, WEXITED | WNOHANG) == 0 && ended.si_pid != 0)
        return ended.si_code == CLD_EXITED ? (ended.si_status & 0xff) << 8 : ended.si_status;
    for (unsigned i = 0; i < CAUSE_TRIES; i++) {
        memset(&info, 0, sizeof(info));
        info.mask = PIDFD_INFO_EXIT_MASK;
        if (ioctl(pidfd, PIDFD_GET_INFO_REQUEST, &info) == 0 && info.mask & PIDFD_INFO_EXIT_MASK)
            return info.exit_code;
        usleep(CAUSE_RETRY_US);
    }
    return -1;
}

/* A process that somebody else killed or asked to end would not die again: its successor need not
 * wait. One that crashed, ended with an error or hung may well do the same again. */
static bool died_by_itself(const struct child *child, int status)
{
    if (child->killed_by_us)
        return true;
    if (status < 0)
        return false;
    return WIFSIGNALED(status) ? WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGTERM
                               : WEXITSTATUS(status) != 0;
}

void child_died(struct supervisor *s, struct child *child, uint64_t now_ns)
{
    uint64_t lived_ns = now_ns - child->start_ns, wait_ns;
    int status = pidfd_status(child->pidfd);
    char cause[48];

    cause_text(status, cause, sizeof(cause));
    close(child->pidfd);
    child->pidfd = -1;
    if (s->stopping) {
        LOG(INFO, "child", "ended", F("role", "%s", child_names[child->role]),
            F("pid", "%d", child->pid), F("cause", "%s", cause));
        return;
    }
    if (lived_ns > DEATHS_FORGIVEN_NS)
        child->deaths = 0;
    if (died_by_itself(child, status))
        child_failed(child, now_ns);
    else
        child->start_again_ns = now_ns;
    wait_ns = child->start_again_ns - now_ns;
    LOG(WARN, "child", "a process died and will be replaced",
        F("role", "%s", child_names[child->role]), F("pid", "%d", child->pid),
        F("cause", "%s", cause), F("lived_ms", "%" PRIu64, (uint64_t)(lived_ns / NS_PER_MS)),
        F("deaths", "%u", child->deaths),
        F("again_ms", "%" PRIu64, (uint64_t)(wait_ns / NS_PER_MS)));
}

/* ---- log level ---- */

/* The level is the value of a SIGHUP. Through the pidfd it reaches children of an earlier
 * supervisor, too. */
static void child_send_log_level(const struct supervisor *s, const struct child *child)
{
    siginfo_t info = {.si_signo = SIGHUP, .si_code = SI_QUEUE};

    if (child->pidfd < 0)
        return;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = process_log_level(s->settings);
    if (pidfd_send_signal(child->pidfd, SIGHUP, &info, 0) != 0)
        LOG(WARN, "reload", "cannot send the new log level to a process",
            F("role", "%s", child_names[child->role]), F("error", "%s", strerror(errno)));
}

void children_send_log_level(const struct supervisor *s)
{
    for (unsigned c = 0; c < CHILD_COUNT; c++)
        child_send_log_level(s, &s->children[c]);
}

/* ---- heartbeat ---- */

/* The last heartbeat. Until there is one: the latest time at which the first one is due. */
static uint64_t child_heartbeat(const struct supervisor *s, struct child *child)
{
    uint64_t beat_ns = region_heartbeat(child->header);
    uint64_t limit_ns = child->adopted ? ADOPTED_LIMIT_NS : START_LIMIT_NS;

    /* A heartbeat before judge_ns is of an earlier process. */
    if (beat_ns > child->judge_ns && !child->beating) {
        child->beating = true;
        child_send_log_level(s, child); /* there may have been a reload while it started */
    }
    return child->beating ? beat_ns : child->judge_ns + limit_ns;
}

static void child_judge(const struct supervisor *s, struct child *child, uint64_t now_ns)
{
    uint64_t beat_ns = child_heartbeat(s, child);
    struct process_sample sample;
    const char *why = NULL;
    bool late = health_wants_sample(now_ns, beat_ns);

    if (late)
        process_sample_read(&sample, child->pid, now_ns);
    if (health_step(&child->health, now_ns, beat_ns, late ? &sample : NULL, &why) != HEALTH_HUNG)
        return;
    LOG(WARN, "child", "a process hangs; it is killed and will be replaced",
        F("role", "%s", child_names[child->role]), F("pid", "%d", child->pid),
        F("late_ms", "%" PRIu64, (uint64_t)((now_ns - beat_ns) / NS_PER_MS)), F("why", "%s", why));
    child->killed_by_us = true;
    pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
    child->health.suspect_ns = 0;
    child->judge_ns = now_ns; /* so it is not judged again while it dies */
    child->beating = false;
}

void children_tick(struct supervisor *s, uint64_t now_ns)
{
    for (unsigned c = 0; c < CHILD_COUNT; c++) {
        struct child *child = &s->children[c];

        if (child->pidfd >= 0)
            child_judge(s, child, now_ns);
        else if (now_ns >= child->start_again_ns)
            child_start(s, child, now_ns);
    }
}

bool children_beat(const struct supervisor *s)
{
    return s->children[CHILD_forwarder].beating && s->children[CHILD_handshaker].beating;
}

int children_timeout_ms(const struct supervisor *s, uint64_t now_ns)
{
    uint64_t left_ns = TICK_MS * NS_PER_MS;

    for (unsigned c = 0; c < CHILD_COUNT; c++) {
        const struct child *child = &s->children[c];
        uint64_t late_ns = region_heartbeat(child->header) + HEALTH_LATE_NS;

        if (child->pidfd < 0 || child->health.suspect_ns != 0)
            return TICK_BUSY_MS;
        if (!child->beating && left_ns > TICK_NEW_MS * NS_PER_MS)
            left_ns = TICK_NEW_MS * NS_PER_MS;
        else if (child->beating && late_ns < now_ns + left_ns)
            left_ns = late_ns > now_ns ? late_ns - now_ns : 0;
    }
    return (int)(left_ns / NS_PER_MS) + 1;
}

/* ---- stopping ---- */

void children_stop(struct supervisor *s)
{
    uint64_t began_ns = clock_monotonic_ns(), now_ns;
    bool killed = false;

    s->stopping = true;
    for (unsigned c = 0; c < CHILD_COUNT; c++)
        if (s->children[c].pidfd >= 0)
            pidfd_send_signal(s->children[c].pidfd, SIGTERM, NULL, 0);
    for (;;) {
        struct pollfd wanted[CHILD_COUNT];
        unsigned running = 0;

        for (unsigned c = 0; c < CHILD_COUNT; c++) {
            wanted[c] = (struct pollfd){.fd = s->children[c].pidfd, .events = POLLIN};
            running += wanted[c].fd >= 0;
        }
        if (running == 0)
            return;
        poll(wanted, CHILD_COUNT, TICK_NEW_MS);
        now_ns = clock_monotonic_ns();
        for (unsigned c = 0; c < CHILD_COUNT; c++) {
            if (wanted[c].revents)
                child_died(s, &s->children[c], now_ns);
            else if (wanted[c].fd >= 0 && !killed && now_ns - began_ns > STOP_LIMIT_MS * NS_PER_MS)
                pidfd_send_signal(wanted[c].fd, SIGKILL, NULL, 0);
        }
        killed = now_ns - began_ns > STOP_LIMIT_MS * NS_PER_MS;
    }
}
