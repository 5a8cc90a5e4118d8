/* An index: finds a structure by its text key.
 *
 * Shape:  a hash table with chains. The node lies inside the structure; INDEX_OWNER leads back to
 *         it. The hash is not keyed, so a client must not be able to choose keys: use it for ids
 *         and room codes that Ringcast makes.
 * Threads: one at a time.
 * Memory: the key belongs to the structure and must not change while the node is in the index.
 * Errors: index_open returns false when there is no memory. index_put never fails: without memory
 *         to grow, the table only gets slower. */
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
/* NULL: no structure has this key. */
struct index_node *index_get(const struct index *index, const char *key);

/* The structure that contains the node as `member`; NULL for NULL. */
#define INDEX_OWNER(node, type, member) \
    ((node) == NULL ? NULL : (type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
