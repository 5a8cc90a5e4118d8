/* RTP headers: classification, parsing, extensions, padding, the headers for consumers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "dataplane/engines/rtp.h"

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/data/chromium_rtp.h"

#define COUNT(rows) (sizeof(rows) / sizeof(*(rows)))

static size_t unhex(const char *hex, uint8_t *out, size_t room)
{
    size_t bytes = 0;

    for (; *hex; hex++) {
        char pair[3] = {hex[0], hex[0] == ' ' ? 0 : hex[1], 0};

        if (*hex == ' ')
            continue;
        assert_true(bytes < room);
        out[bytes++] = (uint8_t)strtoul(pair, NULL, 16);
        hex++;
    }
    return bytes;
}

/* RFC 7983, RFC 5761 4: all values of the first two bytes, and some lengths (threat D24). */
static void datagrams_are_classified_by_their_first_bytes(void **state)
{
    static const size_t lengths[] = {0, 1, 2, 7, 8, 11, 12, 13, 19, 20, 1200};
    uint8_t data[1200] = {0};

    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            for (size_t l = 0; l < COUNT(lengths); l++) {
                enum datagram_kind want = DATAGRAM_unknown;
                size_t n = lengths[l];

                data[0] = (uint8_t)first;
                data[1] = (uint8_t)second;
                if (first <= 3 && n >= 20)
                    want = DATAGRAM_stun;
                else if (first >= 20 && first <= 63 && n >= 13)
                    want = DATAGRAM_dtls;
                else if (first >= 128 && first <= 191 && second >= 192 && second <= 223 && n >= 8)
                    want = DATAGRAM_rtcp;
                else if (first >= 128 && first <= 191 && (second < 192 || second > 223) && n >= 12)
                    want = DATAGRAM_rtp;
                assert_int_equal(datagram_classify(data, n), want);
            }
        }
    }
}

/* Writes the elements that were found as "id=hex id=hex", in the order of their ids. */
static void elements_text(const uint8_t *data, const struct rtp_view *view, char *out, size_t room)
{
    size_t at = 0;

    out[0] = 0;
    for (unsigned id = 0; id < 256; id++) {
        struct rtp_element e = rtp_element(view, (uint8_t)id);

        if (e.offset == 0)
            continue;
        at += (size_t)snprintf(out + at, room - at, "%s%u=", at ? " " : "", id);
        for (unsigned i = 0; i < e.bytes; i++)
            at += (size_t)snprintf(out + at, room - at, "%02x", data[e.offset + i]);
    }
}

/* Fixed header of the rows below: marker, payload type 96, sequence 1, timestamp 2, SSRC 3. */
#define FIXED "80e0 0001 00000002 00000003"
#define EXTENDED "90e0 0001 00000002 00000003"

