/* Finds the payloads with which a key frame begins. Looks only at their first bytes. */
#include "rtp.h"

struct cursor {
    const uint8_t *data;
    size_t bytes;
};

/* Reads one byte; false when there is none left. */
static bool take(struct cursor *c, uint8_t *byte)
{
    if (c->bytes == 0)
        return false;
    *byte = *c->data++;
    c->bytes--;
    return true;
}

static bool skip(struct cursor *c, size_t bytes)
{
    if (c->bytes < bytes)
        return false;
    c->data += bytes;
    c->bytes -= bytes;
    return true;
}

/* VP8 and VP9: the picture ID has 15 bits when its first bit is set, else 7. */
static bool skip_picture_id(struct cursor *c)
{
    uint8_t byte;

    return take(c, &byte) && (!(byte & 0x80) || take(c, &byte));
}

/* RFC 7741 4.2 (descriptor), 4.3 (payload header): the first packet of the first partition of a
 * frame that is not predicted from another frame (P = 0). */
static bool vp8_is_key_frame(struct cursor c)
{
    enum { X = 0x80, S = 0x10, PID = 0x07, I = 0x80, L = 0x40, T = 0x20, K = 0x10, P = 0x01 };
    uint8_t first, extension, header;

    if (!take(&c, &first) || !(first & S) || (first & PID) != 0)
        return false;
    if (first & X) {
        if (!take(&c, &extension))
            return false;
        if ((extension & I) && !skip_picture_id(&c))
            return false;
        if ((extension & L) && !skip(&c, 1))
            return false;
        if ((extension & (T | K)) && !skip(&c, 1))
            return false;
    }
    return take(&c, &header) && !(header & P);
}

/* RFC 9628 4.2: the first packet (B) of a layer frame that is not predicted from another picture
 * (P = 0). It must be of the lowest spatial layer, because a decoder cannot begin with another. */
static bool vp9_is_key_frame(struct cursor c)
{
    enum { I = 0x80, P = 0x40, L = 0x20, F = 0x10, B = 0x08 };
    uint8_t first, layer = 0;

    if (!take(&c, &first) || (first & P) || !(first & B))
        return false;
    if ((first & I) && !skip_picture_id(&c))
        return false;
    if (first & L) {
        if (!take(&c, &layer))
            return false;
        if (!(first & F) && !skip(&c, 1)) /* TL0PICIDX exists only in non-flexible mode */
            return false;
    }
    return c.bytes > 0 && (layer >> 1 & 7) == 0;
}

/* An IDR slice, or the sequence parameter set: encoders send it just in front of the IDR slice, and
 * a decoder needs both. */
static bool h264_unit_is_key(uint8_t type)
{
    enum { IDR = 5, SPS = 7 };

    return type == IDR || type == SPS;
}

/* RFC 6184 5.4: a single unit, a STAP-A (5.7.1) with such a unit in it, or the first fragment
 * (FU-A, 5.8) of one. */
static bool h264_is_key_frame(struct cursor c)
{
    enum { TYPE = 0x1f, STAP_A = 24, FU_A = 28, START = 0x80 };
    uint8_t header, fu, high, low;

    if (!take(&c, &header) || c.bytes == 0)
        return false;
    if ((header & TYPE) == FU_A)
        return take(&c, &fu) && c.bytes > 0 && (fu & START) && h264_unit_is_key(fu & TYPE);
    if ((header & TYPE) != STAP_A)
        return h264_unit_is_key(header & TYPE);
    while (c.bytes > 0) {
        size_t unit_bytes;

        if (!take(&c, &high) || !take(&c, &low))
            return false;
        unit_bytes = (size_t)high << 8 | low;
        if (unit_bytes == 0 || unit_bytes > c.bytes)
            return false;
        if (h264_unit_is_key(c.data[0] & TYPE))
            return true;
        if (!skip(&c, unit_bytes))
            return false;
    }
    return false;
}

/* RTP payload format for AV1, 4.4: N marks the first packet of a coded video sequence. Such a
 * packet does not continue a unit of the packet before it (Z = 0). */
static bool av1_is_key_frame(struct cursor c)
{
    enum { Z = 0x80, N = 0x08 };
    uint8_t aggregation;

    return take(&c, &aggregation) && c.bytes > 0 && (aggregation & N) && !(aggregation & Z);
}

bool rtp_payload_is_key_frame(enum codec codec, const uint8_t *payload, size_t bytes)
{
    struct cursor c = {payload, bytes};

    switch (codec) {
    case CODEC_vp8:
        return vp8_is_key_frame(c);
    case CODEC_vp9:
        return vp9_is_key_frame(c);
    case CODEC_h264:
        return h264_is_key_frame(c);
    case CODEC_av1:
        return av1_is_key_frame(c);
    case CODEC_none:
    case CODEC_opus:
    case CODEC_red:
    case CODEC_other:
        break;
    }
    return true;
}
