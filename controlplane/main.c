/* The control plane's process: opens everything in order, runs the loop, closes it in reverse. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "controlplane/live/live.h"
#include "controlplane/people/auth.h"
#include "controlplane/people/data_directory_open.h"
#include "controlplane/people/databases.h"
#include "reload.h"
#include "controlplane/rooms/rooms.h"
#include "controlplane/web/socketio.h"
#include "src/clock.h"
#include "src/log.h"
#include "src/notify.h"
#include "src/version.h"

#define STOP_TIMEOUT_MS 10000
/* How often a drain looks whether all have gone; also what lets a last word leave before the end. */
#define DRAIN_LOOK_MS 50

extern char **environ;

struct control {
    struct settings settings;
    uv_loop_t loop;
    struct http_server *http;
    struct persistence *store;
    struct audit *audit;
    struct auth *auth;
    struct dataplane *dataplane;
    struct rooms *rooms;
    struct live *live;
    struct socketio *io;
    struct reload reload;
    uv_signal_t terminate, interrupt;
    uv_timer_t watchdog, stop_deadline;
    uint64_t started_ns;
    uv_timer_t drain;
    uint64_t drain_until_ms; /* loop time; 0: not draining */
    bool stopping;
};

/* ---- GET /health ---- */

static cJSON *part(const char *backend, const char *status)
{
    cJSON *object = cJSON_CreateObject();

    if (backend != NULL)
        cJSON_AddStringToObject(object, "backend", backend);
    cJSON_AddStringToObject(object, "status", status);
    return object;
}

static cJSON *audit_part(const struct audit_health *audit)
{
    cJSON *object = part(NULL, audit->status);

    cJSON_AddNumberToObject(object, "waitingBytes", (double)audit->spool_bytes);
    cJSON_AddNumberToObject(object, "waitingBytesMax", (double)audit->spool_bytes_max);
    cJSON_AddNumberToObject(object, "alarms", (double)audit->alarms);
    cJSON_AddNumberToObject(object, "rowsLost", (double)audit->rows_lost);
    cJSON_AddNumberToObject(object, "rowsInMemory", (double)audit->rows_in_memory);
    cJSON_AddNumberToObject(object, "linesDamaged", (double)audit->lines_damaged);
    cJSON_AddNumberToObject(object, "callsRefused", (double)audit->calls_refused);
    return object;
}

static void tell_audit(struct metrics *metrics, void *context)
{
    struct audit_health audit;

    audit_health(context, &audit);
    metrics_value(metrics, "audit_spool_bytes", "gauge", "audit rows that wait for the database",
                  (double)audit.spool_bytes);
    metrics_value(metrics, "audit_spool_bytes_max", "gauge", "the most that may wait",
                  (double)audit.spool_bytes_max);
    metrics_value(metrics, "audit_rows_in_memory", "gauge", "rows that the disk did not take",
                  (double)audit.rows_in_memory);
    metrics_value(metrics, "audit_rows_lost_total", "counter", "rows that nobody took",
                  (double)audit.rows_lost);
    metrics_value(metrics, "audit_calls_refused_total", "counter",
                  "calls refused because their rows could not be logged",
                  (double)audit.calls_refused);
    metrics_value(metrics, "audit_alarms_total", "counter",
                  "levels that the spool reached: 50, 80, 95, 100 percent", (double)audit.alarms);
}

