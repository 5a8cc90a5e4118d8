/* Writes and reads the JSON about RTP. */
#include "ringcast_rtp.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "json.h"

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

char *rtp_capabilities(const struct target_options *options, const cJSON *router)
{
    cJSON *own = cJSON_CreateObject(), *codecs = cJSON_AddArrayToObject(own, "codecs");
    cJSON *extensions = cJSON_AddArrayToObject(own, "headerExtensions");
    const cJSON *item;
    double vp8 = -1;
    char *text;

    cJSON_ArrayForEach(item, json_item(router, "codecs"))
    {
        const char *mime = json_text(item, "mimeType");

        if (strcasecmp(mime, "video/VP8") == 0)
            vp8 = json_number(item, "preferredPayloadType");
        if (strcasecmp(mime, "video/VP8") == 0 || strcasecmp(mime, "audio/opus") == 0 ||
            json_number(json_item(item, "parameters"), "apt") == vp8) {
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
    "{\"mid\":\"%s\",\"codecs\":[{\"mimeType\":\"video/VP8\",\"payloadType\":%u,"
    "\"clockRate\":90000,\"parameters\":{},"
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
    "\"encodings\":[{\"ssrc\":%u,\"rtx\":{\"ssrc\":%u},\"dtx\":false}],"
    "\"rtcp\":{\"cname\":\"%s\",\"reducedSize\":true},\"msid\":\"load video\"}";
/* clang-format on */

void rtp_parameters(const struct target_stream *s, const char *cname,
                    char out[RTP_PARAMETERS_BYTES_MAX])
{
    if (s->kind == STREAM_VIDEO)
        snprintf(out, RTP_PARAMETERS_BYTES_MAX, video_parameters, s->mid, s->payload_type,
                 s->rtx_payload_type, s->payload_type, s->ssrc, s->rtx_ssrc, cname);
    else
        snprintf(out, RTP_PARAMETERS_BYTES_MAX, audio_parameters, s->mid, s->payload_type, s->ssrc,
                 cname);
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
