/* Fields of REST bodies: what class-validator checked in the NestJS backend, in its words.
 *
 * Each function takes the body, fills `out` and returns true, or adds a sentence to `errors` (a cJSON
 * array; NULL and out of memory cost the sentence, not the verdict) and returns false.
 * Lengths are in characters (code points), as class-validator counts them. */
#ifndef RINGCAST_VALIDATE_H
#define RINGCAST_VALIDATE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PASSWORD_TEXT_BYTES 513 /* 128 characters of UTF-8 */

/* Trimmed, lower-cased, at most 255. */
bool validate_email(const cJSON *body, char out[256], cJSON *errors);
/* 8–128 characters, nothing trimmed. A login only asks for the upper bound: old ones may be short. */
bool validate_password(const cJSON *body, bool is_new, char out[PASSWORD_TEXT_BYTES],
                       cJSON *errors);
/* A trimmed line of 1 to `characters_max`; no control characters. */
bool validate_line(const cJSON *body, const char *name, unsigned characters_max, char *out,
                   size_t room, cJSON *errors);
/* Whole number within min..max; absent: fallback. */
bool validate_count(const cJSON *body, const char *name, uint32_t min, uint32_t max,
                    uint32_t fallback, uint32_t *out, cJSON *errors);

/* Syntax of RFC 5321 as far as it is used: dot-atom @ host name with a top-level domain. */
bool email_is_valid(const char *email);

#endif
