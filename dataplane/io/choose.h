/* How `auto` chooses: every candidate does the work of a worker on loopback for a moment, and the
 * one that needs least CPU time is picked.
 *
 *   our sockets ─► clients' datagrams ─► wait, receive, release, slot, transmit ─► clients
 *                       not timed                        timed
 *
 * Candidates are the backends with auto_may_choose. One without loopback_can_measure stays
 * unmeasured: `auto` takes it only when nothing could be measured and it is the first that opens.
 *
 * Threads: one at a time, once per process. It takes some 40 ms for each candidate. */
#ifndef RINGCAST_IO_CHOOSE_H
#define RINGCAST_IO_CHOOSE_H

#include "io.h"

/* What a candidate cost: ns of CPU time per datagram. 0: not measured, and `refusal` says why. */
struct measured {
    const struct io_backend *backend;
    double ns;
    char refusal[IO_WHY_BYTES];
};

/* Measures all candidates, in the order of `backends`. Returns how many there are. */
size_t backends_measure(const struct io_backends *backends,
                        struct measured measured[IO_BACKENDS_MAX]);
/* Returns the index of the cheapest candidate. An earlier candidate wins when it costs at most 5 %
 * more. Returns `count` when no candidate was measured. */
size_t measured_pick(const struct measured *measured, size_t count);
/* "io_uring: 412 ns a datagram, socket: 447 ns" */
void measured_explain(const struct measured *measured, size_t count, size_t picked,
                      char why[IO_CHOICE_BYTES]);

#endif
