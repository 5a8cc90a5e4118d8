/* What a virtual publisher puts into its packets, and what a virtual receiver reads there.
 *
 * Every payload ends with a struct truth: what the packet really is. A receiver decides by the fields
 * of the codec whether a frame can be decoded, as a browser does; the truth then says whether that was
 * right. So a frame that is decoded although one that it was predicted from is missing is noticed: in a
 * browser that would be a broken picture. */
#ifndef RINGCAST_LAB_MEDIA_H
#define RINGCAST_LAB_MEDIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "src/rows.h"

#define TRUTH_MAGIC 0x7275746eu
#define REFERENCES_MAX 3
#define NO_ID (-1)

struct truth {
    uint32_t magic;
    uint32_t frame;                      /* counts all frames of a publisher, from 1 */
    uint32_t references[REFERENCES_MAX]; /* frames that it was predicted from; 0: none */
    uint32_t capture_us;                 /* on the publisher's clock */
    uint8_t encoding, spatial, temporal, is_key;
    uint16_t packet, packets; /* of the frame */
    uint32_t hash;            /* of the filling in front of this */
};

/* A layer frame, as an encoder makes it. */
struct frame {
    struct truth truth;
    uint32_t timestamp;
    uint32_t bytes;
    bool ends_picture;      /* the last layer of its picture: marker bit */
    uint32_t picture_id;    /* VP8 and VP9 */
    uint8_t picture_bits;   /* 7 or 15; 0: no picture ID is sent (VP8) */
    uint8_t tl0;            /* TL0PICIDX */
    bool layer_sync;        /* VP8 Y, VP9 U: predicted from the base layer only */
    bool inter_layer;       /* VP9 D: predicted from the layer below, too */
    uint8_t spatial_layers; /* VP9, AV1: of the stream */
    uint8_t temporal_layers;
    uint16_t number;     /* AV1 frame_number */
    uint8_t template_id; /* AV1, within the structure */
    uint16_t
        differences[REFERENCES_MAX]; /* AV1 frame_number minus that of each reference; 0: none */
};

/* What stands in front of the filling of a packet: descriptor of the codec and first bytes of the
 * frame. `behind`: how many bytes follow. Returns its length. `extension`: AV1's dependency descriptor, *extension_bytes long. */
size_t codec_describe(enum codec codec, const struct frame *frame, unsigned packet, size_t behind,
                      uint8_t out[64], uint8_t extension[128], size_t *extension_bytes);

/* What a receiver reads from a packet. */
struct reading {
    bool is_unknown;               /* AV1: nothing can be told before the structure has come */
    bool frame_begins, frame_ends; /* as far as the codec says */
    bool knows_ends; /* false: only the marker bit and time stamps tell frames apart */
    bool is_key;
    bool has_parameters; /* H264: SPS */
    bool has_picture;    /* H264: a slice */
    int32_t picture_id, tl0, number;
    uint8_t picture_bits, spatial, temporal;
    bool layer_sync, inter_layer, is_predicted;
    uint16_t differences[REFERENCES_MAX]; /* of picture_id or number; 0: none */
    uint32_t wanted_targets;              /* AV1: the mask, when this packet changes it */
    bool has_targets;
};

/* What a receiver remembers from one packet to the next to read it: the structures of VP9 and AV1. */
struct reader {
    bool has_structure;
    int32_t base_picture_id; /* VP9: where the group of pictures began */
    uint8_t group_size;      /* pictures of the group, with for each: */
    uint8_t group_temporal[8], group_sync[8], group_count[8], group_difference[8][REFERENCES_MAX];
    /* AV1 */
    uint8_t template_offset, template_count, target_count;
    struct {
        uint8_t spatial, temporal, count, difference[REFERENCES_MAX];
        uint8_t indication
            [16]; /* for each decode target: 0 absent, 1 discardable, 2 switch, 3 required */
    } templates[32];
};
/* False: malformed. */
bool codec_read(enum codec codec, struct reader *reader, const uint8_t *payload, size_t bytes,
                const uint8_t *extension, size_t extension_bytes, struct reading *reading);

#endif
