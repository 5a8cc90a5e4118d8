/* Table changes: makes this worker's objects say what the rows of the region `desired` say.
 *
 * A change note only names a row. Each object's file compares the row with the object and closes
 * the gap (transport.c, producer.c, consumer.c). So when notes are lost, a scan of all rows has the
 * same result.
 *
 * Threads: the worker's. Memory: a row is copied and range-checked before anybody uses it. */
#ifndef RINGCAST_RECONCILE_H
#define RINGCAST_RECONCILE_H

#include "src/region.h"

struct reconciler {
    struct turn *turn;
    const struct region *desired;
    struct ring changes;
    struct transports *transports;
    struct producers *producers;
    struct consumers *consumers;
    struct {
        bool active;
        enum table_id table;
        uint32_t row; /* the next one */
    } rescan;
};

/* Does one turn's share of the work: change notes, a rescan, consumers to remove. */
void reconcile_changes(struct reconciler *r);
/* Starts a scan of all rows; each turn does a part of it. */
void reconcile_start_rescan(struct reconciler *r);
/* Applies one producer's row now. */
void reconcile_producer(struct reconciler *r, uint32_t index);

#endif
