/* The data plane as the control plane sees it. The rest of the control plane says through this
 * header what the data plane should do, and reads here what it does.
 *
 *   desired tables   this process writes rows: rooms, transports, producers, consumers
 *   actual tables    the data plane writes rows: state, statistics, ports, certificate fingerprints
 *   events           the data plane says which actual rows changed
 *
 * The tables are shared memory, which only this folder maps. src/rows.h describes every table.
 *
 * Threads: the loop's only. Memory: rows are copied in and out.
 * Errors: without a data plane, or when a table is full, a row cannot be added and the caller
 *         refuses the request. Media in progress does not need this object: it continues when it is
 *         closed. */
#ifndef RINGCAST_TABLES_DATAPLANE_H
#define RINGCAST_TABLES_DATAPLANE_H

#include <uv.h>

#include "src/settings.h"
#include "src/tables.h"

struct dataplane;

struct dataplane_handlers {
    /* A row of transport_state, producer_state or consumer_state changed. */
    void (*changed)(void *context, enum table_id table, handle_word handle);
    /* true: the data plane started, or its heartbeat is back after it was late; its fingerprints and
     * ports are known. false: it is dead, see internal.h. */
    void (*up)(void *context, bool is_up);
};

/* Connects to the supervisor through its socket in the data directory,
 * and retries until it is there. Then it frees the rows that an
 * earlier control plane left in the desired tables. NULL: no memory. */
struct dataplane *dataplane_open(uv_loop_t *loop, const struct settings *settings,
                                 const struct dataplane_handlers *handlers, void *context);
void dataplane_close(struct dataplane *dataplane);
bool dataplane_is_up(const struct dataplane *dataplane);

/* Adds a row to a desired table and notifies the worker. `row` is the struct of that table; its
 * header is ignored. 0: the data plane is down, the table is full, or a field is out of range. */
handle_word dataplane_row_add(struct dataplane *dataplane, enum table_id table, const void *row,
                              uint32_t worker);
/* False: there is no such row, or a field is out of range. */
bool dataplane_row_update(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          const void *row, uint32_t worker);
void dataplane_row_remove(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          uint32_t worker);

/* Copies a row of a desired or an actual table to `row`.
 * False: there is no row with this handle. */
bool dataplane_row_read(struct dataplane *dataplane, enum table_id table, handle_word handle,
                        void *row);

/* Picks the worker with the least load, which is its number of transports and consumers. -1: there
 * is no worker. preferred: the worker of the room, or -1. That worker is picked while its load is
 * at most `slack` above the least load. So a small room stays on one worker, which costs less. A
 * large room spreads over all workers. */
int dataplane_pick_worker(struct dataplane *dataplane, int preferred, uint32_t slack);
/* The media port of a worker; 0: it has none yet. */
uint16_t dataplane_worker_port(struct dataplane *dataplane, uint32_t worker);

#endif
