/* RTCP: truth tables for splitting, reading and building, and compounds that Chromium sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "dataplane/engines/rtcp.h"

#include <cmocka.h>
#include <string.h>

#include "tests/data/chromium_srtp.h"

#define COUNT(rows) (sizeof(rows) / sizeof(*(rows)))

static size_t unhex(const char *hex, uint8_t *out, size_t room)
{
    size_t bytes = 0;

    for (; *hex; hex++) {
        char pair[3] = {hex[0], 0, 0};

        if (*hex == ' ')
            continue;
        pair[1] = *++hex;
        assert_true(bytes < room);
        out[bytes++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return bytes;
}

/* Splits a copy in memory that ends where the compound ends, so that a sanitizer notices overruns.
 * The copy lives until the next call. */
static size_t split(const char *hex, struct rtcp_packet packets[RTCP_PACKETS_MAX])
{
    static uint8_t *exact;
    uint8_t data[2048];
    size_t bytes = unhex(hex, data, sizeof(data));

    free(exact);
    exact = malloc(bytes ? bytes : 1);
    memcpy(exact, data, bytes);
    return rtcp_split(exact, bytes, packets);
}

#define RR0 "80c90001 00000001"
#define FOUR RR0 RR0 RR0 RR0

static void compounds_are_split(void **state)
{
    static const struct {
        const char *compound;
        size_t count, last_bytes;
        unsigned last_type, last_count;
    } rows[] = {
        {"", 0, 0, 0, 0},
        {"80c900", 0, 0, 0, 0},
        {"80c90000", 1, 0, 201, 0},
        {RR0, 1, 4, 201, 0},
        {RR0 "00", 0, 0, 0, 0}, /* the rest is not a packet */
        {RR0 "80c9", 0, 0, 0, 0},
        {"80c90001", 0, 0, 0, 0},
        {"80c90002 00000001", 0, 0, 0, 0},
        {"80c9ffff 00000001", 0, 0, 0, 0},
        {"00c90001 00000001", 0, 0, 0, 0}, /* wrong versions */
        {"40c90001 00000001", 0, 0, 0, 0},
        {"c0c90001 00000001", 0, 0, 0, 0},
        {RR0 "00c90001 00000001", 0, 0, 0, 0},
        {RR0 "81ce0002 00000001 00000002", 2, 8, 206, 1},
        {"9fff0001 00000001", 1, 4, 255, 31}, /* an unknown type */
        /* any packet may have padding of any length that fits into it (libwebrtc uses 1 to 3) */
        {"a0c90002 00000001 00000004", 1, 4, 201, 0},
        {"a0c90002 00000001 00000008", 1, 0, 201, 0},
        {"a0c90002 00000001 0000000c", 0, 0, 0, 0},
        {"a0c90002 00000001 00000000", 0, 0, 0, 0},
        {"a0c90002 00000001 00000001", 1, 7, 201, 0},
        {"a0c90002 00000001 00000003", 1, 5, 201, 0},
        {"a0c90002 00000001 000000ff", 0, 0, 0, 0},
        {"a0c90000", 0, 0, 0, 0},
        {"a0c90002 00000001 00000004" RR0, 2, 4, 201, 0},
        {"a0c90002 00000001 0000000c" RR0, 0, 0, 0, 0},
        {RR0 "a0c90002 00000001 00000004", 2, 4, 201, 0},
        /* threat D18: too many packets */
        {FOUR FOUR FOUR FOUR, 16, 4, 201, 0},
        {FOUR FOUR FOUR FOUR RR0, 0, 0, 0, 0},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rtcp_packet packets[RTCP_PACKETS_MAX];
        size_t count = split(rows[i].compound, packets);

        if (count != rows[i].count)
            fail_msg("row %zu: %zu packets", i, count);
        if (count == 0)
            continue;
        assert_int_equal(packets[count - 1].type, rows[i].last_type);
        assert_int_equal(packets[count - 1].count, rows[i].last_count);
        assert_int_equal(packets[count - 1].bytes, rows[i].last_bytes);
    }
}

