/* Which layers a subscriber gets. */
#include "selection.h"

#define PICTURE_BASE \
    (1ull << 32) /* so that pictures from before the first one have a number, too */

/* ---- numbers ---- */

static bool has_picture(const struct selection_packet *p)
{
    return p->codec == CODEC_vp8 && p->layer->picture_id_bits;
}

/* The number of a picture without wrap: the nearest to the ones before. */
static uint64_t picture_number(const struct selection_segment *segment, const struct layer *layer)
{
    uint64_t next = segment->pictures.next;
    unsigned unused = 64 - layer->picture_id_bits;

    return next + (uint64_t)((int64_t)((layer->picture_id - next) << unused) >> unused);
}

static uint32_t timestamp_of(const struct selection_segment *segment, uint32_t timestamp)
{
    return squeeze(&segment->squeeze, timestamp, timestamp + segment->timestamp_offset);
}

bool selection_rewrite(const struct selection_segment *segment, const struct selection_packet *p,
                       struct selection_out *out)
{
    const struct layer *layer = p->layer;
    uint64_t picture;

    out->timestamp = timestamp_of(segment, p->timestamp);
    out->is_empty = renumber_is_empty(&segment->packets, p->index);
    out->marker =
        !out->is_empty && (p->marker || (layer->ends_frame && layer->spatial == segment->top));
    out->rewrites_picture = has_picture(p) && !out->is_empty;
    if (!out->rewrites_picture)
        return true;
    if (!renumber_peek(&segment->pictures, picture_number(segment, layer), &picture))
        return false;
    out->picture_id = (uint16_t)picture;
    out->tl0 = layer->tl0 + segment->tl0_offset;
    return true;
}

/* ---- limits ---- */

void layer_targets_copy(struct layer_targets *targets, const struct layer_source *source)
{
    const struct layer_structure *structure = &source->structure;

    targets->count = structure->target_count;
    for (unsigned i = 0; i < structure->target_count; i++)
        targets->layers[i] =
            source->active >> i & 1
                ? (uint8_t)(structure->target_spatial[i] << 4 | structure->target_temporal[i])
                : LAYER_TARGET_INACTIVE;
}

/* The decode target that gives most of what is wanted. */
static uint8_t best_target(const struct layer_targets *targets, uint8_t spatial, uint8_t temporal)
{
    uint8_t best = 0;
    int best_layers = -1;

    for (uint8_t i = 0; i < targets->count; i++) {
        uint8_t layers = targets->layers[i];

        if (layers == LAYER_TARGET_INACTIVE || layers >> 4 > spatial || (layers & 15) > temporal ||
            layers <= best_layers)
            continue;
        best = i;
        best_layers = layers;
    }
    return best;
}

static bool may_switch(const struct layer *layer, uint8_t target)
{
    return layer->begins_key_frame || (layer->present & layer->switches) >> target & 1;
}

/* A decode target that is not the present one begins with a frame that says so. While a lower spatial
 * layer cannot begin, temporal layer 0 of the present one takes less. */
static struct selection_limits limits_with_targets(const struct selection *s,
                                                   const struct selection_packet *p)
{
    uint8_t target = best_target(p->targets, s->spatial, s->temporal);

    if (!may_switch(p->layer, target) && s->spatial < s->limits.spatial)
        target = best_target(p->targets, s->limits.spatial, 0);
    if (!may_switch(p->layer, target))
        return s->limits;
    return (struct selection_limits){.spatial = p->targets->layers[target] >> 4,
                                     .temporal = p->targets->layers[target] & 15,
                                     .target = target};
}

static uint8_t temporal_after(const struct selection *s, const struct layer *layer, uint8_t wanted)
{
    uint8_t now = s->limits.temporal;

    if (wanted <= now)
        return wanted;
    return layer->switches_up && layer->temporal > now && layer->temporal <= wanted
               ? layer->temporal
               : now;
}

/* At a key frame. The stream may have fewer spatial layers than are wanted. */
static struct selection_limits wanted_limits(const struct selection *s, const struct layer *layer)
{
    uint8_t spatial = s->spatial;

