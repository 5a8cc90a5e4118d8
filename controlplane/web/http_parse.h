/* Parses the head of HTTP/1.1 requests and chunked bodies (RFC 9110, RFC 9112). An engine without
 * I/O. It is strict: where parsers are lenient, a proxy and a server can disagree about where a
 * request ends (request smuggling).
 *
 * Memory: slices point into the bytes of the caller. Limits: HTTP_HEAD_BYTES_MAX, HTTP_FIELDS_MAX.
 * Errors: the HTTP status for the answer; then the connection must be closed. */
#ifndef RINGCAST_HTTP_PARSE_H
#define RINGCAST_HTTP_PARSE_H

#include "text.h"

#define HTTP_HEAD_BYTES_MAX 16384
#define HTTP_FIELDS_MAX 100
#define HTTP_TARGET_BYTES_MAX 4096

struct http_field {
    struct slice name, value;
};

enum http_body_kind { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

struct http_head {
    struct slice method, path, query; /* still percent-encoded; query without '?' */
    bool version_1_1, keep_alive, expect_continue;
    enum http_body_kind body;
    uint64_t body_bytes; /* for HTTP_BODY_LENGTH */
    unsigned field_count;
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* Parses a head from the first `count` bytes. 0: it is not complete; 200: done, it has *head_bytes
 * bytes; any other status: what is wrong with it. */
int http_head_parse(const char *bytes, size_t count, struct http_head *head, size_t *head_bytes);

/* The first field with that name. Its `at` is NULL when there is none. */
struct slice http_field(const struct http_head *head, const char *name);
unsigned http_field_count(const struct http_head *head, const char *name);
/* The value of a key in a query string, still encoded. Its `at` is NULL when there is none. */
struct slice http_query(struct slice query, const char *key);

/* State of the decoder of a chunked body (RFC 9112 7.1). Zero it before the first byte. */
struct http_chunks {
    uint8_t state;
    uint8_t digits;
    uint16_t overhead; /* bytes of extensions since the last chunk, or of trailers */
    uint64_t left;
};

/* Decodes `count` bytes from `from` to `to`, which has room for `count` bytes. 0: all bytes are
 * used, more of the body follows; 200: the body is complete, *used bytes belong to it; any other
 * status: an error. */
int http_chunks_read(struct http_chunks *chunks, const char *from, size_t count, size_t *used,
                     char *to, size_t *written);

#endif
