/* Rate limit: a sliding window of time stamps. */
#include "rate_limit.h"

#include <stdlib.h>

#include "controlplane/web/memory.h"

static bool grow(struct rate_limit *rate)
{
    uint32_t capacity = rate->capacity == 0 ? 16 : rate->capacity * 2, i;
    uint64_t *larger = memory_malloc(capacity * sizeof(*larger));

    if (larger == NULL)
        return false;
    for (i = 0; i < rate->count; i++)
        larger[i] = rate->passed_ms[(rate->head + i) % rate->capacity];
    free(rate->passed_ms);
    rate->passed_ms = larger;
    rate->capacity = capacity;
    rate->head = 0;
    return true;
}

bool rate_limit_pass(struct rate_limit *rate, uint32_t limit, uint64_t window_ms, uint64_t now_ms)
{
    while (rate->count > 0 && now_ms - rate->passed_ms[rate->head] >= window_ms) {
        rate->head = (rate->head + 1) % rate->capacity;
        rate->count--;
    }
    if (rate->count >= limit || (rate->count == rate->capacity && !grow(rate)))
        return false;
    rate->passed_ms[(rate->head + rate->count) % rate->capacity] = now_ms;
    rate->count++;
    return true;
}

void rate_limit_free(struct rate_limit *rate)
{
    free(rate->passed_ms);
    *rate = (struct rate_limit){0};
}
