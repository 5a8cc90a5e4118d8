/* Functions on cJSON that all steps of negotiation use. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "internal.h"

bool ortc_refuse(char *why, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, ORTC_WHY_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

cJSON *ortc_get(const cJSON *object, const char *key)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return item == NULL || cJSON_IsNull(item) ? NULL : item;
}

cJSON *ortc_get_truthy(const cJSON *object, const char *key)
{
    cJSON *item = ortc_get(object, key);

    if (cJSON_IsFalse(item) || (cJSON_IsNumber(item) && item->valuedouble == 0) ||
        (cJSON_IsString(item) && item->valuestring[0] == '\0'))
        return NULL;
    return item;
}

const char *ortc_text(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(ortc_get(object, key));
}

/* ---- building ---- */

static bool allocation_failed;

static cJSON *note_failure(cJSON *item)
{
    allocation_failed |= item == NULL;
    return item;
}

void ortc_build_begin(void)
{
    allocation_failed = false;
}

bool ortc_build_check(char *why)
{
    return !allocation_failed || ortc_refuse(why, "this server is short of memory at the moment");
}

/* Frees an item that cJSON could not add, because it still belongs to us. */
static void check_added(bool added, cJSON *item)
{
    if (added)
        return;
    allocation_failed = true;
    cJSON_Delete(item);
}

void ortc_add(cJSON *object, const char *key, cJSON *item)
{
    check_added(item != NULL && cJSON_AddItemToObject(object, key, item), item);
}

void ortc_push(cJSON *array, cJSON *item)
{
    check_added(item != NULL && cJSON_AddItemToArray(array, item), item);
}

void ortc_add_text(cJSON *object, const char *key, const char *text)
{
    note_failure(cJSON_AddStringToObject(object, key, text));
}

void ortc_add_number(cJSON *object, const char *key, double number)
{
    note_failure(cJSON_AddNumberToObject(object, key, number));
}

void ortc_add_flag(cJSON *object, const char *key, bool flag)
{
    note_failure(cJSON_AddBoolToObject(object, key, flag));
}

cJSON *ortc_add_array(cJSON *object, const char *key)
{
    return note_failure(cJSON_AddArrayToObject(object, key));
}

cJSON *ortc_add_object(cJSON *object, const char *key)
{
    return note_failure(cJSON_AddObjectToObject(object, key));
}

void ortc_set(cJSON *object, const char *key, cJSON *value)
{
    cJSON *old = cJSON_DetachItemFromObjectCaseSensitive(object, key);

    cJSON_Delete(old);
    ortc_add(object, key, value);
}

cJSON *ortc_get_or_add_array(cJSON *object, const char *key)
{
    cJSON *item = ortc_get_truthy(object, key);

    if (item == NULL) {
        ortc_set(object, key, cJSON_CreateArray());
        item = ortc_get(object, key);
    }
    return cJSON_IsArray(item) ? item : NULL;
}

bool ortc_is_printable(const char *text, size_t bytes_max)
{
    size_t i;

    for (i = 0; text[i] != '\0'; i++) {
        if (i >= bytes_max || (unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    }
    return true;
}

bool ortc_is_integer(const cJSON *item, double min, double max)
{
    return cJSON_IsNumber(item) && item->valuedouble >= min && item->valuedouble <= max &&
           floor(item->valuedouble) == item->valuedouble;
}

static double number_of(const cJSON *object, const char *key, double fallback)
{
    const cJSON *item = ortc_get(object, key);

    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

static enum codec codec_of(const char *mime)
{
    static const struct {
        const char *mime;
        enum codec codec;
    } known[] = {
        {"audio/opus", CODEC_opus}, {"video/VP8", CODEC_vp8}, {"video/VP9", CODEC_vp9},
        {"video/H264", CODEC_h264}, {"video/AV1", CODEC_av1}, {"audio/red", CODEC_red},
    };
    size_t i;

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcasecmp(mime, known[i].mime) == 0)
            return known[i].codec;
    }
    return CODEC_other;
}

void ortc_codecs_read(cJSON *array, const char *payload_key, struct ortc_codecs *out)
{
    cJSON *item;

    out->count = 0;
    cJSON_ArrayForEach(item, array)
    {
        struct ortc_codec *codec = &out->list[out->count];
        size_t length;

        if (out->count == ORTC_CODECS_MAX)
            return;
        out->count++;
        codec->json = item;
        codec->mime = ortc_text(item, "mimeType");
        if (codec->mime == NULL)
            codec->mime = "";
        length = strlen(codec->mime);
        codec->codec = codec_of(codec->mime);
        codec->is_rtx = length > 4 && strcasecmp(codec->mime + length - 4, "/rtx") == 0;
        codec->payload_type = number_of(item, payload_key, -1);
        codec->clock_rate = number_of(item, "clockRate", -1);
        codec->channels = number_of(item, "channels", 0);
        codec->apt = number_of(ortc_get(item, "parameters"), "apt", -1);
    }
}
