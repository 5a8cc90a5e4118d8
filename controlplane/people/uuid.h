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

/* Lower-case, 8-4-4-4-12 hexadecimal; any version. */
bool uuid_is_valid(const char *text);
bool room_code_is_valid(const char *text);

#endif
