/* ringcast-run: starts both planes and keeps them running. `make run` calls it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service.h"
#include "src/clock.h"
#include "src/data_directory.h"
#include "src/log.h"
#include "src/settings.h"
#include "src/version.h"

#define STOP_PATIENCE_NS (8 * NS_PER_S)
/* How often the loop checks for services to restart and for services that hang. It handles deaths
 * and notifications at once. */
#define CHECK_MS_MIN 50
#define CHECK_MS_MAX 500
#define ABSENCE_NS \
    (2 * NS_PER_S) /* a turn of the loop that took longer: this process was stopped */

enum { DATAPLANE, CONTROLPLANE, SERVICES };

struct run {
    struct settings settings;
    struct service services[SERVICES];
    int signals, notifications;
    char notify_name[64];
    bool announced, has_terminal;
};

static bool find_services(struct run *run)
{
    static const char *const names[SERVICES] = {"ringcast-dataplane", "ringcast-controlplane"};
    char own[400];
    ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
    char *slash;

    if (n < 0)
        return false;
    own[n] = '\0';
    slash = strrchr(own, '/');
    *slash = '\0';
    for (int i = 0; i < SERVICES; i++) {
        run->services[i].name = names[i];
        snprintf(run->services[i].path, sizeof(run->services[i].path), "%s/%s", own, names[i]);
    }
    return true;
}

/* --check: each program checks its own part of the settings. */
static int check_services(struct run *run, char **argv)
{
    int worst = 0;

    if (!find_services(run))
        return 1;
    for (int i = 0; i < SERVICES; i++) {
        int status = 1;
        pid_t pid;

        printf("%s\n", run->services[i].name);
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            argv[0] = run->services[i].path;
            execv(run->services[i].path, argv);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            worst = 1;
    }
    return worst;
}

static bool handle_request(struct run *run, int argc, char **argv, int *status)
{
    extern char **environ;
    enum settings_request request;
    char error[SETTING_ERROR_BYTES];

    *status = 0;
    if (!settings_load(&run->settings, argc, argv, environ, &request, error)) {
        fprintf(stderr, "ringcast-run: %s\n", error);
        *status = 2;
        return true;
    }
    switch (request) {
    case SETTINGS_RUN:
        return false;
    case SETTINGS_HELP:
        printf("ringcast-run starts the data plane and the control plane and keeps them running.\n"
               "Usage: ringcast-run [--config FILE] [--NAME VALUE] …\n\n");
        fflush(stdout);
        settings_print(&run->settings, SETTINGS_AS_HELP, STDOUT_FILENO);
        break;
    case SETTINGS_PRINT:
        settings_print(&run->settings, SETTINGS_AS_FILE, STDOUT_FILENO);
        break;
    case SETTINGS_VERSION:
        printf("ringcast-run %s\n", ringcast_version);
        break;
    case SETTINGS_CHECK:
        *status = check_services(run, argv);
        break;
    }
    return true;
}

/* Only one ringcast-run may use a data directory. The lock ends with the process. */
static bool lock_directory(const struct settings *settings)
{
    char why[DATA_DIRECTORY_WHY_BYTES];

    if (data_directory_make(settings->data_directory, settings->run_as, why) &&
        data_directory_lock(settings->data_directory, "run.lock", "another ringcast-run", 0, why) >=
            0)
        return true;
    fprintf(stderr, "ringcast-run: %s\n", why);
    return false;
}

static struct service *service_of(struct run *run, pid_t pid)
{
    for (int i = 0; i < SERVICES; i++)
        if (pid && run->services[i].pid == pid)
            return &run->services[i];
    return NULL;
}

static void read_notifications(struct run *run)
{
    char text[4096];
    pid_t pid;
    int fd;

    while ((pid = notification_read(run->notifications, text, sizeof(text), &fd)) > 0) {
        struct service *service = service_of(run, pid);

        if (service)
            service_notified(service, text, fd, clock_monotonic_ns());
        if (fd >= 0)
            close(fd);
    }
}

/* Reaps all processes that ended, orphans included. Before that it reads the last notifications of
 * a service, so that the successor gets every stored descriptor. False: a service cannot start
 * at all. */
static bool reap(struct run *run, bool stopping)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct service *service = service_of(run, pid);

        if (!service)
            continue;
        read_notifications(run);
        if (stopping) {
            service->pid = 0;
        } else if (!service_died(service, status, clock_monotonic_ns())) {
            LOG(ERROR, "run", "a process cannot start; its last log line says why",
                F("program", "%s", service->name));
            return false;
        }
    }
    return true;
}

/* Prints the URL once, when both services are ready. */
static void announce(struct run *run)
{
    const struct settings *s = &run->settings;

    if (run->announced || !run->services[DATAPLANE].ready || !run->services[CONTROLPLANE].ready)
        return;
    run->announced = true;
    printf("\n  Ringcast is running. Open  %s://localhost:%u/\n"
           "  Data: %s   Stop: Ctrl-C\n\n",
           s->tls_certificate_file[0] ? "https" : "http", s->http_port, s->data_directory);
    fflush(stdout);
}

/* We were stopped ourselves, or the whole machine was: the services could not reach us meanwhile, so
 * their silence proves nothing. */
static void forgive_silence(struct run *run, uint64_t now_ns)
{
    for (int i = 0; i < SERVICES; i++)
        run->services[i].beat_ns = now_ns;
}

/* Kills a service that stopped sending its watchdog message. It restarts like any other dead
 * service. */
static void check_watchdogs(struct run *run, uint64_t now_ns)
{
    for (int i = 0; i < SERVICES; i++) {
        struct service *service = &run->services[i];

        if (service_hangs(service, now_ns)) {
            LOG(ERROR, "run", "a process hangs; killing it", F("program", "%s", service->name),
                F("pid", "%d", service->pid));
            service->killed_by_us = true;
            kill(service->pid, SIGKILL);
        }
    }
}

