/* One value of one setting: what is allowed, parsing, the error text, how a file writes it. */
#include "settings_rows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define SHOWN_BYTES 40 /* an error text shows this much of a wrong value */

bool settings_refuse(char *error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error, SETTING_ERROR_BYTES, format, arguments);
    va_end(arguments);
    for (char *at = error; *at; at++) /* an escape sequence in a value must not reach a terminal */
        if ((unsigned char)*at < ' ' || *at == 127)
            *at = '?';
    return false;
}

/* ---- what is allowed ---- */

/* "first, second, third" becomes "first, second or third". */
static void words_for_people(const char *words, char text[SETTING_ALLOWED_BYTES])
{
    const char *last = strrchr(words, ',');

    if (last)
        snprintf(text, SETTING_ALLOWED_BYTES, "%.*s or%s", (int)(last - words), words, last + 1);
    else
        snprintf(text, SETTING_ALLOWED_BYTES, "%s", words);
}

const char *setting_allowed(const struct setting *s, char text[SETTING_ALLOWED_BYTES])
{
    const char *or_empty = s->min == 0 ? ", or empty" : "";
    unsigned min = (unsigned)s->min, max = (unsigned)s->max;

    switch (s->type) {
    case SETTING_u32:
        snprintf(text, SETTING_ALLOWED_BYTES, "%u to %u%s%s", min, max, *s->unit ? " " : "",
                 s->unit);
        break;
    case SETTING_flag:
        snprintf(text, SETTING_ALLOWED_BYTES, "on or off");
        break;
    case SETTING_word:
        words_for_people(s->words, text);
        break;
    case SETTING_path:
        snprintf(text, SETTING_ALLOWED_BYTES, "a path of up to %u bytes%s", max, or_empty);
        break;
    case SETTING_address:
        snprintf(text, SETTING_ALLOWED_BYTES, "an IPv4 or IPv6 address%s", or_empty);
        break;
    case SETTING_addresses:
        snprintf(text, SETTING_ALLOWED_BYTES,
                 "IPv4 or IPv6 addresses, comma separated, up to %u bytes", max);
        break;
    case SETTING_list:
        snprintf(text, SETTING_ALLOWED_BYTES, "a comma separated list of up to %u bytes", max);
        break;
    case SETTING_text:
    case SETTING_secret:
        if (min == 0)
            snprintf(text, SETTING_ALLOWED_BYTES, "any text of up to %u bytes", max);
        else
            snprintf(text, SETTING_ALLOWED_BYTES, "any text of %u to %u bytes", min, max);
    }
    return text;
}

/* ---- parsing ---- */

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;

    if (*text < '0' || *text > '9') /* strtoull accepts signs and blanks */
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool parse_flag(const char *text, bool *flag)
{
    static const char *const words[2][5] = {{"off", "false", "no", "0", "disabled"},
                                            {"on", "true", "yes", "1", "enabled"}};

    for (unsigned value = 0; value < 2; value++) {
        for (unsigned i = 0; i < 5; i++) {
            if (strcasecmp(text, words[value][i]) == 0) {
                *flag = value == 1;
                return true;
            }
        }
    }
    return false;
}

static bool is_word_of(const char *word, const char *words)
{
    size_t bytes = strlen(word);

    while (*words) {
        size_t span = strcspn(words, ",");

        if (span == bytes && memcmp(words, word, bytes) == 0)
            return true;
        words += span;
        words += strspn(words, ", ");
    }
    return false;
}

static bool is_address(const char *text)
{
    struct in6_addr parsed;

    return inet_pton(AF_INET, text, &parsed) == 1 || inet_pton(AF_INET6, text, &parsed) == 1;
}

const char *settings_address_plain(const char *text)
{
    static const char mapped[] = "::ffff:";
    struct in_addr parsed;

    return strncasecmp(text, mapped, sizeof(mapped) - 1) == 0 &&
                   inet_pton(AF_INET, text + sizeof(mapped) - 1, &parsed) == 1
               ? text + sizeof(mapped) - 1
               : text;
}

static bool is_address_list(const char *text)
{
    while (*text) {
        char item[INET6_ADDRSTRLEN];
        size_t span = strcspn(text, ","), from = strspn(text, " "), to = span;

        while (to > from && text[to - 1] == ' ')
            to--;
        if (to <= from || to - from >= sizeof(item))
            return false;
        memcpy(item, text + from, to - from);
        item[to - from] = '\0';
        if (!is_address(item))
            return false;
        text += span;
        if (*text == ',' && *++text == '\0')
            return false;
    }
    return true;
}

