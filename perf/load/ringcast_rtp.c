/* Writes and reads the JSON about RTP. */
#include "ringcast_rtp.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "json.h"

#define H264_PROFILE "42e01f"
#define ENCODINGS_BYTES_MAX (TARGET_ENCODINGS_MAX * 120)

/* ---- rtpCapabilities ---- */

/* Removes the kinds of feedback that the generator does not send. A server that expects them would
 * measure a bandwidth of 0. */
static void remove_bandwidth_feedback(cJSON *codec)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(codec, "rtcpFeedback");

    for (int i = cJSON_GetArraySize(list) - 1; i >= 0; i--) {
        const char *type = json_text(cJSON_GetArrayItem(list, i), "type");

        if (strcmp(type, "transport-cc") == 0 || strcmp(type, "goog-remb") == 0)
            cJSON_DeleteItemFromArray(list, i);
    }
}

/* Of the profiles that a server offers, the one that the generator sends. */
static bool is_codec(const cJSON *item, enum video_codec codec)
{
    static const char *const names[] = {"video/VP8", "video/VP9", "video/H264"};
    const cJSON *parameters = json_item(item, "parameters");

    if (strcasecmp(json_text(item, "mimeType"), names[codec]) != 0)
        return false;
    if (codec == VIDEO_VP9)
        return json_number(parameters, "profile-id") == 0;
    return codec != VIDEO_H264 ||
           strcasecmp(json_text(parameters, "profile-level-id"), H264_PROFILE) == 0;
}

char *rtp_capabilities(const struct target_options *options, const cJSON *router)
{
    cJSON *own = cJSON_CreateObject(), *codecs = cJSON_AddArrayToObject(own, "codecs");
    cJSON *extensions = cJSON_AddArrayToObject(own, "headerExtensions");
    const cJSON *item;
    double video = -1;
    char *text;

    cJSON_ArrayForEach(item, json_item(router, "codecs"))
    {
        bool is_video = is_codec(item, options->codec);

        if (is_video)
            video = json_number(item, "preferredPayloadType");
        if (is_video || strcasecmp(json_text(item, "mimeType"), "audio/opus") == 0 ||
            json_number(json_item(item, "parameters"), "apt") == video) {
            cJSON *copy = cJSON_Duplicate(item, true);

            if (!options->transport_cc)
                remove_bandwidth_feedback(copy);
            cJSON_AddItemToArray(codecs, copy);
        }
    }
    cJSON_ArrayForEach(item, json_item(router, "headerExtensions"))
    {
        if (options->transport_cc || !strstr(json_text(item, "uri"), "transport-wide-cc"))
            cJSON_AddItemToArray(extensions, cJSON_Duplicate(item, true));
    }
    text = cJSON_PrintUnformatted(own);
    cJSON_Delete(own);
    return text;
}

/* ---- rtpParameters ---- */

/* clang-format off */
#define EXTENSION(uri, id) "{\"uri\":\"" uri "\",\"id\":" id ",\"encrypt\":false,\"parameters\":{}}"
#define FEEDBACK(type, parameter) "{\"type\":\"" type "\",\"parameter\":\"" parameter "\"}"
#define EXTENSIONS_OF_BOTH \
    EXTENSION("urn:ietf:params:rtp-hdrext:sdes:mid", "4") "," \
    EXTENSION("http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time", "2") "," \
    EXTENSION("http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", "3") ","

static const char audio_parameters[] =
    "{\"mid\":\"%s\",\"codecs\":[{\"mimeType\":\"audio/opus\",\"payloadType\":%u,"
    "\"clockRate\":48000,\"channels\":2,\"parameters\":{\"minptime\":10,\"useinbandfec\":1},"
    "\"rtcpFeedback\":[" FEEDBACK("transport-cc", "") "," FEEDBACK("nack", "") "]}],"
    "\"headerExtensions\":[" EXTENSIONS_OF_BOTH
    EXTENSION("urn:ietf:params:rtp-hdrext:ssrc-audio-level", "1") "],"
    "\"encodings\":[{\"ssrc\":%u,\"dtx\":false}],"
    "\"rtcp\":{\"cname\":\"%s\",\"reducedSize\":true},\"msid\":\"load audio\"}";

