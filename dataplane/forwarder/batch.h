/* The datagrams that a worker received in this turn, and what became of each.
 *
 * Memory:  the bytes belong to the backend; the worker gives them back after ingress.
 * Threads: the worker's. */
#ifndef RINGCAST_BATCH_H
#define RINGCAST_BATCH_H

#include "dataplane/io/io.h"
#include "turn.h"

struct batch {
    size_t count;
    struct io_datagram datagrams[IO_BATCH];
    uint8_t verdicts[IO_BATCH]; /* enum verdict, or VERDICT_PENDING */
};

static inline void verdict_set(struct batch *batch, size_t position, enum verdict verdict)
{
    batch->verdicts[position] = (uint8_t)verdict;
}

#endif
