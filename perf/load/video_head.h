/* The codec's head in front of a video payload: payload descriptors and the first bytes of a frame,
 * as Chromium writes them; and reading them back from a forwarded packet. The reader shares no code
 * with the server's, so that a mistake there is not made here too.
 *
 *   VP8   descriptor with a 15-bit picture id; with layers also TL0PICIDX, TID and Y
 *   VP9   non-flexible mode: picture id, layer indexes, TL0PICIDX; in key frames the scalability
 *         structure
 *   H264  packetization mode 1: a key frame is a STAP-A with SPS, PPS and filler, and an IDR in FU-A;
 *         it has no layers
 *
 * Shape:   functions of bytes; no state, no I/O.
 * Threads: any.
 * Errors:  false: the bytes are truncated, or contradict the format.
 * Source:  RFC 7741 4.2, 4.3; RFC 9628 4.2; RFC 6184 5.7.1, 5.8. */
#ifndef RINGCAST_LOAD_VIDEO_HEAD_H
#define RINGCAST_LOAD_VIDEO_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIDEO_HEAD_BYTES_MAX 48

enum video_codec { VIDEO_VP8, VIDEO_VP9, VIDEO_H264 };

struct video_head {
    bool has_picture_id, has_layers, has_long_id; /* long: 15 bits, else 7 */
    bool first, last;                             /* packet of its layer frame; VP8 has no `last` */
    bool key;                                     /* read: only in the first packet */
    bool sync;                                    /* VP8: Y; VP9: U */
    bool needs_lower, helps_upper;                /* VP9: D and, inverted, Z */
    uint8_t spatial, temporal;
    uint8_t spatial_layers, at; /* write only; at: number of the packet in its layer frame */
    uint16_t rest_bytes;        /* write only: of the payload behind the head */
    uint8_t tl0_index;
    uint16_t picture_id;
};

/* Returns the bytes written. */
size_t video_head_write(enum video_codec codec, const struct video_head *head,
                        uint8_t out[VIDEO_HEAD_BYTES_MAX]);
bool video_head_read(enum video_codec codec, const uint8_t *payload, size_t bytes,
                     struct video_head *head);

/* Three temporal layers, frame by frame: 0 2 1 2. `position` counts from the latest key frame. */
struct temporal_place {
    uint8_t layer;
    uint8_t back; /* it needs the frame so many before it; 0: none, it is the key frame */
    bool sync;    /* it needs no frame of its own layer or of a higher one */
};
struct temporal_place temporal_place(uint32_t position);
#define TEMPORAL_LAYERS 3

#endif
