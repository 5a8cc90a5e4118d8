/* Payload heads: their bytes, that they are read as they were written, that the server's parser
 * finds the same key frames, and that truncated ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs these first */
#include <cmocka.h>

#include "dataplane/engines/quality/layer.h"
#include "perf/load/video_head.c"

#define VP8 VIDEO_VP8
#define VP9 VIDEO_VP9
#define H264 VIDEO_H264
#define L .has_layers = true

static const struct {
    const char *what;
    enum video_codec codec;
    struct video_head head;
    const char *hex;
} rows[] = {
    {"VP8 key, no layers",
     VP8,
     {.first = true, .key = true, .picture_id = 0x1234},
     "90 80 92 34 b0 74 00 9d 01 2a 80 02 e0 01"},
    {"VP8 delta, no layers", VP8, {.first = true, .picture_id = 0x7fff}, "90 80 ff ff d1 2a 00"},
    {"VP8 second packet", VP8, {.picture_id = 5}, "80 80 80 05"},
    {"VP8 T0 key",
     VP8,
     {L, .first = true, .key = true, .picture_id = 1, .tl0_index = 9},
     "90 e0 80 01 09 00 b0 74 00 9d 01 2a 80 02 e0 01"},
    {"VP8 T1 sync",
     VP8,
     {L, .first = true, .temporal = 1, .sync = true, .tl0_index = 255},
     "90 e0 80 00 ff 60 d1 2a 00"},
    {"VP8 T2 can be dropped", VP8, {L, .temporal = 2}, "a0 e0 80 00 00 80"},
    {"VP9 S0 key",
     VP9,
     {L, .first = true, .key = true, .spatial_layers = 3, .helps_upper = true, .picture_id = 2,
      .tl0_index = 7},
     "aa 80 02 00 07 58 01 40 00 b4 02 80 01 68 05 00 02 d0 04 04 04 54 01 34 02 44 01 82 49 83 "
     "42"},
    {"VP9 S1 of a key picture",
     VP9,
     {L, .first = true, .last = true, .key = true, .spatial = 1, .spatial_layers = 3,
      .helps_upper = true, .needs_lower = true},
     "ac 80 00 03 00 86"},
    {"VP9 S2, T2, last packet",
     VP9,
     {L, .last = true, .spatial = 2, .temporal = 2, .sync = true, .spatial_layers = 3},
     "e5 80 00 54 00"},
    {"H264 parameter sets",
     H264,
     {.first = true, .key = true, .rest_bytes = 0x0123},
     "78 00 07 67 42 e0 1f 8c 68 05 00 04 68 ce 3c 80 01 24 0c"},
    {"H264 first of an IDR", H264, {.key = true, .at = 1}, "7c 85 88"},
    {"H264 last of an IDR", H264, {.key = true, .at = 2, .last = true}, "7c 45"},
    {"H264 first of a slice", H264, {.first = true}, "5c 81 9a"},
    {"H264 middle of a slice", H264, {.at = 1}, "5c 01"},
};

static void bytes_are_as_expected(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t out[VIDEO_HEAD_BYTES_MAX];
        size_t bytes = video_head_write(rows[i].codec, &rows[i].head, out);
        char hex[200] = "";

        for (size_t k = 0; k < bytes; k++)
            sprintf(hex + strlen(hex), "%s%02x", k ? " " : "", out[k]);
        if (strcmp(hex, rows[i].hex) != 0)
            fail_msg("%s: %s, not %s", rows[i].what, hex, rows[i].hex);
    }
}

static void reads_what_was_written(void **state)
{
    static const enum codec codecs[] = {CODEC_vp8, CODEC_vp9, CODEC_h264};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct video_head *h = &rows[i].head;
        uint8_t payload[VIDEO_HEAD_BYTES_MAX + 400] = {0};
        size_t bytes =
            video_head_write(rows[i].codec, h, payload) + (h->rest_bytes ? h->rest_bytes : 20);
        struct video_head found;
        struct layer servers;

        assert_true(video_head_read(rows[i].codec, payload, bytes, &found));
        assert_int_equal(found.has_picture_id, rows[i].codec != VIDEO_H264);
        assert_int_equal(found.picture_id, h->picture_id);
        assert_int_equal(found.has_layers, h->has_layers);
        assert_int_equal(found.tl0_index, h->tl0_index);
        assert_int_equal(found.temporal, h->temporal);
        assert_int_equal(found.spatial, h->spatial);
        assert_int_equal(found.sync, h->sync);
        assert_int_equal(found.needs_lower, h->needs_lower);
        assert_int_equal(found.helps_upper, h->helps_upper);
        assert_int_equal(found.first, h->first);
        if (rows[i].codec != VIDEO_VP8)
            assert_int_equal(found.last, h->last);
        assert_int_equal(found.key, h->key && h->first);
        layer_read(NULL, codecs[rows[i].codec], payload, bytes, false, NULL, 0, &servers);
        if (rows[i].codec != VIDEO_H264 || h->at != 1) /* there an IDR begins, behind its SPS */
            assert_int_equal(servers.begins_key_frame, h->key && h->first && h->spatial == 0);
        assert_int_equal(servers.temporal, h->temporal);
        assert_int_equal(servers.spatial, h->spatial);
    }
}

/* Whatever the length: no byte behind the end is read (the sanitizer looks), and what lacks a byte
 * of its descriptor is refused. */
static void truncated_heads_are_refused(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t out[VIDEO_HEAD_BYTES_MAX];
        size_t bytes = video_head_write(rows[i].codec, &rows[i].head, out);
        size_t least = rows[i].codec == VIDEO_H264  ? 4
                       : rows[i].codec == VIDEO_VP9 ? 6
                       : rows[i].head.has_layers    ? 7
                                                    : 5;
        struct video_head found;

        for (size_t k = 0; k < least && k <= bytes; k++) {
            uint8_t *copy = malloc(k ? k : 1);

            memcpy(copy, out, k);
            if (video_head_read(rows[i].codec, copy, k, &found))
                fail_msg("%s: %zu bytes are enough", rows[i].what, k);
            free(copy);
        }
    }
}

/* A server may shorten a picture id to 7 bits. */
static void reads_short_picture_ids(void **state)
{
    struct video_head found;

    assert_true(video_head_read(VP8, (const uint8_t *)"\x90\xe0\x15\x07\x60\xd1", 6, &found));
    assert_false(found.has_long_id);
    assert_int_equal(found.picture_id, 0x15);
    assert_int_equal(found.tl0_index, 7);
    assert_int_equal(found.temporal, 1);
}

/* What a frame needs has been sent, and a sync frame needs only the base layer. */
static void layers_need_lower_ones(void **state)
{
    for (uint32_t i = 0; i < 20; i++) {
        struct temporal_place place = temporal_place(i);

        assert_int_equal(place.back == 0, i == 0);
        assert_true(place.back <= i);
        if (i == 0)
            continue;
        assert_true(temporal_place(i - place.back).layer <= place.layer);
        if (place.sync)
            assert_int_equal(temporal_place(i - place.back).layer, 0);
        else if (place.layer)
            assert_true(temporal_place(i - place.back).layer > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_as_expected),       cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(truncated_heads_are_refused), cmocka_unit_test(reads_short_picture_ids),
        cmocka_unit_test(layers_need_lower_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
