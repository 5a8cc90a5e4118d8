/* HTTP/1.1 heads and chunked bodies, in one piece and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/http_parse.h"

/* The status of a head. Each shorter part of it must be incomplete or get the same status. */
static int status_of(const char *text, struct http_head *head)
{
    size_t bytes = strlen(text), used = 0;
    int status = http_head_parse(text, bytes, head, &used);

    for (size_t count = 0; count < bytes; count++) {
        char *part = malloc(count + 1);
        struct http_head early;
        size_t early_used = 0;
        int early_status;

        memcpy(part, text, count);
        early_status = http_head_parse(part, count, &early, &early_used);
        free(part);
        if (early_status == 200 ? status != 200 || early_used != used
                                : early_status != 0 && early_status != status)
            fail_msg("%.60s…: %d after %zu bytes, %d in all", text, early_status, count, status);
    }
    return status;
}

#define HOST "Host: x\r\n"
#define POST "POST / HTTP/1.1\r\n" HOST

static void heads(void **state)
{
    static const struct {
        const char *text;
        int status;
        enum http_body_kind body;
        uint64_t body_bytes;
        bool keep_alive;
    } rows[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", 200, HTTP_BODY_NONE, 0, true},
        {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 200, HTTP_BODY_NONE, 0, true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: Close\r\n\r\n", 200, HTTP_BODY_NONE, 0, false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: x,close , y\r\n\r\n", 200, HTTP_BODY_NONE, 0,
         false},
        {"GET / HTTP/1.0\r\n\r\n", 200, HTTP_BODY_NONE, 0, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, HTTP_BODY_NONE, 0, true},
        {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 200, HTTP_BODY_NONE, 0, true},
        {"GET http://h/p?q HTTP/1.1\r\n" HOST "\r\n", 200, HTTP_BODY_NONE, 0, true},
        {POST "Content-Length: 5\r\n\r\n", 200, HTTP_BODY_LENGTH, 5, true},
        {POST "content-length:\t 005 \r\n\r\n", 200, HTTP_BODY_LENGTH, 5, true},
        {POST "Transfer-Encoding: Chunked\r\n\r\n", 200, HTTP_BODY_CHUNKED, 0, true},
        {.text = POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", .status = 400},
        {.text = POST "Content-Length: 5,5\r\n\r\n", .status = 400},
        {.text = POST "Content-Length: 5x\r\n\r\n", .status = 400},
        {.text = POST "Content-Length: -5\r\n\r\n", .status = 400},
        {.text = POST "Content-Length: 1234567890123456\r\n\r\n", .status = 400},
        {.text = POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", .status = 400},
        {.text = POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
         .status = 400},
        {.text = POST "Transfer-Encoding: gzip\r\n\r\n", .status = 501},
        {.text = POST "Transfer-Encoding:\r\n\r\n", .status = 501},
        {.text = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .status = 400},
        {.text = "GET / HTTP/1.1\r\n\r\n", .status = 400},
        {.text = "GET / HTTP/1.1\r\n" HOST HOST "\r\n", .status = 400},
        {.text = "GET / HTTP/1.1\n" HOST "\r\n", .status = 400},
        {.text = "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", .status = 400},
        {.text = "GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n", .status = 400},
        {.text = "GET / HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n", .status = 400},
        {.text = "GET / HTTP/1.1\r\n" HOST "A: b\x7f\r\n\r\n", .status = 400},
        {.text = "GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", .status = 400},
        {.text = "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", .status = 400},
        {.text = "GET  / HTTP/1.1\r\n\r\n", .status = 400},
        {.text = "GET / HTTP/1.1 \r\n\r\n", .status = 400},
        {.text = "GET x HTTP/1.1\r\n\r\n", .status = 400},
        {.text = "GET * HTTP/1.1\r\n\r\n", .status = 400},
        {.text = "GET http:// HTTP/1.1\r\n\r\n", .status = 400},
        {.text = "GET http:/// HTTP/1.1\r\n\r\n", .status = 400},
        {.text = "GE(T / HTTP/1.1\r\n\r\n", .status = 400},
        {.text = "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n\r\n", .status = 400},
        {.text = "GET / HTTP/2.0\r\n\r\n", .status = 505},
        {.text = "GET / http/1.1\r\n\r\n", .status = 400},
        {.text = "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", .status = 400},
        {.text = POST "Content-Length: 5\r\nExpect: x\r\n\r\n", .status = 417},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_head head;
        int status = status_of(rows[i].text, &head);

        if (status != rows[i].status)
            fail_msg("%s: %d, not %d", rows[i].text, status, rows[i].status);
        if (status != 200)
            continue;
        assert_int_equal(head.body, rows[i].body);
        assert_int_equal(head.body_bytes, rows[i].body_bytes);
        assert_int_equal(head.keep_alive, rows[i].keep_alive);
    }
}

static void parts(void **state)
{
    struct http_head head;
    size_t used;
    const char text[] =
        "GET /a/b?EIO=4&sid=&x&sid=2 HTTP/1.1\r\nHost: x\r\nA: 1\r\na:  2 \r\n\r\nrest";

    assert_int_equal(http_head_parse(text, sizeof(text) - 1, &head, &used), 200);
    assert_int_equal(used, sizeof(text) - 1 - 4);
    assert_true(slice_is(head.method, "GET"));
    assert_true(slice_is(head.path, "/a/b"));
    assert_true(slice_is(http_query(head.query, "EIO"), "4"));
    assert_true(slice_is(http_query(head.query, "sid"), "")); /* the first of two */
    assert_non_null(http_query(head.query, "sid").at);
    assert_true(slice_is(http_query(head.query, "x"), ""));
    assert_null(http_query(head.query, "eio").at);
    assert_int_equal(http_field_count(&head, "a"), 2);
    assert_true(slice_is(http_field(&head, "a"), "1"));
    assert_true(slice_is(head.fields[2].value, "2"));
    assert_null(http_field(&head, "b").at);
}

static void sizes(void **state)
{
    struct http_head head;
    size_t used;
    char *text = calloc(1, HTTP_HEAD_BYTES_MAX + 64);

    memset(text, 'a', HTTP_HEAD_BYTES_MAX);
    assert_int_equal(http_head_parse(text, HTTP_HEAD_BYTES_MAX - 1, &head, &used), 0);
    assert_int_equal(http_head_parse(text, HTTP_HEAD_BYTES_MAX, &head, &used), 414);
    memcpy(text, "GET / HTTP/1.1\r\nA:", 18);
    assert_int_equal(http_head_parse(text, HTTP_HEAD_BYTES_MAX - 1, &head, &used), 0);
    assert_int_equal(http_head_parse(text, HTTP_HEAD_BYTES_MAX, &head, &used), 431);
    strcpy(text, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < HTTP_FIELDS_MAX - 1; i++)
        strcat(text, "A:\r\n");
    strcat(text, "\r\n");
    assert_int_equal(http_head_parse(text, strlen(text), &head, &used), 200);
    strcpy(text + strlen(text) - 2, "A:\r\n\r\n");
    assert_int_equal(http_head_parse(text, strlen(text), &head, &used), 431);
    free(text);
}

static void chunks(void **state)
{
    static const struct {
        const char *text;
        int status;
        const char *body;
        size_t left; /* bytes after the body */
    } rows[] = {
        {"0\r\n\r\n", 200, "", 0},
        {"5\r\nhello\r\n0\r\n\r\n", 200, "hello", 0},
        {"5\r\nhello\r\n0\r\n\r\nGET", 200, "hello", 3},
        {"00A;x=\"y\"\r\n0123456789\r\n1\r\nx\r\n0\r\nT: v\r\nU: w\r\n\r\n", 200, "0123456789x", 0},
        {"5\r\nhel", 0, "hel", 0},
        {"5\r\nhello\r\n", 0, "hello", 0},
        {"\r\n", 400, "", 0},
        {"x\r\n", 400, "", 0},
        {"5 \r\n", 400, "", 0},
        {"-1\r\n", 400, "", 0},
        {"5\nhello", 400, "", 0},
        {"5\rhello", 400, "", 0},
        {"5;a\nhello", 400, "", 0},
        {"5\r\nhellox", 400, "hello", 0},
        {"5\r\nhello\rx", 400, "hello", 0},
        {"0\r\nT\n", 400, "", 0},
        {"0\r\n\rx", 400, "", 0},
        {"123456789\r\n", 413, "", 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t step = 1; step <= 64; step += 9) {
            struct http_chunks decoder = {0};
            const char *at = rows[i].text;
            size_t left = strlen(at), used, written, bytes = 0;
            char body[64];
            int status = 0;

            while (status == 0 && left > 0) {
                size_t count = left < step ? left : step;

                status = http_chunks_read(&decoder, at, count, &used, body + bytes, &written);
                bytes += written;
                at += used;
                left -= used;
            }
            if (status != rows[i].status)
                fail_msg("%s: %d, not %d", rows[i].text, status, rows[i].status);
            assert_int_equal(bytes, strlen(rows[i].body));
            assert_memory_equal(body, rows[i].body, bytes);
            if (status == 200)
                assert_int_equal(left, rows[i].left);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),
        cmocka_unit_test(parts),
        cmocka_unit_test(sizes),
        cmocka_unit_test(chunks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
