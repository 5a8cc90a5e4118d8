/* Handles: how one process names a row of a shared table to another process.
 *
 * Shape:  one 64-bit word, generation << 32 | index. The word 0 names no row.
 * Why:    a row keeps its index for life, and its generation rises each time the row is used again.
 *         A handle to an earlier use has an old generation, so the reader notices it and does not
 *         follow.
 * Errors: handle_index may be beyond the table. Check it before use. */
#ifndef RINGCAST_HANDLE_H
#define RINGCAST_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t handle_word;

static inline handle_word handle_make(uint32_t index, uint32_t generation)
{
    return ((uint64_t)generation << 32) | index;
}

static inline uint32_t handle_index(handle_word handle)
{
    return (uint32_t)handle;
}

static inline uint32_t handle_generation(handle_word handle)
{
    return (uint32_t)(handle >> 32);
}

#endif
