/* Key frames: truth tables for each codec, and packets that Chromium sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "dataplane/engines/rtp.h"

#include <cmocka.h>
#include <string.h>

#include "tests/data/chromium_rtp.h"

#define COUNT(rows) (sizeof(rows) / sizeof(*(rows)))

/* Asks about a copy in memory that ends where the payload ends, so that a sanitizer notices
 * overruns. */
static bool is_key(enum codec codec, const uint8_t *payload, size_t bytes)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    bool key;

    memcpy(exact, payload, bytes);
    key = rtp_payload_is_key_frame(codec, exact, bytes);
    free(exact);
    return key;
}

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t bytes = 0;

    for (; *hex; hex++) {
        char pair[3] = {hex[0], 0, 0};

        if (*hex == ' ')
            continue;
        pair[1] = *++hex;
        out[bytes++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return bytes;
}

struct row {
    const char *payload;
    bool key;
};

static void check(enum codec codec, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t payload[64];
        size_t bytes = unhex(rows[i].payload, payload);

        if (is_key(codec, payload, bytes) != rows[i].key)
            fail_msg("codec %d: %s", codec, rows[i].payload);
    }
}

static void vp8_key_frames(void **state)
{
    static const struct row rows[] = {
        {"", false},
        {"10", false},    /* a descriptor without a payload header */
        {"10 00", true},  /* S, partition 0, P = 0 */
        {"10 01", false}, /* P = 1 */
        {"10 9e", true},  /* other bits of the header do not matter */
        {"00 00", false}, /* not the start of a partition */
        {"11 00", false}, /* partition 1 */
        {"17 00", false},
        {"30 00", true},    /* N: a frame that is not a reference */
        {"90 00 00", true}, /* X without any extension */
        {"90 00", false},
        {"90 80 11 00", true}, /* picture ID of 7 bits */
        {"90 80 11", false},
        {"90 80 91 22 00", true}, /* picture ID of 15 bits */
        {"90 80 91 22", false},
        {"90 80 91 22 01", false},
        {"90 40 05 00", true}, /* TL0PICIDX */
        {"90 20 05 00", true}, /* T */
        {"90 10 05 00", true}, /* K */
        {"90 30 05 00", true}, /* T and K share a byte */
        {"90 e0 8a bc 05 06 00", true},
        {"90 e0 8a bc 05 06 01", false},
        {"90 e0 8a bc 05 06", false},
        {"90 f0 0a 05 06 00", true},
    };

    check(CODEC_vp8, rows, COUNT(rows));
}

static void vp9_key_frames(void **state)
{
    static const struct row rows[] = {
        {"", false},
        {"08", false},    /* B, without a payload */
        {"08 82", true},  /* B, P = 0 */
        {"48 82", false}, /* P */
        {"00 82", false}, /* not the beginning of a frame */
        {"04 82", false}, /* only the end of a frame */
        {"0c 82", true},
        {"88 11 82", true}, /* picture ID of 7 bits */
        {"88 11", false},
        {"88 91 22 82", true}, /* picture ID of 15 bits */
        {"88 91 22", false},
        {"88 91", false},
        {"28 00 07 82", true}, /* non-flexible mode: a byte of layers, and TL0PICIDX */
        {"28 00 07", false},
        {"28 00", false},
        {"28 02 07 82", false}, /* spatial layer 1 */
        {"28 0e 07 82", false},
        {"28 f0 07 82", true}, /* temporal layer and switching do not matter */
        {"38 00 82", true},    /* flexible mode: no TL0PICIDX */
        {"38 00", false},
        {"38 02 82", false},
        {"b8 91 22 00 82", true},
        {"b8 91 22 04 82", false},
        {"f8 91 22 00 82", false},
    };

    check(CODEC_vp9, rows, COUNT(rows));
}

static void h264_key_frames(void **state)
{
    static const struct row rows[] = {
        {"", false},
        {"65", false},
        {"65 88", true},                  /* IDR */
        {"25 88", true},                  /* IDR with another nal_ref_idc */
        {"67 42", true},                  /* SPS */
        {"68 ce", false},                 /* PPS */
        {"61 88", false},                 /* slice */
        {"06 05", false},                 /* SEI */
        {"78 0002 6742", true},           /* STAP-A: SPS */
        {"78 0002 68ce 0002 6588", true}, /* PPS, IDR */
        {"78 0002 68ce 0002 06aa", false},
        {"78 0002 68ce", false},
        {"78 0002 68ce 00", false},
        {"78 0002 68ce 0003 6588", false}, /* longer than the packet */
        {"78 0003 68ce", false},
        {"78 0000 6742", false}, /* an empty unit */
        {"78 ffff 6742", false},
        {"78", false},
        {"7c 85 aa", true},  /* FU-A: the beginning of an IDR */
        {"7c 05 aa", false}, /* middle */
        {"7c 45 aa", false}, /* end */
        {"7c 87 aa", true},
        {"7c 81 aa", false},
        {"7c 85", false},
        {"7c", false},
        {"7d 85 aa", false}, /* packetization mode 1 has no FU-B */
    };

    check(CODEC_h264, rows, COUNT(rows));
}

static void av1_key_frames(void **state)
{
    static const struct row rows[] = {
        {"", false},      {"08", false},    {"08 0a", true},  {"18 0a", true},
        {"00 0a", false}, {"10 0a", false}, {"88 0a", false}, /* N and Z exclude each other */
        {"80 0a", false}, {"48 0a", true},
    };

    check(CODEC_av1, rows, COUNT(rows));
}

static void other_codecs_have_only_key_frames(void **state)
{
    static const enum codec codecs[] = {CODEC_none, CODEC_opus, CODEC_red, CODEC_other};

    for (size_t i = 0; i < COUNT(codecs); i++) {
        assert_true(rtp_payload_is_key_frame(codecs[i], NULL, 0));
        assert_true(is_key(codecs[i], (const uint8_t *)"\x01", 1));
    }
}

static void key_frames_of_chromium(void **state)
{
    unsigned keys[2] = {0}, deltas[2] = {0};

    for (size_t i = 0; i < COUNT(chromium_rtp); i++) {
        bool is_vp9 = strcmp(chromium_rtp[i].codec, "vp9") == 0;
        uint8_t data[256];
        struct rtp_view view;
        size_t bytes = unhex(chromium_rtp[i].data, data);

        if (strcmp(chromium_rtp[i].codec, "vp8") != 0 && !is_vp9)
            continue;
        assert_true(rtp_parse(data, bytes, &view));
        assert_int_equal(is_key(is_vp9 ? CODEC_vp9 : CODEC_vp8, data + view.header_bytes,
                                bytes - view.header_bytes),
                         chromium_rtp[i].key);
        ++*(chromium_rtp[i].key ? &keys[is_vp9] : &deltas[is_vp9]);
    }
    assert_true(keys[0] >= 4 && keys[1] >= 2); /* the data has both kinds */
    assert_true(deltas[0] >= 50 && deltas[1] >= 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vp8_key_frames),
        cmocka_unit_test(vp9_key_frames),
        cmocka_unit_test(h264_key_frames),
        cmocka_unit_test(av1_key_frames),
        cmocka_unit_test(other_codecs_have_only_key_frames),
        cmocka_unit_test(key_frames_of_chromium),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
