/* Random words, read from the kernel many at a time, so that a thousand joins do not need a
 * thousand system calls. Each word is used once and erased.
 *
 * Threads: the worker's. Errors: when the kernel has no random bytes ready, a word is computed
 * from a secret. The words must be hard to guess, but no key is made from them. */
#ifndef RINGCAST_RANDOM_POOL_H
#define RINGCAST_RANDOM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#define RANDOM_POOL_WORDS 64

struct random_pool {
    uint64_t secret, computed; /* computed: how many words the kernel did not give */
    uint32_t left;
    uint32_t words[RANDOM_POOL_WORDS];
};

/* False: the kernel gives no random bytes. */
bool random_pool_open(struct random_pool *pool);
uint32_t random_pool_take(struct random_pool *pool);

static inline uint64_t random_pool_take_u64(struct random_pool *pool)
{
    return (uint64_t)random_pool_take(pool) << 32 | random_pool_take(pool);
}

#endif
