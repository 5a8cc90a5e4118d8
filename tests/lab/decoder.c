/* Frames, and whether they can be decoded. */
#include "decoder.h"

enum readiness { READY, WAITS, USELESS };

/* ---- which frames a decoder has ---- */

static bool has_decoded(const struct receiver *r, int64_t id, unsigned spatial)
{
    unsigned place = (unsigned)id % 4096;

    return r->ids[place][0] == id + 1 && r->ids[place][1] >> spatial & 1;
}

static void note_decoded(struct receiver *r, int64_t id, unsigned spatial)
{
    unsigned place = (unsigned)id % 4096;

    if (r->ids[place][0] != id + 1)
        r->ids[place][1] = 0;
    r->ids[place][0] = id + 1;
    r->ids[place][1] |= 1 << spatial;
}

/* RFC 7741 4.2, as libwebrtc understands it: a frame of the base layer needs the one with the TL0PICIDX
 * before its own; one of a higher layer needs the base layer of its own TL0PICIDX, and unless it is a layer
 * sync also every picture since then, because one of them may have been what it was predicted from. */
static enum readiness vp8_ready(const struct receiver *r, const struct assembled *f)
{
    uint8_t ahead = (uint8_t)(f->reading.tl0 - r->tl0);

    if (f->is_key)
        return READY;
    if (!r->has_key)
        return WAITS;
    if (f->reading.picture_id == NO_ID)
        return f->first == r->decoded_to + 1 ? READY : WAITS;
    if (ahead >= 128 || (f->reading.temporal == 0 && ahead == 0))
        return USELESS;
    if (f->reading.temporal == 0)
        return ahead == 1 ? READY : WAITS;
    if (ahead > 0)
        return WAITS;
    if (f->id <= r->base_id)
        return USELESS;
    for (int64_t id = r->base_id + 1; !f->reading.layer_sync && id < f->id; id++)
        if (r->came[(unsigned)id % 4096] != id + 1)
            return WAITS;
    return READY;
}

static void vp8_decoded(struct receiver *r, const struct assembled *f)
{
    if (f->reading.picture_id == NO_ID || (f->reading.temporal > 0 && !f->is_key))
        return;
    r->tl0 = (uint8_t)f->reading.tl0;
    r->base_id = f->id;
}

/* VP9 and AV1 name what a frame was predicted from. */
static enum readiness named_ready(const struct receiver *r, const struct assembled *f)
{
    bool is_vp9 = r->options.codec == CODEC_vp9;

    if (f->is_key)
        return READY;
    if (!r->has_key)
        return WAITS;
    if (is_vp9 && f->reading.inter_layer && !has_decoded(r, f->id, f->reading.spatial - 1u))
        return WAITS;
    for (unsigned i = 0; i < REFERENCES_MAX && f->reading.differences[i]; i++)
        if (!has_decoded(r, f->id - f->reading.differences[i], is_vp9 ? f->reading.spatial : 0))
            return WAITS;
    return READY;
}

/* H264, and AV1 without its descriptor: a frame follows the one before it. */
static enum readiness next_ready(const struct receiver *r, const struct assembled *f)
{
    if (f->is_key)
        return f->has_parameters || r->options.codec != CODEC_h264 ? READY : USELESS;
    return r->has_key && f->first == r->decoded_to + 1 ? READY : WAITS;
}

static enum readiness ready(const struct receiver *r, const struct assembled *f)
{
    switch (r->options.codec) {
    case CODEC_vp8:
        return vp8_ready(r, f);
    case CODEC_vp9:
        return named_ready(r, f);
    case CODEC_av1:
        return f->reading.number != NO_ID ? named_ready(r, f) : next_ready(r, f);
    default:
        return next_ready(r, f);
    }
}

/* ---- decoding ---- */

/* When a picture is seen: a browser holds every picture back as long as usual lateness takes, so that one
 * that comes a little late is seen in time. */
