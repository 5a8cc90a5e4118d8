/* --check: what can be found out about settings without starting anything or leaving anything. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "limits.h"
#include "settings.h"

struct check {
    const struct settings *settings;
    settings_report tell;
    unsigned problems;
};

static void find(struct check *check, bool is_problem, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void find(struct check *check, bool is_problem, const char *format, ...)
{
    char sentence[SETTING_ERROR_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    check->problems += is_problem;
    check->tell(is_problem, sentence);
}

/* ---- the data directory, and the user who works in it ---- */

static const struct passwd *worker_user(struct check *check)
{
    const char *name = check->settings->run_as;
    const struct passwd *user;

    if (geteuid() != 0 || name[0] == '\0')
        return NULL;
    user = getpwnam(name);
    if (!user || user->pw_uid == 0)
        find(check, true, "run_as names %.40s, which is %s: name an unprivileged user that exists",
             name, user ? "root" : "no user of this machine");
    return user && user->pw_uid != 0 ? user : NULL;
}

/* faccessat as that user; NULL: as ourselves. */
static int access_as(const struct passwd *user, const char *path, int mode)
{
    int result, error;

    if (user && (setegid(user->pw_gid) != 0 || seteuid(user->pw_uid) != 0))
        return -1;
    result = faccessat(AT_FDCWD, path, mode, AT_EACCESS);
    error = errno;
    if (user && (seteuid(0) != 0 || setegid(0) != 0))
        _exit(1); /* must not go on as somebody else */
    errno = error;
    return result;
}

/* The nearest directory above a path that is there. */
static void parent_that_exists(const char *path, char parent[SETTING_TEXT_ROOM])
{
    struct stat state;

    snprintf(parent, SETTING_TEXT_ROOM, "%s", path);
    do {
        size_t bytes = strlen(parent);
        char *slash;

        while (bytes > 1 && parent[bytes - 1] == '/')
            parent[--bytes] = '\0';
        slash = strrchr(parent, '/');
        if (!slash) {
            strcpy(parent, ".");
            return;
        }
        slash[slash == parent] = '\0';
    } while (stat(parent, &state) != 0 && strcmp(parent, "/") != 0);
}

static void check_directory(struct check *check)
{
    const char *path = check->settings->data_directory;
    const struct passwd *user = worker_user(check);
    char parent[SETTING_TEXT_ROOM];
    struct stat state;

    if (stat(path, &state) == 0 && !S_ISDIR(state.st_mode)) {
        find(check, true, "data_directory %.200s is no directory", path);
    } else if (stat(path, &state) == 0) {
        /* One that is root's is given to that user at the start. */
        if (user && state.st_uid == 0)
            user = NULL;
        if (access_as(user, path, R_OK | W_OK | X_OK) != 0)
            find(check, true, "data_directory %.200s is not usable by %s: %s", path,
                 user ? check->settings->run_as : "this user", strerror(errno));
    } else {
        parent_that_exists(path, parent);
        if (access_as(NULL, parent, W_OK | X_OK) != 0)
            find(check, true, "data_directory %.150s cannot be made in %.150s: %s", path, parent,
                 strerror(errno));
    }
}

/* ---- addresses ---- */

/* 0, or the errno of a socket there. A port of 0: any that is free. */
static int address_try(const char *text, uint16_t port, int type)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;
    int fd, error, on = 1;

    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
    } else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
    } else {
        return EINVAL;
    }
    fd = socket(address.ss_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    error = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
    close(fd);
    return error;
}

static void check_addresses(struct check *check, const char *name, const char *list, int type)
{
    char copy[SETTING_TEXT_ROOM], *rest = copy, *item;

    snprintf(copy, sizeof(copy), "%s", list);
    while ((item = strtok_r(rest, ", ", &rest))) {
        int error = address_try(item, 0, type);

        if (error)
            find(check, true, "%s: %.50s is no address of this machine: %s", name, item,
                 strerror(error));
    }
}

/* Ports below 1024 are for the privileged; who holds a port now may be the one we replace. */
static void check_http_port(struct check *check)
{
    const struct settings *s = check->settings;
    int error =
        s->http_port < 1024 ? address_try("127.0.0.1", (uint16_t)s->http_port, SOCK_STREAM) : 0;

    if (error == EACCES)
        find(check, true, "http_port %u may not be opened by this user: set PORT to 1024 or more",
             s->http_port);
    check_addresses(check, "http_listen_ip", s->http_listen_ip, SOCK_STREAM);
}

static void check_media_ports(struct check *check)
{
    const struct settings *s = check->settings;
    uint32_t ports = s->media_port_max - s->media_port_min + 1, workers = s->workers;
    cpu_set_t cores;

    if (workers == 0 && sched_getaffinity(0, sizeof(cores), &cores) == 0)
        workers = (uint32_t)CPU_COUNT(&cores);
    if (workers > WORKERS_MAX)
        workers = WORKERS_MAX;
    if (workers > ports)
        find(check, false,
             "media_port_min %u to media_port_max %u are %u ports: so many workers will run, not "
             "the %u that this machine has cores for",
             s->media_port_min, s->media_port_max, ports, workers);
    if (s->http_port >= s->media_port_min && s->http_port <= s->media_port_max)
        find(check, false,
             "http_port %u lies among the media ports: media over TCP may find it taken",
             s->http_port);
    check_addresses(check, "media_listen_ip", s->media_listen_ip, SOCK_DGRAM);
}

static void check_announced(struct check *check)
{
    const struct settings *s = check->settings;

    if (settings_in_production(s) && strncmp(s->media_announced_ip, "127.", 4) == 0)
        find(check, false,
             "media_announced_ip is %.50s: only browsers on this machine can reach it; set it to "
             "the public address",
             s->media_announced_ip);
}

unsigned settings_check(const struct settings *settings, const char *who, settings_report tell)
{
    struct check check = {.settings = settings, .tell = tell};

    check_directory(&check);
    if (strcmp(who, "CP") == 0) {
        check_http_port(&check);
        check_announced(&check);
    } else {
        check_media_ports(&check);
    }
    return check.problems;
}
