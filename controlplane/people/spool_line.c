/* The audit spool: a row as a line of text, and back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool.h"

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

static const char *or_dash(const char *text)
{
    return text && text[0] ? text : "-";
}

size_t spool_line_format(const struct audit_row *row, char line[SPOOL_LINE_BYTES])
{
    char sum[10];
    int length = snprintf(line + 9, SPOOL_LINE_BYTES - 10, "%s\t%s\t%s\t%s\t%s\t%" PRId64 "\t%s",
                          row->id, row->action, or_dash(row->user_id), or_dash(row->room_id),
                          or_dash(row->ip_address), row->created_us, or_dash(row->metadata));

    if (length < 0 || length >= SPOOL_LINE_BYTES - 10 || memchr(line + 9, '\n', (size_t)length))
        return 0;
    snprintf(sum, sizeof(sum), "%08x\t", crc32_of(line + 9, (size_t)length));
    memcpy(line, sum, 9);
    line[9 + length] = '\n';
    return 9 + (size_t)length + 1;
}

/* The next column, up to a tab; "-" becomes "". NULL: there is none, or it is too long. */
static char *column_next(char **at, size_t room)
{
    char *text = *at, *end;

    if (!text)
        return NULL;
    end = strchr(text, '\t');
    if (end)
        *end++ = 0;
    *at = end;
    if (!strcmp(text, "-"))
        text[0] = 0;
    return strlen(text) < room ? text : NULL;
}

bool spool_line_parse(char *line, size_t length, struct audit_row *row)
{
    char *at = line + 9, *id, *action, *user, *room, *ip, *created;
    char sum[9];

    if (length < 10 || memchr(line, 0, length) || line[8] != '\t')
        return false;
    line[length] = 0;
    snprintf(sum, sizeof(sum), "%08x", crc32_of(line + 9, length - 9));
    if (memcmp(line, sum, 8) != 0)
        return false;
    id = column_next(&at, sizeof(row->id));
    action = column_next(&at, sizeof(row->action));
    user = column_next(&at, sizeof(row->user_id));
    room = column_next(&at, sizeof(row->room_id));
    ip = column_next(&at, sizeof(row->ip_address));
    created = column_next(&at, 24);
    if (!id || !action || !user || !room || !ip || !created || !at)
        return false;
    memset(row, 0, sizeof(*row));
    strcpy(row->id, id);
    strcpy(row->action, action);
    strcpy(row->user_id, user);
    strcpy(row->room_id, room);
    strcpy(row->ip_address, ip);
    row->created_us = strtoll(created, NULL, 10);
    row->metadata = strcmp(at, "-") ? at : NULL;
    return true;
}
