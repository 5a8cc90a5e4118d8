/* Reads payload and dependency descriptor together. */
#include "layer.h"

#include <string.h>

#include "layer_parts.h"

/* RTP payload format for AV1, 4.4: N marks the first packet of a coded video sequence. Such a
 * packet does not continue a unit of the packet before it (Z = 0). The rest of the payload may be
 * encrypted end to end; what it holds, only the descriptor tells. */
static bool av1_read(struct cursor c, struct layer *out)
{
    enum { Z = 0x80, N = 0x08 };
    uint8_t aggregation;

    if (!take(&c, &aggregation) || c.bytes == 0)
        return false;
    out->begins_key_frame = (aggregation & N) && !(aggregation & Z);
    out->is_key_picture = out->begins_key_frame;
    out->begins_frame = out->begins_key_frame;
    out->switches_up = true;
    return true;
}

/* Adds what the descriptor says to what the payload said. */
static void merge(struct layer *out, const struct layer *described, bool tells_layers,
                  bool tells_frame)
{
    out->is_key_picture |= described->is_key_picture;
    out->has_structure = described->has_structure;
    if (!tells_frame) {
        out->begins_frame = described->begins_frame;
        out->ends_frame = described->ends_frame;
        out->picture_id = described->picture_id;
        out->picture_id_bits = described->picture_id_bits;
    }
    if (!described->has_targets)
        return;
    out->has_targets = true;
    out->target_count = described->target_count;
    out->present = described->present;
    out->switches = described->switches;
    if (!tells_layers) {
        out->spatial = described->spatial;
        out->temporal = described->temporal;
        out->switches_up = described->switches_up;
    }
}

static bool payload_read(struct layer_source *s, enum codec codec, struct cursor c, bool marker,
                         struct layer *out, bool *tells_layers, bool *tells_frame)
{
    switch (codec) {
    case CODEC_vp8:
        *tells_frame = true;
        out->ends_frame = marker;
        return vp8_read(c, out, tells_layers);
    case CODEC_vp9:
        *tells_frame = true;
        return vp9_read(s, c, out, tells_layers);
    case CODEC_h264:
        out->ends_frame = marker;
        return h264_read(c, out);
    case CODEC_av1:
        out->ends_frame = marker;
        return av1_read(c, out);
    case CODEC_none:
    case CODEC_opus:
    case CODEC_red:
    case CODEC_other:
        break;
    }
    *tells_layers = true;
    *tells_frame = true;
    *out = (struct layer){.begins_key_frame = true,
                          .is_key_picture = true,
                          .begins_frame = true,
                          .ends_frame = true,
                          .switches_up = true};
    return true;
}

bool layer_read(struct layer_source *s, enum codec codec, const uint8_t *payload, size_t bytes,
                bool marker, const uint8_t *descriptor, size_t descriptor_bytes, struct layer *out)
{
    struct cursor c = {payload, bytes};
    bool tells_layers = false, tells_frame = false;
    struct layer described;

    memset(out, 0, sizeof(*out));
    if (!payload_read(s, codec, c, marker, out, &tells_layers, &tells_frame)) {
        memset(out, 0, sizeof(*out));
        return false;
    }
    if (!s)
        return true;
    if (descriptor_bytes) {
        memset(&described, 0, sizeof(described));
        if (dependency_descriptor_read(s, descriptor, descriptor_bytes, &described))
            merge(out, &described, tells_layers, tells_frame);
    }
    if (out->spatial > s->spatial_seen)
        s->spatial_seen = out->spatial;
    if (out->temporal > s->temporal_seen)
        s->temporal_seen = out->temporal;
    return true;
}

int layer_target(const struct layer_source *s, uint8_t spatial, uint8_t temporal)
{
    const struct layer_structure *structure = &s->structure;
    int best = -1, best_layers = -1;

    if (structure->template_count == 0)
        return -1;
    for (int i = 0; i < structure->target_count; i++) {
        int layers = structure->target_spatial[i] << 4 | structure->target_temporal[i];

        if ((s->active >> i & 1) && structure->target_spatial[i] <= spatial &&
            structure->target_temporal[i] <= temporal && layers > best_layers) {
            best = i;
            best_layers = layers;
        }
    }
    return best;
}

void layer_highest(const struct layer_source *s, uint8_t *spatial, uint8_t *temporal)
{
    int target = layer_target(s, LAYER_SPATIAL_MAX, LAYER_TEMPORAL_MAX);

    *spatial = target < 0 ? s->spatial_seen : s->structure.target_spatial[target];
    *temporal = target < 0 ? s->temporal_seen : s->structure.target_temporal[target];
}
