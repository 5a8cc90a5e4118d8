/* The data plane as the control plane sees it: rows of `desired` that it writes, rows of `actual`
 * that it reads, events. The only file of the control plane that knows shared memory.
 *
 * Threads: the loop's. Memory: rows are copied in and out.
 * Errors: handle 0 when a table is full or the data plane is not connected (PLANE down): the caller
 *         answers `unavailable`. Media in progress does not depend on this object being alive. */
#ifndef RINGCAST_TABLES_DATAPLANE_H
#define RINGCAST_TABLES_DATAPLANE_H

#include <uv.h>

#include "src/settings.h"
#include "src/tables.h"

struct dataplane;

struct dataplane_handlers {
    /* A transport_state, producer_state or consumer_state row changed in a way worth telling. */
    void (*changed)(void *context, enum table_id table, handle_word handle);
    /* The data plane came (with these fingerprints and ports), or its heartbeat stopped. */
    void (*up)(void *context, bool is_up);
};

/* Connects to the supervisor's socket in the data directory, now or as soon as it is there; maps the
 * regions; takes over what an earlier control plane left in `desired` by freeing it. */
struct dataplane *dataplane_open(uv_loop_t *loop, const struct settings *settings,
                                 const struct dataplane_handlers *handlers, void *context);
void dataplane_close(struct dataplane *dataplane);
bool dataplane_is_up(const struct dataplane *dataplane);

/* Takes a free row of a desired table, fills header and fields from `row` (header ignored), publishes
 * it and rings the worker. Row update and release likewise. `row` must be the table's struct. */
handle_word dataplane_row_add(struct dataplane *dataplane, enum table_id table, const void *row,
                              uint32_t worker);
bool dataplane_row_update(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          const void *row, uint32_t worker);
void dataplane_row_remove(struct dataplane *dataplane, enum table_id table, handle_word handle,
                          uint32_t worker);

/* Copies the desired or actual row of a handle; false when it is not there (any more). */
bool dataplane_row_read(struct dataplane *dataplane, enum table_id table, handle_word handle,
                        void *row);

/* The least loaded worker (transports + consumers), for a new room; -1 when there is none. For a new
 * transport of a room that began on `preferred`: that one while it carries at most `slack` more, so
 * that a small room stays together (handing packets to another worker is cheap, not handing them is
 * cheaper) and a large one spreads over all. */
int dataplane_pick_worker(struct dataplane *dataplane, int preferred, uint32_t slack);
/* media port of a worker, 0 when it has none yet. */
uint16_t dataplane_worker_port(struct dataplane *dataplane, uint32_t worker);

#endif
