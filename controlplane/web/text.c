/* Slices, UTF-8, base64 and session ids. */
#include "text.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>

bool slice_is(struct slice slice, const char *text)
{
    return strlen(text) == slice.bytes &&
           (slice.bytes == 0 || memcmp(slice.at, text, slice.bytes) == 0);
}

bool slice_is_nocase(struct slice slice, const char *text)
{
    return strlen(text) == slice.bytes &&
           (slice.bytes == 0 || strncasecmp(slice.at, text, slice.bytes) == 0);
}

bool slice_next(struct slice *rest, char separator, struct slice *part)
{
    const char *end;

    *part = *rest;
    if (rest->at == NULL)
        return false;
    end = rest->bytes == 0 ? NULL : memchr(rest->at, separator, rest->bytes);
    if (end == NULL) {
        part->bytes = rest->bytes;
        *rest = (struct slice){NULL, 0};
        return true;
    }
    part->bytes = (size_t)(end - rest->at);
    rest->bytes -= part->bytes + 1;
    rest->at = end + 1;
    return true;
}

struct slice slice_trim(struct slice slice)
{
    while (slice.bytes > 0 && (slice.at[0] == ' ' || slice.at[0] == '\t')) {
        slice.at++;
        slice.bytes--;
    }
    while (slice.bytes > 0 &&
           (slice.at[slice.bytes - 1] == ' ' || slice.at[slice.bytes - 1] == '\t'))
        slice.bytes--;
    return slice;
}

bool slice_number(struct slice slice, unsigned digits_max, uint64_t *value)
{
    if (slice.bytes == 0 || slice.bytes > digits_max)
        return false;
    *value = 0;
    for (size_t i = 0; i < slice.bytes; i++) {
        if (slice.at[i] < '0' || slice.at[i] > '9')
            return false;
        *value = *value * 10 + (uint64_t)(slice.at[i] - '0');
    }
    return true;
}

bool slice_has_token(struct slice list, const char *token)
{
    struct slice part;

    while (slice_next(&list, ',', &part))
        if (slice_is_nocase(slice_trim(part), token))
            return true;
    return false;
}

void slice_copy(struct slice slice, char *to, size_t room)
{
    size_t count = slice.bytes < room ? slice.bytes : room - 1;

    if (count > 0)
        memcpy(to, slice.at, count);
    to[count] = '\0';
}

bool utf8_valid(const char *bytes, size_t count)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + count;

    while (at < end) {
        unsigned char lead = *at++;
        unsigned char low = 0x80, high = 0xbf;
        unsigned more;

        if (lead < 0x80)
            continue;
        if (lead >= 0xc2 && lead <= 0xdf) {
            more = 1;
        } else if (lead >= 0xe0 && lead <= 0xef) {
            more = 2;
            low = lead == 0xe0 ? 0xa0 : 0x80;
            high = lead == 0xed ? 0x9f : 0xbf;
        } else if (lead >= 0xf0 && lead <= 0xf4) {
            more = 3;
            low = lead == 0xf0 ? 0x90 : 0x80;
            high = lead == 0xf4 ? 0x8f : 0xbf;
        } else {
            return false;
        }
        if ((size_t)(end - at) < more || at[0] < low || at[0] > high)
            return false;
        for (unsigned i = 1; i < more; i++)
            if ((at[i] & 0xc0) != 0x80)
                return false;
        at += more;
    }
    return true;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int64_t base64_decode(const char *from, size_t count, unsigned char *to)
{
    size_t padding = 0, written = 0;

    if (count % 4 != 0)
        return -1;
    if (count > 0 && from[count - 1] == '=')
        padding = from[count - 2] == '=' ? 2 : 1;
    for (size_t i = 0; i < count; i += 4) {
        bool last = i + 4 == count;
        uint32_t word = 0;

        for (size_t j = 0; j < 4; j++) {
            int value = last && j >= 4 - padding ? 0 : base64_value(from[i + j]);

            if (value < 0)
                return -1;
            word = word << 6 | (uint32_t)value;
        }
        for (size_t j = 0; j < (last ? 3 - padding : 3); j++)
            to[written++] = (unsigned char)(word >> (16 - 8 * j));
    }
    return (int64_t)written;
}

static size_t base64_with(const unsigned char *from, size_t count, char *to, const char *alphabet)
{
    size_t written = 0;

    for (size_t i = 0; i < count; i += 3) {
        uint32_t word = (uint32_t)from[i] << 16;

        if (i + 1 < count)
            word |= (uint32_t)from[i + 1] << 8;
        if (i + 2 < count)
            word |= from[i + 2];
        to[written++] = alphabet[word >> 18];
        to[written++] = alphabet[word >> 12 & 63];
        to[written++] = i + 1 < count ? alphabet[word >> 6 & 63] : '=';
        to[written++] = i + 2 < count ? alphabet[word & 63] : '=';
    }
    return written;
}

size_t base64_encode(const unsigned char *from, size_t count, char *to)
{
    return base64_with(from, count, to,
                       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
}

void sid_make(char sid[SID_ROOM])
{
    unsigned char bytes[15];

    /* getrandom(2) returns up to 256 bytes completely or not at all. Without random ids the server
     * is not safe, so it ends. */
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        abort();
    sid[base64_with(bytes, sizeof(bytes), sid,
                    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")] = '\0';
}