static void headers_are_parsed(void **state)
{
    static const struct {
        const char *packet;
        bool ok;
        unsigned header_bytes;
        const char *elements;
    } rows[] = {
        /* fixed header */
        {"", false, 0, ""},
        {"80e0 0001 00000002 000000", false, 0, ""},
        {FIXED, true, 12, ""},
        {FIXED "aabb", true, 12, ""},
        {"00e0 0001 00000002 00000003", false, 0, ""}, /* versions */
        {"40e0 0001 00000002 00000003", false, 0, ""},
        {"c0e0 0001 00000002 00000003", false, 0, ""},
        /* CSRCs */
        {"81e0 0001 00000002 00000003 11111111", true, 16, ""},
        {"81e0 0001 00000002 00000003 111111", false, 0, ""},
        {"8fe0 0001 00000002 00000003 11111111", false, 0, ""},
        {"91e0 0001 00000002 00000003 11111111 bede0001 10aa0000", true, 24, "1=aa"},
        /* the length of the extension block */
        {EXTENDED, false, 0, ""},
        {EXTENDED "bede00", false, 0, ""},
        {EXTENDED "bede0000", true, 16, ""},
        {EXTENDED "bede0001", false, 0, ""},
        {EXTENDED "bede0001 10aa00", false, 0, ""},
        {EXTENDED "bedeffff 10aa0000", false, 0, ""},
        /* one-byte elements */
        {EXTENDED "bede0001 10aa0000", true, 20, "1=aa"},
        {EXTENDED "bede0001 12aabbcc ff", true, 20, "1=aabbcc"},
        {EXTENDED "bede0001 13aabbcc", false, 0, ""},    /* one byte is missing */
        {EXTENDED "bede0001 13aabbcc dd", false, 0, ""}, /* would end inside the payload */
        {EXTENDED "bede0001 00001faa", false, 0, ""},
        {EXTENDED "bede0002 10aa 0000 20bb 00 30", false, 0, ""}, /* an element without data */
        {EXTENDED "bede0002 00 10aa 00 20bb 00 00", true, 24, "1=aa 2=bb"}, /* padding inside */
        {EXTENDED "bede0001 00000000", true, 20, ""},
        {EXTENDED "bede0002 10aa f0 00 20bb 0000", true, 24, "1=aa"},     /* 15 stops */
        {EXTENDED "bede0002 10aa ff ff ffff ffff", true, 24, "1=aa"},     /* the rest is ignored */
        {EXTENDED "bede0002 10aa 10bb 20cc 0000", true, 24, "1=aa 2=cc"}, /* the first counts */
        {EXTENDED "bede0002 e0aa d1bbcc 000000", true, 24, "13=bbcc 14=aa"},
        {EXTENDED "bede0005 1f 000102030405060708090a0b0c0d0e0f 000000", true, 36,
         "1=000102030405060708090a0b0c0d0e0f"},
        {EXTENDED "bede0001 05 10bb 00", true, 20,
         "1=bb"}, /* id 0 is one byte, whatever its length says */
        /* two-byte elements */
        {EXTENDED "10000001 0101aa00", true, 20, "1=aa"},
        {EXTENDED "100f0001 0101aa00", true, 20, "1=aa"},                  /* appbits */
        {EXTENDED "10000002 0f01aa 0e01bb 0000", true, 24, "14=bb 15=aa"}, /* 15 is an id */
        {EXTENDED "10000002 01 00 02 00 03 01 aa 00", true, 24, "1= 2= 3=aa"},
        {EXTENDED "10000002 10 01 aa ff 01 bb 00 00", true, 24, "16=aa 255=bb"}, /* large ids */
        {EXTENDED "10000002 10 01 aa 10 01 bb 00 00", true, 24, "16=aa"},
        {EXTENDED "10000001 00000000", true, 20, ""},
        {EXTENDED "10000001 00000001", false, 0, ""}, /* id without a length */
        {EXTENDED "10000001 0103aabb", false, 0, ""},
        {EXTENDED "10000001 01ffaabb", false, 0, ""},
        {EXTENDED "10000001 00000100", true, 20, "1="},
        /* other extensions are skipped */
        {EXTENDED "abcd0001 13aabbcc", true, 20, ""},
        {EXTENDED "11000001 0103aabb", true, 20, ""},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t data[128], *exact;
        struct rtp_view view;
        char text[256];
        size_t bytes = unhex(rows[i].packet, data, sizeof(data));

        exact = malloc(bytes + 1); /* of the exact size, so that a sanitizer notices overruns */
        exact = realloc(exact, bytes ? bytes : 1);
        memcpy(exact, data, bytes);
        if (rtp_parse(exact, bytes, &view) != rows[i].ok)
            fail_msg("row %zu: %s", i, rows[i].packet);
        if (rows[i].ok) {
            elements_text(exact, &view, text, sizeof(text));
            assert_string_equal(text, rows[i].elements);
            assert_int_equal(view.header_bytes, rows[i].header_bytes);
            assert_int_equal(view.bytes, bytes);
            assert_int_equal(view.ssrc, 3);
            assert_int_equal(view.timestamp, 2);
            assert_int_equal(view.sequence, 1);
            assert_int_equal(view.payload_type, 96);
            assert_true(view.marker);
            assert_false(view.has_padding);
        }
        free(exact);
    }
}

static void packet_may_have_up_to_65535_bytes(void **state)
{
    static uint8_t data[70000] = {0x80};
    struct rtp_view view;

    assert_true(rtp_parse(data, 65535, &view));
    assert_int_equal(view.bytes, 65535);
    assert_false(rtp_parse(data, 65536, &view));
    data[0] = 0x90;
    data[12] = 0xab;
    data[14] = 0x3f;
    data[15] = 0xfc; /* 16 + 4 * 16380 = 65536 */
    assert_false(rtp_parse(data, 65535, &view));
    data[15] = 0xfb;
    assert_true(rtp_parse(data, 65535, &view));
    assert_int_equal(view.header_bytes, 65532);
}