#define SENDER "00000001 e8a1b2c3 80000000 00000bb8 00000064 00001f40 "
#define BLOCK "00000007 40fffffe 00010203 00000011 b2c38000 00000022 "

static void reports_are_read(void **state)
{
    static const struct {
        const char *packet;
        bool sender;
        unsigned blocks;
    } rows[] = {
        {"80c80006" SENDER, true, 0},
        {"80c80005 00000001 e8a1b2c3 80000000 00000bb8 00000064", false, 0},
        {"81c8000c" SENDER BLOCK, true, 1},
        {"82c8000c" SENDER BLOCK, true, 1}, /* the header says that there are two blocks */
        {"82c80012" SENDER BLOCK BLOCK, true, 2},
        {"81c80012" SENDER BLOCK BLOCK, true, 1}, /* the header says that there is one */
        {"81c8000b" SENDER "00000007 40fffffe 00010203 00000011 b2c38000", true, 0},
        {"81c90007 00000001" BLOCK, false, 1},
        {"80c90007 00000001" BLOCK, false, 0},
        {"81c90006 00000001 00000007 40fffffe 00010203 00000011 b2c38000", false, 0},
        {"81c90000", false, 0},
        {"81ca0007 00000001" BLOCK, false, 0},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rtcp_packet packets[RTCP_PACKETS_MAX];
        struct rtcp_sender_info sender;
        struct rtcp_report_block block;
        unsigned blocks = 0;

        assert_int_equal(split(rows[i].packet, packets), 1);
        if (rtcp_read_sender_info(&packets[0], &sender) != rows[i].sender)
            fail_msg("row %zu", i);
        if (rows[i].sender) {
            assert_int_equal(sender.ssrc, 1);
            assert_true(sender.ntp == 0xe8a1b2c380000000ull);
            assert_int_equal(sender.timestamp, 3000);
            assert_int_equal(sender.packets, 100);
            assert_int_equal(sender.bytes, 8000);
        }
        for (size_t b = 0; b < 40; b++) {
            if (!rtcp_read_report_block(&packets[0], b, &block))
                continue;
            blocks++;
            assert_int_equal(block.ssrc, 7);
            assert_int_equal(block.fraction_lost, 64);
            assert_int_equal(block.packets_lost, -2);
            assert_int_equal(block.highest_sequence, 0x10203);
            assert_int_equal(block.jitter, 17);
            assert_int_equal(block.last_sr, 0xb2c38000);
            assert_int_equal(block.delay_since_last_sr, 34);
        }
        assert_int_equal(blocks, rows[i].blocks);
    }
}

static void byes_are_read(void **state)
{
    static const struct {
        const char *packet;
        unsigned count;
    } rows[] = {
        {"80cb0000", 0},
        {"81cb0001 00000009", 1},
        {"82cb0002 00000009 00000009", 2},
        {"82cb0001 00000009", 1},
        {"81cb0003 00000009 03627965", 0},
        {"81cb0002 00000009 03627965", 1}, /* with a reason */
        {"9fcb0001 00000009", 1},
        {"81c90001 00000009", 0},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rtcp_packet packets[RTCP_PACKETS_MAX];
        unsigned count = 0;
        uint32_t ssrc;

        if (i == 4) { /* longer than the datagram */
            assert_int_equal(split(rows[i].packet, packets), 0);
            continue;
        }
        assert_int_equal(split(rows[i].packet, packets), 1);
        for (size_t b = 0; b < 40; b++) {
            if (!rtcp_read_bye(&packets[0], b, &ssrc))
                continue;
            count++;
            assert_int_equal(ssrc, 9);
        }
        assert_int_equal(count, rows[i].count);
    }
}

