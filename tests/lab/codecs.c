/* VP8, VP9 and H264 as they lie in RTP packets, written and read. AV1: av1.c. */
#include "media.h"

#include <string.h>

#include "codecs.h"

/* ---- VP8 (RFC 7741 4.2) ---- */

static size_t put_picture_id(const struct frame *f, uint8_t *out)
{
    if (f->picture_bits == 15) {
        write16(out, 0x8000 | (f->picture_id & 0x7fff));
        return 2;
    }
    out[0] = f->picture_id & 0x7f;
    return 1;
}

static size_t vp8_describe(const struct frame *f, unsigned packet, uint8_t *out)
{
    static const uint8_t key[10] = {0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01};
    size_t at = 1;

    out[0] = packet == 0 ? 0x10 : 0;
    if (f->picture_bits) {
        out[0] |= 0x80;
        out[at++] = 0x80 | 0x40 | 0x20;
        at += put_picture_id(f, out + at);
        out[at++] = f->tl0;
        out[at++] = (uint8_t)(f->truth.temporal << 6 | f->layer_sync << 5);
    }
    if (packet > 0)
        return at;
    if (f->truth.is_key) {
        memcpy(out + at, key, sizeof(key));
        return at + sizeof(key);
    }
    out[at++] = 0x11;
    return at;
}

static bool take_picture_id(const uint8_t *p, size_t bytes, size_t *at, struct reading *r)
{
    if (*at >= bytes)
        return false;
    r->picture_bits = p[*at] & 0x80 ? 15 : 7;
    if (r->picture_bits == 7) {
        r->picture_id = p[(*at)++];
        return true;
    }
    if (*at + 2 > bytes)
        return false;
    r->picture_id = (int32_t)(read16(p + *at) & 0x7fff);
    *at += 2;
    return true;
}

static bool vp8_read(const uint8_t *p, size_t bytes, struct reading *r)
{
    uint8_t first = p[0], extension = 0;
    size_t at = 1;

    if (first & 0x80)
        extension = p[at++];
    if (extension & 0x80 && !take_picture_id(p, bytes, &at, r))
        return false;
    if (extension & 0x40)
        r->tl0 = p[at++];
    if (extension & 0x30) {
        r->temporal = p[at] >> 6;
        r->layer_sync = p[at] & 0x20;
        at++;
    }
    if (at >= bytes)
        return false;
    r->knows_ends = true; /* the marker says the end */
    r->frame_begins = (first & 0x17) == 0x10;
    r->is_key = r->frame_begins && !(p[at] & 1);
    return true;
}

/* ---- VP9 (RFC 9628 4.2), non-flexible mode ---- */

enum { VP9_I = 0x80, VP9_P = 0x40, VP9_L = 0x20, VP9_F = 0x10, VP9_B = 8, VP9_E = 4, VP9_V = 2 };

/* The group of pictures of one, two and three temporal layers: temporal layer, U, differences. */
struct group_picture {
    uint8_t temporal, sync, count, difference[2];
};
static const struct group_picture vp9_groups[4][4] = {
    {{0}},
    {{0, 0, 1, {1}}},
    {{0, 0, 1, {2}}, {1, 1, 1, {1}}},
    {{0, 0, 1, {4}}, {2, 1, 1, {1}}, {1, 1, 1, {2}}, {2, 0, 1, {1}}},
};
static const uint8_t vp9_group_sizes[4] = {0, 1, 2, 4};

static size_t vp9_structure(const struct frame *f, uint8_t *out)
{
    unsigned size = vp9_group_sizes[f->temporal_layers];
    size_t at = 0;

    out[at++] = (uint8_t)((f->spatial_layers - 1) << 5 | 0x10 | 0x08);
    for (unsigned i = 0; i < f->spatial_layers; i++, at += 4) {
        write16(out + at, 320u << i);
        write16(out + at + 2, 180u << i);
    }
    out[at++] = (uint8_t)size;
    for (unsigned i = 0; i < size; i++) {
        const struct group_picture *g = &vp9_groups[f->temporal_layers][i];

        out[at++] = (uint8_t)(g->temporal << 5 | g->sync << 4 | g->count << 2);
        for (unsigned k = 0; k < g->count; k++)
            out[at++] = g->difference[k];
    }
    return at;
}

static size_t vp9_describe(const struct frame *f, unsigned packet, uint8_t *out)
{
    bool first = packet == 0, last = packet + 1u == f->truth.packets;
    bool structure = first && f->truth.is_key && f->truth.spatial == 0;
    bool predicted = false;
    size_t at = 1;

    for (unsigned i = f->inter_layer; i < REFERENCES_MAX; i++)
        predicted |= f->truth.references[i] != 0;
    out[0] = (uint8_t)(VP9_I | (predicted ? VP9_P : 0) | VP9_L | (first ? VP9_B : 0) |
                       (last ? VP9_E : 0) | (structure ? VP9_V : 0));
    at += put_picture_id(f, out + at);
    out[at++] = (uint8_t)(f->truth.temporal << 5 | f->layer_sync << 4 | f->truth.spatial << 1 |
                          f->inter_layer);
    out[at++] = f->tl0;
    if (structure)
        at += vp9_structure(f, out + at);
    out[at++] = 0x82; /* frame marker of VP9 */
    return at;
}

