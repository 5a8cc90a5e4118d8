/* Rows of `desired`: taking, publishing, freeing, and taking over an earlier writer's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "src/log.h"

union any_row {
    struct row_header header;
    struct room_row room;
    struct transport_row transport;
    struct producer_row producer;
    struct consumer_row consumer;
};

/* Tables of ours, in the order in which they must be freed: users before what they use. */
static const enum table_id removal_order[] = {TABLE_consumer, TABLE_producer, TABLE_transport,
                                              TABLE_room};

struct slots *dataplane_slots(struct dataplane *dataplane, enum table_id table)
{
    switch (table) {
    case TABLE_room:
        return &dataplane->rooms;
    case TABLE_transport:
        return &dataplane->transports;
    case TABLE_producer:
        return &dataplane->producers;
    case TABLE_consumer:
        return &dataplane->consumers;
    default:
        return NULL;
    }
}

bool dataplane_rows_open(struct dataplane *dataplane)
{
    size_t i;

    for (i = 0; i < 4; i++) {
        struct slots *slots = dataplane_slots(dataplane, removal_order[i]);

        slots->count = tables[removal_order[i]].rows;
        slots->index = calloc(slots->count, sizeof(*slots->index));
        slots->free_ms = calloc(slots->count, sizeof(*slots->free_ms));
        if (slots->index == NULL || slots->free_ms == NULL)
            return false;
    }
    return true;
}

void dataplane_rows_close(struct dataplane *dataplane)
{
    size_t i;

    for (i = 0; i < 4; i++) {
        struct slots *slots = dataplane_slots(dataplane, removal_order[i]);

        free(slots->index);
        free(slots->free_ms);
    }
}

/* ---- slots ---- */

static bool slot_take(struct dataplane *dataplane, struct slots *slots, uint32_t *index)
{
    uint32_t now_ms = (uint32_t)uv_now(dataplane->loop);

    if (slots->waiting > 0 && now_ms - slots->free_ms[slots->head] >= QUARANTINE_MS) {
        *index = slots->index[slots->head];
        slots->head = (slots->head + 1) % slots->count;
        slots->waiting--;
        return true;
    }
    if (slots->fresh == slots->count)
        return false;
    *index = slots->fresh++;
    return true;
}

static void slot_give(struct dataplane *dataplane, struct slots *slots, uint32_t index)
{
    uint32_t tail = (slots->head + slots->waiting) % slots->count;

    slots->index[tail] = index;
    slots->free_ms[tail] = (uint32_t)uv_now(dataplane->loop);
    slots->waiting++;
}

/* ---- notes and bells ---- */

static void note_change(struct dataplane *dataplane, enum table_id table, handle_word handle,
                        uint32_t worker)
{
    struct ring_note note = {.table = table, .handle = handle};

    if (worker >= WORKERS_MAX || dataplane->bell_worker[worker] < 0)
        return;
    ring_put_note(&dataplane->changes[worker],
                  note); /* full: the overflow mark asks for a rescan */
    dataplane->bells_due |= 1u << worker;
}

/* Once per turn of the loop, however many rows changed in it. */
void dataplane_ring_bells(struct dataplane *dataplane)
{
    const uint64_t one = 1;
    uint32_t w;

    for (w = 0; dataplane->bells_due != 0; w++) {
        if ((dataplane->bells_due & 1u << w) == 0)
            continue;
        dataplane->bells_due &= ~(1u << w);
        if (write(dataplane->bell_worker[w], &one, sizeof(one)) < 0 && errno != EAGAIN)
            LOG(WARN, "dataplane",
                "cannot ring a worker's bell; it will see the change at its next turn",
                F("worker", "%u", w), F("error", "%s", strerror(errno)));
    }
}

/* ---- the public verbs ---- */

static struct row_header *row_of(struct dataplane *dataplane, enum table_id table,
                                 handle_word handle)
{
    struct row_header *row;

    if (!dataplane->mapped || handle == 0 || handle_index(handle) >= tables[table].rows)
        return NULL;
    row = region_row(&dataplane->desired, table, handle_index(handle));
    return row->used == 1 && row->generation == handle_generation(handle) ? row : NULL;
}

handle_word dataplane_row_add(struct dataplane *dataplane, enum table_id table, const void *row,
                              uint32_t worker)
{
    struct slots *slots = dataplane_slots(dataplane, table);
    struct row_header *to;
    const struct field *bad;
    union any_row copy;
    uint32_t index;
    handle_word handle;

    if (slots == NULL || !dataplane->up || worker >= WORKERS_MAX)
        return 0;
    memcpy(&copy, row, tables[table].row_bytes);
    if (!row_in_range(table, &copy, &bad)) {
        LOG(ERROR, "dataplane", "a row of ours is out of range: this is a bug, please report it",
            F("table", "%s", tables[table].name), F("field", "%s", bad->name));
        return 0;
    }
    if (!slot_take(dataplane, slots, &index)) {
        LOG(WARN, "dataplane", "a table is full: calls that need a row of it are refused",
            F("table", "%s", tables[table].name), F("rows", "%u", slots->count));
        return 0;
    }
    to = region_row(&dataplane->desired, table, index);
    copy.header.generation = to->generation + 1 != 0 ? to->generation + 1 : 1;
    copy.header.used = 1;
    copy.header.reserved = 0;
    row_write(table, to, &copy.header);
    handle = handle_make(index, copy.header.generation);
    note_change(dataplane, table, handle, worker);
    if (table == TABLE_transport || table == TABLE_consumer)
        dataplane->load[worker]++;
    else if (table == TABLE_room)
        dataplane->room_count[worker]++;
    return handle;
}