static uint64_t seen_ns(struct receiver *r, const struct assembled *f)
{
    uint64_t now_ns = world_now(r->client->world);
    uint64_t captured_ns = WORLD_BEGIN_NS + f->truth.capture_us * 1000ull;

    if (!r->way_ns || now_ns - captured_ns < r->way_ns)
        r->way_ns = now_ns - captured_ns;
    captured_ns += r->way_ns + r->options.held_ns;
    return captured_ns > now_ns ? captured_ns : now_ns;
}

static void show(struct receiver *r, const struct assembled *f)
{
    if (r->shown_count == r->shown_room) {
        r->shown_room = r->shown_room ? 2 * r->shown_room : 256;
        r->shown = realloc(r->shown, r->shown_room * sizeof(*r->shown));
    }
    r->last_shown_ns = seen_ns(r, f);
    r->shown[r->shown_count++] = (struct shown){.at_ns = r->last_shown_ns,
                                                .capture_us = f->truth.capture_us,
                                                .timestamp = f->timestamp,
                                                .encoding = f->truth.encoding,
                                                .spatial = f->truth.spatial,
                                                .temporal = f->truth.temporal,
                                                .is_key = f->is_key};
}

/* The RTP time of a picture must go with the time at which it was captured, whatever the encoding. */
static void compare_clocks(struct receiver *r, const struct assembled *f)
{
    uint32_t expected, ticks = (uint32_t)((uint64_t)f->truth.capture_us * 90 / 1000);
    int64_t error_us;

    if (!r->has_timestamp_base)
        r->timestamp_base_us = (int64_t)(uint32_t)(f->timestamp - ticks);
    r->has_timestamp_base = true;
    expected = (uint32_t)r->timestamp_base_us + ticks;
    error_us = (int64_t)(int32_t)(f->timestamp - expected) * 1000 / 90;
    if (error_us < 0)
        error_us = -error_us;
    r->timestamp_error_now_us = error_us;
    if (error_us > r->timestamp_error_us)
        r->timestamp_error_us = error_us;
}

static void decode(struct receiver *r, const struct assembled *f)
{
    for (unsigned i = 0; i < REFERENCES_MAX; i++)
        if (f->truth.references[i] &&
            r->decoded[f->truth.references[i] % 8192] != f->truth.references[i]) {
            r->broken++;
            break;
        }
    r->decoded[f->truth.frame % 8192] = f->truth.frame;
    r->frames_decoded++;
    r->has_key |= f->is_key;
    r->has_decoded = true;
    r->decoded_to = f->last;
    if (r->options.codec == CODEC_vp8)
        vp8_decoded(r, f);
    note_decoded(r, f->id, r->options.codec == CODEC_vp9 ? f->reading.spatial : 0);
    compare_clocks(r, f);
    if (f->marker)
        show(r, f);
}

static void drop_frames(struct receiver *r, unsigned count)
{
    r->frame_count -= count;
    memmove(r->frames, r->frames + count, r->frame_count * sizeof(r->frames[0]));
}

/* Has every packet between the last decoded frame and this one come? */
static bool follows(struct receiver *r, const struct assembled *f)
{
    if (!r->has_decoded)
        return true;
    if (r->complete_to < r->decoded_to)
        r->complete_to = r->decoded_to;
    while (r->complete_to + 1 < f->first) {
        const struct arrived *a = &r->packets[(r->complete_to + 1) % RECEIVER_PACKETS];

        if (!a->is_used || a->number != r->complete_to + 1)
            return false;
        r->complete_to++;
    }
    return true;
}

/* Decodes the first frame that can be decoded now, and forgets those before it. False: there is none. */
static bool decode_one(struct receiver *r)
{
    uint64_t now_ns = world_now(r->client->world);

    for (unsigned i = 0; i < r->frame_count; i++) {
        struct assembled *f = &r->frames[i];
        enum readiness state = f->last <= r->decoded_to && r->has_decoded ? USELESS : ready(r, f);

        if (state == USELESS) {
            r->useless++;
            memmove(f, f + 1, (--r->frame_count - i) * sizeof(*f));
            return true;
        }
        if (state == READY &&
            (follows(r, f) || now_ns - f->at_ns >= r->options.patience_ns || f->is_key)) {
            decode(r, f);
            drop_frames(r, i + 1);
            return true;
        }
    }
    return false;
}

