/* Sets of named file descriptors. The supervisor hands regions, sockets and doorbells to the other
 * processes as such a set. It also keeps one in the service manager's descriptor store (sd_notify
 * FDSTORE), so that its own successor gets them.
 *
 * Protocol: a SOCK_SEQPACKET Unix socket. One message is one name (text without NUL, shorter than
 *           DESCRIPTOR_NAME_BYTES) and one descriptor (SCM_RIGHTS). The name "end" without a
 *           descriptor ends the set.
 * Names:    desired actual keys resume (regions); udp4.W udp6.W (media sockets of worker W);
 *           bell.worker.W bell.control bell.handshaker (eventfds); child.forwarder child.handshaker
 *           (pidfds); forwarder.dead (only its name counts: the forwarder crashed again and again,
 *           and its successor must wait).
 * Threads:  one at a time for one set.
 * Memory:   a set owns its descriptors until they are taken out; descriptors_close closes the rest.
 * Errors:   -1 with errno.
 * Limits:   DESCRIPTORS_MAX in a set. */
#ifndef RINGCAST_DESCRIPTORS_H
#define RINGCAST_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>

#define DESCRIPTORS_MAX 96
#define DESCRIPTOR_NAME_BYTES 32
#define DESCRIPTOR_FORWARDER_DEAD "forwarder.dead"

struct descriptor {
    char name[DESCRIPTOR_NAME_BYTES];
    int fd;
};

struct descriptors {
    size_t count;
    struct descriptor list[DESCRIPTORS_MAX];
};

/* Adds fd, which the set then owns. A full set closes it. */
void descriptors_add(struct descriptors *set, int fd, const char *name_format, ...)
    __attribute__((format(printf, 3, 4)));
/* The descriptor with that name; the set still owns it. -1: there is none. */
int descriptors_get(const struct descriptors *set, const char *name_format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, but removes it from the set: the caller owns it. */
int descriptors_take(struct descriptors *set, const char *name_format, ...)
    __attribute__((format(printf, 2, 3)));
void descriptors_close(struct descriptors *set);

/* Sends a whole set over a connected socket. The set keeps its descriptors. */
int descriptors_send(int socket, const struct descriptors *set);
/* Receives one whole set within timeout_ms; all are close-on-exec. After -1 the set is empty. */
int descriptors_receive(int socket, struct descriptors *set, int timeout_ms);

/* Connects to the supervisor, asks for the set of a role ("control" or "inspect", sent as one
 * message), receives it and closes the connection.
 * -1 with a sentence in `why` (192 bytes) that tells a person what to do. */
int descriptors_from_supervisor(const char *socket_path, const char *role, struct descriptors *set,
                                char *why);

#endif
