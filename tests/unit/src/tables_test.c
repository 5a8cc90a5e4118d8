/* Descriptions of rows, range checks, results of a copy, random rows. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above */
#include <cmocka.h>

#include "src/tables.c"

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* ---- descriptions ---- */

static void fields_cover_every_row_without_a_gap(void **state)
{
    for (unsigned t = 0; t < TABLE_COUNT; t++) {
        uint32_t at = sizeof(struct row_header);

        for (uint32_t f = 0; f < tables[t].field_count; f++) {
            const struct field *field = &tables[t].fields[f];

            assert_int_equal(field->offset, at);
            at += (uint32_t)field->size * field->count;
        }
        assert_int_equal(at, tables[t].row_bytes);
    }
}

static const struct field *field_of(enum table_id table, const char *name)
{
    for (uint32_t f = 0; f < tables[table].field_count; f++)
        if (strcmp(tables[table].fields[f].name, name) == 0)
            return &tables[table].fields[f];
    return NULL;
}

static void descriptions_match_the_rows(void **state)
{
    const struct field *loss = field_of(TABLE_consumer_state, "packets_lost");
    const struct field *mid = field_of(TABLE_producer, "mid");
    const struct field *codec = field_of(TABLE_producer, "codec");

    assert_string_equal(tables[TABLE_transport].name, "transport");
    assert_int_equal(tables[TABLE_transport].region, REGION_desired);
    assert_int_equal(tables[TABLE_key].region, REGION_keys);
    assert_int_equal(tables[TABLE_consumer].rows, CONSUMERS_MAX);
    assert_string_equal(loss->type, "i64");
    assert_true(loss->is_signed);
    assert_int_equal(loss->offset, offsetof(struct consumer_state_row, packets_lost));
    assert_int_equal(mid->count, MID_BYTES_MAX);
    assert_int_equal(mid->show, SHOW_text);
    assert_int_equal(codec->show, SHOW_codec);
    assert_int_equal(codec->max, 7);
}

