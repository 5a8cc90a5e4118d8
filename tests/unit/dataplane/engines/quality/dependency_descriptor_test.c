/* The dependency descriptor: structures of the specification, targets, key pictures, late and
 * malformed descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "dataplane/engines/quality/layer.h"

#include <cmocka.h>

#include "descriptor_build.h"

#define COUNT(rows) (sizeof(rows) / sizeof(*(rows)))

static const struct structure_table *const structures[] = {&structure_l1t3, &structure_l3t3,
                                                           &structure_l3t3_key, &structure_s2t1};

static const uint8_t av1_payload[] = {0x10, 0x30, 1}, av1_key_payload[] = {0x18, 0x0a, 1};

/* Reads a copy in memory that ends where the descriptor ends. */
static struct layer read_bytes(struct layer_source *s, const uint8_t *data, size_t bytes)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    struct layer l;

    memcpy(exact, data, bytes);
    assert_true(
        layer_read(s, CODEC_av1, av1_payload, sizeof(av1_payload), false, exact, bytes, &l));
    free(exact);
    return l;
}

static struct layer read_fields(struct layer_source *s, const struct descriptor_fields *f)
{
    struct bit_writer w;
    size_t bytes = descriptor_build(&w, f);

    return read_bytes(s, w.data, bytes);
}

static struct layer read_key_frame(struct layer_source *s, const struct structure_table *t,
                                   uint16_t number)
{
    return read_fields(
        s, &(struct descriptor_fields){
               .start = true, .number = number, .template_id = t->offset, .structure = t});
}

/* A frame of the template in this row of the table. */
static struct layer read_frame(struct layer_source *s, const struct structure_table *t,
                               unsigned row, uint16_t number)
{
    return read_fields(
        s, &(struct descriptor_fields){.template_id = (t->offset + row) % 64, .number = number});
}

static uint32_t mask_of(const char *indications, const char *letters)
{
    uint32_t mask = 0;

    for (unsigned i = 0; indications[i]; i++)
        mask |= (uint32_t)(strchr(letters, indications[i]) != NULL) << i;
    return mask;
}

static void templates_are_read(void **state)
{
    for (size_t i = 0; i < COUNT(structures); i++) {
        const struct structure_table *t = structures[i];
        struct layer_source s = {0};
        struct layer key = read_key_frame(&s, t, 500);

        assert_true(key.has_structure && key.has_targets && key.is_key_picture);
        assert_true(key.begins_frame && !key.ends_frame);
        for (unsigned row = 0; row < t->template_count; row++) {
            const struct template_row *r = &t->rows[row];
            struct layer l = read_frame(&s, t, row, (uint16_t)(520 + row));
            uint32_t own = mask_of(r->indications, "S");
            bool up = r->temporal == 0;

            assert_true(l.has_targets && !l.has_structure);
            assert_int_equal(l.spatial, r->spatial);
            assert_int_equal(l.temporal, r->temporal);
            assert_int_equal(l.present, mask_of(r->indications, "DSR"));
            assert_int_equal(l.switches, own);
            assert_int_equal(l.picture_id, 520 + row);
            assert_int_equal(l.picture_id_bits, 16);
            for (unsigned k = 0; k < t->target_count; k++)
                up |= (own >> k & 1) && s.structure.target_spatial[k] == r->spatial &&
                      s.structure.target_temporal[k] == r->temporal;
            assert_int_equal(l.switches_up, up);
        }
    }
}

static void beginning_and_end_of_frames(void **state)
{
    struct layer_source s = {0};

    for (unsigned i = 0; i < 4; i++) {
        struct layer l = read_fields(&s, &(struct descriptor_fields){.start = i & 1, .end = i & 2});

        assert_int_equal(l.begins_frame, i & 1);
        assert_int_equal(l.ends_frame, i >> 1);
    }
}

static void targets_of_layers(void **state)
{
    static const struct {
        const struct structure_table *structure;
        uint8_t spatial, temporal;
        int target;
    } rows[] = {
        {&structure_l1t3, 0, 0, 2}, {&structure_l1t3, 0, 1, 1},     {&structure_l1t3, 0, 2, 0},
        {&structure_l1t3, 3, 7, 0}, {&structure_l3t3, 0, 0, 8},     {&structure_l3t3, 0, 2, 6},
        {&structure_l3t3, 1, 1, 4}, {&structure_l3t3, 2, 0, 2},     {&structure_l3t3, 2, 2, 0},
        {&structure_l3t3, 3, 3, 0}, {&structure_l3t3_key, 2, 1, 1}, {&structure_l3t3_key, 0, 1, 7},
        {&structure_s2t1, 0, 0, 0}, {&structure_s2t1, 1, 0, 1},     {&structure_s2t1, 2, 2, 1},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct layer_source s = {0};

        assert_int_equal(layer_target(&s, rows[i].spatial, rows[i].temporal), -1);
        read_key_frame(&s, rows[i].structure, 1);
        assert_int_equal(layer_target(&s, rows[i].spatial, rows[i].temporal), rows[i].target);
    }
}

