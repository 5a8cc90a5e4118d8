/* The generator's UDP sockets. Many endpoints share one socket. Each endpoint has its own source
 * address in 127.64.0.0/10, which IP_PKTINFO sets when sending and reports when receiving. So each
 * endpoint has a unique 5-tuple.
 *
 *   endpoint i: address 127.64.0.0 + i + 1, socket i % sockets
 *
 * Reading is done in batches with UDP_GRO: a segmented send of the server arrives as one message
 * with several datagrams. The kernel notes the time of arrival, so it does not matter when the
 * message is read.
 *
 * Units:  ns of CLOCK_MONOTONIC. Threads: the media thread.
 * Memory: messages are valid until the next net_receive, slots until net_flush. */
#ifndef RINGCAST_LOAD_NET_H
#define RINGCAST_LOAD_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_SOCKETS_MAX 64
#define NET_BATCH 32  /* messages of one net_receive */
#define NET_SLOTS 256 /* datagrams that wait for net_flush */
#define NET_SLOT_BYTES 1600
#define NET_ENDPOINT_BASE 0x7f400001u /* 127.64.0.1 */
#define NET_WHY_BYTES 200

struct net_message {
    uint8_t *data;
    size_t bytes, segment_bytes; /* every segment but the last has segment_bytes */
    uint32_t endpoint;           /* index of the endpoint whose address it was sent to */
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
/* Compares wall clock and monotonic clock, because the kernel notes arrivals in wall time. Call it
 * every few milliseconds. */
void net_compare_clocks(struct net *net);

/* Flushes unless `count` slots are free (at most NET_SLOTS). */
void net_reserve(struct net *net, unsigned count);
/* Takes a slot for one datagram of up to NET_SLOT_BYTES. It flushes if no slot is free, so a caller
 * that takes several slots before it fills them must reserve them first. */
uint8_t *net_slot(struct net *net, uint32_t endpoint, const struct sockaddr_in *to, size_t bytes);
void net_send(struct net *net, uint32_t endpoint, const struct sockaddr_in *to, const void *data,
              size_t bytes);
void net_flush(struct net *net);

const struct net_counters *net_counters(const struct net *net);
/* Received datagrams that did not fit into the sockets' buffers, since the sockets were opened. */
uint64_t net_drops(const struct net *net);

#endif
