/* A histogram with a bounded relative error (HDR): log-linear buckets, three decimal digits.
 *
 * Shape:  values below 2048 have a bucket each; above, every power of two is cut into 1024 buckets, so
 *         a bucket is never wider than 1/1024 of its value. 2^41 and more (37 minutes in ns) count as
 *         the largest bucket.
 * Units:  the caller's; the generator records nanoseconds.
 * Memory: 272 KB, no allocation. Threads: one. */
#ifndef RINGCAST_LOAD_HDR_H
#define RINGCAST_LOAD_HDR_H

#include <stdint.h>

#define HDR_BITS 11 /* values below 2^11 are exact: three digits */
#define HDR_BITS_MAX 41
#define HDR_BUCKETS ((HDR_BITS_MAX - HDR_BITS + 2) << (HDR_BITS - 1))

struct hdr {
    uint64_t count, min, max;
    double sum;
    uint64_t buckets[HDR_BUCKETS];
};

static inline uint32_t hdr_bucket(uint64_t value)
{
    uint32_t shift;

    if (value >> HDR_BITS_MAX)
        return HDR_BUCKETS - 1;
    if (value >> HDR_BITS == 0)
        return (uint32_t)value;
    shift = 64 - HDR_BITS - (uint32_t)__builtin_clzll(value);
    return (shift << (HDR_BITS - 1)) + (uint32_t)(value >> shift);
}

static inline void hdr_record(struct hdr *hdr, uint64_t value)
{
    hdr->buckets[hdr_bucket(value)]++;
    if (hdr->count == 0 || value < hdr->min)
        hdr->min = value;
    if (value > hdr->max)
        hdr->max = value;
    hdr->count++;
    hdr->sum += (double)value;
}

void hdr_reset(struct hdr *hdr);
void hdr_add(struct hdr *to, const struct hdr *from);
/* The largest value that falls into the same bucket as the value at this percentile (0…100), the
 * true minimum and maximum at the ends; 0 when nothing was recorded. */
uint64_t hdr_percentile(const struct hdr *hdr, double percentile);
double hdr_mean(const struct hdr *hdr);

#endif