/* All decode targets need a temporal layer above 0. */
static void no_target_is_low_enough(void **state)
{
    struct structure_table t = structure_l1t3;
    struct layer_source s = {0};

    t.target_count = 1;
    t.protected_by = "0";
    for (unsigned i = 0; i < t.template_count; i++)
        t.rows[i].indications = "S";
    read_key_frame(&s, &t, 1);
    assert_int_equal(layer_target(&s, 0, 1), -1);
    assert_int_equal(layer_target(&s, 0, 2), 0);
}

static void active_targets(void **state)
{
    struct descriptor_fields f = {.template_id = structure_l3t3.offset + 1,
                                  .number = 20,
                                  .has_active = true,
                                  .active = 0x1f8, /* not the highest spatial layer */
                                  .target_count = 9};
    struct layer_source s = {0};
    uint8_t spatial, temporal;

    read_key_frame(&s, &structure_l3t3, 10);
    layer_highest(&s, &spatial, &temporal);
    assert_true(spatial == 2 && temporal == 2);
    read_fields(&s, &f);
    assert_int_equal(layer_target(&s, 2, 2), 3);
    layer_highest(&s, &spatial, &temporal);
    assert_true(spatial == 1 && temporal == 2);
    f.number = 19; /* late */
    f.active = 0x1c0;
    read_fields(&s, &f);
    assert_int_equal(layer_target(&s, 2, 2), 3);
    f.number = 21;
    read_fields(&s, &f);
    assert_int_equal(layer_target(&s, 2, 2), 6);
    read_key_frame(&s, &structure_l3t3, 30); /* a structure makes all targets active */
    assert_int_equal(layer_target(&s, 2, 2), 0);
    read_fields(&s, &(struct descriptor_fields){.template_id = structure_l3t3.offset,
                                                .number = 40,
                                                .structure = &structure_l3t3,
                                                .has_active = true,
                                                .active = 0x100});
    assert_int_equal(layer_target(&s, 2, 2), 8);
}

static void highest_without_structure(void **state)
{
    struct layer_source s = {0};
    uint8_t spatial, temporal;

    s.spatial_seen = 1;
    s.temporal_seen = 2;
    layer_highest(&s, &spatial, &temporal);
    assert_true(spatial == 1 && temporal == 2);
}

static void key_pictures(void **state)
{
    struct layer_source s = {0};

    read_key_frame(&s, &structure_l3t3, 65535);                         /* numbers wrap */
    assert_true(read_frame(&s, &structure_l3t3, 10, 1).is_key_picture); /* overtakes layer 1 */
    assert_true(read_frame(&s, &structure_l3t3, 5, 0).is_key_picture);
    assert_true(read_frame(&s, &structure_l3t3, 0, 65535).is_key_picture); /* its second packet */
    assert_false(read_frame(&s, &structure_l3t3, 3, 2).is_key_picture);    /* the next picture */
    assert_false(read_frame(&s, &structure_l3t3, 8, 3).is_key_picture);
    assert_true(read_frame(&s, &structure_l3t3, 10, 1).is_key_picture); /* late */
    assert_true(read_frame(&s, &structure_l3t3, 0, 65535).is_key_picture);

    /* Key picture with only one spatial layer. The picture after it has layers 0 and 2. */
    read_key_frame(&s, &structure_l3t3, 100);
    assert_false(read_frame(&s, &structure_l3t3, 1, 101).is_key_picture);
    assert_false(read_frame(&s, &structure_l3t3, 10, 102).is_key_picture);
    /* A frame that refers to one before the key frame is not of its picture. */
    read_key_frame(&s, &structure_l3t3, 200);
    assert_false(read_frame(&s, &structure_l3t3, 6, 201).is_key_picture);

    /* Simulcast in one stream: the upper one does not refer to the lower one. */
    memset(&s, 0, sizeof(s));
    read_key_frame(&s, &structure_s2t1, 7);
    assert_true(read_frame(&s, &structure_s2t1, 2, 8).is_key_picture);
    assert_false(read_frame(&s, &structure_s2t1, 1, 9).is_key_picture);
    assert_false(read_frame(&s, &structure_s2t1, 3, 10).is_key_picture);
    /* When the numbers come round again, the key frame is long ago. */
    for (unsigned number = 9; number < 7 + 0x10000; number += 100)
        read_frame(&s, &structure_s2t1, 1, (uint16_t)number);
    assert_false(read_frame(&s, &structure_s2t1, 1, 7).is_key_picture);
    assert_false(read_frame(&s, &structure_s2t1, 2, 8).is_key_picture);
}

