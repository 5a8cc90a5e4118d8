/* Sending runs by sendmmsg, for every backend that sends over sockets.
 *
 *   runs of one turn ─► sends[IPv4], sends[IPv6], SENDS_AT_ONCE at a time ─► sendmmsg ─► counters
 *
 * io_uring's backend sends by this, too, unless its ring can send without copying: a request of
 * IORING_OP_SENDMSG costs a tenth more than its share of a sendmmsg (ringcast-bench-io). */
#ifndef RINGCAST_IO_SENDS_H
#define RINGCAST_IO_SENDS_H

#include "address.h"

#define SENDS_AT_ONCE 64 /* more save nothing; so many headers stay in the nearest cache */

/* Sends of one socket on their way into one sendmmsg. */
struct sends {
    const struct udp_socket *socket;
    unsigned count;
    bool full; /* the socket takes no more in this turn */
    struct mmsghdr messages[SENDS_AT_ONCE];
    struct send_room rooms[SENDS_AT_ONCE];
    struct run *runs[SENDS_AT_ONCE];
};

void sends_open(struct sends sends[SOCKETS_MAX], const struct udp_sockets *sockets);
/* Sends all runs of `slots`, counts them, and clears it. */
void sends_transmit(struct sends sends[SOCKETS_MAX], const struct udp_sockets *sockets,
                    struct slots *slots, struct io_counters *counters);
/* One run once more, by itself; run->error says how it went. Nothing may be prepared in `sends`. */
void sends_again(struct sends *sends, struct slots *slots, struct run *run);
/* A run that the kernel did not take as one: each datagram by itself. Remembers that path. */
void sends_singly(const struct udp_socket *socket, struct slots *slots, const struct run *run,
                  struct io_counters *counters);

#endif
