/* Consuming: whether a client can receive a producer, and with which rtpParameters. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "src/random.h"

#define TRANSPORT_CC "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
#define ABS_SEND_TIME "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"

static const struct ortc_codec *match_of(const struct ortc_codec *codec,
                                         const struct ortc_codecs *remote)
{
    uint32_t i;

    for (i = 0; i < remote->count; i++) {
        if (ortc_codec_match(&remote->list[i], codec, false))
            return &remote->list[i];
    }
    return NULL;
}

bool ortc_can_consume(const struct ortc_producer *producer, const cJSON *remote_capabilities)
{
    cJSON *capabilities = cJSON_Duplicate(remote_capabilities, true);
    struct ortc_codecs ours, theirs;
    char why[ORTC_WHY_BYTES];
    bool result = false;
    uint32_t i;

    ortc_build_begin();
    if (ortc_capabilities_normalize(capabilities, why)) {
        ortc_codecs_read(ortc_get(producer->consumable_parameters, "codecs"), "payloadType", &ours);
        ortc_codecs_read(ortc_get(capabilities, "codecs"), "preferredPayloadType", &theirs);
        for (i = 0; i < ours.count; i++) {
            if (match_of(&ours.list[i], &theirs) != NULL) {
                result = !ours.list[i].is_rtx;
                break;
            }
        }
    }
    cJSON_Delete(capabilities);
    return result;
}

/* The codecs that both sides have. An RTX codec is kept only with its media codec. */
static cJSON *consumer_codecs(const struct ortc_codecs *ours, const struct ortc_codecs *theirs,
                              bool with_rtx, bool *rtx_supported)
{
    cJSON *list = cJSON_CreateArray();
    struct ortc_codecs kept;
    uint32_t i, k;

    for (i = 0; i < ours->count; i++) {
        const struct ortc_codec *remote;
        cJSON *copy;

        if (ours->list[i].is_rtx && !with_rtx)
            continue;
        remote = match_of(&ours->list[i], theirs);
        if (remote == NULL)
            continue;
        copy = cJSON_Duplicate(ours->list[i].json, true);
        /* Audio keeps its NACK although it has no RTX: what was lost is sent again as it was. */
        ortc_set(copy, "rtcpFeedback",
                 cJSON_Duplicate(ortc_get(remote->json, "rtcpFeedback"), true));
        ortc_push(list, copy);
    }
    ortc_codecs_read(list, "payloadType", &kept);
    *rtx_supported = false;
    for (i = kept.count; i-- > 0;) {
        if (!kept.list[i].is_rtx)
            continue;
        for (k = 0; k < kept.count && kept.list[k].payload_type != kept.list[i].apt; k++)
            ;
        if (k < kept.count)
            *rtx_supported = true;
        else
            cJSON_DeleteItemFromArray(list, (int)i);
    }
    return list;
}

static cJSON *consumer_extensions(const cJSON *ours, const cJSON *theirs)
{
    cJSON *list = cJSON_CreateArray();
    const cJSON *mine, *remote;

    cJSON_ArrayForEach(mine, ours)
    {
        cJSON_ArrayForEach(remote, theirs)
        {
            if (ortc_get(remote, "preferredId")->valuedouble == ortc_get(mine, "id")->valuedouble &&
                strcmp(ortc_text(remote, "uri"), ortc_text(mine, "uri")) == 0) {
                ortc_push(list, cJSON_Duplicate(mine, true));
                break;
            }
        }
    }
    return list;
}

static bool has_uri(const cJSON *extensions, const char *uri)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, extensions)
    {
        if (strcmp(ortc_text(item, "uri"), uri) == 0)
            return true;
    }
    return false;
}

/* Keeps one kind of bandwidth feedback: transport-cc if the client has its extension, else REMB. */
static void choose_bandwidth_feedback(cJSON *codecs, const cJSON *extensions)
{
    bool transport_cc = has_uri(extensions, TRANSPORT_CC);
    bool remb = !transport_cc && has_uri(extensions, ABS_SEND_TIME);
    cJSON *codec;

    cJSON_ArrayForEach(codec, codecs)
    {
        cJSON *list = ortc_get(codec, "rtcpFeedback"), *item = list->child, *next;

        for (; item != NULL; item = next) {
            const char *type = ortc_text(item, "type");

            next = item->next;
            if ((!transport_cc && strcmp(type, "transport-cc") == 0) ||
                (!remb && strcmp(type, "goog-remb") == 0))
                cJSON_Delete(cJSON_DetachItemViaPointer(list, item));
        }
    }
}

