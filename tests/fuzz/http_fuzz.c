/* uses: controlplane */
/* Parses arbitrary bytes as an HTTP request. Everything that the parser finds must lie inside the
 * input, and a chunked body must be the same whether it arrives whole or in pieces. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/http_parse.h"

static void require(bool truth)
{
    if (!truth)
        abort();
}

static bool inside(struct slice slice, const char *bytes, size_t count)
{
    return slice.bytes == 0 || (slice.at >= bytes && slice.at + slice.bytes <= bytes + count);
}

static size_t decode(const char *bytes, size_t count, size_t step, char *body, int *status)
{
    struct http_chunks chunks = {0};
    size_t total = 0, used, written;

    *status = 0;
    while (*status == 0 && count > 0) {
        size_t take = count < step ? count : step;

        *status = http_chunks_read(&chunks, bytes, take, &used, body + total, &written);
        require(used <= take && written <= used);
        total += written;
        bytes += used;
        count -= used;
    }
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    const char *bytes = (const char *)data;
    struct http_head head;
    size_t used = 0;
    int status = http_head_parse(bytes, count, &head, &used);
    char *whole, *pieces;
    int whole_status, pieces_status;
    size_t whole_bytes, pieces_bytes;

    require(status == 0 || status == 200 || (status >= 400 && status < 600));
    if (status != 200)
        return 0;
    require(used <= count && used <= HTTP_HEAD_BYTES_MAX);
    require(inside(head.method, bytes, used) && inside(head.path, bytes, used));
    require(head.query.bytes == 0 || inside(head.query, bytes, used));
    for (unsigned i = 0; i < head.field_count; i++)
        require(inside(head.fields[i].name, bytes, used) &&
                inside(head.fields[i].value, bytes, used));
    http_query(head.query, "sid");
    whole = malloc(count + 1);
    pieces = malloc(count + 1);
    whole_bytes = decode(bytes + used, count - used, count, whole, &whole_status);
    pieces_bytes = decode(bytes + used, count - used, 1, pieces, &pieces_status);
    require(whole_status == pieces_status && whole_bytes == pieces_bytes);
    require(memcmp(whole, pieces, whole_bytes) == 0);
    free(whole);
    free(pieces);
    return 0;
}
