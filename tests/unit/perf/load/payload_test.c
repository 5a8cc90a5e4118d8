/* A payload reads as it was written, and each single changed bit is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs these first */
#include <cmocka.h>

#include "perf/load/payload.c"

static void reads_what_was_written(void **state)
{
    static const struct {
        size_t head, bytes;
    } rows[] = {{0, 32}, {1, 120}, {4, 1161}, {14, 1162}, {7, 60}, {0, 1400}, {28, 60}};
    uint8_t payload[1500];
    struct payload_label label, found;

    payload_open(12345);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        label = (struct payload_label){.stream = (uint32_t)i * 77,
                                       .number = 1000003u * (uint32_t)i,
                                       .sent_ns = 1234567890123ull + i,
                                       .frame = 0x01020304u * (uint32_t)i,
                                       .spatial = (uint8_t)(i % 3),
                                       .temporal = (uint8_t)(i % 4),
                                       .at = (uint8_t)(i * 40),
                                       .last = (uint8_t)(255 - i),
                                       .back = (uint8_t)(i * 10),
                                       .key = i % 2,
                                       .needs_lower = i % 3 == 0};
        memset(payload, 0xee, sizeof(payload));
        payload_write(payload, rows[i].head, rows[i].bytes, &label);
        for (size_t k = 0; k < rows[i].head; k++)
            assert_int_equal(payload[k], 0xee);
        assert_int_equal(payload[rows[i].bytes], 0xee);
        assert_int_equal(payload_read(payload, rows[i].bytes, &found), PAYLOAD_OK);
        assert_int_equal(found.stream, label.stream);
        assert_int_equal(found.number, label.number);
        assert_int_equal(found.sent_ns, label.sent_ns);
        assert_int_equal(found.frame, label.frame);
        assert_int_equal(found.spatial, label.spatial);
        assert_int_equal(found.temporal, label.temporal);
        assert_int_equal(found.at, label.at);
        assert_int_equal(found.last, label.last);
        assert_int_equal(found.back, label.back);
        assert_int_equal(found.key, label.key);
        assert_int_equal(found.needs_lower, label.needs_lower);
        assert_int_equal(found.body_bytes, rows[i].bytes - rows[i].head - LABEL_BYTES);
        /* A server may replace the head by a longer or a shorter one. */
        assert_int_equal(payload_read(payload + rows[i].head, rows[i].bytes - rows[i].head, &found),
                         PAYLOAD_OK);
    }
}

static void notices_each_changed_bit(void **state)
{
    enum { BYTES = 300, HEAD = 4 };
    uint8_t payload[BYTES];
    struct payload_label label = {.stream = 3, .number = 4, .sent_ns = 5}, found;

    payload_open(99);
    payload_write(payload, HEAD, BYTES, &label);
    for (size_t bit = HEAD * 8; bit < BYTES * 8; bit++) {
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (payload_read(payload, BYTES, &found) == PAYLOAD_OK)
            fail_msg("bit %zu", bit);
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(payload_read(payload, BYTES, &found), PAYLOAD_OK);
    for (size_t bytes = 0; bytes < BYTES; bytes++)
        assert_int_not_equal(payload_read(payload, bytes, &found), PAYLOAD_OK);
    payload_open(100); /* another run */
    assert_int_equal(payload_read(payload, BYTES, &found), PAYLOAD_FOREIGN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(notices_each_changed_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
