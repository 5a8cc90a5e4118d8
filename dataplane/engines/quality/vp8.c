/* The payload descriptor of VP8 (RFC 7741 4.2, 4.3), and new numbers in it. */
#include "layer_parts.h"

bool vp8_read(struct cursor c, struct layer *out, bool *tells_layers)
{
    enum { X = 0x80, S = 0x10, PID = 0x07, I = 0x80, L = 0x40, T = 0x20, K = 0x10, Y = 0x20 };
    enum { P = 0x01 };
    const uint8_t *payload = c.data;
    uint8_t first, extension = 0, layers = 0;

    if (!take(&c, &first) || ((first & X) && !take(&c, &extension)))
        return false;
    if (extension & I) {
        out->picture_id_at = (uint8_t)(c.data - payload);
        if (!take_picture_id(&c, out))
            return false;
    }
    if (extension & L) {
        out->tl0_at = (uint8_t)(c.data - payload);
        if (!take(&c, &out->tl0))
            return false;
    }
    if ((extension & (T | K)) && !take(&c, &layers))
        return false;
    if (c.bytes == 0)
        return false;
    *tells_layers = extension & T;
    out->temporal = *tells_layers ? layers >> 6 : 0;
    /* Y: the frame needs only frames of temporal layer 0. */
    out->switches_up = out->temporal == 0 || (layers & Y);
    out->begins_frame = (first & S) && (first & PID) == 0;
    out->begins_key_frame = out->begins_frame && !(c.data[0] & P);
    out->is_key_picture = out->begins_key_frame;
    return true;
}

void layer_vp8_rewrite(uint8_t *payload, const struct layer *l, uint16_t picture_id, uint8_t tl0)
{
    if (l->picture_id_at != 0 && l->picture_id_bits == 15) {
        payload[l->picture_id_at] = (uint8_t)(0x80 | picture_id >> 8);
        payload[l->picture_id_at + 1] = (uint8_t)picture_id;
    } else if (l->picture_id_at != 0) {
        payload[l->picture_id_at] = picture_id & 0x7f;
    }
    if (l->tl0_at != 0)
        payload[l->tl0_at] = tl0;
}
