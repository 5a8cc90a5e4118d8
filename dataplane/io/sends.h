/* Sends runs by sendmmsg, for every backend that sends over sockets.
 *
 *   runs of one turn ─► sends[IPv4], sends[IPv6], SENDS_AT_ONCE at a time ─► sendmmsg ─► counters
 *
 * The io_uring backend sends this way, too, except when its ring can send without copying: a send
 * by an IORING_OP_SENDMSG request costs a tenth more than one by sendmmsg (measured by
 * ringcast-bench-io). */
#ifndef RINGCAST_IO_SENDS_H
#define RINGCAST_IO_SENDS_H

#include "address.h"

#define SENDS_AT_ONCE 64 /* more save no time; the headers of 64 fit into the L1 cache */

/* Sends of one socket that are collected for one sendmmsg. */
struct sends {
    const struct udp_socket *socket;
    unsigned count;
    bool full; /* the socket was full: nothing more is sent in this turn */
    struct mmsghdr messages[SENDS_AT_ONCE];
    struct send_room rooms[SENDS_AT_ONCE];
    struct run *runs[SENDS_AT_ONCE];
};

void sends_open(struct sends sends[SOCKETS_MAX], const struct udp_sockets *sockets);
/* Sends and counts all runs of `slots`, then clears `slots`. */
void sends_transmit(struct sends sends[SOCKETS_MAX], const struct udp_sockets *sockets,
                    struct slots *slots, struct io_counters *counters);
/* Sends one run again, by copying; run->error becomes the result. No send may be collected in
 * `sends`. */
void sends_retry(struct sends *sends, struct slots *slots, struct run *run);
/* The kernel refused to send this run at once. Sends its datagrams one by one and counts them.
 * Remembers the path. */
void sends_send_singly(const struct udp_socket *socket, struct slots *slots, const struct run *run,
                       struct io_counters *counters);

#endif
