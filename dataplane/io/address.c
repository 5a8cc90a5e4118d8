/* Socket addresses and control messages; see address.h. */
#define _GNU_SOURCE
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>

#include "address.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define MEMINFO_WORDS_MAX 16 /* of SO_MEMINFO; Linux 6 has nine */

static void ip_from_ipv4(uint8_t ip[16], const struct in_addr *address)
{
    memset(ip, 0, 10);
    memset(ip + 10, 0xff, 2);
    memcpy(ip + 12, address, 4);
}

/* False when it is neither an IPv4 nor an IPv6 address. */
static bool ip_from_name(uint8_t ip[16], uint16_t *port, const void *name, size_t name_bytes)
{
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    sa_family_t family;

    if (name_bytes < sizeof(ipv4))
        return false;
    memcpy(&family, name, sizeof(family));
    if (family == AF_INET) {
        memcpy(&ipv4, name, sizeof(ipv4));
        ip_from_ipv4(ip, &ipv4.sin_addr);
        *port = ntohs(ipv4.sin_port);
        return true;
    }
    if (family != AF_INET6 || name_bytes < sizeof(ipv6))
        return false;
    memcpy(&ipv6, name, sizeof(ipv6));
    memcpy(ip, &ipv6.sin6_addr, 16);
    *port = ntohs(ipv6.sin6_port);
    return true;
}

/* Neither "::" nor "::ffff:0.0.0.0". */
static bool ip_is_specific(const uint8_t ip[16])
{
    static const uint8_t any[16] = {0};
    static const uint8_t any_ipv4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return memcmp(ip, any, 16) != 0 && memcmp(ip, any_ipv4, 16) != 0;
}

static bool udp_socket_open(struct udp_socket *socket, int fd, char *why)
{
    struct sockaddr_storage name = {0};
    socklen_t name_bytes = sizeof(name);
    int type = 0;
    socklen_t type_bytes = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) != 0 || type != SOCK_DGRAM ||
        getsockname(fd, (struct sockaddr *)&name, &name_bytes) != 0 ||
        !ip_from_name(socket->local_ip, &socket->local_port, &name, name_bytes) ||
        socket->local_port == 0) {
        snprintf(why, IO_WHY_BYTES, "descriptor %d is not a bound UDP socket", fd);
        return false;
    }
    socket->fd = fd;
    socket->family = name.ss_family;
    socket->is_wildcard = !ip_is_specific(socket->local_ip);
    return true;
}

bool udp_sockets_open(struct udp_sockets *sockets, const struct descriptors *descriptors,
                      uint32_t worker, char why[IO_WHY_BYTES])
{
    const int fds[SOCKETS_MAX] = {descriptors_get(descriptors, "udp4.%u", worker),
                                  descriptors_get(descriptors, "udp6.%u", worker)};

    *sockets = (struct udp_sockets){.ipv4 = -1, .ipv6 = -1};
    for (unsigned i = 0; i < SOCKETS_MAX; i++) {
        struct udp_socket *socket = &sockets->list[sockets->count];

        if (fds[i] < 0)
            continue;
        if (!udp_socket_open(socket, fds[i], why))
            return false;
        if (socket->family != (i == 0 ? AF_INET : AF_INET6)) {
            snprintf(why, IO_WHY_BYTES, "UDP socket %d has the wrong IP version", fds[i]);
            return false;
        }
        if (i == 0)
            sockets->ipv4 = (int)sockets->count++;
        else
            sockets->ipv6 = (int)sockets->count++;
    }
    if (sockets->count == 0)
        snprintf(why, IO_WHY_BYTES, "no UDP socket was given");
    return sockets->count > 0;
}

uint64_t udp_sockets_dropped(struct udp_sockets *sockets)
{
    uint64_t dropped = 0;

    for (unsigned i = 0; i < sockets->count; i++) {
        struct udp_socket *socket = &sockets->list[i];
        uint32_t words[MEMINFO_WORDS_MAX] = {0};
        socklen_t bytes = sizeof(words);

        if (getsockopt(socket->fd, SOL_SOCKET, SO_MEMINFO, words, &bytes) != 0 ||
            bytes < (SK_MEMINFO_DROPS + 1) * sizeof(words[0]))
            continue; /* Linux before 4.12 does not count */
        dropped += (uint32_t)(words[SK_MEMINFO_DROPS] - socket->drops_seen);
        socket->drops_seen = words[SK_MEMINFO_DROPS];
    }
    return dropped;
}

