/* The control plane's process: opens its parts in order and runs the loop. stop.c ends it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "control.h"
#include "controlplane/live/live.h"
#include "controlplane/people/api.h"
#include "controlplane/people/auth.h"
#include "controlplane/people/data_directory_open.h"
#include "controlplane/people/databases.h"
#include "controlplane/rooms/rooms.h"
#include "controlplane/web/memory.h"
#include "health.h"
#include "privileges.h"
#include "sandbox.h"
#include "src/clock.h"
#include "src/limits.h"
#include "src/log.h"
#include "src/notify.h"
#include "src/version.h"
#include "stop.h"

extern char **environ;

#define WATCHED_FILES 131072 /* 1 MiB of libuv's table */

/* ---- the process ---- */

/* When ringcast-run (src/run) dies the kernel must end this process too. ringcast-run asks for
 * that, but the kernel forgets it when a process changes its user, so we ask again. Not under a
 * service manager. */
static void end_with_launcher(void)
{
    const char *manager = getenv("NOTIFY_SOCKET");

    if (manager != NULL && strncmp(manager, "@ringcast-run-", 14) == 0)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
}

/* Each connection needs a file descriptor. False: this process may not open even OPEN_FILES_MIN
 * files. */
static bool raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return true;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_max >= OPEN_FILES_MIN)
        return true;
    LOG(ERROR, "main",
        "too few files may be open: raise the limit (LimitNOFILE= in the unit, or ulimit -n)",
        F("limit", "%llu", (unsigned long long)limit.rlim_max), F("needed", "%d", OPEN_FILES_MIN));
    return false;
}

/* Makes free() return large blocks to the system. By default glibc raises its limit for "large" to
 * the largest block that was ever freed and then keeps such blocks in the arena of each thread.
 * argon2id needs 19 MiB, so a few logins would cost 80 MiB for ever. */
static void return_large_blocks(void)
{
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}

static void no_work(uv_work_t *work)
{
}

static void work_done(uv_work_t *work, int status)
{
}

/* libuv aborts the process when it has no memory for its table of descriptors or cannot start the threads of
 * its pool. So both are made now, not when a connection or a login needs them. */
static bool loop_prepare(uv_loop_t *loop)
{
    static uv_poll_t poll;
    static uv_work_t work;
    struct rlimit limit = {.rlim_cur = OPEN_FILES_MIN};
    int event, last;
    bool fine;

    if (uv_loop_init(loop) != 0)
        return false;
    getrlimit(RLIMIT_NOFILE, &limit);
    event = eventfd(0, EFD_CLOEXEC);
    last = fcntl(event, F_DUPFD_CLOEXEC,
                 limit.rlim_cur < WATCHED_FILES ? (int)limit.rlim_cur - 1 : WATCHED_FILES);
    if (event >= 0)
        close(event);
    fine = last >= 0 && uv_poll_init(loop, &poll, last) == 0 &&
           uv_queue_work(loop, &work, no_work, work_done) == 0;
    if (fine) {
        uv_poll_start(&poll, UV_READABLE, NULL);
        uv_poll_stop(&poll);
        uv_close((uv_handle_t *)&poll, NULL);
    }
    uv_run(loop, UV_RUN_NOWAIT);
    if (last >= 0)
        close(last);
    return fine;
}

/* ---- its parts ---- */

/* Ports are opened and certificates are read while the process may still be root. Files are made
 * after it has become the user. */
static bool open_all(struct control *control, char *why)
{
    const struct settings *settings = &control->settings;
    uv_loop_t *loop = &control->loop;
    char instance[UUID_TEXT_BYTES];

    control->http = http_open(loop, settings, why);
    if (control->http == NULL)
        return false;
    control->live = live_open(loop, settings, why);
    if (control->live == NULL || !privileges_drop(settings, why) || !sandbox_enter(settings, why))
        return false;
    end_with_launcher();
    control->store = persistence_open(loop, settings, databases, why);
    if (control->store == NULL)
        return false;
    control->audit = audit_open(loop, control->store, settings, why);
    if (control->audit == NULL)
        return false;
    control->auth = auth_open(loop, control->store, control->audit, settings, why);
    if (control->auth == NULL)
        return false;
    snprintf(why, WHY_BYTES, "out of memory");
    control->dataplane = dataplane_open(loop, settings, &rooms_dataplane_handlers, &control->rooms);
    if (control->dataplane == NULL)
        return false;
    control->rooms = rooms_open(loop, settings, control->dataplane, control->store, control->auth,
                                control->audit, why);
    if (control->rooms == NULL)
        return false;
    if (strcmp(settings->state, "redis") == 0 &&
        (!live_instance(settings, instance, why) || !live_start(control->live, instance, why)))
        return false;
    rooms_set_live(control->rooms, control->live);
    api_open(control->http, control->auth, control->store, control->audit, settings, &rooms_for_api,
             &control->rooms);
    health_open(control);
    http_metrics_add(control->http, rooms_write_metrics, control->rooms);
    snprintf(why, WHY_BYTES, "out of memory");
    control->io = socketio_open(control->http, settings, &rooms_socket_handlers, control->rooms);
    return control->io != NULL;
}

