/* Limits for each client address: how many it holds, and how fast it takes more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "controlplane/web/address_limits.h"

static struct address address_of(const char *text)
{
    struct address address;

    assert_true(address_parse(text, &address));
    return address;
}

static struct address_limit *take(struct address_limits *limits, const char *ip, uint32_t max)
{
    struct address_limit *entry;

    address_limits_take(limits, address_of(ip), max, 0, 1, &entry);
    return entry;
}

static bool is_empty(const struct address_limits *limits)
{
    for (unsigned i = 0; i < ADDRESS_BUCKETS; i++)
        if (limits->buckets[i] != NULL)
            return false;
    return limits->idle_count == 0;
}

static void counts(void **state)
{
    static struct address_limits limits;
    struct address_limit *first, *second, *third;

    first = take(&limits, "192.0.2.1", 2);
    assert_ptr_equal(take(&limits, "192.0.2.1", 2), first);
    assert_null(take(&limits, "192.0.2.1", 2));
    second = take(&limits, "2001:db8:0:1::1", 2);
    assert_ptr_equal(take(&limits, "2001:db8:0:1:ffff::2", 2), second); /* the same /64 network */
    assert_null(take(&limits, "2001:db8:0:1::3", 2));
    third = take(&limits, "2001:db8:0:2::1", 2);
    assert_ptr_not_equal(third, second);
    address_limits_release(&limits, third, 1);
    address_limits_release(&limits, first, 1);
    assert_ptr_equal(take(&limits, "192.0.2.1", 2), first);
    address_limits_release(&limits, first, 1);
    address_limits_release(&limits, first, 1);
    address_limits_release(&limits, second, 1);
    address_limits_release(&limits, second, 1);
    address_limits_release(&limits, NULL, 1);
    assert_true(is_empty(&limits));
}

/* No period of 60 s has more than per_minute, and the rate recovers evenly. */
static void rates(void **state)
{
    static struct address_limits limits;
    const struct address a = address_of("192.0.2.1");
    struct address_limit *entry;
    uint64_t now_ms = 1000;

    for (int i = 0; i < 60; i++) {
        assert_int_equal(address_limits_take(&limits, a, 1000, 60, now_ms, &entry),
                         ADDRESS_ALLOWED);
        address_limits_release(&limits, entry, now_ms); /* short connections count too */
    }
    assert_int_equal(address_limits_take(&limits, a, 1000, 60, now_ms, &entry), ADDRESS_OVER_RATE);
    assert_null(entry);
    assert_int_equal(address_limits_take(&limits, a, 1000, 60, now_ms + 999, &entry),
                     ADDRESS_OVER_RATE);
    assert_int_equal(address_limits_take(&limits, a, 1000, 60, now_ms + 1000, &entry),
                     ADDRESS_ALLOWED);
    address_limits_release(&limits, entry, now_ms + 1000);
    assert_int_equal(address_limits_take(&limits, a, 1000, 60, now_ms + 1000, &entry),
                     ADDRESS_OVER_RATE);
    assert_int_equal(
        address_limits_take(&limits, address_of("192.0.2.2"), 1000, 60, now_ms, &entry),
        ADDRESS_ALLOWED);
    address_limits_release(&limits, entry, now_ms);
    now_ms += 61000;
    for (int i = 0; i < 60; i++) {
        assert_int_equal(address_limits_take(&limits, a, 1000, 60, now_ms, &entry),
                         ADDRESS_ALLOWED);
        address_limits_release(&limits, entry, now_ms);
    }
    assert_int_equal(address_limits_take(&limits, a, 1000, 60, now_ms, &entry), ADDRESS_OVER_RATE);
    assert_int_equal(limits.idle_count, 2);
    /* An address whose rate has recovered is freed when its bucket is used again. */
    now_ms += 61000;
    address_limits_take(&limits, a, 1000, 0, now_ms, &entry);
    address_limits_release(&limits, entry, now_ms);
    address_limits_clear(&limits);
    assert_true(is_empty(&limits));
}

static void remembers_at_most_the_maximum(void **state)
{
    static struct address_limits limits;
    struct address_limit *entry;

    for (uint32_t i = 0; i < ADDRESS_IDLE_MAX + 1000; i++) {
        struct address a = {{[10] = 0xff, [11] = 0xff}};

        memcpy(a.bytes + 12, &i, sizeof(i));
        assert_int_equal(address_limits_take(&limits, a, 10, 60, 1, &entry), ADDRESS_ALLOWED);
        address_limits_release(&limits, entry, 1);
    }
    assert_int_equal(limits.idle_count, ADDRESS_IDLE_MAX);
    address_limits_clear(&limits);
    assert_true(is_empty(&limits));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(rates),
        cmocka_unit_test(remembers_at_most_the_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
