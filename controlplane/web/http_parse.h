/* HTTP/1.1 requests as bytes: the head and chunked bodies (RFC 9110, RFC 9112). An engine without
 * I/O. Strict where leniency lets two readers disagree about where a request ends (smuggling).
 *
 * Memory: slices point into the bytes given. Limits: HTTP_HEAD_BYTES_MAX, HTTP_FIELDS_MAX.
 * Errors: an HTTP status to answer before the connection is closed. */
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
    struct slice method, path, query; /* as sent, still percent-encoded; query without '?' */
    bool version_1_1, keep_alive, expect_continue;
    enum http_body_kind body;
    uint64_t body_bytes; /* for HTTP_BODY_LENGTH */
    unsigned field_count;
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* Parses a whole head out of the first `count` bytes. 0: incomplete, more is needed; 200: done,
 * *head_bytes were used; else the status of what is wrong with it. */
int http_head_parse(const char *bytes, size_t count, struct http_head *head, size_t *head_bytes);

/* First field of that name; an empty slice (at NULL) when there is none. */
struct slice http_field(const struct http_head *head, const char *name);
unsigned http_field_count(const struct http_head *head, const char *name);
/* Value of a key in a query string, as sent; at NULL when it is not there. */
struct slice http_query(struct slice query, const char *key);

/* A chunked body being decoded (RFC 9112 7.1). Zeroed before the first byte. */
struct http_chunks {
    uint8_t state;
    uint8_t digits;
    uint16_t overhead; /* bytes of extensions since the last chunk, or of trailers */
    uint64_t left;
};

/* Decodes from `from` to the end of `to` (which has room for as many bytes). Returns 0: all read,
 * more to come; 200: body complete, *used bytes were read; else a status. */
int http_chunks_read(struct http_chunks *chunks, const char *from, size_t count, size_t *used,
                     char *to, size_t *written);

#endif
