/* Hash map of one worker: 64-bit key to 32-bit value.
 *
 * Shape:   a table of fixed size with open addressing, at most about three quarters full. The key 0
 *          marks a free entry, so callers never use it.
 * Threads: one worker. Readers and writers are the same thread.
 * Memory:  map_open maps the table; a page costs memory only after its first use. map_close gives
 *          it back. Nothing else allocates.
 * Errors:  map_open and map_set return false when there is no memory or no room.
 *
 * A stranger who can choose keys could make them collide and so make each search long. Such keys go
 * through map_hash first, with a secret that the stranger does not know. */
#ifndef RINGCAST_MAP_H
#define RINGCAST_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAP_NONE UINT32_MAX

struct map_entry {
    uint64_t key;
    uint32_t value;
    uint32_t reserved;
};

struct map {
    struct map_entry *entries;
    uint32_t mask;  /* number of entries - 1; the number is a power of two */
    uint32_t count; /* keys in the map */
};

/* Makes an empty map with room for at least `keys` keys. It will then be half full. */
bool map_open(struct map *map, uint32_t keys);
void map_close(struct map *map);
/* The value of a key, or MAP_NONE. */
uint32_t map_find(const struct map *map, uint64_t key);
/* Adds a key, or gives an existing key another value. Only adding can fail: the map is full. */
bool map_set(struct map *map, uint64_t key, uint32_t value);
/* Removes a key, but only if its value still is `value`. */
void map_remove(struct map *map, uint64_t key, uint32_t value);

/* Hash of a few bytes that depends on a secret; never 0. */
uint64_t map_hash(uint64_t secret, const void *data, size_t bytes);

#endif