static void the_packet_with_the_structure_was_lost(void **state)
{
    struct layer_source s = {0};
    struct layer l = read_frame(&s, &structure_l3t3, 7, 5);

    assert_true(!l.has_targets && l.picture_id == 5 && l.spatial == 0 && l.temporal == 0);
    l = read_fields(&s, &(struct descriptor_fields){.number = 6, .indications = "SSS"});
    assert_true(!l.has_targets && l.picture_id == 6);
    read_key_frame(&s, &structure_s2t1, 7);
    l = read_frame(&s, &structure_l3t3, 7, 8); /* a template that this structure does not have */
    assert_true(!l.has_targets && l.picture_id == 8);
    assert_true(read_frame(&s, &structure_s2t1, 3, 9).has_targets);
}

static void a_late_structure_changes_nothing(void **state)
{
    struct layer_source s = {0}, before;
    struct layer l;

    read_key_frame(&s, &structure_l3t3, 1000);
    read_frame(&s, &structure_l3t3, 1, 1010);
    before = s;
    l = read_key_frame(&s, &structure_s2t1, 1000 - 256);
    assert_true(l.is_key_picture && l.begins_frame && l.present == 1);
    assert_memory_equal(&s, &before, sizeof(s));
    read_key_frame(&s, &structure_l3t3, 1000); /* sent again */
    assert_memory_equal(&s, &before, sizeof(s));
    read_key_frame(&s, &structure_s2t1, 1000 - 257); /* the encoder began anew */
    assert_int_equal(layer_target(&s, 2, 2), 1);
    assert_int_equal(s.newest_frame, 1000 - 257);
}

static void a_frame_replaces_what_its_template_says(void **state)
{
    struct layer_source s = {0};
    struct layer l;

    read_key_frame(&s, &structure_l3t3, 1);
    l = read_fields(&s, &(struct descriptor_fields){.template_id = structure_l3t3.offset + 5,
                                                    .number = 2,
                                                    .indications = "-DSR---SS",
                                                    .has_differences = true,
                                                    .differences = {1, 17, 4096},
                                                    .chain_count = 3});
    assert_true(l.spatial == 1 && l.temporal == 0);
    assert_int_equal(l.present, 0x18e);
    assert_int_equal(l.switches, 0x184);
    assert_false(l.is_key_picture); /* 4096 frames back */
    l = read_fields(&s, &(struct descriptor_fields){.template_id = structure_l3t3.offset + 6,
                                                    .number = 2,
                                                    .has_differences = true,
                                                    .differences = {1}});
    assert_true(l.is_key_picture);
}

/* Whatever is cut off, the packet is still read; a structure is taken over whole or not at all. */
static void truncated_at_every_byte(void **state)
{
    for (size_t i = 0; i < COUNT(structures); i++) {
        const struct structure_table *t = structures[i];
        struct descriptor_fields f = {.template_id = t->offset,
                                      .structure = t,
                                      .has_active = true,
                                      .active = 3,
                                      .has_differences = true,
                                      .differences = {4000},
                                      .indications = t->rows[0].indications,
                                      .chain_count = t->chain_count};
        struct bit_writer w;
        size_t bytes = descriptor_build(&w, &f);

        for (size_t cut = 0; cut <= bytes; cut++) {
            struct layer_source s = {0}, zero = {0};
            struct layer l = read_bytes(&s, w.data, cut);

            assert_int_equal(l.has_targets, cut == bytes);
            assert_int_equal(l.picture_id_bits, cut == 3 || cut == bytes ? 16 : 0);
            if (cut < bytes)
                assert_memory_equal(&s, &zero, sizeof(s));
        }
    }
}