static void tell_health(struct http_request *request)
{
    const struct control *control = http_context(request);
    const char *persistence = persistence_status(control->store);
    bool plane_up = dataplane_is_up(control->dataplane);
    bool draining = control->drain_until_ms != 0;
    struct audit_health audit;
    char state_why[SETTING_ERROR_BYTES];
    const char *state_status = live_status(control->live, state_why);
    bool ok;
    uint64_t uptime_s = (clock_monotonic_ns() - control->started_ns) / NS_PER_S;
    cJSON *body = cJSON_CreateObject(), *state = part(control->settings.state, state_status);
    cJSON *store = part(control->settings.persistence, persistence);

    audit_health(control->audit, &audit);
    ok = plane_up && strcmp(persistence, "ok") == 0 && strcmp(audit.status, "ok") == 0 &&
         strcmp(state_status, "ok") == 0 && !draining;
    cJSON_AddItemToObject(store, "audit", audit_part(&audit));
    if (state_why[0] != '\0')
        cJSON_AddStringToObject(state, "problem", state_why);
    cJSON_AddStringToObject(body, "status", ok ? "ok" : "degraded");
    cJSON_AddStringToObject(body, "version", ringcast_version);
    cJSON_AddNumberToObject(body, "uptimeSeconds", (double)uptime_s);
    if (draining)
        cJSON_AddBoolToObject(body, "draining", true);
    cJSON_AddItemToObject(body, "dataplane", part(NULL, plane_up ? "ok" : "down"));
    cJSON_AddItemToObject(body, "persistence", store);
    cJSON_AddItemToObject(body, "state", state);
    http_reply_json(request, ok ? 200 : 503, body);
}

/* ---- GET /metrics: the process ---- */

