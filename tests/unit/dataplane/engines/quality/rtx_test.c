/* Retransmissions become the packets that they repair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "dataplane/engines/quality/rtx.h"

/* With a CSRC, an extension block of 8 bytes, marker and padding bit. */
static const uint8_t retransmission[] = {
    0xb1, 0xe1, 0x00, 0x09, 1,    2,   3, 4, 0xaa, 0xaa, 0xaa, 0xaa, 9,   9, 9, 9,
    0xbe, 0xde, 0,    1,    0x40, 'm', 0, 0, 0x12, 0x34, 'p',  'a',  'y', 0, 0, 3};
enum { HEADER = 24, PAYLOAD = 5 };

static void a_packet_is_unwrapped(void **state)
{
    uint8_t data[sizeof(retransmission)];
    struct rtp_view view, again;
    uint16_t sequence = 0;
    size_t payload;

    memcpy(data, retransmission, sizeof(data));
    assert_true(rtp_parse(data, sizeof(data), &view));
    assert_int_equal(view.header_bytes, HEADER);
    assert_true(rtp_padding_strip(data, &view, sizeof(data), &payload));
    assert_int_equal(payload, PAYLOAD);
    assert_true(rtx_read(data, &view, payload, &sequence));
    assert_int_equal(sequence, 0x1234);
    rtx_unwrap(data, &view, 0x55667788, sequence, 96);
    /* Whoever parses the bytes again sees what the view says. */
    assert_true(rtp_parse(data + RTX_NUMBER_BYTES, HEADER + PAYLOAD - RTX_NUMBER_BYTES, &again));
    assert_int_equal(again.ssrc, 0x55667788);
    assert_int_equal(again.sequence, 0x1234);
    assert_int_equal(again.payload_type, 96);
    assert_int_equal(again.timestamp, 0x01020304);
    assert_true(again.marker);
    assert_false(again.has_padding);
    assert_int_equal(again.header_bytes, view.header_bytes);
    assert_int_equal(again.element_count, view.element_count);
    assert_memory_equal(again.elements, view.elements,
                        view.element_count * sizeof(view.elements[0]));
    assert_int_equal(view.ssrc, again.ssrc);
    assert_int_equal(view.sequence, again.sequence);
    assert_int_equal(view.payload_type, again.payload_type);
    assert_memory_equal(data + RTX_NUMBER_BYTES + HEADER, "pay", 3);
}

static void padding_repairs_nothing(void **state)
{
    struct rtp_view view;
    uint16_t sequence;

    assert_true(rtp_parse(retransmission, sizeof(retransmission), &view));
    for (size_t payload = 0; payload <= RTX_NUMBER_BYTES; payload++)
        assert_false(rtx_read(retransmission, &view, payload, &sequence));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_is_unwrapped),
        cmocka_unit_test(padding_repairs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
