/* Rows of the desired tables: added, updated, removed; and
 * those that an earlier control plane left. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "src/log.h"

#define DESIRED_TABLES 4

union any_row {
    struct row_header header;
    struct room_row room;
    struct transport_row transport;
    struct producer_row producer;
    struct consumer_row consumer;
};

/* The desired tables in the order in which their rows must be removed: a row goes before the rows
 * that it refers to. */
static const enum table_id removal_order[DESIRED_TABLES] = {TABLE_consumer, TABLE_producer,
                                                            TABLE_transport, TABLE_room};

struct row_pool *row_pool_of(struct dataplane *dataplane, enum table_id table)
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

bool row_pools_open(struct dataplane *dataplane)
{
    size_t i;

    for (i = 0; i < DESIRED_TABLES; i++) {
        enum table_id table = removal_order[i];

        if (!row_pool_open(row_pool_of(dataplane, table), tables[table].rows))
            return false;
    }
    return true;
}

void row_pools_close(struct dataplane *dataplane)
{
    size_t i;

    for (i = 0; i < DESIRED_TABLES; i++)
        row_pool_close(row_pool_of(dataplane, removal_order[i]));
}

static uint32_t now_ms(const struct dataplane *dataplane)
{
    return (uint32_t)uv_now(dataplane->loop);
}

/* ---- notifying workers ---- */

static void notify_worker(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          uint32_t worker)
{
    struct ring_note note = {.table = table, .handle = handle};

    if (worker >= WORKERS_MAX || dataplane->worker_doorbell[worker] < 0)
        return;
    ring_put_note(&dataplane->changes[worker], note); /* if it is full, the worker rescans */
    dataplane->doorbells_due |= 1u << worker;
}

void doorbells_ring(struct dataplane *dataplane)
{
    const uint64_t one = 1;
    uint32_t w;

    for (w = 0; dataplane->doorbells_due != 0; w++) {
        if ((dataplane->doorbells_due & 1u << w) == 0)
            continue;
        dataplane->doorbells_due &= ~(1u << w);
        if (write(dataplane->worker_doorbell[w], &one, sizeof(one)) < 0 && errno != EAGAIN)
            LOG(WARN, "dataplane",
                "cannot ring the doorbell of a worker; it will see the change at its next turn",
                F("worker", "%u", w), F("error", "%s", strerror(errno)));
    }
}

/* ---- add, update, remove ---- */

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
    struct row_pool *pool = row_pool_of(dataplane, table);
    struct row_header *to;
    const struct field *bad;
    union any_row copy;
    uint32_t index;
    handle_word handle;

    if (pool == NULL || !dataplane->up || worker >= WORKERS_MAX)
        return 0;
    memcpy(&copy, row, tables[table].row_bytes);
    if (!row_in_range(table, &copy, &bad)) {
        LOG(ERROR, "dataplane",
            "a field of a new row is out of range: this is a bug in Ringcast, please report it",
            F("table", "%s", tables[table].name), F("field", "%s", bad->name));
        return 0;
    }
    if (!row_pool_take(pool, now_ms(dataplane), &index)) {
        LOG(WARN, "dataplane", "a table is full: requests that need a row in it are refused",
            F("table", "%s", tables[table].name), F("rows", "%u", pool->rows));
        return 0;
    }
    to = region_row(&dataplane->desired, table, index);
    copy.header.generation = to->generation + 1 != 0 ? to->generation + 1 : 1;
    copy.header.used = 1;
    copy.header.reserved = 0;
    row_write(table, to, &copy.header);
    handle = handle_make(index, copy.header.generation);
    notify_worker(dataplane, table, handle, worker);
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

    if (row_pool_of(dataplane, table) == NULL)
        return false;
    to = row_of(dataplane, table, handle);
    if (to == NULL)
        return false;
    memcpy(&copy, row, tables[table].row_bytes);
    copy.header = (struct row_header){.generation = to->generation, .used = 1};
    if (!row_in_range(table, &copy, NULL))
        return false;
    row_write(table, to, &copy.header);
    notify_worker(dataplane, table, handle, worker);
    return true;
}

