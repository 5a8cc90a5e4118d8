/* The generator's UDP sockets. Many endpoints share one socket: each has a source address of its own
 * in 127.64.0.0/10, given and found again by IP_PKTINFO, so that its 5-tuple is unique.
 *
 *   endpoint i: address 127.64.0.0 + i + 1, socket i % sockets
 *
 * Received in batches with UDP_GRO (a segmented send of the server comes in as one message) and with
 * the kernel's time of arrival, so that what is measured does not depend on when we come to read.
 * Sockets are not waited for: the media loop comes by every tick (see media.c), so the server's
 * sends wake nobody.
 *
 * Units: ns of CLOCK_MONOTONIC. Threads: the media thread. Memory: messages are valid until the next
 * net_receive, slots until net_flush. */
#ifndef RINGCAST_LOAD_NET_H
#define RINGCAST_LOAD_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_SOCKETS_MAX 64
#define NET_BATCH 32 /* messages of one net_receive */
#define NET_SLOTS 256
#define NET_SLOT_BYTES 1600
#define NET_ENDPOINT_BASE 0x7f400001u /* 127.64.0.1 */
#define NET_WHY_BYTES 200

struct net_message {
    uint8_t *data;
    size_t bytes, segment_bytes; /* every segment but the last has segment_bytes */
    uint32_t endpoint;           /* index, by the address it was sent to */
    struct sockaddr_in from;
    uint64_t arrived_ns;
};

struct net_counters {
    uint64_t received, messages, sent, send_failed, truncated;
};

struct net;
struct net *net_open(unsigned sockets, char *why);
void net_close(struct net *net);

unsigned net_socket_count(const struct net *net);
struct sockaddr_in net_address(const struct net *net, uint32_t endpoint);

size_t net_receive(struct net *net, unsigned socket, struct net_message messages[NET_BATCH]);
/* The clocks are compared (arrivals are told in wall time). Call once a tick. */
void net_tick(struct net *net);

/* Flushes unless `count` (at most NET_SLOTS) places are free. */
void net_reserve(struct net *net, unsigned count);
/* A place for one datagram of up to NET_SLOT_BYTES; flushes when all are taken: whoever fills places
 * later than they are taken reserves them first. */
uint8_t *net_slot(struct net *net, uint32_t endpoint, const struct sockaddr_in *to, size_t bytes);
void net_send(struct net *net, uint32_t endpoint, const struct sockaddr_in *to, const void *data,
              size_t bytes);
void net_flush(struct net *net);

const struct net_counters *net_counters(const struct net *net);
/* Datagrams that our own sockets could not hold, since they were opened. */
uint64_t net_drops(const struct net *net);

#endif
