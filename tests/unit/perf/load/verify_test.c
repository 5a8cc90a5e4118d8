/* A model of a publisher and of a correct server: no violation, whatever layers are dropped. Then
 * the same with one mistake each: exactly its violation is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs these first */
#include <cmocka.h>

#include "perf/load/verify.c"

#define TICKS 3000
#define PACKETS 3 /* of each layer frame */
#define FRAMES 60
#define SWITCH 20    /* VP8: from stream 7 to stream 8 */
#define KEY_AGAIN 40 /* a key frame of the same stream */
#define MAX (FRAMES * PACKETS * 3)

struct stream {
    enum video_codec codec;
    unsigned count;
    struct verify_packet packets[MAX];
};

static struct payload_label label_of(enum video_codec codec, uint32_t frame, uint8_t spatial)
{
    uint32_t since = frame >= KEY_AGAIN                      ? frame - KEY_AGAIN
                     : codec == VIDEO_VP8 && frame >= SWITCH ? frame - SWITCH
                                                             : frame;
    struct temporal_place place = temporal_place(since);

    return (struct payload_label){.stream = codec == VIDEO_VP8 && frame >= SWITCH ? 8 : 7,
                                  .frame = frame,
                                  .spatial = spatial,
                                  .temporal = place.layer,
                                  .back = place.back,
                                  .key = since == 0,
                                  .needs_lower = spatial > 0 && since == 0,
                                  .last = PACKETS - 1};
}

/* What a publisher sends, without numbers. `keep` says which layer frames the server forwards. */
static void build(struct stream *s, enum video_codec codec,
                  bool (*keep)(const struct payload_label *label))
{
    *s = (struct stream){.codec = codec};
    for (uint32_t frame = 0; frame < FRAMES; frame++)
        for (uint8_t spatial = 0; spatial < (codec == VIDEO_VP9 ? 3 : 1); spatial++)
            for (uint8_t at = 0; at < PACKETS; at++) {
                struct verify_packet *p = &s->packets[s->count];

                *p = (struct verify_packet){.is_readable = true,
                                            .label = label_of(codec, frame, spatial)};
                p->label.at = at;
                p->label.number = s->count;
                s->count += keep == NULL || keep(&p->label);
            }
}

/* What a correct server makes of the packets that are left. */
static void rewrite(struct stream *s)
{
    uint16_t picture_id = 0x7ff0;
    uint8_t tl0 = 250;

    for (unsigned i = 0; i < s->count; i++) {
        struct verify_packet *p = &s->packets[i];
        const struct payload_label *l = &p->label, *before = i ? &s->packets[i - 1].label : NULL;
        const struct payload_label *next = i + 1 < s->count ? &s->packets[i + 1].label : NULL;

        if (before && before->frame != l->frame) {
            picture_id++;
            tl0 = (uint8_t)(tl0 + (l->temporal == 0));
        }
        p->index = 65000 + i;
        p->timestamp = 0xffff0000u + l->frame * TICKS;
        p->marker = !next || next->frame != l->frame;
        p->head = (struct video_head){
            .has_picture_id = true,
            .has_long_id = true,
            .has_layers = true,
            .first = l->at == 0,
            .last = l->at == l->last,
            .spatial = l->spatial,
            .temporal = l->temporal,
            .tl0_index = tl0,
            .picture_id =
                (s->codec == VIDEO_VP9 ? (uint16_t)(0x7ff0 + l->frame) : picture_id) & 0x7fff};
    }
}

static void drop(struct stream *s, unsigned first, unsigned count)
{
    memmove(&s->packets[first], &s->packets[first + count],
            (s->count - first - count) * sizeof(s->packets[0]));
    s->count -= count;
}

static void feed(const struct stream *s, struct verify_counts *counts)
{
    struct verify *v = verify_new(s->codec, TICKS);

    for (unsigned i = 0; i < s->count; i++)
        verify_add(v, &s->packets[i]);
    verify_end(v);
    *counts = *verify_counts(v);
    verify_free(v);
}

/* ---- nothing is wrong ---- */

static bool no_top_layer(const struct payload_label *l)
{
    return l->temporal < 2;
}

static bool only_base(const struct payload_label *l)
{
    return l->temporal == 0;
}

static bool lowest_spatial(const struct payload_label *l)
{
    return l->spatial == 0;
}

