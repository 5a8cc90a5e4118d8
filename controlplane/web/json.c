/* Checks JSON text strictly (RFC 8259) before cJSON reads it. cJSON alone accepts control
 * characters, invalid UTF-8, malformed numbers and a thousand levels. */
#include "json.h"

#include <math.h>
#include <stdlib.h>

#include "keyed_hash.h"
#include "memory.h"
#include "text.h"

#define JSON_DEPTH_MAX 16
#define JSON_KEYS_MAX 256 /* per object */
#define JSON_KEYS_FEW 12
/* cJSON needs about 64 bytes for each value, so "[1,1,1,…" would grow to 30 times its size. The
 * largest message of a browser (rtpCapabilities) has about 1500 values. */
#define JSON_VALUES_MAX 16384
#define JSON_NUMBER_BYTES_MAX 60 /* cJSON reads only 63 */

struct scan {
    const char *at, *end;
    unsigned depth, values;
};

static bool scan_value(struct scan *scan);

static void scan_space(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
        scan->at++;
}

static bool scan_character(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

static bool scan_word(struct scan *scan, const char *word)
{
    size_t bytes = strlen(word);

    if ((size_t)(scan->end - scan->at) < bytes || memcmp(scan->at, word, bytes) != 0)
        return false;
    scan->at += bytes;
    return true;
}

static int scan_hex4(struct scan *scan)
{
    int value = 0;

    if (scan->end - scan->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = *scan->at++;
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

/* After "\u". U+0000 is refused: it would end a C string early, and two different texts would look
 * the same. */
static bool scan_unicode(struct scan *scan)
{
    int unit = scan_hex4(scan);

    if (unit <= 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return false;
    if (unit < 0xd800 || unit > 0xdbff)
        return true;
    if (!scan_character(scan, '\\') || !scan_character(scan, 'u'))
        return false;
    unit = scan_hex4(scan);
    return unit >= 0xdc00 && unit <= 0xdfff;
}

static bool scan_string(struct scan *scan)
{
    if (!scan_character(scan, '"'))
        return false;
    while (scan->at < scan->end) {
        unsigned char c = (unsigned char)*scan->at++;

        if (c == '"')
            return true;
        if (c < 0x20)
            return false;
        if (c != '\\')
            continue;
        if (scan->at == scan->end)
            return false;
        c = (unsigned char)*scan->at++;
        if (c == 'u' ? !scan_unicode(scan) : c == '\0' || strchr("\"\\/bfnrt", c) == NULL)
            return false;
    }
    return false;
}

static bool scan_digits(struct scan *scan)
{
    const char *start = scan->at;

    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > start;
}

static bool scan_number(struct scan *scan)
{
    char text[JSON_NUMBER_BYTES_MAX + 1];
    const char *start = scan->at;

    scan_character(scan, '-');
    if (!scan_character(scan, '0') && !scan_digits(scan))
        return false;
    if (scan_character(scan, '.') && !scan_digits(scan))
        return false;
    if (scan_character(scan, 'e') || scan_character(scan, 'E')) {
        if (!scan_character(scan, '+'))
            scan_character(scan, '-');
        if (!scan_digits(scan))
            return false;
    }
    if (scan->at - start > JSON_NUMBER_BYTES_MAX)
        return false;
    slice_copy((struct slice){start, (size_t)(scan->at - start)}, text, sizeof(text));
    return isfinite(strtod(text, NULL));
}

static bool scan_object(struct scan *scan)
{
    scan_space(scan);
    if (scan_character(scan, '}'))
        return true;
    for (unsigned keys = 0; keys < JSON_KEYS_MAX; keys++) {
        scan_space(scan);
        if (!scan_string(scan))
            return false;
        scan_space(scan);
        if (!scan_character(scan, ':') || !scan_value(scan))
            return false;
        if (scan_character(scan, '}'))
            return true;
        if (!scan_character(scan, ','))
            return false;
    }
    return false;
}

static bool scan_array(struct scan *scan)
{
    scan_space(scan);
    if (scan_character(scan, ']'))
        return true;
    for (;;) {
        if (!scan_value(scan))
            return false;
        if (scan_character(scan, ']'))
            return true;
        if (!scan_character(scan, ','))
            return false;
    }
}

static bool scan_value(struct scan *scan)
{
    bool ok;

    scan_space(scan);
    if (scan->at == scan->end || ++scan->values > JSON_VALUES_MAX)
        return false;
    switch (*scan->at) {
    case '{':
    case '[':
        if (++scan->depth > JSON_DEPTH_MAX)
            return false;
        ok = *scan->at++ == '{' ? scan_object(scan) : scan_array(scan);
        scan->depth--;
        break;
    case '"':
        ok = scan_string(scan);
        break;
    case 't':
        ok = scan_word(scan, "true");
        break;
    case 'f':
        ok = scan_word(scan, "false");
        break;
    case 'n':
        ok = scan_word(scan, "null");
        break;
    default:
        ok = scan_number(scan);
    }
    scan_space(scan);
    return ok;
}

/* Few keys are compared with each other. Many go into a table, whose hash has a secret key: an
 * attacker who sends the object cannot choose keys that meet in it. */
static bool members_unique(const cJSON *object, const char *seen[2 * JSON_KEYS_MAX])
{
    const cJSON *member, *other;
    unsigned count = 0;

    cJSON_ArrayForEach(member, object)
    {
        for (other = object->child; count < JSON_KEYS_FEW && other != member; other = other->next)
            if (strcmp(other->string, member->string) == 0)
                return false;
        count++;
    }
    if (count <= JSON_KEYS_FEW)
        return true;
    memset(seen, 0, 2 * JSON_KEYS_MAX * sizeof(*seen));
    cJSON_ArrayForEach(member, object)
    {
        size_t slot = keyed_hash(member->string, strlen(member->string)) % (2 * JSON_KEYS_MAX);

        while (seen[slot] != NULL) {
            if (strcmp(seen[slot], member->string) == 0)
                return false;
            slot = (slot + 1) % (2 * JSON_KEYS_MAX);
        }
        seen[slot] = member->string;
    }
    return true;
}

/* Parsers disagree about objects in which a key occurs twice, so they are refused. The scan has
 * limited the depth and the number of keys. */
static bool keys_unique(const cJSON *value, const char *seen[2 * JSON_KEYS_MAX])
{
    const cJSON *member;

    if (cJSON_IsObject(value) && !members_unique(value, seen))
        return false;
    cJSON_ArrayForEach(member, value)
    {
        if ((cJSON_IsObject(member) || cJSON_IsArray(member)) && !keys_unique(member, seen))
            return false;
    }
    return true;
}

cJSON *json_parse(const char *text, size_t bytes)
{
    const char *seen[2 * JSON_KEYS_MAX];
    struct scan scan = {.at = text, .end = text + bytes};
    cJSON *value;

    if (text == NULL || bytes == 0 || !utf8_valid(text, bytes))
        return NULL;
    if (!scan_value(&scan) || scan.at != scan.end)
        return NULL;
    value = cJSON_ParseWithLength(text, bytes);
    if (value != NULL && !keys_unique(value, seen)) {
        cJSON_Delete(value);
        return NULL;
    }
    return value;
}

/* ---- building ---- */

/* cJSON uses valueint only in numbers. Here it holds the number of failures when the value was made. */
static cJSON *mark(cJSON *value)
{
    if (value != NULL)
        value->valueint = (int)memory_failures();
    return value;
}

cJSON *json_new_object(void)
{
    return mark(cJSON_CreateObject());
}

cJSON *json_new_array(void)
{
    return mark(cJSON_CreateArray());
}

void json_add(cJSON *object, const char *key, cJSON *item)
{
    if (!cJSON_AddItemToObject(object, key, item))
        cJSON_Delete(item);
}

void json_push(cJSON *array, cJSON *item)
{
    if (!cJSON_AddItemToArray(array, item))
        cJSON_Delete(item);
}

bool json_is_complete(const cJSON *value)
{
    return value != NULL && value->valueint == (int)memory_failures();
}
