/* RTP headers: which protocol a datagram belongs to, parsing, and the headers that consumers
 * get. */
#include "rtp.h"

#include <string.h>

#define RTP_VERSION 2
#define EXTENSION_HEAD_BYTES 4
#define PROFILE_ONE_BYTE 0xbede /* RFC 8285 4.2 */
#define PROFILE_TWO_BYTE 0x1000 /* RFC 8285 4.3; the low 4 bits are "appbits" */
#define ONE_BYTE_STOP 15        /* RFC 8285 4.2: this id ends the block */
#define ONE_BYTE_ID_MAX 14
#define ONE_BYTE_DATA_MAX 16
#define ABS_SEND_TIME_BYTES 3
#define TRANSPORT_CC_BYTES 2
#define CAPTURE_TIME_BYTES 8
#define CAPTURE_TIME_LONG_BYTES 16

static uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t load64(const uint8_t *p)
{
    return (uint64_t)load32(p) << 32 | load32(p + 4);
}

static void store16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void store32(uint8_t *p, uint32_t v)
{
    store16(p, (uint16_t)(v >> 16));
    store16(p + 2, (uint16_t)v);
}

enum datagram_kind datagram_classify(const uint8_t *data, size_t bytes)
{
    enum { STUN_BYTES = 20, DTLS_BYTES = 13, RTCP_BYTES = 8 };

    if (bytes < 2)
        return DATAGRAM_unknown;
    if (data[0] <= 3)
        return bytes >= STUN_BYTES ? DATAGRAM_stun : DATAGRAM_unknown;
    if (data[0] >= 20 && data[0] <= 63)
        return bytes >= DTLS_BYTES ? DATAGRAM_dtls : DATAGRAM_unknown;
    if (data[0] >= 128 && data[0] <= 191) {
        if (data[1] >= 192 && data[1] <= 223)
            return bytes >= RTCP_BYTES ? DATAGRAM_rtcp : DATAGRAM_unknown;
        return bytes >= RTP_FIXED_BYTES ? DATAGRAM_rtp : DATAGRAM_unknown;
    }
    return DATAGRAM_unknown;
}

static void element_add(struct rtp_view *view, unsigned id, size_t at, size_t bytes)
{
    if (view->element_count < ELEMENTS_MAX)
        view->elements[view->element_count++] = (struct rtp_element){
            .offset = (uint16_t)at, .bytes = (uint8_t)bytes, .id = (uint8_t)id};
}

/* Reads the elements in data[at … end). An id of 0 is a byte of padding; it may stand anywhere. */
static bool elements_parse(const uint8_t *data, size_t at, size_t end, bool two_byte,
                           struct rtp_view *view)
{
    while (at < end) {
        unsigned id = two_byte ? data[at] : data[at] >> 4;
        size_t bytes;

        if (id == 0) {
            at++;
            continue;
        }
        if (two_byte) {
            if (end - at < 2)
                return false;
            bytes = data[at + 1];
            at += 2;
        } else {
            if (id == ONE_BYTE_STOP)
                return true;
            bytes = (data[at] & 15u) + 1;
            at++;
        }
        if (bytes > end - at)
            return false;
        element_add(view, id, at, bytes);
        at += bytes;
    }
    return true;
}

bool rtp_parse(const uint8_t *data, size_t bytes, struct rtp_view *view)
{
    size_t at, end;
    uint16_t profile;

    view->element_count = 0;
    if (bytes < RTP_FIXED_BYTES || bytes > UINT16_MAX || data[0] >> 6 != RTP_VERSION)
        return false;
    view->has_padding = data[0] & 0x20;
    view->marker = data[1] & 0x80;
    view->payload_type = data[1] & 0x7f;
    view->sequence = load16(data + 2);
    view->timestamp = load32(data + 4);
    view->ssrc = load32(data + 8);
    view->bytes = (uint16_t)bytes;
    at = RTP_FIXED_BYTES + 4u * (data[0] & 15u);
    if (at > bytes)
        return false;
    if (!(data[0] & 0x10)) {
        view->header_bytes = (uint16_t)at;
        return true;
    }
    if (bytes - at < EXTENSION_HEAD_BYTES)
        return false;
    profile = load16(data + at);
    end = at + EXTENSION_HEAD_BYTES + 4u * load16(data + at + 2);
    if (end > bytes)
        return false;
    view->header_bytes = (uint16_t)end;
    at += EXTENSION_HEAD_BYTES;
    if (profile == PROFILE_ONE_BYTE)
        return elements_parse(data, at, end, false, view);
    if ((profile & 0xfff0) == PROFILE_TWO_BYTE)
        return elements_parse(data, at, end, true, view);
    return true; /* RFC 3550 5.3.1: extensions that we do not know may be ignored */
}

