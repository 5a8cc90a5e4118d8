/* Producing: from what a client sends to what consumers can get, and the producer's row. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "internal.h"
#include "src/random.h"

#define ABS_CAPTURE_TIME "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

/* The codecs of a producer, and the codecs of the router that they match. */
struct mapping {
    struct ortc_codecs sent, router;
    int mapped[ORTC_CODECS_MAX]; /* for each sent codec the payload type of the router */
};

static const struct ortc_codec *codec_with(const struct ortc_codecs *codecs, double payload_type)
{
    uint32_t i;

    for (i = 0; i < codecs->count; i++) {
        if (codecs->list[i].payload_type == payload_type)
            return &codecs->list[i];
    }
    return NULL;
}

static const struct ortc_codec *rtx_of(const struct ortc_codecs *codecs, double payload_type)
{
    uint32_t i;

    for (i = 0; i < codecs->count; i++) {
        if (codecs->list[i].is_rtx && codecs->list[i].apt == payload_type)
            return &codecs->list[i];
    }
    return NULL;
}

static bool map_media(struct mapping *map, uint32_t i, char *why)
{
    uint32_t c;

    for (c = 0; c < map->router.count; c++) {
        if (!map->router.list[c].is_rtx &&
            ortc_codec_match(&map->sent.list[i], &map->router.list[c], true)) {
            map->mapped[i] = (int)map->router.list[c].payload_type;
            return true;
        }
    }
    return ortc_refuse(why, "codec %s with payload type %g is not one of the router's",
                       map->sent.list[i].mime, map->sent.list[i].payload_type);
}

static bool map_rtx(struct mapping *map, uint32_t i, char *why)
{
    const struct ortc_codec *media = codec_with(&map->sent, map->sent.list[i].apt), *router;

    if (media == NULL || media->is_rtx)
        return ortc_refuse(why, "retransmission codec with payload type %g names no media codec",
                           map->sent.list[i].payload_type);
    router = rtx_of(&map->router, map->mapped[media - map->sent.list]);
    if (router == NULL)
        return ortc_refuse(why, "the router has no retransmission codec for %s", media->mime);
    map->mapped[i] = (int)router->payload_type;
    return true;
}

/* Finds for each sent codec the codec of the router. */
static bool map_codecs(struct mapping *map, const cJSON *sent, const cJSON *router, char *why)
{
    uint32_t i, k;

    ortc_codecs_read(ortc_get(sent, "codecs"), "payloadType", &map->sent);
    ortc_codecs_read(ortc_get(router, "codecs"), "preferredPayloadType", &map->router);
    for (i = 0; i < map->sent.count; i++) {
        if (!map->sent.list[i].is_rtx && !map_media(map, i, why))
            return false;
    }
    for (i = 0; i < map->sent.count; i++) {
        if (map->sent.list[i].is_rtx && !map_rtx(map, i, why))
            return false;
    }
    for (i = 0; i < map->sent.count; i++) {
        for (k = 0; k < i; k++) {
            if (map->sent.list[i].payload_type == map->sent.list[k].payload_type)
                return ortc_refuse(why,
                                   "payload type %g is used twice; this server needs "
                                   "distinct ones",
                                   map->sent.list[i].payload_type);
        }
    }
    return true;
}

static bool has_extension(const cJSON *list, const char *uri)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, list)
    {
        if (strcmp(ortc_text(item, "uri"), uri) == 0)
            return true;
    }
    return false;
}

