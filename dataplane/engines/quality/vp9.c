/* The payload descriptor of VP9 (RFC 9628 4.2). */
#include "layer_parts.h"

/* Up to three distances to the pictures that this one is predicted from (flexible mode). */
static bool skip_differences(struct cursor *c)
{
    enum { N = 0x01, DIFFERENCES_MAX = 3 };
    uint8_t difference = N;

    for (unsigned i = 0; i < DIFFERENCES_MAX && (difference & N); i++)
        if (!take(c, &difference))
            return false;
    return !(difference & N);
}

/* The scalability structure: sizes of the spatial layers, and how pictures are predicted. */
static bool read_structure(struct cursor *c, struct layer *out)
{
    enum { Y = 0x10, G = 0x08, SIZE_BYTES = 4 };
    uint8_t first, pictures = 0, picture;

    if (!take(c, &first))
        return false;
    out->spatial_count = (uint8_t)((first >> 5) + 1);
    if ((first & Y) && !skip(c, ((first >> 5) + 1u) * SIZE_BYTES))
        return false;
    if ((first & G) && !take(c, &pictures))
        return false;
    while (pictures-- > 0)
        if (!take(c, &picture) || !skip(c, picture >> 2 & 3))
            return false;
    return true;
}

/* May a receiver of lower temporal layers take this picture? The bit U of a picture says: pictures
 * of higher temporal layers that follow are not predicted from pictures of those layers before it.
 * So the next picture of such a layer is where one may switch, and the one after that is not.
 * `fresh` knows the layers whose next picture that is. */
static void picture_add(struct layer_source *s, const struct layer *out, bool switching_point)
{
    unsigned from_here_up = 0xffu << out->temporal;

    s->has_picture = true;
    s->picture_id = out->picture_id;
    s->base_is_predicted = false;
    s->picture_switches = s->fresh >> out->temporal & 1;
    s->fresh &= (uint8_t)~from_here_up;
    if (switching_point)
        s->fresh |= (uint8_t)(from_here_up << 1);
}

static void source_add(struct layer_source *s, struct layer *out, bool is_predicted,
                       bool switching_point)
{
    uint16_t mask = (uint16_t)((1u << out->picture_id_bits) - 1);
    uint16_t step = (uint16_t)(out->picture_id - s->picture_id) & mask;

    if (s->has_picture && step > mask / 2) { /* it is late */
        out->switches_up = out->temporal == 0;
        return;
    }
    if (!s->has_picture || step != 0) {
        if (step != 1)
            s->fresh = 0; /* nobody knows what the pictures between were */
        picture_add(s, out, switching_point);
    }
    out->switches_up = out->temporal == 0 || s->picture_switches;
    if (out->spatial == 0)
        s->base_is_predicted = is_predicted;
    else if (s->base_is_predicted)
        out->is_key_picture = false; /* a spatial layer begins in the middle of the stream */
}

bool vp9_read(struct layer_source *s, struct cursor c, struct layer *out, bool *tells_layers)
{
    enum { I = 0x80, P = 0x40, L = 0x20, F = 0x10, B = 0x08, E = 0x04, V = 0x02, Z = 0x01 };
    enum { U = 0x10, D = 0x01 };
    uint8_t first, layers = U;

    if (!take(&c, &first) || ((first & I) && !take_picture_id(&c, out)))
        return false;
    if (first & L) {
        if (!take(&c, &layers))
            return false;
        if (!(first & F) && !skip(&c, 1)) /* TL0PICIDX exists only in non-flexible mode */
            return false;
        out->temporal = layers >> 5;
        out->spatial = layers >> 1 & 7;
        out->depends_on_lower = layers & D;
    }
    if ((first & F) && (first & P) && !skip_differences(&c))
        return false;
    if ((first & V) && !read_structure(&c, out))
        return false;
    if (c.bytes == 0)
        return false;
    *tells_layers = first & L;
    out->begins_frame = first & B;
    out->ends_frame = first & E;
    out->unused_above = first & Z;
    out->is_key_picture = !(first & P);
    out->begins_key_frame = !(first & P) && (first & B) && out->spatial == 0;
    if (s && out->picture_id_bits)
        source_add(s, out, first & P, layers & U);
    else
        out->switches_up = out->temporal == 0 || (layers & U);
    return true;
}
