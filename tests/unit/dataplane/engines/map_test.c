/* The hash map of a worker: its promises about room, and that removal keeps every other key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/engines/map.c" /* ideal_place: to choose keys that collide */

/* The next key after *key whose ideal place in this map is `place`. */
static uint64_t key_for_place(const struct map *map, uint64_t key, uint32_t place)
{
    do
        key++;
    while (ideal_place(map, key) != place);
    return key;
}

static void keys_are_found_replaced_and_removed(void **state)
{
    struct map map = {0};

    assert_true(map_open(&map, 8));
    assert_int_equal(map_find(&map, 1), MAP_NONE);

    assert_true(map_set(&map, 1, 10));
    assert_true(map_set(&map, UINT64_MAX, 0));
    assert_int_equal(map_find(&map, 1), 10);
    assert_int_equal(map_find(&map, UINT64_MAX), 0);
    assert_int_equal(map_find(&map, 2), MAP_NONE);
    assert_int_equal(map.count, 2);

    assert_true(map_set(&map, 1, 11)); /* another value for the same key */
    assert_int_equal(map_find(&map, 1), 11);
    assert_int_equal(map.count, 2);

    map_remove(&map, 2, 11); /* no such key */
    map_remove(&map, 1, 10); /* the key has another value by now */
    assert_int_equal(map_find(&map, 1), 11);
    map_remove(&map, 1, 11);
    assert_int_equal(map_find(&map, 1), MAP_NONE);
    map_remove(&map, 1, 11); /* twice */
    assert_int_equal(map_find(&map, UINT64_MAX), 0);
    assert_int_equal(map.count, 1);

    map_close(&map);
    map_close(&map); /* a closed map may be closed again */
}

static void map_has_room_for_as_many_keys_as_asked(void **state)
{
    static const uint32_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 1000, 1024, 1025};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct map map = {0};

        assert_true(map_open(&map, sizes[i]));
        for (uint32_t key = 1; key <= sizes[i]; key++)
            assert_true(map_set(&map, key, key + 1));
        for (uint32_t key = 1; key <= sizes[i]; key++)
            assert_int_equal(map_find(&map, key), key + 1);
        map_close(&map);
    }
}

static void full_map_refuses_new_keys_and_keeps_the_others(void **state)
{
    struct map map = {0};
    uint64_t keys = 0;

    assert_true(map_open(&map, 100));
    while (map_set(&map, keys + 1, 7))
        keys++;
    assert_in_range(keys, 100, (map.mask + 1) / 4 * 3);
    assert_int_equal(map.count, keys);

    assert_int_equal(map_find(&map, keys + 1), MAP_NONE);
    assert_true(map_set(&map, 1, 8)); /* an existing key needs no room */
    assert_false(map_set(&map, keys + 1, 7));
    map_remove(&map, 2, 7);
    assert_true(map_set(&map, keys + 1, 7));
    assert_false(map_set(&map, keys + 2, 7));
    for (uint64_t key = 1; key <= keys + 1; key++)
        assert_int_equal(map_find(&map, key), key == 1 ? 8 : key == 2 ? MAP_NONE : 7);
    map_close(&map);
}

/* Puts keys with the given ideal places into a map of 16 entries. Then removes them one by one, each
 * time beginning with another key, and looks for all of them after each removal. */
static void remove_each(const char *what, const uint32_t *places, size_t count)
{
    for (size_t first = 0; first < count; first++) {
        struct map map = {0};
        uint64_t keys[16], key = 0;

        assert_true(map_open(&map, 8));
        assert_int_equal(map.mask, 15);
        for (size_t i = 0; i < count; i++) {
            keys[i] = key = key_for_place(&map, key, places[i]);
            assert_true(map_set(&map, key, (uint32_t)i));
        }
        for (size_t removed = 0; removed < count; removed++) {
            size_t victim = (first + removed) % count;

            map_remove(&map, keys[victim], (uint32_t)victim);
            for (size_t i = 0; i < count; i++) {
                bool gone = (i + count - first) % count <= removed;

                if (map_find(&map, keys[i]) != (gone ? MAP_NONE : i))
                    fail_msg("%s: key %zu, after %zu removals that began with key %zu", what, i,
                             removed + 1, first);
            }
        }
        assert_int_equal(map.count, 0);
        for (size_t i = 0; i <= map.mask; i++)
            assert_int_equal(map.entries[i].key, 0);
        map_close(&map);
    }
}

static void removal_keeps_keys_that_collide(void **state)
{
    static const struct {
        const char *what;
        uint32_t places[8];
        size_t count;
    } rows[] = {
        {"no collision", {2, 4, 6, 8}, 4},
        {"all at one place", {3, 3, 3, 3, 3}, 5},
        {"all at the last place: they continue at the first", {15, 15, 15, 15}, 4},
        {"two groups that touch", {3, 3, 5, 5, 3}, 5},
        {"a group in another one", {3, 4, 3, 4, 3, 5}, 6},
        {"each at its own place, side by side", {3, 4, 5, 6}, 4},
        {"around the end", {14, 15, 14, 0, 15, 1, 0}, 7},
        {"a key that wrapped before a key at its own place", {15, 15, 0, 1, 1}, 5},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        remove_each(rows[i].what, rows[i].places, rows[i].count);
}

/* Twenty thousand random changes, each compared with an array that does the same. */
static void map_agrees_with_an_array(void **state)
{
    enum { KEYS = 24 };
    uint32_t values[KEYS + 1], random = 1, refused = 0;
    struct map map = {0};

    for (size_t i = 0; i <= KEYS; i++)
        values[i] = MAP_NONE;
    assert_true(map_open(&map, 8));
    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t key, count = 0;

        random = random * 1664525 + 1013904223;
        key = 1 + (random >> 8) % KEYS;
        if (random >> 31) {
            if (map_set(&map, key, step))
                values[key] = step;
            else
                refused++;
        } else {
            map_remove(&map, key, values[key]);
            values[key] = MAP_NONE;
        }
        for (uint32_t k = 1; k <= KEYS; k++) {
            assert_int_equal(map_find(&map, k), values[k]);
            count += values[k] != MAP_NONE;
        }
        assert_int_equal(map.count, count);
    }
    assert_true(refused > 100); /* the full map was part of it */
    map_close(&map);
}

static void hash_depends_on_secret_length_and_every_byte(void **state)
{
    uint8_t data[32] = {0}, shifted[33] = {0};

    for (size_t bytes = 0; bytes <= sizeof(data); bytes++) {
        uint64_t hash = map_hash(5, data, bytes);

        assert_true(hash != 0);
        assert_int_equal(map_hash(5, shifted + 1, bytes), hash); /* at an odd address */
        assert_int_not_equal(map_hash(6, data, bytes), hash);
        if (bytes > 0)
            assert_int_not_equal(map_hash(5, data, bytes - 1), hash);
        for (size_t i = 0; i < bytes; i++) {
            data[i] = 1;
            assert_int_not_equal(map_hash(5, data, bytes), hash);
            data[i] = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_replaced_and_removed),
        cmocka_unit_test(map_has_room_for_as_many_keys_as_asked),
        cmocka_unit_test(full_map_refuses_new_keys_and_keeps_the_others),
        cmocka_unit_test(removal_keeps_keys_that_collide),
        cmocka_unit_test(map_agrees_with_an_array),
        cmocka_unit_test(hash_depends_on_secret_length_and_every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
