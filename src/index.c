/* The hash table behind index.h. */
#include "index.h"

#include <stdlib.h>
#include <string.h>

static uint32_t bucket_of(const struct index *index, const char *key)
{
    uint64_t hash = 0xcbf29ce484222325ull; /* FNV-1a */

    for (; *key != '\0'; key++)
        hash = (hash ^ (uint8_t)*key) * 0x100000001b3ull;
    return (uint32_t)(hash ^ hash >> 32) & (index->bucket_count - 1);
}

bool index_open(struct index *index)
{
    index->count = 0;
    index->bucket_count = 64;
    index->buckets = calloc(index->bucket_count, sizeof(*index->buckets));
    return index->buckets != NULL;
}

void index_close(struct index *index)
{
    free(index->buckets);
    index->buckets = NULL;
}

static void grow(struct index *index)
{
    struct index larger = {.bucket_count = index->bucket_count * 2, .count = index->count};
    uint32_t i;

    larger.buckets = calloc(larger.bucket_count, sizeof(*larger.buckets));
    if (larger.buckets == NULL)
        return;
    for (i = 0; i < index->bucket_count; i++) {
        struct index_node *node = index->buckets[i], *next;

        for (; node != NULL; node = next) {
            uint32_t to = bucket_of(&larger, node->key);

            next = node->next;
            node->next = larger.buckets[to];
            larger.buckets[to] = node;
        }
    }
    free(index->buckets);
    *index = larger;
}

void index_put(struct index *index, struct index_node *node, const char *key)
{
    uint32_t to;

    if (index->count >= index->bucket_count)
        grow(index);
    node->key = key;
    to = bucket_of(index, key);
    node->next = index->buckets[to];
    index->buckets[to] = node;
    index->count++;
}

void index_remove(struct index *index, struct index_node *node)
{
    struct index_node **at = &index->buckets[bucket_of(index, node->key)];

    for (; *at != NULL; at = &(*at)->next) {
        if (*at == node) {
            *at = node->next;
            index->count--;
            return;
        }
    }
}

struct index_node *index_get(const struct index *index, const char *key)
{
    struct index_node *node = index->buckets[bucket_of(index, key)];

    while (node != NULL && strcmp(node->key, key) != 0)
        node = node->next;
    return node;
}
