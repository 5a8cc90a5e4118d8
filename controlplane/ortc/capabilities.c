/* rtpCapabilities: the router's are made from the settings, a client's are checked. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "internal.h"

/* ---- what this server supports ---- */

#define FEEDBACK_AUDIO 1
#define FEEDBACK_VIDEO 2
#define FEEDBACK_PLAIN 3

static const struct supported {
    const char *name, *mime;
    uint32_t clock_rate, channels;
    int payload_type; /* -1: the next dynamic one */
    int feedback;
} supported[] = {
    {"opus", "audio/opus", 48000, 2, -1, FEEDBACK_AUDIO},
    {"PCMU", "audio/PCMU", 8000, 1, 0, FEEDBACK_PLAIN},
    {"PCMA", "audio/PCMA", 8000, 1, 8, FEEDBACK_PLAIN},
    {"G722", "audio/G722", 8000, 1, 9, FEEDBACK_PLAIN},
    {"VP8", "video/VP8", 90000, 0, -1, FEEDBACK_VIDEO},
    {"VP9", "video/VP9", 90000, 0, -1, FEEDBACK_VIDEO},
    {"H264", "video/H264", 90000, 0, -1, FEEDBACK_VIDEO},
    {"AV1", "video/AV1", 90000, 0, -1, FEEDBACK_VIDEO},
};

static const struct {
    const char *uri;
    int id;                    /* the same as in enum extension_id of dataplane/engines/rtp.h */
    const char *audio, *video; /* direction; NULL: not for this kind */
} extensions[] = {
    {"urn:ietf:params:rtp-hdrext:sdes:mid", 1, "sendrecv", "sendrecv"},
    {"urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", 2, NULL, "recvonly"},
    {"urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id", 3, NULL, "recvonly"},
    /* Not for audio, which has no RTX: what is sent again must be the same to the last byte, and these
     * change with each send (threat D13 of dataplane/README.md). */
    {"http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time", 4, NULL, "sendrecv"},
    {"http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", 5, NULL,
     "sendrecv"},
    {"urn:ietf:params:rtp-hdrext:ssrc-audio-level", ORTC_AUDIO_LEVEL_ID, "sendrecv", NULL},
    {ORTC_DEPENDENCY_DESCRIPTOR, 7, NULL, "sendrecv"},
    {"urn:3gpp:video-orientation", 8, NULL, "sendrecv"},
    {"urn:ietf:params:rtp-hdrext:toffset", 9, NULL, "sendrecv"},
    {"http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time", 10, "sendrecv", "sendrecv"},
    {"http://www.webrtc.org/experiments/rtp-hdrext/playout-delay", 11, "sendrecv", "sendrecv"},
    {"urn:mediasoup:params:rtp-hdrext:packet-id", 12, "sendrecv", "sendrecv"},
};

static void add_feedback(cJSON *list, const char *type, const char *parameter)
{
    cJSON *item = cJSON_CreateObject();

    ortc_add_text(item, "type", type);
    ortc_add_text(item, "parameter", parameter);
    ortc_push(list, item);
}

static cJSON *make_feedback(int which)
{
    cJSON *list = cJSON_CreateArray();

    if (which != FEEDBACK_PLAIN)
        add_feedback(list, "nack", "");
    if (which == FEEDBACK_VIDEO) {
        add_feedback(list, "nack", "pli");
        add_feedback(list, "ccm", "fir");
        add_feedback(list, "goog-remb", "");
    }
    add_feedback(list, "transport-cc", "");
    return list;
}

/* Dynamic payload types, in the order of mediasoup: 100 to 127, then 96 to 99. */
static int next_payload_type(bool used[128])
{
    int i;

    for (i = 0; i < 32; i++) {
        int candidate = i < 28 ? 100 + i : 96 + (i - 28);

        if (!used[candidate]) {
            used[candidate] = true;
            return candidate;
        }
    }
    return -1;
}