bool dataplane_row_update(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          const void *row, uint32_t worker)
{
    struct row_header *to;
    union any_row copy;

    if (dataplane_slots(dataplane, table) == NULL)
        return false;
    to = row_of(dataplane, table, handle);
    if (to == NULL)
        return false;
    memcpy(&copy, row, tables[table].row_bytes);
    copy.header = (struct row_header){.generation = to->generation, .used = 1};
    if (!row_in_range(table, &copy, NULL))
        return false;
    row_write(table, to, &copy.header);
    note_change(dataplane, table, handle, worker);
    return true;
}

void dataplane_row_remove(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          uint32_t worker)
{
    struct slots *slots = dataplane_slots(dataplane, table);
    struct row_header *to = slots != NULL ? row_of(dataplane, table, handle) : NULL;
    union any_row copy;

    if (to == NULL)
        return;
    /* Wiped: an ICE password has no business in memory after its transport. */
    memset(&copy, 0, sizeof(copy));
    copy.header.generation = to->generation;
    row_write(table, to, &copy.header);
    note_change(dataplane, table, handle, worker);
    slot_give(dataplane, slots, handle_index(handle));
    if (worker >= WORKERS_MAX)
        return;
    if ((table == TABLE_transport || table == TABLE_consumer) && dataplane->load[worker] > 0)
        dataplane->load[worker]--;
    else if (table == TABLE_room && dataplane->room_count[worker] > 0)
        dataplane->room_count[worker]--;
}

/* ---- after a restart of the control plane ---- */

static uint32_t worker_of(struct dataplane *dataplane, enum table_id table,
                          const struct row_header *row)
{
    handle_word transport;

    if (table == TABLE_room)
        return ((const struct room_row *)row)->worker;
    if (table == TABLE_transport)
        return ((const struct transport_row *)row)->worker;
    transport = table == TABLE_producer ? ((const struct producer_row *)row)->transport
                                        : ((const struct consumer_row *)row)->transport;
    if (handle_index(transport) >= tables[TABLE_transport].rows)
        return WORKERS_MAX;
    return ((const struct transport_row *)region_row(&dataplane->desired, TABLE_transport,
                                                     handle_index(transport)))
        ->worker;
}

/* Frees used rows and rebuilds the slots. Reads no further than rows were ever used, so that the
 * rest of the sparse file stays unpaid. */
static uint32_t take_over_table(struct dataplane *dataplane, enum table_id table)
{
    struct slots *slots = dataplane_slots(dataplane, table);
    uint32_t index, w, freed = 0;

    slots->fresh = slots->head = slots->waiting = 0;
    for (index = 0; index < slots->count; index++) {
        struct row_header *row = region_row(&dataplane->desired, table, index);
        handle_word handle = handle_make(index, row->generation);
        union any_row copy;

        /* generation 0 and an odd sequence: died while writing it for the first time */
        if (row->generation == 0 && atomic_load(&row->sequence) == 0)
            break;
        slots->fresh = index + 1;
        if (row->used != 0 || atomic_load(&row->sequence) % 2 != 0) {
            uint32_t worker = worker_of(dataplane, table, row);

            memset(&copy, 0, sizeof(copy));
            copy.header.generation = row->generation;
            row_write(table, row, &copy.header);
            freed++;
            for (w = 0; w < WORKERS_MAX; w++) {
                if (worker == w || worker >= WORKERS_MAX)
                    note_change(dataplane, table, handle, w);
            }
        }
        slot_give(dataplane, slots, index);
    }
    return freed;
}

void dataplane_take_over(struct dataplane *dataplane)
{
    uint32_t freed[4];
    size_t i;

    memset(dataplane->load, 0, sizeof(dataplane->load));
    memset(dataplane->room_count, 0, sizeof(dataplane->room_count));
    for (i = 0; i < 4; i++)
        freed[i] = take_over_table(dataplane, removal_order[i]);
    if (freed[0] + freed[1] + freed[2] + freed[3] > 0)
        LOG(INFO, "dataplane", "freed what an earlier control plane left",
            F("consumers", "%u", freed[0]), F("producers", "%u", freed[1]),
            F("transports", "%u", freed[2]), F("rooms", "%u", freed[3]));
}
