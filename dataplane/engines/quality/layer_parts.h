/* The parsers behind layer_read, one for each file. Each fills a zeroed struct layer. */
#ifndef RINGCAST_LAYER_PARTS_H
#define RINGCAST_LAYER_PARTS_H

#include "layer.h"

/* What is left to read of a payload. */
struct cursor {
    const uint8_t *data;
    size_t bytes;
};

/* Reads one byte; false when there is none left. */
static inline bool take(struct cursor *c, uint8_t *byte)
{
    if (c->bytes == 0)
        return false;
    *byte = *c->data++;
    c->bytes--;
    return true;
}

static inline bool skip(struct cursor *c, size_t bytes)
{
    if (c->bytes < bytes)
        return false;
    c->data += bytes;
    c->bytes -= bytes;
    return true;
}

/* VP8 and VP9: the picture ID has 15 bits when its first bit is set, else 7. */
static inline bool take_picture_id(struct cursor *c, struct layer *out)
{
    uint8_t high, low;

    if (!take(c, &high))
        return false;
    out->picture_id_bits = 7;
    out->picture_id = high;
    if (!(high & 0x80))
        return true;
    out->picture_id_bits = 15;
    if (!take(c, &low))
        return false;
    out->picture_id = (uint16_t)((high & 0x7f) << 8 | low);
    return true;
}

/* False: the payload is malformed. tells_layers: the payload says which layers it belongs to. s may
 * be NULL. */
bool vp8_read(struct cursor c, struct layer *out, bool *tells_layers);
bool vp9_read(struct layer_source *s, struct cursor c, struct layer *out, bool *tells_layers);
bool h264_read(struct cursor c, struct layer *out);

/* False: the descriptor is malformed, and s is unchanged. */
bool dependency_descriptor_read(struct layer_source *s, const uint8_t *data, size_t bytes,
                                struct layer *out);

#endif
