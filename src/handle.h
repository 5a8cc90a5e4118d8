/* Handles: how one process names a row of a shared table to another. */
#ifndef RINGCAST_HANDLE_H
#define RINGCAST_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

/* A row is named by its index and the generation it had when it was taken into use. Every reuse of
 * the index raises the generation, so that a handle kept too long is detected, never followed.
 * In rows and rings a handle is one word: generation << 32 | index. The word 0 names nothing. */
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
