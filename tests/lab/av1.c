/* AV1 in RTP packets: aggregation header and dependency descriptor (RTP payload format for AV1, 4.4 and
 * A.8), of the structures LxTy_KEY: layers of a key picture are predicted from each other, those of other
 * pictures are not. */
#include "codecs.h"

#include <string.h>

#include "bits.h"

enum { DESCRIPTOR_BITS = 128 * 8 };

static unsigned templates_of(const struct frame *f)
{
    return f->spatial_layers * (f->temporal_layers + 1u);
}

/* The templates of a spatial layer: first its frame in a key picture, then one for each temporal layer.
 * Within a picture the layers count up, so a picture is spatial_layers numbers long. */
static void put_structure(struct bits *b, const struct frame *f)
{
    unsigned spatial = f->spatial_layers, temporal = f->temporal_layers,
             targets = spatial * temporal;

    bits_put(b, 6, 0);           /* template_id_offset */
    bits_put(b, 5, targets - 1); /* dt_cnt_minus_one */
    for (unsigned s = 0, i = 0; s < spatial; s++)
        for (unsigned t = 0; t <= temporal; t++, i++)
            if (i + 1 == templates_of(f))
                bits_put(b, 2, 3);
            else /* 0: same layer, 1: next temporal layer, 2: next spatial layer */
                bits_put(b, 2, t == temporal ? 2 : t == 0 ? 0 : 1);
    for (unsigned s = 0; s < spatial; s++)
        for (unsigned t = 0; t <= temporal; t++)
            for (unsigned target = 0; target < targets; target++) {
                unsigned ts = target / temporal, tt = target % temporal, frame_t = t ? t - 1 : 0;
                unsigned is_key = t == 0;
                unsigned wanted = is_key ? ts >= s : ts == s && tt >= frame_t;

                bits_put(b, 2, !wanted ? 0 : frame_t && tt == frame_t ? 1 : 2);
            }
    for (unsigned s = 0; s < spatial; s++)
        for (unsigned t = 0; t <= temporal; t++) {
            if (t == 0 && s > 0) { /* the layer below */
                bits_put(b, 1, 1);
                bits_put(b, 4, 0);
            }
            bits_put(b, 1, 0);
        }
    bits_put_below(b, targets + 1, 0); /* no chains */
    bits_put(b, 1, 1);                 /* resolutions */
    for (unsigned s = 0; s < spatial; s++) {
        bits_put(b, 16, (320u << s) - 1);
        bits_put(b, 16, (180u << s) - 1);
    }
}

size_t av1_describe(const struct frame *f, unsigned packet, uint8_t *out, uint8_t *extension,
                    size_t *extension_bytes)
{
    bool first = packet == 0, last = packet + 1u == f->truth.packets;
    bool structure = first && f->truth.is_key && f->truth.spatial == 0;
    struct bits b = {.data = extension, .end = DESCRIPTOR_BITS};
    unsigned id = f->truth.spatial * (f->temporal_layers + 1u) +
                  (f->truth.is_key ? 0 : f->truth.temporal + 1u);

    memset(extension, 0, DESCRIPTOR_BITS / 8);
    bits_put(&b, 1, first);
    bits_put(&b, 1, last);
    bits_put(&b, 6, id);
    bits_put(&b, 16, f->number);
    if (structure || (first && !f->truth.is_key)) {
        bits_put(&b, 1, structure);
        bits_put(&b, 1, 0); /* active_decode_targets_present */
        bits_put(&b, 1, 0);
        bits_put(&b, 1, !f->truth.is_key); /* custom_fdiffs: the distance depends on the pattern */
        bits_put(&b, 1, 0);
        if (structure)
            put_structure(&b, f);
        if (!f->truth.is_key) {
            for (unsigned i = 0; i < REFERENCES_MAX && f->differences[i]; i++) {
                unsigned minus_one = f->differences[i] - 1u;

                bits_put(&b, 2, minus_one < 16 ? 1 : 2);
                bits_put(&b, minus_one < 16 ? 4 : 8, minus_one);
            }
            bits_put(&b, 2, 0);
        }
    }
    *extension_bytes = (b.at + 7) / 8;
    /* Z: continues, Y: goes on, W = 1, N: a coded video sequence begins. */
    out[0] = (uint8_t)((first ? 0 : 0x80) | (last ? 0 : 0x40) | 0x10 | (structure ? 0x08 : 0));
    out[1] = 0x30; /* OBU_FRAME without size */
    return 2;
}

/* ---- reading ---- */

