/* Fields of REST bodies: the checks that class-validator made in the NestJS backend, with its
 * sentences.
 *
 * Each function takes the body. Valid field: it fills `out` and returns true. Else it adds a
 * sentence to the cJSON array `errors` and returns false. Without memory, or with errors NULL,
 * only the sentence is missing. Lengths are in characters (code points), as class-validator
 * counts them. */
#ifndef RINGCAST_VALIDATE_H
#define RINGCAST_VALIDATE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PASSWORD_TEXT_BYTES 513 /* 128 characters in UTF-8 */

/* Trimmed, in lower case, at most 255 bytes, an international domain in ASCII (punycode). Not new:
 * also what other programs may have stored, such as quoted local parts. */
bool validate_email(const cJSON *body, bool is_new, char out[256], cJSON *errors);
/* 8 to 128 characters, not trimmed. For a login (is_new false) 1 to 128: old passwords may be
 * short. */
bool validate_password(const cJSON *body, bool is_new, char out[PASSWORD_TEXT_BYTES],
                       cJSON *errors);
/* A trimmed line of 1 to characters_max characters, none of them a control character. */
bool validate_line(const cJSON *body, const char *name, unsigned characters_max, char *out,
                   size_t room, cJSON *errors);
/* A whole number from min to max; fallback when the field is missing. */
bool validate_count(const cJSON *body, const char *name, uint32_t min, uint32_t max,
                    uint32_t fallback, uint32_t *out, cJSON *errors);

/* The usual part of RFC 5321: dot-atom @ host name with a top-level domain. */
bool email_is_valid(const char *email);
/* The same address with its domain as people write it. False: there is no other form. */
bool email_other_form(const char *email, char other[256]);

#endif