static void padding_is_stripped(void **state)
{
    static const struct {
        unsigned char first;
        const char *payload;
        bool ok;
        size_t payload_bytes;
    } rows[] = {
        {0x80, "", true, 0},        {0x80, "aabbcc", true, 3}, {0xa0, "", false, 0},
        {0xa0, "aabb01", true, 2},  {0xa0, "aabb03", true, 0}, {0xa0, "aabb04", false, 0},
        {0xa0, "aabb00", false, 0}, {0xa0, "01", true, 0},     {0xa0, "aabbccff", false, 0},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t data[64] = {0};
        struct rtp_view view;
        size_t payload_bytes = 99;
        size_t bytes = 12 + unhex(rows[i].payload, data + 12, sizeof(data) - 12);

        data[0] = rows[i].first;
        assert_true(rtp_parse(data, bytes + 10, &view)); /* with the 10 bytes of the tag */
        if (rtp_padding_strip(data, &view, bytes, &payload_bytes) != rows[i].ok)
            fail_msg("row %zu", i);
        if (rows[i].ok)
            assert_int_equal(payload_bytes, rows[i].payload_bytes);
        assert_false(rtp_padding_strip(data, &view, 11, &payload_bytes));
    }
}

/* Decrypted packets of Chromium, and what another parser found in them. */
static void headers_of_chromium_are_parsed(void **state)
{
    for (size_t i = 0; i < COUNT(chromium_rtp); i++) {
        uint8_t data[256];
        struct rtp_view view;
        char text[512];
        size_t bytes = unhex(chromium_rtp[i].data, data, sizeof(data));

        assert_true(rtp_parse(data, bytes, &view));
        assert_int_equal(view.header_bytes, chromium_rtp[i].header_bytes);
        elements_text(data, &view, text, sizeof(text));
        assert_string_equal(text, chromium_rtp[i].elements);
    }
}

