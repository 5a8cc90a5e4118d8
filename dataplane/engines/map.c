/* Hash map of a worker. A search goes from a key's ideal place to the next free entry (linear
 * probing). Removal moves later entries back into the gap, so that no marks of removed keys stay
 * behind and the map never needs a clean-up. */
#include "map.h"

#include <string.h>
#include <sys/mman.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t map_hash(uint64_t secret, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    uint64_t hash = secret ^ mix(bytes ^ 0x9e3779b97f4a7c15ull, 0xd6e8feb86659fd93ull);

    while (bytes > 0) {
        uint64_t word = 0;
        size_t n = bytes < 8 ? bytes : 8;

        memcpy(&word, p, n);
        hash = mix(hash ^ word, secret | 1) + 0x2545f4914f6cdd1dull;
        p += n;
        bytes -= n;
    }
    hash = mix(hash, 0x9e3779b97f4a7c15ull);
    return hash ? hash : 1;
}

/* Where a key would be if no other key were in its way. */
static uint32_t ideal_place(const struct map *map, uint64_t key)
{
    return (uint32_t)mix(key, 0xd6e8feb86659fd93ull) & map->mask;
}

bool map_open(struct map *map, uint32_t keys)
{
    uint32_t entries = 16;
    void *memory;

    while (entries < keys * 2)
        entries *= 2;
    memory = mmap(NULL, (size_t)entries * sizeof(struct map_entry), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    *map = (struct map){.entries = memory, .mask = entries - 1};
    return true;
}

void map_close(struct map *map)
{
    if (map->entries)
        munmap(map->entries, ((size_t)map->mask + 1) * sizeof(struct map_entry));
    *map = (struct map){0};
}

/* The entry of a key, or the free entry in which it would be put. */
static struct map_entry *entry_find(const struct map *map, uint64_t key)
{
    uint32_t i = ideal_place(map, key);

    while (map->entries[i].key != 0 && map->entries[i].key != key)
        i = (i + 1) & map->mask;
    return &map->entries[i];
}

uint32_t map_find(const struct map *map, uint64_t key)
{
    const struct map_entry *entry = entry_find(map, key);

    return entry->key == key ? entry->value : MAP_NONE;
}

bool map_set(struct map *map, uint64_t key, uint32_t value)
{
    struct map_entry *entry = entry_find(map, key);

    if (entry->key == 0) {
        if (map->count >= map->mask / 4 * 3)
            return false;
        map->count++;
    }
    entry->key = key;
    entry->value = value;
    return true;
}

void map_remove(struct map *map, uint64_t key, uint32_t value)
{
    struct map_entry *entry = entry_find(map, key);
    uint32_t gap, next;

    if (entry->key != key || entry->value != value)
        return;
    map->count--;
    gap = (uint32_t)(entry - map->entries);
    for (next = (gap + 1) & map->mask; map->entries[next].key != 0; next = (next + 1) & map->mask) {
        uint32_t ideal = ideal_place(map, map->entries[next].key);

        /* A search for this key begins at its ideal place. It reaches the gap unless that place is
         * after the gap. */
        if (((next - ideal) & map->mask) >= ((next - gap) & map->mask)) {
            map->entries[gap] = map->entries[next];
            gap = next;
        }
    }
    map->entries[gap].key = 0;
}
