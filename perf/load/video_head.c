/* Payload descriptors of VP8, VP9 and H264. */
#include "video_head.h"

#include <string.h>

/* ---- layers ---- */

struct temporal_place temporal_place(uint32_t position)
{
    static const struct temporal_place cycle[4] = {
        {0, 4, false}, {2, 1, true}, {1, 2, true}, {2, 1, false}};
    struct temporal_place place = cycle[position % 4];

    if (position == 0)
        place.back = 0;
    return place;
}

/* ---- writing ---- */

/* A frame tag of VP8 follows, in a key frame also the start code and the size (640 x 480). */
static size_t write_vp8(const struct video_head *h, uint8_t *p)
{
    static const uint8_t key_head[] = {0xb0, 0x74, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01};
    static const uint8_t frame_tag[] = {0xd1, 0x2a, 0x00};
    bool is_droppable = h->has_layers && h->temporal == TEMPORAL_LAYERS - 1;
    size_t n = 4;

    p[0] = (uint8_t)(0x80 | (is_droppable ? 0x20 : 0) | (h->first ? 0x10 : 0));
    p[1] = h->has_layers ? 0xe0 : 0x80;
    p[2] = (uint8_t)(0x80 | h->picture_id >> 8);
    p[3] = (uint8_t)h->picture_id;
    if (h->has_layers) {
        p[n++] = h->tl0_index;
        p[n++] = (uint8_t)(h->temporal << 6 | (h->sync ? 0x20 : 0));
    }
    if (!h->first)
        return n;
    if (h->key)
        memcpy(p + n, key_head, sizeof(key_head));
    else
        memcpy(p + n, frame_tag, sizeof(frame_tag));
    return n + (h->key ? sizeof(key_head) : sizeof(frame_tag));
}

/* The scalability structure: the sizes of the layers, and the cycle of temporal_place. */
static size_t write_vp9_structure(const struct video_head *h, uint8_t *p)
{
    size_t n = 0;

    p[n++] = (uint8_t)((h->spatial_layers - 1) << 5 | 0x10 | 0x08);
    for (unsigned s = 0; s < h->spatial_layers; s++) {
        unsigned width = 1280u >> (h->spatial_layers - 1 - s);
        unsigned height = 720u >> (h->spatial_layers - 1 - s);

        p[n++] = (uint8_t)(width >> 8);
        p[n++] = (uint8_t)width;
        p[n++] = (uint8_t)(height >> 8);
        p[n++] = (uint8_t)height;
    }
    p[n++] = 4;
    for (uint32_t i = 4; i < 8; i++) { /* a whole cycle that does not begin with a key frame */
        struct temporal_place place = temporal_place(i);

        p[n++] = (uint8_t)(place.layer << 5 | (place.sync ? 0x10 : 0) | 1 << 2);
        p[n++] = place.back;
    }
    return n;
}

static size_t write_vp9(const struct video_head *h, uint8_t *p)
{
    bool has_structure = h->key && h->first && h->spatial == 0;
    size_t n = 5;

    p[0] =
        (uint8_t)(0x80 | (h->key ? 0 : 0x40) | 0x20 | (h->first ? 0x08 : 0) | (h->last ? 0x04 : 0) |
                  (has_structure ? 0x02 : 0) | (h->helps_upper ? 0 : 0x01));
    p[1] = (uint8_t)(0x80 | h->picture_id >> 8);
    p[2] = (uint8_t)h->picture_id;
    p[3] = (uint8_t)(h->temporal << 5 | (h->sync ? 0x10 : 0) | h->spatial << 1 | h->needs_lower);
    p[4] = h->tl0_index;
    if (has_structure)
        n += write_vp9_structure(h, p + n);
    if (!h->first)
        return n;
    /* The uncompressed header of profile 0. Only the lowest layer of a key picture is a key frame
     * in itself. */
    if (h->key && h->spatial == 0) {
        memcpy(p + n, "\x82\x49\x83\x42", 4);
        return n + 4;
    }
    p[n++] = 0x86;
    return n;
}

