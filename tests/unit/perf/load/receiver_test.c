/* Which packets a receiver reports as missing, and the counters of its report blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs these first */
#include <cmocka.h>

#include "perf/load/receiver.c"

/* Arrived sequence numbers (r…: as RTX), then the numbers that the NACK must contain, in order. */
static const struct {
    const char *arrived, *missing;
} rows[] = {
    {"10 11 12", ""},
    {"10 12", "11"},
    {"10 13 14", "11 12"},
    {"10 13 12 14", "11"},
    {"10 13 r11 14", "12"},
    {"10 13 r11 r12", ""},
    {"10 9 8 11", ""},      /* older than the first packet */
    {"65534 1", "65535 0"}, /* numbers wrap around */
    {"10 12 40 41", "11 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 "
                    "38 39"},
    {"10 12 76", "13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 "
                 "40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 "
                 "67 68 69 70 71 72 73 74 75"},
    {"10 12 300", ""}, /* too many for a NACK: only a key frame helps */
};

static void list_nack(const struct receiver *r, char *out)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    uint8_t data[12 + 4 * 64];
    uint32_t sender, media;
    uint16_t id, mask;

    out[0] = '\0';
    if (!r->missing_mask)
        return;
    assert_int_equal(rtcp_split(data, receiver_nack(r, 0x11223344, data), packets), 1);
    assert_int_equal(packets[0].type, RTCP_RTPFB);
    assert_int_equal(packets[0].count, RTPFB_NACK);
    assert_true(rtcp_read_feedback(&packets[0], &sender, &media));
    assert_int_equal(sender, 0x11223344);
    assert_int_equal(media, 0x55667788);
    for (size_t i = 0; rtcp_read_nack(&packets[0], i, &id, &mask); i++) {
        out += sprintf(out, "%s%u", i ? " " : "", id);
        for (int k = 0; k < 16; k++)
            if (mask >> k & 1)
                out += sprintf(out, " %u", (uint16_t)(id + 1 + k));
    }
}

static void nack_names_missing_packets(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct receiver r = {.ssrc = 0x55667788};
        char copy[400], named[400], *rest = copy, *word;
        uint64_t index = 0;

        snprintf(copy, sizeof(copy), "%s", rows[i].arrived);
        while ((word = strsep(&rest, " "))) {
            uint16_t sequence = (uint16_t)atoi(word[0] == 'r' ? word + 1 : word);

            if (word[0] == 'r') {
                receiver_recovered(&r, sequence);
                continue;
            }
            if (index && sequence < 1000 && (uint16_t)index > 60000)
                index += 65536;
            index = (index & ~0xffffull) | sequence;
            receiver_count(&r, index, 0, 1);
        }
        list_nack(&r, named);
        if (strcmp(named, rows[i].missing) != 0)
            fail_msg("%s: the NACK contains %s, not %s", rows[i].arrived, named, rows[i].missing);
    }
}

/* RFC 3550 A.3: the lost fraction since the previous report, and the sum of all lost packets. */
static void report_blocks_count_loss(void **state)
{
    struct receiver r = {.ssrc = 1};
    struct rtcp_report_block block;

    for (uint64_t index = 100; index < 200; index++)
        if (index % 4)
            receiver_count(&r, index, 0, 1);
    receiver_report(&r, &block, 5);
    assert_int_equal(block.packets_lost, 24); /* counted from the first packet that arrived, 101 */
    assert_int_equal(block.fraction_lost, 24 * 256 / 99);
    assert_int_equal(block.highest_sequence, 199);
    for (uint64_t index = 200; index < 210; index++)
        receiver_count(&r, index, 0, 1);
    receiver_report(&r, &block, 5);
    assert_int_equal(block.packets_lost, 24);
    assert_int_equal(block.fraction_lost, 0);
    receiver_report(&r, &block, 5); /* no new packet: no division by 0 */
    assert_int_equal(block.fraction_lost, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nack_names_missing_packets),
        cmocka_unit_test(report_blocks_count_loss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