static bool take_structure(struct reader *reader, struct bits *b)
{
    unsigned spatial = 0, temporal = 0, next, chains;
    uint8_t spatial_layers;

    reader->template_offset = (uint8_t)bits_take(b, 6);
    reader->target_count = (uint8_t)(bits_take(b, 5) + 1);
    reader->template_count = 0;
    if (reader->target_count > 16)
        return false;
    do {
        if (reader->template_count == 32)
            return false;
        reader->templates[reader->template_count].spatial = (uint8_t)spatial;
        reader->templates[reader->template_count++].temporal = (uint8_t)temporal;
        next = bits_take(b, 2);
        if (next == 1) {
            temporal++;
        } else if (next == 2) {
            spatial++;
            temporal = 0;
        }
    } while (next != 3 && !b->overrun);
    spatial_layers = (uint8_t)(spatial + 1);
    for (unsigned i = 0; i < reader->template_count; i++)
        for (unsigned k = 0; k < reader->target_count; k++)
            reader->templates[i].indication[k] = (uint8_t)bits_take(b, 2);
    for (unsigned i = 0; i < reader->template_count; i++) {
        reader->templates[i].count = 0;
        while (bits_take(b, 1)) {
            if (reader->templates[i].count == REFERENCES_MAX)
                return false;
            reader->templates[i].difference[reader->templates[i].count++] =
                (uint8_t)(bits_take(b, 4) + 1);
        }
    }
    chains = bits_take_below(b, reader->target_count + 1u);
    if (chains) {
        for (unsigned k = 0; k < reader->target_count; k++)
            bits_take_below(b, chains);
        for (unsigned i = 0; i < reader->template_count * chains; i++)
            bits_take(b, 4);
    }
    if (bits_take(b, 1))
        for (unsigned i = 0; i < spatial_layers; i++)
            bits_take(b, 32);
    reader->has_structure = true;
    return !b->overrun;
}

static bool take_extended(struct reader *reader, struct bits *b, struct reading *r,
                          bool *custom_differences, bool *has_structure)
{
    bool structure = bits_take(b, 1), targets = bits_take(b, 1),
         custom_indications = bits_take(b, 1);

    *custom_differences = bits_take(b, 1);
    *has_structure = structure;
    bits_take(b, 1); /* custom_chains: there are none */
    if (structure && !take_structure(reader, b))
        return false;
    if (!reader->has_structure)
        return true; /* the rest cannot be read */
    if (structure) {
        r->has_targets = true;
        r->wanted_targets = (1u << reader->target_count) - 1;
    }
    if (targets) {
        r->has_targets = true;
        r->wanted_targets = bits_take(b, reader->target_count);
    }
    if (custom_indications)
        bits_take(b, 2u * reader->target_count);
    if (*custom_differences) {
        unsigned width, count = 0;

        while ((width = bits_take(b, 2)) != 0) {
            if (count == REFERENCES_MAX)
                return false;
            r->differences[count++] = (uint16_t)(bits_take(b, 4 * width) + 1);
        }
    }
    return !b->overrun;
}

bool av1_read(struct reader *reader, const uint8_t *payload, size_t bytes, const uint8_t *extension,
              size_t extension_bytes, struct reading *r)
{
    struct bits b = {.data = (uint8_t *)extension, .end = extension_bytes * 8};
    bool custom_differences = false, structure = false;
    unsigned id;

    if (extension_bytes < 3) { /* without a descriptor: each frame follows the one before it */
        r->is_key = (payload[0] & 0x88) == 0x08;
        r->has_picture = true;
        return true;
    }
    r->knows_ends = true;
    r->frame_begins = bits_take(&b, 1);
    r->frame_ends = bits_take(&b, 1);
    id = bits_take(&b, 6);
    r->number = (int32_t)bits_take(&b, 16);
    if (extension_bytes > 3 && !take_extended(reader, &b, r, &custom_differences, &structure))
        return false;
    if (!reader->has_structure) {
        r->is_unknown = true;
        return true;
    }
    id = (id + 64u - reader->template_offset) % 64;
    if (id >= reader->template_count)
        return false;
    r->spatial = reader->templates[id].spatial;
    r->temporal = reader->templates[id].temporal;
    if (!custom_differences)
        for (unsigned i = 0; i < reader->templates[id].count; i++)
            r->differences[i] = reader->templates[id].difference[i];
    r->is_predicted = r->differences[0] != 0;
    r->is_key = structure && r->frame_begins && !r->is_predicted && r->spatial == 0;
    return true;
}