/* All layers from the second key frame on, before that only the lowest. */
static bool up_at_key(const struct payload_label *l)
{
    return l->spatial == 0 || l->frame >= KEY_AGAIN;
}

static bool down_in_the_middle(const struct payload_label *l)
{
    return l->frame < 10 || l->spatial == 0;
}

static void correct_servers_are_not_blamed(void **state)
{
    static const struct {
        const char *what;
        enum video_codec codec;
        bool (*keep)(const struct payload_label *label);
    } rows[] = {{"VP8, everything", VIDEO_VP8, NULL},
                {"VP8, T0 and T1", VIDEO_VP8, no_top_layer},
                {"VP8, T0", VIDEO_VP8, only_base},
                {"VP9, everything", VIDEO_VP9, NULL},
                {"VP9, T0 and T1", VIDEO_VP9, no_top_layer},
                {"VP9, S0", VIDEO_VP9, lowest_spatial},
                {"VP9, up at a key frame", VIDEO_VP9, up_at_key},
                {"VP9, down", VIDEO_VP9, down_in_the_middle}};
    static struct stream s;
    struct verify_counts c;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        build(&s, rows[i].codec, rows[i].keep);
        rewrite(&s);
        feed(&s, &c);
        for (int k = 0; k < VIOLATION_COUNT; k++)
            if (c.found[k])
                fail_msg("%s: %s %lu times", rows[i].what, violation_names[k], c.found[k]);
        assert_int_equal(c.packets, s.count);
        assert_int_equal(c.holes + c.after_hole, 0);
        assert_int_equal(c.switches, rows[i].codec == VIDEO_VP8);
    }
}

/* Late packets and identical copies are no mistakes. A lost packet is none either, and excuses the
 * frames that need it, until the next key frame. */
static void networks_are_not_blamed(void **state)
{
    static struct stream s;
    struct verify_packet keep;
    struct verify_counts c;

    build(&s, VIDEO_VP8, NULL);
    rewrite(&s);
    for (unsigned i = 12; i + 9 < s.count; i += 30) { /* nine places late */
        keep = s.packets[i];
        memmove(&s.packets[i], &s.packets[i + 1], 9 * sizeof(keep));
        s.packets[i + 9] = keep;
    }
    s.packets[s.count] = s.packets[s.count - 20];
    s.count++;
    feed(&s, &c);
    assert_int_equal(verify_sum(&c) + c.holes, 0);

    build(&s, VIDEO_VP8, NULL);
    rewrite(&s);
    drop(&s, 4 * PACKETS + 1, 1); /* of the base layer */
    feed(&s, &c);
    assert_int_equal(verify_sum(&c), 0);
    assert_int_equal(c.holes, 1);
    assert_int_equal(c.after_hole, SWITCH - 4);
}

/* After a switch, and at the beginning, frames of the past have time stamps that stand closely
 * together. Then the stream must lead as before. */
static void replays_are_not_blamed(void **state)
{
    static struct stream s;
    struct verify_counts c;

    for (unsigned from = 0; from <= SWITCH; from += SWITCH) {
        build(&s, VIDEO_VP8, NULL);
        rewrite(&s);
        for (unsigned i = 0; i < s.count; i++) { /* pictures from..from + 9 within 1000 ticks */
            uint32_t at = s.packets[i].label.frame - from;

            if (at < 9)
                s.packets[i].timestamp += (9 - at) * (TICKS - 100);
            if (from && i >= from * PACKETS) /* of the past: they were captured before the switch */
                s.packets[i].label.frame -= 9;
        }
        if (from)
            for (unsigned i = from * PACKETS; i < s.count; i++)
                s.packets[i].timestamp -= 9 * TICKS;
        feed(&s, &c);
        if (verify_sum(&c))
            fail_msg("replay from %u: %lu of %s", from, c.found[VIOLATION_timestamp_jump],
                     violation_names[VIOLATION_timestamp_jump]);
        if (!from)
            continue;
        for (unsigned i = (from + 9) * PACKETS; i < s.count; i++)
            s.packets[i].timestamp += 2 * TICKS / 3; /* it stays behind */
        feed(&s, &c);
        assert_true(c.found[VIOLATION_timestamp_jump] > 0);
    }
}