/* ---- sending ---- */

#define FROM4_SPACE CMSG_SPACE(sizeof(struct in_pktinfo))
#define FROM6_SPACE CMSG_SPACE(sizeof(struct in6_pktinfo))
#define SEGMENT_SPACE CMSG_SPACE(sizeof(uint16_t))
_Static_assert(FROM6_SPACE + SEGMENT_SPACE <= sizeof(((struct send_room *)0)->control),
               "the control messages of a send do not fit");

static void control_prepare(uint8_t *control, int level, int type, size_t bytes)
{
    struct cmsghdr *c = (struct cmsghdr *)control;

    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(bytes);
}

static size_t from_space(const struct udp_socket *socket)
{
    return socket->family == AF_INET ? FROM4_SPACE : FROM6_SPACE;
}

void send_prepare(struct msghdr *header, struct send_room *room, const struct udp_socket *socket)
{
    *room = (struct send_room){0};
    *header = (struct msghdr){.msg_name = &room->name, .msg_iov = &room->iovec, .msg_iovlen = 1};
    room->name.sin6_family = (sa_family_t)socket->family; /* sin_family has the same place */
    if (socket->family == AF_INET) {
        header->msg_namelen = sizeof(struct sockaddr_in);
        control_prepare(room->control, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo));
    } else {
        header->msg_namelen = sizeof(struct sockaddr_in6);
        control_prepare(room->control, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo));
    }
    control_prepare(room->control + from_space(socket), SOL_UDP, UDP_SEGMENT, sizeof(uint16_t));
}

void send_describe(struct msghdr *header, struct send_room *room, const struct udp_socket *socket,
                   const struct path *path, const uint8_t *data, uint32_t bytes,
                   uint16_t segment_bytes)
{
    bool says_from = socket->is_wildcard && ip_is_specific(path->local_ip);
    uint8_t *from = CMSG_DATA((struct cmsghdr *)room->control);
    uint8_t *segment = room->control + from_space(socket);

    room->iovec.iov_base = (void *)(uintptr_t)data;
    room->iovec.iov_len = bytes;
    room->name.sin6_port = htons(path->remote_port); /* sin_port has the same place */
    if (socket->family == AF_INET) {
        memcpy(&((struct sockaddr_in *)&room->name)->sin_addr, path->remote_ip + 12, 4);
        memcpy(from + offsetof(struct in_pktinfo, ipi_spec_dst), path->local_ip + 12, 4);
    } else {
        memcpy(&room->name.sin6_addr, path->remote_ip, 16);
        memcpy(from + offsetof(struct in6_pktinfo, ipi6_addr), path->local_ip, 16);
    }
    memcpy(CMSG_DATA((struct cmsghdr *)segment), &segment_bytes, sizeof(segment_bytes));
    header->msg_control = says_from ? room->control : segment;
    header->msg_controllen =
        (says_from ? from_space(socket) : 0) + (segment_bytes ? SEGMENT_SPACE : 0);
}

/* ---- receiving ---- */

bool super_datagram_describe(struct super_datagram *received, const struct udp_socket *socket,
                             struct msghdr *header)
{
    struct path *path = &received->path;

    received->segment_bytes = 0;
    if (!ip_from_name(path->remote_ip, &path->remote_port, header->msg_name, header->msg_namelen))
        return false;
    memcpy(path->local_ip, socket->local_ip, 16); /* pktinfo, if there is any, replaces it */
    path->local_port = socket->local_port;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        struct in_pktinfo ipv4;
        struct in6_pktinfo ipv6;
        int segment;

        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
            c->cmsg_len >= CMSG_LEN(sizeof(ipv4))) {
            memcpy(&ipv4, CMSG_DATA(c), sizeof(ipv4));
            ip_from_ipv4(path->local_ip, &ipv4.ipi_addr);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO &&
                   c->cmsg_len >= CMSG_LEN(sizeof(ipv6))) {
            memcpy(&ipv6, CMSG_DATA(c), sizeof(ipv6));
            memcpy(path->local_ip, &ipv6.ipi6_addr, 16);
        } else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO &&
                   c->cmsg_len >= CMSG_LEN(sizeof(segment))) {
            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
            received->segment_bytes = segment > 0 ? (uint32_t)segment : 0;
        }
    }
    return true;
}
