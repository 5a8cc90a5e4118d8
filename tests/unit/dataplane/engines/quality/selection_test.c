/* Which layers a subscriber gets, and with which numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/engines/quality/selection.h"

#define TICKS 3000 /* between two pictures */

/* A publisher of VP8: each picture has two packets. */
struct publisher {
    uint64_t index;
    uint32_t timestamp;
    uint16_t picture_id;
    uint8_t picture_id_bits, tl0;
    uint8_t encoding;
    unsigned pictures;
};

/* What a subscriber got last, and whether its numbers were right so far. */
struct bench {
    struct selection selection;
    struct publisher low, high;
    uint64_t next_out;
    uint32_t timestamp_out;
    uint16_t picture_out;
    uint8_t tl0_out;
    bool has_picture;
    unsigned packets;
};

static const uint8_t pattern[] = {0, 2, 1, 2};

static struct bench begin(void)
{
    return (struct bench){.selection = {.temporal = LAYER_NONE},
                          .low = {.index = 1000,
                                  .timestamp = 777,
                                  .picture_id = 30000,
                                  .picture_id_bits = 15,
                                  .tl0 = 250},
                          .high = {.index = 65000,
                                   .timestamp = 4000000000u,
                                   .picture_id = 100,
                                   .picture_id_bits = 7,
                                   .tl0 = 3,
                                   .encoding = 1},
                          .next_out = 5};
}

struct sent {
    struct layer layer;
    struct selection_packet packet;
};

/* The packet `part` (0 or 1) of the next picture. */
static struct sent make(const struct publisher *p, unsigned part, bool is_key)
{
    uint8_t temporal = is_key ? 0 : pattern[p->pictures % 4];
    struct sent sent = {
        .layer = {.temporal = temporal,
                  .begins_key_frame = is_key && part == 0,
                  .is_key_picture = is_key && part == 0,
                  .begins_frame = part == 0,
                  .ends_frame = part == 1,
                  .switches_up = p->pictures % 4 != 3, /* the second T2 needs the T1 before it */
                  .picture_id = p->picture_id,
                  .picture_id_bits = p->picture_id_bits,
                  .picture_id_at = 2,
                  .tl0_at = 4,
                  .tl0 = p->tl0},
        .packet = {.index = p->index + part,
                   .timestamp = p->timestamp,
                   .encoding = p->encoding,
                   .source = p->encoding,
                   .codec = CODEC_vp8,
                   .marker = part == 1},
    };
    return sent;
}

static void advance(struct publisher *p)
{
    p->index += 2;
    p->timestamp += TICKS;
    p->picture_id = (uint16_t)((p->picture_id + 1) & ((1u << p->picture_id_bits) - 1));
    p->pictures++;
    p->tl0 += pattern[p->pictures % 4] == 0;
}

static uint16_t after(uint16_t picture_id, unsigned bits)
{
    return (uint16_t)((picture_id + 1) & ((1u << bits) - 1));
}

/* Gives a packet to the selection; what leaves must continue what left before. */
static enum selection_verdict give(struct bench *b, struct sent *sent, struct selection_out *out)
{
    struct selection_packet *p = &sent->packet;
    enum selection_verdict verdict;

    p->layer = &sent->layer;
    if (selection_is_start(&b->selection, p)) {
        uint32_t offset = b->packets ? b->timestamp_out + TICKS / 2 - p->timestamp : 0;

        selection_start(&b->selection, p, b->next_out, offset,
                        b->packets ? b->timestamp_out : p->timestamp - 1);
    }
    verdict = selection_add(&b->selection, p, out);
    if (verdict != SELECTION_FORWARD)
        return verdict;
    assert_int_equal(out->index, b->next_out);
    b->next_out++;
    if (sent->layer.begins_frame) {
        if (b->packets) {
            assert_true((int32_t)(out->timestamp - b->timestamp_out) > 0);
            assert_int_equal(out->picture_id & ((1u << sent->layer.picture_id_bits) - 1),
                             after(b->picture_out, sent->layer.picture_id_bits));
            assert_int_equal((uint8_t)(out->tl0 - b->tl0_out), sent->layer.temporal == 0);
        }
        b->picture_out = out->picture_id;
        b->tl0_out = out->tl0;
        b->timestamp_out = out->timestamp;
    } else {
        assert_int_equal(out->timestamp, b->timestamp_out);
        assert_int_equal(out->picture_id, b->picture_out);
    }
    b->packets++;
    return verdict;
}