bool rtp_padding_strip(const uint8_t *data, const struct rtp_view *view, size_t clear_bytes,
                       size_t *payload_bytes)
{
    size_t payload, padding;

    if (clear_bytes < view->header_bytes)
        return false;
    payload = clear_bytes - view->header_bytes;
    if (view->has_padding) {
        if (payload == 0)
            return false;
        padding = data[clear_bytes - 1];
        if (padding == 0 || padding > payload)
            return false;
        payload -= padding;
    }
    *payload_bytes = payload;
    return true;
}

void rtp_element_erase(uint8_t *data, struct rtp_view *view, uint8_t id)
{
    const uint8_t *profile = data + RTP_FIXED_BYTES + 4u * (data[0] & 15u);
    unsigned head_bytes = load16(profile) == PROFILE_ONE_BYTE ? 1 : 2;
    unsigned kept = 0;

    for (unsigned i = 0; i < view->element_count; i++) {
        struct rtp_element e = view->elements[i];

        if (e.id == id)
            memset(data + e.offset - head_bytes, 0, e.bytes + head_bytes);
        else
            view->elements[kept++] = e;
    }
    view->element_count = (uint8_t)kept;
}

bool rtp_capture_time_move(uint8_t *data, size_t bytes, uint64_t ntp_offset)
{
    uint64_t time;

    if (bytes != CAPTURE_TIME_BYTES && bytes != CAPTURE_TIME_LONG_BYTES)
        return false;
    time = load64(data) + ntp_offset;
    if (bytes == CAPTURE_TIME_LONG_BYTES)
        time -= load64(data + 8);
    memset(data, 0, bytes);
    store32(data, (uint32_t)(time >> 32));
    store32(data + 4, (uint32_t)time);
    return true;
}

/* A header with a shorter MID is padded (RFC 8285 4.1) to the length that it has with a MID of this
 * length. Clients number their streams "0" to "99", and the packets of all streams to one client
 * can leave in one send only when they have the same size. */
#define MID_BYTES_ALIKE 2

/* Clears [at, end) of a header that is longer than what was cleared in the beginning. */
static inline void template_clear(struct rtp_template *t, size_t at, size_t end)
{
    if (__builtin_expect(end > RTP_COPY_BYTES, 0))
        memset(t->bytes + at, 0, end - at);
}

/* Makes room for an element, filled with zeros. Returns the offset of its data, or 0 when it does not
 * fit. */
static inline __attribute__((always_inline)) uint16_t
template_add(struct rtp_template *t, bool two_byte, unsigned id, size_t bytes)
{
    size_t at = t->size, data_at = at + (two_byte ? 2 : 1);

    if (data_at + bytes > RTP_HEADER_BYTES_MAX)
        return 0;
    template_clear(t, at, data_at + bytes);
    if (two_byte) {
        t->bytes[at] = (uint8_t)id;
        t->bytes[at + 1] = (uint8_t)bytes;
    } else {
        t->bytes[at] = (uint8_t)(id << 4 | (bytes - 1));
    }
    t->size = (uint16_t)(data_at + bytes);
    return (uint16_t)data_at;
}

static inline __attribute__((always_inline)) void template_copy_element(struct rtp_template *t,
                                                                        bool two_byte, unsigned id,
                                                                        const uint8_t *from,
                                                                        size_t bytes)
{
    uint16_t at = template_add(t, two_byte, id, bytes);

    if (at != 0)
        memcpy(t->bytes + at, from, bytes);
}

/* False: an element does not fit into the one-byte form. Inlined, so that nothing asks for the form at
 * run time. */
