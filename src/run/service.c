/* One service: its start, its notifications, its death. */
#define _GNU_SOURCE
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/clock.h"
#include "src/log.h"

#define FIRST_STORED 3                /* SD_LISTEN_FDS_START */
#define SHORT_LIFE_NS (10 * NS_PER_S) /* after a longer life, deaths are counted from 0 */
#define BACK_OFF_MS_MIN 100
#define BACK_OFF_MS_MAX 5000

/* In the child: moves the stored descriptors to the numbers 3, 4, …; all others close on exec. */
static void move_stored(const struct service *service, char names[], size_t room)
{
    size_t used = 0;
    int moved[DESCRIPTORS_MAX];

    names[0] = '\0';
    for (size_t i = 0; i < service->store.count; i++) {
        /* first to numbers above these, so that no dup2 closes one of them */
        moved[i] = fcntl(service->store.list[i].fd, F_DUPFD_CLOEXEC,
                         FIRST_STORED + (int)service->store.count);
        used += (size_t)snprintf(names + used, room - used, "%s%s", i ? ":" : "",
                                 service->store.list[i].name);
    }
    for (size_t i = 0; i < service->store.count; i++)
        dup2(moved[i], FIRST_STORED + (int)i); /* the copy stays open on exec */
}

/* In the child: turns into the service. */
static void exec_service(const struct service *service, char **argv, const char *notify_name)
{
    static char names[DESCRIPTORS_MAX * (DESCRIPTOR_NAME_BYTES + 1)];
    char number[32];
    sigset_t none;

    sigemptyset(&none);
    signal(SIGHUP, SIG_IGN); /* no reload until it has read its settings and handles SIGHUP */
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* without ringcast-run nobody would supervise it */
    setpgid(0, 0); /* Ctrl-C reaches only ringcast-run, which stops the services in order */
    setenv("NOTIFY_SOCKET", notify_name, 1);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)SERVICE_WATCHDOG_US);
    setenv("WATCHDOG_USEC", number, 1);
    snprintf(number, sizeof(number), "%d", getpid());
    setenv("WATCHDOG_PID", number, 1);
    if (service->store.count) {
        move_stored(service, names, sizeof(names));
        setenv("LISTEN_PID", number, 1);
        snprintf(number, sizeof(number), "%zu", service->store.count);
        setenv("LISTEN_FDS", number, 1);
        setenv("LISTEN_FDNAMES", names, 1);
    }
    execv(service->path, argv);
    LOG(ERROR, "run", "cannot start a program; check the installation",
        F("program", "%s", service->path), F("why", "%s", strerror(errno)));
    _exit(127);
}

bool service_start(struct service *service, char **argv, const char *notify_name)
{
    char *arguments[256];
    size_t count = 0;

    arguments[count++] = service->path;
    for (size_t i = 1; argv[i] && count < 255; i++)
        arguments[count++] = argv[i];
    arguments[count] = NULL;
    service->pid = fork();
    if (service->pid == 0)
        exec_service(service, arguments, notify_name);
    if (service->pid < 0) {
        service->pid = 0;
        LOG(ERROR, "run", "cannot start a process", F("program", "%s", service->name),
            F("why", "%s", strerror(errno)));
        return false;
    }
    service->started_ns = clock_monotonic_ns();
    service->ready = service->killed_by_us = false;
    service->beat_ns = service->started_ns;
    service->beat_limit_ns = SERVICE_START_NS;
    return true;
}

/* A service that somebody else killed would not die again: its successor need not wait. */
static bool died_by_itself(const struct service *service, int wait_status)
{
    return service->killed_by_us || !WIFSIGNALED(wait_status) ||
           (WTERMSIG(wait_status) != SIGKILL && WTERMSIG(wait_status) != SIGTERM);
}

