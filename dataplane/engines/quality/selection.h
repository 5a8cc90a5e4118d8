/* Which packets of a layered video a subscriber gets, and with which numbers.
 *
 *   selection_is_start ─► selection_start   at a key frame: another stream follows
 *   selection_add                           for each packet: forward it or not, and how
 *   selection_find                          for a retransmission: which packet that was
 *
 * Layers are encodings (simulcast: each is a stream of its own, and one is forwarded), or spatial layers
 * within one stream (SVC), and temporal layers within either. A stream that is forwarded for a while
 * with the same offsets is a segment. The limits say which layers of the stream are forwarded now; the
 * wanted ones replace them at the first frame from which a decoder can follow.
 *
 * Rules (the numbers are those of the packets that leave):
 *   - sequence numbers are continuous: what is dropped leaves no gap. A packet that has its place already
 *     and must not be forwarded leaves empty;
 *   - PictureID and TL0PICIDX of VP8 are continuous, too. A dropped picture gives its PictureID to the
 *     next one; TL0PICIDX only gets an offset, because pictures of temporal layer 0 are never dropped;
 *   - limits change with the first packet of a picture, so frames are forwarded whole or not at all;
 *   - time stamps rise from segment to segment.
 *
 * Shape:   one struct selection for each consumer of a layered producer; zeroed: nothing is forwarded.
 * Units:   48-bit SRTP indexes; time stamps in units of the codec's clock.
 * Threads: one worker.
 * Memory:  none besides the struct.
 * Source:  RFC 7741, RFC 9628, the RTP payload format for AV1. */
#ifndef RINGCAST_SELECTION_H
#define RINGCAST_SELECTION_H

#include "layer.h"
#include "renumber.h"
#include "squeeze.h"
#include "src/rows.h"

#define SELECTION_SEGMENTS 4 /* that are remembered, for retransmissions */

/* The decode targets of a stream with dependency descriptors. */
#define LAYER_TARGET_INACTIVE 0xff
struct layer_targets {
    uint8_t count;
    uint8_t layers[LAYER_TARGETS_MAX]; /* spatial << 4 | temporal, or LAYER_TARGET_INACTIVE */
};

void layer_targets_copy(struct layer_targets *targets, const struct layer_source *source);

/* What the selection reads of a packet. */
struct selection_packet {
    const struct layer *layer;
    const struct layer_targets *targets; /* of its stream; read only if layer->has_targets */
    uint64_t index;
    uint32_t timestamp;
    uint8_t encoding, source; /* see struct packet */
    uint8_t codec;            /* enum codec */
    uint8_t dependency;       /* enum layer_dependency of its encoding */
    bool marker;
};

/* How a packet leaves. */
struct selection_out {
    uint64_t index;
    uint32_t timestamp;
    uint16_t picture_id;
    uint8_t tl0;
    bool rewrites_picture; /* VP8: the payload gets picture_id and tl0 */
    bool marker;
    bool is_empty; /* of a packet that left without payload; see SELECTION_EMPTY */
};

enum selection_verdict {
    SELECTION_FORWARD,
    SELECTION_DROP,  /* nothing leaves */
    SELECTION_EMPTY, /* a packet without payload leaves, because its number is promised */
};

struct selection_segment {
    uint64_t first_out; /* index */
    struct renumber packets, pictures;
    uint32_t timestamp_offset;
    struct squeeze squeeze;
    uint8_t tl0_offset;
    uint8_t encoding, source;
    uint8_t top; /* the spatial layer that ends a picture */
};

struct selection_limits {
    uint8_t spatial, temporal;
    uint8_t target; /* the decode target, when the stream has them */
};

struct selection {
    uint8_t encoding; /* wanted, like the next two; the caller sets them at any time */
    uint8_t spatial, temporal;
    bool is_synchronised;
    uint8_t tl0_newest; /* out */
    bool has_tl0;
    struct selection_limits limits, limits_before; /* the latter for indexes below changed_at */
    uint64_t changed_at;
    uint32_t segment_count; /* ever; the present one is the last */
    struct selection_segment
        segments[SELECTION_SEGMENTS]; /* number i lies at i % SELECTION_SEGMENTS */
};

/* The segment that is being forwarded. Only when segment_count > 0. */
static inline struct selection_segment *selection_present(struct selection *s)
{
    return &s->segments[(s->segment_count - 1) % SELECTION_SEGMENTS];
}
static inline const struct selection_segment *selection_seen(const struct selection *s)
{
    return &s->segments[(s->segment_count - 1) % SELECTION_SEGMENTS];
}

/* Is this the first packet of a key frame of the wanted encoding, and something else is forwarded? Then
 * the caller calls selection_start. */
bool selection_is_start(const struct selection *s, const struct selection_packet *p);

/* From p on, its stream is forwarded. next_out: the index that follows what has left.
 * timestamp_offset: what is added to its time stamps. timestamp_floor: time
 * stamps of the new segment are greater. */
void selection_start(struct selection *s, const struct selection_packet *p, uint64_t next_out,
                     uint32_t timestamp_offset, uint32_t timestamp_floor);

/* Decides about a packet that arrived for the first time. *out is set unless it is dropped. */
enum selection_verdict selection_add(struct selection *s, const struct selection_packet *p,
                                     struct selection_out *out);

/* For a packet that left with the index `out`: its segment and its own index. NULL: it did not leave,
 * or it is too long ago. */
const struct selection_segment *selection_find(const struct selection *s, uint64_t out,
                                               uint64_t *in);
/* How a packet of this segment leaves, or left. False: it is too old. out->index is not set. */
bool selection_rewrite(const struct selection_segment *segment, const struct selection_packet *p,
                       struct selection_out *out);

#endif
