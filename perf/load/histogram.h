/* A histogram with a relative error of at most 1/1024, built like the public HdrHistogram.
 *
 * Shape:  each value below 2048 has a bucket of its own. Above that each power of two is divided
 *         into 1024 buckets of equal width. Values of 2^41 (37 minutes in ns) and more share the
 *         last bucket.
 * Units:  the caller's; the generator records nanoseconds.
 * Memory: 272 KB, no allocation. Threads: one. */
#ifndef RINGCAST_LOAD_HISTOGRAM_H
#define RINGCAST_LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 11 /* values below 2^11 are exact */
#define HISTOGRAM_BITS_MAX 41
#define HISTOGRAM_BUCKETS ((HISTOGRAM_BITS_MAX - HISTOGRAM_BITS + 2) << (HISTOGRAM_BITS - 1))

struct histogram {
    uint64_t count, min, max;
    double sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t value)
{
    uint32_t shift;

    if (value >> HISTOGRAM_BITS_MAX)
        return HISTOGRAM_BUCKETS - 1;
    if (value >> HISTOGRAM_BITS == 0)
        return (uint32_t)value;
    shift = 64 - HISTOGRAM_BITS - (uint32_t)__builtin_clzll(value);
    return (shift << (HISTOGRAM_BITS - 1)) + (uint32_t)(value >> shift);
}

static inline void histogram_record(struct histogram *h, uint64_t value)
{
    h->buckets[histogram_bucket(value)]++;
    if (h->count == 0 || value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->count++;
    h->sum += (double)value;
}

void histogram_reset(struct histogram *h);
void histogram_add(struct histogram *to, const struct histogram *from);
/* The value at this percentile (0…100), rounded up to the largest value of its bucket. Percentile 0
 * is the exact minimum, 100 the exact maximum. An empty histogram returns 0. */
uint64_t histogram_percentile(const struct histogram *h, double percentile);
double histogram_mean(const struct histogram *h);

#endif