    if (layer->spatial_count && spatial >= layer->spatial_count)
        spatial = layer->spatial_count - 1;
    return (struct selection_limits){.spatial = spatial, .temporal = s->temporal};
}

static struct selection_limits limits_at(const struct selection *s,
                                         const struct selection_packet *p)
{
    struct selection_limits limits = s->limits;
    const struct layer *layer = p->layer;
    bool waits;

    if (layer->has_targets)
        return limits_with_targets(s, p);
    if (layer->begins_key_frame)
        return wanted_limits(s, layer);
    if (layer->spatial == 0 && p->dependency == LAYER_DEPENDENCY_full &&
        s->spatial < limits.spatial)
        limits.spatial = s->spatial;
    /* A lower encoding or spatial layer waits for its key frame; until then only temporal layer 0 of
     * the present one is forwarded, which takes less. */
    waits = s->encoding < p->encoding || s->spatial < limits.spatial;
    limits.temporal = temporal_after(s, layer, waits ? 0 : s->temporal);
    return limits;
}

/* The picture ends with another spatial layer from now on. */
static void split_segment(struct selection *s, uint64_t index, uint8_t top)
{
    struct selection_segment *before = selection_present(s), *after;

    s->segment_count++;
    after = selection_present(s);
    *after = *before;
    after->first_out = index + before->packets.offset;
    after->top = top;
}

static void change_limits(struct selection *s, const struct selection_packet *p)
{
    struct selection_limits limits = limits_at(s, p);

    if (limits.spatial == s->limits.spatial && limits.temporal == s->limits.temporal &&
        limits.target == s->limits.target)
        return;
    if (limits.spatial != s->limits.spatial)
        split_segment(s, p->index, limits.spatial);
    s->limits_before = s->limits;
    s->limits = limits;
    s->changed_at = p->index;
}

static bool is_within(const struct selection_limits *limits, const struct selection_packet *p)
{
    const struct layer *layer = p->layer;

    if (layer->has_targets)
        return layer->present >> limits->target & 1;
    if (layer->temporal > limits->temporal || layer->spatial >= limits->spatial)
        return layer->temporal <= limits->temporal && layer->spatial == limits->spatial;
    return !layer->unused_above &&
           (p->dependency == LAYER_DEPENDENCY_full || layer->is_key_picture);
}

/* ---- packets ---- */

bool selection_is_start(const struct selection *s, const struct selection_packet *p)
{
    const struct selection_segment *segment;

    if (p->encoding != s->encoding || !p->layer->begins_key_frame)
        return false;
    if (!s->is_synchronised || !s->segment_count)
        return true;
    segment = selection_seen(s);
    return segment->encoding != p->encoding || segment->source != p->source;
}

void selection_start(struct selection *s, const struct selection_packet *p, uint64_t next_out,
                     uint32_t timestamp_offset, uint32_t timestamp_floor)
{
    const struct layer *layer = p->layer;
    uint64_t picture = PICTURE_BASE + layer->picture_id, next_picture = picture;
    struct selection_segment *segment;

    if (s->segment_count && selection_present(s)->pictures.next)
        next_picture = selection_present(s)->pictures.next + selection_present(s)->pictures.offset;
    s->segment_count++;
    segment = selection_present(s);
    segment->first_out = next_out;
    segment->timestamp_offset = timestamp_offset;
    segment->squeeze = (struct squeeze){true, p->timestamp, timestamp_floor};
    segment->tl0_offset = s->has_tl0 ? (uint8_t)(s->tl0_newest + 1 - layer->tl0) : 0;
    segment->encoding = p->encoding;
    segment->source = p->source;
    renumber_start(&segment->packets, p->index, next_out);
    renumber_start(&segment->pictures, picture, next_picture);
    s->limits = wanted_limits(s, layer);
    if (layer->has_targets)
        s->limits = limits_with_targets(s, p);
    s->limits_before = s->limits;
    s->changed_at = p->index;
    segment->top = s->limits.spatial;
    s->is_synchronised = true;
}