static const char video_parameters[] =
    "{\"mid\":\"%s\",\"codecs\":[{\"mimeType\":\"video/%s\",\"payloadType\":%u,"
    "\"clockRate\":90000,\"parameters\":{%s},"
    "\"rtcpFeedback\":[" FEEDBACK("goog-remb", "") "," FEEDBACK("transport-cc", "") ","
    FEEDBACK("ccm", "fir") "," FEEDBACK("nack", "") "," FEEDBACK("nack", "pli") "]},"
    "{\"mimeType\":\"video/rtx\",\"payloadType\":%u,\"clockRate\":90000,"
    "\"parameters\":{\"apt\":%u},\"rtcpFeedback\":[]}],"
    "\"headerExtensions\":[" EXTENSIONS_OF_BOTH
    EXTENSION("urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "10") ","
    EXTENSION("urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id", "11") ","
    EXTENSION("urn:3gpp:video-orientation", "13") ","
    EXTENSION("urn:ietf:params:rtp-hdrext:toffset", "14") ","
    EXTENSION("http://www.webrtc.org/experiments/rtp-hdrext/playout-delay", "5") "],"
    "\"encodings\":[%s],"
    "\"rtcp\":{\"cname\":\"%s\",\"reducedSize\":true},\"msid\":\"load video\"}";

static const struct {
    const char *name, *parameters;
} video_codecs[] = {
    [VIDEO_VP8] = {"VP8", ""},
    [VIDEO_VP9] = {"VP9", "\"profile-id\":0"},
    [VIDEO_H264] = {"H264", "\"packetization-mode\":1,\"level-asymmetry-allowed\":1,"
                            "\"profile-level-id\":\"" H264_PROFILE "\""},
};
/* clang-format on */

/* One encoding, as a browser describes it: by RID without SSRCs, else with both. */
static void add_encoding(const struct target_stream *s, const struct target_encoding *one,
                         char *out, size_t room)
{
    size_t n = strlen(out);

    n += (size_t)snprintf(out + n, room - n, "%s{", n ? "," : "");
    if (one->rid[0])
        n += (size_t)snprintf(out + n, room - n, "\"active\":true,\"rid\":\"%s\"", one->rid);
    else
        n += (size_t)snprintf(out + n, room - n, "\"ssrc\":%u,\"rtx\":{\"ssrc\":%u}", one->ssrc,
                              one->rtx_ssrc);
    if (s->scalability)
        n += (size_t)snprintf(out + n, room - n, ",\"scalabilityMode\":\"%s\"", s->scalability);
    snprintf(out + n, room - n, ",\"dtx\":false}");
}

void rtp_parameters(const struct target_stream *s, const char *cname,
                    char out[RTP_PARAMETERS_BYTES_MAX])
{
    const struct target_encoding only = {.ssrc = s->ssrc, .rtx_ssrc = s->rtx_ssrc};
    char encodings[ENCODINGS_BYTES_MAX] = "";

    if (s->kind == STREAM_AUDIO) {
        snprintf(out, RTP_PARAMETERS_BYTES_MAX, audio_parameters, s->mid, s->payload_type, s->ssrc,
                 cname);
        return;
    }
    if (!s->encoding_count)
        add_encoding(s, &only, encodings, sizeof(encodings));
    for (unsigned i = 0; i < s->encoding_count; i++)
        add_encoding(s, &s->encodings[i], encodings, sizeof(encodings));
    snprintf(out, RTP_PARAMETERS_BYTES_MAX, video_parameters, s->mid, video_codecs[s->codec].name,
             s->payload_type, video_codecs[s->codec].parameters, s->rtx_payload_type,
             s->payload_type, encodings, cname);
}

void rtp_parameters_read(const cJSON *ack, struct target_stream *stream)
{
    const cJSON *parameters = json_item(ack, "rtpParameters");
    const cJSON *encoding = cJSON_GetArrayItem(json_item(parameters, "encodings"), 0);
    const cJSON *codecs = json_item(parameters, "codecs"), *one;

    stream->ssrc = (uint32_t)json_number(encoding, "ssrc");
    stream->rtx_ssrc = (uint32_t)json_number(json_item(encoding, "rtx"), "ssrc");
    stream->payload_type = (uint8_t)json_number(cJSON_GetArrayItem(codecs, 0), "payloadType");
    stream->rtx_payload_type = (uint8_t)json_number(cJSON_GetArrayItem(codecs, 1), "payloadType");
    snprintf(stream->mid, sizeof(stream->mid), "%s", json_text(parameters, "mid"));
    stream->nack = false;
    cJSON_ArrayForEach(one, json_item(cJSON_GetArrayItem(codecs, 0), "rtcpFeedback"))
    {
        if (strcmp(json_text(one, "type"), "nack") == 0 && !json_text(one, "parameter")[0])
            stream->nack = true;
    }
    stream->transport_cc_id = 0;
    cJSON_ArrayForEach(one, json_item(parameters, "headerExtensions"))
    {
        if (strstr(json_text(one, "uri"), "transport-wide-cc"))
            stream->transport_cc_id = (uint8_t)json_number(one, "id");
    }
}
