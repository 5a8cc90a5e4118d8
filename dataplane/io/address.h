/* Between the kernel's socket addresses and control messages, and our paths and runs. */
#ifndef RINGCAST_IO_ADDRESS_H
#define RINGCAST_IO_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "slots.h"

#define NAME_BYTES 32     /* holds sockaddr_in6 (28) and keeps what follows it aligned */
#define CONTROL_BYTES 128 /* received: pktinfo, UDP_GRO and some that others may have asked for */
#define SOCKETS_MAX 2

/* A media socket and what it is bound to. */
struct endpoint {
    int fd;
    int family;
    bool is_wildcard; /* bound to no address: answers must say where they come from */
    uint8_t local_ip[16];
    uint16_t local_port;
    uint32_t drops_seen; /* the kernel's count at the last look; it wraps */
};

/* The one or two sockets of a worker. */
struct endpoints {
    unsigned count;
    struct endpoint list[SOCKETS_MAX];
    int ipv4, ipv6; /* which of the list carries which, -1: none */
};

/* Looks at the descriptors. False with a sentence (128 bytes) when one is no bound UDP socket. */
bool endpoints_open(struct endpoints *endpoints, const struct io_descriptors *descriptors,
                    char *why);

/* Which endpoint a path leaves by; -1: none. */
static inline int endpoint_of(const struct endpoints *endpoints, const struct path *path)
{
    return path_is_ipv4(path) ? endpoints->ipv4 : endpoints->ipv6;
}

/* How many datagrams the kernel dropped on these sockets since the last call, for want of room or for
 * a wrong checksum; since they were opened at the first. */
uint64_t endpoints_dropped(struct endpoints *endpoints);

/* One send: the header and what it points to. Whatever is the same for every send of a socket is
 * written once, by send_prepare.
 *   control  | source address (pktinfo) | segment size |   either may be left out */
struct send_room {
    struct sockaddr_in6 name; /* or sockaddr_in */
    struct iovec iovec;
    uint8_t control[64] __attribute__((aligned(8)));
};

void send_prepare(struct msghdr *header, struct send_room *room, const struct endpoint *endpoint);
/* Makes a prepared send carry `bytes` from `data` along `path`, in segments if segment_bytes > 0. */
void send_describe(struct msghdr *header, struct send_room *room, const struct endpoint *endpoint,
                   const struct path *path, const uint8_t *data, uint32_t bytes,
                   uint16_t segment_bytes);

/* What a received header says: path and segment size of `message`. False when it names no source. */
bool message_describe(struct message *message, const struct endpoint *endpoint,
                      struct msghdr *header);

#endif