static cJSON *make_codec(const char *mime, int payload_type, uint32_t clock_rate, uint32_t channels)
{
    cJSON *codec = cJSON_CreateObject();

    ortc_add_text(codec, "kind", mime[0] == 'a' ? "audio" : "video");
    ortc_add_text(codec, "mimeType", mime);
    ortc_add_number(codec, "preferredPayloadType", payload_type);
    ortc_add_number(codec, "clockRate", clock_rate);
    if (channels != 0)
        ortc_add_number(codec, "channels", channels);
    return codec;
}

/* detail: what follows the colon of a configured codec, a VP9
 * profile or an H.264 profile-level-id. */
static bool add_parameters(cJSON *codec, const char *name, const char *detail, char *why)
{
    cJSON *parameters = ortc_add_object(codec, "parameters");

    if (strcmp(name, "VP9") == 0) {
        if (detail[0] != '\0' && (detail[0] < '0' || detail[0] > '3' || detail[1] != '\0'))
            return ortc_refuse(why, "codec VP9:%.16s: the profile is 0, 1, 2 or 3", detail);
        ortc_add_number(parameters, "profile-id", detail[0] != '\0' ? detail[0] - '0' : 0);
    } else if (strcmp(name, "H264") == 0) {
        const char *id = detail[0] != '\0' ? detail : "42e01f";

        if (h264_parse(id).profile == H264_NONE)
            return ortc_refuse(why, "codec H264:%.16s: not a profile-level-id like 42e01f", detail);
        ortc_add_number(parameters, "packetization-mode", 1);
        ortc_add_number(parameters, "level-asymmetry-allowed", 1);
        ortc_add_text(parameters, "profile-level-id", id);
    } else if (detail[0] != '\0') {
        return ortc_refuse(why, "codec %s takes no parameter after a colon", name);
    }
    /* In kbit/s. Without it, browsers start a new video stream at 300 and raise it slowly. */
    if (cJSON_GetObjectItem(codec, "channels") == NULL)
        ortc_add_number(parameters, "x-google-start-bitrate", 1000);
    return true;
}

static bool add_codec(cJSON *codecs, const char *word, bool used[128], char *why)
{
    const struct supported *row = NULL;
    char name[16];
    const char *detail;
    size_t i, length = strcspn(word, ":");
    cJSON *codec, *parameters;
    int payload_type;

    for (i = 0; i < sizeof(supported) / sizeof(supported[0]); i++) {
        if (strlen(supported[i].name) == length &&
            strncasecmp(supported[i].name, word, length) == 0)
            row = &supported[i];
    }
    if (row == NULL)
        return ortc_refuse(why,
                           "codec %.32s is unknown; known are opus, PCMU, PCMA, G722, VP8, VP9, "
                           "H264, AV1",
                           word);
    snprintf(name, sizeof(name), "%s", row->name);
    detail = word[length] == ':' ? word + length + 1 : "";
    payload_type = row->payload_type >= 0 ? row->payload_type : next_payload_type(used);
    if (payload_type < 0 || (row->payload_type >= 0 && used[payload_type]))
        return ortc_refuse(why, "codec %s: no payload type left for it", name);
    used[payload_type] = true;
    codec = make_codec(row->mime, payload_type, row->clock_rate, row->channels);
    if (!add_parameters(codec, name, detail, why)) {
        cJSON_Delete(codec);
        return false;
    }
    ortc_add(codec, "rtcpFeedback", make_feedback(row->feedback));
    ortc_push(codecs, codec);
    if (row->channels != 0)
        return true;
    i = (size_t)payload_type;
    payload_type = next_payload_type(used);
    if (payload_type < 0)
        return ortc_refuse(why, "codec %s: no payload type left for its retransmissions", name);
    codec = make_codec("video/rtx", payload_type, row->clock_rate, 0);
    parameters = ortc_add_object(codec, "parameters");
    ortc_add_number(parameters, "apt", (double)i);
    ortc_add_array(codec, "rtcpFeedback");
    ortc_push(codecs, codec);
    return true;
}

static void add_extensions(cJSON *list)
{
    size_t i;
    int video;

    for (i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        for (video = 0; video < 2; video++) {
            const char *direction = video ? extensions[i].video : extensions[i].audio;
            cJSON *item;

            if (direction == NULL)
                continue;
            item = cJSON_CreateObject();
            ortc_add_text(item, "kind", video ? "video" : "audio");
            ortc_add_text(item, "uri", extensions[i].uri);
            ortc_add_number(item, "preferredId", extensions[i].id);
            ortc_add_flag(item, "preferredEncrypt", false);
            ortc_add_text(item, "direction", direction);
            ortc_push(list, item);
        }
    }
}

