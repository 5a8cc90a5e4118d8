/* Rate limit: at most `limit` requests pass within any `window_ms`. A refused request does not
 * count.
 *
 * Memory: one time stamp per request that passed within the window, so at most `limit`.
 * Errors: if there is no memory, the request is refused. */
#ifndef RINGCAST_RATE_LIMIT_H
#define RINGCAST_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
    uint64_t *passed_ms; /* ring of `capacity` entries; the oldest is at `head` */
    uint32_t capacity, head, count;
};

bool rate_limit_pass(struct rate_limit *rate, uint32_t limit, uint64_t window_ms, uint64_t now_ms);
void rate_limit_free(struct rate_limit *rate);

#endif