static bool vp9_read_structure(struct reader *reader, const uint8_t *p, size_t bytes, size_t *at,
                               int32_t picture_id)
{
    uint8_t head = p[(*at)++];

    if (head & 0x10)
        *at += 4 * (size_t)((head >> 5) + 1);
    reader->has_structure = true;
    reader->base_picture_id = picture_id;
    reader->group_size = 0;
    if (!(head & 0x08))
        return true;
    if (*at >= bytes || p[*at] > 8)
        return false;
    reader->group_size = p[(*at)++];
    for (unsigned i = 0; i < reader->group_size; i++) {
        if (*at >= bytes)
            return false;
        reader->group_temporal[i] = p[*at] >> 5;
        reader->group_sync[i] = p[*at] >> 4 & 1;
        reader->group_count[i] = p[*at] >> 2 & 3;
        (*at)++;
        for (unsigned k = 0; k < reader->group_count[i]; k++, (*at)++)
            reader->group_difference[i][k] = p[*at];
    }
    return *at < bytes;
}

static bool vp9_read(struct reader *reader, const uint8_t *p, size_t bytes, struct reading *r)
{
    uint8_t first = p[0];
    size_t at = 1;

    if ((first & (VP9_I | VP9_L | VP9_F)) != (VP9_I | VP9_L) || !take_picture_id(p, bytes, &at, r))
        return false;
    r->temporal = p[at] >> 5;
    r->layer_sync = p[at] & 0x10;
    r->spatial = p[at] >> 1 & 7;
    r->inter_layer = p[at++] & 1;
    r->tl0 = p[at++];
    r->knows_ends = true;
    r->frame_begins = first & VP9_B;
    r->frame_ends = first & VP9_E;
    r->is_predicted = first & VP9_P;
    r->is_key = r->frame_begins && !r->is_predicted && r->spatial == 0;
    if (first & VP9_V && !vp9_read_structure(reader, p, bytes, &at, r->picture_id))
        return false;
    if (reader->group_size && r->is_predicted) {
        unsigned modulus = 1u << r->picture_bits;
        unsigned i = ((uint32_t)(r->picture_id - reader->base_picture_id) & (modulus - 1)) %
                     reader->group_size;

        for (unsigned k = 0; k < reader->group_count[i]; k++)
            r->differences[k] = reader->group_difference[i][k];
    }
    return at < bytes;
}

/* ---- H264 (RFC 6184): a key frame is SPS, PPS and IDR slices ---- */

static size_t h264_describe(const struct frame *f, unsigned packet, size_t behind, uint8_t *out)
{
    static const uint8_t parameters[] = {24, 0, 4,    0x67, 0x42, 0xe0, 0x1f,
                                         0,  4, 0x68, 0xce, 6,    0xe2};
    bool key = f->truth.is_key;
    unsigned slice = packet - key; /* a key frame begins with its parameter sets */
    unsigned slices = f->truth.packets - key;

    if (key && packet == 0) { /* the last unit of the STAP-A holds the filling: SEI */
        memcpy(out, parameters, sizeof(parameters));
        write16(out + sizeof(parameters), (uint32_t)behind + 1);
        out[sizeof(parameters) + 2] = 0x06;
        return sizeof(parameters) + 3;
    }
    if (slices == 1) {
        out[0] = key ? 0x65 : 0x41;
        return 1;
    }
    out[0] = key ? 0x7c : 0x5c;
    out[1] = (uint8_t)((slice == 0 ? 0x80 : 0) | (slice + 1 == slices ? 0x40 : 0) | (key ? 5 : 1));
    return 2;
}

static void h264_unit(uint8_t type, struct reading *r)
{
    r->has_parameters |= type == 7;
    r->has_picture |= type == 1 || type == 5;
    r->is_key |= type == 5;
}

static bool h264_read(const uint8_t *p, size_t bytes, struct reading *r)
{
    uint8_t type = p[0] & 0x1f;

    if (type == 28) {
        h264_unit(p[1] & 0x1f, r);
    } else if (type != 24) {
        h264_unit(type, r);
    } else {
        for (size_t at = 1; at + 2 < bytes; at += 2 + read16(p + at)) {
            if (at + 2 + read16(p + at) > bytes || read16(p + at) == 0)
                break; /* the filling */
            h264_unit(p[at + 2] & 0x1f, r);
        }
    }
    return true;
}

/* ---- all ---- */

size_t codec_describe(enum codec codec, const struct frame *frame, unsigned packet, size_t behind,
                      uint8_t out[64], uint8_t extension[128], size_t *extension_bytes)
{
    *extension_bytes = 0;
    switch (codec) {
    case CODEC_vp8:
        return vp8_describe(frame, packet, out);
    case CODEC_vp9:
        return vp9_describe(frame, packet, out);
    case CODEC_h264:
        return h264_describe(frame, packet, behind, out);
    case CODEC_av1:
        return av1_describe(frame, packet, out, extension, extension_bytes);
    default:
        out[0] = 0x78; /* Opus: one frame of 20 ms */
        return 1;
    }
}

bool codec_read(enum codec codec, struct reader *reader, const uint8_t *payload, size_t bytes,
                const uint8_t *extension, size_t extension_bytes, struct reading *reading)
{
    *reading = (struct reading){.picture_id = NO_ID, .tl0 = NO_ID, .number = NO_ID};
    if (bytes < 16)
        return false;
    switch (codec) {
    case CODEC_vp8:
        return vp8_read(payload, bytes, reading);
    case CODEC_vp9:
        return vp9_read(reader, payload, bytes, reading);
    case CODEC_h264:
        return h264_read(payload, bytes, reading);
    case CODEC_av1:
        return av1_read(reader, payload, bytes, extension, extension_bytes, reading);
    default:
        return true;
    }
}