bool service_died(struct service *service, int wait_status, uint64_t now_ns)
{
    unsigned delay_ms = 0;

    if (now_ns - service->started_ns > SHORT_LIFE_NS)
        service->deaths = 0;
    if (died_by_itself(service, wait_status)) {
        if (service->deaths > 0) {
            delay_ms = BACK_OFF_MS_MIN << (service->deaths < 7 ? service->deaths - 1 : 6);
            if (delay_ms > BACK_OFF_MS_MAX)
                delay_ms = BACK_OFF_MS_MAX;
        }
        service->deaths++;
    }
    service->start_again_ns = now_ns + delay_ms * NS_PER_MS;
    if (WIFSIGNALED(wait_status))
        LOG(WARN, "run", "a process was killed; restarting it", F("program", "%s", service->name),
            F("pid", "%d", service->pid), F("signal", "%d", WTERMSIG(wait_status)),
            F("in_ms", "%u", delay_ms));
    else if (service->was_ready)
        LOG(WARN, "run", "a process exited; restarting it", F("program", "%s", service->name),
            F("pid", "%d", service->pid), F("exit_status", "%d", WEXITSTATUS(wait_status)),
            F("in_ms", "%u", delay_ms));
    else
        LOG(WARN, "run", "a process exited before it was ready", F("program", "%s", service->name),
            F("pid", "%d", service->pid), F("exit_status", "%d", WEXITSTATUS(wait_status)));
    service->pid = 0;
    service->ready = false;
    return service->was_ready || WIFSIGNALED(wait_status);
}

static void store_add(struct service *service, const char *name, size_t name_bytes, int fd)
{
    if (service->store.count == DESCRIPTORS_MAX || name_bytes >= DESCRIPTOR_NAME_BYTES) {
        LOG(WARN, "run", "cannot store a descriptor; a restart of this program will lose state",
            F("program", "%s", service->name));
        return;
    }
    descriptors_add(&service->store, fcntl(fd, F_DUPFD_CLOEXEC, 3), "%.*s", (int)name_bytes, name);
}

static void store_remove(struct service *service, const char *name, size_t name_bytes)
{
    struct descriptors *set = &service->store;

    for (size_t i = 0; i < set->count;) {
        if (strlen(set->list[i].name) == name_bytes &&
            memcmp(set->list[i].name, name, name_bytes) == 0) {
            close(set->list[i].fd);
            set->list[i] = set->list[--set->count];
        } else {
            i++;
        }
    }
}

static void service_beat(struct service *service, uint64_t now_ns)
{
    service->beat_ns = now_ns;
    service->beat_limit_ns = SERVICE_WATCHDOG_US * NS_PER_US;
}

bool service_hangs(const struct service *service, uint64_t now_ns)
{
    return service->pid && !service->killed_by_us && now_ns > service->beat_ns &&
           now_ns - service->beat_ns > service->beat_limit_ns;
}

void service_notified(struct service *service, const char *text, int fd, uint64_t now_ns)
{
    const char *name = "stored";
    size_t name_bytes = strlen(name);
    bool add = false, take = false;

    while (*text) {
        size_t n = strcspn(text, "\n");

        if (n == 7 && memcmp(text, "READY=1", 7) == 0) {
            service->ready = service->was_ready = true;
            service_beat(service, now_ns);
        } else if (n == 10 && memcmp(text, "WATCHDOG=1", 10) == 0) {
            service_beat(service, now_ns);
        } else if (n == 9 && memcmp(text, "FDSTORE=1", 9) == 0) {
            add = true;
        } else if (n == 15 && memcmp(text, "FDSTOREREMOVE=1", 15) == 0) {
            take = true;
        } else if (n > 7 && memcmp(text, "FDNAME=", 7) == 0) {
            name = text + 7;
            name_bytes = n - 7;
        }
        text += n + (text[n] == '\n');
    }
    if (take)
        store_remove(service, name, name_bytes);
    else if (add && fd >= 0)
        store_add(service, name, name_bytes, fd);
}
