/* Which datagrams have the form of a ClientHello, and how its fragments are put together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/engines/client_hello.h"
#include "hello_build.h"
#include "tests/data/chromium_client_hello.h"

static struct client_hello hello;
static uint8_t body[HELLO_BYTES_MAX];

static int begin_anew(void **state)
{
    memset(&hello, 0, sizeof(hello));
    return 0;
}

/* Gives fragment [offset … offset + count) of the body to the engine. */
static size_t give(uint16_t sequence, size_t bytes, size_t offset, size_t count)
{
    uint8_t datagram[HELLO_BYTES_MAX];

    return client_hello_add(&hello, datagram,
                            hello_fragment(datagram, 1, sequence, body, bytes, offset, count));
}

/* The engine's datagram has one record with the whole body, and the given sequence number. */
static void expect_whole(size_t datagram_bytes, uint16_t sequence, size_t bytes)
{
    uint8_t expected[HELLO_BYTES_MAX];

    assert_int_equal(datagram_bytes, hello_fragment(expected, 1, sequence, body, bytes, 0, bytes));
    assert_memory_equal(hello.datagram, expected, datagram_bytes);
    assert_int_equal(hello.message_bytes, 0); /* it holds nothing any more */
}

static void whole_hello_is_taken_at_once(void **state)
{
    uint8_t datagram[HELLO_BYTES_MAX];
    size_t bytes = hello_whole(datagram, 3);

    assert_true(client_hello_begins(datagram, bytes));
    assert_int_equal(client_hello_add(&hello, datagram, bytes), bytes);
    assert_memory_equal(hello.datagram, datagram, bytes);
    /* What follows the ClientHello in the datagram is not passed on. */
    memcpy(datagram + bytes, "\x15\xfe\xfd\0\0\0\0\0\0\0\0\0\x02\x02\x28", 15);
    assert_int_equal(client_hello_add(&hello, datagram, bytes + 15), bytes);
}

static void bad_first_datagrams_begin_nothing(void **state)
{
    for (unsigned i = 0; i < BAD_FIRST_MALFORMED; i++) {
        uint8_t datagram[HELLO_BYTES_MAX];
        const char *name;
        size_t bytes = bad_first(i, datagram, &name);

        if (client_hello_begins(datagram, bytes) || client_hello_add(&hello, datagram, bytes))
            fail_msg("%s", name);
    }
}

/* Every shorter ClientHello is malformed, except one that ends before its extensions. */
static void truncated_hello_is_malformed(void **state)
{
    size_t bytes = hello_body(body, false);

    for (size_t n = 0; n < bytes; n++) {
        uint8_t datagram[HELLO_BYTES_MAX];
        size_t datagram_bytes = hello_fragment(datagram, 1, 0, body, n, 0, n);

        assert_int_equal(client_hello_begins(datagram, datagram_bytes), n == 46);
        for (size_t cut = 0; cut < datagram_bytes; cut++)
            assert_false(client_hello_begins(datagram, cut));
    }
}

static void fragments_are_put_together(void **state)
{
    size_t bytes = hello_body(body, true), half = bytes / 2;

    assert_int_equal(give(1, bytes, 0, half), 0); /* in order */
    expect_whole(give(2, bytes, half, bytes - half), 2, bytes);
    assert_int_equal(give(4, bytes, half, bytes - half), 0); /* reversed */
    expect_whole(give(3, bytes, 0, half), 4, bytes);
    assert_int_equal(give(5, bytes, 0, half), 0); /* the first one twice, then overlapping */
    assert_int_equal(give(6, bytes, 0, half), 0);
    expect_whole(give(7, bytes, half - 50, bytes - half + 50), 7, bytes);
    for (size_t at = bytes - 1; at > 0; at--) /* byte by byte, from the end */
        assert_int_equal(give((uint16_t)(bytes - at), bytes, at, 1), 0);
    expect_whole(give((uint16_t)bytes, bytes, 0, 1), (uint16_t)bytes, bytes);
}

static void hello_of_chromium_is_put_together(void **state)
{
    for (unsigned reversed = 0; reversed < 2; reversed++) {
        const uint8_t *first = reversed ? chromium_client_hello_1 : chromium_client_hello_0;
        const uint8_t *second = reversed ? chromium_client_hello_0 : chromium_client_hello_1;
        size_t sizes[2] = {sizeof(chromium_client_hello_0), sizeof(chromium_client_hello_1)};

        assert_true(client_hello_begins(first, sizes[reversed]));
        assert_true(client_hello_begins(second, sizes[!reversed]));
        assert_int_equal(client_hello_add(&hello, first, sizes[reversed]), 0);
        assert_true(client_hello_add(&hello, second, sizes[!reversed]) > 1300);
    }
}

/* Somebody else sends a fragment first. Neither another length nor other bytes keep the true
 * ClientHello out for longer than until it is sent again. */
static void a_false_fragment_does_not_stay(void **state)
{
    size_t bytes = hello_body(body, true), half = bytes / 2;
    uint8_t false_bytes[HELLO_BYTES_MAX], datagram[HELLO_BYTES_MAX];

    memset(false_bytes, 0x5a, sizeof(false_bytes));
    for (unsigned other_length = 0; other_length < 2; other_length++) {
        size_t n = hello_fragment(datagram, 1, 0, false_bytes, bytes + other_length, half, 10);
        size_t whole = 0;

        assert_int_equal(client_hello_add(&hello, datagram, n), 0);
        for (uint16_t sent = 0; sent < 2 && !whole; sent++) {
            whole = give((uint16_t)(1 + 2 * sent), bytes, 0, half);
            if (!whole)
                whole = give((uint16_t)(2 + 2 * sent), bytes, half, bytes - half);
        }
        assert_true(whole > 0);
        assert_memory_equal(hello.datagram + CLIENT_HELLO_HEAD_BYTES, body, bytes);
    }
}

static void a_hello_has_a_greatest_length(void **state)
{
    static uint8_t datagram[1000], long_body[20000];

    for (size_t bytes = DTLS_MESSAGE_BYTES_MAX - 1; bytes <= DTLS_MESSAGE_BYTES_MAX + 1; bytes++) {
        size_t n = hello_fragment(datagram, 1, 0, long_body, bytes, 0, 900);

        assert_int_equal(client_hello_begins(datagram, n), bytes <= DTLS_MESSAGE_BYTES_MAX);
        n = hello_fragment(datagram, 1, 0, long_body, bytes, bytes - 900, 900);
        assert_int_equal(client_hello_begins(datagram, n), bytes <= DTLS_MESSAGE_BYTES_MAX);
        client_hello_add(&hello, datagram, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(whole_hello_is_taken_at_once, begin_anew),
        cmocka_unit_test_setup(bad_first_datagrams_begin_nothing, begin_anew),
        cmocka_unit_test_setup(truncated_hello_is_malformed, begin_anew),
        cmocka_unit_test_setup(fragments_are_put_together, begin_anew),
        cmocka_unit_test_setup(hello_of_chromium_is_put_together, begin_anew),
        cmocka_unit_test_setup(a_false_fragment_does_not_stay, begin_anew),
        cmocka_unit_test_setup(a_hello_has_a_greatest_length, begin_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
