/* uses: dataplane */
/* Reads a stream of packets with arbitrary payloads and dependency descriptors through one source.
 * Input: codec, then packets of {flags, descriptor bytes, payload bytes, descriptor, payload}. What
 * is read must be in range, and VP8 numbers must be where the parser says. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/quality/layer.h"

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void check_rewrite(const uint8_t *payload, size_t bytes, const struct layer *l)
{
    struct layer again;
    uint8_t *copy = malloc(bytes);

    memcpy(copy, payload, bytes);
    layer_vp8_rewrite(copy, l, 0x7abc, 0x5a);
    require(layer_read(NULL, CODEC_vp8, copy, bytes, false, NULL, 0, &again));
    require(again.picture_id_bits == l->picture_id_bits && again.tl0_at == l->tl0_at);
    require(again.picture_id == (0x7abc & ((1u << l->picture_id_bits) - 1)));
    require(again.tl0 == (l->tl0_at ? 0x5a : 0));
    layer_vp8_rewrite(copy, l, l->picture_id, l->tl0);
    require(memcmp(copy, payload, bytes) == 0);
    free(copy);
}

static void check(const struct layer_source *s, const struct layer *l)
{
    uint8_t spatial, temporal;
    int target = layer_target(s, l->spatial, l->temporal);

    require(l->spatial <= 7 && l->temporal <= LAYER_TEMPORAL_MAX);
    require((l->switches & ~l->present) == 0);
    require(!l->begins_key_frame || l->is_key_picture);
    require(target >= -1 && target < (int)s->structure.target_count);
    require(target < 0 || s->structure.target_spatial[target] <= l->spatial);
    layer_highest(s, &spatial, &temporal);
    require(spatial <= 7 && temporal <= LAYER_TEMPORAL_MAX);
}

/* A descriptor with another mask says the same of the frame. */
static void check_write(const struct layer_source *before, enum codec codec, const uint8_t *payload,
                        size_t payload_bytes, bool marker, const uint8_t *descriptor, size_t bytes,
                        const struct layer *l)
{
    uint8_t *out = malloc(bytes + LAYER_DESCRIPTOR_GROWTH_MAX);
    struct layer_source s = *before;
    struct layer again;
    size_t size = layer_descriptor_write(l, 0x5a5a5a5a, descriptor, bytes, out);

    require(size > 0 && size <= bytes + LAYER_DESCRIPTOR_GROWTH_MAX);
    require(layer_read(&s, codec, payload, payload_bytes, marker, out, size, &again));
    require(memcmp(&again, l, sizeof(*l)) == 0);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct layer zero;
    struct layer_source source = {0}, before;
    struct layer l;
    enum codec codec;

    if (bytes < 1)
        return 0;
    codec = (enum codec)(data[0] % (CODEC_other + 1));
    for (data++, bytes--; bytes >= 3;) {
        bool marker = data[0] & 1;
        size_t descriptor_bytes = data[1], payload_bytes = data[2];
        uint8_t *descriptor, *payload;

        data += 3, bytes -= 3;
        descriptor_bytes = descriptor_bytes > bytes ? bytes : descriptor_bytes;
        payload_bytes =
            payload_bytes > bytes - descriptor_bytes ? bytes - descriptor_bytes : payload_bytes;
        /* Copies, so that a sanitizer notices overruns. */
        descriptor = malloc(descriptor_bytes + 1);
        payload = malloc(payload_bytes + 1);
        memcpy(descriptor, data, descriptor_bytes);
        memcpy(payload, data + descriptor_bytes, payload_bytes);
        descriptor = realloc(descriptor, descriptor_bytes ? descriptor_bytes : 1);
        payload = realloc(payload, payload_bytes ? payload_bytes : 1);
        before = source;
        if (layer_read(&source, codec, payload, payload_bytes, marker, descriptor, descriptor_bytes,
                       &l)) {
            check(&source, &l);
            if (codec == CODEC_vp8)
                check_rewrite(payload, payload_bytes, &l);
            if (l.has_targets)
                check_write(&before, codec, payload, payload_bytes, marker, descriptor,
                            descriptor_bytes, &l);
        } else {
            require(memcmp(&l, &zero, sizeof(l)) == 0);
        }
        free(descriptor);
        free(payload);
        data += descriptor_bytes + payload_bytes;
        bytes -= descriptor_bytes + payload_bytes;
    }
    return 0;
}
