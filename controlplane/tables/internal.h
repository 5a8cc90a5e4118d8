/* The inside of struct dataplane; private to controlplane/tables.
 *
 *   dataplane.c   the object: heartbeats, events, reading rows, picking a worker
 *   connection.c  the supervisor's socket; mapping and unmapping the regions
 *   rows.c        rows of the desired tables: added, updated, removed */
#ifndef RINGCAST_TABLES_INTERNAL_H
#define RINGCAST_TABLES_INTERNAL_H

#include "dataplane.h"
#include "row_pool.h"
#include "src/region.h"
#include "src/sanitizer.h"

/* How often this process writes its heartbeat. Only ringcastctl reads it, and shows its age. */
#define HEARTBEAT_MS 100
/* Without a heartbeat of the forwarder for this long, we ask the supervisor. On a busy machine a
 * late heartbeat proves nothing, so it refuses no request: rows are written all the same. The data
 * plane counts as down when the supervisor is dead, does not answer, or says that the forwarder is
 * dead. */
#define HEARTBEAT_SILENCE_MS (500u * SANITIZER_PATIENCE)
#define RECONNECT_MS 500 /* between two attempts to reach the supervisor */

struct dataplane {
    uv_loop_t *loop;
    const struct settings *settings;
    struct dataplane_handlers handlers;
    void *context;

    bool mapped, up, closing, connecting;
    bool late;    /* up, but its heartbeat is late */
    bool refused; /* while it is late: the data plane was found dead */
    struct region desired, actual;
    struct ring changes[WORKERS_MAX], events[WORKERS_MAX];
    int worker_doorbell[WORKERS_MAX], control_doorbell; /* eventfds; -1: none */
    uint32_t
        doorbells_due;   /* bit per worker: notes were written, but the doorbell was not rung yet */
    uint64_t retry_ms;   /* loop time of the next attempt to connect */
    bool failure_logged; /* since the data plane was last up */

    struct row_pool rooms, transports, producers, consumers;
    uint32_t load[WORKERS_MAX]; /* transports and consumers of each worker */
    uint32_t room_count[WORKERS_MAX];

    uv_timer_t timer;
    uv_prepare_t before_wait;
    uv_poll_t control_poll;
    bool control_polled;
    uint32_t references; /* open libuv handles and attempts to connect; at 0 the object is freed */
};

/* ---- dataplane.c ---- */

void dataplane_unref(struct dataplane *dataplane);
void control_doorbell_rung(uv_poll_t *poll, int status, int events);

/* Tells the rest of the control plane when `up` changes. */
void dataplane_set_up(struct dataplane *dataplane, bool up);

/* ---- connection.c ---- */

void dataplane_connect(struct dataplane *dataplane);
void dataplane_unmap(struct dataplane *dataplane);

/* ---- rows.c ---- */

struct row_pool *row_pool_of(struct dataplane *dataplane, enum table_id table);
bool row_pools_open(struct dataplane *dataplane); /* false: no memory */
void row_pools_close(struct dataplane *dataplane);
/* Frees the rows that an earlier control plane left in the newly mapped desired tables. */
void leftover_rows_free(struct dataplane *dataplane);
void doorbells_ring(struct dataplane *dataplane);

#endif
