/* rtpParameters of a client: checked, and defaults filled in, in place. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "internal.h"

static bool normalize_values(cJSON *owner, const char *what, char *why)
{
    cJSON *values = ortc_get(owner, "parameters"), *value;
    uint32_t count = 0;

    if (cJSON_IsArray(values))
        return ortc_refuse(why, "%s.parameters is an array; this server needs an object", what);
    if (!cJSON_IsObject(values)) {
        ortc_set(owner, "parameters", cJSON_CreateObject());
        return true;
    }
    cJSON_ArrayForEach(value, values)
    {
        if (!cJSON_IsString(value) && !cJSON_IsNumber(value))
            return ortc_refuse(why, "%s.parameters.%.40s is neither text nor number", what,
                               value->string);
        if (strcmp(value->string, "apt") == 0 && !cJSON_IsNumber(value))
            return ortc_refuse(why, "%s.parameters.apt is not a number", what);
        if (++count > ORTC_PARAMETERS_MAX ||
            !ortc_is_printable(value->string, ORTC_TEXT_BYTES_MAX) ||
            (cJSON_IsString(value) && !ortc_is_printable(value->valuestring, ORTC_TEXT_BYTES_MAX)))
            return ortc_refuse(
                why, "%s.parameters: too many, too long or not printable for this server", what);
    }
    return true;
}

static bool normalize_feedback(cJSON *codec, char *why)
{
    cJSON *list = ortc_get(codec, "rtcpFeedback"), *item;
    uint32_t count = 0;

    if (!cJSON_IsArray(list)) {
        ortc_set(codec, "rtcpFeedback", cJSON_CreateArray());
        return true;
    }
    cJSON_ArrayForEach(item, list)
    {
        const char *type = ortc_text(item, "type"), *parameter;

        if (!cJSON_IsObject(item) || type == NULL || type[0] == '\0')
            return ortc_refuse(why, "rtcpFeedback: every entry needs a type");
        parameter = ortc_text(item, "parameter");
        if (parameter == NULL) {
            ortc_set(item, "parameter", cJSON_CreateString(""));
            parameter = "";
        }
        if (++count > ORTC_FEEDBACK_MAX || !ortc_is_printable(type, ORTC_TEXT_BYTES_MAX) ||
            !ortc_is_printable(parameter, ORTC_TEXT_BYTES_MAX))
            return ortc_refuse(why,
                               "rtcpFeedback: too many, too long or not printable for this server");
    }
    return true;
}

bool ortc_codec_normalize(cJSON *codec, bool is_capability, char *why)
{
    const char *mime = ortc_text(codec, "mimeType");
    const char *key = is_capability ? "preferredPayloadType" : "payloadType";
    cJSON *payload_type = is_capability ? ortc_get_truthy(codec, key) : ortc_get(codec, key),
          *channels;

    if (!cJSON_IsObject(codec))
        return ortc_refuse(why, "codec is not an object");
    if (mime == NULL || (strncasecmp(mime, "audio/", 6) != 0 && strncasecmp(mime, "video/", 6)) ||
        mime[6] == '\0' || mime[6] == '\n')
        return ortc_refuse(why, "codec.mimeType is not audio/… or video/…");
    if (!ortc_is_printable(mime, ORTC_MIME_BYTES_MAX))
        return ortc_refuse(why, "codec.mimeType is too long or not printable for this server");
    if (payload_type == NULL ? !is_capability : !cJSON_IsNumber(payload_type))
        return ortc_refuse(why, "codec %s: %s is missing or not a number", mime, key);
    if (payload_type != NULL && !ortc_is_integer(payload_type, 0, 127))
        return ortc_refuse(why, "codec %s: %s is not from 0 to 127, as this server needs", mime,
                           key);
    if (!cJSON_IsNumber(ortc_get(codec, "clockRate")))
        return ortc_refuse(why, "codec %s: clockRate is missing or not a number", mime);
    if (is_capability)
        ortc_set(codec, "kind",
                 cJSON_CreateString(tolower((unsigned char)mime[0]) == 'a' ? "audio" : "video"));
    channels = ortc_get(codec, "channels");
    if (tolower((unsigned char)mime[0]) != 'a')
        cJSON_DeleteItemFromObjectCaseSensitive(codec, "channels");
    else if (!cJSON_IsNumber(channels))
        ortc_set(codec, "channels", cJSON_CreateNumber(1));
    return normalize_values(codec, "codec", why) && normalize_feedback(codec, why);
}

static bool normalize_extension(cJSON *extension, char *why)
{
    const char *uri = ortc_text(extension, "uri");
    cJSON *encrypt = ortc_get_truthy(extension, "encrypt");

    if (!cJSON_IsObject(extension))
        return ortc_refuse(why, "header extension is not an object");
    if (uri == NULL || uri[0] == '\0')
        return ortc_refuse(why, "header extension without uri");
    if (!cJSON_IsNumber(ortc_get(extension, "id")))
        return ortc_refuse(why, "header extension without id");
    if (!ortc_is_printable(uri, ORTC_TEXT_BYTES_MAX) ||
        !ortc_is_integer(ortc_get(extension, "id"), 1, EXTENSION_ID_MAX))
        return ortc_refuse(why, "header extension: uri too long or id not 1–%d for this server",
                           EXTENSION_ID_MAX);
    if (encrypt != NULL && !cJSON_IsBool(encrypt))
        return ortc_refuse(why, "header extension: encrypt is not true or false");
    if (encrypt == NULL)
        ortc_set(extension, "encrypt", cJSON_CreateFalse());
    return normalize_values(extension, "header extension", why);
}

static bool normalize_encoding(cJSON *encoding, char *why)
{
    const cJSON *ssrc = ortc_get_truthy(encoding, "ssrc"), *rid = ortc_get_truthy(encoding, "rid"),
                *rtx = ortc_get_truthy(encoding, "rtx"), *rtx_ssrc = ortc_get(rtx, "ssrc"),
                *mode = ortc_get_truthy(encoding, "scalabilityMode"),
                *bitrate = ortc_get(encoding, "maxBitrate");

    if (!cJSON_IsObject(encoding))
        return ortc_refuse(why, "encoding is not an object%s",
                           cJSON_IsArray(encoding) ? ", as this server needs" : "");
    if (ssrc != NULL && !cJSON_IsNumber(ssrc))
        return ortc_refuse(why, "encoding.ssrc is not a number");
    if (rid != NULL && !cJSON_IsString(rid))
        return ortc_refuse(why, "encoding.rid is not text");
    if (rtx != NULL && (!cJSON_IsObject(rtx) || !cJSON_IsNumber(rtx_ssrc)))
        return ortc_refuse(why, "encoding.rtx without a numeric ssrc");
    if (mode != NULL && !cJSON_IsString(mode))
        return ortc_refuse(why, "encoding.scalabilityMode is not text");
    if ((ssrc != NULL && !ortc_is_integer(ssrc, 0, UINT32_MAX)) ||
        (rtx_ssrc != NULL && !ortc_is_integer(rtx_ssrc, 0, UINT32_MAX)) ||
        (rid != NULL && !ortc_is_printable(rid->valuestring, RID_BYTES_MAX - 1)) ||
        (mode != NULL && !ortc_is_printable(mode->valuestring, 16)) ||
        (bitrate != NULL && !cJSON_IsNumber(bitrate)))
        return ortc_refuse(why,
                           "encoding: ssrc, rid, scalabilityMode or maxBitrate is outside what "
                           "this server can hold");
    if (!cJSON_IsBool(ortc_get(encoding, "dtx")))
        ortc_set(encoding, "dtx", cJSON_CreateFalse());
    return true;
}

static bool normalize_rtcp(cJSON *parameters, char *why)
{
    cJSON *rtcp = ortc_get_truthy(parameters, "rtcp"), *cname;

    if (rtcp == NULL) {
        ortc_set(parameters, "rtcp", cJSON_CreateObject());
        rtcp = ortc_get(parameters, "rtcp");
    }
    if (cJSON_IsArray(rtcp))
        return ortc_refuse(why, "rtcp is an array; this server needs an object");
    if (!cJSON_IsObject(rtcp))
        return ortc_refuse(why, "rtcp is not an object");
    cname = ortc_get_truthy(rtcp, "cname");
    if (cname != NULL && !cJSON_IsString(cname))
        return ortc_refuse(why, "rtcp.cname is not text");
    if (cname != NULL && !ortc_is_printable(cname->valuestring, ORTC_TEXT_BYTES_MAX))
        return ortc_refuse(why, "rtcp.cname is too long or not printable for this server");
    /* This server sends only reduced-size RTCP, so `false` becomes `true`. */
    ortc_set(rtcp, "reducedSize", cJSON_CreateTrue());
    return true;
}

