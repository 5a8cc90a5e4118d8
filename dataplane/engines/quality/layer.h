/* What a video packet says about the layers of its stream. The choice of layers needs no more than
 * this.
 *
 *   layer_read ─► vp8.c, vp9.c, h264.c      the payload
 *              ─► dependency_descriptor.c   the header extension, where the sender sends it
 *
 * Shape:   one struct layer per packet; one struct layer_source per received encoding (SSRC). A
 *          zeroed source has seen nothing. Simulcast encodings are separate sources; each of them
 *          has spatial layer 0 only.
 * Units:   bytes; layers count from 0.
 * Threads: a source belongs to one worker; a struct layer may be copied anywhere.
 * Memory:  none besides the structs.
 * Errors:  layer_read returns false when the payload is malformed, which is the peer's fault. The
 *          packet is then still forwarded, as one of the lowest layers with which nothing begins:
 *          that is what a zeroed struct layer says. A malformed dependency descriptor is ignored.
 * Limits:  of a descriptor: LAYER_TEMPLATES_MAX, LAYER_TARGETS_MAX, 4 spatial and 8 temporal
 *          layers.
 * Source:  RFC 7741 (VP8), RFC 9628 (VP9), RFC 6184 (H264), RTP Payload Format For AV1 v1.0, with
 *          the dependency descriptor in its appendix A. */
#ifndef RINGCAST_LAYER_H
#define RINGCAST_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/rows.h"

#define LAYER_TEMPLATES_MAX 64 /* frame_dependency_template_id has 6 bits */
#define LAYER_TARGETS_MAX 32   /* dt_cnt_minus_one has 5 bits */
#define LAYER_SPATIAL_MAX 3
#define LAYER_TEMPORAL_MAX 7

struct layer {
    /* Of the frame of the packet. 0 when nothing tells. */
    uint8_t spatial, temporal;
    /* The first packet of a frame with which a decoder can begin, of the lowest spatial layer. H264:
     * the SPS or, where the encoder does not repeat it, the first slice of the IDR picture. */
    bool begins_key_frame;
    /* The packet belongs to a picture with which a decoder can begin, in any spatial layer. H264: a
     * parameter set (SPS) or any part of an IDR slice. VP8 without descriptor: only the packet that
     * begins the key frame tells. */
    bool is_key_picture;
    /* First and last packet of the frame of this layer. H264 without descriptor: the beginning is
     * not known, and false. Without any other sign, the marker ends the frame. */
    bool begins_frame, ends_frame;
    /* Receivers that took only lower temporal layers may take this layer from this frame on. True
     * for temporal layer 0. */
    bool switches_up;
    /* VP9: predicted from the next lower spatial layer of the same picture. */
    bool depends_on_lower;
    /* VP9: no higher spatial layer of this picture is predicted from this frame. */
    bool unused_above;
    /* The dependency descriptor told; `present` and `switches` are valid. */
    bool has_targets;
    /* The dependency descriptor carries the structure that later ones refer to. */
    bool has_structure;
    /* H264: which units are in the packet. A key frame is SPS, PPS and IDR slices with the same time
     * stamp. A decoder that has none of the parameter sets can use no IDR slice; an SPS without an
     * IDR slice behind it begins nothing. IDR: also a part of a slice. */
    bool has_sps, has_pps, has_idr;
    /* VP8, VP9: width of picture_id, 7 or 15. AV1 and H264 with descriptor: 16, the number of the
     * frame. 0: the packet has none. */
    uint8_t picture_id_bits;
    /* VP8: offsets in the payload; 0: it has no such field. */
    uint8_t picture_id_at, tl0_at;
    uint8_t tl0; /* VP8: TL0PICIDX */
    /* VP9: how many spatial layers there are from this key frame on; 0: the packet does not tell. */
    uint8_t spatial_count;
    uint8_t target_count; /* decode targets of the structure that the packet refers to */
    uint16_t picture_id;
    /* Bit per decode target: the frame is part of it; the frame is where one may switch to it. */
    uint32_t present, switches;
};
_Static_assert(sizeof(struct layer) <= 32, "each packet of the pool has one");

/* One kind of frame of a dependency structure (appendix A.8.1). */
struct layer_template {
    uint8_t spatial, temporal;
    uint8_t target;   /* the decode target of exactly these layers, or the best one below */
    uint8_t farthest; /* the most distant frame that it refers to */
    uint32_t present, switches;
};

/* The template dependency structure of an encoding. */
struct layer_structure {
    uint8_t template_count; /* 0: none was received */
    uint8_t template_offset, target_count, chain_count;
    uint8_t target_spatial[LAYER_TARGETS_MAX], target_temporal[LAYER_TARGETS_MAX];
    struct layer_template templates[LAYER_TEMPLATES_MAX];
};

/* What earlier packets of an encoding told. */
struct layer_source {
    uint8_t spatial_seen, temporal_seen; /* the highest of any packet */

    /* VP9: the newest picture, */
    bool has_picture;
    uint16_t picture_id;
    bool base_is_predicted;   /* its lowest spatial layer needs other pictures, */
    uint8_t fresh;            /* bit per temporal layer: one may switch to it after this picture, */
    uint8_t picture_switches; /* and one may switch to the picture's own temporal layer. */

    /* Dependency descriptor. Frame numbers wrap. */
    bool has_key_frame;    /* the key frame is not long ago: */
    uint16_t key_frame;    /* the frame that brought the structure */
    bool has_next_picture; /* a picture came after it: */
    uint16_t next_picture; /* the first frame of the earliest one that was seen */
    uint16_t newest_frame;
    uint32_t active; /* decode targets that the sender still produces */
    struct layer_structure structure;
};

/* Reads one decrypted packet without padding. `s` may be NULL: then `descriptor` is ignored and
 * nothing is remembered. `descriptor` is the dependency descriptor of the packet; descriptor_bytes
 * is 0 when it has none. Packets come in the order of arrival. For audio and unknown codecs, each
 * packet begins a key frame. */
bool layer_read(struct layer_source *s, enum codec codec, const uint8_t *payload, size_t bytes,
                bool marker, const uint8_t *descriptor, size_t descriptor_bytes, struct layer *out);

/* Writes other numbers into a VP8 payload, in fields of the same width. Fields that the payload does
 * not have are not added. */
void layer_vp8_rewrite(uint8_t *payload, const struct layer *l, uint16_t picture_id, uint8_t tl0);

/* A dependency descriptor may grow by this much: by five flags and the bit of each decode target. */
#define LAYER_DESCRIPTOR_GROWTH_MAX 5
/* Copies the descriptor of a packet, and writes into it which decode targets are active: those that
 * the receiver gets. It then no longer waits for frames of the others. `l`: what layer_read said of
 * this packet; has_targets is set. `out` has room for bytes + LAYER_DESCRIPTOR_GROWTH_MAX. Returns
 * the size of the copy; 0: the descriptor is not the one that `l` was read from. */
size_t layer_descriptor_write(const struct layer *l, uint32_t active, const uint8_t *descriptor,
                              size_t bytes, uint8_t *out);

/* The active decode target with the highest spatial layer not above `spatial`, and among those the
 * highest temporal layer not above `temporal`; -1: no structure, or all targets are above. */
int layer_target(const struct layer_source *s, uint8_t spatial, uint8_t temporal);

/* The highest layers that the source sends: those of its active decode targets, or else the highest
 * that any packet had. */
void layer_highest(const struct layer_source *s, uint8_t *spatial, uint8_t *temporal);

#endif
