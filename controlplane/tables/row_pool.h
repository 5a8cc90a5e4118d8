/* Which rows of one desired table are free. Rows that were never used are taken in order; freed
 * rows are taken again after a while, oldest first. The data plane relies on the order: it stops
 * reading a table at the first row that was never used.
 *
 * Units: times are loop time in milliseconds, and may wrap around. */
#ifndef RINGCAST_TABLES_ROW_POOL_H
#define RINGCAST_TABLES_ROW_POOL_H

#include <stdbool.h>
#include <stdint.h>

/* A freed row is not taken again for this long. Until then, notes in
 * rings that still refer to the row find it free. Later they would
 * find another object with another generation, which is harmless too. */
#define QUARANTINE_MS 200

struct row_pool {
    uint32_t rows;          /* of the table */
    uint32_t first_unused;  /* this row and all behind it were never used */
    uint32_t *freed;        /* ring of `rows` row indexes */
    uint32_t *freed_ms;     /* when each of these rows was freed */
    uint32_t head, waiting; /* the oldest in the ring, and how many are in it */
};

bool row_pool_open(struct row_pool *pool, uint32_t rows); /* false: no memory */
void row_pool_close(struct row_pool *pool);
/* Forgets everything: all rows were never used. */
void row_pool_reset(struct row_pool *pool);
/* False: no row is free. */
bool row_pool_take(struct row_pool *pool, uint32_t now_ms, uint32_t *index);
void row_pool_give(struct row_pool *pool, uint32_t now_ms, uint32_t index);

#endif
