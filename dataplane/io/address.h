/* Translates between the kernel's socket addresses and control messages, and our paths and runs. */
#ifndef RINGCAST_IO_ADDRESS_H
#define RINGCAST_IO_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "slots.h"
#include "super_datagram.h"

#define NAME_BYTES 32     /* holds sockaddr_in6 (28 bytes); what follows it stays aligned */
#define CONTROL_BYTES 128 /* for receiving: pktinfo, UDP_GRO, and room for other control messages */
#define SOCKETS_MAX 2

/* A media socket and what it is bound to. */
struct udp_socket {
    int fd;
    int family;
    bool is_wildcard; /* bound to all addresses: each send must say which one it comes from */
    uint8_t local_ip[16];
    uint16_t local_port;
    uint32_t drops_seen; /* the kernel's counter when it was last read; it wraps */
};

/* The one or two sockets of a worker. */
struct udp_sockets {
    unsigned count;
    struct udp_socket list[SOCKETS_MAX];
    int ipv4, ipv6; /* indexes in the list; -1: there is no such socket */
};

/* Finds "udp4.W" and "udp6.W" of worker W in the set; one of them may be missing. False with a
 * sentence when both are missing, or when one is not a bound UDP socket of its IP version. */
bool udp_sockets_open(struct udp_sockets *sockets, const struct descriptors *descriptors,
                      uint32_t worker, char why[IO_WHY_BYTES]);

/* Index of the socket that sends along a path; -1: there is none for its IP version. */
static inline int udp_socket_of(const struct udp_sockets *sockets, const struct path *path)
{
    return path_is_ipv4(path) ? sockets->ipv4 : sockets->ipv6;
}

/* How many datagrams the kernel dropped on these sockets since the last call, because a socket was
 * full or a checksum was wrong. The first call counts from the opening of the sockets. */
uint64_t udp_sockets_dropped(struct udp_sockets *sockets);

/* What the header of a send points to. send_prepare writes what is the same for every send of a
 * socket; send_describe writes the rest.
 *   control  | source address (pktinfo) | segment size |   both are optional */
struct send_room {
    struct sockaddr_in6 name; /* or sockaddr_in */
    struct iovec iovec;
    uint8_t control[64] __attribute__((aligned(8)));
};

void send_prepare(struct msghdr *header, struct send_room *room, const struct udp_socket *socket);
/* Makes a prepared send carry `bytes` at `data` along `path`, cut into segments when segment_bytes
 * > 0. */
void send_describe(struct msghdr *header, struct send_room *room, const struct udp_socket *socket,
                   const struct path *path, const uint8_t *data, uint32_t bytes,
                   uint16_t segment_bytes);

/* Writes the path and the segment size of `received` from the header that recvmsg filled. False
 * when the header has no source address. */
bool super_datagram_describe(struct super_datagram *received, const struct udp_socket *socket,
                             struct msghdr *header);

#endif