/* Marks a row as free. All fields become 0: an ICE password
 * must not stay in memory longer than its transport. */
static void row_wipe(enum table_id table, struct row_header *row)
{
    union any_row zero;

    memset(&zero, 0, sizeof(zero));
    zero.header.generation = row->generation;
    row_write(table, row, &zero.header);
}

void dataplane_row_remove(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          uint32_t worker)
{
    struct row_pool *pool = row_pool_of(dataplane, table);
    struct row_header *to = pool != NULL ? row_of(dataplane, table, handle) : NULL;

    if (to == NULL)
        return;
    row_wipe(table, to);
    notify_worker(dataplane, table, handle, worker);
    row_pool_give(pool, now_ms(dataplane), handle_index(handle));
    if (worker >= WORKERS_MAX)
        return;
    if ((table == TABLE_transport || table == TABLE_consumer) && dataplane->load[worker] > 0)
        dataplane->load[worker]--;
    else if (table == TABLE_room && dataplane->room_count[worker] > 0)
        dataplane->room_count[worker]--;
}

/* ---- what an earlier control plane left ---- */

/* The worker that must be notified about a row; WORKERS_MAX: unknown, so all of them. */
static uint32_t worker_of(struct dataplane *dataplane, enum table_id table,
                          const struct row_header *row)
{
    const struct transport_row *of;
    handle_word transport;

    if (table == TABLE_room)
        return ((const struct room_row *)row)->worker;
    if (table == TABLE_transport)
        return ((const struct transport_row *)row)->worker;
    transport = table == TABLE_producer ? ((const struct producer_row *)row)->transport
                                        : ((const struct consumer_row *)row)->transport;
    if (handle_index(transport) >= tables[TABLE_transport].rows)
        return WORKERS_MAX;
    of = (const struct transport_row *)region_row(&dataplane->desired, TABLE_transport,
                                                  handle_index(transport));
    return of->worker;
}

/* Wipes the used rows of a table, and refills its pool. Stops at the first row that was never used:
 * the file is sparse, and reading on would make it use memory. */
static uint32_t table_free(struct dataplane *dataplane, enum table_id table)
{
    struct row_pool *pool = row_pool_of(dataplane, table);
    uint32_t index, w, freed = 0;

    row_pool_reset(pool);
    for (index = 0; index < pool->rows; index++) {
        struct row_header *row = region_row(&dataplane->desired, table, index);
        handle_word handle = handle_make(index, row->generation);
        uint32_t sequence = atomic_load(&row->sequence);

        /* An odd sequence with generation 0: the process died
         * while it wrote the row for the first time. */
        if (row->generation == 0 && sequence == 0)
            break;
        pool->first_unused = index + 1;
        if (row->used != 0 || sequence % 2 != 0) {
            uint32_t worker = worker_of(dataplane, table, row);

            row_wipe(table, row);
            freed++;
            for (w = 0; w < WORKERS_MAX; w++) {
                if (worker == w || worker >= WORKERS_MAX)
                    notify_worker(dataplane, table, handle, w);
            }
        }
        row_pool_give(pool, now_ms(dataplane), index);
    }
    return freed;
}

void leftover_rows_free(struct dataplane *dataplane)
{
    uint32_t freed[DESIRED_TABLES];
    size_t i;

    memset(dataplane->load, 0, sizeof(dataplane->load));
    memset(dataplane->room_count, 0, sizeof(dataplane->room_count));
    for (i = 0; i < DESIRED_TABLES; i++)
        freed[i] = table_free(dataplane, removal_order[i]);
    if (freed[0] + freed[1] + freed[2] + freed[3] > 0)
        LOG(INFO, "dataplane", "freed the rows that an earlier control plane left",
            F("consumers", "%u", freed[0]), F("producers", "%u", freed[1]),
            F("transports", "%u", freed[2]), F("rooms", "%u", freed[3]));
}
