/* Log-linear histogram: adding up and asking; recording is in the header. */
#include "hdr.h"

#include <math.h>
#include <string.h>

void hdr_reset(struct hdr *hdr)
{
    memset(hdr, 0, sizeof(*hdr));
}

void hdr_add(struct hdr *to, const struct hdr *from)
{
    if (from->count == 0)
        return;
    for (uint32_t i = 0; i < HDR_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
    if (to->count == 0 || from->min < to->min)
        to->min = from->min;
    if (from->max > to->max)
        to->max = from->max;
    to->count += from->count;
    to->sum += from->sum;
}

static uint64_t bucket_last(uint32_t bucket)
{
    uint32_t shift;

    if (bucket >> HDR_BITS == 0)
        return bucket;
    shift = (bucket >> (HDR_BITS - 1)) - 1;
    return (((uint64_t)bucket - ((uint64_t)shift << (HDR_BITS - 1)) + 1) << shift) - 1;
}

uint64_t hdr_percentile(const struct hdr *hdr, double percentile)
{
    uint64_t wanted, seen = 0, value;

    if (hdr->count == 0)
        return 0;
    if (percentile <= 0)
        return hdr->min;
    if (percentile >= 100)
        return hdr->max;
    wanted = (uint64_t)ceil(percentile / 100 * (double)hdr->count);
    for (uint32_t i = 0; i < HDR_BUCKETS; i++) {
        seen += hdr->buckets[i];
        if (seen < wanted)
            continue;
        value = bucket_last(i);
        return value > hdr->max ? hdr->max : value < hdr->min ? hdr->min : value;
    }
    return hdr->max;
}

double hdr_mean(const struct hdr *hdr)
{
    return hdr->count ? hdr->sum / (double)hdr->count : 0;
}
