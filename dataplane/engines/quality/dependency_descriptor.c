/* The dependency descriptor, a header extension that says which frames belong to which layers
 * (RTP Payload Format For AV1 v1.0, appendix A.8). */
#include <string.h>

#include "layer_parts.h"

#define MANDATORY_BYTES 3
#define NUMBER_BITS 16
/* A key frame stays "the last one" for this many frames. A structure that belongs to a frame at most
 * this much older comes late: its packet was lost and sent again. */
#define KEY_FRAME_WINDOW 256

struct bits {
    const uint8_t *data;
    size_t at, end; /* in bits */
    bool overrun;   /* more was read than there is; what was read is 0 */
};

static uint32_t bits_take(struct bits *b, unsigned count)
{
    uint32_t value = 0;

    if (count > b->end - b->at) {
        b->overrun = true;
        b->at = b->end;
        return 0;
    }
    for (; count > 0; count--, b->at++)
        value = value << 1 | (b->data[b->at / 8] >> (7 - b->at % 8) & 1u);
    return value;
}

/* ns(n): a number below n, in one bit less where that is enough. */
static uint32_t bits_take_below(struct bits *b, uint32_t n)
{
    unsigned width = 32 - (unsigned)__builtin_clz(n);
    uint32_t short_codes = (1u << width) - n;
    uint32_t value = bits_take(b, width - 1);

    return value < short_codes ? value : (value << 1) - short_codes + bits_take(b, 1);
}

/* ---- template_dependency_structure ---- */

static bool template_layers_read(struct bits *b, struct layer_structure *st)
{
    enum { SAME, NEXT_TEMPORAL, NEXT_SPATIAL, END };
    uint8_t spatial = 0, temporal = 0;
    uint32_t next;

    do {
        if (st->template_count == LAYER_TEMPLATES_MAX || spatial > LAYER_SPATIAL_MAX ||
            temporal > LAYER_TEMPORAL_MAX)
            return false;
        st->templates[st->template_count++] =
            (struct layer_template){.spatial = spatial, .temporal = temporal};
        next = bits_take(b, 2);
        if (next == NEXT_TEMPORAL) {
            temporal++;
        } else if (next == NEXT_SPATIAL) {
            temporal = 0;
            spatial++;
        }
    } while (next != END && !b->overrun);
    return !b->overrun;
}

/* Decode target indications, two bits for each target. */
static void indications_read(struct bits *b, unsigned targets, uint32_t *present,
                             uint32_t *switches)
{
    enum { NOT_PRESENT, DISCARDABLE, SWITCH, REQUIRED };

    *present = 0;
    *switches = 0;
    for (unsigned i = 0; i < targets; i++) {
        uint32_t indication = bits_take(b, 2);

        *present |= (uint32_t)(indication != NOT_PRESENT) << i;
        *switches |= (uint32_t)(indication == SWITCH) << i;
    }
}

static void template_differences_read(struct bits *b, struct layer_structure *st)
{
    for (unsigned i = 0; i < st->template_count; i++)
        while (bits_take(b, 1)) {
            uint8_t difference = (uint8_t)(bits_take(b, 4) + 1);

            if (difference > st->templates[i].farthest)
                st->templates[i].farthest = difference;
        }
}

/* We use no chains: a packet that was lost is asked for, and what a frame refers to is the
 * decoder's matter. */
static void template_chains_skip(struct bits *b, struct layer_structure *st)
{
    st->chain_count = (uint8_t)bits_take_below(b, st->target_count + 1u);
    if (st->chain_count == 0)
        return;
    for (unsigned i = 0; i < st->target_count; i++)
        bits_take_below(b, st->chain_count);
    for (unsigned i = 0; i < st->template_count && !b->overrun; i++)
        for (unsigned k = 0; k < st->chain_count; k++)
            bits_take(b, 4);
}

/* The layers of a decode target are the highest of its templates. */
static void target_layers_find(struct layer_structure *st)
{
    for (unsigned i = 0; i < st->template_count; i++)
        for (unsigned k = 0; k < st->target_count; k++) {
            const struct layer_template *t = &st->templates[i];

            if (!(t->present >> k & 1))
                continue;
            if (t->spatial > st->target_spatial[k])
                st->target_spatial[k] = t->spatial;
            if (t->temporal > st->target_temporal[k])
                st->target_temporal[k] = t->temporal;
        }
    for (unsigned i = 0; i < st->template_count; i++) {
        struct layer_template *t = &st->templates[i];
        int best = -1;

        for (unsigned k = 0; k < st->target_count; k++) {
            int layers = st->target_spatial[k] << 4 | st->target_temporal[k];

            if (st->target_spatial[k] <= t->spatial && st->target_temporal[k] <= t->temporal &&
                layers > best) {
                best = layers;
                t->target = (uint8_t)k;
            }
        }
    }
}

