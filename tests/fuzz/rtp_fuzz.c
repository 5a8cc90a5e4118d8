/* uses: dataplane */
/* Parses arbitrary bytes as an RTP packet. Everything that the parser finds must lie inside the
 * packet, and a consumer header that is built from it can be parsed again. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/rtp.h"

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void build(const uint8_t *data, const struct rtp_view *view, uint16_t mask,
                  uint8_t mid_bytes)
{
    uint8_t ids[EXTENSIONS], *out;
    struct rtp_template_options options = {ids, mask, mid_bytes, 101};
    struct rtp_patch patch = {.ssrc = 1, .mid = "0123456789abcdef"};
    struct rtp_template t;
    struct rtp_view built;

    for (unsigned i = 0; i < 16; i++)
        ids[i] = (uint8_t)(mask & 1 ? i : 255 - i);
    rtp_template_build(&t, data, view, &options);
    require(t.size >= RTP_FIXED_BYTES && t.size <= RTP_HEADER_BYTES_MAX && t.size % 4 == 0);
    out = malloc(t.size);
    rtp_template_copy(out, t.size, &t, &patch);
    require(rtp_parse(out, t.size, &built) && built.header_bytes == t.size);
    require(built.sequence == 0 && built.ssrc == 1 && built.payload_type == 101);
    for (unsigned i = 0; i < built.element_count; i++)
        require(built.elements[i].id < 16 && mask >> built.elements[i].id & 1);
    require(rtp_element(&built, EXTENSION_rid).offset == 0);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct rtp_view view;
    size_t payload_bytes;

    datagram_classify(data, bytes);
    if (bytes < 4)
        return 0;
    if (!rtp_parse(data, bytes, &view))
        return 0;
    require(view.header_bytes >= RTP_FIXED_BYTES && view.header_bytes <= bytes);
    require(view.bytes == bytes);
    require(view.element_count <= ELEMENTS_MAX);
    for (unsigned i = 0; i < view.element_count; i++)
        require(view.elements[i].id != 0 && view.elements[i].offset > RTP_FIXED_BYTES &&
                view.elements[i].offset + view.elements[i].bytes <= view.header_bytes);
    if (rtp_padding_strip(data, &view, bytes, &payload_bytes))
        require(view.header_bytes + payload_bytes <= bytes);
    if (view.element_count) {
        uint8_t *copy = malloc(bytes), id = view.elements[data[3] % view.element_count].id;
        struct rtp_element e = rtp_element(&view, id);
        struct rtp_view erased = view, again;

        memcpy(copy, data, bytes);
        rtp_capture_time_move(copy + e.offset, e.bytes, 1);
        rtp_element_erase(copy, &erased, id);
        require(rtp_parse(copy, bytes, &again) && rtp_element(&erased, id).offset == 0);
        require(again.header_bytes == view.header_bytes);
        for (unsigned i = 0; i < erased.element_count; i++)
            require(i < again.element_count && again.elements[i].id == erased.elements[i].id);
        free(copy);
    }
    build(data, &view, (uint16_t)(data[2] << 8 | data[3]), data[1] % 18);
    return 0;
}
