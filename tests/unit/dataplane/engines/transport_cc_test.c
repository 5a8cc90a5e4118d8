/* Transport-wide congestion control: a decoder of its own reads the reports and compares them with
 * what arrived. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/rtcp.h"
#include "dataplane/engines/transport_cc.h"

#define MS 1000000ull

/* What the reports said: when each packet arrived, in µs; 0: lost. */
struct decoded {
    int64_t arrival_us[65536];
    unsigned packets, reports;
    uint16_t first, count;
};

static uint32_t get(const uint8_t *p, int bytes)
{
    uint32_t v = 0;

    while (bytes-- > 0)
        v = v << 8 | *p++;
    return v;
}

static void decode(struct decoded *d, const uint8_t *p, size_t bytes)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    uint8_t symbols[70000];
    size_t at = 20, n = 0, count;
    int64_t tick;
    uint16_t base;

    assert_int_equal(rtcp_split(p, bytes, packets), 1);
    assert_int_equal(packets[0].type, RTCP_RTPFB);
    assert_int_equal(packets[0].count, RTPFB_TRANSPORT_CC);
    base = (uint16_t)get(p + 12, 2);
    count = get(p + 14, 2);
    tick = (int64_t)(get(p + 16, 3)) * 256;
    while (n < count) {
        uint32_t chunk = get(p + at, 2);

        at += 2;
        if (chunk & 0x8000) {
            assert_true(chunk & 0x4000);
            for (int k = 0; k < 7; k++)
                symbols[n++] = chunk >> (12 - 2 * k) & 3;
        } else {
            for (uint32_t k = chunk & 0x1fff; k > 0; k--)
                symbols[n++] = chunk >> 13 & 3;
        }
        assert_true(n < sizeof(symbols) - 8);
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(symbols[i] <= 2);
        if (symbols[i] == 0)
            continue;
        tick += symbols[i] == 1 ? (int)p[at] : (int16_t)get(p + at, 2);
        at += symbols[i];
        assert_true(at <= bytes);
        d->arrival_us[(uint16_t)(base + i)] = tick * 250;
        d->packets++;
    }
    d->reports++;
    d->first = base;
    d->count = (uint16_t)count;
}

static void report_all(struct transport_cc *cc, struct decoded *d, size_t room)
{
    uint8_t out[2000];
    size_t bytes;

    while ((bytes = transport_cc_build_report(cc, 1, 2, out, room)) > 0) {
        assert_true(bytes <= room);
        assert_int_equal(bytes % 4, 0);
        decode(d, out, bytes);
    }
}

static void steady_stream_is_reported(void **state)
{
    static struct transport_cc cc;
    static struct decoded d;

    memset(&cc, 0, sizeof(cc));
    memset(&d, 0, sizeof(d));
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(
            transport_cc_add_packet(&cc, (uint16_t)(65500 + i), 5000 * MS + i * 3 * MS), i == 0);
    report_all(&cc, &d, 1000);
    assert_int_equal(d.packets, 100);
    assert_int_equal(d.reports, 1);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(d.arrival_us[(uint16_t)(65500 + i)], 5000000 + i * 3000);
    assert_true(transport_cc_add_packet(&cc, (uint16_t)(65500 + 100), 6000 * MS));
}

/* Random loss, reordering, and pauses that are too long for a delta. */
static void random_arrivals_are_reported(void **state)
{
    static struct transport_cc cc;
    static struct decoded d;
    static int64_t fed[65536];
    uint64_t now = 100000 * MS;
    uint16_t sequence = 65000;

    for (unsigned seed = 0; seed < 200; seed++) {
        srand(seed);
        memset(&cc, 0, sizeof(cc));
        memset(&d, 0, sizeof(d));
        memset(fed, 0, sizeof(fed));
        for (int round = 0; round < 20; round++) {
            int n = rand() % 60;

            for (int i = 0; i < n; i++, sequence++) {
                now += (uint64_t)(rand() % 4000) * 250000 / (rand() % 50 + 1);
                if (rand() % 200 == 0)
                    now += 9000 * MS;
                if (rand() % 10 == 0)
                    continue; /* lost */
                if (rand() % 10 == 0 && i > 0 && !fed[(uint16_t)(sequence - 1)]) {
                    transport_cc_add_packet(&cc, (uint16_t)(sequence - 1), now); /* late */
                    fed[(uint16_t)(sequence - 1)] = (int64_t)(now / 250000 * 250);
                }
                transport_cc_add_packet(&cc, sequence, now);
                fed[sequence] = (int64_t)(now / 250000 * 250);
            }
            report_all(&cc, &d, 64 + (size_t)(rand() % 900));
        }
        for (int i = 0; i < 65536; i++)
            if (fed[i])
                assert_int_equal(d.arrival_us[i] % (1 << 24), fed[i] % (1 << 24));
    }
}

static void oldest_packets_are_forgotten_when_the_window_is_full(void **state)
{
    static struct transport_cc cc;
    static struct decoded d;

    memset(&cc, 0, sizeof(cc));
    memset(&d, 0, sizeof(d));
    for (unsigned i = 0; i < 3000; i++)
        transport_cc_add_packet(&cc, (uint16_t)i, 5000 * MS + i * MS / 10);
    report_all(&cc, &d, 1000);
    assert_int_equal(d.packets, TRANSPORT_CC_WINDOW);
    assert_true(d.arrival_us[2999] != 0);
    assert_int_equal(d.arrival_us[3000 - TRANSPORT_CC_WINDOW - 1], 0);
}

static void late_packet_is_reported_with_all_after_it(void **state)
{
    static struct transport_cc cc;
    static struct decoded d;

    memset(&cc, 0, sizeof(cc));
    memset(&d, 0, sizeof(d));
    for (unsigned i = 0; i < 10; i++)
        if (i != 4)
            transport_cc_add_packet(&cc, (uint16_t)i, 5000 * MS + i * MS);
    report_all(&cc, &d, 1000);
    assert_int_equal(d.packets, 9);
    assert_int_equal(d.arrival_us[4], 0);
    assert_true(transport_cc_add_packet(&cc, 4, 5020 * MS));
    report_all(&cc, &d, 1000);
    assert_int_equal(d.first, 4);
    assert_int_equal(d.count, 6);
    assert_int_equal(d.arrival_us[4], 5020000);
    assert_int_equal(transport_cc_build_report(&cc, 1, 2, (uint8_t[64]){0}, 64), 0);
}

/* Packets that are lost between two reports are in the second one. */
static void gap_at_the_beginning_is_reported(void **state)
{
    static struct transport_cc cc;
    static struct decoded d;

    memset(&cc, 0, sizeof(cc));
    memset(&d, 0, sizeof(d));
    transport_cc_add_packet(&cc, 100, 5000 * MS);
    report_all(&cc, &d, 1000);
    transport_cc_add_packet(&cc, 104, 5100 * MS);
    report_all(&cc, &d, 1000);
    assert_int_equal(d.first, 101);
    assert_int_equal(d.count, 4);
    assert_int_equal(d.arrival_us[101], 0);
    assert_int_equal(d.arrival_us[104], 5100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady_stream_is_reported),
        cmocka_unit_test(random_arrivals_are_reported),
        cmocka_unit_test(gap_at_the_beginning_is_reported),
        cmocka_unit_test(oldest_packets_are_forgotten_when_the_window_is_full),
        cmocka_unit_test(late_packet_is_reported_with_all_after_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
