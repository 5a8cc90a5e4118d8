/* Random words, read from the kernel many at a time. */
#include "random_pool.h"

#include <sys/random.h>

#include "dataplane/engines/map.h"

bool random_pool_open(struct random_pool *pool)
{
    *pool = (struct random_pool){0};
    return getrandom(&pool->secret, sizeof(pool->secret), 0) == sizeof(pool->secret);
}

uint32_t random_pool_take(struct random_pool *pool)
{
    uint32_t word;

    if (pool->left == 0) {
        if (getrandom(pool->words, sizeof(pool->words), GRND_NONBLOCK) != sizeof(pool->words)) {
            pool->computed++;
            return (uint32_t)map_hash(pool->secret, &pool->computed, sizeof(pool->computed));
        }
        pool->left = RANDOM_POOL_WORDS;
    }
    word = pool->words[--pool->left];
    pool->words[pool->left] = 0;
    return word;
}
