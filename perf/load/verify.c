/* The window that puts packets in order, and the rules. */
#include "verify.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define WINDOW 512     /* packets that are kept; a power of two */
#define PATIENCE 256   /* packets after a missing one before it counts as a hole */
#define FRAMES_KEPT 64 /* more than the largest distance to a frame that another one needs */

/* Which layer frames of a picture were forwarded whole, and can be decoded. */
struct kept_frame {
    bool used;
    uint32_t frame, stream;
    uint16_t decodable; /* bit s: spatial layer s */
};

struct verify {
    enum video_codec codec;
    uint32_t ticks;
    struct verify_counts counts;
    bool started;  /* the first packet of a key frame has arrived */
    uint64_t next; /* index of the packet to judge next */
    uint64_t newest;
    bool used[WINDOW];
    struct verify_packet window[WINDOW]; /* by index; judged packets stay until they are replaced */
    /* the stream so far */
    bool has_previous, hole; /* hole: just before the packet that is judged */
    struct verify_packet previous;
    bool clean; /* no hole since the latest key frame */
    bool whole; /* no packet of the current layer frame is missing so far */
    bool catching_up;
    bool has_lead;
    int32_t lead; /* of the time stamps, see lead_of */
    bool has_tl0;
    uint8_t tl0; /* of the latest frame of temporal layer 0 */
    struct kept_frame frames[FRAMES_KEPT];
};

const char *const violation_names[VIOLATION_COUNT] = {
#define X(name, text) #name,
    VIOLATIONS(X)
#undef X
};
const char *const violation_texts[VIOLATION_COUNT] = {
#define X(name, text) text,
    VIOLATIONS(X)
#undef X
};

struct verify *verify_new(enum video_codec codec, uint32_t ticks)
{
    struct verify *v = memory_zeroed(1, sizeof(*v));

    v->codec = codec;
    v->ticks = ticks;
    return v;
}

void verify_free(struct verify *v)
{
    free(v);
}

static void found(struct verify *v, enum violation what)
{
    v->counts.found[what]++;
}

/* ---- one packet by itself ---- */

static void check_descriptor(struct verify *v, const struct verify_packet *p)
{
    const struct video_head *h = &p->head;
    bool first = p->label.at == 0, last = p->label.at == p->label.last;

    if (!p->is_readable) {
        found(v, VIOLATION_unreadable);
        return;
    }
    if (h->first != first || (v->codec != VIDEO_VP8 && h->last != last) ||
        (h->has_layers && (h->temporal != p->label.temporal ||
                           (v->codec == VIDEO_VP9 && h->spatial != p->label.spatial))))
        found(v, VIOLATION_changed_layer);
    if (p->marker && !last)
        found(v, VIOLATION_marker_early);
}

/* ---- two packets of a picture ---- */

static void check_same_picture(struct verify *v, const struct verify_packet *p)
{
    const struct verify_packet *a = &v->previous;
    bool same_layer = a->label.spatial == p->label.spatial;

    if (a->timestamp != p->timestamp)
        found(v, VIOLATION_timestamp_split);
    if (a->head.has_picture_id && a->head.picture_id != p->head.picture_id)
        found(v, VIOLATION_picture_id);
    if (a->head.has_layers && a->head.tl0_index != p->head.tl0_index)
        found(v, VIOLATION_tl0_index);
    if (v->hole)
        return;
    if (a->marker && a->label.at == a->label.last)
        found(v, VIOLATION_marker_early);
    if (same_layer ? p->label.at != a->label.at + 1
                   : p->label.spatial < a->label.spatial || p->label.at != 0 ||
                         a->label.at != a->label.last)
        found(v, VIOLATION_out_of_sequence);
}

/* ---- two pictures ---- */

/* How far the time stamps are ahead of the publisher's pictures; the same for all encodings, if sender
 * reports brought them together. */
static int32_t lead_of(const struct verify *v, const struct verify_packet *p)
{
    return (int32_t)(p->timestamp - p->label.frame * v->ticks);
}