static cJSON *consumable_codecs(const struct mapping *map)
{
    cJSON *list = cJSON_CreateArray();
    uint32_t i;

    for (i = 0; i < map->sent.count; i++) {
        const struct ortc_codec *sent = &map->sent.list[i],
                                *router = codec_with(&map->router, map->mapped[i]), *rtx;
        cJSON *item;

        if (sent->is_rtx)
            continue;
        item = cJSON_CreateObject();
        ortc_add_text(item, "mimeType", router->mime);
        ortc_add_number(item, "payloadType", router->payload_type);
        ortc_add_number(item, "clockRate", router->clock_rate);
        if (router->channels != 0)
            ortc_add_number(item, "channels", router->channels);
        ortc_add(item, "parameters", cJSON_Duplicate(ortc_get(sent->json, "parameters"), true));
        ortc_add(item, "rtcpFeedback",
                 cJSON_Duplicate(ortc_get(router->json, "rtcpFeedback"), true));
        ortc_push(list, item);

        rtx = rtx_of(&map->router, router->payload_type);
        if (rtx == NULL)
            continue;
        item = cJSON_CreateObject();
        ortc_add_text(item, "mimeType", rtx->mime);
        ortc_add_number(item, "payloadType", rtx->payload_type);
        ortc_add_number(item, "clockRate", rtx->clock_rate);
        ortc_add(item, "parameters", cJSON_Duplicate(ortc_get(rtx->json, "parameters"), true));
        ortc_add_array(item, "rtcpFeedback");
        ortc_push(list, item);
    }
    return list;
}

static bool is_av1(const struct mapping *map)
{
    uint32_t i;

    for (i = 0; i < map->sent.count; i++)
        if (strcasecmp(map->sent.list[i].mime, "video/AV1") == 0)
            return true;
    return false;
}

/* Consumers get the dependency descriptor of AV1 only: Chromium cannot put spatial layers of AV1 together
 * without it. In other codecs it would say what their payload says, too, in numbers that are not continuous
 * when the encoding changes. */
static bool may_send(const char *uri, const struct mapping *map, const cJSON *sent)
{
    if (strcmp(uri, ABS_CAPTURE_TIME) == 0)
        return has_extension(ortc_get(sent, "headerExtensions"), uri);
    if (strcmp(uri, ORTC_DEPENDENCY_DESCRIPTOR) == 0)
        return is_av1(map) && has_extension(ortc_get(sent, "headerExtensions"), uri);
    return true;
}

static cJSON *consumable_extensions(const char *kind, const struct mapping *map, const cJSON *sent,
                                    const cJSON *router)
{
    cJSON *list = cJSON_CreateArray();
    const cJSON *item;

    cJSON_ArrayForEach(item, ortc_get(router, "headerExtensions"))
    {
        const char *direction = ortc_text(item, "direction"), *uri = ortc_text(item, "uri");
        cJSON *copy;

        if (strcmp(ortc_text(item, "kind"), kind) != 0 ||
            (strcmp(direction, "sendrecv") != 0 && strcmp(direction, "sendonly") != 0))
            continue;
        if (!may_send(uri, map, sent))
            continue;
        copy = cJSON_CreateObject();
        ortc_add_text(copy, "uri", uri);
        ortc_add_number(copy, "id", ortc_get(item, "preferredId")->valuedouble);
        ortc_add_flag(copy, "encrypt", cJSON_IsTrue(ortc_get(item, "preferredEncrypt")));
        ortc_add_object(copy, "parameters");
        ortc_push(list, copy);
    }
    return list;
}

/* What consumers can get: payload types and header extensions of the router, new SSRCs. */
static cJSON *make_consumable(const char *kind, const struct mapping *map, const cJSON *sent,
                              const cJSON *router, const char *cname)
{
    cJSON *out = cJSON_CreateObject(), *encodings, *encoding, *rtcp;
    const cJSON *msid = ortc_get(sent, "msid");
    uint32_t ssrc = random_between(100000000, 999999999);

    ortc_add(out, "codecs", consumable_codecs(map));
    ortc_add(out, "headerExtensions", consumable_extensions(kind, map, sent, router));
    encodings = cJSON_Duplicate(ortc_get(sent, "encodings"), true);
    cJSON_ArrayForEach(encoding, encodings)
    {
        cJSON_DeleteItemFromObjectCaseSensitive(encoding, "rid");
        cJSON_DeleteItemFromObjectCaseSensitive(encoding, "rtx");
        cJSON_DeleteItemFromObjectCaseSensitive(encoding, "codecPayloadType");
        ortc_set(encoding, "ssrc", cJSON_CreateNumber(ssrc++));
    }
    ortc_add(out, "encodings", encodings);
    rtcp = ortc_add_object(out, "rtcp");
    ortc_add_text(rtcp, "cname", cname);
    ortc_add_flag(rtcp, "reducedSize", true);
    if (msid != NULL)
        ortc_add(out, "msid", cJSON_Duplicate(msid, true));
    return out;
}