/* Both encodings send a picture; returns how many packets left. */
static unsigned picture(struct bench *b, bool low_is_key, bool high_is_key)
{
    struct selection_out out;
    unsigned before = b->packets;

    for (unsigned part = 0; part < 2; part++) {
        struct sent low = make(&b->low, part, low_is_key);
        struct sent high = make(&b->high, part, high_is_key);

        assert_int_not_equal(give(b, &low, &out), SELECTION_EMPTY);
        assert_int_not_equal(give(b, &high, &out), SELECTION_EMPTY);
    }
    advance(&b->low);
    advance(&b->high);
    return b->packets - before;
}

static void nothing_leaves_before_a_key_frame(void **state)
{
    struct bench b = begin();

    assert_int_equal(picture(&b, false, false), 0);
    assert_int_equal(picture(&b, false, true), 0); /* of the other encoding */
    b.low.pictures = 4;
    assert_int_equal(picture(&b, true, false), 2);
    assert_int_equal(picture(&b, false, false), 2);
}

/* Up, down, up: PictureIDs of 7 and of 15 bits wrap, and every number continues (checked in give). */
static void encodings_change_at_key_frames_only(void **state)
{
    struct bench b = begin();

    picture(&b, true, true);
    for (unsigned flip = 0; flip < 40; flip++) {
        b.selection.encoding = !b.selection.encoding;
        for (unsigned i = 0; i < 3; i++)
            picture(&b, false, false);
        assert_int_equal(b.low.pictures % 4, 0);
        /* On the way up, half of the low picture has left. */
        assert_int_equal(picture(&b, true, true), 2 + b.selection.encoding);
        assert_int_equal(selection_present(&b.selection)->encoding, b.selection.encoding);
        for (unsigned i = 0; i < 8; i++)
            assert_int_equal(picture(&b, false, false), 2);
    }
}

static void a_lower_encoding_is_awaited_with_temporal_layer_0(void **state)
{
    struct bench b = begin();
    unsigned packets = 0;

    b.selection.encoding = 1;
    picture(&b, true, true);
    b.selection.encoding = 0;
    picture(&b, false, false); /* T2 */
    for (unsigned i = 0; i < 8; i++)
        packets += picture(&b, false, false);
    assert_int_equal(packets, 4); /* the two T0 */
}

static void temporal_layers_close_their_gaps(void **state)
{
    struct bench b = begin();
    static const unsigned expected[3] = {4, 8, 16}; /* packets of 8 pictures */

    picture(&b, true, true);
    for (unsigned round = 0; round < 9; round++) {
        unsigned packets = 0, wanted = round * 2 % 3;

        b.selection.temporal = (uint8_t)wanted;
        for (unsigned i = 0; i < 11; i++) /* until it may switch, then to the end of a group */
            picture(&b, false, false);
        while (b.low.pictures % 4)
            picture(&b, false, false);
        for (unsigned i = 0; i < 8; i++)
            packets += picture(&b, false, false);
        assert_int_equal(packets, expected[wanted]);
    }
}

static void a_temporal_layer_is_joined_where_it_can_be_decoded(void **state)
{
    struct bench b = begin();

    b.selection.temporal = 0;
    picture(&b, true, true);
    picture(&b, false, false); /* T2, dropped */
    picture(&b, false, false); /* T1, dropped */
    b.selection.temporal = 2;
    assert_int_equal(picture(&b, false, false), 0); /* this T2 needs the T1 that was dropped */
    assert_int_equal(picture(&b, false, false), 2); /* T0 */
    assert_int_equal(picture(&b, false, false), 2); /* a T2 that needs T0 only */
}