/* The place of a packet that is not forwarded may hold an empty one: then nothing is missing. */
static void empty_packets_fill_places(void **state)
{
    static struct stream s;
    struct verify_counts c;

    build(&s, VIDEO_VP9, lowest_spatial);
    rewrite(&s);
    for (unsigned i = s.count; i-- > 10 * PACKETS;) {
        s.packets[i + 2] = s.packets[i];
        s.packets[i + 2].index += 2;
    }
    s.count += 2;
    for (unsigned i = 0; i < 2; i++)
        s.packets[10 * PACKETS + i] =
            (struct verify_packet){.is_empty = true, .index = 65000 + 10 * PACKETS + i};
    feed(&s, &c);
    assert_int_equal(verify_sum(&c) + c.holes + c.after_hole, 0);
    assert_int_equal(c.empty, 2);
    assert_int_equal(c.packets, s.count - 2);
}

/* ---- one mistake each ---- */

enum mistake {
    UNREADABLE,
    OTHER_TEMPORAL,
    OTHER_END,
    OTHER_RESEND,
    PACKET_GONE,
    END_GONE,
    OLD_FRAME,
    NO_KEY_FRAME,
    MIDDLE_OF_KEY_FRAME,
    NEEDED_LAYER_GONE,
    NO_MARKER,
    EARLY_MARKER,
    SPLIT_TIMESTAMP,
    STILL_TIMESTAMP,
    FAR_TIMESTAMP,
    FAR_SWITCH,
    GAP_OF_PICTURE_ID,
    SPLIT_PICTURE_ID,
    GAP_OF_TL0,
};

#define AT(frame, at) s->packets[(frame)*PACKETS + (at)]

/* Mistakes of selection happen before numbers are given. */
static void choose_wrongly(struct stream *s, enum mistake mistake)
{
    struct verify_packet frame[PACKETS];

    switch (mistake) {
    case PACKET_GONE:
        drop(s, 9 * PACKETS + 1, 1);
        break;
    case END_GONE:
        drop(s, 9 * PACKETS + 2, 1);
        break;
    case OLD_FRAME: /* T2 after the T1 that follows it */
        memcpy(frame, &AT(5, 0), sizeof(frame));
        memmove(&AT(5, 0), &AT(6, 0), sizeof(frame));
        memcpy(&AT(6, 0), frame, sizeof(frame));
        break;
    case NO_KEY_FRAME:
        drop(s, SWITCH * PACKETS, PACKETS);
        break;
    case MIDDLE_OF_KEY_FRAME:
        drop(s, SWITCH * PACKETS, 1);
        break;
    case NEEDED_LAYER_GONE:
        drop(s, 6 * PACKETS, PACKETS);
        break;
    default:
        break;
    }
}

static void write_wrongly(struct stream *s, enum mistake mistake)
{
    switch (mistake) {
    case UNREADABLE:
        AT(8, 1).is_readable = false;
        break;
    case OTHER_TEMPORAL:
        AT(6, 1).head.temporal = 2;
        break;
    case OTHER_END:
        AT(8, 1).head.first = true;
        break;
    case OTHER_RESEND:
        s->packets[s->count] = AT(58, 1);
        s->packets[s->count++].head.picture_id++;
        break;
    case NO_MARKER:
        AT(8, 2).marker = false;
        break;
    case EARLY_MARKER:
        AT(8, 1).marker = true;
        break;
    case SPLIT_TIMESTAMP:
        AT(8, 1).timestamp++;
        break;
    case STILL_TIMESTAMP:
        for (int i = 0; i < PACKETS; i++)
            AT(FRAMES - 1, i).timestamp -= TICKS;
        break;
    case FAR_TIMESTAMP:
        for (int i = 0; i < PACKETS; i++)
            AT(FRAMES - 1, i).timestamp += 1;
        break;
    case FAR_SWITCH:
        for (unsigned i = SWITCH * PACKETS; i < s->count; i++)
            s->packets[i].timestamp += TICKS / 2 + 1;
        break;
    case GAP_OF_PICTURE_ID:
        for (unsigned i = 30 * PACKETS; i < s->count; i++)
            s->packets[i].head.picture_id++;
        break;
    case SPLIT_PICTURE_ID:
        AT(FRAMES - 1, 2).head.picture_id++;
        break;
    case GAP_OF_TL0:
        for (unsigned i = 30 * PACKETS; i < s->count; i++)
            s->packets[i].head.tl0_index++;
        break;
    default:
        break;
    }
}