/* A sender that has the same ids as the consumers. */
static const uint8_t same_ids[EXTENSIONS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
/* The ids of Chromium. */
static const uint8_t chromium_ids[EXTENSIONS] = {
    [EXTENSION_audio_level] = 1,   [EXTENSION_toffset] = 2,
    [EXTENSION_abs_send_time] = 3, [EXTENSION_mid] = 4,
    [EXTENSION_transport_cc] = 5,  [EXTENSION_rid] = 10,
    [EXTENSION_repaired_rid] = 11, [EXTENSION_video_orientation] = 13,
};
static const uint8_t odd_ids[EXTENSIONS] = {[6] = 3, [7] = 9, [8] = 5, [15] = 4};
/* A sender that has other ids for everything, which need two-byte headers. */
static const uint8_t large_ids[EXTENSIONS] = {
    [EXTENSION_mid] = 15, [EXTENSION_audio_level] = 16, [EXTENSION_video_orientation] = 255};

/* The headers that consumers get: a new extension block with the consumers' ids, with room for MID,
 * abs-send-time and transport-cc; the other extensions are copied. */
static void consumer_header_is_built(void **state)
{
    static const struct {
        const char *packet;
        const uint8_t *ids;
        uint16_t mask;
        uint8_t mid_bytes;
        const char *header; /* with SSRC 0 and payload type 101 */
        unsigned mid_at, abs_send_time_at, transport_cc_at;
    } rows[] = {
        /* the consumers accept no extension */
        {FIXED, same_ids, 0, 0, "80e5 0001 00000002 00000000", 0, 0, 0},
        {FIXED, same_ids, 0, 4, "80e5 0001 00000002 00000000", 0, 0, 0},
        {EXTENDED "bede0001 60aa0000", same_ids, 0, 0, "80e5 0001 00000002 00000000", 0, 0, 0},
        /* room for data, whether the sender sent it or not */
        {FIXED, same_ids, 1 << 1 | 1 << 4 | 1 << 5, 1,
         "90e5 0001 00000002 00000000 bede0003 1000 42000000 510000 000000", 17, 19, 23},
        {FIXED, same_ids, 1 << 4, 1, "90e5 0001 00000002 00000000 bede0001 42000000", 0, 17, 0},
        {FIXED, same_ids, 1 << 1, 3, "90e5 0001 00000002 00000000 bede0001 12000000", 17, 0, 0},
        {FIXED, same_ids, 1 << 1, 0, "80e5 0001 00000002 00000000", 0, 0, 0},
        {FIXED, same_ids, 1 << 1, 17, "80e5 0001 00000002 00000000", 0, 0, 0},
        /* MIDs of one and of two bytes make headers of the same length */
        {EXTENDED "bede0001 a07f0000", same_ids, 1 << 1 | 1 << 4 | 1 << 10, 1,
         "90e5 0001 00000002 00000000 bede0003 1000 42000000 a07f 00000000", 17, 19, 0},
        {EXTENDED "bede0001 a07f0000", same_ids, 1 << 1 | 1 << 4 | 1 << 10, 2,
         "90e5 0001 00000002 00000000 bede0003 110000 42000000 a07f 000000", 17, 20, 0},
        /* the data that the sender sent in these is not copied */
        {EXTENDED "bede0003 10aa 42112233 517777 000000", same_ids, 1 << 1 | 1 << 4 | 1 << 5, 2,
         "90e5 0001 00000002 00000000 bede0003 110000 42000000 510000 0000", 17, 20, 24},
        /* ids are translated, in ascending order, masked; RID and repaired RID are never sent */
        {EXTENDED "bede0005 d0bb 40aa 32010203 10cc a1d0d1 b0ee 22f1f2f3 00", chromium_ids, 0xffff,
         1, "90e5 0001 00000002 00000000 bede0005 1000 42000000 510000 60cc 80bb 92f1f2f3 000000",
         17, 19, 23},
        {EXTENDED "bede0003 d0bb 40aa 32010203 10cc 0000", chromium_ids, 1 << 8, 1,
         "90e5 0001 00000002 00000000 bede0001 80bb0000", 0, 0, 0},
        {EXTENDED "bede0002 20bb 30cc 00000000", same_ids, 1 << 2 | 1 << 3, 0,
         "80e5 0001 00000002 00000000", 0, 0, 0},
        /* ids above 14 become ours; a one-byte header of the same sender may follow */
        {EXTENDED "10000004 0f0141 100a 11111111111111111111 00", large_ids, 0, 0,
         "80e5 0001 00000002 00000000", 0, 0, 0},
        {EXTENDED "10000003 0f0141 1001aa ff01bb 000000", large_ids, 1 << 1 | 1 << 6 | 1 << 8, 1,
         "90e5 0001 00000002 00000000 bede0002 1000 60aa 80bb 0000", 17, 0, 0},
        {EXTENDED "bede0001 60cc0000", large_ids, 1 << 6 | 1 << 8, 0, "80e5 0001 00000002 00000000",
         0, 0, 0},
        /* ids that mean nothing, and an extension that the packet does not have */
        {EXTENDED "bede0003 10aa 20bb 40dd 30cc 50ee 0000", odd_ids, 0xffff, 0,
         "90e5 0001 00000002 00000000 bede0003 42000000 510000 60cc 80ee 00", 0, 17, 21},
        /* CSRCs are dropped; empty data and more than 16 bytes need the two-byte form */
        {"91e0 0001 00000002 00000003 11111111 10000003 0602aabb 0700 080155 00 0000", same_ids,
         0xffc0, 0, "90e5 0001 00000002 00000000 10000003 0602aabb 0700 080155 000000", 0, 0, 0},
        {EXTENDED "10000003 0602aabb 0700 080155 00 0000", same_ids, 0xff40, 0,
         "90e5 0001 00000002 00000000 bede0002 61aabb 8055 000000", 0, 0, 0}, /* not accepted */
        {EXTENDED "10000006 0611 0102030405060708090a0b0c0d0e0f1011 0801aa 0000", same_ids, 0xffc0,
         0,
         "90e5 0001 00000002 00000000 10000006 0611 0102030405060708090a0b0c0d0e0f1011 0801aa 0000",
         0, 0, 0},
        {EXTENDED "10000006 0611 0102030405060708090a0b0c0d0e0f1011 0801aa 0000", same_ids, 0xfff2,
         1,
         "90e5 0001 00000002 00000000 10000009 0101 00 0403 000000 0502 0000 "
         "0611 0102030405060708090a0b0c0d0e0f1011 0801aa 0000",
         18, 21, 26},
        {EXTENDED "10000006 0610 0102030405060708090a0b0c0d0e0f10 0801aa 000000", same_ids, 0xffc0,
         0, "90e5 0001 00000002 00000000 bede0005 6f 0102030405060708090a0b0c0d0e0f10 80aa 00", 0,
         0, 0},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rtp_template_options options = {
            .sent_id = rows[i].ids,
            .mask = rows[i].mask,
            .mid_bytes = rows[i].mid_bytes,
            .payload_type = 101,
        };
        uint8_t data[128], want[RTP_HEADER_BYTES_MAX];
        struct rtp_template t;
        struct rtp_view view;
        size_t bytes = unhex(rows[i].packet, data, sizeof(data));
        size_t want_bytes = unhex(rows[i].header, want, sizeof(want));

        if (!rtp_parse(data, bytes, &view))
            fail_msg("row %zu does not parse", i);
        memset(&t, 0xee, sizeof(t));
        rtp_template_build(&t, data, &view, &options);
        if (t.size != want_bytes || memcmp(t.bytes, want, want_bytes) != 0) {
            for (size_t b = 0; b < t.size; b++)
                fprintf(stderr, "%02x", t.bytes[b]);
            fail_msg(" is row %zu", i);
        }
        assert_int_equal(t.mid_at, rows[i].mid_at);
        assert_int_equal(t.abs_send_time_at, rows[i].abs_send_time_at);
        assert_int_equal(t.transport_cc_at, rows[i].transport_cc_at);
    }
}

/* A packet may have more elements than a view has room for: the later ones are skipped. */
static void later_elements_are_skipped(void **state)
{
    uint8_t data[12 + 4 + 4 * 63] = {0x90};
    struct rtp_view view;
    size_t at = 16;

    data[12] = 0x10;
    data[15] = 63;
    for (unsigned id = 1; id <= 84; id++, at += 3)
        memcpy(data + at, (uint8_t[]){(uint8_t)id, 1, (uint8_t)id}, 3);
    assert_true(rtp_parse(data, sizeof(data), &view));
    assert_int_equal(view.element_count, ELEMENTS_MAX);
    for (unsigned id = 0; id < 256; id++) {
        struct rtp_element e = rtp_element(&view, (uint8_t)id);

        assert_int_equal(e.bytes, id >= 1 && id <= ELEMENTS_MAX);
        if (e.bytes)
            assert_int_equal(data[e.offset], id);
    }
}

/* An element that does not fit is left out, and the header can still be parsed. */
static void elements_without_room_are_left_out(void **state)
{
    uint8_t data[12 + 4 + 4 * 64] = {0x90}, out[RTP_HEADER_BYTES_MAX];
    struct rtp_template_options options = {.sent_id = same_ids, .mask = 0xffff, .mid_bytes = 16};
    struct rtp_template t;
    struct rtp_view view, built;
    size_t at = 16;

    data[12] = 0x10;
    data[15] = 64;
    for (unsigned id = 6; id <= 12; id++) {
        unsigned bytes = id == 12 ? 15 : 30;

        data[at++] = (uint8_t)id;
        data[at++] = (uint8_t)bytes;
        memset(data + at, (int)id, bytes);
        at += bytes;
    }
    assert_true(rtp_parse(data, sizeof(data), &view));
    memset(&t, 0xee, sizeof(t));
    rtp_template_build(&t, data, &view, &options);
    assert_true(t.size <= RTP_HEADER_BYTES_MAX && t.size % 4 == 0);
    rtp_template_copy(out, sizeof(out), &t, &(struct rtp_patch){.mid = "0123456789abcdef"});
    assert_true(rtp_parse(out, t.size, &built));
    assert_int_equal(built.header_bytes, t.size);
    assert_memory_equal(out + t.mid_at, "0123456789abcdef", 16);
    /* 16 + 18 (MID) + 5 + 4 + 4 * 32 = 171 bytes, so ids 10 and 11 are left out, but not 12 */
    for (unsigned id = 1; id <= 12; id++) {
        struct rtp_element e = rtp_element(&built, (uint8_t)id);
        unsigned want = id == 1              ? 16
                        : id == 4            ? 3
                        : id == 5            ? 2
                        : id == 12           ? 15
                        : id >= 6 && id <= 9 ? 30
                                             : 0;

        assert_int_equal(e.bytes, want);
        for (unsigned k = 0; k < want && id != 1; k++)
            assert_int_equal(out[e.offset + k], id >= 6 ? id : 0);
    }
    for (size_t i = 188; i < t.size; i++)
        assert_int_equal(out[i], 0); /* padding of a header that is longer than the copy of constant
                                        size */
}

/* The dependency descriptor of a key frame, with the other extensions that Chromium sends. */
static void a_long_descriptor_has_room(void **state)
{
    uint8_t data[12 + 4 + 4 * 64] = {0x90}, out[RTP_HEADER_BYTES_MAX], other[97];
    struct rtp_template_options options = {.sent_id = same_ids, .mask = 0xffff, .mid_bytes = 8};
    static const uint8_t sizes[] = {0, 0, 0, 0, 0, 0, 0, 95, 1, 3, 16, 3};
    struct rtp_template t;
    struct rtp_view view, built;
    size_t at = 16;

    data[12] = 0x10;
    data[15] = 64;
    for (unsigned id = 7; id <= 11; id++) {
        data[at++] = (uint8_t)id;
        data[at++] = sizes[id];
        memset(data + at, (int)id, sizes[id]);
        at += sizes[id];
    }
    memset(other, 0x77, sizeof(other));
    assert_true(rtp_parse(data, sizeof(data), &view));
    for (int replaced = 0; replaced < 2; replaced++) {
        options.descriptor = replaced ? other : NULL;
        options.descriptor_bytes = replaced ? sizeof(other) : 0;
        rtp_template_build(&t, data, &view, &options);
        rtp_template_copy(out, sizeof(out), &t, &(struct rtp_patch){.mid = "12345678"});
        assert_true(rtp_parse(out, t.size, &built));
        assert_int_equal(rtp_element(&built, 1).bytes, 8);
        for (unsigned id = 7; id <= 11; id++) {
            struct rtp_element e = rtp_element(&built, (uint8_t)id);

            assert_int_equal(e.bytes, replaced && id == 7 ? sizeof(other) : sizes[id]);
            assert_int_equal(out[e.offset + e.bytes - 1], replaced && id == 7 ? 0x77 : id);
        }
    }
    /* A short one in place of a long one needs no two-byte form. A packet without one gets none. */
    options.descriptor_bytes = 3;
    rtp_template_build(&t, data, &view, &options);
    assert_memory_equal(t.bytes + 12, "\xbe\xde", 2);
    assert_true(rtp_parse((const uint8_t *)"\x80\x60\0\1\0\0\0\2\0\0\0\3", 12, &view));
    options.mask = 1 << EXTENSION_dependency_descriptor;
    rtp_template_build(&t, data, &view, &options);
    assert_int_equal(t.size, 12);
}

static void consumer_header_is_copied(void **state)
{
    struct rtp_template_options options = {
        .sent_id = same_ids, .mask = 1 << 1 | 1 << 4 | 1 << 5, .mid_bytes = 2, .payload_type = 127};
    uint8_t data[64], out[64], want[64];
    struct rtp_template t;
    struct rtp_view view;
    size_t bytes = unhex(FIXED, data, sizeof(data));

    assert_true(rtp_parse(data, bytes, &view));
    rtp_template_build(&t, data, &view, &options);
    memset(out, 0xa5, sizeof(out));
    for (int exact = 0; exact < 2; exact++)
        rtp_template_copy(out, exact ? t.size : sizeof(out), &t,
                          &(struct rtp_patch){.ssrc = 0xdeadbeef,
                                              .timestamp = 0x01020304,
                                              .sequence = 0xfffe,
                                              .mid = "17",
                                              .abs_send_time = 0x123456});
    bytes = unhex("90ff fffe 01020304 deadbeef bede0003 113137 42123456 510000 0000", want,
                  sizeof(want));
    assert_int_equal(bytes, t.size);
    assert_memory_equal(out, want, bytes);
}

/* Seconds modulo 64, as a fixed-point number with 18 bits after the point. */
static void abs_send_time_is_fixed_point(void **state)
{
    static const struct {
        uint64_t wall_ns;
        uint32_t value;
    } rows[] = {
        {0, 0},
        {1000000000, 1 << 18},
        {500000000, 1 << 17},
        {63999999999, 0xffffff},
        {64000000000, 0},
        {64000003815, 1}, /* 2^-18 s = 3814.7 ns */
        {64000003814, 0},
        {1700000000ull * 1000000000 + 250000000, (1700000000 % 64 << 18) + (1 << 16)},
        {UINT64_MAX, (18446744073u % 64 << 18) + (709551615ull * (1 << 18)) / 1000000000},
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(rtp_abs_send_time(rows[i].wall_ns), rows[i].value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams_are_classified_by_their_first_bytes),
        cmocka_unit_test(headers_are_parsed),
        cmocka_unit_test(packet_may_have_up_to_65535_bytes),
        cmocka_unit_test(padding_is_stripped),
        cmocka_unit_test(headers_of_chromium_are_parsed),
        cmocka_unit_test(consumer_header_is_built),
        cmocka_unit_test(later_elements_are_skipped),
        cmocka_unit_test(elements_without_room_are_left_out),
        cmocka_unit_test(a_long_descriptor_has_room),
        cmocka_unit_test(consumer_header_is_copied),
        cmocka_unit_test(abs_send_time_is_fixed_point),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