static void feedback_is_read(void **state)
{
    static const struct {
        const char *packet;
        bool feedback;
        unsigned firs, nacks;
    } rows[] = {
        {"81ce0002 00000001 00000002", true, 0, 0}, /* PLI */
        {"81ce0001 00000001", false, 0, 0},
        {"84ce0002 00000001 00000002", true, 0, 0}, /* a FIR without entries */
        {"84ce0004 00000001 00000002 00000005 2a000000", true, 1, 0},
        {"84ce0006 00000001 00000002 00000005 2a000000 00000005 2a000000", true, 2, 0},
        {"84ce0005 00000001 00000002 00000005 2a000000 00000005", true, 1, 0},
        {"84cd0004 00000001 00000002 00000005 2a000000", true, 0, 0}, /* RTPFB has no FIR */
        {"81cd0002 00000001 00000002", true, 0, 0},
        {"81cd0003 00000001 00000002 1234abcd", true, 0, 1},
        {"81cd0005 00000001 00000002 1234abcd 1234abcd 1234abcd", true, 0, 3},
        {"8fcd0003 00000001 00000002 1234abcd", true, 0, 0}, /* transport-cc */
        {"81c90003 00000001 00000002 1234abcd", false, 0, 0},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rtcp_packet packets[RTCP_PACKETS_MAX];
        uint32_t sender, media, ssrc;
        unsigned firs = 0, nacks = 0;
        uint16_t id, mask;
        uint8_t sequence;

        assert_int_equal(split(rows[i].packet, packets), 1);
        assert_int_equal(rtcp_read_feedback(&packets[0], &sender, &media), rows[i].feedback);
        if (rows[i].feedback) {
            assert_int_equal(sender, 1);
            assert_int_equal(media, 2);
        }
        for (size_t e = 0; e < 100; e++) {
            if (rtcp_read_fir(&packets[0], e, &ssrc, &sequence)) {
                firs++;
                assert_int_equal(ssrc, 5);
                assert_int_equal(sequence, 42);
            }
            if (rtcp_read_nack(&packets[0], e, &id, &mask)) {
                nacks++;
                assert_int_equal(id, 0x1234);
                assert_int_equal(mask, 0xabcd);
            }
        }
        assert_int_equal(firs, rows[i].firs);
        assert_int_equal(nacks, rows[i].nacks);
    }
}

static const struct rtcp_sender_info a_sender = {1, 0xe8a1b2c380000000ull, 3000, 100, 8000};
static const struct rtcp_report_block a_block = {7, 64, -2, 0x10203, 17, 0xb2c38000, 34};

static bool add(struct rtcp_buffer *b, int what)
{
    static const struct rtcp_cname three[3] = {{1, "ab"}, {2, ""}, {3, "cdefgh"}};
    static const struct rtcp_report_block two[2] = {
        {7, 64, 0x1000000, 0x10203, 17, 0xb2c38000, 34},
        {7, 64, -0x1000000, 0x10203, 17, 0xb2c38000, 34},
    };

    switch (what) {
    case 0:
        return rtcp_add_sr(b, &a_sender);
    case 1:
        return rtcp_add_rr(b, 1, &a_block, 1);
    case 2:
        return rtcp_add_rr(b, 1, NULL, 0);
    case 3:
        return rtcp_add_rr(b, 1, two, 2);
    case 4:
        return rtcp_add_sdes(b, &(struct rtcp_cname){1, ""}, 1);
    case 5:
        return rtcp_add_sdes(b, &(struct rtcp_cname){1, "a"}, 1);
    case 6:
        return rtcp_add_sdes(b, &(struct rtcp_cname){1, "abcde"}, 1);
    case 7:
        return rtcp_add_sdes(b, &(struct rtcp_cname){1, "abcdef"}, 1);
    case 8:
        return rtcp_add_bye(b, 9);
    case 9:
        return rtcp_add_pli(b, 1, 2);
    case 10:
        return rtcp_add_fir(b, 1, 5, 42);
    default:
        return rtcp_add_sdes(b, three, 3);
    }
}