static bool is_near(const struct verify *v, int32_t lead)
{
    int32_t off = lead - v->lead;

    return !v->has_lead || (off <= (int32_t)v->ticks / 2 && off >= -(int32_t)v->ticks / 2);
}

/* Of one encoding the time stamps differ exactly as the publisher's did; between encodings half a
 * frame is allowed. The exception: after its beginning or a switch a stream may be replayed from its
 * last key frame on. Old pictures then have time stamps that stand closely together, until the
 * stream has caught up and leads as before. */
static void check_timestamp(struct verify *v, const struct verify_packet *p, bool switched)
{
    int32_t step = (int32_t)(p->timestamp - v->previous.timestamp), lead = lead_of(v, p);
    int32_t wanted = (int32_t)(p->label.frame - v->previous.label.frame) * (int32_t)v->ticks;
    bool ok;

    if (step <= 0) {
        found(v, VIOLATION_timestamp_backward);
        return;
    }
    if (switched) {
        v->catching_up = true;
        ok = is_near(v, lead) || (step <= (int32_t)v->ticks && step > wanted);
    } else if (v->catching_up && step != wanted) {
        ok = step < wanted;
    } else {
        ok = step == wanted && (!v->catching_up || is_near(v, lead));
        v->catching_up = false;
    }
    if (!v->catching_up) {
        v->has_lead = true;
        v->lead = lead;
    }
    if (!ok)
        found(v, VIOLATION_timestamp_jump);
}

/* VP8: consecutive over what is forwarded. VP9: as the publisher counts, because the scalability
 * structure speaks of the publisher's pictures. */
static void check_picture_id(struct verify *v, const struct verify_packet *p, bool switched)
{
    uint16_t mask = p->head.has_long_id ? 0x7fff : 0x7f;
    uint16_t step = (uint16_t)(p->head.picture_id - v->previous.head.picture_id) & mask;
    uint16_t pictures = (uint16_t)(p->label.frame - v->previous.label.frame) & mask;

    if (!p->head.has_picture_id)
        return;
    if (v->codec == VIDEO_VP9 && !switched ? step != pictures
        : v->hole                          ? step == 0 || step > mask / 2
                                           : step != 1)
        found(v, VIOLATION_picture_id);
}

static void check_tl0(struct verify *v, const struct verify_packet *p)
{
    uint8_t wanted = (uint8_t)(v->tl0 + (p->head.temporal == 0));

    if (!p->head.has_layers)
        return;
    if (v->has_tl0 && !v->hole && p->head.tl0_index != wanted)
        found(v, VIOLATION_tl0_index);
    v->has_tl0 = true;
    v->tl0 = p->head.tl0_index;
}

static void check_next_picture(struct verify *v, const struct verify_packet *p)
{
    const struct verify_packet *a = &v->previous;
    bool switched = a->label.stream != p->label.stream;
    bool begins = p->label.at == 0;

    if (switched) {
        v->counts.switches++;
        if (!p->label.key || (!v->hole && (!begins || p->label.spatial != 0)))
            found(v, VIOLATION_switch_without_key);
    } else if ((int32_t)(p->label.frame - a->label.frame) < 0) {
        found(v, VIOLATION_frame_backward);
    }
    if (!v->hole) {
        if (a->label.at != a->label.last || !begins)
            found(v, VIOLATION_frame_cut);
        else if (!a->marker)
            found(v, VIOLATION_marker_missing);
    }
    check_timestamp(v, p, switched);
    check_picture_id(v, p, switched);
    check_tl0(v, p);
}

/* ---- decodability ---- */

static struct kept_frame *frame_of(struct verify *v, uint32_t stream, uint32_t frame)
{
    struct kept_frame *kept = &v->frames[frame % FRAMES_KEPT];

    return kept->used && kept->frame == frame && kept->stream == stream ? kept : NULL;
}

