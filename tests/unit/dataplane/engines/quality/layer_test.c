/* What payloads tell about layers: truth tables for each codec, and packets that Chromium sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "dataplane/engines/quality/layer.h"
#include "dataplane/engines/rtp.h"

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/data/chromium_rtp.h"

#define COUNT(rows) (sizeof(rows) / sizeof(*(rows)))

/* Reads a copy in memory that ends where the payload ends, so that a sanitizer notices overruns. */
static bool read_exact(struct layer_source *s, enum codec codec, const uint8_t *payload,
                       size_t bytes, bool marker, struct layer *l)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    bool ok;

    memcpy(exact, payload, bytes);
    ok = layer_read(s, codec, exact, bytes, marker, NULL, 0, l);
    free(exact);
    return ok;
}

static bool is_key(enum codec codec, const uint8_t *payload, size_t bytes)
{
    struct layer l;

    read_exact(NULL, codec, payload, bytes, false, &l);
    return l.begins_key_frame;
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

/* Everything that a struct layer says, as words. */
static const char *words(const struct layer *l)
{
    static char text[256];
    int n = snprintf(text, sizeof(text), "s%d t%d%s%s%s%s%s%s%s%s%s%s", l->spatial, l->temporal,
                     l->begins_key_frame ? " key" : "", l->is_key_picture ? " picture" : "",
                     l->begins_frame ? " begin" : "", l->ends_frame ? " end" : "",
                     l->switches_up ? " up" : "", l->depends_on_lower ? " lower" : "",
                     l->unused_above ? " unused" : "", l->has_sps ? " sps" : "",
                     l->has_pps ? " pps" : "", l->has_idr ? " idr" : "");

    if (l->picture_id_bits)
        n += snprintf(text + n, sizeof(text) - (size_t)n, " id%d=%x", l->picture_id_bits,
                      l->picture_id);
    if (l->picture_id_at)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "@%d", l->picture_id_at);
    if (l->tl0_at)
        n += snprintf(text + n, sizeof(text) - (size_t)n, " tl0=%x@%d", l->tl0, l->tl0_at);
    if (l->has_targets || l->has_structure)
        snprintf(text + n, sizeof(text) - (size_t)n, " descriptor");
    return text;
}

struct layer_row {
    const char *payload, *words; /* NULL: malformed */
    bool marker;
};

/* Each row is a packet of the same source. */
static void check_layers(struct layer_source *s, enum codec codec, const struct layer_row *rows,
                         size_t count)
{
    static const struct layer zero;

    for (size_t i = 0; i < count; i++) {
        uint8_t payload[64];
        size_t bytes = unhex(rows[i].payload, payload);
        struct layer l;
        bool ok = read_exact(s, codec, payload, bytes, rows[i].marker, &l);

        if (ok != (rows[i].words != NULL))
            fail_msg("codec %d: %s is %s", codec, rows[i].payload, ok ? "read" : "refused");
        if (!ok)
            assert_memory_equal(&l, &zero, sizeof(l));
        else if (strcmp(words(&l), rows[i].words) != 0)
            fail_msg("codec %d: %s says \"%s\", not \"%s\"", codec, rows[i].payload, words(&l),
                     rows[i].words);
    }
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
        {"65 08", false},    /* a later slice of the picture */
        {"7c 85 2a", false},
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
    struct layer l;

    for (size_t i = 0; i < COUNT(codecs); i++) {
        assert_true(layer_read(NULL, codecs[i], NULL, 0, false, NULL, 0, &l));
        assert_string_equal(words(&l), "s0 t0 key picture begin end up");
        assert_true(is_key(codecs[i], (const uint8_t *)"\x01", 1));
    }
}

static void vp8_layers(void **state)
{
    static const struct layer_row rows[] = {
        {"", NULL},
        {"10", NULL},
        {"10 00", "s0 t0 key picture begin up"},
        {"10 00", "s0 t0 key picture begin end up", true},
        {"10 01", "s0 t0 begin up"},
        {"00 00", "s0 t0 up"},
        {"11 00", "s0 t0 up"},
        {"80", NULL},
        {"90 80 91", NULL},
        {"90 80 11 01", "s0 t0 begin up id7=11@2"},
        {"90 80 91 22 01", "s0 t0 begin up id15=1122@2"},
        {"90 40 05 01", "s0 t0 begin up tl0=5@2"},
        {"90 e0 8a bc 05 00 01", "s0 t0 begin up id15=abc@2 tl0=5@4"},
        {"90 e0 8a bc 05 40 01", "s0 t1 begin id15=abc@2 tl0=5@4"},
        {"90 e0 8a bc 05 60 01", "s0 t1 begin up id15=abc@2 tl0=5@4"}, /* Y */
        {"90 e0 8a bc 05 80 01", "s0 t2 begin id15=abc@2 tl0=5@4"},
        {"80 e0 8a bc 05 a0 01", "s0 t2 up id15=abc@2 tl0=5@4", false},
        {"80 e0 0a 05 e0 01", "s0 t3 end up id7=a@2 tl0=5@3", true},
        {"90 10 df 01", "s0 t0 begin up"}, /* only KEYIDX: TID is not valid */
        {"90 e0 8a bc 05 00", NULL},
    };
    struct layer_source s = {0};

    check_layers(&s, CODEC_vp8, rows, COUNT(rows));
    check_layers(NULL, CODEC_vp8, rows, COUNT(rows));
    assert_int_equal(s.temporal_seen, 3);
}

