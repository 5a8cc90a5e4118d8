/* Memory that must be there: without it nothing can be measured, so the process ends. */
#ifndef RINGCAST_LOAD_MEMORY_H
#define RINGCAST_LOAD_MEMORY_H

#include <stdlib.h>

/* Zeroed. The caller frees it. */
static inline void *memory_zeroed(size_t count, size_t bytes)
{
    void *p = calloc(count ? count : 1, bytes);

    if (!p)
        abort();
    return p;
}

#endif
