/* Rows and events of the region `actual`. */
#include "publish.h"

#include <string.h>

#include "src/clock.h"

#define RATE_SPAN_NS_MIN (100 * NS_PER_MS) /* after a shorter time the old rate is kept */

void publish_row(struct publisher *p, enum table_id table, uint32_t index, uint32_t generation,
                 struct row_header *row)
{
    row->generation = generation;
    row->used = 1;
    row_write(table, region_row(p->actual, table, index), row);
}

void publish_gone(struct publisher *p, enum table_id table, uint32_t index, uint32_t generation)
{
    union {
        struct row_header header;
        struct transport_state_row transport;
        struct producer_state_row producer;
        struct consumer_state_row consumer;
        struct audio_level_row level;
    } row;

    memset(&row, 0, sizeof(row));
    row.header.generation = generation;
    row_write(table, region_row(p->actual, table, index), &row.header);
}

void publish_event(struct publisher *p, enum table_id table, uint32_t index, uint32_t generation)
{
    struct ring_note note = {.table = table, .handle = handle_make(index, generation)};

    if (!ring_put_note(&p->events, note))
        p->turn->counters[COUNTER_events_lost]++;
    p->ring_bell = true;
}

uint32_t publish_bps(uint64_t bytes, const uint64_t *bytes_before, const uint32_t *bps_before,
                     uint64_t span_ns)
{
    uint64_t before, bps;

    if (span_ns < RATE_SPAN_NS_MIN)
        return span_ns ? __atomic_load_n(bps_before, __ATOMIC_RELAXED) : 0;
    before = __atomic_load_n(bytes_before, __ATOMIC_RELAXED);
    bps = bytes > before ? (bytes - before) * 8000000 / (span_ns / 1000) : 0;
    return bps < UINT32_MAX ? (uint32_t)bps : UINT32_MAX;
}
