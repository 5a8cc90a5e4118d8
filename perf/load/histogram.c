/* Adds histograms up and reads them. Recording is in the header. */
#include "histogram.h"

#include <math.h>
#include <string.h>

void histogram_reset(struct histogram *h)
{
    memset(h, 0, sizeof(*h));
}

void histogram_add(struct histogram *to, const struct histogram *from)
{
    if (from->count == 0)
        return;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
    if (to->count == 0 || from->min < to->min)
        to->min = from->min;
    if (from->max > to->max)
        to->max = from->max;
    to->count += from->count;
    to->sum += from->sum;
}

/* The largest value of a bucket. */
static uint64_t bucket_last(uint32_t bucket)
{
    uint32_t shift;

    if (bucket >> HISTOGRAM_BITS == 0)
        return bucket;
    shift = (bucket >> (HISTOGRAM_BITS - 1)) - 1;
    return (((uint64_t)bucket - ((uint64_t)shift << (HISTOGRAM_BITS - 1)) + 1) << shift) - 1;
}

uint64_t histogram_percentile(const struct histogram *h, double percentile)
{
    uint64_t wanted, seen = 0, value;

    if (h->count == 0)
        return 0;
    if (percentile <= 0)
        return h->min;
    if (percentile >= 100)
        return h->max;
    wanted = (uint64_t)ceil(percentile / 100 * (double)h->count);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen < wanted)
            continue;
        value = bucket_last(i);
        return value > h->max ? h->max : value < h->min ? h->min : value;
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->count ? h->sum / (double)h->count : 0;
}
