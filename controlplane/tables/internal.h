/* The inside of struct dataplane; private to dataplane.c and rows.c.
 *
 *   dataplane.c       connection to the supervisor, heartbeats, events
 *   rows.c  rows of `desired`: taking, publishing, freeing, taking over
 */
#ifndef RINGCAST_TABLES_INTERNAL_H
#define RINGCAST_TABLES_INTERNAL_H

#include "dataplane.h"
#include "src/region.h"
#include "src/sanitizer.h"

/* Nobody kills us for being late by this sign: it is told by ringcastctl, and media goes on anyway. */
#define HEARTBEAT_MS 100
/* of the forwarder, then the data plane counts as stopped */
#define HEARTBEAT_SILENCE_MS (500u * SANITIZER_PATIENCE)
#define RECONNECT_MS 500 /* between two attempts to reach the supervisor */
/* A freed row is not taken again for so long: whoever still has a note of it in a ring meets a free
 * row, not a stranger. Generations make a mix-up harmless, this makes it rare. */
#define QUARANTINE_MS 200

/* Rows of one table. Fresh rows are taken from the front, in order (the data plane's rescan ends at
 * the first row that was never used); freed ones wait in a queue, oldest first. */
struct slots {
    uint32_t fresh;    /* rows [fresh, count) were never used */
    uint32_t *index;   /* queue of freed rows: a ring of `count` */
    uint32_t *free_ms; /* when each was freed (loop time) */
    uint32_t head, waiting, count;
};

struct dataplane {
    uv_loop_t *loop;
    const struct settings *settings;
    struct dataplane_handlers handlers;
    void *context;

    bool mapped, up, closing, connecting;
    struct region desired, actual;
    struct ring changes[WORKERS_MAX], events[WORKERS_MAX];
    int bell_worker[WORKERS_MAX], bell_control;
    uint32_t bells_due; /* bit per worker: notes were written, the bell not rung yet */
    uint64_t retry_ms;  /* loop time of the next attempt */
    bool complained;    /* told the log why the data plane is not there */

    struct slots rooms, transports, producers, consumers;
    uint32_t load[WORKERS_MAX]; /* transports and consumers */
    uint32_t room_count[WORKERS_MAX];

    uv_timer_t timer;
    uv_prepare_t before_wait;
    uv_poll_t bell;
    uint32_t handles_open; /* of libuv, and attempts under way: freed at 0 */
    bool bell_polled;
};

struct slots *dataplane_slots(struct dataplane *dataplane, enum table_id table);
bool dataplane_rows_open(struct dataplane *dataplane);
void dataplane_rows_close(struct dataplane *dataplane);
/* Frees what an earlier control plane left in the freshly mapped `desired`. */
void dataplane_take_over(struct dataplane *dataplane);
void dataplane_ring_bells(struct dataplane *dataplane);

#endif