static bool structure_read(struct bits *b, struct layer_structure *st)
{
    enum { RESOLUTION_BITS = 16 };

    memset(st, 0, sizeof(*st));
    st->template_offset = (uint8_t)bits_take(b, 6);
    st->target_count = (uint8_t)(bits_take(b, 5) + 1);
    if (!template_layers_read(b, st))
        return false;
    for (unsigned i = 0; i < st->template_count && !b->overrun; i++)
        indications_read(b, st->target_count, &st->templates[i].present,
                         &st->templates[i].switches);
    template_differences_read(b, st);
    template_chains_skip(b, st);
    if (bits_take(b, 1)) /* resolutions_present_flag */
        for (unsigned i = 0; i <= st->templates[st->template_count - 1].spatial; i++) {
            bits_take(b, RESOLUTION_BITS);
            bits_take(b, RESOLUTION_BITS);
        }
    target_layers_find(st);
    return !b->overrun;
}

/* ---- one descriptor ---- */

/* What one descriptor says, before the source takes it over. */
struct descriptor {
    uint16_t number; /* of the frame */
    uint8_t template_id;
    bool has_structure, has_active;
    uint32_t active;
    uint8_t target_count;
    struct layer_template frame; /* its template, with what the descriptor itself replaces */
    uint32_t farthest;           /* like frame.farthest, but not limited to a template's range */
};

static uint32_t differences_read(struct bits *b)
{
    uint32_t farthest = 0, nibbles;

    while ((nibbles = bits_take(b, 2)) != 0) {
        uint32_t difference = bits_take(b, 4 * nibbles) + 1;

        if (difference > farthest)
            farthest = difference;
    }
    return farthest;
}

/* Reads everything behind the mandatory fields. `st` is the source's structure; if the descriptor
 * has one of its own, that is read into `own` and used instead. False: malformed. found: the template
 * is known. */
static bool extended_read(struct bits *b, const struct layer_structure *st,
                          struct layer_structure *own, struct descriptor *d, bool *found)
{
    bool custom_indications, custom_differences, custom_chains;
    unsigned index;

    d->has_structure = bits_take(b, 1);
    d->has_active = bits_take(b, 1);
    custom_indications = bits_take(b, 1);
    custom_differences = bits_take(b, 1);
    custom_chains = bits_take(b, 1);
    if (d->has_structure) {
        if (!structure_read(b, own))
            return false;
        st = own;
        d->active = UINT32_MAX >> (LAYER_TARGETS_MAX - st->target_count);
    }
    index = (unsigned)(d->template_id - st->template_offset) % LAYER_TEMPLATES_MAX;
    *found = index < st->template_count;
    if (!*found)
        return !d->has_structure && !b->overrun; /* the packet with the structure was lost */
    if (d->has_active)
        d->active = bits_take(b, st->target_count);
    d->target_count = st->target_count;
    d->frame = st->templates[index];
    d->farthest = d->frame.farthest;
    if (custom_indications)
        indications_read(b, st->target_count, &d->frame.present, &d->frame.switches);
    if (custom_differences)
        d->farthest = differences_read(b);
    for (unsigned i = 0; custom_chains && i < st->chain_count; i++)
        bits_take(b, 8);
    return !b->overrun;
}

/* How far a is behind b; negative: it is before b. */
static int distance(uint16_t a, uint16_t b)
{
    return (int16_t)(a - b);
}

/* The source takes over the structure and the active decode targets, unless the packet is late. */
static void source_update(struct layer_source *s, const struct layer_structure *own,
                          const struct descriptor *d)
{
    int behind = distance(d->number, s->key_frame);
    bool is_copy = s->has_key_frame && behind == 0; /* another packet of the key frame */

    if (d->has_structure) {
        if (is_copy || (s->has_key_frame && behind < 0 && behind >= -KEY_FRAME_WINDOW))
            return;
        s->structure = *own;
        s->has_key_frame = true;
        s->has_next_picture = false;
        s->key_frame = d->number;
        s->newest_frame = d->number;
        s->active = d->active;
        return;
    }
    if (distance(d->number, s->newest_frame) < 0)
        return;
    s->newest_frame = d->number;
    if (d->has_active)
        s->active = d->active;
    if (s->has_key_frame && behind > KEY_FRAME_WINDOW)
        s->has_key_frame = false;
}

/* Does the frame belong to the picture of the key frame? The key frame itself does, and frames of
 * higher spatial layers that follow it before the next picture and refer to nothing before it. */
