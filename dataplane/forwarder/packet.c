/* The packet pool's memory. */
#include "packet.h"

#include <sys/mman.h>

bool pool_open(struct pool *pool)
{
    void *memory = mmap(NULL, sizeof(struct packet) * POOL_PACKETS, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    *pool = (struct pool){0};
    if (memory == MAP_FAILED)
        return false;
    madvise(memory, sizeof(struct packet) * POOL_PACKETS, MADV_DONTDUMP); /* people's media */
    pool->packets = memory;
    return true;
}

void pool_close(struct pool *pool)
{
    if (pool->packets)
        munmap(pool->packets, sizeof(struct packet) * POOL_PACKETS);
    *pool = (struct pool){0};
}