/* mediasoup #1101, Janus #2694 */
static void a_late_packet_has_its_own_place(void **state)
{
    struct bench b = begin();
    struct sent late, rest, next;
    struct selection_out out;

    picture(&b, true, true);
    b.selection.temporal = 0;
    picture(&b, false, false);
    picture(&b, false, false);
    picture(&b, false, false);
    late = make(&b.low, 0, false); /* T0; its first packet comes late */
    rest = make(&b.low, 1, false);
    advance(&b.low);
    late.packet.layer = &late.layer;
    rest.packet.layer = &rest.layer;
    assert_int_equal(selection_add(&b.selection, &rest.packet, &out), SELECTION_FORWARD);
    assert_int_equal(out.index, b.next_out + 1);
    next = make(&b.low, 0, false); /* T2: dropped */
    next.packet.layer = &next.layer;
    assert_int_equal(selection_add(&b.selection, &next.packet, &out), SELECTION_DROP);
    assert_int_equal(selection_add(&b.selection, &late.packet, &out), SELECTION_FORWARD);
    assert_int_equal(out.index, b.next_out);
}

/* A packet of a dropped layer that comes after its successors has a place, so it leaves empty. */
static void a_late_packet_of_a_dropped_layer_leaves_empty(void **state)
{
    struct bench b = begin();
    struct sent late, next;
    struct selection_out out;

    picture(&b, true, true);
    b.selection.temporal = 0;
    picture(&b, false, false);
    picture(&b, false, false);
    late = make(&b.low, 1, false); /* the end of a T2 */
    next = make(&b.low, 0, false);
    next.packet.layer = &next.layer;
    assert_int_equal(selection_add(&b.selection, &next.packet, &out), SELECTION_DROP);
    advance(&b.low);
    next = make(&b.low, 0, false); /* T0 */
    next.packet.layer = &next.layer;
    assert_int_equal(selection_add(&b.selection, &next.packet, &out), SELECTION_FORWARD);
    assert_int_equal(out.index, b.next_out + 1);
    late.packet.layer = &late.layer;
    assert_int_equal(selection_add(&b.selection, &late.packet, &out), SELECTION_EMPTY);
    assert_int_equal(out.index, b.next_out);
    assert_false(out.marker);
}

/* mediasoup #823 */
static void the_old_encoding_is_silent_after_the_switch(void **state)
{
    struct bench b = begin();
    struct sent old;
    struct selection_out out;

    picture(&b, true, true);
    old = make(&b.low, 0, false);
    old.packet.layer = &old.layer;
    for (unsigned i = 0; i < 3; i++)
        picture(&b, false, false);
    b.selection.encoding = 1;
    picture(&b, true, true);
    assert_int_equal(selection_add(&b.selection, &old.packet, &out), SELECTION_DROP);
}

/* Time stamps of the new encoding lie before what has left: they rise nevertheless, and in the end they
 * are on the clock again. */
static void time_stamps_rise_over_a_switch(void **state)
{
    struct bench b = begin();
    struct selection_out out;
    uint32_t last;

    picture(&b, true, true);
    b.selection.encoding = 1;
    {
        struct sent key = make(&b.high, 0, true);

        key.packet.layer = &key.layer;
        last = b.timestamp_out;
        selection_start(&b.selection, &key.packet, b.next_out,
                        last - 3 * TICKS - key.packet.timestamp, last);
        for (unsigned i = 0; i < 6; i++) {
            struct sent p = make(&b.high, 0, i == 0);

            p.packet.layer = &p.layer;
            assert_int_equal(selection_add(&b.selection, &p.packet, &out), SELECTION_FORWARD);
            assert_true((int32_t)(out.timestamp - last) > 0);
            last = out.timestamp;
            advance(&b.high);
        }
    }
    assert_int_equal(last,
                     b.timestamp_out + 2 * TICKS); /* the sixth is 5 pictures after the first */
}