/* Every builder writes the right bytes. With too little room it writes nothing. */
static void packets_are_built(void **state)
{
    static const char *const rows[] = {
        "80c80006" SENDER,
        "81c90007 00000001" BLOCK,
        "80c90001 00000001",
        "82c9000d 00000001 00000007 407fffff 00010203 00000011 b2c38000 00000022"
        "00000007 40800000 00010203 00000011 b2c38000 00000022",
        "81ca0002 00000001 01000000",
        "81ca0002 00000001 01016100",
        "81ca0003 00000001 01056162 63646500",
        "81ca0004 00000001 01066162 63646566 00000000",
        "81cb0001 00000009",
        "81ce0002 00000001 00000002",
        "84ce0004 00000001 00000000 00000005 2a000000",
        "83ca0009 00000001 01026162 00000000 00000002 01000000 00000003 01066364 65666768 00000000",
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t want[256], out[256], before[256];
        size_t bytes = unhex(rows[i], want, sizeof(want));

        for (size_t room = 0; room <= bytes + 1; room++) {
            struct rtcp_buffer b = {.data = out, .bytes = 8, .capacity = 8 + room};

            memset(out, 0xa5, sizeof(out));
            memset(before, 0xa5, sizeof(before));
            assert_int_equal(add(&b, (int)i), room >= bytes);
            assert_int_equal(b.bytes, room >= bytes ? 8 + bytes : 8);
            if (room >= bytes)
                memcpy(before + 8, want, bytes);
            if (memcmp(out, before, sizeof(out)) != 0)
                fail_msg("builder %zu with room for %zu", i, room);
        }
    }
}

static void builders_refuse_what_is_too_long(void **state)
{
    static struct rtcp_report_block blocks[32];
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct rtcp_cname sources[32];
    uint8_t out[2048];
    struct rtcp_buffer b = {.data = out, .capacity = sizeof(out)};
    char cname[300];

    memset(cname, 'c', sizeof(cname));
    cname[256] = 0;
    for (size_t i = 0; i < 32; i++)
        sources[i] = (struct rtcp_cname){1, cname};
    assert_false(rtcp_add_sdes(&b, sources, 1));
    cname[255] = 0;
    assert_false(rtcp_add_sdes(&b, sources, 32));
    assert_true(rtcp_add_sdes(&b, sources, 1));
    assert_int_equal(b.bytes, 4 + 4 + 2 + 255 + 3);
    assert_false(rtcp_add_rr(&b, 1, blocks, 32));
    assert_true(rtcp_add_rr(&b, 1, blocks, 31));
    assert_int_equal(rtcp_split(out, b.bytes, packets), 2);
    assert_int_equal(packets[1].count, 31);
    b.bytes = b.capacity + 4; /* a buffer with a wrong length gets nothing */
    assert_false(rtcp_add_bye(&b, 1));
}

/* The compounds of a browser and its server can be split, and have packets that we can read. */
static void compounds_of_chromium_are_read(void **state)
{
    static const uint8_t known[] = {200, 201, 202, 203, 205, 206, 207};
    unsigned compounds = 0, blocks = 0, feedbacks = 0;

    for (size_t i = 0; i < COUNT(chromium_packets); i++) {
        struct rtcp_packet packets[RTCP_PACKETS_MAX];
        struct rtcp_report_block block;
        size_t count;
        uint32_t sender, media;

        if (!chromium_packets[i].rtcp)
            continue;
        count = split(chromium_packets[i].clear, packets);
        assert_true(count > 0);
        compounds++;
        for (size_t p = 0; p < count; p++) {
            assert_non_null(memchr(known, packets[p].type, sizeof(known)));
            if (packets[p].type == RTCP_SR || packets[p].type == RTCP_RR) {
                for (size_t b = 0; b < packets[p].count; b++, blocks++)
                    assert_true(rtcp_read_report_block(&packets[p], b, &block));
            }
            feedbacks += rtcp_read_feedback(&packets[p], &sender, &media);
        }
    }
    assert_true(compounds >= 20 && blocks > 0 && feedbacks > 0);
}

