/* sd_notify and sd_listen_fds. */
#define _GNU_SOURCE
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

#define STATE_BYTES 512
#define FIRST_STORED 3 /* the first stored descriptor; SD_LISTEN_FDS_START */

bool notify_wanted(void)
{
    const char *path = getenv("NOTIFY_SOCKET");

    return path && *path;
}

/* Parses the address in NOTIFY_SOCKET. Returns its length; 0 with errno when it is not an
 * address. */
static socklen_t manager_address(struct sockaddr_un *address)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t bytes = strlen(path);

    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if ((path[0] != '/' && path[0] != '@') || bytes >= sizeof(address->sun_path)) {
        errno = EINVAL;
        return 0;
    }
    memcpy(address->sun_path, path, bytes);
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
}

/* A manager that is stopped reads nothing, and once its queue is full a send would wait for ever. A
 * sign of life is not worth waiting for: the next one says the same. */
enum patience { DO_NOT_WAIT, WAIT_BRIEFLY };
#define BRIEFLY_US 200000

static void limit_wait(int socket_fd)
{
    struct timeval limit = {.tv_usec = BRIEFLY_US};

    setsockopt(socket_fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int notify_send(const char *state, int fd, enum patience patience)
{
    union {
        struct cmsghdr header; /* for its alignment */
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct sockaddr_un address;
    struct iovec text = {.iov_base = (void *)state, .iov_len = strlen(state)};
    struct msghdr message = {.msg_name = &address, .msg_iov = &text, .msg_iovlen = 1};
    ssize_t sent;
    int socket_fd, error;

    if (!notify_wanted())
        return 0;
    message.msg_namelen = manager_address(&address);
    if (message.msg_namelen == 0)
        return -1;
    if (fd >= 0) {
        struct cmsghdr *header;

        message.msg_control = &control;
        message.msg_controllen = sizeof(control.bytes);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_fd < 0)
        return -1;
    limit_wait(socket_fd);
    do
        sent = sendmsg(socket_fd, &message,
                       MSG_NOSIGNAL | (patience == DO_NOT_WAIT ? MSG_DONTWAIT : 0));
    while (sent < 0 && errno == EINTR);
    error = errno;
    close(socket_fd);
    errno = error;
    return sent < 0 ? -1 : 0;
}

int notify_ready(void)
{
    return notify_send("READY=1\n", -1, WAIT_BRIEFLY);
}

int notify_reloading(void)
{
    char state[64];

    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n",
             (uint64_t)(clock_monotonic_ns() / NS_PER_US));
    return notify_send(state, -1, WAIT_BRIEFLY);
}

int notify_stopping(void)
{
    return notify_send("STOPPING=1\n", -1, WAIT_BRIEFLY);
}

int notify_watchdog(void)
{
    return notify_send("WATCHDOG=1\n", -1, DO_NOT_WAIT);
}

int notify_extend_timeout(uint64_t us)
{
    char state[STATE_BYTES];

    snprintf(state, sizeof(state), "EXTEND_TIMEOUT_USEC=%llu\n", (unsigned long long)us);
    return notify_send(state, -1, WAIT_BRIEFLY);
}

int notify_status(const char *format, ...)
{
    char state[STATE_BYTES] = "STATUS=";
    size_t prefix = strlen(state);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(state + prefix, sizeof(state) - prefix - 1, format, arguments);
    va_end(arguments);
    for (char *at = state; *at; at++) /* a line feed would start another KEY=value */
        if (*at == '\n')
            *at = ' ';
    strcat(state, "\n");
    return notify_send(state, -1, DO_NOT_WAIT);
}

/* The whole text must be an unsigned number. */
static bool parse_number(const char *text, uint64_t *number)
{
    char *end;

    if (!text || *text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool is_us(const char *pid_text)
{
    uint64_t pid;

    return parse_number(pid_text, &pid) && pid == (uint64_t)getpid();
}

uint64_t notify_watchdog_interval_us(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t interval_us;

    if (pid && !is_us(pid))
        return 0;
    return parse_number(getenv("WATCHDOG_USEC"), &interval_us) ? interval_us : 0;
}

/* ---- descriptor store ---- */

/* The store accepts names of printable ASCII without a colon. */
static bool name_is_fit(const char *name)
{
    for (const char *at = name; *at; at++)
        if (*at <= ' ' || *at >= 127 || *at == ':')
            return false;
    return *name != '\0' && strlen(name) < DESCRIPTOR_NAME_BYTES;
}

static int store(const char *prefix, const char *name, const char *suffix, int fd)
{
    char state[STATE_BYTES];

    if (!name_is_fit(name)) {
        errno = EINVAL;
        return -1;
    }
    snprintf(state, sizeof(state), "%s\nFDNAME=%s\n%s", prefix, name, suffix);
    return notify_send(state, fd, WAIT_BRIEFLY);
}

/* Without FDPOLL=0 the manager drops a descriptor that signals an error or hang-up. The pidfd of a
 * dead child does that, and our successor must get it to see that the child is dead. */
int notify_store(int fd, const char *format, ...)
{
    char name[DESCRIPTOR_NAME_BYTES + 1];
    va_list arguments;

    if (fd < 0) {
        errno = EBADF;
        return -1;
    }
    va_start(arguments, format);
    vsnprintf(name, sizeof(name), format, arguments);
    va_end(arguments);
    return store("FDSTORE=1", name, "FDPOLL=0\n", fd);
}

int notify_store_remove(const char *format, ...)
{
    char name[DESCRIPTOR_NAME_BYTES + 1];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name, sizeof(name), format, arguments);
    va_end(arguments);
    return store("FDSTOREREMOVE=1", name, "", -1);
}

int notify_store_all(const struct descriptors *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (notify_store(set->list[i].fd, "%s", set->list[i].name) != 0)
            return -1;
    return 0;
}

/* Cuts the next name off a colon-separated list. False when it is empty or too long. */
static bool next_name(const char **list, char name[DESCRIPTOR_NAME_BYTES])
{
    size_t bytes = strcspn(*list, ":");
    bool fits = bytes > 0 && bytes < DESCRIPTOR_NAME_BYTES;

    if (fits) {
        memcpy(name, *list, bytes);
        name[bytes] = '\0';
    }
    *list += bytes + ((*list)[bytes] == ':');
    return fits;
}

static int take_stored(struct descriptors *set, uint64_t count, const char *names)
{
    for (uint64_t i = 0; i < count; i++) {
        int fd = FIRST_STORED + (int)i, flags = fcntl(fd, F_GETFD);
        char name[DESCRIPTOR_NAME_BYTES];
        bool named = next_name(&names, name);

        if (flags < 0)
            return -1;
        fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
        if (!named)
            snprintf(name, sizeof(name), "stored.%u",
                     (unsigned)i); /* gets a name, so that descriptors_close closes it */
        if (descriptors_get(set, "%s", name) >= 0) {
            close(fd); /* stored twice, because a supervisor died in between: keep the first */
            continue;
        }
        descriptors_add(set, fd, "%s", name);
    }
    return (int)set->count;
}

int notify_take_stored(struct descriptors *set)
{
    const char *names = getenv("LISTEN_FDNAMES");
    uint64_t count = 0;
    int taken = 0;

    set->count = 0;
    if (is_us(getenv("LISTEN_PID"))) {
        if (!parse_number(getenv("LISTEN_FDS"), &count) || count > DESCRIPTORS_MAX) {
            errno = EINVAL;
            taken = -1;
        } else {
            taken = take_stored(set, count, names ? names : "");
        }
    }
    if (taken < 0)
        descriptors_close(set); /* the store still has its duplicates */
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return taken;
}
