/* What is missing, and how it is asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants these first */
#include <cmocka.h>

#include "perf/load/receiver.c"

/* Sequence numbers that came, r… came as RTX; then those that must be asked for, in order. */
static const struct {
    const char *came, *asked;
} rows[] = {
    {"10 11 12", ""},
    {"10 12", "11"},
    {"10 13 14", "11 12"},
    {"10 13 12 14", "11"},
    {"10 13 r11 14", "12"},
    {"10 13 r11 r12", ""},
    {"10 9 8 11", ""},      /* earlier than the first: was never missed */
    {"65534 1", "65535 0"}, /* over the end of the number space */
    {"10 12 40 41", "11 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 "
                    "38 39"},
    {"10 12 76", "13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 "
                 "40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 "
                 "67 68 69 70 71 72 73 74 75"},
    {"10 12 300", ""}, /* far too much for a NACK: a key frame's work */
};

static void asked_for(const struct receiver *r, char *out)
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

static void missing(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct receiver r = {.ssrc = 0x55667788};
        char copy[400], asked[400], *rest = copy, *word;
        uint64_t index = 0;

        snprintf(copy, sizeof(copy), "%s", rows[i].came);
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
        asked_for(&r, asked);
        if (strcmp(asked, rows[i].asked) != 0)
            fail_msg("%s: asked for %s, not %s", rows[i].came, asked, rows[i].asked);
    }
}

/* RFC 3550 A.3: fraction of what was lost since the last report, and all that was. */
static void blocks(void **state)
{
    struct receiver r = {.ssrc = 1};
    struct rtcp_report_block block;

    for (uint64_t index = 100; index < 200; index++)
        if (index % 4)
            receiver_count(&r, index, 0, 1);
    receiver_report(&r, &block, 5);
    assert_int_equal(block.packets_lost, 24); /* 100 came never: the first is 101 */
    assert_int_equal(block.fraction_lost, 24 * 256 / 99);
    assert_int_equal(block.highest_sequence, 199);
    for (uint64_t index = 200; index < 210; index++)
        receiver_count(&r, index, 0, 1);
    receiver_report(&r, &block, 5);
    assert_int_equal(block.packets_lost, 24);
    assert_int_equal(block.fraction_lost, 0);
    receiver_report(&r, &block, 5); /* nothing came: no division by it */
    assert_int_equal(block.fraction_lost, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing),
        cmocka_unit_test(blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