static bool is_allowed_text(const struct setting *s, const char *value)
{
    size_t bytes = strlen(value);

    if (s->type == SETTING_word)
        return is_word_of(value, s->words);
    if (bytes < s->min || bytes > s->max)
        return false;
    if (s->type == SETTING_address)
        return bytes == 0 || is_address(value);
    return s->type != SETTING_addresses || is_address_list(value);
}

/* ---- refusing ---- */

/* The wrong value as an error text shows it: "loud". A long one is cut, a secret is not shown. */
static const char *shown_value(const struct setting *s, const char *value, char text[80])
{
    size_t bytes = strlen(value);

    if (s->type == SETTING_secret)
        snprintf(text, 80, "a text of %zu bytes", bytes);
    else if (bytes > SHOWN_BYTES)
        snprintf(text, 80, "\"%.*s…\" (%zu bytes)", SHOWN_BYTES, value, bytes);
    else
        snprintf(text, 80, "\"%s\"", value);
    return text;
}

static bool refuse_value(const struct setting *s, const char *value, const char *origin,
                         char *error)
{
    char allowed[SETTING_ALLOWED_BYTES], standard[SETTING_VALUE_BYTES], shown[80];
    bool has_default = s->type == SETTING_u32 || s->type == SETTING_flag || *s->default_text;

    return settings_refuse(
        error, "%s: %s cannot be %s: set it to %s%s%s%s", origin, s->name,
        shown_value(s, value, shown), s->type == SETTING_u32 ? "a whole number from " : "",
        setting_allowed(s, allowed), has_default ? ", or remove it to get the default, " : "",
        has_default ? setting_default(s, standard) : "");
}

static bool has_control_character(const char *value)
{
    for (const char *at = value; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 127)
            return true;
    return false;
}

bool setting_set(struct settings *settings, const struct setting *s, const char *value,
                 const char *origin, char *error)
{
    void *to = (uint8_t *)settings + s->offset;
    uint64_t number;

    switch (s->type) {
    case SETTING_u32:
        if (!parse_number(value, &number) || number < s->min || number > s->max)
            return refuse_value(s, value, origin, error);
        *(uint32_t *)to = (uint32_t)number;
        break;
    case SETTING_flag:
        if (!parse_flag(value, to))
            return refuse_value(s, value, origin, error);
        break;
    default:
        if (!is_allowed_text(s, value))
            return refuse_value(s, value, origin, error);
        if (has_control_character(value))
            return settings_refuse(error, "%s: %s contains a control character: remove it", origin,
                                   s->name);
        memset(to, 0, SETTING_TEXT_ROOM); /* a reload compares all bytes */
        memcpy(to, value, strlen(value));
    }
    return true;
}

/* ---- as the file writes it ---- */

/* Without quotes where the file reads back the same text. */
static const char *quoted_if_needed(const char *text, char value[SETTING_VALUE_BYTES])
{
    bool plain = *text != '\0' && *text != '"' && !strchr(text, '#') && *text != ' ' &&
                 text[strlen(text) - 1] != ' ';
    char *to = value;

    if (plain) {
        snprintf(value, SETTING_VALUE_BYTES, "%s", text);
        return value;
    }
    *to++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    *to++ = '"';
    *to = '\0';
    return value;
}

const char *setting_value(const struct settings *settings, const struct setting *s,
                          char value[SETTING_VALUE_BYTES])
{
    const void *at = (const uint8_t *)settings + s->offset;

    switch (s->type) {
    case SETTING_u32:
        snprintf(value, SETTING_VALUE_BYTES, "%u", *(const uint32_t *)at);
        return value;
    case SETTING_flag:
        return *(const bool *)at ? "on" : "off";
    case SETTING_secret:
        return *(const char *)at ? "(set)" : "\"\"";
    default:
        return quoted_if_needed(at, value);
    }
}

const char *setting_default(const struct setting *s, char value[SETTING_VALUE_BYTES])
{
    if (s->type == SETTING_u32)
        snprintf(value, SETTING_VALUE_BYTES, "%u", s->default_number);
    else if (s->type == SETTING_flag)
        snprintf(value, SETTING_VALUE_BYTES, "%s", s->default_number ? "on" : "off");
    else
        return quoted_if_needed(s->default_text, value);
    return value;
}