/* ---- the row ---- */

static bool takes_feedback(const struct ortc_codec *codec, const char *type, const char *parameter)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, ortc_get(codec->json, "rtcpFeedback"))
    {
        if (strcmp(ortc_text(item, "type"), type) == 0 &&
            strcmp(ortc_text(item, "parameter"), parameter) == 0)
            return true;
    }
    return false;
}

/* Whether the client can be asked for key frames by FIR only. One that named neither gets PLI. */
static bool takes_only_fir(const struct mapping *map)
{
    bool fir = false;
    uint32_t i;

    for (i = 0; i < map->sent.count; i++) {
        if (takes_feedback(&map->sent.list[i], "nack", "pli"))
            return false;
        fir |= takes_feedback(&map->sent.list[i], "ccm", "fir");
    }
    return fir;
}

static bool row_codecs(struct producer_row *row, const struct mapping *map, char *why)
{
    uint32_t i;

    row->uses_fir = takes_only_fir(map);
    for (i = 0; i < map->sent.count; i++) {
        const struct ortc_codec *sent = &map->sent.list[i], *rtx;
        uint32_t c = row->codec_count;

        if (sent->is_rtx)
            continue;
        if (c == CODECS_MAX)
            return ortc_refuse(why, "more than the %d media codecs that this server allows",
                               CODECS_MAX);
        if ((strncasecmp(sent->mime, "audio/", 6) == 0) != (row->kind == MEDIA_KIND_audio))
            return ortc_refuse(why,
                               "codec %s is of the other kind; this server needs one kind per "
                               "producer",
                               sent->mime);
        if (c == 0)
            row->has_audio_nack = row->kind == MEDIA_KIND_audio && ortc_has_nack(sent);
        row->codec[c] = (uint8_t)sent->codec;
        row->codec_payload_type[c] = (uint8_t)sent->payload_type;
        row->codec_mapped_payload_type[c] = (uint8_t)map->mapped[i];
        row->codec_clock_rate[c] = (uint32_t)sent->clock_rate;
        rtx = rtx_of(&map->sent, sent->payload_type);
        if (rtx != NULL)
            row->codec_rtx_payload_type[c] = (uint8_t)rtx->payload_type;
        rtx = rtx_of(&map->router, map->mapped[i]);
        if (rtx != NULL)
            row->codec_mapped_rtx_payload_type[c] = (uint8_t)rtx->payload_type;
        row->codec_count++;
    }
    if (row->codec_count == 0)
        return ortc_refuse(why, "rtpParameters.codecs has no media codec; this server needs one");
    return true;
}

static bool row_encoding(struct producer_row *row, const cJSON *encoding, char *why)
{
    struct ortc_layers layers = ortc_scalability_parse(ortc_text(encoding, "scalabilityMode"));
    uint32_t e = row->encoding_count++;
    const cJSON *ssrc = ortc_get(encoding, "ssrc"),
                *rtx_ssrc = ortc_get(ortc_get(encoding, "rtx"), "ssrc");
    const char *rid = ortc_text(encoding, "rid");

    if (layers.spatial > 8 || layers.temporal > 8)
        return ortc_refuse(why,
                           "scalabilityMode has more than the 8 layers that this server allows");
    row->encoding_ssrc[e] = ssrc != NULL ? (uint32_t)ssrc->valuedouble : 0;
    row->encoding_rtx_ssrc[e] = rtx_ssrc != NULL ? (uint32_t)rtx_ssrc->valuedouble : 0;
    row->encoding_spatial_layers[e] = (uint8_t)layers.spatial;
    row->encoding_temporal_layers[e] = (uint8_t)layers.temporal;
    row->encoding_dependency[e] = (uint8_t)layers.dependency;
    if (rid != NULL)
        memcpy(row->encoding_rid + e * RID_BYTES_MAX, rid, strlen(rid));
    return true;
}

