/* Buckets are exact to 1/1024. Percentiles agree with those of the sorted values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs these first */
#include <cmocka.h>

#include "perf/load/histogram.c"

static struct histogram h, other;

static void buckets_are_narrow(void **state)
{
    uint32_t last = 0;

    assert_int_equal(histogram_bucket(0), 0);
    assert_int_equal(histogram_bucket(2047), 2047);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket((1ull << HISTOGRAM_BITS_MAX) - 1), HISTOGRAM_BUCKETS - 1);
    for (uint64_t v = 1; v < 1ull << HISTOGRAM_BITS_MAX; v += v / 700 + 1) {
        uint32_t b = histogram_bucket(v);
        uint64_t end = bucket_last(b);

        assert_true(b >= last && b < HISTOGRAM_BUCKETS);
        assert_true(end >= v && end - v <= v / 1024);
        assert_int_equal(histogram_bucket(end), b);
        assert_true(end + 1 == 1ull << HISTOGRAM_BITS_MAX || histogram_bucket(end + 1) == b + 1);
        last = b;
    }
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void percentiles_agree_with_sorted_values(void **state)
{
    static uint64_t values[20000];
    static const double points[] = {0, 1, 50, 90, 99, 99.9, 99.99, 100};
    uint64_t x = 88172645463325252ull;
    double sum = 0;

    histogram_reset(&h);
    assert_int_equal(histogram_percentile(&h, 50), 0);
    for (size_t i = 0; i < 20000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        values[i] = x >> (28 + x % 30); /* values of many sizes */
        sum += (double)values[i];
        histogram_record(&h, values[i]);
    }
    qsort(values, 20000, sizeof(values[0]), ascending);
    assert_int_equal(h.min, values[0]);
    assert_int_equal(h.max, values[19999]);
    assert_true(histogram_mean(&h) > sum / 20000 * 0.999 &&
                histogram_mean(&h) < sum / 20000 * 1.001);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        size_t rank = points[i] <= 0 ? 1 : (size_t)(points[i] / 100 * 20000 + 0.9999999);
        uint64_t exact = values[rank - 1], found = histogram_percentile(&h, points[i]);

        assert_true(found >= exact && found - exact <= exact / 1024);
    }
}

static void histograms_add_up(void **state)
{
    histogram_reset(&h);
    histogram_reset(&other);
    histogram_add(&h, &other);
    assert_int_equal(h.count, 0);
    histogram_record(&other, 5000);
    histogram_add(&h, &other);
    assert_int_equal(h.min, 5000);
    histogram_reset(&other);
    histogram_record(&other, 7);
    histogram_record(&other, 900000);
    histogram_add(&h, &other);
    assert_int_equal(h.count, 3);
    assert_int_equal(h.min, 7);
    assert_int_equal(h.max, 900000);
    assert_int_equal(histogram_percentile(&h, 10), 7);
    assert_int_equal(histogram_percentile(&h, 100), 900000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_narrow),
        cmocka_unit_test(percentiles_agree_with_sorted_values),
        cmocka_unit_test(histograms_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
