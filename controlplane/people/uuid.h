/* Random identifiers: what persistence.h promises, and the checks of texts that claim to be one. */
#ifndef RINGCAST_UUID_H
#define RINGCAST_UUID_H

#include <stdbool.h>
#include <stddef.h>

#include "persistence.h"

/* Bytes from the kernel's CSPRNG; always all of them. */
void random_fill(void *out, size_t bytes);

/* Lower-case, 8-4-4-4-12 hexadecimal; any version. */
bool uuid_is_valid(const char *text);
bool room_code_is_valid(const char *text);

#endif