/* Every packet must show by its SSRC, RID or MID to which encoding it belongs. */
static bool check_encodings(const struct producer_row *row, char *why)
{
    uint32_t ssrcs[2 * ENCODINGS_MAX], count = 0, e, i, k;

    for (e = 0; e < row->encoding_count; e++) {
        const char *rid = row->encoding_rid + e * RID_BYTES_MAX;

        if (row->encoding_ssrc[e] == 0 && rid[0] == '\0' &&
            (row->encoding_count > 1 || row->mid_bytes == 0))
            return ortc_refuse(why,
                               "encoding %u has neither ssrc nor rid: this server could not "
                               "recognize its packets",
                               e);
        for (k = 0; k < e; k++) {
            if (rid[0] != '\0' &&
                strncmp(rid, row->encoding_rid + k * RID_BYTES_MAX, RID_BYTES_MAX) == 0)
                return ortc_refuse(why, "rid %.15s is used twice; this server needs distinct ones",
                                   rid);
        }
        if (row->encoding_ssrc[e] != 0)
            ssrcs[count++] = row->encoding_ssrc[e];
        if (row->encoding_rtx_ssrc[e] != 0)
            ssrcs[count++] = row->encoding_rtx_ssrc[e];
    }
    for (i = 0; i < count; i++) {
        for (k = 0; k < i; k++) {
            if (ssrcs[i] == ssrcs[k])
                return ortc_refuse(why, "ssrc %u is used twice; this server needs distinct ones",
                                   ssrcs[i]);
        }
    }
    return true;
}

/* simulcast: several encodings. svc: one encoding with several layers. simple: the rest. */
static bool row_type(struct producer_row *row, char *why)
{
    bool layered = row->encoding_spatial_layers[0] > 1 || row->encoding_temporal_layers[0] > 1;
    enum codec codec = row->codec[0];

    if (row->encoding_count > 1) {
        if (codec != CODEC_vp8 && codec != CODEC_h264)
            return ortc_refuse(why, "this server supports several encodings (simulcast) only with "
                                    "VP8 and H264");
        row->type = PRODUCER_TYPE_simulcast;
    } else if (layered && (codec == CODEC_vp8 || codec == CODEC_vp9 || codec == CODEC_h264 ||
                           codec == CODEC_av1)) {
        row->type = PRODUCER_TYPE_svc;
    } else {
        row->type = PRODUCER_TYPE_simple;
    }
    return true;
}

static bool row_extensions(struct producer_row *row, const char *kind, const cJSON *sent,
                           const cJSON *router, char *why)
{
    const cJSON *extension, *known;
    bool taken[EXTENSION_ID_MAX + 1] = {false};

    cJSON_ArrayForEach(extension, ortc_get(sent, "headerExtensions"))
    {
        uint32_t id = (uint32_t)ortc_get(extension, "id")->valuedouble;

        if (taken[id])
            return ortc_refuse(why,
                               "header extension id %u is used twice; this server needs "
                               "distinct ones",
                               id);
        taken[id] = true;
        cJSON_ArrayForEach(known, ortc_get(router, "headerExtensions"))
        {
            if (strcmp(ortc_text(known, "kind"), kind) == 0 &&
                strcmp(ortc_text(known, "uri"), ortc_text(extension, "uri")) == 0)
                row->extension_sent_id[(uint32_t)ortc_get(known, "preferredId")->valuedouble] =
                    (uint8_t)id;
        }
    }
    return true;
}

static bool fill_row(struct producer_row *row, const char *kind, const struct mapping *map,
                     const cJSON *sent, const cJSON *router, const char *cname, char *why)
{
    const char *mid = ortc_text(sent, "mid");
    const cJSON *encoding;

    row->kind = strcmp(kind, "audio") == 0 ? MEDIA_KIND_audio : MEDIA_KIND_video;
    if (mid != NULL) {
        row->mid_bytes = (uint8_t)strlen(mid);
        memcpy(row->mid, mid, strlen(mid));
    }
    memcpy(row->cname, cname, strlen(cname) + 1);
    cJSON_ArrayForEach(encoding, ortc_get(sent, "encodings"))
    {
        if (!row_encoding(row, encoding, why))
            return false;
    }
    return row_codecs(row, map, why) && check_encodings(row, why) && row_type(row, why) &&
           row_extensions(row, kind, sent, router, why);
}

