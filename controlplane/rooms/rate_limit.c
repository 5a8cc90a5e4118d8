/* A sliding window over time stamps. */
#include "rate_limit.h"

#include <stdlib.h>

static bool grow(struct rate_limit *rate)
{
    uint32_t room = rate->room == 0 ? 16 : rate->room * 2, i;
    uint64_t *larger = malloc(room * sizeof(*larger));

    if (larger == NULL)
        return false;
    for (i = 0; i < rate->count; i++)
        larger[i] = rate->passed_ms[(rate->head + i) % rate->room];
    free(rate->passed_ms);
    rate->passed_ms = larger;
    rate->room = room;
    rate->head = 0;
    return true;
}

bool rate_limit_pass(struct rate_limit *rate, uint32_t limit, uint64_t window_ms, uint64_t now_ms)
{
    while (rate->count > 0 && now_ms - rate->passed_ms[rate->head] >= window_ms) {
        rate->head = (rate->head + 1) % rate->room;
        rate->count--;
    }
    if (rate->count >= limit || (rate->count == rate->room && !grow(rate)))
        return false;
    rate->passed_ms[(rate->head + rate->count) % rate->room] = now_ms;
    rate->count++;
    return true;
}

void rate_limit_free(struct rate_limit *rate)
{
    free(rate->passed_ms);
    *rate = (struct rate_limit){0};
}
