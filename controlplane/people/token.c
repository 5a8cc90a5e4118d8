/* Access tokens. No library: libjwt 1.10 parses before it verifies, compares alg without regard to
 * case, takes the last of duplicate keys, ignores crit and non-canonical base64url, cuts off
 * fractions, knows no expiry, and crashes when there is no memory. Here the signature over the raw
 * bytes is checked first, so no JSON that a stranger wrote reaches a parser. */
#include "token.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/json.h"
#include "controlplane/web/text.h"
#include "uuid.h"

#define SIGNATURE_BYTES 32
#define SIGNATURE_CHARS 43
#define PAYLOAD_BYTES_MAX \
    2048 /* texts of 36, 255 and 400 bytes, which may need escapes, and two numbers */
#define TIME_MAX 253402300799.0 /* the end of the year 9999 */

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

/* The value of the escape \uXXXX at `at`, -1: there is none. */
static int escape_value(const char *at)
{
    int value = 0;

    if (at[0] != '\\' || at[1] != 'u')
        return -1;
    for (unsigned i = 2; i < 6; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Replaces the escapes that cJSON cannot read by \ufffd: it ends a string at an escaped NUL, so that
 * "sub\u0000x" would be "sub", and it refuses half a surrogate pair, which JSON.stringify writes. */
static void escapes_replace(char *text)
{
    for (char *at = text; *at; at++) {
        int value = escape_value(at), next;

        if (*at != '\\')
            continue;
        if (value < 0) {
            at += at[1] != 0; /* two characters: \\u0000 is a backslash and five letters */
            continue;
        }
        next = value >> 10 == 0xd800 >> 10 ? escape_value(at + 6) : -1;
        if (next >> 10 == 0xdc00 >> 10) /* -1 stays -1 */
            at += 6;
        else if (value == 0 || value >> 11 == 0xd800 >> 11)
            memcpy(at, "\\ufffd", 6);
        at += 5;
    }
}

/* Parses a segment that is a JSON object. NULL: it is anything else. */
static cJSON *segment_parse(const char *segment, size_t length)
{
    char text[TOKEN_READ_BYTES_MAX];
    const char *end = NULL;
    int bytes = base64url_decode(segment, length, (uint8_t *)text, sizeof(text) - 1);
    cJSON *object;

    /* cJSON would skip a byte order mark. */
    if (bytes <= 0 || text[0] == '\xef' || memchr(text, 0, (size_t)bytes) ||
        !utf8_valid(text, (size_t)bytes))
        return NULL;
    text[bytes] = 0;
    escapes_replace(text);
    object = cJSON_ParseWithLengthOpts(text, (size_t)bytes, &end, 0);
    if (cJSON_IsObject(object) && end + strspn(end, " \t\r\n") == text + bytes)
        return object;
    cJSON_Delete(object);
    return NULL;
}

/* The member of that name. NULL: there is none, or there are several, so that readers may differ. */
static const cJSON *only_member(const cJSON *object, const char *name)
{
    const cJSON *found = NULL;

    for (const cJSON *member = object->child; member; member = member->next) {
        if (strcmp(member->string, name) != 0)
            continue;
        if (found)
            return NULL;
        found = member;
    }
    return found;
}

/* The algorithm is HS256. Names of keys (kid, jku), typ and unknown members change nothing: our own
 * keys are tried. An extension named by crit must be understood, and we know none (RFC 7515
 * §4.1.11). */
static bool header_is_ours(const char *segment, size_t length)
{
    cJSON *header = segment_parse(segment, length);
    const cJSON *alg = header ? only_member(header, "alg") : NULL;
    bool ours = cJSON_IsString(alg) && !strcmp(alg->valuestring, "HS256") &&
                !cJSON_GetObjectItemCaseSensitive(header, "crit");

    cJSON_Delete(header);
    return ours;
}

/* The id of a user, in lower case whatever the issuer writes. */
static bool claim_subject(const cJSON *claims, char out[UUID_TEXT_BYTES])
{
    const cJSON *member = only_member(claims, "sub");

    if (!cJSON_IsString(member) ||
        snprintf(out, UUID_TEXT_BYTES, "%s", member->valuestring) >= UUID_TEXT_BYTES)
        return false;
    for (char *c = out; *c; c++)
        if (*c >= 'A' && *c <= 'F')
            *c = (char)(*c + 'a' - 'A');
    return uuid_is_valid(out);
}

/* Unix time, also with fractions (RFC 7519 §2, NumericDate): the first whole second that is not
 * before it. */
static bool claim_seconds(const cJSON *claims, const char *name, int64_t *out)
{
    const cJSON *member = only_member(claims, name);

    if (!cJSON_IsNumber(member) || !(fabs(member->valuedouble) <= TIME_MAX))
        return false;
    *out = (int64_t)ceil(member->valuedouble);
    return true;
}

static bool claims_read(const cJSON *object, int64_t now_s, struct token_claims *claims)
{
    int64_t not_before_s = 0;

    if (!claim_subject(object, claims->subject) ||
        !claim_seconds(object, "exp", &claims->expires_s))
        return false;
    if (cJSON_GetObjectItemCaseSensitive(object, "nbf") &&
        (!claim_seconds(object, "nbf", &not_before_s) || not_before_s > now_s))
        return false;
    return claims->expires_s > now_s;
}

bool token_is_signed(const char *secret, const char *token)
{
    size_t length = strnlen(token, TOKEN_READ_BYTES_MAX);
    const char *first = length < TOKEN_READ_BYTES_MAX ? strchr(token, '.') : NULL,
               *second = first ? strchr(first + 1, '.') : NULL;

    /* Decoding fails for a third dot and for every character outside the alphabet. */
    return second && token_signature_matches((const uint8_t *)secret, strlen(secret), token,
                                             (size_t)(second - token), second + 1,
                                             length - (size_t)(second + 1 - token));
}

bool token_verify(const char *secret, const char *token, int64_t now_s, struct token_claims *claims)
{
    const char *first, *second;
    cJSON *object;
    bool ok;

    *claims = (struct token_claims){0};
    if (!token_is_signed(secret, token))
        return false;
    first = strchr(token, '.');
    second = strchr(first + 1, '.');
    if (!header_is_ours(token, (size_t)(first - token)))
        return false;
    object = segment_parse(first + 1, (size_t)(second - first - 1));
    ok = object && claims_read(object, now_s, claims);
    cJSON_Delete(object);
    return ok;
}

/* Appends base64url without padding, and a NUL. `to` needs room for (count + 2) / 3 * 4 + 1 bytes. */
static char *append_base64url(char *to, const void *bytes, size_t count)
{
    size_t length = base64_encode(bytes, count, to);

    while (length > 0 && to[length - 1] == '=')
        length--;
    for (size_t i = 0; i < length; i++)
        to[i] = to[i] == '+' ? '-' : to[i] == '/' ? '_' : to[i];
    to[length] = '\0';
    return to + length;
}

bool token_make(const char *secret, const struct token_claims *claims, char out[TOKEN_BYTES_MAX])
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    char payload[PAYLOAD_BYTES_MAX], *end;
    uint8_t signature[EVP_MAX_MD_SIZE];
    unsigned signature_bytes = 0;
    cJSON *object = json_new_object();
    bool ok;

    cJSON_AddStringToObject(object, "sub", claims->subject);
    cJSON_AddStringToObject(object, "email", claims->email);
    cJSON_AddStringToObject(object, "displayName", claims->display_name);
    cJSON_AddNumberToObject(object, "iat", (double)claims->issued_s);
    cJSON_AddNumberToObject(object, "exp", (double)claims->expires_s);
    ok = json_is_complete(object) &&
         cJSON_PrintPreallocated(object, payload, sizeof(payload), false);
    cJSON_Delete(object);
    if (!ok)
        return false;
    end = append_base64url(out, header, sizeof(header) - 1);
    *end++ = '.';
    end = append_base64url(end, payload, strlen(payload));
    if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), (const uint8_t *)out, (size_t)(end - out),
              signature, &signature_bytes))
        return false;
    *end++ = '.';
    append_base64url(end, signature, signature_bytes);
    return true;
}
