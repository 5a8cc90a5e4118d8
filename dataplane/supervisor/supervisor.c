/* The supervisor process: one poll loop over signals, children and clients. */
#define _GNU_SOURCE
#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "src/log.h"
#include "src/notify.h"

/* Exit status: a restart would fail until somebody changes something. */
#define CONFIGURATION_STATUS 2

extern char **environ;

static int signals_open(void)
{
    sigset_t wanted;

    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGHUP);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Children inherit the limits: io_uring needs locked memory. False: so few files may be open that
 * a child could never get its descriptors. */
static bool limits_raise(char *why)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_max < OPEN_FILES_MIN) {
            snprintf(why, SUPERVISOR_WHY_BYTES,
                     "at most %llu files may be open, %d are needed: raise the limit "
                     "(LimitNOFILE= in the unit, or ulimit -n)",
                     (unsigned long long)limit.rlim_max, OPEN_FILES_MIN);
            return false;
        }
    }
    limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 && getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max; /* without the right to exceed it: the hard limit */
        setrlimit(RLIMIT_MEMLOCK, &limit);
    }
    return true;
}

/* SIGHUP: reads all settings as at the start. If they are valid, those that are live take effect
 * here and in the children; otherwise nothing changes. */
static void reload(struct supervisor *s)
{
    static struct settings_changes changes; /* too big for a stack */
    enum settings_request request;
    char error[SETTING_ERROR_BYTES];
    static struct settings fresh;

    notify_reloading();
    if (!settings_load(&fresh, s->argc, s->argv, environ, &request, error)) {
        LOG(ERROR, "reload", "the new settings are refused; the old ones stay in force",
            F("why", "%s", error));
    } else {
        settings_compare(s->settings, &fresh, "DP", &changes);
        settings_apply_live(s->settings, &fresh);
        process_log("supervisor", s->settings);
        children_send_log_level(s);
        if (changes.restart[0])
            LOG(WARN, "reload", "these settings were changed, but need a restart",
                F("settings", "%s", changes.restart));
        LOG(INFO, "reload", "settings read again",
            F("changed", "%s", changes.live[0] ? changes.live : "nothing"));
    }
    notify_ready();
}

/* True: the process must end. */
static bool signals_read(struct supervisor *s, int fd)
{
    struct signalfd_siginfo info;

    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGHUP) {
            LOG(INFO, "stop", "asked to stop", F("signal", "%u", info.ssi_signo),
                F("by_pid", "%u", info.ssi_pid));
            return true;
        }
        reload(s);
    }
    return false;
}

/* ---- the loop ---- */

enum { POLL_SIGNALS, POLL_LISTENER, POLL_CHILDREN, POLL_CLIENTS = POLL_CHILDREN + CHILD_COUNT };
#define POLL_MAX (POLL_CLIENTS + CONTROL_CLIENTS_MAX)

static nfds_t poll_list(const struct supervisor *s, int signals, struct pollfd *list)
{
    list[POLL_SIGNALS].fd = signals;
    list[POLL_LISTENER].fd = s->control.listener;
    for (unsigned c = 0; c < CHILD_COUNT; c++)
        list[POLL_CHILDREN + c].fd = s->children[c].pidfd; /* poll ignores -1 */
    for (int i = 0; i < s->control.client_count; i++)
        list[POLL_CLIENTS + i].fd = s->control.clients[i].fd;
    for (int i = 0; i < POLL_CLIENTS + s->control.client_count; i++) {
        list[i].events = POLLIN;
        list[i].revents = 0;
    }
    return (nfds_t)(POLL_CLIENTS + s->control.client_count);
}

static void handle_events(struct supervisor *s, const struct pollfd *list, uint64_t now_ns)
{
    for (unsigned c = 0; c < CHILD_COUNT; c++)
        if (list[POLL_CHILDREN + c].revents)
            child_died(s, &s->children[c], now_ns);
    for (int g = s->control.client_count;
         g-- > 0;) /* the last client takes the place of one that is removed */
        if (list[POLL_CLIENTS + g].revents)
            control_client_serve(s, g);
    if (list[POLL_LISTENER].revents)
        control_client_accept(s, now_ns);
    control_clients_tick(&s->control, now_ns);
    children_tick(s, now_ns);
}

static void supervise(struct supervisor *s, int signals)
{
    uint64_t watchdog_ns = notify_watchdog_interval_us() * NS_PER_US / 2, next_watchdog_ns = 0;
    bool ready = false;

    for (;;) {
        uint64_t now_ns = clock_monotonic_ns();
        struct pollfd list[POLL_MAX];
        nfds_t count = poll_list(s, signals, list);

        poll(list, count, children_timeout_ms(s, now_ns));
        now_ns = clock_monotonic_ns();
        if (list[POLL_SIGNALS].revents && signals_read(s, signals))
            return;
        handle_events(s, list, now_ns);
        if (!ready && children_beat(s)) {
            ready = true;
            notify_ready();
            notify_status("%u workers", s->resources.worker_count);
            LOG(INFO, "start", "ready", F("workers", "%u", s->resources.worker_count));
        }
        if (watchdog_ns > 0 && now_ns >= next_watchdog_ns) {
            notify_watchdog();
            next_watchdog_ns = now_ns + watchdog_ns;
        }
    }
}

/* Takes the lock, the resources and the control socket. After a failure no other process can use
 * any of them. */
static bool open_all(struct supervisor *s, int *signals, int pidfds[CHILD_COUNT], char *why)
{
    *signals = signals_open();
    if (*signals < 0) {
        snprintf(why, SUPERVISOR_WHY_BYTES, "cannot receive signals: %s", strerror(errno));
        return false;
    }
    return limits_raise(why) && control_socket_lock(&s->control, s->settings, why) &&
           resources_open(&s->resources, s->settings, s->backends, pidfds, why) &&
           control_socket_open(&s->control, why);
}

int supervisor_main(struct settings *settings, const struct io_backends *backends, int argc,
                    char **argv)
{
    static struct supervisor supervisor; /* too big for a stack */
    struct supervisor *s = &supervisor;
    int pidfds[CHILD_COUNT] = {-1, -1}, signals;
    char why[SUPERVISOR_WHY_BYTES];

    *s =
        (struct supervisor){.settings = settings, .backends = backends, .argc = argc, .argv = argv};
    s->control.listener = s->control.lock = -1;
    if (!open_all(s, &signals, pidfds, why)) {
        LOG(ERROR, "start", "the data plane cannot start", F("why", "%s", why));
        control_socket_close(&s->control);
        return CONFIGURATION_STATUS;
    }
    children_open(s, pidfds);
    supervise(s, signals);
    notify_stopping();
    for (unsigned c = 0; c < CHILD_COUNT; c++)
        notify_store_remove("child.%s", child_names[c]);
    children_stop(s);
    resources_close(&s->resources);
    control_socket_close(&s->control);
    close(signals);
    LOG(INFO, "stop", "stopped cleanly");
    return 0;
}
