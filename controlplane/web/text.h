/* Slices of text, UTF-8, base64, and session ids. A slice does not own its memory. */
#ifndef RINGCAST_WEB_TEXT_H
#define RINGCAST_WEB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *at;
    size_t bytes;
};

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

bool slice_is(struct slice slice, const char *text);
bool slice_is_nocase(struct slice slice, const char *text);
/* Moves the part before the next `separator` from rest to part. False when nothing is left. */
bool slice_next(struct slice *rest, char separator, struct slice *part);
struct slice slice_trim(struct slice slice); /* spaces and tabs */
/* Decimal digits only, at most `digits_max` of them. */
bool slice_number(struct slice slice, unsigned digits_max, uint64_t *value);
/* Is `token` in the comma separated list, in upper or lower case? RFC 9110 5.6.1. */
bool slice_has_token(struct slice list, const char *token);
/* Copies at most room - 1 bytes and a NUL. */
void slice_copy(struct slice slice, char *to, size_t room);

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_valid(const char *bytes, size_t count);

/* RFC 4648 4, with padding, without white space. `to` needs room for count / 4 * 3 bytes. Returns
 * how many were written, or -1. */
int64_t base64_decode(const char *from, size_t count, unsigned char *to);
/* Writes (count + 2) / 3 * 4 characters, no NUL. */
size_t base64_encode(const unsigned char *from, size_t count, char *to);

/* Makes the id of a session or a socket: 15 random bytes as 20 characters of base64url, and a NUL.
 * An id is a secret: any client that knows it can use the session. */
#define SID_ROOM 21
void sid_make(char sid[SID_ROOM]);

#endif
