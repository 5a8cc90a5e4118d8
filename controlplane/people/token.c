/* Access tokens. libjwt makes and reads them. This file adds the checks that libjwt 1.10 does not
 * make: it parses before it verifies, compares alg without regard to case, takes the last of
 * duplicate keys, ignores crit and non-canonical base64url, and knows no expiry. The signature over
 * the raw bytes is checked first, so no JSON that a stranger wrote reaches a parser. */
#include "token.h"

#include <cjson/cJSON.h>
#include <jwt.h>
#include <math.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uuid.h"

#define SIGNATURE_BYTES 32
#define SIGNATURE_CHARS 43
#define MEMBERS_MAX 16

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int base64url_decode(const char *text, size_t length, uint8_t *out, size_t room)
{
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t used = 0;

    if (length % 4 == 1)
        return -1;
    for (size_t i = 0; i < length; i++) {
        int value = base64url_value(text[i]);

        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            if (used == room)
                return -1;
            out[used++] = (uint8_t)(bits >> bit_count);
            bits &= (1u << bit_count) - 1;
        }
    }
    return bits == 0 ? (int)used
                     : -1; /* unused bits are set: another text would mean the same bytes */
}

bool token_signature_matches(const uint8_t *key, size_t key_bytes, const char *input,
                             size_t input_bytes, const char *signature, size_t signature_length)
{
    uint8_t given[SIGNATURE_BYTES], ours[EVP_MAX_MD_SIZE];
    unsigned ours_bytes = 0;

    if (signature_length != SIGNATURE_CHARS ||
        base64url_decode(signature, signature_length, given, sizeof(given)) != SIGNATURE_BYTES)
        return false;
    if (!HMAC(EVP_sha256(), key, (int)key_bytes, (const uint8_t *)input, input_bytes, ours,
              &ours_bytes) ||
        ours_bytes != SIGNATURE_BYTES)
        return false;
    return CRYPTO_memcmp(given, ours, SIGNATURE_BYTES) == 0;
}

/* Parses a segment that is a JSON object of plain values without duplicate keys. NULL: it is
 * anything else. */
static cJSON *segment_parse(const char *segment, size_t length)
{
    char text[TOKEN_BYTES_MAX];
    const char *end = NULL;
    int bytes = base64url_decode(segment, length, (uint8_t *)text, sizeof(text) - 1);
    unsigned members = 0;
    cJSON *object;

    if (bytes <= 0 || memchr(text, 0, (size_t)bytes))
        return NULL;
    text[bytes] = 0;
    /* cJSON ends a string at an escaped NUL, so that it would read "alg\u0000x" as "alg". */
    if (strstr(text, "\\u0000") || text[0] != '{')
        return NULL;
    object = cJSON_ParseWithLengthOpts(text, (size_t)bytes, &end, 0);
    if (!object || end != text + bytes || !cJSON_IsObject(object)) {
        cJSON_Delete(object);
        return NULL;
    }
    for (const cJSON *a = object->child; a; a = a->next) {
        bool bad = ++members > MEMBERS_MAX || a->child; /* our tokens have no arrays and objects */

        for (const cJSON *b = a->next; b && !bad; b = b->next)
            bad = !strcmp(a->string, b->string);
        if (bad) {
            cJSON_Delete(object);
            return NULL;
        }
    }
    return object;
}

/* Exactly {"alg":"HS256"} with or without "typ":"JWT": no crit, b64, kid, jku, zip … (RFC 8725). */
static bool header_is_ours(const char *segment, size_t length)
{
    cJSON *header = segment_parse(segment, length);
    bool alg = false, other = false;

    for (const cJSON *member = header ? header->child : NULL; member; member = member->next) {
        if (!strcmp(member->string, "alg"))
            alg = cJSON_IsString(member) && !strcmp(member->valuestring, "HS256");
        else if (!strcmp(member->string, "typ"))
            other |= !cJSON_IsString(member) || strcmp(member->valuestring, "JWT") != 0;
        else
            other = true;
    }
    cJSON_Delete(header);
    return alg && !other;
}

static bool claim_text(const cJSON *claims, const char *name, char *out, size_t room)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(claims, name);

    return cJSON_IsString(member) && snprintf(out, room, "%s", member->valuestring) < (int)room &&
           out[0];
}

