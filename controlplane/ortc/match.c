/* Whether two codecs are the same one: name, clock rate,
 * channels, and for H.264 and VP9 the profile. Whether one has NACK. */
#include <string.h>
#include <strings.h>

#include "internal.h"

static const cJSON *parameter(const struct ortc_codec *codec, const char *key)
{
    return ortc_get(ortc_get(codec->json, "parameters"), key);
}

/* Whether a parameter is equal. A missing one and "" count as 0; a number never equals a text. */
static bool same_or_zero(const struct ortc_codec *a, const struct ortc_codec *b, const char *key)
{
    const cJSON *x = parameter(a, key), *y = parameter(b, key);
    const char *xs = cJSON_GetStringValue(x), *ys = cJSON_GetStringValue(y);

    if (xs != NULL && xs[0] == '\0')
        xs = NULL, x = NULL;
    if (ys != NULL && ys[0] == '\0')
        ys = NULL, y = NULL;
    if (xs != NULL || ys != NULL)
        return xs != NULL && ys != NULL && cJSON_Compare(x, y, true);
    return (x ? x->valuedouble : 0) == (y ? y->valuedouble : 0);
}

static bool asymmetry_allowed(const struct ortc_codec *codec)
{
    const cJSON *item = parameter(codec, "level-asymmetry-allowed");
    const char *text = cJSON_GetStringValue(item);

    return text != NULL ? text[0] == '1' && text[1] == '\0'
                        : cJSON_IsNumber(item) && item->valuedouble == 1;
}

static struct h264_profile_level profile_level(const struct ortc_codec *codec, bool *given)
{
    const cJSON *item = parameter(codec, "profile-level-id");
    const char *text = cJSON_GetStringValue(item);

    *given = text != NULL ? text[0] != '\0' : cJSON_IsNumber(item) && item->valuedouble != 0;
    if (cJSON_IsNumber(item) && item->valuedouble != 0)
        return (struct h264_profile_level){H264_NONE, 0};
    return h264_parse(*given ? text : NULL);
}

/* RFC 6184, section 8.2.2: both must have the same profile. If both allow level asymmetry, the
 * answer keeps the level of a, otherwise it has the lower level of the two. */
static bool match_h264(const struct ortc_codec *a, const struct ortc_codec *b, bool modify)
{
    struct h264_profile_level x, y, answer;
    cJSON *parameters = ortc_get(a->json, "parameters");
    bool x_given, y_given;
    char text[7];

    if (!same_or_zero(a, b, "packetization-mode"))
        return false;
    x = profile_level(a, &x_given);
    y = profile_level(b, &y_given);
    if (x.profile == H264_NONE || x.profile != y.profile)
        return false;
    if (!modify)
        return true;
    answer = x;
    if (!(asymmetry_allowed(a) && asymmetry_allowed(b)) && h264_level_less(y.level, x.level))
        answer.level = y.level;
    if ((x_given || y_given) && h264_print(answer, text))
        ortc_set(parameters, "profile-level-id", cJSON_CreateString(text));
    else
        cJSON_DeleteItemFromObjectCaseSensitive(parameters, "profile-level-id");
    return true;
}

bool ortc_codec_match(const struct ortc_codec *a, const struct ortc_codec *b, bool modify)
{
    if (strcasecmp(a->mime, b->mime) != 0 || a->clock_rate != b->clock_rate ||
        a->channels != b->channels)
        return false;
    if (a->codec == CODEC_h264)
        return match_h264(a, b, modify);
    if (a->codec == CODEC_vp9)
        return same_or_zero(a, b, "profile-id");
    return true;
}

bool ortc_has_nack(const struct ortc_codec *codec)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, ortc_get(codec->json, "rtcpFeedback"))
    {
        if (strcmp(ortc_text(item, "type"), "nack") == 0 && ortc_text(item, "parameter")[0] == '\0')
            return true;
    }
    return false;
}
