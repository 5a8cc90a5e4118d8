/* Between the kernel's socket addresses and control messages, and our paths and runs. */
#ifndef RINGCAST_IO_ADDRESS_H
#define RINGCAST_IO_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "slots.h"
#include "super_datagram.h"

#define NAME_BYTES 32     /* holds sockaddr_in6 (28) and keeps what follows it aligned */
#define CONTROL_BYTES 128 /* received: pktinfo, UDP_GRO and some that others may have asked for */
#define SOCKETS_MAX 2

/* A media socket and what it is bound to. */
struct udp_socket {
    int fd;
    int family;
    bool is_wildcard; /* bound to no address: answers must say where they come from */
    uint8_t local_ip[16];
    uint16_t local_port;
    uint32_t drops_seen; /* the kernel's count at the last look; it wraps */
};

/* The one or two sockets of a worker. */
struct udp_sockets {
    unsigned count;
    struct udp_socket list[SOCKETS_MAX];
    int ipv4, ipv6; /* which of the list carries which, -1: none */
};

/* Takes "udp4.W" and "udp6.W" of worker W out of the set; either may be missing. False with a sentence
 * when one is no bound UDP socket of its IP version, or when both are missing. */
bool udp_sockets_open(struct udp_sockets *sockets, const struct descriptors *descriptors,
                      uint32_t worker, char why[IO_WHY_BYTES]);

/* Which socket a path leaves by; -1: none. */
static inline int udp_socket_of(const struct udp_sockets *sockets, const struct path *path)
{
    return path_is_ipv4(path) ? sockets->ipv4 : sockets->ipv6;
}

/* How many datagrams the kernel dropped on these sockets since the last call, for want of room or for
 * a wrong checksum; since they were opened at the first. */
uint64_t udp_sockets_dropped(struct udp_sockets *sockets);

/* One send: the header and what it points to. Whatever is the same for every send of a socket is
 * written once, by send_prepare.
 *   control  | source address (pktinfo) | segment size |   either may be left out */
struct send_room {
    struct sockaddr_in6 name; /* or sockaddr_in */
    struct iovec iovec;
    uint8_t control[64] __attribute__((aligned(8)));
};

void send_prepare(struct msghdr *header, struct send_room *room, const struct udp_socket *socket);
/* Makes a prepared send carry `bytes` from `data` along `path`, in segments if segment_bytes > 0. */
void send_describe(struct msghdr *header, struct send_room *room, const struct udp_socket *socket,
                   const struct path *path, const uint8_t *data, uint32_t bytes,
                   uint16_t segment_bytes);

/* What a received header says: path and segment size of `received`. False when it names no source. */
bool super_datagram_describe(struct super_datagram *received, const struct udp_socket *socket,
                             struct msghdr *header);

#endif
