/* recvmmsg with UDP_GRO, sendmmsg with IP_PKTINFO. */
#define _GNU_SOURCE
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/clock.h"

#define RECEIVE_BUFFER_BYTES (256 << 20) /* of one socket, for datagrams between two reads */
#define SEND_BUFFER_BYTES (16 << 20)
/* 64 KiB and an odd number of cache lines: so the first bytes of all messages do not share a cache
 * set. */
#define MESSAGE_BYTES (65536 + 64 * 19)
#define CONTROL_BYTES 128

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

struct receive_header {
    struct sockaddr_in name;
    struct iovec iovec;
    uint8_t control[CONTROL_BYTES] __attribute__((aligned(8)));
};

struct slot {
    struct sockaddr_in to;
    uint32_t endpoint;
    uint16_t bytes;
};

struct send_header {
    struct iovec iovec;
    uint8_t control[CMSG_SPACE(sizeof(struct in_pktinfo))] __attribute__((aligned(8)));
};

struct net {
    unsigned socket_count;
    int sockets[NET_SOCKETS_MAX];
    struct sockaddr_in bound[NET_SOCKETS_MAX];
    int64_t wall_ahead_ns; /* wall clock minus monotonic clock */
    struct net_counters counters;
    struct mmsghdr received[NET_BATCH];
    struct receive_header receive_headers[NET_BATCH];
    uint8_t *buffers;
    unsigned slot_count;
    struct slot slots[NET_SLOTS];
    struct mmsghdr sends[NET_SLOTS];
    struct send_header send_headers[NET_SLOTS];
    uint8_t *slot_bytes;
};

/* ---- opening ---- */

static bool socket_open(struct net *net, unsigned i, char *why)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int yes = 1, receive = RECEIVE_BUFFER_BYTES, send = SEND_BUFFER_BYTES;
    struct sockaddr_in any = {.sin_family = AF_INET};
    socklen_t bytes = sizeof(net->bound[i]);

    net->sockets[i] = fd;
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0 ||
        getsockname(fd, (struct sockaddr *)&net->bound[i], &bytes) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &yes, sizeof(yes)) != 0 ||
        setsockopt(fd, IPPROTO_UDP, UDP_GRO, &yes, sizeof(yes)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof(yes)) != 0) {
        snprintf(why, NET_WHY_BYTES, "UDP socket %u of %u: %s", i + 1, net->socket_count,
                 strerror(errno));
        return false;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof(receive)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send, sizeof(send)) != 0) {
        snprintf(
            why, NET_WHY_BYTES,
            "large socket buffers are not allowed (%s): run this as root or with CAP_NET_ADMIN",
            strerror(errno));
        return false;
    }
    return true;
}

static void *map_memory(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void prepare_headers(struct net *net)
{
    for (unsigned i = 0; i < NET_BATCH; i++) {
        net->receive_headers[i].iovec.iov_base = net->buffers + (size_t)i * MESSAGE_BYTES;
        net->receive_headers[i].iovec.iov_len = 65536;
    }
    for (unsigned i = 0; i < NET_SLOTS; i++) {
        struct msghdr *header = &net->sends[i].msg_hdr;
        struct cmsghdr *control = (struct cmsghdr *)net->send_headers[i].control;

        header->msg_namelen = sizeof(struct sockaddr_in);
        header->msg_iov = &net->send_headers[i].iovec;
        header->msg_iovlen = 1;
        header->msg_control = control;
        header->msg_controllen = sizeof(net->send_headers[i].control);
        control->cmsg_level = IPPROTO_IP;
        control->cmsg_type = IP_PKTINFO;
        control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    }
}

struct net *net_open(unsigned sockets, char *why)
{
    struct net *net = calloc(1, sizeof(*net));

    if (!net)
        return NULL;
    net->socket_count = sockets;
    memset(net->sockets, -1, sizeof(net->sockets));
    net->buffers = map_memory((size_t)NET_BATCH * MESSAGE_BYTES);
    net->slot_bytes = map_memory((size_t)NET_SLOTS * NET_SLOT_BYTES);
    if (!net->buffers || !net->slot_bytes) {
        snprintf(why, NET_WHY_BYTES, "not enough memory for packet buffers");
        net_close(net);
        return NULL;
    }
    prepare_headers(net);
    for (unsigned i = 0; i < sockets; i++)
        if (!socket_open(net, i, why)) {
            net_close(net);
            return NULL;
        }
    net_compare_clocks(net);
    return net;
}

void net_close(struct net *net)
{
    for (unsigned i = 0; i < net->socket_count; i++)
        if (net->sockets[i] >= 0)
            close(net->sockets[i]);
    if (net->buffers)
        munmap(net->buffers, (size_t)NET_BATCH * MESSAGE_BYTES);
    if (net->slot_bytes)
        munmap(net->slot_bytes, (size_t)NET_SLOTS * NET_SLOT_BYTES);
    free(net);
}

unsigned net_socket_count(const struct net *net)
{
    return net->socket_count;
}

static in_addr_t address_of(uint32_t endpoint)
{
    return htonl(NET_ENDPOINT_BASE + endpoint);
}

struct sockaddr_in net_address(const struct net *net, uint32_t endpoint)
{
    struct sockaddr_in address = net->bound[endpoint % net->socket_count];

    address.sin_addr.s_addr = address_of(endpoint);
    return address;
}

/* ---- receiving ---- */

void net_compare_clocks(struct net *net)
{
    net->wall_ahead_ns = (int64_t)(clock_wall_ns() - clock_monotonic_ns());
}

/* Reads address, segment size and time of arrival of a message. */
static void read_control(const struct net *net, struct msghdr *header, struct net_message *m)
{
    m->segment_bytes = m->bytes;
    m->endpoint = UINT32_MAX;
    m->arrived_ns = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            const struct in_pktinfo *info = (const struct in_pktinfo *)CMSG_DATA(c);

            m->endpoint = ntohl(info->ipi_addr.s_addr) - NET_ENDPOINT_BASE;
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int segment;

            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
            if (segment > 0)
                m->segment_bytes = (size_t)segment;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;

            memcpy(&t, CMSG_DATA(c), sizeof(t));
            m->arrived_ns =
                (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec - (uint64_t)net->wall_ahead_ns;
        }
    }
}