void decoder_tick(struct receiver *r)
{
    while (decode_one(r))
        ;
}

/* ---- frames out of packets ---- */

static struct arrived *packet_at(struct receiver *r, int64_t number)
{
    struct arrived *a = &r->packets[(uint64_t)number % RECEIVER_PACKETS];

    return a->is_used && a->number == number ? a : NULL;
}

/* Does a frame begin with this packet? Without a sign in the payload: when it follows one of another time. */
static bool begins(struct receiver *r, const struct arrived *a)
{
    const struct arrived *before;

    if (a->reading.knows_ends)
        return a->reading.frame_begins;
    before = packet_at(r, a->number - 1);
    return a->reading.has_parameters || (before && before->timestamp != a->timestamp) ||
           (a->reading.is_key && !before) || (a->reading.is_key && r->options.codec == CODEC_av1);
}

static bool ends(const struct arrived *a)
{
    return a->marker || a->reading.frame_ends;
}

static void insert(struct receiver *r, const struct assembled *f)
{
    unsigned i = r->frame_count;

    if (r->frame_count == RECEIVER_FRAMES)
        drop_frames(r, 1);
    i = r->frame_count++;
    for (; i > 0 && r->frames[i - 1].first > f->first; i--)
        r->frames[i] = r->frames[i - 1];
    r->frames[i] = *f;
}

static void assemble(struct receiver *r, int64_t first, int64_t last)
{
    struct arrived *begin = packet_at(r, first), *end = packet_at(r, last);
    struct assembled f = {.first = first,
                          .last = last,
                          .at_ns = world_now(r->client->world),
                          .timestamp = begin->timestamp,
                          .marker = end->marker,
                          .reading = begin->reading,
                          .truth = begin->truth};

    for (int64_t i = first; i <= last; i++) {
        struct arrived *a = packet_at(r, i);

        a->is_done = true;
        f.is_key |= a->reading.is_key;
        f.has_parameters |= a->reading.has_parameters;
        f.has_picture |= a->reading.has_picture;
        if (a->truth.frame != f.truth.frame)
            r->broken++; /* packets of two frames in one */
    }
    if (r->options.codec == CODEC_h264)
        f.is_key = f.is_key && f.has_picture;
    if (f.reading.number != NO_ID)
        f.id = unwrap_near(r->last_id, (uint32_t)f.reading.number, 16);
    else if (f.reading.picture_id != NO_ID)
        f.id = unwrap_near(r->last_id, (uint32_t)f.reading.picture_id, f.reading.picture_bits);
    if (f.reading.number != NO_ID || f.reading.picture_id != NO_ID) {
        r->last_id = f.id;
        r->came[(uint64_t)f.id % 4096] = f.id + 1;
    }
    insert(r, &f);
}

/* The frame that holds this packet, if all of it has come. */
static bool find_frame(struct receiver *r, const struct arrived *packet)
{
    const struct arrived *first = packet, *last = packet;

    while (!begins(r, first)) {
        first = packet_at(r, first->number - 1);
        if (!first || first->timestamp != packet->timestamp || ends(first))
            return false;
    }
    while (!ends(last)) {
        last = packet_at(r, last->number + 1);
        if (!last || last->timestamp != packet->timestamp)
            return false;
    }
    if (first->is_done)
        return false;
    assemble(r, first->number, last->number);
    return true;
}

void decoder_add(struct receiver *r, struct arrived *packet)
{
    struct arrived *next;

    if (packet->reading.is_unknown)
        return;
    find_frame(r, packet);
    next =
        packet_at(r, packet->number + 1); /* it may be known only now that a frame begins there */
    if (next && !next->reading.knows_ends)
        find_frame(r, next);
    decoder_tick(r);
}