static void watchdog_due(uv_timer_t *timer)
{
    notify_watchdog();
}

static void start_watchdog(struct control *control)
{
    uint64_t every_ms = notify_watchdog_interval_us() / 2000;

    uv_timer_init(&control->loop, &control->watchdog);
    if (every_ms > 0)
        uv_timer_start(&control->watchdog, watchdog_due, every_ms, every_ms);
}

static void start_reload(struct control *control)
{
    control->reload.http = control->http;
    control->reload.auth = control->auth;
    control->reload.audit = control->audit;
    reload_open(&control->reload, &control->loop);
}

/* ---- the start ---- */

static int answer_request(const struct settings *settings, enum settings_request request)
{
    switch (request) {
    case SETTINGS_HELP:
        printf("ringcast-controlplane runs the rooms of Ringcast and serves its clients.\n\n");
        fflush(stdout);
        settings_print(settings, SETTINGS_AS_HELP, STDOUT_FILENO);
        break;
    case SETTINGS_PRINT:
        settings_print(settings, SETTINGS_AS_FILE, STDOUT_FILENO);
        break;
    case SETTINGS_VERSION:
        printf("ringcast-controlplane %s\n", ringcast_version);
        break;
    case SETTINGS_CHECK:
        return check_settings(settings);
    default:
        break;
    }
    return 0;
}

/* The environment of the NestJS backend that Ringcast replaces may name databases. Logs it when
 * they are not used. */
static void warn_of_other_stores(const struct settings *settings)
{
    char names[200];

    if (strcmp(settings->persistence, "sqlite") == 0 &&
        settings_find_postgres_variables(environ, names, sizeof(names)))
        LOG(WARN, "main",
            "these variables are not used: set RINGCAST_PERSISTENCE=postgres to use them",
            F("variables", "%s", names), F("persistence", "%s", settings->persistence));
}

int main(int argc, char **argv)
{
    static struct control control;
    enum settings_request request;
    char error[SETTING_ERROR_BYTES], why[WHY_BYTES];

    if (!settings_load(&control.settings, argc, argv, environ, &request, error)) {
        fprintf(stderr, "ringcast-controlplane: %s\n", error);
        return 2;
    }
    if (request != SETTINGS_RUN)
        return answer_request(&control.settings, request);
    control.reload = (struct reload){.settings = &control.settings, .argc = argc, .argv = argv};
    reload_log(&control.settings);
    control.started_ns = clock_monotonic_ns();
    signal(SIGHUP, SIG_IGN);  /* until reload_open: the settings were read just now */
    signal(SIGPIPE, SIG_IGN); /* write() to a closed connection returns an error instead */
    umask(077);
    if (!raise_descriptor_limit())
        return 2;
    return_large_blocks();
    warn_of_other_stores(&control.settings);
    memory_open();
    if (!loop_prepare(&control.loop)) {
        LOG(ERROR, "main",
            "cannot start the event loop: give this process more memory or descriptors");
        return 1;
    }
    if (!open_all(&control, why)) {
        LOG(ERROR, "main", why);
        return 1;
    }
    start_watchdog(&control);
    stop_open(&control);
    start_reload(&control);
    LOG(INFO, "main", "serving", F("version", "%s", ringcast_version),
        F("port", "%u", control.settings.http_port),
        F("data", "%s", control.settings.data_directory));
    notify_ready();
    uv_run(&control.loop, UV_RUN_DEFAULT);
    LOG(INFO, "main", "stopped");
    return 0;
}