static inline __attribute__((always_inline)) bool
template_add_elements(struct rtp_template *t, bool two_byte, const uint8_t *data,
                      const struct rtp_view *view, const struct rtp_template_options *options)
{
    memset(t->bytes + RTP_FIXED_BYTES, 0, RTP_COPY_BYTES - RTP_FIXED_BYTES);
    t->size = RTP_FIXED_BYTES + EXTENSION_HEAD_BYTES;
    for (unsigned id = 1; id <= ONE_BYTE_ID_MAX; id++) {
        struct rtp_element sent;
        const uint8_t *from;

        if (!(options->mask >> id & 1) || id == EXTENSION_rid || id == EXTENSION_repaired_rid)
            continue;
        if (id == EXTENSION_mid) {
            if (options->mid_bytes == 0 || options->mid_bytes > ONE_BYTE_DATA_MAX)
                continue;
            t->mid_at = template_add(t, two_byte, id, options->mid_bytes);
            t->mid_bytes = t->mid_at ? options->mid_bytes : 0;
        } else if (id == EXTENSION_abs_send_time) {
            t->abs_send_time_at = template_add(t, two_byte, id, ABS_SEND_TIME_BYTES);
        } else if (id == EXTENSION_transport_cc) {
            t->transport_cc_at = template_add(t, two_byte, id, TRANSPORT_CC_BYTES);
        } else if (options->sent_id[id]) {
            sent = rtp_element(view, options->sent_id[id]);
            if (sent.offset == 0)
                continue;
            from = data + sent.offset;
            if (id == EXTENSION_dependency_descriptor && options->descriptor_bytes) {
                from = options->descriptor;
                sent.bytes = options->descriptor_bytes;
            }
            if (!two_byte && (sent.bytes == 0 || sent.bytes > ONE_BYTE_DATA_MAX))
                return false;
            template_copy_element(t, two_byte, id, from, sent.bytes);
        }
    }
    return true;
}

static __attribute__((noinline, cold)) void
template_add_two_byte_elements(struct rtp_template *t, const uint8_t *data,
                               const struct rtp_view *view,
                               const struct rtp_template_options *options)
{
    template_add_elements(t, true, data, view, options);
}

void rtp_template_build(struct rtp_template *t, const uint8_t *data, const struct rtp_view *view,
                        const struct rtp_template_options *options)
{
    bool two_byte;
    uint16_t size;

    _Static_assert(RTP_HEADER_BYTES_MAX % 4 == 0, "the extension block is padded to whole words");

    t->mid_at = t->abs_send_time_at = t->transport_cc_at = 0;
    t->mid_bytes = 0;
    t->bytes[0] = (uint8_t)(RTP_VERSION << 6 | (options->has_padding ? 0x20 : 0));
    t->bytes[1] = (uint8_t)((view->marker ? 0x80 : 0) | (options->payload_type & 0x7f));
    store16(t->bytes + 2, view->sequence);
    store32(t->bytes + 4, view->timestamp);
    store32(t->bytes + 8, 0);
    two_byte = !template_add_elements(t, false, data, view, options);
    if (__builtin_expect(two_byte, 0))
        template_add_two_byte_elements(t, data, view, options);
    if (t->size == RTP_FIXED_BYTES + EXTENSION_HEAD_BYTES) {
        t->size = RTP_FIXED_BYTES;
        return;
    }
    size = t->size;
    if (t->mid_at != 0 && options->mid_bytes < MID_BYTES_ALIKE && t->size < RTP_HEADER_BYTES_MAX)
        size = (uint16_t)(t->size + MID_BYTES_ALIKE - options->mid_bytes);
    size = (uint16_t)((size + 3) & ~3);
    template_clear(t, t->size, size);
    t->size = size;
    t->bytes[0] |= 0x10;
    store16(t->bytes + RTP_FIXED_BYTES, two_byte ? PROFILE_TWO_BYTE : PROFILE_ONE_BYTE);
    store16(t->bytes + RTP_FIXED_BYTES + 2,
            (uint16_t)((t->size - RTP_FIXED_BYTES - EXTENSION_HEAD_BYTES) / 4));
}

uint32_t rtp_abs_send_time(uint64_t wall_ns)
{
    uint64_t second_ns = 1000000000, seconds = wall_ns / second_ns;

    /* The wall clock counts from 1970, not from 1900, but the difference is a multiple of 64 s. */
    return (uint32_t)((seconds << 18 | (wall_ns % second_ns << 18) / second_ns) & 0xffffff);
}