static void limits_of_structures(void **state)
{
    static const struct template_row row = {0, 0, {0}, {0}, "S"};
    struct structure_table t = {.target_count = 1};
    struct layer_source s = {0};
    struct layer l;

    for (unsigned i = 0; i < 65; i++)
        t.rows[i] = row;
    t.template_count = 64;
    assert_true(read_key_frame(&s, &t, 1).has_targets);
    t.template_count = 65;
    memset(&s, 0, sizeof(s));
    assert_false(read_key_frame(&s, &t, 1).has_targets);
    for (unsigned highest = 7; highest <= 8; highest++) { /* temporal layers */
        t.template_count = highest + 1;
        for (unsigned i = 0; i <= highest; i++)
            t.rows[i].temporal = (uint8_t)i;
        memset(&s, 0, sizeof(s));
        assert_int_equal(read_key_frame(&s, &t, 1).has_targets, highest == 7);
    }
    for (unsigned highest = 3; highest <= 4; highest++) { /* spatial layers */
        t.template_count = highest + 1;
        for (unsigned i = 0; i <= highest; i++)
            t.rows[i] = (struct template_row){(uint8_t)i, 0, {0}, {0}, "S"};
        memset(&s, 0, sizeof(s));
        assert_int_equal(read_key_frame(&s, &t, 1).has_targets, highest == 3);
    }
    /* A structure that does not have the template of its own frame. */
    memset(&s, 0, sizeof(s));
    l = read_fields(&s,
                    &(struct descriptor_fields){.template_id = 50, .structure = &structure_s2t1});
    assert_true(!l.has_targets && !l.has_structure && l.picture_id_bits == 0);
    assert_int_equal(s.structure.template_count, 0);
}

static void all_targets_at_once(void **state)
{
    static const char all[] = "SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS";
    struct structure_table t = {.template_count = 2,
                                .target_count = 32,
                                .chain_count = 3,
                                .protected_by = "01201201201201201201201201201201",
                                .rows = {{0, 0, {0}, {0}, all}, {0, 1, {1}, {1}, all}}};
    struct layer_source s = {0};

    assert_int_equal(read_key_frame(&s, &t, 1).switches, UINT32_MAX);
    assert_int_equal(s.active, UINT32_MAX);
    assert_int_equal(s.structure.chain_count, 3);
    assert_true(read_frame(&s, &t, 1, 2).temporal == 1);
}

/* What the payload says goes before the descriptor; the descriptor adds. */
static void together_with_payloads(void **state)
{
    static const struct {
        enum codec codec;
        const char *payload;
        size_t bytes;
        uint8_t temporal;
        bool begins;
        uint16_t picture_id;
    } rows[] = {
        {CODEC_vp8, "\x90\xe0\x8a\xbc\x05\x40\x01", 7, 1, true, 0xabc},
        {CODEC_vp8, "\x10\x01", 2, 2, true, 0},
        {CODEC_vp9, "\xf8\x8a\xbc\x20\x02\x82", 6, 1, true, 0xabc},
        {CODEC_vp9, "\x48\x82", 2, 2, true, 0},
        {CODEC_h264, "\x61\x88", 2, 2, false, 9},
        {CODEC_av1, "\x10\x30", 2, 2, false, 9},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct layer_source s = {0};
        struct bit_writer w;
        struct layer l;
        size_t bytes;

        read_key_frame(&s, &structure_l1t3, 1);
        bytes = descriptor_build(
            &w, &(struct descriptor_fields){
                    .template_id = (structure_l1t3.offset + 3) % 64, .number = 9, .end = true});
        assert_true(layer_read(&s, rows[i].codec, (const uint8_t *)rows[i].payload, rows[i].bytes,
                               false, w.data, bytes, &l));
        assert_int_equal(l.temporal, rows[i].temporal);
        assert_int_equal(l.begins_frame, rows[i].begins);
        assert_int_equal(l.picture_id, rows[i].picture_id);
        assert_true(l.has_targets && l.present == 1);
        assert_int_equal(s.temporal_seen, rows[i].temporal);
    }
}

static void the_payload_begins_the_key_frame(void **state)
{
    struct layer_source s = {0};
    struct bit_writer w;
    struct layer l;
    size_t bytes = descriptor_build(
        &w, &(struct descriptor_fields){
                .start = true, .template_id = structure_l3t3.offset, .structure = &structure_l3t3});

    assert_true(layer_read(&s, CODEC_av1, av1_key_payload, sizeof(av1_key_payload), false, w.data,
                           bytes, &l));
    assert_true(l.begins_key_frame && l.is_key_picture && l.begins_frame);
    assert_true(layer_read(NULL, CODEC_av1, av1_key_payload, sizeof(av1_key_payload), false, w.data,
                           bytes, &l));
    assert_true(l.begins_key_frame && !l.has_targets);
}

