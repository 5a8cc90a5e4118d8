/* Counts and rates per address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "controlplane/web/server.h"

static struct address address_of(const char *text)
{
    struct address address;

    assert_true(address_parse(text, &address));
    return address;
}

static struct tally_entry *take(struct tally *tally, const char *ip, uint32_t max)
{
    struct tally_entry *entry;

    tally_take(tally, address_of(ip), max, 0, 1, &entry);
    return entry;
}

static bool is_empty(const struct tally *tally)
{
    for (unsigned i = 0; i < TALLY_BUCKETS; i++)
        if (tally->buckets[i] != NULL)
            return false;
    return tally->idle == 0;
}

static void counts(void **state)
{
    static struct tally tally;
    struct tally_entry *first, *second, *third;

    first = take(&tally, "192.0.2.1", 2);
    assert_ptr_equal(take(&tally, "192.0.2.1", 2), first);
    assert_null(take(&tally, "192.0.2.1", 2));
    second = take(&tally, "2001:db8:0:1::1", 2);
    assert_ptr_equal(take(&tally, "2001:db8:0:1:ffff::2", 2), second); /* one /64 */
    assert_null(take(&tally, "2001:db8:0:1::3", 2));
    third = take(&tally, "2001:db8:0:2::1", 2);
    assert_ptr_not_equal(third, second);
    tally_drop(&tally, third, 1);
    tally_drop(&tally, first, 1);
    assert_ptr_equal(take(&tally, "192.0.2.1", 2), first);
    tally_drop(&tally, first, 1);
    tally_drop(&tally, first, 1);
    tally_drop(&tally, second, 1);
    tally_drop(&tally, second, 1);
    tally_drop(&tally, NULL, 1);
    assert_true(is_empty(&tally));
}

/* Any 60 s hold no more than the rate, however they are cut, and it comes back evenly. */
static void rates(void **state)
{
    static struct tally tally;
    const struct address a = address_of("192.0.2.1");
    struct tally_entry *entry;
    uint64_t now_ms = 1000;

    for (int i = 0; i < 60; i++) {
        assert_int_equal(tally_take(&tally, a, 1000, 60, now_ms, &entry), TALLY_FITS);
        tally_drop(&tally, entry, now_ms); /* short connections count too */
    }
    assert_int_equal(tally_take(&tally, a, 1000, 60, now_ms, &entry), TALLY_TOO_FAST);
    assert_null(entry);
    assert_int_equal(tally_take(&tally, a, 1000, 60, now_ms + 999, &entry), TALLY_TOO_FAST);
    assert_int_equal(tally_take(&tally, a, 1000, 60, now_ms + 1000, &entry), TALLY_FITS);
    tally_drop(&tally, entry, now_ms + 1000);
    assert_int_equal(tally_take(&tally, a, 1000, 60, now_ms + 1000, &entry), TALLY_TOO_FAST);
    assert_int_equal(tally_take(&tally, address_of("192.0.2.2"), 1000, 60, now_ms, &entry),
                     TALLY_FITS);
    tally_drop(&tally, entry, now_ms);
    now_ms += 61000;
    for (int i = 0; i < 60; i++) {
        assert_int_equal(tally_take(&tally, a, 1000, 60, now_ms, &entry), TALLY_FITS);
        tally_drop(&tally, entry, now_ms);
    }
    assert_int_equal(tally_take(&tally, a, 1000, 60, now_ms, &entry), TALLY_TOO_FAST);
    assert_int_equal(tally.idle, 2);
    /* Who has recovered is forgotten when its bucket is looked at again. */
    now_ms += 61000;
    tally_take(&tally, a, 1000, 0, now_ms, &entry);
    tally_drop(&tally, entry, now_ms);
    tally_clear(&tally);
    assert_true(is_empty(&tally));
}

static void remembers_so_many(void **state)
{
    static struct tally tally;
    struct tally_entry *entry;

    for (uint32_t i = 0; i < TALLY_IDLE_MAX + 1000; i++) {
        struct address a = {{[10] = 0xff, [11] = 0xff}};

        memcpy(a.bytes + 12, &i, sizeof(i));
        assert_int_equal(tally_take(&tally, a, 10, 60, 1, &entry), TALLY_FITS);
        tally_drop(&tally, entry, 1);
    }
    assert_int_equal(tally.idle, TALLY_IDLE_MAX);
    tally_clear(&tally);
    assert_true(is_empty(&tally));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(rates),
        cmocka_unit_test(remembers_so_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
