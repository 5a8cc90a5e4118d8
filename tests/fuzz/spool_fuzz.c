/* uses: controlplane */
/* Parses an arbitrary line of an audit spool, as a damaged disk could return it. A line that is
 * accepted is a row that is written as the same line again.
 *
 * Input: the line. If its first byte is 'c', the checksum is corrected first, so that the fuzzer
 * reaches the columns. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/spool.h"

static uint32_t crc32_of(const char *bytes, size_t count)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < count; i++) {
        crc ^= (uint8_t)bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[SPOOL_LINE_BYTES + 1], again[SPOOL_LINE_BYTES], sum[10];
    struct audit_row row, back;
    size_t length;

    if (size < 1 || size > SPOOL_LINE_BYTES - 16)
        return 0;
    length = size - 1;
    memcpy(line, data + 1, length);
    if (data[0] == 'c' && length >= 9) {
        snprintf(sum, sizeof(sum), "%08x\t", crc32_of(line + 9, length - 9));
        memcpy(line, sum, 9);
    }
    if (!spool_line_parse(line, length, &row))
        return 0;
    length = spool_line_format(&row, again);
    if (length == 0) /* a column has a line end: such a row cannot be written as one line */
        return 0;
    memcpy(line, again, length);
    if (!spool_line_parse(line, length - 1, &back) || strcmp(back.id, row.id) != 0 ||
        back.created_us != row.created_us)
        abort();
    return 0;
}
