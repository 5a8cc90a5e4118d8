/* Hash map of a worker: 64-bit key → 32-bit value, open addressing, fixed size, no allocation after
 * map_open. Keys that strangers can choose are hashed with a secret first (map_hash). The key 0 is
 * reserved. Threads: one worker. */
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
    struct map_entry *slots;
    uint32_t mask; /* slots - 1, slots a power of two */
    uint32_t count;
};

/* Room for at least `entries` at a load of one half; memory is mapped, paid when touched. */
bool map_open(struct map *map, uint32_t entries);
void map_close(struct map *map);
uint32_t map_find(const struct map *map, uint64_t key);
/* Adds or replaces; false when full (the load would pass 3/4). */
bool map_set(struct map *map, uint64_t key, uint32_t value);
/* Removes key if it still stands for `value`. */
void map_remove(struct map *map, uint64_t key, uint32_t value);

/* Keyed hash of a few bytes; never 0. */
uint64_t map_hash(uint64_t secret, const void *data, size_t bytes);

#endif
