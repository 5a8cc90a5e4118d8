/* Sets of named descriptors, and sending one over a Unix socket. */
#define _GNU_SOURCE
#include "descriptors.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

#define END_NAME "end"
#define WHY_BYTES 192
#define SUPERVISOR_TIMEOUT_MS 3000

static void name_format(char name[DESCRIPTOR_NAME_BYTES], const char *format, va_list arguments)
{
    vsnprintf(name, DESCRIPTOR_NAME_BYTES, format, arguments);
}

void descriptors_add(struct descriptors *set, int fd, const char *format, ...)
{
    struct descriptor *d = &set->list[set->count];
    va_list arguments;

    if (set->count == DESCRIPTORS_MAX) {
        close(fd);
        return;
    }
    va_start(arguments, format);
    name_format(d->name, format, arguments);
    va_end(arguments);
    d->fd = fd;
    set->count++;
}

static size_t descriptors_find(const struct descriptors *set, const char *name)
{
    size_t i;

    for (i = 0; i < set->count; i++)
        if (strcmp(set->list[i].name, name) == 0)
            break;
    return i;
}

int descriptors_get(const struct descriptors *set, const char *format, ...)
{
    char name[DESCRIPTOR_NAME_BYTES];
    va_list arguments;
    size_t i;

    va_start(arguments, format);
    name_format(name, format, arguments);
    va_end(arguments);
    i = descriptors_find(set, name);
    return i < set->count ? set->list[i].fd : -1;
}

int descriptors_take(struct descriptors *set, const char *format, ...)
{
    char name[DESCRIPTOR_NAME_BYTES];
    va_list arguments;
    size_t i;
    int fd;

    va_start(arguments, format);
    name_format(name, format, arguments);
    va_end(arguments);
    i = descriptors_find(set, name);
    if (i == set->count)
        return -1;
    fd = set->list[i].fd;
    set->count--;
    memmove(&set->list[i], &set->list[i + 1], (set->count - i) * sizeof(set->list[0]));
    return fd;
}

void descriptors_close(struct descriptors *set)
{
    for (size_t i = 0; i < set->count; i++)
        close(set->list[i].fd);
    set->count = 0;
}

/* ---- sending and receiving ---- */

union control {
    struct cmsghdr header; /* for its alignment */
    uint8_t bytes[CMSG_SPACE(4 * sizeof(int))];
};

static int send_one(int socket, const char *name, int fd)
{
    union control control = {0};
    struct iovec text = {.iov_base = (void *)name, .iov_len = strlen(name)};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
    ssize_t sent;

    if (fd >= 0) {
        struct cmsghdr *header;

        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int));
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

int descriptors_send(int socket, const struct descriptors *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (send_one(socket, set->list[i].name, set->list[i].fd) != 0)
            return -1;
    return send_one(socket, END_NAME, -1);
}

/* Counts the descriptors of a message. *only is the one descriptor, or -1. Ringcast never sends
 * several in one message, so several are closed. */
static size_t message_descriptors(struct msghdr *message, int *only)
{
    size_t count = 0;

    *only = -1;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h; h = CMSG_NXTHDR(message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= h->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + at, sizeof(fd));
            if (count++ > 0)
                close(fd);
            else
                *only = fd;
        }
    }
    if (count > 1) {
        close(*only);
        *only = -1;
    }
    return count;
}

static int wait_readable(int socket, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd wanted = {.fd = socket, .events = POLLIN};
        uint64_t now_ns = clock_monotonic_ns();
        int ready;

        if (now_ns >= deadline_ns) {
            errno = ETIMEDOUT;
            return -1;
        }
        ready = poll(&wanted, 1, (int)((deadline_ns - now_ns) / NS_PER_MS) + 1);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return -1;
    }
}

/* 1: added one to the set; 0: the set is complete; -1: error in errno. */
static int receive_one(int socket, struct descriptors *set)
{
    char name[DESCRIPTOR_NAME_BYTES];
    union control control;
    struct iovec text = {.iov_base = name, .iov_len = sizeof(name) - 1};
    struct msghdr message = {.msg_iov = &text,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t bytes = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    size_t fds;
    int fd;

    if (bytes < 0)
        return errno == EINTR || errno == EAGAIN ? 1 : -1;
    fds = message_descriptors(&message, &fd);
    if (bytes == 0) { /* the sender closed the connection before the end of the set */
        errno = ECONNRESET;
        goto refuse;
    }
    name[bytes] = '\0';
    errno = EPROTO;
    if (fds > 1 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
        strlen(name) != (size_t)bytes)
        goto refuse;
    if (fds == 0)
        return strcmp(name, END_NAME) == 0 ? 0 : -1;
    if (set->count == DESCRIPTORS_MAX || descriptors_find(set, name) < set->count)
        goto refuse;
    descriptors_add(set, fd, "%s", name);
    return 1;
refuse:
    if (fd >= 0)
        close(fd);
    return -1;
}

int descriptors_receive(int socket, struct descriptors *set, int timeout_ms)
{
    uint64_t deadline_ns = clock_monotonic_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    int more = 1;

    set->count = 0;
    while (more > 0) {
        more = wait_readable(socket, deadline_ns);
        if (more == 0)
            more = receive_one(socket, set);
    }
    if (more < 0) {
        int error = errno;

        descriptors_close(set);
        errno = error;
    }
    return more;
}

/* ---- from the supervisor ---- */

static int connect_to(const char *socket_path, char *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(socket_path) >= sizeof(address.sun_path)) {
        snprintf(why, WHY_BYTES,
                 "the path of the supervisor's socket is longer than %zu bytes: "
                 "set data_directory to a shorter path",
                 sizeof(address.sun_path) - 1);
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, socket_path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    if (errno == ENOENT || errno == ECONNREFUSED)
        snprintf(why, WHY_BYTES,
                 "no data plane answers at %.90s: start ringcast-dataplane, or name its "
                 "directory with --data-directory",
                 socket_path);
    else
        snprintf(why, WHY_BYTES, "cannot connect to the data plane at %.100s: %s", socket_path,
                 strerror(errno));
    if (fd >= 0) {
        int error = errno;

        close(fd);
        errno = error;
    }
    return -1;
}

int descriptors_from_supervisor(const char *socket_path, const char *role, struct descriptors *set,
                                char *why)
{
    int fd = connect_to(socket_path, why), result, error;

    set->count = 0;
    if (fd < 0)
        return -1;
    result = send_one(fd, role, -1);
    if (result == 0)
        result = descriptors_receive(fd, set, SUPERVISOR_TIMEOUT_MS);
    error = errno;
    if (result != 0)
        snprintf(why, WHY_BYTES,
                 "the data plane at %.80s did not hand out its shared memory (%s): read its log",
                 socket_path, strerror(error));
    close(fd);
    errno = error;
    return result;
}