/* A CNAME has up to 255 bytes (RFC 3550 6.5.1). A row has less room: a longer one is replaced by its
 * hash. Receivers only compare CNAMEs. */
static void take_cname(const char *sent, char name[CNAME_ROOM])
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

    if (strlen(sent) < CNAME_ROOM) {
        strcpy(name, sent);
        return;
    }
    for (const char *c = sent; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    snprintf(name, CNAME_ROOM, "%016" PRIx64, hash);
}

bool ortc_produce(struct ortc_producer *out, const char *kind, const cJSON *rtp_parameters,
                  const cJSON *router_capabilities, char cname[CNAME_ROOM], char *why)
{
    cJSON *sent, *encodings, *rtcp;
    struct mapping map;
    char name[CNAME_ROOM];

    memset(out, 0, sizeof(*out));
    ortc_build_begin();
    if (kind == NULL || (strcmp(kind, "audio") != 0 && strcmp(kind, "video") != 0))
        return ortc_refuse(why, "kind is not audio or video");
    sent = out->rtp_parameters = cJSON_Duplicate(rtp_parameters, true);
    if (!ortc_parameters_normalize(sent, why))
        goto refused;
    encodings = ortc_get(sent, "encodings");
    if (cJSON_GetArraySize(encodings) == 0)
        ortc_push(encodings, cJSON_CreateObject());
    if (!ortc_build_check(why))
        goto refused;
    /* All producers of a transport have one CNAME, so that
     * browsers play audio and video in sync. */
    rtcp = ortc_get(sent, "rtcp");
    memcpy(name, cname, CNAME_ROOM);
    if (name[0] == '\0' && ortc_text(rtcp, "cname") != NULL)
        take_cname(ortc_text(rtcp, "cname"), name);
    if (name[0] == '\0')
        random_word(name, 8);
    ortc_set(rtcp, "cname", cJSON_CreateString(name));
    if (!map_codecs(&map, sent, router_capabilities, why) ||
        !fill_row(&out->row, kind, &map, sent, router_capabilities, name, why))
        goto refused;
    out->consumable_parameters = make_consumable(kind, &map, sent, router_capabilities, name);
    if (!ortc_build_check(why))
        goto refused;
    memcpy(cname, name, CNAME_ROOM);
    return true;
refused:
    ortc_producer_free(out);
    return false;
}

/* What consumers read of an encoding (consume.c). */
static cJSON *kept_encoding(const cJSON *encoding)
{
    static const char *const keys[] = {"ssrc", "scalabilityMode", "maxBitrate", "dtx"};
    cJSON *kept = cJSON_CreateObject();

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const cJSON *member = ortc_get(encoding, keys[i]);

        if (member != NULL)
            ortc_add(kept, keys[i], cJSON_Duplicate(member, false));
    }
    return kept;
}

bool ortc_keep(struct ortc_producer *producer, char *why)
{
    cJSON *consumable = producer->consumable_parameters, *list = cJSON_CreateArray();
    const cJSON *encoding,
        *codec = cJSON_GetArrayItem(ortc_get(producer->rtp_parameters, "codecs"), 0);
    char text[ORTC_KEPT_BYTES_MAX];

    ortc_build_begin();
    snprintf(producer->mime, sizeof(producer->mime), "%s",
             codec != NULL ? ortc_text(codec, "mimeType") : "");
    cJSON_ArrayForEach(encoding, ortc_get(consumable, "encodings"))
    {
        ortc_push(list, kept_encoding(encoding));
    }
    ortc_set(consumable, "encodings", list);
    cJSON_Delete(producer->rtp_parameters);
    producer->rtp_parameters = NULL;
    if (!ortc_build_check(why))
        return false;
    if (!cJSON_PrintPreallocated(consumable, text, sizeof(text), false))
        return ortc_refuse(why, "rtpParameters need more than the %d bytes that this server keeps",
                           ORTC_KEPT_BYTES_MAX);
    return true;
}

void ortc_producer_free(struct ortc_producer *producer)
{
    cJSON_Delete(producer->rtp_parameters);
    cJSON_Delete(producer->consumable_parameters);
    producer->rtp_parameters = producer->consumable_parameters = NULL;
}