static void each_mistake_is_found(void **state)
{
    static const struct {
        enum mistake mistake;
        enum violation found, also; /* also: what necessarily comes with it; else the same */
    } rows[] = {
#define ROW(mistake, name) {mistake, VIOLATION_##name, VIOLATION_##name}
        ROW(UNREADABLE, unreadable),
        ROW(OTHER_TEMPORAL, changed_layer),
        ROW(OTHER_END, changed_layer),
        ROW(OTHER_RESEND, resend_differs),
        {PACKET_GONE, VIOLATION_out_of_sequence, VIOLATION_undecodable},
        {END_GONE, VIOLATION_frame_cut, VIOLATION_marker_early},
        {OLD_FRAME, VIOLATION_frame_backward, VIOLATION_timestamp_backward},
        {NO_KEY_FRAME, VIOLATION_switch_without_key, VIOLATION_undecodable},
        {MIDDLE_OF_KEY_FRAME, VIOLATION_switch_without_key, VIOLATION_undecodable},
        ROW(NEEDED_LAYER_GONE, undecodable),
        ROW(NO_MARKER, marker_missing),
        ROW(EARLY_MARKER, marker_early),
        ROW(SPLIT_TIMESTAMP, timestamp_split),
        ROW(STILL_TIMESTAMP, timestamp_backward),
        ROW(FAR_TIMESTAMP, timestamp_jump),
        ROW(FAR_SWITCH, timestamp_jump),
        ROW(GAP_OF_PICTURE_ID, picture_id),
        ROW(SPLIT_PICTURE_ID, picture_id),
        ROW(GAP_OF_TL0, tl0_index),
    };
    static struct stream s;
    struct verify_counts c;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        build(&s, VIDEO_VP8, NULL);
        choose_wrongly(&s, rows[i].mistake);
        rewrite(&s);
        write_wrongly(&s, rows[i].mistake);
        feed(&s, &c);
        if (!c.found[rows[i].found])
            fail_msg("mistake %d: %s is not found", rows[i].mistake,
                     violation_names[rows[i].found]);
        for (int k = 0; k < VIOLATION_COUNT; k++)
            if (c.found[k] && k != (int)rows[i].found && k != (int)rows[i].also &&
                !(rows[i].mistake == MIDDLE_OF_KEY_FRAME && k == VIOLATION_frame_cut) &&
                !(rows[i].mistake == OLD_FRAME &&
                  (k == VIOLATION_undecodable || k == VIOLATION_timestamp_jump)))
                fail_msg("mistake %d: also %s, %lu times", rows[i].mistake, violation_names[k],
                         c.found[k]);
        assert_int_equal(c.holes, 0);
    }
}

/* VP9: the descriptors speak of the publisher's pictures, so their ids stay. The marker moves to the
 * highest layer that is forwarded. An upper layer must not begin without a key frame. */
static bool up_without_key(const struct payload_label *l)
{
    return l->spatial == 0 || l->frame >= 10;
}

static void mistakes_with_vp9(void **state)
{
    static struct stream s;
    struct verify_counts c;

    build(&s, VIDEO_VP9, up_without_key);
    rewrite(&s);
    feed(&s, &c);
    assert_int_equal(c.found[VIOLATION_undecodable], 2 * (KEY_AGAIN - 10));
    assert_int_equal(verify_sum(&c), c.found[VIOLATION_undecodable]);

    build(&s, VIDEO_VP9, lowest_spatial);
    rewrite(&s);
    for (unsigned i = 0; i < s.count; i++)
        s.packets[i].marker = false; /* it was on the layer that is not forwarded */
    feed(&s, &c);
    assert_int_equal(c.found[VIOLATION_marker_missing], FRAMES - 1);
    assert_int_equal(verify_sum(&c), FRAMES - 1);

    build(&s, VIDEO_VP9, no_top_layer);
    rewrite(&s);
    for (unsigned i = 0; i < s.count; i++)
        s.packets[i].head.picture_id = (uint16_t)(i / (3 * PACKETS)); /* as VP8 wants it */
    feed(&s, &c);
    assert_true(c.found[VIOLATION_picture_id] > FRAMES / 4);
    assert_int_equal(verify_sum(&c), c.found[VIOLATION_picture_id]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(correct_servers_are_not_blamed), cmocka_unit_test(networks_are_not_blamed),
        cmocka_unit_test(empty_packets_fill_places),      cmocka_unit_test(replays_are_not_blamed),
        cmocka_unit_test(each_mistake_is_found),          cmocka_unit_test(mistakes_with_vp9),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
