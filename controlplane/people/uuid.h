/* Random identifiers: UUIDs, room codes and the random bytes they are made of; and checks of texts
 * that should be identifiers. Threads: any. */
#ifndef RINGCAST_UUID_H
#define RINGCAST_UUID_H

#include <stdbool.h>
#include <stddef.h>

#define UUID_TEXT_BYTES 37
#define ROOM_CODE_BYTES 15 /* "ABCD-EFGH-JKLM" */

/* Fills all bytes from the random number generator of the kernel. */
void random_fill(void *out, size_t bytes);
/* A random UUID, version 4, as text. */
void uuid_make(char out[UUID_TEXT_BYTES]);
void room_code_make(char out[ROOM_CODE_BYTES]);

/* Inside, an id and a code have one spelling each; these make it of what a client wrote. An id may
 * come in upper case, a code in lower case and without hyphens, and both with spaces around.
 * False, with "" in out: it is none, or NULL. */
bool uuid_normalize(const char *text, char out[UUID_TEXT_BYTES]);
bool room_code_normalize(const char *text, char out[ROOM_CODE_BYTES]);
/* An id or a code. */
bool room_name_normalize(const char *text, char out[UUID_TEXT_BYTES]);

/* Lower-case, 8-4-4-4-12 hexadecimal; any version. */
bool uuid_is_valid(const char *text);
bool room_code_is_valid(const char *text);

#endif
