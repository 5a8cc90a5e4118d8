/* The units of an H264 payload (RFC 6184 5.2–5.8). */
#include "layer_parts.h"

enum { TYPE = 0x1f, IDR = 5, SPS = 7, PPS = 8, STAP_A = 24, FU_A = 28 };

/* A unit, or the first fragment of one; `data` are the bytes behind its header. */
static void unit_add(struct layer *out, uint8_t type, struct cursor data)
{
    /* The number of the first macroblock of a slice is an Exp-Golomb code; a first bit of 1 is
     * number 0. Later slices of the picture have others. */
    bool is_first_slice = data.bytes > 0 && (data.data[0] & 0x80);

    out->has_sps |= type == SPS;
    out->has_pps |= type == PPS;
    out->has_idr |= type == IDR;
    out->begins_key_frame |= type == SPS || (type == IDR && is_first_slice);
}

/* STAP-A (5.7.1): each unit has its length in front. */
static bool units_read(struct cursor c, struct layer *out)
{
    uint8_t high, low;

    while (c.bytes > 0) {
        size_t unit_bytes;

        if (!take(&c, &high) || !take(&c, &low))
            return false;
        unit_bytes = (size_t)high << 8 | low;
        if (unit_bytes == 0 || unit_bytes > c.bytes)
            return false;
        unit_add(out, c.data[0] & TYPE, (struct cursor){c.data + 1, unit_bytes - 1});
        skip(&c, unit_bytes);
    }
    return true;
}

bool h264_read(struct cursor c, struct layer *out)
{
    enum { START = 0x80 };
    uint8_t header, fragment;

    if (!take(&c, &header) || c.bytes == 0)
        return false;
    if ((header & TYPE) == FU_A) {
        if (!take(&c, &fragment) || c.bytes == 0)
            return false;
        if (fragment & START)
            unit_add(out, fragment & TYPE, c);
        else
            out->has_idr = (fragment & TYPE) == IDR;
    } else if ((header & TYPE) == STAP_A) {
        if (!units_read(c, out))
            return false;
    } else {
        unit_add(out, header & TYPE, c);
    }
    out->is_key_picture = out->has_sps || out->has_idr;
    out->switches_up = true;
    return true;
}