static void tell_process(struct metrics *metrics, void *context)
{
    const struct control *control = context;
    struct rusage used;
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file != NULL) {
        if (fscanf(file, "%*s %ld", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    getrusage(RUSAGE_SELF, &used);
    metrics_value(metrics, "controlplane_uptime_seconds", "gauge", "since the start",
                  (double)(clock_monotonic_ns() - control->started_ns) / NS_PER_S);
    metrics_value(metrics, "controlplane_resident_bytes", "gauge", "memory of this process",
                  (double)pages * (double)sysconf(_SC_PAGESIZE));
    metrics_value(metrics, "controlplane_cpu_seconds_total", "counter", "user and system time",
                  (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                      (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    metrics_value(metrics, "controlplane_draining", "gauge", "1 while it waits for sockets to go",
                  control->drain_until_ms != 0);
}

/* ---- privileges ---- */

/* Gives the data directory and what an earlier start left in it to the user we become. */
static bool hand_over_data(const struct settings *settings, const struct passwd *user, char *why)
{
    int fd = data_directory_open(settings, why);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat state;

    if (directory == NULL)
        return false;
    if (fchown(dirfd(directory), user->pw_uid, user->pw_gid) != 0) {
        snprintf(why, WHY_BYTES, "cannot give the data directory %.80s to %.32s: %s",
                 settings->data_directory, user->pw_name, strerror(errno));
        closedir(directory);
        return false;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (fstatat(fd, entry->d_name, &state, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(state.st_mode) && state.st_nlink == 1 && state.st_uid == 0 &&
            fchownat(fd, entry->d_name, user->pw_uid, user->pw_gid, AT_SYMLINK_NOFOLLOW) != 0)
            LOG(WARN, "main", "cannot hand over a file of the data directory",
                F("file", "%s", entry->d_name), F("why", "%s", strerror(errno)));
    }
    closedir(directory);
    return true;
}

/* May that user get there? Asked as the user, with everything it will have, and by the absolute path:
 * SQLite resolves names from the root down, so every directory on the way must let the user pass. */
static bool is_reachable(const struct settings *settings, const struct passwd *user)
{
    char *path = realpath(settings->data_directory, NULL);
    bool reachable = path && setegid(user->pw_gid) == 0 && seteuid(user->pw_uid) == 0 &&
                     faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0;

    free(path);
    return seteuid(0) == 0 && setegid(0) == 0 && reachable;
}

static bool drop_privileges(const struct settings *settings, char *why)
{
    const struct passwd *user;

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (geteuid() != 0 || settings->run_as[0] == '\0')
        return true;
    user = getpwnam(settings->run_as);
    if (user == NULL || user->pw_uid == 0) {
        snprintf(why, WHY_BYTES,
                 "run_as names %.40s, which is %s: name an unprivileged user that exists",
                 settings->run_as, user != NULL ? "root" : "no user of this machine");
        return false;
    }
    if (!hand_over_data(settings, user, why))
        return false;
    /* A try-out below /root: better than no start. Not for production. */
    if (!is_reachable(settings, user)) {
        snprintf(why, WHY_BYTES,
                 "user %.32s cannot reach the data directory %.60s: set RINGCAST_DATA to one like "
                 "/var/lib/ringcast",
                 settings->run_as, settings->data_directory);
        if (settings_in_production(settings))
            return false;
        LOG(WARN, "main", "staying root", F("why", "%s", why));
        return true;
    }
    if (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0 ||
        setuid(0) == 0) {
        snprintf(why, WHY_BYTES, "cannot become user %.40s: %s", settings->run_as, strerror(errno));
        return false;
    }
    return true;
}

/* ringcast-run (src/run) asks the kernel to end us with it; the kernel forgets that when a process
 * changes its user, so we ask again. A real service manager wants no such thing. */
static void stay_with_launcher(void)
{
    const char *manager = getenv("NOTIFY_SOCKET");

    if (manager != NULL && strncmp(manager, "@ringcast-run-", 14) == 0)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
}

/* One descriptor per connection: as many as we are allowed. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Large blocks go back to the system when they are freed. Left to itself glibc takes blocks as large as
 * the largest that was ever freed from its arenas, one per thread, and keeps them: with argon2id's
 * 19 MiB a few logins would cost 80 MiB for good. */
static void give_memory_back(void)
{
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}

/* ---- the end ---- */

static void handle_closed(uv_handle_t *handle)
{
}

static void stop_overdue(uv_timer_t *timer)
{
    LOG(WARN, "main", "not everything closed in time; leaving anyway",
        F("seconds", "%d", STOP_TIMEOUT_MS / 1000));
    exit(1);
}

static void store_closed(void *context)
{
    struct control *control = context;

    uv_close((uv_handle_t *)&control->stop_deadline, handle_closed);
}

/* People have heard that it is over; what served them goes, audit rows before their store. */
static void stop(struct control *control)
{
    control->stopping = true;
    LOG(INFO, "main", "stopping");
    uv_timer_start(&control->stop_deadline, stop_overdue, STOP_TIMEOUT_MS, 0);
    uv_unref((uv_handle_t *)&control->terminate);
    uv_unref((uv_handle_t *)&control->interrupt);
    uv_close((uv_handle_t *)&control->watchdog, handle_closed);
    reload_close(&control->reload);
    uv_close((uv_handle_t *)&control->drain, handle_closed);
    auth_close(control->auth);
    rooms_close(control->rooms);
    socketio_close(control->io);
    http_close(control->http);
    control->rooms = NULL;
    live_close(control->live);
    dataplane_close(control->dataplane);
    audit_close(control->audit);
    persistence_close(control->store, store_closed, control);
}

static void drain_due(uv_timer_t *timer)
{
    struct control *control = timer->data;
    const struct socketio_counters *counters = socketio_counters(control->io);

    if (counters->sessions_open == 0 || uv_now(&control->loop) >= control->drain_until_ms)
        stop(control);
    else
        notify_status("draining, %u sockets are left", (unsigned)counters->sockets_open);
}

/* Everybody is told; who is in a call may end it until the deadline. */
static void drain(struct control *control, uint32_t seconds)
{
    cJSON *value = cJSON_CreateObject();
    uint64_t wall_ms = clock_wall_ns() / NS_PER_MS;

    LOG(INFO, "main", "draining", F("seconds", "%u", seconds),
        F("sockets", "%u", (unsigned)socketio_counters(control->io)->sockets_open));
    notify_stopping();
    notify_extend_timeout((seconds * 1000ull + STOP_TIMEOUT_MS) * 1000);
    control->drain_until_ms = uv_now(&control->loop) + seconds * 1000ull;
    cJSON_AddNumberToObject(value, "deadline", (double)(wall_ms + seconds * 1000ull));
    http_drain(control->http);
    rooms_drain(control->rooms);
    socketio_drain(control->io, "server:draining", value);
    cJSON_Delete(value);
    uv_timer_start(&control->drain, drain_due, DRAIN_LOOK_MS, DRAIN_LOOK_MS);
}

/* SIGTERM drains, a second signal (or SIGINT, the operator at the keyboard) stops, one more ends. */
static void stop_asked(uv_signal_t *signal, int number)
{
    struct control *control = signal->data;

    if (control->stopping)
        exit(1);
    if (control->drain_until_ms == 0)
        drain(control, number == SIGTERM ? control->settings.drain_s : 0);
    else
        control->drain_until_ms = uv_now(&control->loop);
}

/* ---- the start ---- */

static void watchdog_due(uv_timer_t *timer)
{
    notify_watchdog();
}

static void start_timers(struct control *control)
{
    uint64_t every_ms = notify_watchdog_interval_us() / 2000;

    uv_timer_init(&control->loop, &control->watchdog);
    uv_timer_init(&control->loop, &control->stop_deadline);
    uv_timer_init(&control->loop, &control->drain);
    control->drain.data = control;
    if (every_ms > 0)
        uv_timer_start(&control->watchdog, watchdog_due, every_ms, every_ms);
    uv_signal_init(&control->loop, &control->terminate);
    uv_signal_init(&control->loop, &control->interrupt);
    control->terminate.data = control->interrupt.data = control;
    uv_signal_start(&control->terminate, stop_asked, SIGTERM);
    uv_signal_start(&control->interrupt, stop_asked, SIGINT);
    control->reload.http = control->http;
    control->reload.auth = control->auth;
    control->reload.audit = control->audit;
    reload_open(&control->reload, &control->loop);
}

/* The port is taken and certificates are read while we may still be root, files are made when we no
 * longer are. */
static bool open_all(struct control *control, char *why)
{
    const struct settings *settings = &control->settings;
    uv_loop_t *loop = &control->loop;
    char instance[UUID_TEXT_BYTES];

    control->http = http_open(loop, settings, why);
    if (control->http == NULL)
        return false;
    control->live = live_open(loop, settings, why);
    if (control->live == NULL || !drop_privileges(settings, why))
        return false;
    stay_with_launcher();
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
    api_open(control->http, control->auth, control->store, control->audit, settings,
             rooms_participant_count, control->rooms);
    http_route(control->http, "GET", "/health", tell_health, control);
    http_metrics_add(control->http, tell_process, control);
    http_metrics_add(control->http, rooms_write_metrics, control->rooms);
    http_metrics_add(control->http, tell_audit, control->audit);
    snprintf(why, WHY_BYTES, "out of memory");
    control->io = socketio_open(control->http, settings, &rooms_socket_handlers, control->rooms);
    return control->io != NULL;
}

static int answer_request(const struct settings *settings, enum settings_request request)
{
    switch (request) {
    case SETTINGS_HELP:
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

/* Somebody who points us at the environment of a NestJS backend should not wonder where the data is. */
static void tell_other_stores(const struct settings *settings)
{
    char names[200];

    if (strcmp(settings->persistence, "sqlite") == 0 &&
        settings_find_postgres_variables(environ, names, sizeof(names)))
        LOG(WARN, "main", "these are not used: set RINGCAST_PERSISTENCE=postgres to use them",
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
    signal(SIGHUP, SIG_IGN);  /* until we can reload: the settings were read just now */
    signal(SIGPIPE, SIG_IGN); /* a closed connection is an error of its write */
    umask(077);
    raise_descriptor_limit();
    give_memory_back();
    tell_other_stores(&control.settings);
    uv_loop_init(&control.loop);
    if (!open_all(&control, why)) {
        LOG(ERROR, "main", why);
        return 1;
    }
    start_timers(&control);
    LOG(INFO, "main", "serving", F("version", "%s", ringcast_version),
        F("port", "%u", control.settings.http_port),
        F("data", "%s", control.settings.data_directory));
    notify_ready();
    uv_run(&control.loop, UV_RUN_DEFAULT);
    LOG(INFO, "main", "stopped");
    return 0;
}