cJSON *ortc_router_capabilities(const char *codec_list, char *why)
{
    cJSON *capabilities = cJSON_CreateObject(), *codecs;
    bool used[128] = {false};
    char list[CODEC_LIST_BYTES], *rest = list, *word;

    if ((size_t)snprintf(list, sizeof(list), "%s", codec_list) >= sizeof(list)) {
        cJSON_Delete(capabilities);
        ortc_refuse(why, "the list of codecs is longer than %zu bytes", sizeof(list) - 1);
        return NULL;
    }
    ortc_build_begin();
    codecs = ortc_add_array(capabilities, "codecs");
    while ((word = strsep(&rest, ",")) != NULL) {
        word += strspn(word, " \t");
        word[strcspn(word, " \t")] = '\0';
        if (word[0] != '\0' && !add_codec(codecs, word, used, why)) {
            cJSON_Delete(capabilities);
            return NULL;
        }
    }
    if (cJSON_GetArraySize(codecs) == 0) {
        cJSON_Delete(capabilities);
        ortc_refuse(why, "the list of codecs is empty; give at least one, like opus,VP8");
        return NULL;
    }
    add_extensions(ortc_add_array(capabilities, "headerExtensions"));
    if (!ortc_build_check(why)) {
        cJSON_Delete(capabilities);
        return NULL;
    }
    return capabilities;
}

/* ---- what a client supports ---- */

static bool normalize_extension(cJSON *extension, char *why)
{
    const char *kind = ortc_text(extension, "kind"), *uri = ortc_text(extension, "uri");
    cJSON *encrypt = ortc_get_truthy(extension, "preferredEncrypt"),
          *direction = ortc_get_truthy(extension, "direction");

    if (!cJSON_IsObject(extension))
        return ortc_refuse(why, "header extension is not an object");
    if (kind == NULL || (strcmp(kind, "audio") != 0 && strcmp(kind, "video") != 0))
        return ortc_refuse(why, "header extension: kind is not audio or video");
    if (uri == NULL || uri[0] == '\0')
        return ortc_refuse(why, "header extension without uri");
    if (!cJSON_IsNumber(ortc_get(extension, "preferredId")))
        return ortc_refuse(why, "header extension without preferredId");
    if (encrypt != NULL && !cJSON_IsBool(encrypt))
        return ortc_refuse(why, "header extension: preferredEncrypt is not true or false");
    if (direction != NULL && !cJSON_IsString(direction))
        return ortc_refuse(why, "header extension: direction is not text");
    return true;
}

static bool normalize_codec(cJSON *codec, char *why)
{
    return ortc_codec_normalize(codec, true, why);
}

bool ortc_capabilities_normalize(cJSON *capabilities, char *why)
{
    static const struct {
        const char *key;
        int count_max;
        bool (*normalize)(cJSON *item, char *why);
    } lists[] = {{"codecs", ORTC_CODECS_MAX, normalize_codec},
                 {"headerExtensions", ORTC_EXTENSIONS_MAX, normalize_extension}};
    cJSON *list, *item;
    size_t i;

    if (!cJSON_IsObject(capabilities))
        return ortc_refuse(why, "rtpCapabilities is not an object%s",
                           cJSON_IsArray(capabilities) ? ", as this server needs" : "");
    for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        list = ortc_get_or_add_array(capabilities, lists[i].key);
        if (list == NULL)
            return ortc_refuse(why, "rtpCapabilities.%s is not an array", lists[i].key);
        if (cJSON_GetArraySize(list) > lists[i].count_max)
            return ortc_refuse(
                why, "rtpCapabilities.%s has more than the %d entries that this server allows",
                lists[i].key, lists[i].count_max);
        cJSON_ArrayForEach(item, list)
        {
            if (!lists[i].normalize(item, why))
                return false;
        }
    }
    return ortc_build_check(why);
}
