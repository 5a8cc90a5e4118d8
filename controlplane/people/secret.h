/* The keys that sign access tokens (HMAC).
 *
 * From: jwt_secret (several keys, separated by commas), or the lines of jwt_secret_file. Without
 *       either, and outside production, the first start makes a key and keeps it in the data
 *       directory.
 * Change: the first key signs, all keys verify. To change keys, put the new one in front, and
 *       remove the old one when its last token has expired.
 * Errors: in production a missing, short or well-known key refuses the start (threat C6). A long
 *         key with a comma in it is cut into short ones, and refused for that. */
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
/* The same without making a key: for --check. */
bool secrets_check(const struct settings *settings, char *why /* WHY_BYTES */);

#endif
