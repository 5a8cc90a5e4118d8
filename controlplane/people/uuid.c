/* Random identifiers: version 4 UUIDs, room codes, and the random bytes they are made of. */
#include "uuid.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* No I, O, 0, 1: people read codes out over the telephone. 32 characters: five bits each, without
 * bias. */
static const char room_code_alphabet[33] = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

void random_fill(void *out, size_t bytes)
{
    uint8_t *at = out;

    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            abort(); /* cannot happen since Linux 3.17; predictable ids would be unsafe */
        at += got;
        bytes -= (size_t)got;
    }
}

void uuid_make(char out[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[16];
    char *at = out;

    random_fill(raw, sizeof(raw));
    raw[6] = (uint8_t)(0x40 | (raw[6] & 0x0f)); /* RFC 9562 §5.4: version 4 */
    raw[8] = (uint8_t)(0x80 | (raw[8] & 0x3f)); /* variant 10 */
    for (unsigned i = 0; i < sizeof(raw); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[raw[i] >> 4];
        *at++ = digits[raw[i] & 15];
    }
    *at = 0;
}

void room_code_make(char out[ROOM_CODE_BYTES])
{
    uint8_t raw[12];
    char *at = out;

    random_fill(raw, sizeof(raw));
    for (unsigned i = 0; i < sizeof(raw); i++) {
        if (i == 4 || i == 8)
            *at++ = '-';
        *at++ = room_code_alphabet[raw[i] & 31];
    }
    *at = 0;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool uuid_normalize(const char *text, char out[UUID_TEXT_BYTES])
{
    unsigned i = 0;

    out[0] = 0;
    if (!text)
        return false;
    while (is_space(*text))
        text++;
    for (; *text && !is_space(*text) && i < UUID_TEXT_BYTES - 1; i++, text++)
        out[i] = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
    out[i] = 0;
    while (is_space(*text))
        text++;
    if (!*text && uuid_is_valid(out))
        return true;
    out[0] = 0;
    return false;
}

/* Whoever wrote it may have put hyphens and spaces anywhere. */
bool room_code_normalize(const char *text, char out[ROOM_CODE_BYTES])
{
    unsigned i = 0;

    out[0] = 0;
    for (; text && *text; text++) {
        char c = *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text;

        if (is_space(c) || c == '-')
            continue;
        if (i == 4 || i == 9)
            out[i++] = '-';
        if (i == ROOM_CODE_BYTES - 1 || !strchr(room_code_alphabet, c)) {
            out[0] = 0;
            return false;
        }
        out[i++] = c;
    }
    if (i == ROOM_CODE_BYTES - 1) {
        out[i] = 0;
        return true;
    }
    out[0] = 0;
    return false;
}

bool room_name_normalize(const char *text, char out[UUID_TEXT_BYTES])
{
    return room_code_normalize(text, out) || uuid_normalize(text, out);
}

bool uuid_is_valid(const char *text)
{
    if (strnlen(text, UUID_TEXT_BYTES) != UUID_TEXT_BYTES - 1)
        return false;
    for (unsigned i = 0; i < UUID_TEXT_BYTES - 1; i++) {
        char c = text[i];

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (c != '-')
                return false;
        } else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

bool room_code_is_valid(const char *text)
{
    if (strnlen(text, ROOM_CODE_BYTES) != ROOM_CODE_BYTES - 1)
        return false;
    for (unsigned i = 0; i < ROOM_CODE_BYTES - 1; i++) {
        if (i == 4 || i == 9) {
            if (text[i] != '-')
                return false;
        } else if (!strchr(room_code_alphabet, text[i])) {
            return false;
        }
    }
    return true;
}
