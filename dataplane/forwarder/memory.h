/* Memory for a worker's objects: mapped at start; a page takes memory when it is first touched. It
 * is not in core dumps, because session keys lie in it. */
#ifndef RINGCAST_MEMORY_H
#define RINGCAST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed; NULL when there is no address space. large_pages: for arrays that are walked from one
 * object to the next. */
void *memory_map(size_t bytes, bool large_pages);
void memory_unmap(void *memory /* or NULL */, size_t bytes);

#endif