static void extended_reports(void **state)
{
    static const struct {
        const char *packet;
        bool has_time;
        unsigned answers;
    } rows[] = {
        {"80cf0001 00000007", false, 0}, /* no block */
        {"80cf0004 00000007 04000002 1122334455667788", true, 0},
        {"80cf0003 00000007 04000001 11223344", false, 0}, /* too short for its type */
        {"80cf0003 00000007 04000002 11223344", false, 0}, /* longer than the packet */
        {"80cf0002 00000007 0400ffff", false, 0},
        {"80cf0005 00000007 05000003 000000aa 000000bb 000000cc", false, 1},
        {"80cf0005 00000007 05000004 000000aa 000000bb 000000cc", false, 0},
        {"80cf0008 00000007 05000006 000000aa 000000bb 000000cc 000000aa 000000bb 000000cc", false,
         2},
        {"80cf0007 00000007 05000005 000000aa 000000bb 000000cc 000000dd 000000ee", false, 1},
        /* behind blocks of other types, one of them empty */
        {"80cf000b 00000007 06000000 07000001 99999999 05000003 000000aa 000000bb 000000cc "
         "04000002 1122334455667788",
         true, 1},
        {"80c9000b 00000007 06000000 07000001 99999999 05000003 000000aa 000000bb 000000cc "
         "04000002 1122334455667788",
         false, 0}, /* not an XR */
        {"80cf0000", false, 0},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rtcp_packet packets[RTCP_PACKETS_MAX];
        struct rtcp_reference_answer answer;
        uint32_t sender;
        uint64_t ntp;
        unsigned answers = 0;

        assert_int_equal(split(rows[i].packet, packets), 1);
        assert_int_equal(rtcp_read_reference_time(&packets[0], &sender, &ntp), rows[i].has_time);
        if (rows[i].has_time)
            assert_true(sender == 7 && ntp == 0x1122334455667788);
        while (rtcp_read_reference_answer(&packets[0], answers, &answer))
            answers++;
        if (answers != rows[i].answers)
            fail_msg("row %zu has %u answers", i, answers);
        if (answers)
            assert_true(answer.ssrc == 0xaa && answer.last_rr == 0xbb &&
                        answer.delay_since_last_rr == 0xcc);
    }
}

static void extended_reports_are_built(void **state)
{
    static const struct rtcp_reference_answer answer = {0xaa, 0xbb, 0xcc};
    uint8_t data[44];
    struct rtcp_buffer b = {.data = data, .capacity = sizeof(data)};

    assert_true(rtcp_add_reference_time(&b, 7, 0x1122334455667788));
    assert_memory_equal(data, "\x80\xcf\0\4\0\0\0\7\4\0\0\2\x11\x22\x33\x44\x55\x66\x77\x88", 20);
    assert_true(rtcp_add_reference_answer(&b, 7, &answer));
    assert_int_equal(b.bytes, 44);
    assert_memory_equal(data + 20, "\x80\xcf\0\5\0\0\0\7\5\0\0\3\0\0\0\xaa\0\0\0\xbb\0\0\0\xcc",
                        24);
    assert_false(rtcp_add_reference_time(&b, 7, 1));
    assert_false(rtcp_add_reference_answer(&b, 7, &answer));
    assert_int_equal(b.bytes, 44);
}

static void ntp_time_of_a_moment(void **state)
{
    static const struct {
        uint64_t wall_ns, ntp;
        uint32_t middle;
    } rows[] = {
        {0, 2208988800ull << 32, 0x7e800000},
        {500000000, (2208988800ull << 32) + 0x80000000ull, 0x7e808000},
        {999999999, (2208988800ull << 32) + 0xfffffffbull, 0x7e80ffff},
        {1700000000250000000ull, (3908988800ull << 32) + 0x40000000ull, 0x73804000},
        /* 2036-02-07 06:28:16: the seconds wrap (RFC 3550 4) */
        {2085978496000000000ull, 0, 0},
        {2085978497000000000ull, 1ull << 32, 0x10000},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(rtcp_ntp(rows[i].wall_ns) == rows[i].ntp);
        if (i != 3)
            assert_int_equal(rtcp_ntp_middle(rows[i].ntp), rows[i].middle);
        else
            assert_int_equal(rtcp_ntp_middle(rows[i].ntp), (uint32_t)(rows[i].ntp >> 16));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compounds_are_split),
        cmocka_unit_test(reports_are_read),
        cmocka_unit_test(byes_are_read),
        cmocka_unit_test(feedback_is_read),
        cmocka_unit_test(packets_are_built),
        cmocka_unit_test(builders_refuse_what_is_too_long),
        cmocka_unit_test(compounds_of_chromium_are_read),
        cmocka_unit_test(extended_reports),
        cmocka_unit_test(extended_reports_are_built),
        cmocka_unit_test(ntp_time_of_a_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