static bool has_what_it_needs(struct verify *v, const struct payload_label *l)
{
    const struct kept_frame *older = frame_of(v, l->stream, l->frame - l->back);
    const struct kept_frame *own = frame_of(v, l->stream, l->frame);

    if (l->back && !(older && older->decodable >> l->spatial & 1))
        return false;
    return !l->needs_lower || (own && l->spatial && own->decodable >> (l->spatial - 1) & 1);
}

/* The last packet of a layer frame: could a decoder show it? */
static void finish_layer_frame(struct verify *v, const struct payload_label *l)
{
    struct kept_frame *kept = &v->frames[l->frame % FRAMES_KEPT];

    if (!v->whole || !has_what_it_needs(v, l)) {
        if (v->clean)
            found(v, VIOLATION_undecodable);
        else
            v->counts.after_hole++;
        return;
    }
    if (!frame_of(v, l->stream, l->frame))
        *kept = (struct kept_frame){.used = true, .frame = l->frame, .stream = l->stream};
    kept->decodable |= (uint16_t)(1u << l->spatial);
    if (l->key && l->spatial == 0)
        v->clean = true;
}

/* ---- the order ---- */

static void judge(struct verify *v, const struct verify_packet *p)
{
    const struct payload_label *l = &p->label, *before = &v->previous.label;
    bool same_picture = v->has_previous && before->stream == l->stream && before->frame == l->frame;

    v->counts.packets++;
    check_descriptor(v, p);
    if (v->hole)
        v->clean = false;
    if (same_picture)
        check_same_picture(v, p);
    else if (v->has_previous)
        check_next_picture(v, p);
    else
        check_tl0(v, p);
    v->counts.pictures += !same_picture;
    if (l->at == 0)
        v->whole = true;
    else if (v->hole || !same_picture || l->at != before->at + 1 || l->spatial != before->spatial)
        v->whole = false;
    if (l->at == l->last)
        finish_layer_frame(v, l);
    v->previous = *p;
    v->has_previous = true;
    v->hole = false;
}

/* Judges everything that is complete, and skips what has been missing for too long. */
static void proceed(struct verify *v, uint64_t patience)
{
    while (v->next <= v->newest) {
        const struct verify_packet *p = &v->window[v->next % WINDOW];

        if (v->used[v->next % WINDOW] && p->index == v->next) {
            if (p->is_empty)
                v->counts.empty++;
            else
                judge(v, p);
        } else {
            if (v->newest - v->next < patience)
                return;
            v->counts.holes++;
            v->hole = true;
        }
        v->next++;
    }
}

static bool differ(const struct verify_packet *a, const struct verify_packet *b)
{
    return a->is_empty != b->is_empty || a->timestamp != b->timestamp || a->marker != b->marker ||
           a->head.picture_id != b->head.picture_id || a->head.tl0_index != b->head.tl0_index ||
           a->label.stream != b->label.stream || a->label.number != b->label.number;
}

void verify_add(struct verify *v, const struct verify_packet *p)
{
    struct verify_packet *slot = &v->window[p->index % WINDOW];

    if (!v->started) {
        if (p->is_empty || !p->label.key || p->label.at != 0 || p->label.spatial != 0)
            return;
        v->started = v->clean = v->catching_up = true;
        v->next = v->newest = p->index;
    }
    if (v->used[p->index % WINDOW] && slot->index == p->index) {
        if (differ(slot, p))
            found(v, VIOLATION_resend_differs);
        return;
    }
    if (p->index < v->next)
        return; /* it comes after it was given up, or from before the beginning */
    if (p->index > v->newest) {
        v->newest = p->index;
        proceed(v, PATIENCE); /* before its slot is taken: now nothing older than that waits */
    }
    *slot = *p;
    v->used[p->index % WINDOW] = true;
    proceed(v, PATIENCE);
}

void verify_end(struct verify *v)
{
    proceed(v, 0);
}

const struct verify_counts *verify_counts(const struct verify *v)
{
    return &v->counts;
}

uint64_t verify_sum(const struct verify_counts *counts)
{
    uint64_t sum = 0;

    for (int i = 0; i < VIOLATION_COUNT; i++)
        sum += counts->found[i];
    return sum;
}
