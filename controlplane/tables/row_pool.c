/* Which rows of one desired table are free. */
#include "row_pool.h"

#include <stdlib.h>

bool row_pool_open(struct row_pool *pool, uint32_t rows)
{
    pool->rows = rows;
    pool->freed = calloc(rows, sizeof(*pool->freed));
    pool->freed_ms = calloc(rows, sizeof(*pool->freed_ms));
    return pool->freed != NULL && pool->freed_ms != NULL;
}

void row_pool_close(struct row_pool *pool)
{
    free(pool->freed);
    free(pool->freed_ms);
}

void row_pool_reset(struct row_pool *pool)
{
    pool->first_unused = pool->head = pool->waiting = 0;
}

bool row_pool_take(struct row_pool *pool, uint32_t now_ms, uint32_t *index)
{
    if (pool->waiting > 0 && now_ms - pool->freed_ms[pool->head] >= QUARANTINE_MS) {
        *index = pool->freed[pool->head];
        pool->head = (pool->head + 1) % pool->rows;
        pool->waiting--;
        return true;
    }
    if (pool->first_unused == pool->rows)
        return false;
    *index = pool->first_unused++;
    return true;
}

void row_pool_give(struct row_pool *pool, uint32_t now_ms, uint32_t index)
{
    uint32_t tail = (pool->head + pool->waiting) % pool->rows;

    pool->freed[tail] = index;
    pool->freed_ms[tail] = now_ms;
    pool->waiting++;
}