size_t net_receive(struct net *net, unsigned socket, struct net_message messages[NET_BATCH])
{
    int received;

    for (unsigned i = 0; i < NET_BATCH; i++) {
        struct msghdr *header = &net->received[i].msg_hdr;

        header->msg_name = &net->receive_headers[i].name;
        header->msg_namelen = sizeof(net->receive_headers[i].name);
        header->msg_iov = &net->receive_headers[i].iovec;
        header->msg_iovlen = 1;
        header->msg_control = net->receive_headers[i].control;
        header->msg_controllen = CONTROL_BYTES;
    }
    received = recvmmsg(net->sockets[socket], net->received, NET_BATCH, MSG_DONTWAIT, NULL);
    if (received <= 0)
        return 0;
    net->counters.messages += (uint64_t)received;
    for (int i = 0; i < received; i++) {
        struct msghdr *header = &net->received[i].msg_hdr;

        messages[i].data = net->receive_headers[i].iovec.iov_base;
        messages[i].bytes = net->received[i].msg_len;
        messages[i].from = net->receive_headers[i].name;
        net->counters.truncated += (header->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
        read_control(net, header, &messages[i]);
        if (messages[i].bytes)
            net->counters.received +=
                (messages[i].bytes + messages[i].segment_bytes - 1) / messages[i].segment_bytes;
    }
    return (size_t)received;
}

/* ---- sending ---- */

void net_reserve(struct net *net, unsigned count)
{
    if (net->slot_count + count > NET_SLOTS)
        net_flush(net);
}

uint8_t *net_slot(struct net *net, uint32_t endpoint, const struct sockaddr_in *to, size_t bytes)
{
    struct slot *slot;

    if (net->slot_count == NET_SLOTS)
        net_flush(net);
    slot = &net->slots[net->slot_count];
    slot->to = *to;
    slot->endpoint = endpoint;
    slot->bytes = (uint16_t)bytes;
    return net->slot_bytes + (size_t)net->slot_count++ * NET_SLOT_BYTES;
}

void net_send(struct net *net, uint32_t endpoint, const struct sockaddr_in *to, const void *data,
              size_t bytes)
{
    memcpy(net_slot(net, endpoint, to, bytes), data, bytes);
}

static void prepare_send(struct net *net, unsigned at, unsigned slot)
{
    struct msghdr *header = &net->sends[at].msg_hdr;
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = address_of(net->slots[slot].endpoint)};

    header->msg_name = &net->slots[slot].to;
    net->send_headers[at].iovec.iov_base = net->slot_bytes + (size_t)slot * NET_SLOT_BYTES;
    net->send_headers[at].iovec.iov_len = net->slots[slot].bytes;
    memcpy(CMSG_DATA((struct cmsghdr *)net->send_headers[at].control), &info, sizeof(info));
}

void net_flush(struct net *net)
{
    for (unsigned s = 0; s < net->socket_count && net->slot_count; s++) {
        unsigned count = 0, at = 0;

        for (unsigned i = 0; i < net->slot_count; i++)
            if (net->slots[i].endpoint % net->socket_count == s)
                prepare_send(net, count++, i);
        while (at < count) {
            int sent = sendmmsg(net->sockets[s], net->sends + at, count - at, MSG_DONTWAIT);

            if (sent > 0) {
                net->counters.sent += (uint64_t)sent;
                at += (unsigned)sent;
            } else if (errno != EINTR) {
                net->counters.send_failed++;
                at++;
            }
        }
    }
    net->slot_count = 0;
}

/* ---- counting ---- */

const struct net_counters *net_counters(const struct net *net)
{
    return &net->counters;
}

uint64_t net_drops(const struct net *net)
{
    uint64_t drops = 0;

    for (unsigned i = 0; i < net->socket_count; i++) {
        uint32_t info[SK_MEMINFO_VARS] = {0};
        socklen_t bytes = sizeof(info);

        if (getsockopt(net->sockets[i], SOL_SOCKET, SO_MEMINFO, info, &bytes) == 0)
            drops += info[SK_MEMINFO_DROPS];
    }
    return drops;
}
