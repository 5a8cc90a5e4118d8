/* The HMAC key of access tokens: given by JWT_SECRET, or made once and kept in the data directory.
 *
 * Errors: in production a missing, short or well-known secret refuses the start (threats.md C6). */
#ifndef RINGCAST_SECRET_H
#define RINGCAST_SECRET_H

#include <stdbool.h>

#include "directory.h"

#define SECRET_FILE "jwt-secret"
#define SECRET_BYTES_MIN 32

bool secret_obtain(const struct settings *settings, char secret[SETTING_TEXT_ROOM],
                   char *why /* WHY_BYTES */);

#endif
