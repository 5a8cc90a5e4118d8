/* profile-level-id: parsing, printing, order of levels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controlplane/ortc/internal.h"

static void ids_are_parsed_and_printed(void **state)
{
    static const struct {
        const char *text;
        enum h264_profile profile;
        uint8_t level;
        const char *printed; /* NULL: there is none */
    } rows[] = {
        {"42e01f", H264_CONSTRAINED_BASELINE, 31, "42e01f"},
        {"42E01F", H264_CONSTRAINED_BASELINE, 31, "42e01f"},
        {"42c01e", H264_CONSTRAINED_BASELINE, 30, "42e01e"},
        {"4de01f", H264_CONSTRAINED_BASELINE, 31, "42e01f"},
        {"58f01f", H264_CONSTRAINED_BASELINE, 31, "42e01f"},
        {"42a01f", H264_BASELINE, 31, "42001f"},
        {"58a01f", H264_BASELINE, 31, "42001f"},
        {"4d4032", H264_MAIN, 50, "4d0032"},
        {"4d0032", H264_MAIN, 50, "4d0032"},
        {"64001f", H264_HIGH, 31, "64001f"},
        {"640c1f", H264_CONSTRAINED_HIGH, 31, "640c1f"},
        {"f4001f", H264_PREDICTIVE_HIGH_444, 31, "f4001f"},
        {"42f00b", H264_CONSTRAINED_BASELINE, H264_LEVEL_1B, "42f00b"},
        {"42100b", H264_BASELINE, H264_LEVEL_1B, "42100b"},
        {"4d100b", H264_MAIN, H264_LEVEL_1B, "4d100b"},
        {"42e00b", H264_CONSTRAINED_BASELINE, 11, "42e00b"},
        {NULL, H264_CONSTRAINED_BASELINE, 31, "42e01f"},
        {"", H264_NONE, 0, NULL},
        {"42e0", H264_NONE, 0, NULL},
        {"42e01ff", H264_NONE, 0, NULL},
        {"42e01g", H264_NONE, 0, NULL},
        {"42e000", H264_NONE, 0, NULL},
        {"42e0ff", H264_NONE, 0, NULL},
        {"42e11f", H264_NONE, 0, NULL}, /* reserved bits set */
        {"58601f", H264_NONE, 0, NULL},
        {"64011f", H264_NONE, 0, NULL},
        {"00001f", H264_NONE, 0, NULL},
        {"0x42e0", H264_NONE, 0, NULL},
    };
    char out[7];
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct h264_profile_level got = h264_parse(rows[i].text);

        if (got.profile != rows[i].profile || got.level != rows[i].level)
            fail_msg("%s: profile %d level %d", rows[i].text, got.profile, got.level);
        assert_int_equal(h264_print(got, out), rows[i].printed != NULL);
        if (rows[i].printed != NULL)
            assert_string_equal(out, rows[i].printed);
    }
    assert_false(h264_print((struct h264_profile_level){H264_HIGH, H264_LEVEL_1B}, out));
}

/* The order of ITU-T H.264, table A-1. */
static void levels_are_in_order(void **state)
{
    static const uint8_t order[] = {
        10, H264_LEVEL_1B, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52};
    size_t a, b;

    for (a = 0; a < sizeof(order); a++) {
        for (b = 0; b < sizeof(order); b++)
            assert_int_equal(h264_level_less(order[a], order[b]), a < b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_parsed_and_printed),
        cmocka_unit_test(levels_are_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
