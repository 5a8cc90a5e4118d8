/* An index: finds a structure by its text key (ids and room codes that we made ourselves).
 *
 * Shape:  chained hash; the node lives inside the structure, INDEX_OWNER leads back to it.
 * Memory: the key is borrowed from the owner and must stay as it is while it is in the index.
 * Errors: index_open is false without memory; putting never fails (a full table only gets slower). */
#ifndef RINGCAST_INDEX_H
#define RINGCAST_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_node {
    struct index_node *next;
    const char *key;
};

struct index {
    struct index_node **buckets;
    uint32_t bucket_count, count; /* bucket_count: a power of two */
};

bool index_open(struct index *index);
void index_close(struct index *index);
void index_put(struct index *index, struct index_node *node, const char *key);
void index_remove(struct index *index, struct index_node *node);
struct index_node *index_get(const struct index *index, const char *key);

#define INDEX_OWNER(node, type, member) \
    ((node) == NULL ? NULL : (type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
