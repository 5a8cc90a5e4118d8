/* Hash map of a worker: linear probing with backward-shift deletion, so that it never needs a
 * clean-up pass and an idle entry costs nothing. */
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

static uint32_t home(const struct map *map, uint64_t key)
{
    return (uint32_t)mix(key, 0xd6e8feb86659fd93ull) & map->mask;
}

bool map_open(struct map *map, uint32_t entries)
{
    uint32_t slots = 16;
    void *memory;

    while (slots < entries * 2)
        slots *= 2;
    memory = mmap(NULL, (size_t)slots * sizeof(struct map_entry), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    *map = (struct map){.slots = memory, .mask = slots - 1};
    return true;
}

void map_close(struct map *map)
{
    if (map->slots)
        munmap(map->slots, ((size_t)map->mask + 1) * sizeof(struct map_entry));
    *map = (struct map){0};
}

/* The slot of key, or the free one where it would go. */
static struct map_entry *probe(const struct map *map, uint64_t key)
{
    uint32_t i = home(map, key);

    while (map->slots[i].key != 0 && map->slots[i].key != key)
        i = (i + 1) & map->mask;
    return &map->slots[i];
}

uint32_t map_find(const struct map *map, uint64_t key)
{
    const struct map_entry *slot = probe(map, key);

    return slot->key == key ? slot->value : MAP_NONE;
}

bool map_set(struct map *map, uint64_t key, uint32_t value)
{
    struct map_entry *slot = probe(map, key);

    if (slot->key == 0) {
        if (map->count >= map->mask / 4 * 3)
            return false;
        map->count++;
    }
    slot->key = key;
    slot->value = value;
    return true;
}

void map_remove(struct map *map, uint64_t key, uint32_t value)
{
    struct map_entry *slot = probe(map, key);
    uint32_t hole, next;

    if (slot->key != key || slot->value != value)
        return;
    map->count--;
    hole = (uint32_t)(slot - map->slots);
    for (next = (hole + 1) & map->mask; map->slots[next].key != 0; next = (next + 1) & map->mask) {
        uint32_t wanted = home(map, map->slots[next].key);

        /* May the entry at `next` move into the hole? Only when its home is not behind the hole. */
        if (((next - wanted) & map->mask) >= ((next - hole) & map->mask)) {
            map->slots[hole] = map->slots[next];
            hole = next;
        }
    }
    map->slots[hole].key = 0;
}