static void vp8_numbers_are_rewritten_in_place(void **state)
{
    static const struct {
        const char *before, *after;
    } rows[] = {
        {"90 e0 8a bc 05 40 01", "90 e0 9a 34 77 40 01"},
        {"90 e0 0a 05 40 01", "90 e0 34 77 40 01"},
        {"90 80 8a bc 01", "90 80 9a 34 01"},
        {"90 40 05 01", "90 40 77 01"},
        {"90 20 05 01", "90 20 05 01"},
        {"10 01", "10 01"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t before[16], after[16];
        size_t bytes = unhex(rows[i].before, before);
        struct layer l;

        unhex(rows[i].after, after);
        assert_true(layer_read(NULL, CODEC_vp8, before, bytes, false, NULL, 0, &l));
        layer_vp8_rewrite(before, &l, 0x1a34, 0x77);
        assert_memory_equal(before, after, bytes);
    }
}

static void vp9_layers(void **state)
{
    static const struct layer_row rows[] = {
        {"", NULL},
        {"08", NULL},
        {"08 82", "s0 t0 key picture begin up"},
        {"0c 82", "s0 t0 key picture begin end up", true},
        {"04 82", "s0 t0 picture end up"},
        {"49 82", "s0 t0 begin up unused"},
        {"88 11 82", "s0 t0 key picture begin up id7=11"},
        {"28 f0 07 82", "s0 t7 key picture begin up"}, /* U */
        {"28 e0 07 82", "s0 t7 key picture begin"},
        {"28 03 07 82", "s1 t0 picture begin up lower"},
        {"28 04 07 82", "s2 t0 picture begin up"},
        {"78 00 02 82", "s0 t0 begin up"}, /* one difference, then the payload */
        {"78 00 03 05 07 82", NULL},       /* no more than three differences */
        {"78 00 03 05 06 82", "s0 t0 begin up"},
        {"78 00 03 05 06", NULL},
        {"78 00 02", NULL},
        {"38 00 02", "s0 t0 key picture begin up"}, /* P = 0: no differences */
        {"0a 00 82", "s0 t0 key picture begin up"}, /* structure: one layer, without sizes */
        {"0a 00", NULL},
        {"0a 10 0140 00b4 82", "s0 t0 key picture begin up"},
        {"0a 10 0140 00b4", NULL},
        {"0a 30 0140 00b4 0280 0168 82", "s0 t0 key picture begin up"}, /* two sizes */
        {"0a 30 0140 00b4 82", NULL},
        {"0a 08 02 00 04 01 82", "s0 t0 key picture begin up"}, /* two pictures; one difference */
        {"0a 08 02 00 0c 01 82", NULL},
        {"0a 08 ff 82", NULL},
        {"0a 08", NULL},
    };

    check_layers(NULL, CODEC_vp9, rows, COUNT(rows));
}

/* U of a picture is about the higher temporal layers that follow it. */
static void vp9_switching_points(void **state)
{
    static const struct layer_row rows[] = {
        {"f8 01 00 02 82", "s0 t0 begin up id7=1"},
        {"f8 02 40 02 82", "s0 t2 begin id7=2"}, /* nothing said that one may */
        {"f8 03 10 02 82", "s0 t0 begin up id7=3"},
        {"f8 04 40 02 82", "s0 t2 begin up id7=4"},
        {"f8 04 42 02 82", "s1 t2 begin up id7=4"}, /* the same picture */
        {"f8 05 20 02 82", "s0 t1 begin up id7=5"},
        {"f8 06 40 02 82", "s0 t2 begin id7=6"}, /* may need picture 4 */
        {"f8 07 30 02 82", "s0 t1 begin id7=7"}, /* may need picture 5; a switching point for 2 */
        {"f8 06 40 02 82", "s0 t2 begin id7=6"}, /* late */
        {"f8 08 40 02 82", "s0 t2 begin up id7=8"},
        {"f8 09 10 02 82", "s0 t0 begin up id7=9"},
        {"f8 0b 40 02 82", "s0 t2 begin id7=b"},     /* picture 10 is missing */
        {"f8 7f 10 02 82", "s0 t0 begin up id7=7f"}, /* late, by wrapping numbers */
        {"f8 0c 10 02 82", "s0 t0 begin up id7=c"},
        {"f8 0d 40 02 82", "s0 t2 begin up id7=d"},
    };
    struct layer_source s = {0};

    check_layers(&s, CODEC_vp9, rows, COUNT(rows));
    assert_int_equal(s.temporal_seen, 2);
    assert_int_equal(s.spatial_seen, 1);
}

/* In a picture whose lowest layer needs other pictures, no layer lets a decoder begin. */
static void vp9_key_pictures(void **state)
{
    static const struct layer_row rows[] = {
        {"b8 7f 10 82", "s0 t0 key picture begin up id7=7f"},
        {"b8 7f 13 82", "s1 t0 picture begin up lower id7=7f"},
        {"f8 00 10 02 82", "s0 t0 begin up id7=0"},
        {"b8 00 13 82", "s1 t0 begin up lower id7=0"},
        {"b8 01 13 82", "s1 t0 picture begin up lower id7=1"}, /* its lowest layer is not here */
    };
    struct layer_source s = {0};

    check_layers(&s, CODEC_vp9, rows, COUNT(rows));
}

static void h264_units(void **state)
{
    static const struct layer_row rows[] = {
        {"67 42", "s0 t0 key picture up sps"},
        {"68 ce", "s0 t0 up pps"},
        {"65 88", "s0 t0 key picture up idr"},
        {"65 48", "s0 t0 picture up idr"}, /* a later slice */
        {"61 88", "s0 t0 end up", true},
        {"78 0002 6742 0002 68ce", "s0 t0 key picture up sps pps"},
        {"78 0002 6742 0002 68ce 0002 6588", "s0 t0 key picture up sps pps idr"},
        {"78 0002 68ce 0002 6588", "s0 t0 key picture up pps idr"},
        {"78 0001 67", "s0 t0 key picture up sps"},
        {"78 0001 65", "s0 t0 picture up idr"},
        {"78 0002 6742 00", NULL}, /* the whole packet is malformed */
        {"7c 85 88", "s0 t0 key picture up idr"},
        {"7c 05 88", "s0 t0 picture up idr"}, /* the middle */
        {"7c 45 88", "s0 t0 picture end up idr", true},
        {"7c 07 88", "s0 t0 up"}, /* not the beginning of the parameter set */
        {"7c 81 88", "s0 t0 up"},
        {"65", NULL},
        {"7c 85", NULL},
    };

    check_layers(NULL, CODEC_h264, rows, COUNT(rows));
}

static void av1_without_descriptor(void **state)
{
    static const struct layer_row rows[] = {
        {"08 0a", "s0 t0 key picture begin up"},
        {"88 0a", "s0 t0 up"},
        {"00 0a", "s0 t0 end up", true},
        {"08", NULL},
    };

    check_layers(NULL, CODEC_av1, rows, COUNT(rows));
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

/* Chromium sends VP9 as L3T3_KEY, and VP8 with three temporal layers. */
static void layers_of_chromium(void **state)
{
    unsigned vp9[3][3] = {{0}}, vp8[3] = {0}, keys = 0, ups = 0;
    struct layer_source s = {0};

    for (size_t i = 0; i < COUNT(chromium_rtp); i++) {
        bool is_vp9 = strcmp(chromium_rtp[i].codec, "vp9") == 0;
        uint8_t data[256];
        struct rtp_view view;
        struct layer l;
        size_t bytes = unhex(chromium_rtp[i].data, data);

        if (strcmp(chromium_rtp[i].codec, "vp8") != 0 && !is_vp9)
            continue;
        assert_true(rtp_parse(data, bytes, &view));
        if (bytes == view.header_bytes)
            continue; /* padding */
        assert_true(read_exact(is_vp9 ? &s : NULL, is_vp9 ? CODEC_vp9 : CODEC_vp8,
                               data + view.header_bytes, bytes - view.header_bytes, view.marker,
                               &l));
        assert_int_equal(l.picture_id_bits, 15);
        if (!is_vp9) {
            assert_true(l.temporal < 3);
            vp8[l.temporal] += l.tl0_at != 0; /* one of the captured calls has no temporal layers */
            continue;
        }
        assert_true(l.spatial < 3 && l.temporal < 3);
        vp9[l.spatial][l.temporal]++;
        assert_int_equal(l.depends_on_lower, l.is_key_picture && l.spatial > 0);
        assert_int_equal(l.unused_above, !l.is_key_picture || l.spatial == 2);
        keys += l.is_key_picture && l.spatial > 0;
        ups += l.temporal == 2 && l.switches_up;
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_true(vp8[i] > 0);
        for (unsigned k = 0; k < 3; k++)
            assert_true(vp9[i][k] > 0);
    }
    assert_true(keys >= 2 && ups >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vp8_key_frames),
        cmocka_unit_test(vp9_key_frames),
        cmocka_unit_test(h264_key_frames),
        cmocka_unit_test(av1_key_frames),
        cmocka_unit_test(other_codecs_have_only_key_frames),
        cmocka_unit_test(vp8_layers),
        cmocka_unit_test(vp8_numbers_are_rewritten_in_place),
        cmocka_unit_test(vp9_layers),
        cmocka_unit_test(vp9_switching_points),
        cmocka_unit_test(vp9_key_pictures),
        cmocka_unit_test(h264_units),
        cmocka_unit_test(av1_without_descriptor),
        cmocka_unit_test(key_frames_of_chromium),
        cmocka_unit_test(layers_of_chromium),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
