/* Fields of REST bodies: trims them, checks lengths, says in sentences what is wrong. */
#include "controlplane/web/json.h"
#include "validate.h"

#include <idn2.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool complain(cJSON *errors, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool complain(cJSON *errors, const char *format, ...)
{
    char text[160];
    va_list values;

    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    json_push(errors, cJSON_CreateString(text));
    return false;
}

/* json_parse has checked that bodies are UTF-8: every byte that is no continuation begins a
 * character. */
static size_t characters(const char *text, size_t bytes)
{
    size_t count = 0;

    for (size_t i = 0; i < bytes; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* The length of the white space character at the start of text, 0: there is none. White space is
 * what String.prototype.trim() removes. */
static size_t space_at(const char *text, size_t bytes)
{
    static const char *const wide[] = {
        "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82",
        "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87",
        "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8", "\xe2\x80\xa9",
        "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80", "\xef\xbb\xbf",
    };

    if (bytes && (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r')))
        return 1;
    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        size_t length = strlen(wide[i]);

        if (bytes >= length && !memcmp(text, wide[i], length))
            return length;
    }
    return 0;
}

static const char *trim(const char *text, size_t *bytes)
{
    size_t left = strlen(text), space;

    while ((space = space_at(text, left))) {
        text += space;
        left -= space;
    }
    for (;;) {
        /* go back to the first byte of the last character */
        size_t start = left;

        while (start && ((unsigned char)text[--start] & 0xc0) == 0x80)
            ;
        if (left == 0 || space_at(text + start, left - start) != left - start)
            break;
        left = start;
    }
    *bytes = left;
    return text;
}

static bool has_control(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];

        /* C0, DEL, and C1 (U+0080–U+009F: c2 80–9f) */
        if (c < 0x20 || c == 0x7f ||
            (c == 0xc2 && i + 1 < bytes && (unsigned char)text[i + 1] < 0xa0))
            return true;
    }
    return false;
}

static bool host_is_valid(const char *host)
{
    size_t label = 0, length = strlen(host);
    bool dot = false, letters = true;

    if (length == 0 || length > 253)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = host[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (c == '.') {
            if (label == 0 || host[i - 1] == '-')
                return false;
            dot = letters = true;
            label = 0;
            continue;
        }
        if (!letter && !(c >= '0' && c <= '9') && !(c == '-' && label > 0))
            return false;
        letters &= letter || c == '-' || label > 0; /* a top-level domain begins with a letter */
        if (++label > 63)
            return false;
    }
    return dot && letters && label >= 2 && host[length - 1] != '-';
}

/* RFC 6531: letters of all languages are allowed, white space and control characters are not. */
static bool local_part_is_valid(const char *local, size_t bytes)
{
    if (bytes == 0 || bytes > 64 || local[0] == '.' || local[bytes - 1] == '.' ||
        has_control(local, bytes))
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = local[i];

        if (c == '.' && local[i + 1] == '.')
            return false;
        if (space_at(local + i, bytes - i))
            return false;
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
            !(c & 0x80) && (!c || !strchr(".!#$%&'*+-/=?^_`{|}~", c)))
            return false;
    }
    return true;
}

bool email_is_valid(const char *email)
{
    const char *at = strrchr(email, '@');

    return at && strlen(email) <= 255 && local_part_is_valid(email, (size_t)(at - email)) &&
           host_is_valid(at + 1);
}

bool email_other_form(const char *email, char other[256])
{
    const char *at = strrchr(email, '@');
    char *domain = NULL;
    bool differs;

    if (!at || !strstr(at, "xn--") ||
        idn2_to_unicode_8z8z(at + 1, &domain, IDN2_NONTRANSITIONAL) != IDN2_OK)
        return false;
    differs = strcmp(domain, at + 1) != 0 &&
              snprintf(other, 256, "%.*s%s", (int)(at + 1 - email), email, domain) < 256;
    idn2_free(domain);
    return differs;
}

/* Replaces an international domain by its form in ASCII (RFC 5891), so that each address has one
 * form. One that is not valid stays as it is. */
static void domain_to_ascii(char email[256])
{
    char *at = strrchr(email, '@'), *domain = NULL;
    bool is_ascii = true;

    for (const char *c = at ? at : ""; *c; c++)
        is_ascii &= !(*c & 0x80);
    if (is_ascii ||
        idn2_to_ascii_8z(at + 1, &domain, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
        return;
    if ((size_t)(at + 1 - email) + strlen(domain) < 256)
        strcpy(at + 1, domain);
    idn2_free(domain);
}

/* What the NestJS backend may have stored: quoted local parts too. */
static bool email_may_exist(const char *email)
{
    const char *at = strrchr(email, '@');

    return at && at != email && at[1] && !has_control(email, strlen(email));
}

bool validate_email(const cJSON *body, bool is_new, char out[256], cJSON *errors)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(body, "email");
    size_t bytes = 0;
    const char *text;

    out[0] = 0;
    if (!cJSON_IsString(member))
        return complain(errors, "email must be an email");
    text = trim(member->valuestring, &bytes);
    if (bytes > 255)
        return complain(errors, "email must be shorter than or equal to 255 characters");
    for (size_t i = 0; i < bytes; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 'a' - 'A' : text[i]);
    out[bytes] = 0;
    domain_to_ascii(out);
    return (is_new ? email_is_valid(out) : email_may_exist(out)) ||
           complain(errors, "email must be an email");
}

bool validate_password(const cJSON *body, bool is_new, char out[PASSWORD_TEXT_BYTES], cJSON *errors)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(body, "password");
    size_t bytes, count;

    out[0] = 0;
    if (!cJSON_IsString(member))
        return complain(errors, "password must be a string");
    bytes = strlen(member->valuestring);
    count = characters(member->valuestring, bytes);
    if (is_new && count < 8)
        return complain(errors, "password must be longer than or equal to 8 characters");
    if (count < 1)
        return complain(errors, "password should not be empty");
    if (count > 128 || bytes >= PASSWORD_TEXT_BYTES)
        return complain(errors, "password must be shorter than or equal to 128 characters");
    memcpy(out, member->valuestring, bytes + 1);
    return true;
}

bool validate_line(const cJSON *body, const char *name, unsigned characters_max, char *out,
                   size_t room, cJSON *errors)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(body, name);
    size_t bytes = 0;
    const char *text;

    out[0] = 0;
    if (!cJSON_IsString(member))
        return complain(errors, "%s must be a string", name);
    text = trim(member->valuestring, &bytes);
    if (bytes == 0)
        return complain(errors, "%s must be longer than or equal to 1 characters", name);
    if (characters(text, bytes) > characters_max || bytes >= room)
        return complain(errors, "%s must be shorter than or equal to %u characters", name,
                        characters_max);
    if (has_control(text, bytes))
        return complain(errors, "%s must not contain control characters", name);
    memcpy(out, text, bytes);
    out[bytes] = 0;
    return true;
}

bool validate_count(const cJSON *body, const char *name, uint32_t min, uint32_t max,
                    uint32_t fallback, uint32_t *out, cJSON *errors)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(body, name);
    double value;

    *out = fallback;
    if (!member || cJSON_IsNull(member))
        return true;
    value = cJSON_IsNumber(member) ? member->valuedouble : NAN;
    if (!(floor(value) == value))
        return complain(errors, "%s must be an integer number", name);
    if (value < min)
        return complain(errors, "%s must not be less than %u", name, min);
    if (value > max)
        return complain(errors, "%s must not be greater than %u", name, max);
    *out = (uint32_t)value;
    return true;
}
