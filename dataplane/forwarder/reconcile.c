/* Table changes: notes and rescans; the object's file applies the row. */
#include "reconcile.h"

#include <string.h>

#include "consumer.h"
#include "producer.h"
#include "transport.h"
#include "turn.h"

#define CHANGES_PER_TURN 64      /* rows applied between two batches of datagrams */
#define RESCAN_ROWS_PER_TURN 512 /* rows that a scan looks at in one turn */

/* A row that is being written is left alone: its writer sends a note when it is done. If the writer
 * died, the next control plane writes its rows again. */
static void reconcile_row(struct reconciler *r, enum table_id table, uint32_t index)
{
    union {
        struct row_header header;
        struct transport_row transport;
        struct producer_row producer;
        struct consumer_row consumer;
    } row;
    enum row_result result = row_copy(table, &row, region_row(r->desired, table, index), 0);

    if (result == ROW_TORN)
        return;
    if (result == ROW_RANGE)
        r->turn->counters[COUNTER_rows_refused]++;
    r->turn->counters[COUNTER_changes_applied]++;
    if (table == TABLE_transport)
        transport_reconcile(r->transports, index, result == ROW_OK ? &row.transport : NULL);
    else if (table == TABLE_producer)
        producer_reconcile(r->producers, index, result == ROW_OK ? &row.producer : NULL);
    else
        consumer_reconcile(r->consumers, index, result == ROW_OK ? &row.consumer : NULL);
    if (table == TABLE_transport)
        explicit_bzero(&row.transport, sizeof(row.transport)); /* it held an ICE password */
}

void reconcile_producer(struct reconciler *r, uint32_t index)
{
    if (index < PRODUCERS_MAX)
        reconcile_row(r, TABLE_producer, index);
}

void reconcile_start_rescan(struct reconciler *r)
{
    r->rescan.active = true;
    r->rescan.table = TABLE_transport;
    r->rescan.row = 0;
    r->turn->counters[COUNTER_rescans]++;
}

/* Transports before producers before consumers, because each needs the ones before it. */
static void next_table(struct reconciler *r)
{
    r->rescan.row = 0;
    if (r->rescan.table == TABLE_transport)
        r->rescan.table = TABLE_producer;
    else if (r->rescan.table == TABLE_producer)
        r->rescan.table = TABLE_consumer;
    else
        r->rescan.active = false;
}

static void rescan_slice(struct reconciler *r)
{
    for (unsigned n = 0; n < RESCAN_ROWS_PER_TURN && r->rescan.active; n++) {
        const struct row_header *row = region_row(r->desired, r->rescan.table, r->rescan.row);

        if (__atomic_load_n(&row->generation, __ATOMIC_RELAXED) == 0) {
            next_table(r); /* rows are used from the front, so all behind this one are unused */
            continue;
        }
        reconcile_row(r, r->rescan.table, r->rescan.row);
        if (++r->rescan.row == tables[r->rescan.table].rows)
            next_table(r);
    }
}

void reconcile_changes(struct reconciler *r)
{
    if (ring_overflowed(&r->changes))
        reconcile_start_rescan(r);
    for (unsigned n = 0; n < CHANGES_PER_TURN; n++) {
        const struct ring_note *shared = ring_peek(&r->changes);
        uint32_t table, index;

        if (!shared)
            break;
        table = __atomic_load_n(&shared->table, __ATOMIC_RELAXED);
        index = handle_index(__atomic_load_n(&shared->handle, __ATOMIC_RELAXED));
        if ((table == TABLE_transport || table == TABLE_producer || table == TABLE_consumer) &&
            index < tables[table].rows)
            reconcile_row(r, table, index);
        else if (table != TABLE_room)
            r->turn->counters[COUNTER_rows_refused]++;
        ring_consume(&r->changes);
    }
    if (r->rescan.active)
        rescan_slice(r);
    producers_remove_slice(r->producers, CHANGES_PER_TURN);
}