/* Writes a mask into a descriptor and reads it again, with the source that read the original. */
static void check_written(const struct layer_source *before, const uint8_t *data, size_t bytes,
                          size_t growth)
{
    struct layer_source s = *before, copy = *before;
    uint8_t out[255 + LAYER_DESCRIPTOR_GROWTH_MAX + 1];
    uint32_t active;
    struct layer l = read_bytes(&s, data, bytes), again;
    size_t size;

    active = 0xa5a5a5a5u & (UINT32_MAX >> (32 - l.target_count));
    memset(out, 0xee, sizeof(out));
    size = layer_descriptor_write(&l, active, data, bytes, out);
    assert_int_equal(size, bytes + growth);
    assert_int_equal(out[bytes + LAYER_DESCRIPTOR_GROWTH_MAX], 0xee);
    again = read_bytes(&copy, out, size);
    assert_memory_equal(&again, &l, sizeof(l));
    assert_int_equal(copy.active, active);
    s.active = active;
    assert_memory_equal(&copy, &s, sizeof(s));
}

static void targets_are_written(void **state)
{
    for (size_t i = 0; i < COUNT(structures); i++) {
        const struct structure_table *t = structures[i];
        struct layer_source zero = {0}, s = {0};
        struct descriptor_fields f = {
            .start = true, .template_id = t->offset, .number = 9, .structure = t};
        struct bit_writer w;
        size_t bytes = descriptor_build(&w, &f);

        check_written(&zero, w.data, bytes, (t->target_count + 7) / 8);
        read_bytes(&s, w.data, bytes);
        f.structure = NULL;
        f.number = 10;
        f.template_id = (t->offset + 1) % 64;
        bytes = descriptor_build(&w, &f);
        check_written(&s, w.data, bytes, (5 + t->target_count + 7) / 8);
        f.has_active = true;
        f.active = 1;
        f.target_count = t->target_count;
        bytes = descriptor_build(&w, &f);
        check_written(&s, w.data, bytes, 0); /* the mask is replaced */
        f.indications = t->rows[0].indications;
        f.has_differences = true;
        f.differences[0] = 300;
        f.chain_count = t->chain_count;
        bytes = descriptor_build(&w, &f);
        check_written(&s, w.data, bytes, 0);
        f.has_active = false;
        bytes = descriptor_build(&w, &f);
        check_written(&s, w.data, bytes, (t->target_count + 7) / 8);
    }
}

static void growth_of_a_descriptor(void **state)
{
    static const char all[] = "SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS";
    struct structure_table t = {
        .template_count = 1, .target_count = 32, .rows = {{0, 0, {0}, {0}, all}}};
    struct layer_source s = {0};

    read_key_frame(&s, &t, 1);
    check_written(&s, (const uint8_t *)"\x00\x00\x02", 3, LAYER_DESCRIPTOR_GROWTH_MAX);
}

static void not_written(void **state)
{
    uint8_t out[255 + LAYER_DESCRIPTOR_GROWTH_MAX];
    struct layer_source s = {0};
    struct layer l = {0}, other;
    struct bit_writer w;
    size_t bytes =
        descriptor_build(&w, &(struct descriptor_fields){.structure = &structure_l3t3_key});

    assert_int_equal(layer_descriptor_write(&l, 1, w.data, bytes, out), 0); /* no structure known */
    l = read_bytes(&s, w.data, bytes);
    other = read_key_frame(&s, &structure_s2t1, 500);
    assert_int_equal(layer_descriptor_write(&other, 1, w.data, bytes, out), 0);
    assert_int_not_equal(layer_descriptor_write(&l, 1, w.data, bytes, out), 0);
    for (size_t cut = 0; cut < bytes; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);

        memcpy(exact, w.data, cut);
        if (cut != 3)
            assert_int_equal(layer_descriptor_write(&l, 1, exact, cut, out), 0);
        free(exact);
    }
    /* The mask that is there is cut off. */
    assert_int_equal(layer_descriptor_write(&l, 1, (const uint8_t *)"\0\0\0\x40", 4, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_are_read),
        cmocka_unit_test(beginning_and_end_of_frames),
        cmocka_unit_test(targets_of_layers),
        cmocka_unit_test(no_target_is_low_enough),
        cmocka_unit_test(active_targets),
        cmocka_unit_test(highest_without_structure),
        cmocka_unit_test(key_pictures),
        cmocka_unit_test(the_packet_with_the_structure_was_lost),
        cmocka_unit_test(a_late_structure_changes_nothing),
        cmocka_unit_test(a_frame_replaces_what_its_template_says),
        cmocka_unit_test(truncated_at_every_byte),
        cmocka_unit_test(limits_of_structures),
        cmocka_unit_test(all_targets_at_once),
        cmocka_unit_test(together_with_payloads),
        cmocka_unit_test(the_payload_begins_the_key_frame),
        cmocka_unit_test(targets_are_written),
        cmocka_unit_test(growth_of_a_descriptor),
        cmocka_unit_test(not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