static void stop_service(struct run *run, struct service *service)
{
    uint64_t drain_ns =
        service == &run->services[CONTROLPLANE] ? run->settings.drain_s * NS_PER_S : 0;
    uint64_t deadline_ns = clock_monotonic_ns() + drain_ns + STOP_PATIENCE_NS;
    struct pollfd wait[] = {{.fd = run->notifications, .events = POLLIN},
                            {.fd = run->signals, .events = POLLIN}};
    struct signalfd_siginfo got;

    if (service->pid)
        kill(service->pid, SIGTERM);
    while (service->pid && clock_monotonic_ns() < deadline_ns) {
        poll(wait, 2, 20);
        read_notifications(run);
        /* A second signal means: do not wait for the drain. */
        while (read(run->signals, &got, sizeof(got)) == sizeof(got))
            if (got.ssi_signo != SIGCHLD && service->pid)
                kill(service->pid, SIGTERM);
        reap(run, true);
    }
    if (service->pid) {
        LOG(WARN, "run", "a process does not stop; killing it", F("program", "%s", service->name));
        kill(service->pid, SIGKILL);
        waitpid(service->pid, NULL, 0);
        service->pid = 0;
    }
    descriptors_close(&service->store);
}

/* Processes whose parent died before them became our children (subreaper). Stops them too. */
static void stop_orphans(void)
{
    for (int round = 0; round < 200; round++) {
        char list[256] = "";
        FILE *children = fopen("/proc/thread-self/children", "r");
        char *rest = list;
        long pid;

        if (children) {
            if (!fgets(list, sizeof(list), children))
                list[0] = '\0';
            fclose(children);
        }
        if (!list[0])
            return;
        while ((pid = strtol(rest, &rest, 10)) > 0)
            if (round == 0 || round == 100)
                kill((pid_t)pid, round ? SIGKILL : SIGTERM);
        usleep(20000);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
    }
}

/* SIGHUP means reload, with one exception. When the terminal that started us closes, the kernel or
 * the shell sends SIGHUP, too. */
static bool is_reload(const struct run *run, const struct signalfd_siginfo *got)
{
    int terminal;

    if (got->ssi_signo != SIGHUP || got->ssi_code == SI_KERNEL)
        return false;
    if (!run->has_terminal)
        return true;
    terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (terminal >= 0)
        close(terminal);
    return terminal >= 0;
}

static void reload(const struct run *run)
{
    LOG(INFO, "run", "asked to reload; passing it on");
    for (int i = 0; i < SERVICES; i++)
        if (run->services[i].pid)
            kill(run->services[i].pid, SIGHUP);
}

static bool all_run(const struct run *run)
{
    for (int i = 0; i < SERVICES; i++)
        if (!run->services[i].pid)
            return false;
    return true;
}

/* Runs until a signal asks to stop, or a service cannot start. Returns the exit status. */
static int keep_running(struct run *run, char **argv)
{
    struct pollfd wait[] = {{.fd = run->signals, .events = POLLIN},
                            {.fd = run->notifications, .events = POLLIN}};

    for (;;) {
        uint64_t now_ns = clock_monotonic_ns();
        struct signalfd_siginfo got;

        for (int i = 0; i < SERVICES; i++)
            if (!run->services[i].pid && now_ns >= run->services[i].start_again_ns &&
                !service_start(&run->services[i], argv, run->notify_name))
                run->services[i].start_again_ns = now_ns + NS_PER_S;
        poll(wait, 2, all_run(run) ? CHECK_MS_MAX : CHECK_MS_MIN);
        read_notifications(run);
        if (clock_monotonic_ns() - now_ns > ABSENCE_NS)
            forgive_silence(run, clock_monotonic_ns());
        announce(run);
        while (read(run->signals, &got, sizeof(got)) == sizeof(got)) {
            if (got.ssi_signo == SIGTSTP)
                LOG(INFO, "run",
                    "Ctrl-Z is ignored: a stopped ringcast-run could not restart a process "
                    "that dies; stop Ringcast with Ctrl-C");
            else if (is_reload(run, &got))
                reload(run);
            else if (got.ssi_signo != SIGCHLD)
                return 0;
        }
        if (!reap(run, false))
            return 1;
        check_watchdogs(run, clock_monotonic_ns());
    }
}

int main(int argc, char **argv)
{
    static struct run run;
    sigset_t caught;
    int status, terminal;

    if (handle_request(&run, argc, argv, &status))
        return status;
    log_open("run", LOG_INFO, strcmp(run.settings.log_format, "json") == 0);
    if (!lock_directory(&run.settings) || !find_services(&run))
        return 1;
    sigemptyset(&caught);
    sigaddset(&caught, SIGCHLD);
    sigaddset(&caught, SIGTERM);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGHUP);
    sigaddset(&caught, SIGTSTP);
    sigprocmask(SIG_BLOCK, &caught, NULL);
    terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    run.has_terminal = terminal >= 0;
    if (terminal >= 0)
        close(terminal);
    run.signals = signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
    run.notifications = notifications_open(run.notify_name);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (run.signals < 0 || run.notifications < 0) {
        fprintf(stderr, "ringcast-run: cannot open a signalfd or a Unix socket: %s\n",
                strerror(errno));
        return 1;
    }
    status = keep_running(&run, argv);
    stop_service(&run, &run.services[CONTROLPLANE]);
    stop_service(&run, &run.services[DATAPLANE]);
    stop_orphans();
    LOG(INFO, "run", "stopped");
    return status;
}
