/* Slices of text that belong to somebody else, and what is done with text from outside. */
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
/* Takes the part before the next `separator` off the front of rest; false (and an empty part) when
 * nothing is left. */
bool slice_next(struct slice *rest, char separator, struct slice *part);
struct slice slice_trim(struct slice slice); /* spaces and tabs */
/* Decimal digits only, at most `digits_max` of them. */
bool slice_number(struct slice slice, unsigned digits_max, uint64_t *value);
/* Is `token` in the comma separated list (any case)? RFC 9110 5.6.1. */
bool slice_has_token(struct slice list, const char *token);
/* NUL-terminated copy, cut to room - 1. */
void slice_copy(struct slice slice, char *to, size_t room);

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool utf8_valid(const char *bytes, size_t count);

/* RFC 4648 4, padding required, nothing else allowed. Returns the bytes written to `to` (at least
 * count / 4 * 3 of room), or -1. */
int64_t base64_decode(const char *from, size_t count, unsigned char *to);
/* Writes (count + 2) / 3 * 4 characters, no NUL. */
size_t base64_encode(const unsigned char *from, size_t count, char *to);

/* 15 bytes of the system's CSPRNG as 20 characters of base64url and a NUL. Connection and socket
 * ids are secrets: who knows one owns the session. */
#define SID_ROOM 21
void sid_make(char sid[SID_ROOM]);

#endif
