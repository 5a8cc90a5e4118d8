/* The HMAC keys of access tokens.
 *
 * From: jwt_secret (several, comma separated), or the lines of jwt_secret_file, or, outside
 *       production, a key that is made at the first start and kept in the data directory. The first
 *       signs, all verify: to change keys, put the new one in front, and take the old one away when
 *       its last token has expired.
 * Errors: in production a missing, short or well-known key refuses the start (threats.md C6); a key
 *         that a comma cut short is such a one. */
#ifndef RINGCAST_SECRET_H
#define RINGCAST_SECRET_H

#include <stdbool.h>

#include "data_directory_open.h"

#define SECRET_FILE "jwt-secret"
#define SECRET_BYTES_MIN 32
#define SECRETS_MAX 8

struct secrets {
    unsigned count;
    char keys[SECRETS_MAX][SETTING_TEXT_ROOM];
};

bool secrets_obtain(const struct settings *settings, struct secrets *secrets,
                    char *why /* WHY_BYTES */);
/* Without making anything: for --check. */
bool secrets_check(const struct settings *settings, char *why /* WHY_BYTES */);

#endif
