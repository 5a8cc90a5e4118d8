/* A sliding window: at most `limit` passes within any `window_ms`. Refusals cost nothing of it.
 *
 * Memory: one time stamp per pass inside the window, at most `limit` of them.
 * Errors: without memory a call is refused. */
#ifndef RINGCAST_RATE_LIMIT_H
#define RINGCAST_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
    uint64_t *passed_ms; /* ring of `room`, oldest at head */
    uint32_t room, head, count;
};

bool rate_limit_pass(struct rate_limit *rate, uint32_t limit, uint64_t window_ms, uint64_t now_ms);
void rate_limit_free(struct rate_limit *rate);

#endif