/* The filler unit (type 12) holds the rest of the payload. */
static size_t write_h264(const struct video_head *h, uint8_t *p)
{
    static const uint8_t parameter_sets[] = {0x78, 0x00, 0x07, 0x67, 0x42, 0xe0, 0x1f, 0x8c,
                                             0x68, 0x05, 0x00, 0x04, 0x68, 0xce, 0x3c, 0x80};
    size_t n = sizeof(parameter_sets);
    bool starts = h->at == (h->key ? 1 : 0);

    if (h->key && h->at == 0) {
        memcpy(p, parameter_sets, n);
        p[n++] = (uint8_t)((h->rest_bytes + 1) >> 8);
        p[n++] = (uint8_t)(h->rest_bytes + 1);
        p[n++] = 0x0c;
        return n;
    }
    p[0] = h->key ? 0x7c : 0x5c;
    p[1] = (uint8_t)((starts ? 0x80 : 0) | (h->last ? 0x40 : 0) | (h->key ? 5 : 1));
    if (!starts)
        return 2;
    p[2] = h->key ? 0x88 : 0x9a; /* the head of a slice that begins with the first macroblock */
    return 3;
}

size_t video_head_write(enum video_codec codec, const struct video_head *head,
                        uint8_t out[VIDEO_HEAD_BYTES_MAX])
{
    switch (codec) {
    case VIDEO_VP8:
        return write_vp8(head, out);
    case VIDEO_VP9:
        return write_vp9(head, out);
    default:
        return write_h264(head, out);
    }
}

/* ---- reading ---- */

static bool read_picture_id(const uint8_t *p, size_t bytes, size_t *n, struct video_head *h)
{
    if (*n >= bytes)
        return false;
    h->has_picture_id = true;
    h->has_long_id = p[*n] & 0x80;
    h->picture_id = p[(*n)++] & 0x7f;
    if (!h->has_long_id)
        return true;
    if (*n >= bytes)
        return false;
    h->picture_id = (uint16_t)(h->picture_id << 8 | p[(*n)++]);
    return true;
}

static bool read_vp8(const uint8_t *p, size_t bytes, struct video_head *h)
{
    uint8_t extension = 0;
    size_t n = 1;

    if (bytes < 2)
        return false;
    h->first = (p[0] & 0x10) && (p[0] & 7) == 0;
    if (p[0] & 0x80)
        extension = p[n++];
    if ((extension & 0x80) && !read_picture_id(p, bytes, &n, h))
        return false;
    h->has_layers = (extension & 0x60) == 0x60;
    if (extension & 0x40) {
        if (n >= bytes)
            return false;
        h->tl0_index = p[n++];
    }
    if (extension & 0x30) {
        if (n >= bytes)
            return false;
        h->temporal = p[n] >> 6;
        h->sync = p[n++] & 0x20;
    }
    if (n >= bytes)
        return false;
    h->key = h->first && !(p[n] & 1);
    return true;
}

static bool read_vp9(const uint8_t *p, size_t bytes, struct video_head *h)
{
    size_t n = 1;

    if (bytes < 2)
        return false;
    h->first = p[0] & 0x08;
    h->last = p[0] & 0x04;
    h->key = !(p[0] & 0x40) && h->first;
    if ((p[0] & 0x80) && !read_picture_id(p, bytes, &n, h))
        return false;
    if (p[0] & 0x20) {
        if (n >= bytes)
            return false;
        h->has_layers = true;
        h->temporal = p[n] >> 5;
        h->sync = p[n] & 0x10;
        h->spatial = p[n] >> 1 & 7;
        h->needs_lower = p[n++] & 1;
        h->helps_upper = !(p[0] & 0x01);
        if (!(p[0] & 0x10)) {
            if (n >= bytes)
                return false;
            h->tl0_index = p[n++];
        }
    }
    return n < bytes;
}

static bool read_h264(const uint8_t *p, size_t bytes, struct video_head *h)
{
    enum { STAP_A = 24, FU_A = 28, SPS = 7, IDR = 5 };
    uint8_t type;

    if (bytes < 4)
        return false;
    type = p[0] & 0x1f;
    h->key = type == STAP_A && (p[3] & 0x1f) == SPS;
    h->first = type != FU_A || ((p[1] & 0x80) && (p[1] & 0x1f) != IDR);
    h->last = type != STAP_A && (type != FU_A || (p[1] & 0x40));
    return true;
}

bool video_head_read(enum video_codec codec, const uint8_t *payload, size_t bytes,
                     struct video_head *head)
{
    *head = (struct video_head){0};
    switch (codec) {
    case VIDEO_VP8:
        return read_vp8(payload, bytes, head);
    case VIDEO_VP9:
        return read_vp9(payload, bytes, head);
    default:
        return read_h264(payload, bytes, head);
    }
}
