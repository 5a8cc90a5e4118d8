/* Strict parser of HTTP/1.1 request heads and chunked bodies. */
#include "http_parse.h"

#define CHUNK_OVERHEAD_MAX 1024 /* chunk extensions of one chunk; all trailers together */

/* RFC 9110 5.6.2 */
static bool is_token_character(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct slice slice)
{
    for (size_t i = 0; i < slice.bytes; i++)
        if (!is_token_character((unsigned char)slice.at[i]))
            return false;
    return slice.bytes > 0;
}

/* RFC 9110 5.5: visible characters, space, tab and obs-text; no other control character. */
static bool is_field_value(struct slice slice)
{
    for (size_t i = 0; i < slice.bytes; i++) {
        unsigned char c = (unsigned char)slice.at[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* Takes a line up to CR LF. 0: it is not complete; 200: done; 400: a CR or an LF alone. */
static int take_line(struct slice *rest, struct slice *line)
{
    const char *end = rest->bytes == 0 ? NULL : memchr(rest->at, '\n', rest->bytes);
    size_t count = end == NULL ? rest->bytes : (size_t)(end - rest->at);
    const char *cr = count == 0 ? NULL : memchr(rest->at, '\r', count);

    /* Some parsers end a line at a CR alone, others do not (RFC 9112 2.2). */
    if (cr != NULL && cr + 1 != rest->at + count)
        return 400;
    if (end == NULL)
        return 0;
    if (cr == NULL)
        return 400;
    *line = (struct slice){rest->at, count - 1};
    rest->at += count + 1;
    rest->bytes -= count + 1;
    return 200;
}

/* The target is in origin-form, in absolute-form (RFC 9112 3.2.2: a server must accept it), or
 * "*". */
static int parse_target(struct slice target, struct http_head *head)
{
    const char *question;

    if (target.bytes == 0)
        return 400;
    if (target.bytes > HTTP_TARGET_BYTES_MAX)
        return 414;
    for (size_t i = 0; i < target.bytes; i++)
        if ((unsigned char)target.at[i] <= 0x20 || (unsigned char)target.at[i] >= 0x7f)
            return 400;
    if (target.bytes > 7 && strncmp(target.at, "http://", 7) == 0) {
        const char *slash = memchr(target.at + 7, '/', target.bytes - 7);

        if (slash == NULL || slash == target.at + 7)
            return 400;
        target.bytes -= (size_t)(slash - target.at);
        target.at = slash;
    }
    if (target.at[0] != '/' && !(slice_is(target, "*") && slice_is(head->method, "OPTIONS")))
        return 400;
    question = memchr(target.at, '?', target.bytes);
    head->path = target;
    head->query = (struct slice){"", 0};
    if (question != NULL) {
        head->path.bytes = (size_t)(question - target.at);
        head->query.at = question + 1;
        head->query.bytes = target.bytes - head->path.bytes - 1;
    }
    return 200;
}

static int parse_request_line(struct slice line, struct http_head *head)
{
    struct slice target, version;

    if (!slice_next(&line, ' ', &head->method) || !slice_next(&line, ' ', &target) ||
        !slice_next(&line, ' ', &version) || line.at != NULL)
        return 400;
    if (!is_token(head->method) || head->method.bytes > 16)
        return 400;
    head->version_1_1 = slice_is(version, "HTTP/1.1");
    if (!head->version_1_1 && !slice_is(version, "HTTP/1.0")) {
        bool looks_right = version.bytes == 8 && memcmp(version.at, "HTTP/", 5) == 0 &&
                           version.at[6] == '.' && version.at[5] >= '0' && version.at[5] <= '9';

        return looks_right ? 505 : 400;
    }
    return parse_target(target, head);
}

static int parse_field(struct slice line, struct http_head *head)
{
    struct http_field *field;
    const char *colon = memchr(line.at, ':', line.bytes);

    /* White space at the beginning of a line (obs-fold) and before the colon is refused: parsers
     * read it in different ways (RFC 9112 5.1, 5.2). */
    if (colon == NULL)
        return 400;
    if (head->field_count == HTTP_FIELDS_MAX)
        return 431;
    field = &head->fields[head->field_count++];
    field->name = (struct slice){line.at, (size_t)(colon - line.at)};
    field->value = slice_trim((struct slice){colon + 1, line.bytes - field->name.bytes - 1});
    return is_token(field->name) && is_field_value(field->value) ? 200 : 400;
}

/* There must be exactly one way to find the end of the body (RFC 9112 6.3). */
static int parse_framing(struct http_head *head)
{
    unsigned lengths = http_field_count(head, "content-length");
    unsigned codings = http_field_count(head, "transfer-encoding");

    if (lengths > 1 || codings > 1 || (lengths == 1 && codings == 1))
        return 400;
    if (codings == 1) {
        if (!head->version_1_1)
            return 400;
        if (!slice_is_nocase(http_field(head, "transfer-encoding"), "chunked"))
            return 501;
        head->body = HTTP_BODY_CHUNKED;
    } else if (lengths == 1) {
        if (!slice_number(http_field(head, "content-length"), 15, &head->body_bytes))
            return 400;
        head->body = HTTP_BODY_LENGTH;
    }
    return 200;
}

static int parse_connection(struct http_head *head)
{
    struct slice expect = http_field(head, "expect");
    unsigned hosts = http_field_count(head, "host");
    bool close = false, keep = false;

    if (hosts > 1 || (hosts == 0 && head->version_1_1))
        return 400; /* RFC 9112 3.2 */
    for (unsigned i = 0; i < head->field_count; i++) {
        if (!slice_is_nocase(head->fields[i].name, "connection"))
            continue;
        close |= slice_has_token(head->fields[i].value, "close");
        keep |= slice_has_token(head->fields[i].value, "keep-alive");
    }
    head->keep_alive = !close && (head->version_1_1 || keep);
    if (expect.at != NULL && head->version_1_1) {
        if (!slice_is_nocase(expect, "100-continue"))
            return 417;
        head->expect_continue = true;
    }
    return 200;
}

int http_head_parse(const char *bytes, size_t count, struct http_head *head, size_t *head_bytes)
{
    struct slice rest = {bytes, count}, line = {NULL, 0};
    int status;

    /* One empty line before a request is allowed (RFC 9112 2.2). */
    if (count > 0 && bytes[0] == '\r') {
        status = take_line(&rest, &line);
        if (status != 200)
            return status;
    }
    head->method = head->path = head->query = (struct slice){NULL, 0};
    head->field_count = 0;
    head->body = HTTP_BODY_NONE;
    head->body_bytes = 0;
    head->version_1_1 = head->keep_alive = head->expect_continue = false;
    /* An error is reported at once, also when the head is not complete. */
    for (bool first = true;; first = false) {
        status = take_line(&rest, &line);
        if (status == 0)
            return count >= HTTP_HEAD_BYTES_MAX ? (first ? 414 : 431) : 0;
        if (status != 200)
            return status;
        if (!first && line.bytes == 0)
            break;
        status = first ? parse_request_line(line, head) : parse_field(line, head);
        if (status != 200)
            return status;
    }
    *head_bytes = (size_t)(rest.at - bytes);
    if (*head_bytes > HTTP_HEAD_BYTES_MAX)
        return 431;
    status = parse_framing(head);
    return status != 200 ? status : parse_connection(head);
}

struct slice http_field(const struct http_head *head, const char *name)
{
    for (unsigned i = 0; i < head->field_count; i++)
        if (slice_is_nocase(head->fields[i].name, name))
            return head->fields[i].value;
    return (struct slice){NULL, 0};
}

unsigned http_field_count(const struct http_head *head, const char *name)
{
    unsigned count = 0;

    for (unsigned i = 0; i < head->field_count; i++)
        count += slice_is_nocase(head->fields[i].name, name);
    return count;
}

struct slice http_query(struct slice query, const char *key)
{
    struct slice pair, name;

    while (slice_next(&query, '&', &pair))
        if (slice_next(&pair, '=', &name) && slice_is(name, key))
            return pair.at == NULL ? (struct slice){"", 0} : pair;
    return (struct slice){NULL, 0};
}

enum {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_START,
    CHUNK_TRAILER,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF
};

static int chunk_size_character(struct http_chunks *chunks, char c)
{
    unsigned digit;

    if (c >= '0' && c <= '9') {
        digit = (unsigned)(c - '0');
    } else if (c >= 'a' && c <= 'f') {
        digit = (unsigned)(c - 'a') + 10;
    } else if (c >= 'A' && c <= 'F') {
        digit = (unsigned)(c - 'A') + 10;
    } else if (chunks->digits > 0 && (c == ';' || c == '\r')) {
        chunks->state = c == ';' ? CHUNK_EXTENSION : CHUNK_SIZE_LF;
        return 0;
    } else {
        return 400;
    }
    if (++chunks->digits > 8)
        return 413;
    chunks->left = chunks->left << 4 | digit;
    return 0;
}

/* One character outside chunk data. */
static int chunk_character(struct http_chunks *chunks, char c)
{
    switch (chunks->state) {
    case CHUNK_SIZE:
        return chunk_size_character(chunks, c);
    case CHUNK_EXTENSION:
    case CHUNK_TRAILER:
        if (++chunks->overhead > CHUNK_OVERHEAD_MAX)
            return 431;
        if (c == '\r')
            chunks->state = chunks->state == CHUNK_TRAILER ? CHUNK_TRAILER_LF : CHUNK_SIZE_LF;
        return c == '\n' ? 400 : 0;
    case CHUNK_SIZE_LF:
        chunks->state = chunks->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_START;
        chunks->overhead = 0;
        chunks->digits = 0;
        return c == '\n' ? 0 : 400;
    case CHUNK_DATA_CR:
        chunks->state = CHUNK_DATA_LF;
        return c == '\r' ? 0 : 400;
    case CHUNK_DATA_LF:
        chunks->state = CHUNK_SIZE;
        return c == '\n' ? 0 : 400;
    case CHUNK_TRAILER_START:
        chunks->state = c == '\r' ? CHUNK_END_LF : CHUNK_TRAILER;
        return c == '\n' ? 400 : 0;
    case CHUNK_TRAILER_LF:
        chunks->state = CHUNK_TRAILER_START;
        return c == '\n' ? 0 : 400;
    default: /* CHUNK_END_LF */
        return c == '\n' ? 200 : 400;
    }
}

int http_chunks_read(struct http_chunks *chunks, const char *from, size_t count, size_t *used,
                     char *to, size_t *written)
{
    *used = *written = 0;
    while (*used < count) {
        int status;

        if (chunks->state == CHUNK_DATA) {
            size_t take = count - *used < chunks->left ? count - *used : (size_t)chunks->left;

            memcpy(to + *written, from + *used, take);
            *used += take;
            *written += take;
            chunks->left -= take;
            if (chunks->left == 0)
                chunks->state = CHUNK_DATA_CR;
            continue;
        }
        status = chunk_character(chunks, from[(*used)++]);
        if (status != 0)
            return status;
    }
    return 0;
}