static void enum_texts(void **state)
{
    static const struct {
        enum field_show show;
        uint64_t value;
        const char *text;
    } rows[] = {
        {SHOW_codec, CODEC_vp8, "vp8"},
        {SHOW_srtp_profile, 7, "aead_aes_128_gcm"},
        {SHOW_srtp_profile, 2, NULL},
        {SHOW_dtls_failure, 6, "restarted"},
        {SHOW_dtls_failure, 7, NULL},
        {SHOW_media_kind, UINT64_MAX, NULL},
        {SHOW_dec, 1, NULL},
        {SHOW_secret, 0, NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *text = field_enum_text(rows[i].show, rows[i].value);

        if (rows[i].text)
            assert_string_equal(text, rows[i].text);
        else
            assert_null(text);
    }
}

/* ---- range check ---- */

static void put_element(void *row, const struct field *field, unsigned index, int64_t value)
{
    memcpy((uint8_t *)row + field->offset + (size_t)index * field->size, &value, field->size);
}

/* Sets every field to its smallest allowed value. */
static void fill_least(enum table_id table, union any_row *row)
{
    memset(row, 0, sizeof(*row));
    for (uint32_t f = 0; f < tables[table].field_count; f++)
        for (unsigned i = 0; i < tables[table].fields[f].count; i++)
            put_element(row, &tables[table].fields[f], i, tables[table].fields[f].min);
    ((struct row_header *)row)->used = 1;
    ((struct row_header *)row)->generation = 1;
}

static void check_edges(enum table_id table, const struct field *field, unsigned index)
{
    int64_t top = field->size == 8 ? INT64_MAX : (1ll << (8 * field->size - field->is_signed)) - 1;
    const struct field *bad = NULL;
    union any_row row;

    fill_least(table, &row);
    assert_true(row_in_range(table, &row, &bad));
    put_element(&row, field, index, field->max);
    assert_true(row_in_range(table, &row, &bad));
    if (field->max < top) {
        put_element(&row, field, index, field->max + 1);
        assert_false(row_in_range(table, &row, &bad));
        assert_ptr_equal(bad, field);
        assert_false(row_in_range(table, &row, NULL));
    }
    if (field->min > 0) {
        put_element(&row, field, index, field->min - 1);
        assert_false(row_in_range(table, &row, NULL));
    }
}

static void values_at_every_limit(void **state)
{
    unsigned limits = 0;

    for (unsigned t = 0; t < TABLE_COUNT; t++) {
        for (uint32_t f = 0; f < tables[t].field_count; f++) {
            const struct field *field = &tables[t].fields[f];

            if (field->min == 0 && field->max == 0)
                continue;
            check_edges(t, field, 0);
            check_edges(t, field, field->count - 1u);
            limits++;
        }
    }
    assert_true(limits > 40);
}

static void signed_and_wide_elements(void **state)
{
    static const struct {
        uint16_t size;
        bool is_signed;
        int64_t min, max, value;
        bool fits;
    } rows[] = {
        {4, true, -5, 5, -5, true},     {4, true, -5, 5, -6, false},
        {4, true, -5, 5, 5, true},      {4, true, -5, 5, 6, false},
        {4, false, 0, 5, -1, false},    {8, true, -5, 5, -6, false},
        {8, true, -5, 5, -5, true},     {8, false, 1, 9, 0, false},
        {8, false, 1, 9, -1, false},    {8, false, 1, 9, 9, true},
        {2, false, 1, 65535, 0, false}, {2, false, 1, 65535, 65535, true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct field field = {.size = rows[i].size,
                                    .count = 1,
                                    .is_signed = rows[i].is_signed,
                                    .min = rows[i].min,
                                    .max = rows[i].max};

        assert_int_equal(element_in_range(&field, (const uint8_t *)&rows[i].value), rows[i].fits);
    }
}

/* ---- one row ---- */

static void results_of_a_copy(void **state)
{
    static const struct {
        uint32_t used, generation, asked;
        uint8_t kind; /* of a consumer row: 1 and 2 are allowed */
        bool odd;
        enum row_result result;
    } rows[] = {
        {1, 7, 0, 1, false, ROW_OK},    {1, 7, 7, 2, false, ROW_OK},
        {1, 7, 6, 1, false, ROW_FREE},  {1, 7, 8, 1, false, ROW_FREE},
        {0, 7, 0, 1, false, ROW_FREE},  {0, 7, 7, 1, false, ROW_FREE},
        {0, 0, 0, 0, false, ROW_FREE},  {1, 7, 7, 3, false, ROW_RANGE},
        {1, 7, 7, 0, false, ROW_RANGE}, {2, 7, 7, 1, false, ROW_RANGE},
        {1, 7, 6, 3, false, ROW_FREE},  {1, 7, 7, 1, true, ROW_TORN},
        {0, 7, 0, 1, true, ROW_TORN},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct consumer_row shared, mine = {.kind = rows[i].kind}, copy = {.ssrc = 0xdead};

        memset(&shared, 0, sizeof(shared));
        mine.header.generation = rows[i].generation;
        mine.header.used = rows[i].used;
        row_write(TABLE_consumer, &shared.header, &mine.header);
        if (rows[i].odd)
            atomic_fetch_add(&shared.header.sequence, 1);
        assert_int_equal(row_copy(TABLE_consumer, &copy, &shared.header, rows[i].asked),
                         rows[i].result);
        assert_int_equal(copy.ssrc, rows[i].odd ? 0xdead : 0); /* ROW_TORN leaves `to` unchanged */
    }
}

/* ---- random rows ---- */

#define MUTATIONS 1000000

static void random_rows_are_refused_or_in_range(void **state)
{
    unsigned seen[4] = {0};

    for (unsigned t = 0; t < TABLE_COUNT; t++) {
        union any_row shared, copy;

        for (unsigned i = 0; i < MUTATIONS / TABLE_COUNT + 1; i++) {
            enum row_result result;

            if (i % 64 == 0)
                fill_least(t, &shared);
            for (unsigned flips = 1 + random_next() % 4; flips > 0; flips--)
                ((uint8_t *)&shared)[random_next() % tables[t].row_bytes] =
                    (uint8_t)(random_next() >> 32);
            if (i % 16 != 0) { /* else nearly every row would be torn or free */
                ((struct row_header *)&shared)->sequence &= ~1u;
                ((struct row_header *)&shared)->used = 1;
            }
            result = row_copy(t, &copy, (struct row_header *)&shared, 0);
            assert_true(result <= ROW_RANGE);
            if (result == ROW_OK)
                assert_true(row_in_range(t, &copy, NULL));
            seen[result]++;
        }
    }
    for (unsigned v = 0; v < 4; v++)
        assert_true(seen[v] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_cover_every_row_without_a_gap),
        cmocka_unit_test(descriptions_match_the_rows),
        cmocka_unit_test(enum_texts),
        cmocka_unit_test(values_at_every_limit),
        cmocka_unit_test(signed_and_wide_elements),
        cmocka_unit_test(results_of_a_copy),
        cmocka_unit_test(random_rows_are_refused_or_in_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