static bool normalize_each(cJSON *parameters, const char *key, int count_max,
                           bool (*normalize)(cJSON *item, char *why), char *why)
{
    cJSON *list = ortc_get_or_add_array(parameters, key), *item;

    if (list == NULL)
        return ortc_refuse(why, "rtpParameters.%s is not an array", key);
    if (cJSON_GetArraySize(list) > count_max)
        return ortc_refuse(why,
                           "rtpParameters.%s has more than the %d entries that this server allows",
                           key, count_max);
    cJSON_ArrayForEach(item, list)
    {
        if (!normalize(item, why))
            return false;
    }
    return true;
}

static bool normalize_sent_codec(cJSON *codec, char *why)
{
    return ortc_codec_normalize(codec, false, why);
}

bool ortc_parameters_normalize(cJSON *parameters, char *why)
{
    static const struct {
        const char *key;
        size_t bytes_max;
    } texts[] = {{"mid", MID_BYTES_MAX}, {"msid", ORTC_TEXT_BYTES_MAX}};
    size_t i;

    if (!cJSON_IsObject(parameters))
        return ortc_refuse(why, "rtpParameters is not an object");
    if (!cJSON_IsArray(ortc_get(parameters, "codecs")))
        return ortc_refuse(why, "rtpParameters.codecs is missing or not an array");
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const cJSON *text = ortc_get_truthy(parameters, texts[i].key);

        if (text != NULL && !cJSON_IsString(text))
            return ortc_refuse(why, "rtpParameters.%s is not text", texts[i].key);
        if (text != NULL && !ortc_is_printable(text->valuestring, texts[i].bytes_max))
            return ortc_refuse(why, "rtpParameters.%s is too long or not printable for this server",
                               texts[i].key);
    }
    return normalize_each(parameters, "codecs", 2 * CODECS_MAX, normalize_sent_codec, why) &&
           normalize_each(parameters, "headerExtensions", ORTC_EXTENSIONS_MAX, normalize_extension,
                          why) &&
           normalize_each(parameters, "encodings", ENCODINGS_MAX, normalize_encoding, why) &&
           normalize_rtcp(parameters, why) && ortc_build_check(why);
}

/* Reads one or two digits, the first of them not 0. Returns what follows, or NULL. */
static const char *layer_count(const char *text, uint32_t *count)
{
    if (text[0] < '1' || text[0] > '9')
        return NULL;
    *count = (uint32_t)(*text++ - '0');
    if (isdigit((unsigned char)*text))
        *count = *count * 10 + (uint32_t)(*text++ - '0');
    return text;
}

struct ortc_layers ortc_scalability_parse(const char *mode)
{
    const struct ortc_layers one = {1, 1, LAYER_DEPENDENCY_full};
    struct ortc_layers layers = one;
    const char *rest;

    if (mode == NULL || (mode[0] != 'L' && mode[0] != 'S'))
        return one;
    rest = layer_count(mode + 1, &layers.spatial);
    if (rest == NULL || rest[0] != 'T')
        return one;
    rest = layer_count(rest + 1, &layers.temporal);
    if (rest == NULL)
        return one;
    if (mode[0] == 'S')
        layers.dependency = LAYER_DEPENDENCY_none;
    else if (strncmp(rest, "_KEY", 4) == 0) /* also L3T3_KEY_SHIFT */
        layers.dependency = LAYER_DEPENDENCY_key_frames;
    return layers;
}