/* A whole number of seconds between 0 and the year 10000. */
static bool claim_seconds(const cJSON *claims, const char *name, int64_t *out)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(claims, name);

    if (!cJSON_IsNumber(member) || !(member->valuedouble >= 0) ||
        !(member->valuedouble <= 253402300799.0) ||
        floor(member->valuedouble) != member->valuedouble)
        return false;
    *out = (int64_t)member->valuedouble;
    return true;
}

static bool claims_read(const cJSON *object, int64_t now_s, struct token_claims *claims)
{
    int64_t not_before_s = 0;

    if (!claim_text(object, "sub", claims->subject, sizeof(claims->subject)) ||
        !uuid_is_valid(claims->subject) ||
        !claim_text(object, "email", claims->email, sizeof(claims->email)) ||
        !claim_text(object, "displayName", claims->display_name, sizeof(claims->display_name)) ||
        !claim_seconds(object, "iat", &claims->issued_s) ||
        !claim_seconds(object, "exp", &claims->expires_s))
        return false;
    if (cJSON_GetObjectItemCaseSensitive(object, "nbf") &&
        (!claim_seconds(object, "nbf", &not_before_s) || not_before_s > now_s))
        return false;
    return claims->issued_s <= now_s + TOKEN_CLOCK_SKEW_S && claims->expires_s > now_s &&
           claims->expires_s > claims->issued_s &&
           claims->expires_s - claims->issued_s <= TOKEN_LIFE_S_MAX;
}

/* Does libjwt read the same? What two parsers agree on is harder to fake. */
static bool libjwt_agrees(const char *secret, const char *token, const struct token_claims *claims)
{
    jwt_t *jwt = NULL;
    const char *subject;
    bool agrees;

    if (jwt_decode(&jwt, token, (const unsigned char *)secret, (int)strlen(secret)) != 0)
        return false;
    subject = jwt_get_grant(jwt, "sub");
    agrees = jwt_get_alg(jwt) == JWT_ALG_HS256 && subject && !strcmp(subject, claims->subject) &&
             jwt_get_grant_int(jwt, "exp") == claims->expires_s &&
             jwt_get_grant_int(jwt, "iat") == claims->issued_s;
    jwt_free(jwt);
    return agrees;
}

bool token_verify(const char *secret, const char *token, int64_t now_s, struct token_claims *claims)
{
    size_t length = strnlen(token, TOKEN_BYTES_MAX);
    const char *first, *second;
    cJSON *object;
    bool ok;

    if (length >= TOKEN_BYTES_MAX)
        return false;
    first = strchr(token, '.');
    second = first ? strchr(first + 1, '.') : NULL;
    /* Decoding fails below for a third dot and for every character outside the alphabet. */
    if (!second ||
        !token_signature_matches((const uint8_t *)secret, strlen(secret), token,
                                 (size_t)(second - token), second + 1,
                                 length - (size_t)(second + 1 - token)) ||
        !header_is_ours(token, (size_t)(first - token)))
        return false;
    object = segment_parse(first + 1, (size_t)(second - first - 1));
    ok = object && claims_read(object, now_s, claims) && libjwt_agrees(secret, token, claims);
    cJSON_Delete(object);
    return ok;
}

bool token_make(const char *secret, const struct token_claims *claims, char out[TOKEN_BYTES_MAX])
{
    jwt_t *jwt = NULL;
    char *text = NULL;
    bool ok;

    if (jwt_new(&jwt) != 0)
        return false;
    ok = jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)secret, (int)strlen(secret)) == 0 &&
         jwt_add_grant(jwt, "sub", claims->subject) == 0 &&
         jwt_add_grant(jwt, "email", claims->email) == 0 &&
         jwt_add_grant(jwt, "displayName", claims->display_name) == 0 &&
         jwt_add_grant_int(jwt, "iat", (long)claims->issued_s) == 0 &&
         jwt_add_grant_int(jwt, "exp", (long)claims->expires_s) == 0;
    if (ok)
        text = jwt_encode_str(jwt);
    ok = text && snprintf(out, TOKEN_BYTES_MAX, "%s", text) < TOKEN_BYTES_MAX;
    free(text);
    jwt_free(jwt);
    return ok;
}