/* What left can be found again, across a switch and dropped pictures. */
static void sent_packets_are_found_again(void **state)
{
    struct bench b = begin();
    static struct {
        uint64_t in;
        uint32_t timestamp;
        uint16_t picture_id;
        uint8_t encoding, tl0;
        struct sent sent;
    } log[400];
    uint64_t first = b.next_out;

    for (unsigned i = 0; i < 60; i++) {
        bool is_key = i % 20 == 0;

        b.selection.encoding = i / 20 % 2;
        b.selection.temporal = i / 7 % 3;
        for (unsigned part = 0; part < 2; part++)
            for (unsigned e = 0; e < 2; e++) {
                struct sent sent = make(e ? &b.high : &b.low, part, is_key);
                struct selection_out out;
                unsigned at = (unsigned)(b.next_out - first);

                if (give(&b, &sent, &out) != SELECTION_FORWARD)
                    continue;
                log[at].in = sent.packet.index;
                log[at].timestamp = out.timestamp;
                log[at].picture_id = out.picture_id;
                log[at].tl0 = out.tl0;
                log[at].encoding = (uint8_t)e;
                log[at].sent = sent;
            }
        advance(&b.low);
        advance(&b.high);
        if (is_key) /* the pattern begins anew */
            b.low.pictures = b.high.pictures = 1;
    }
    assert_true(b.next_out - first > 60);
    for (uint64_t out = first; out < b.next_out; out++) {
        uint64_t in;
        const struct selection_segment *segment = selection_find(&b.selection, out, &in);
        struct selection_out how = {0};
        unsigned at = (unsigned)(out - first);

        assert_non_null(segment);
        assert_int_equal(in, log[at].in);
        assert_int_equal(segment->encoding, log[at].encoding);
        log[at].sent.packet.layer = &log[at].sent.layer;
        assert_true(selection_rewrite(segment, &log[at].sent.packet, &how));
        assert_int_equal(how.timestamp, log[at].timestamp);
        assert_int_equal(how.picture_id, log[at].picture_id);
        assert_int_equal(how.tl0, log[at].tl0);
    }
    assert_null(selection_find(&b.selection, b.next_out, &(uint64_t){0}));
}

/* ---- spatial layers in one stream ---- */

struct svc {
    struct selection selection;
    uint64_t index, next_out;
    uint8_t dependency;
    uint8_t temporal;      /* of the next picture */
    uint8_t temporal_then; /* wanted from the second layer on; LAYER_NONE: as before */
    unsigned mask;         /* bit per spatial layer that left of the last picture */
    unsigned marked;       /* and of these, with a marker */
};

/* A picture of three spatial layers, a packet each. */
static void svc_picture(struct svc *v, bool is_key)
{
    v->mask = v->marked = 0;
    for (uint8_t spatial = 0; spatial < 3; spatial++) {
        const struct layer layer = {
            .spatial = spatial,
            .temporal = v->temporal,
            .begins_key_frame = is_key && spatial == 0,
            .is_key_picture = is_key,
            .spatial_count = is_key && spatial == 0 ? 3 : 0,
            .begins_frame = true,
            .ends_frame = true,
            .switches_up = true,
            .unused_above =
                spatial == 2 || (v->dependency == LAYER_DEPENDENCY_key_frames && !is_key),
            .picture_id_bits = 15,
        };
        const struct selection_packet p = {.layer = &layer,
                                           .index = v->index++,
                                           .codec = CODEC_vp9,
                                           .dependency = v->dependency,
                                           .marker = spatial == 2};
        struct selection_out out;

        if (spatial == 1 && v->temporal_then != LAYER_NONE)
            v->selection.temporal = v->temporal_then;
        if (selection_is_start(&v->selection, &p))
            selection_start(&v->selection, &p, v->next_out, 0, (uint32_t)-1);
        if (selection_add(&v->selection, &p, &out) != SELECTION_FORWARD)
            continue;
        assert_int_equal(out.index, v->next_out++);
        v->mask |= 1u << spatial;
        v->marked |= (unsigned)out.marker << spatial;
    }
}

