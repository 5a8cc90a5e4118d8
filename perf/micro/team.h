/* Threads that begin together, each on a processor of its own.
 *
 * Errors: bench_die. */
#ifndef RINGCAST_BENCH_TEAM_H
#define RINGCAST_BENCH_TEAM_H

#include <stdbool.h>
#include <stdint.h>

#include "src/limits.h"

struct team;

/* How many processors this process may use. */
uint32_t team_processors(void);
struct team *team_open(uint32_t count);
void team_close(struct team *team);
/* Runs work(argument, i) on thread first + i, 0 ≤ i < count, all at the same time. Returns the time
 * from the beginning of the first to the end of the last, in ns. Sets `disturbed` when the kernel
 * took the processor from one of them. */
uint64_t team_run(struct team *team, uint32_t first, uint32_t count,
                  void (*work)(void *argument, uint32_t i), void *argument, bool *disturbed);

#endif
