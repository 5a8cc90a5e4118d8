/* What a worker says to the control plane and to ringcastctl: rows in the region `actual`, and
 * events that name a row which changed. The contents of the rows come from transport.c,
 * producer.c, consumer.c and worker.c.
 *
 * Units:   rates are bits per second between the last two times that the row was published.
 * Threads: a row is written by the worker that has the object. Another worker may write it next, so
 *          the row before is read by atomic loads.
 * Errors:  an event that finds the ring full is counted; the control plane then rescans. */
#ifndef RINGCAST_PUBLISH_H
#define RINGCAST_PUBLISH_H

#include "src/region.h"
#include "turn.h"

struct publisher {
    struct turn *turn;
    const struct region *actual;
    struct ring events;
    bool ring_bell; /* wake the control plane at the end of the turn */
};

/* Writes `row` with this generation. */
void publish_row(struct publisher *p, enum table_id table, uint32_t index, uint32_t generation,
                 struct row_header *row);
/* Clears the row of an object that is gone. */
void publish_gone(struct publisher *p, enum table_id table, uint32_t index, uint32_t generation);
void publish_event(struct publisher *p, enum table_id table, uint32_t index, uint32_t generation);

/* ---- rates ---- */

/* The row of this object as it was published before. */
static inline const struct row_header *publish_row_before(const struct publisher *p,
                                                          enum table_id table, uint32_t index)
{
    return region_row(p->actual, table, index);
}

/* Nanoseconds since the row `before` was published; 0: it is absent, or of another
 * object. */
static inline uint64_t publish_span_ns(const struct publisher *p, const struct row_header *before,
                                       uint32_t generation, const uint64_t *published_ns)
{
    return __atomic_load_n(&before->generation, __ATOMIC_RELAXED) == generation &&
                   __atomic_load_n(&before->used, __ATOMIC_RELAXED)
               ? p->turn->now_ns - __atomic_load_n(published_ns, __ATOMIC_RELAXED)
               : 0;
}

/* `bytes_before` and `bps_before` lie in the row before; they are not read when span_ns is 0. */
uint32_t publish_bps(uint64_t bytes, const uint64_t *bytes_before, const uint32_t *bps_before,
                     uint64_t span_ns);

#endif