static void svc_expect(struct svc *v, bool is_key, unsigned mask, unsigned marked)
{
    svc_picture(v, is_key);
    assert_int_equal(v->mask, mask);
    assert_int_equal(v->marked, marked);
}

static void full_svc_goes_down_at_once_and_up_at_a_key_frame(void **state)
{
    struct svc v = {.selection = {.spatial = 2, .temporal = LAYER_NONE},
                    .dependency = LAYER_DEPENDENCY_full,
                    .temporal_then = LAYER_NONE};

    svc_expect(&v, true, 7, 4);
    svc_expect(&v, false, 7, 4);
    v.selection.spatial = 1;
    svc_expect(&v, false, 3, 2); /* LiveKit #1595: the marker of the highest forwarded layer */
    v.selection.spatial = 2;
    svc_expect(&v, false, 3, 2);
    svc_expect(&v, true, 7, 4);
}

/* The key frame says that there are fewer layers than are wanted: the highest of them is the top. */
static void more_layers_than_there_are_can_be_wanted(void **state)
{
    struct svc v = {.selection = {.spatial = LAYER_NONE, .temporal = LAYER_NONE},
                    .dependency = LAYER_DEPENDENCY_key_frames,
                    .temporal_then = LAYER_NONE};

    svc_expect(&v, true, 7, 4);
    svc_expect(&v, false, 4, 4);
}

/* The wish changes between two layers of one picture. */
static void pictures_are_forwarded_whole(void **state)
{
    struct svc v = {.selection = {.spatial = 2, .temporal = LAYER_NONE},
                    .temporal_then = LAYER_NONE};

    svc_expect(&v, true, 7, 4);
    v.temporal = 1;
    v.temporal_then = 0;
    svc_expect(&v, false, 7, 4);
    svc_expect(&v, false, 0, 0);
    v.temporal_then = 1;
    svc_expect(&v, false, 0, 0);
    svc_expect(&v, false, 7, 4);
}

static void k_svc_changes_at_key_frames(void **state)
{
    struct svc v = {.selection = {.spatial = 2, .temporal = LAYER_NONE},
                    .dependency = LAYER_DEPENDENCY_key_frames,
                    .temporal_then = LAYER_NONE};

    svc_expect(&v, true, 7, 4);
    svc_expect(&v, false, 4, 4);
    v.selection.spatial = 0;
    svc_expect(&v, false, 4, 4);
    svc_expect(&v, true, 1, 1);
    svc_expect(&v, false, 1, 1);
    v.selection.spatial = 1;
    svc_expect(&v, false, 1, 1);
    svc_expect(&v, true, 3, 2);
    svc_expect(&v, false, 2, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_leaves_before_a_key_frame),
        cmocka_unit_test(encodings_change_at_key_frames_only),
        cmocka_unit_test(a_lower_encoding_is_awaited_with_temporal_layer_0),
        cmocka_unit_test(temporal_layers_close_their_gaps),
        cmocka_unit_test(a_temporal_layer_is_joined_where_it_can_be_decoded),
        cmocka_unit_test(a_late_packet_has_its_own_place),
        cmocka_unit_test(a_late_packet_of_a_dropped_layer_leaves_empty),
        cmocka_unit_test(the_old_encoding_is_silent_after_the_switch),
        cmocka_unit_test(time_stamps_rise_over_a_switch),
        cmocka_unit_test(sent_packets_are_found_again),
        cmocka_unit_test(full_svc_goes_down_at_once_and_up_at_a_key_frame),
        cmocka_unit_test(more_layers_than_there_are_can_be_wanted),
        cmocka_unit_test(pictures_are_forwarded_whole),
        cmocka_unit_test(k_svc_changes_at_key_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
