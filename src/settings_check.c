/* --check: tests the settings against this machine without starting or changing anything. */
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
    settings_report report;
    unsigned problems;
};

static void add_finding(struct check *check, bool is_problem, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add_finding(struct check *check, bool is_problem, const char *format, ...)
{
    char sentence[SETTING_ERROR_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    check->problems += is_problem;
    check->report(is_problem, sentence);
}

/* ---- the data directory and its user ---- */

/* The user that the processes change to; NULL: they keep their user, or run_as is wrong. */
static const struct passwd *find_run_as(struct check *check)
{
    const char *name = check->settings->run_as;
    const struct passwd *user;

    if (geteuid() != 0 || name[0] == '\0')
        return NULL;
    user = getpwnam(name);
    if (!user || user->pw_uid == 0)
        add_finding(check, true,
                    "run_as names %.40s, which is %s: set it to an unprivileged user that exists",
                    name, user ? "root" : "not a user of this machine");
    return user && user->pw_uid != 0 ? user : NULL;
}

/* faccessat with the rights of a user; NULL: of this process. */
static int access_as(const struct passwd *user, const char *path, int mode)
{
    int result, error;

    if (user && (setegid(user->pw_gid) != 0 || seteuid(user->pw_uid) != 0))
        return -1;
    result = faccessat(AT_FDCWD, path, mode, AT_EACCESS);
    error = errno;
    if (user && (seteuid(0) != 0 || setegid(0) != 0))
        _exit(1); /* must not continue as another user */
    errno = error;
    return result;
}

/* The nearest parent directory of a path that exists. */
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
    const struct passwd *user = find_run_as(check);
    char parent[SETTING_TEXT_ROOM];
    struct stat state;

    if (stat(path, &state) == 0 && !S_ISDIR(state.st_mode)) {
        add_finding(check, true, "data_directory %.200s is not a directory: set it to another path",
                    path);
    } else if (stat(path, &state) == 0) {
        /* A directory of root is given to that user at the start. */
        if (user && state.st_uid == 0)
            user = NULL;
        if (access_as(user, path, R_OK | W_OK | X_OK) != 0)
            add_finding(check, true, "%s cannot use data_directory %.200s: %s",
                        user ? check->settings->run_as : "this user", path, strerror(errno));
    } else {
        parent_that_exists(path, parent);
        if (access_as(NULL, parent, W_OK | X_OK) != 0)
            add_finding(check, true, "data_directory %.150s cannot be created in %.150s: %s", path,
                        parent, strerror(errno));
    }
}

/* ---- addresses ---- */

/* Binds a socket to the address and closes it again. 0, or the errno. Port 0: any free port. */
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
            add_finding(check, true, "%s: %.50s is not an address of this machine: %s", name, item,
                        strerror(error));
    }
}

/* Ports below 1024 need a privilege. A busy port is no problem: its holder may be the process that
 * this one will replace. */
static void check_http_port(struct check *check)
{
    const struct settings *s = check->settings;
    int error =
        s->http_port < 1024 ? address_try("127.0.0.1", (uint16_t)s->http_port, SOCK_STREAM) : 0;

    if (error == EACCES)
        add_finding(check, true, "this user may not open http_port %u: set it to 1024 or more",
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
        add_finding(
            check, false,
            "media_port_min %u to media_port_max %u holds %u ports: only that many workers will "
            "run, but this machine has cores for %u",
            s->media_port_min, s->media_port_max, ports, workers);
    if (s->http_port >= s->media_port_min && s->http_port <= s->media_port_max)
        add_finding(check, false,
                    "http_port %u is one of the media ports: media over TCP cannot use it",
                    s->http_port);
    check_addresses(check, "media_listen_ip", s->media_listen_ip, SOCK_DGRAM);
}

static void check_announced(struct check *check)
{
    const struct settings *s = check->settings;

    if (settings_in_production(s) && strncmp(s->media_announced_ip, "127.", 4) == 0)
        add_finding(
            check, false,
            "media_announced_ip is %.50s, which only browsers on this machine can reach: set it to "
            "the public address",
            s->media_announced_ip);
}

/* ---- does what we listen on fit what clients are told? ---- */

enum { IPV4 = 1, IPV6 = 2 };

static int family_of(const char *address)
{
    return strchr(settings_address_plain(address), ':') ? IPV6 : IPV4;
}

static bool is_loopback(const char *address)
{
    address = settings_address_plain(address);
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

/* The families that this list of addresses listens on, and those of which it has only a loopback
 * address. :: alone listens on both. */
static int families_of(const char *list, int *only_loopback)
{
    char copy[SETTING_TEXT_ROOM], *rest = copy, *item;
    struct in6_addr address;
    int families = 0;
    bool any = false;

    *only_loopback = 0;
    snprintf(copy, sizeof(copy), "%s", list);
    while ((item = strtok_r(rest, ", ", &rest))) {
        families |= family_of(item);
        *only_loopback |= is_loopback(item) ? family_of(item) : 0;
        any |= inet_pton(AF_INET6, item, &address) == 1 && IN6_IS_ADDR_UNSPECIFIED(&address);
    }
    return any ? IPV4 | IPV6 : families;
}

static void check_announced_families(struct check *check)
{
    const struct settings *s = check->settings;
    int only_loopback, heard = families_of(s->media_listen_ip, &only_loopback), told = 0;
    char copy[SETTING_TEXT_ROOM], *rest = copy, *item;

    snprintf(copy, sizeof(copy), "%s", s->media_announced_ip);
    while ((item = strtok_r(rest, ", ", &rest))) {
        int family = family_of(item);
        const char *name = family == IPV6 ? "IPv6" : "IPv4";

        told |= family;
        if (!(family & heard))
            add_finding(check, false,
                        "media_announced_ip: clients are not told %.50s, because media_listen_ip "
                        "(%.60s) has no %s address: add one there, or :: for all",
                        item, s->media_listen_ip, name);
        else if ((family & only_loopback) && !is_loopback(item))
            add_finding(check, false,
                        "media_announced_ip: clients are told %.50s, but media_listen_ip (%.60s) "
                        "hears only this machine over %s: add an address that they can reach",
                        item, s->media_listen_ip, name);
    }
    if (!(told & heard))
        add_finding(check, true,
                    "media_announced_ip (%.60s) and media_listen_ip (%.60s) have no IP version in "
                    "common: no client could send media. Give both an IPv4 or both an IPv6 address",
                    s->media_announced_ip, s->media_listen_ip);
}

unsigned settings_check(const struct settings *settings, const char *who, settings_report report)
{
    struct check check = {.settings = settings, .report = report};

    check_directory(&check);
    if (strcmp(who, "CP") == 0) {
        check_http_port(&check);
        check_announced(&check);
    } else {
        check_media_ports(&check);
    }
    check_announced_families(&check);
    return check.problems;
}
