/* What `auto` takes: every candidate does the data plane's work on loopback for a moment, and the one
 * that needs least CPU time is picked.
 *
 *   our sockets ─► clients' datagrams ─► wait, receive, release, slots, transmit ─► clients
 *                       not timed                        timed
 *
 * Once per process: it takes some 40 ms a candidate, and two at a time would measure each other. */
#ifndef RINGCAST_IO_CHOOSE_H
#define RINGCAST_IO_CHOOSE_H

#include "io.h"

#define CANDIDATES_MAX 8
#define CHOICE_WHY_BYTES 192
#define REFUSAL_BYTES 128

/* What a candidate cost, in ns of CPU time a datagram; ≤ 0: it was not measured, for a reason. */
struct measured {
    const struct io_backend *backend;
    double ns;
    char refusal[REFUSAL_BYTES];
};

/* All candidates, best first where measuring cannot tell them apart. Returns how many. A backend that
 * loopback says nothing about (af_xdp, dpdk) gets a row there and a measurement of its own. */
size_t backends_measure(struct measured *measured);
/* Index of the cheapest; an earlier one is taken at up to 5 % more. `count`: none was measured. */
size_t measured_pick(const struct measured *measured, size_t count);
/* "io_uring: 412 ns a datagram, socket: 447 ns" */
void measured_explain(const struct measured *measured, size_t count, size_t picked, char *why);

#endif