static bool is_key_picture(struct layer_source *s, const struct descriptor *d)
{
    int behind = distance(d->number, s->key_frame);

    if (!s->has_key_frame || behind < 0 || behind > KEY_FRAME_WINDOW)
        return false;
    if (behind == 0)
        return true;
    if (d->frame.spatial == 0) {
        if (!s->has_next_picture || distance(d->number, s->next_picture) < 0)
            s->next_picture = d->number;
        s->has_next_picture = true;
        return false;
    }
    return behind <= d->frame.spatial && d->farthest <= (uint32_t)behind &&
           !(s->has_next_picture && distance(d->number, s->next_picture) > 0);
}

bool dependency_descriptor_read(struct layer_source *s, const uint8_t *data, size_t bytes,
                                struct layer *out)
{
    struct bits b = {data, MANDATORY_BYTES * 8, bytes * 8, false};
    struct layer_structure own;
    struct descriptor d = {0};
    bool found;

    if (bytes < MANDATORY_BYTES)
        return false;
    d.template_id = data[0] & 0x3f;
    d.number = (uint16_t)(data[1] << 8 | data[2]);
    if (bytes > MANDATORY_BYTES) {
        if (!extended_read(&b, &s->structure, &own, &d, &found))
            return false;
    } else {
        unsigned index = (unsigned)(d.template_id - s->structure.template_offset);

        index %= LAYER_TEMPLATES_MAX;
        found = index < s->structure.template_count;
        d.target_count = s->structure.target_count;
        d.frame = s->structure.templates[index];
        d.farthest = d.frame.farthest;
    }
    out->begins_frame = data[0] & 0x80;
    out->ends_frame = data[0] & 0x40;
    out->picture_id = d.number;
    out->picture_id_bits = NUMBER_BITS;
    out->has_structure = d.has_structure;
    if (!found)
        return true;
    source_update(s, &own, &d);
    out->spatial = d.frame.spatial;
    out->temporal = d.frame.temporal;
    out->has_targets = true;
    out->target_count = d.target_count;
    out->present = d.frame.present;
    out->switches = d.frame.switches;
    out->switches_up = d.frame.temporal == 0 || (d.frame.switches >> d.frame.target & 1);
    out->is_key_picture = d.has_structure || is_key_picture(s, &d);
    return true;
}

/* ---- writing ---- */

/* Appends to zeroed bytes. */
struct bit_sink {
    uint8_t *data;
    size_t at; /* in bits */
};

static void bits_put(struct bit_sink *sink, unsigned count, uint32_t value)
{
    for (; count > 0; count--, sink->at++)
        sink->data[sink->at / 8] |= (uint8_t)((value >> (count - 1) & 1u) << (7 - sink->at % 8));
}

/* Appends what is in b up to `end`. */
static void bits_copy(struct bit_sink *sink, struct bits *b, size_t end)
{
    while (b->at < end) {
        unsigned count = end - b->at < 8 ? (unsigned)(end - b->at) : 8;

        bits_put(sink, count, bits_take(b, count));
    }
}

size_t layer_descriptor_write(const struct layer *l, uint32_t active, const uint8_t *descriptor,
                              size_t bytes, uint8_t *out)
{
    struct bits b = {descriptor, MANDATORY_BYTES * 8, bytes * 8, false};
    struct bit_sink sink = {out, MANDATORY_BYTES * 8};
    struct layer_structure structure;
    bool has_structure = false, has_active = false;
    uint32_t custom = 0;
    size_t structure_at, structure_end;

    if (bytes < MANDATORY_BYTES || !l->has_targets)
        return 0;
    if (bytes > MANDATORY_BYTES) {
        has_structure = bits_take(&b, 1);
        has_active = bits_take(&b, 1);
        custom = bits_take(&b, 3);
    }
    structure_at = b.at;
    if (has_structure &&
        (!structure_read(&b, &structure) || structure.target_count != l->target_count))
        return 0;
    structure_end = b.at;
    b.at = structure_at;
    memset(out, 0, bytes + LAYER_DESCRIPTOR_GROWTH_MAX);
    memcpy(out, descriptor, MANDATORY_BYTES);
    bits_put(&sink, 1, has_structure);
    bits_put(&sink, 1, 1);
    bits_put(&sink, 3, custom);
    bits_copy(&sink, &b, structure_end);
    bits_put(&sink, l->target_count, active);
    if (has_active)
        bits_take(&b, l->target_count);
    bits_copy(&sink, &b, b.end);
    return b.overrun ? 0 : (sink.at + 7) / 8;
}