/* A consumer gets one encoding, whatever the producer has. */
static cJSON *consumer_encoding(const cJSON *consumable, bool with_rtx, uint32_t ssrc)
{
    const cJSON *list = ortc_get(consumable, "encodings"), *item;
    cJSON *out = cJSON_CreateObject(), *rtx;
    const char *mode = NULL;
    double bitrate_max = 0;
    int count = cJSON_GetArraySize(list);

    cJSON_ArrayForEach(item, list)
    {
        const char *own = ortc_text(item, "scalabilityMode");
        const cJSON *bitrate = ortc_get(item, "maxBitrate");

        if (mode == NULL && own != NULL && own[0] != '\0')
            mode = own;
        if (bitrate != NULL && bitrate->valuedouble > bitrate_max)
            bitrate_max = bitrate->valuedouble;
    }
    ortc_add_number(out, "ssrc", ssrc);
    if (with_rtx) {
        rtx = ortc_add_object(out, "rtx");
        ortc_add_number(rtx, "ssrc", ssrc + 1);
    }
    if (count > 1) {
        char text[24];

        snprintf(text, sizeof(text), "L%dT%u", count, ortc_scalability_parse(mode).temporal);
        ortc_add_text(out, "scalabilityMode", text);
    } else if (mode != NULL) {
        ortc_add_text(out, "scalabilityMode", mode);
    }
    if (bitrate_max > 0)
        ortc_add_number(out, "maxBitrate", bitrate_max);
    return out;
}

static void fill_row(struct consumer_row *row, const struct ortc_producer *producer,
                     const struct ortc_codecs *codecs, const cJSON *extensions, uint32_t ssrc,
                     bool with_rtx, const char *mid)
{
    const cJSON *item;
    uint32_t i;

    memset(row, 0, sizeof(*row));
    row->kind = producer->row.kind;
    row->ssrc = ssrc;
    row->rtx_ssrc = with_rtx ? ssrc + 1 : 0;
    row->payload_type = (uint8_t)codecs->list[0].payload_type;
    row->has_audio_nack = row->kind == MEDIA_KIND_audio && ortc_has_nack(&codecs->list[0]);
    for (i = 1; i < codecs->count; i++) {
        if (codecs->list[i].is_rtx && codecs->list[i].apt == codecs->list[0].payload_type)
            row->rtx_payload_type = (uint8_t)codecs->list[i].payload_type;
    }
    cJSON_ArrayForEach(item, extensions) row->extension_mask |=
        (uint16_t)(1u << (uint32_t)ortc_get(item, "id")->valuedouble);
    row->priority = 1;
    row->preferred_spatial_layer = row->preferred_temporal_layer = LAYER_NONE;
    row->mid_bytes = (uint8_t)strlen(mid);
    memcpy(row->mid, mid, row->mid_bytes);
}

/* Builds rtpParameters in `out`, and fills the row. */
static bool negotiate(const struct ortc_producer *producer, const struct ortc_codecs *theirs,
                      const cJSON *capabilities, const char *mid, uint32_t ssrc, cJSON *out,
                      struct consumer_row *row, char *why)
{
    const cJSON *consumable = producer->consumable_parameters, *msid = ortc_get(consumable, "msid");
    cJSON *codecs, *extensions;
    struct ortc_codecs ours;
    bool with_rtx;

    ortc_codecs_read(ortc_get(consumable, "codecs"), "payloadType", &ours);
    ortc_add(out, "codecs",
             consumer_codecs(&ours, theirs, producer->row.kind == MEDIA_KIND_video, &with_rtx));
    ortc_add(out, "headerExtensions",
             consumer_extensions(ortc_get(consumable, "headerExtensions"),
                                 ortc_get(capabilities, "headerExtensions")));
    if (!ortc_build_check(why))
        return false;
    codecs = ortc_get(out, "codecs");
    extensions = ortc_get(out, "headerExtensions");
    ortc_codecs_read(codecs, "payloadType", &ours);
    if (ours.count == 0 || ours.list[0].is_rtx)
        return ortc_refuse(why, "no codec of the producer is in these rtpCapabilities");
    choose_bandwidth_feedback(codecs, extensions);
    ortc_push(ortc_add_array(out, "encodings"), consumer_encoding(consumable, with_rtx, ssrc));
    ortc_add(out, "rtcp", cJSON_Duplicate(ortc_get(consumable, "rtcp"), true));
    if (msid != NULL)
        ortc_add(out, "msid", cJSON_Duplicate(msid, true));
    ortc_add_text(out, "mid", mid);
    fill_row(row, producer, &ours, extensions, ssrc, with_rtx, mid);
    return ortc_build_check(why);
}

uint32_t ortc_first_ssrc(void)
{
    return random_between(50000000, 250000000) * 2;
}

cJSON *ortc_consume(const struct ortc_producer *producer, const cJSON *remote_capabilities,
                    const char *mid, uint32_t ssrc, struct consumer_row *row, char *why)
{
    cJSON *capabilities = cJSON_Duplicate(remote_capabilities, true), *out = NULL;
    struct ortc_codecs theirs;

    ortc_build_begin();
    if (strlen(mid) > CONSUMER_MID_BYTES_MAX) {
        ortc_refuse(why, "mid %s is longer than the %d bytes that this server allows", mid,
                    CONSUMER_MID_BYTES_MAX);
    } else if (ortc_capabilities_normalize(capabilities, why)) {
        ortc_codecs_read(ortc_get(capabilities, "codecs"), "preferredPayloadType", &theirs);
        out = cJSON_CreateObject();
        if (!negotiate(producer, &theirs, capabilities, mid, ssrc, out, row, why)) {
            cJSON_Delete(out);
            out = NULL;
        }
    }
    cJSON_Delete(capabilities);
    return out;
}