static void note_tl0(struct selection *s, const struct selection_packet *p, uint8_t tl0)
{
    if (!p->layer->tl0_at)
        return;
    if (!s->has_tl0 || (int8_t)(tl0 - s->tl0_newest) > 0)
        s->tl0_newest = tl0;
    s->has_tl0 = true;
}

/* The packet is not forwarded. */
static enum selection_verdict leave_out(struct selection_segment *segment,
                                        const struct selection_packet *p, struct selection_out *out)
{
    uint64_t unused;

    if (has_picture(p))
        renumber_drop(&segment->pictures, picture_number(segment, p->layer), &unused);
    if (renumber_drop(&segment->packets, p->index, &out->index))
        return SELECTION_DROP;
    out->timestamp = timestamp_of(segment, p->timestamp);
    out->marker = false;
    out->rewrites_picture = false;
    return SELECTION_EMPTY;
}

/* The packet is forwarded, in the segment to which its number belongs. */
static enum selection_verdict let_through(struct selection *s, struct selection_segment *segment,
                                          const struct selection_packet *p,
                                          struct selection_out *out)
{
    uint64_t unused;

    if (!renumber_take(&segment->packets, p->index, &out->index))
        return SELECTION_DROP;
    if (out->index < segment->first_out && s->segment_count > 1)
        segment = &s->segments[(s->segment_count - 2) % SELECTION_SEGMENTS];
    if (has_picture(p) &&
        !renumber_take(&segment->pictures, picture_number(segment, p->layer), &unused))
        out->rewrites_picture = false;
    else if (selection_rewrite(segment, p, out)) {
        if (out->rewrites_picture)
            note_tl0(s, p, out->tl0);
        return SELECTION_FORWARD;
    }
    out->timestamp = timestamp_of(segment, p->timestamp);
    out->marker = false;
    return SELECTION_EMPTY;
}

/* The packet leaves empty. It will be empty again if the subscriber loses it. */
static void note_empty(struct selection *s, const struct selection_packet *p, uint64_t out)
{
    struct selection_segment *segment = selection_present(s);

    renumber_set_empty(&segment->packets, p->index);
    if (out < segment->first_out && s->segment_count > 1)
        renumber_set_empty(&s->segments[(s->segment_count - 2) % SELECTION_SEGMENTS].packets,
                           p->index);
}

/* Pictures are forwarded whole: what holds for the lowest spatial layer holds for all of them. Decode targets
 * say themselves on which frames one may switch. */
static bool may_change_limits(const struct selection_packet *p)
{
    return p->layer->begins_frame && (p->layer->has_targets || p->layer->spatial == 0);
}

enum selection_verdict selection_add(struct selection *s, const struct selection_packet *p,
                                     struct selection_out *out)
{
    struct selection_segment *segment;
    enum selection_verdict verdict;

    if (!s->is_synchronised)
        return SELECTION_DROP;
    segment = selection_present(s);
    if (segment->encoding != p->encoding || segment->source != p->source)
        return SELECTION_DROP;
    if ((int32_t)(p->timestamp - segment->squeeze.first) > SQUEEZED_MAX)
        segment->squeeze.is_on = false; /* else it is on again when the time stamps wrap */
    if (may_change_limits(p) && p->index >= segment->packets.next) {
        change_limits(s, p);
        segment = selection_present(s);
    }
    if (is_within(p->index < s->changed_at ? &s->limits_before : &s->limits, p))
        verdict = let_through(s, segment, p, out);
    else
        verdict = leave_out(segment, p, out);
    if (verdict == SELECTION_EMPTY)
        note_empty(s, p, out->index);
    return verdict;
}

const struct selection_segment *selection_find(const struct selection *s, uint64_t out,
                                               uint64_t *in)
{
    uint32_t oldest =
        s->segment_count < SELECTION_SEGMENTS ? 0 : s->segment_count - SELECTION_SEGMENTS;

    for (uint32_t i = s->segment_count; i > oldest; i--) {
        const struct selection_segment *segment = &s->segments[(i - 1) % SELECTION_SEGMENTS];

        if (out >= segment->first_out)
            return renumber_find(&segment->packets, out, in) ? segment : NULL;
    }
    return NULL;
}
