/* Named file descriptors: how the supervisor hands regions, sockets and doorbells to the others, and
 * keeps them over its own death in the service manager's descriptor store (sd_notify FDSTORE).
 *
 * One message = one name (text, < 32 bytes) and one descriptor (SCM_RIGHTS) on a SOCK_SEQPACKET
 * Unix socket; the name "end" without descriptor closes a set.
 *
 * Names in use: desired actual keys resume (regions); udp4.W udp6.W (media socket of worker W);
 * bell.worker.W bell.control bell.handshaker (eventfds); child.forwarder child.handshaker (pidfds).
 *
 * Memory: a set owns its descriptors until taken; descriptors_close closes what is left.
 * Errors: -1 with errno. Limits: DESCRIPTORS_MAX a set. */
#ifndef RINGCAST_DESCRIPTORS_H
#define RINGCAST_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>

#define DESCRIPTORS_MAX 96
#define DESCRIPTOR_NAME_BYTES 32

struct descriptor {
    char name[DESCRIPTOR_NAME_BYTES];
    int fd;
};

struct descriptors {
    size_t count;
    struct descriptor list[DESCRIPTORS_MAX];
};

void descriptors_add(struct descriptors *set, int fd, const char *name_format, ...)
    __attribute__((format(printf, 3, 4)));
/* The descriptor of that name, still owned by the set; -1 when it is not there. */
int descriptors_get(const struct descriptors *set, const char *name_format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, and ownership goes to the caller. */
int descriptors_take(struct descriptors *set, const char *name_format, ...)
    __attribute__((format(printf, 2, 3)));
void descriptors_close(struct descriptors *set);

/* Sends the whole set over a connected SOCK_SEQPACKET Unix socket; receives one whole set within
 * timeout_ms. Every received descriptor is close-on-exec. */
int descriptors_send(int socket, const struct descriptors *set);
int descriptors_receive(int socket, struct descriptors *set, int timeout_ms);

/* Connects to the supervisor's socket, says who we are ("control", "inspect": one message, the text
 * without a NUL), receives our set and hangs up.
 * -1 with a sentence in `why` (192 bytes) that tells a person what to do. */
int descriptors_from_supervisor(const char *socket_path, const char *role, struct descriptors *set,
                                char *why);

#endif
