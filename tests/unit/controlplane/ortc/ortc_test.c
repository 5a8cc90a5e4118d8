/* Negotiation with what a real browser sent, and the rows that it fills. tests/integration/ortc
 * compares thousands of other inputs with mediasoup. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/ortc/internal.h"

#define LIST "opus,VP8,VP9,VP9:2,H264:4d0032,H264:42e01f,AV1"

static cJSON *router, *device;

static cJSON *load(const char *name)
{
    char path[128], *text = NULL;
    size_t room = 0;
    cJSON *json;
    FILE *file;

    snprintf(path, sizeof(path), "tests/data/ortc/%s.json", name);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_true(getdelim(&text, &room, '\0', file) > 0);
    fclose(file);
    json = cJSON_Parse(text);
    assert_non_null(json);
    free(text);
    return json;
}

static cJSON *take(cJSON *from, const char *key)
{
    cJSON *item = cJSON_DetachItemFromObject(from, key);

    assert_non_null(item);
    cJSON_Delete(from);
    return item;
}

static int setup(void **state)
{
    char why[ORTC_WHY_BYTES];

    router = ortc_router_capabilities(LIST, why);
    assert_non_null(router);
    device = take(load("device-chromium"), "recvRtpCapabilities");
    return 0;
}

static int teardown(void **state)
{
    cJSON_Delete(router);
    cJSON_Delete(device);
    return 0;
}

static void assert_same(const cJSON *a, const cJSON *b)
{
    if (!cJSON_Compare(a, b, true)) {
        char *x = cJSON_Print(a), *y = cJSON_Print(b);

        print_error("ours %s\ntheirs %s\n", x, y);
        free(x);
        free(y);
        fail();
    }
}

/* mediasoup gives the dependency descriptor to nobody; consumers of AV1 get ours. */
static void offer_descriptor(cJSON *extensions)
{
    cJSON *item;

    cJSON_ArrayForEach(item,
                       extensions) if (cJSON_GetObjectItem(item, "preferredId")->valueint == 7)
        cJSON_ReplaceItemInObject(item, "direction", cJSON_CreateString("sendrecv"));
}

/* Takes away the header extensions that change with each send, of this kind; "": of all. */
static void take_changing(cJSON *list, const char *kind)
{
    for (cJSON *item = list->child, *next; item != NULL; item = next) {
        const char *uri = ortc_text(item, "uri");

        next = item->next;
        if ((strstr(uri, "abs-send-time") || strstr(uri, "transport-wide-cc")) &&
            (!kind[0] || strcmp(ortc_text(item, "kind"), kind) == 0))
            cJSON_Delete(cJSON_DetachItemViaPointer(list, item));
    }
}

static void router_capabilities(void **state)
{
    static const struct {
        const char *list, *refusal;
    } bad[] = {
        {"", "is empty"},
        {"opus,VP10", "VP10 is unknown"},
        {"VP9:9", "profile"},
        {"H264:zz", "profile-level-id"},
        {"opus:1", "colon"},
        {"PCMU,PCMU", "payload type"},
        {"VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8,VP8", "payload type"},
    };
    cJSON *captured = load("router-rtpCapabilities");
    char why[ORTC_WHY_BYTES];
    size_t i;

    /* Codecs are only counted: the order of their feedback differs and has no meaning. */
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(router, "codecs")),
                     cJSON_GetArraySize(cJSON_GetObjectItem(captured, "codecs")));
    offer_descriptor(cJSON_GetObjectItem(captured, "headerExtensions"));
    take_changing(cJSON_GetObjectItem(captured, "headerExtensions"), "audio");
    assert_same(cJSON_GetObjectItem(router, "headerExtensions"),
                cJSON_GetObjectItem(captured, "headerExtensions"));
    cJSON_Delete(captured);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cJSON *made = ortc_router_capabilities(bad[i].list, why);

        assert_null(made);
        if (strstr(why, bad[i].refusal) == NULL)
            fail_msg("%s: %s", bad[i].list, why);
    }
}

static void add_nack(cJSON *codec)
{
    cJSON *nack = cJSON_CreateObject();

    cJSON_AddStringToObject(nack, "type", "nack");
    cJSON_AddStringToObject(nack, "parameter", "");
    cJSON_InsertItemInArray(ortc_get(codec, "rtcpFeedback"), 0, nack);
}

/* Clients without NACK for audio are neither asked nor answered. */
static void audio_without_nack(void **state)
{
    char why[ORTC_WHY_BYTES], cname[CNAME_ROOM] = "";
    cJSON *sent = take(load("produce-av-audio"), "produceRtpParameters"), *got;
    cJSON *without = take(load("device-chromium"), "recvRtpCapabilities"), *codec;
    struct ortc_producer producer;
    struct consumer_row consumer;

    ortc_set(cJSON_GetArrayItem(ortc_get(sent, "codecs"), 0), "rtcpFeedback", cJSON_CreateArray());
    cJSON_ArrayForEach(codec, ortc_get(without, "codecs"))
        ortc_set(codec, "rtcpFeedback", cJSON_CreateArray());
    assert_true(ortc_produce(&producer, "audio", sent, router, cname, why));
    assert_int_equal(producer.row.has_audio_nack, 0);
    got = ortc_consume(&producer, without, "0", ortc_first_ssrc(), &consumer, why);
    assert_non_null(got);
    assert_int_equal(consumer.has_audio_nack, 0);
    assert_int_equal(cJSON_GetArraySize(
                         ortc_get(cJSON_GetArrayItem(ortc_get(got, "codecs"), 0), "rtcpFeedback")),
                     0);
    cJSON_Delete(got);
    cJSON_Delete(without);
    cJSON_Delete(sent);
    ortc_producer_free(&producer);
}

static void captures_of_a_browser(void **state)
{
    static const struct {
        const char *tag, *kind;
        enum producer_type type;
        enum codec codec;
        uint8_t payload_type, mapped, rtx, mapped_rtx, encodings, consumer_payload, consumer_rtx;
        uint16_t mask; /* of the consumer */
    } rows[] = {
        {"av-audio", "audio", PRODUCER_TYPE_simple, CODEC_opus, 111, 100, 0, 0, 1, 100, 0, 0x842},
        {"av-video", "video", PRODUCER_TYPE_simple, CODEC_vp8, 96, 101, 97, 102, 1, 101, 102,
         0xb32},
        {"h264-video", "video", PRODUCER_TYPE_simple, CODEC_h264, 108, 109, 109, 110, 1, 109, 110,
         0xb32},
        {"vp8-simulcast-video", "video", PRODUCER_TYPE_simulcast, CODEC_vp8, 96, 101, 97, 102, 3,
         101, 102, 0xb32},
        {"vp9-svc-video", "video", PRODUCER_TYPE_svc, CODEC_vp9, 98, 103, 99, 104, 1, 103, 104,
         0xb32},
    };
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char name[64], why[ORTC_WHY_BYTES] = "", cname[CNAME_ROOM] = "";
        struct ortc_producer producer;
        struct consumer_row consumer;
        cJSON *sent, *wanted, *got, *encoding;

        snprintf(name, sizeof(name), "produce-%s", rows[i].tag);
        sent = take(load(name), "produceRtpParameters");
        if (!ortc_produce(&producer, rows[i].kind, sent, router, cname, why))
            fail_msg("%s: %s", rows[i].tag, why);
        assert_int_equal(producer.row.type, rows[i].type);
        assert_int_equal(producer.row.codec_count, 1);
        assert_int_equal(producer.row.codec[0], rows[i].codec);
        assert_int_equal(producer.row.codec_payload_type[0], rows[i].payload_type);
        assert_int_equal(producer.row.codec_mapped_payload_type[0], rows[i].mapped);
        assert_int_equal(producer.row.codec_rtx_payload_type[0], rows[i].rtx);
        assert_int_equal(producer.row.codec_mapped_rtx_payload_type[0], rows[i].mapped_rtx);
        assert_int_equal(producer.row.encoding_count, rows[i].encodings);
        assert_true(row_in_range(TABLE_producer, &producer.row, NULL));
        assert_string_equal(producer.row.cname, cname);
        assert_true(strlen(cname) >= 8);
        assert_int_equal(producer.row.mid_bytes, 1);

        assert_true(ortc_can_consume(&producer, device));
        snprintf(name, sizeof(name), "consume-%s", rows[i].tag);
        wanted = take(load(name), "rtpParameters");
        if (strcmp(rows[i].kind, "audio") == 0) { /* see README.md, negotiation */
            add_nack(cJSON_GetArrayItem(ortc_get(wanted, "codecs"), 0));
            take_changing(ortc_get(wanted, "headerExtensions"), "");
        }
        assert_int_equal(producer.row.has_audio_nack, strcmp(rows[i].kind, "audio") == 0);
        got = ortc_consume(&producer, device, ortc_text(wanted, "mid"), ortc_first_ssrc(),
                           &consumer, why);
        assert_non_null(got);
        assert_int_equal(consumer.payload_type, rows[i].consumer_payload);
        assert_int_equal(consumer.rtx_payload_type, rows[i].consumer_rtx);
        assert_int_equal(consumer.extension_mask, rows[i].mask);
        assert_int_equal(consumer.has_audio_nack, strcmp(rows[i].kind, "audio") == 0);
        assert_int_equal(consumer.rtx_ssrc, rows[i].consumer_rtx ? consumer.ssrc + 1 : 0);
        assert_true(row_in_range(TABLE_consumer, &consumer, NULL));
        encoding = cJSON_GetArrayItem(ortc_get(got, "encodings"), 0);
        assert_true(ortc_get(encoding, "ssrc")->valuedouble == consumer.ssrc);
        /* these are random on both sides */
        ortc_set(got, "rtcp", cJSON_Duplicate(ortc_get(wanted, "rtcp"), 1));
        ortc_set(encoding, "ssrc",
                 cJSON_Duplicate(
                     ortc_get(cJSON_GetArrayItem(ortc_get(wanted, "encodings"), 0), "ssrc"), 1));
        if (consumer.rtx_ssrc != 0)
            ortc_set(ortc_get(encoding, "rtx"), "ssrc",
                     cJSON_CreateNumber(ortc_get(encoding, "ssrc")->valuedouble + 1));
        assert_same(got, wanted);
        cJSON_Delete(got);
        cJSON_Delete(wanted);
        cJSON_Delete(sent);
        ortc_producer_free(&producer);
    }
}

/* Ids of two-byte headers (RFC 8285 4.3), which Chromium gives when it has more than 14. */
static void extension_ids_up_to_255_are_accepted(void **state)
{
    static const struct {
        double id;
        bool ok;
    } rows[] = {{1, true},  {14, true},   {15, true},  {16, true},    {255, true},
                {0, false}, {256, false}, {-1, false}, {14.5, false}, {1e9, false}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char why[ORTC_WHY_BYTES], cname[CNAME_ROOM] = "given";
        cJSON *sent = take(load("produce-vp8-simulcast-video"), "produceRtpParameters"), *extension;
        struct ortc_producer producer;
        bool ok;

        cJSON_ArrayForEach(extension, cJSON_GetObjectItem(sent, "headerExtensions"))
        {
            if (cJSON_GetObjectItem(extension, "id")->valuedouble == rows[i].id)
                cJSON_SetNumberValue(cJSON_GetObjectItem(extension, "id"), 100);
            if (strstr(cJSON_GetObjectItem(extension, "uri")->valuestring, "sdes:mid"))
                cJSON_SetNumberValue(cJSON_GetObjectItem(extension, "id"), rows[i].id);
        }
        ok = ortc_produce(&producer, "video", sent, router, cname, why);
        if (ok != rows[i].ok)
            fail_msg("id %g: %s", rows[i].id, ok ? "accepted" : why);
        if (ok) {
            assert_int_equal(producer.row.extension_sent_id[1], (int)rows[i].id);
            ortc_producer_free(&producer);
        }
        cJSON_Delete(sent);
    }
}

/* Header extension ids of the client, RIDs and layers are in the row. */
static void the_row_has_every_detail(void **state)
{
    char why[ORTC_WHY_BYTES], cname[CNAME_ROOM] = "given";
    cJSON *sent = take(load("produce-vp8-simulcast-video"), "produceRtpParameters");
    struct ortc_producer producer;

    assert_true(ortc_produce(&producer, "video", sent, router, cname, why));
    assert_int_equal(producer.row.extension_sent_id[1], 9);  /* mid */
    assert_int_equal(producer.row.extension_sent_id[2], 10); /* rid */
    assert_int_equal(producer.row.extension_sent_id[3], 11);
    assert_int_equal(producer.row.extension_sent_id[4], 2);
    assert_int_equal(producer.row.extension_sent_id[5], 4);
    assert_int_equal(producer.row.extension_sent_id[7], 13);
    assert_int_equal(producer.row.extension_sent_id[6], 0);
    assert_string_equal(producer.row.encoding_rid, "r0");
    assert_string_equal(producer.row.encoding_rid + 2 * RID_BYTES_MAX, "r2");
    assert_int_equal(producer.row.encoding_temporal_layers[1], 3);
    assert_int_equal(producer.row.encoding_ssrc[0], 0);
    assert_string_equal(producer.row.cname, "given"); /* that of the transport */
    ortc_producer_free(&producer);
    cJSON_Delete(sent);
}

static void scalability_modes_are_parsed(void **state)
{
    static const struct {
        const char *mode;
        uint32_t spatial, temporal;
        enum layer_dependency dependency;
    } rows[] = {{"L3T3_KEY", 3, 3, LAYER_DEPENDENCY_key_frames},
                {"L3T3_KEY_SHIFT", 3, 3, LAYER_DEPENDENCY_key_frames},
                {"L2T3h", 2, 3, LAYER_DEPENDENCY_full},
                {"S2T1", 2, 1, LAYER_DEPENDENCY_none},
                {"S3T3h", 3, 3, LAYER_DEPENDENCY_none},
                {"L1T2", 1, 2, LAYER_DEPENDENCY_full},
                {"L12T3", 12, 3, LAYER_DEPENDENCY_full},
                {"L0T3", 1, 1, LAYER_DEPENDENCY_full},
                {"X3T3", 1, 1, LAYER_DEPENDENCY_full},
                {"S3", 1, 1, LAYER_DEPENDENCY_full},
                {"L3", 1, 1, LAYER_DEPENDENCY_full},
                {"", 1, 1, LAYER_DEPENDENCY_full},
                {NULL, 1, 1, LAYER_DEPENDENCY_full},
                {"L3T", 1, 1, LAYER_DEPENDENCY_full},
                {"L3T0_KEY", 1, 1, LAYER_DEPENDENCY_full},
                {"l3t3", 1, 1, LAYER_DEPENDENCY_full}};
    struct ortc_layers layers;
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        layers = ortc_scalability_parse(rows[i].mode);
        assert_int_equal(layers.spatial, rows[i].spatial);
        assert_int_equal(layers.temporal, rows[i].temporal);
        assert_int_equal(layers.dependency, rows[i].dependency);
    }
}

/* One encoding with these layers: what the data plane is told about it. */
static void layers_are_in_the_row(void **state)
{
    static const struct {
        const char *tag, *mode;
        enum producer_type type;
        uint8_t spatial, temporal;
        enum layer_dependency dependency;
    } rows[] = {
        {"vp9-svc-video", "L3T3_KEY", PRODUCER_TYPE_svc, 3, 3, LAYER_DEPENDENCY_key_frames},
        {"vp9-svc-video", "L2T3", PRODUCER_TYPE_svc, 2, 3, LAYER_DEPENDENCY_full},
        {"vp9-svc-video", "S3T3", PRODUCER_TYPE_svc, 3, 3, LAYER_DEPENDENCY_none},
        {"av-video", "L1T3", PRODUCER_TYPE_svc, 1, 3, LAYER_DEPENDENCY_full},
        {"h264-video", "L1T2", PRODUCER_TYPE_svc, 1, 2, LAYER_DEPENDENCY_full},
        {"av-video", "L1T1", PRODUCER_TYPE_simple, 1, 1, LAYER_DEPENDENCY_full},
        {"av-video", NULL, PRODUCER_TYPE_simple, 1, 1, LAYER_DEPENDENCY_full},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char why[ORTC_WHY_BYTES], cname[CNAME_ROOM] = "", name[64];
        struct ortc_producer producer;
        struct consumer_row consumer;
        cJSON *sent, *encoding;

        snprintf(name, sizeof(name), "produce-%s", rows[i].tag);
        sent = take(load(name), "produceRtpParameters");
        encoding = cJSON_GetArrayItem(ortc_get(sent, "encodings"), 0);
        cJSON_DeleteItemFromObjectCaseSensitive(encoding, "scalabilityMode");
        if (rows[i].mode != NULL)
            cJSON_AddStringToObject(encoding, "scalabilityMode", rows[i].mode);
        if (!ortc_produce(&producer, "video", sent, router, cname, why))
            fail_msg("%s", why);
        assert_int_equal(producer.row.type, rows[i].type);
        assert_int_equal(producer.row.encoding_spatial_layers[0], rows[i].spatial);
        assert_int_equal(producer.row.encoding_temporal_layers[0], rows[i].temporal);
        assert_int_equal(producer.row.encoding_dependency[0], rows[i].dependency);
        assert_true(row_in_range(TABLE_producer, &producer.row, NULL));
        cJSON_Delete(ortc_consume(&producer, device, "0", ortc_first_ssrc(), &consumer, why));
        assert_int_equal(consumer.preferred_spatial_layer, LAYER_NONE);
        assert_int_equal(consumer.preferred_temporal_layer, LAYER_NONE);
        assert_int_equal(consumer.priority, 1);
        ortc_producer_free(&producer);
        cJSON_Delete(sent);
    }
}

/* A publisher is asked for key frames by FIR if it takes that and not PLI. */
static void key_frames_are_asked_for_as_negotiated(void **state)
{
    static const struct {
        bool pli, fir, uses_fir;
    } rows[] = {{true, true, false}, {true, false, false}, {false, true, true}, {0}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char why[ORTC_WHY_BYTES], cname[CNAME_ROOM] = "";
        cJSON *sent = take(load("produce-av-video"), "produceRtpParameters"), *codec, *list, *item;
        struct ortc_producer producer;

        cJSON_ArrayForEach(codec, ortc_get(sent, "codecs"))
        {
            list = cJSON_CreateArray();
            cJSON_ArrayForEach(item, ortc_get(codec, "rtcpFeedback"))
            {
                const char *parameter = ortc_text(item, "parameter");

                if ((rows[i].pli || strcmp(parameter, "pli") != 0) &&
                    (rows[i].fir || strcmp(parameter, "fir") != 0))
                    cJSON_AddItemToArray(list, cJSON_Duplicate(item, true));
            }
            ortc_set(codec, "rtcpFeedback", list);
        }
        if (!ortc_produce(&producer, "video", sent, router, cname, why))
            fail_msg("%s", why);
        assert_int_equal(producer.row.uses_fir, rows[i].uses_fir);
        ortc_producer_free(&producer);
        cJSON_Delete(sent);
    }
}

/* mediasoup takes a CNAME and a RID of any length. Real ones are shorter than these. */
static void long_names_are_accepted(void **state)
{
    char why[ORTC_WHY_BYTES], name[256], first[CNAME_ROOM] = "", other[CNAME_ROOM] = "";
    cJSON *sent = take(load("produce-vp8-simulcast-video"), "produceRtpParameters");
    struct ortc_producer producer;

    memset(name, 'c', 255);
    name[255] = '\0';
    ortc_set(ortc_get(sent, "rtcp"), "cname", cJSON_CreateString(name));
    name[31] = '\0';
    ortc_set(cJSON_GetArrayItem(ortc_get(sent, "encodings"), 0), "rid", cJSON_CreateString(name));
    if (!ortc_produce(&producer, "video", sent, router, first, why))
        fail_msg("%s", why);
    assert_string_equal(producer.row.encoding_rid, name);
    assert_string_equal(producer.row.cname, first);
    assert_string_equal(ortc_text(ortc_get(producer.consumable_parameters, "rtcp"), "cname"),
                        first);
    assert_int_equal(strlen(first), 16);
    ortc_producer_free(&producer);
    memset(name, 'c', 64);
    name[64] = '\0';
    ortc_set(ortc_get(sent, "rtcp"), "cname", cJSON_CreateString(name));
    assert_true(ortc_produce(&producer, "video", sent, router, other, why));
    assert_string_not_equal(first, other);
    ortc_producer_free(&producer);
    cJSON_Delete(sent);
}

/* Text with line ends would add lines to the SDP of other clients. */
static void text_that_is_not_printable_is_refused(void **state)
{
    static const char *const edits[][2] = {
        {"codecs/0/parameters/x", "1\r\na=candidate:evil"},
        {"msid", "a\nb"},
        {"rtcp/cname", "c\rd"},
        {"mid", "012345678901234567890123456789012"},
        {"codecs/0/mimeType", "video/VP8\r"},
    };
    size_t i;

    for (i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        cJSON *sent = take(load("produce-av-video"), "produceRtpParameters"), *at = sent;
        char path[64], why[ORTC_WHY_BYTES], cname[CNAME_ROOM] = "", *rest = path, *word;
        struct ortc_producer producer;

        snprintf(path, sizeof(path), "%s", edits[i][0]);
        while ((word = strsep(&rest, "/")) != NULL && rest != NULL)
            at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(word)) : ortc_get(at, word);
        ortc_set(at, word, cJSON_CreateString(edits[i][1]));
        if (ortc_produce(&producer, "video", sent, router, cname, why))
            fail_msg("%s was accepted", edits[i][0]);
        assert_non_null(strstr(why, "this server"));
        assert_null(producer.rtp_parameters);
        assert_string_equal(cname, "");
        cJSON_Delete(sent);
    }
}

/* ---- what is kept of a producer ---- */

static cJSON *produced_video(void)
{
    cJSON *capture = load("produce-av-video");
    cJSON *sent = cJSON_DetachItemFromObject(capture, "produceRtpParameters");

    cJSON_Delete(capture);
    return sent;
}

/* Makes rtpParameters with `bytes` of unknown members in every place that may have some. */
static void add_ballast(cJSON *sent, size_t bytes)
{
    cJSON *places[] = {sent, cJSON_GetArrayItem(ortc_get(sent, "codecs"), 0),
                       cJSON_GetArrayItem(ortc_get(sent, "encodings"), 0), ortc_get(sent, "rtcp"),
                       cJSON_GetArrayItem(ortc_get(sent, "headerExtensions"), 0)};
    char *text = malloc(bytes / 5 + 1);

    memset(text, 'x', bytes / 5);
    text[bytes / 5] = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        cJSON_AddStringToObject(places[i], "junk", text);
    free(text);
}

static void only_what_consumers_need_is_kept(void **state)
{
    size_t kept_bytes[2];

    for (int i = 0; i < 2; i++) {
        cJSON *sent = produced_video();
        char cname[CNAME_ROOM] = "", why[ORTC_WHY_BYTES] = "", *text;
        struct ortc_producer producer;

        if (i == 1)
            add_ballast(sent, 1000000);
        if (!ortc_produce(&producer, "video", sent, router, cname, why) ||
            !ortc_keep(&producer, why))
            fail_msg("%s", why);
        assert_null(producer.rtp_parameters);
        assert_string_equal(producer.mime, "video/VP8");
        text = cJSON_PrintUnformatted(producer.consumable_parameters);
        assert_null(strstr(text, "junk"));
        kept_bytes[i] = strlen(text);
        cJSON_free(text);
        ortc_producer_free(&producer);
        cJSON_Delete(sent);
    }
    print_message(
        "# kept of a browser's rtpParameters: %zu bytes; with 1 MB of unknown members: %zu\n",
        kept_bytes[0], kept_bytes[1]);
    assert_in_range(kept_bytes[1], kept_bytes[0] - 40, kept_bytes[0] + 40); /* SSRCs are random */
}

static void too_much_is_not_kept(void **state)
{
    cJSON *sent = produced_video(),
          *values = ortc_get(cJSON_GetArrayItem(ortc_get(sent, "codecs"), 0), "parameters");
    char cname[CNAME_ROOM] = "", why[ORTC_WHY_BYTES], value[251], key[251];
    struct ortc_producer producer;

    for (int i = 0; i < 30; i++) {
        memset(value, 'v', sizeof(value) - 1);
        memset(key, 'k', sizeof(key) - 1);
        value[250] = key[250] = '\0';
        snprintf(key, sizeof(key), "%d", i);
        key[strlen(key)] = 'k';
        cJSON_AddStringToObject(values, key, value);
    }
    assert_true(ortc_produce(&producer, "video", sent, router, cname, why));
    assert_false(ortc_keep(&producer, why));
    assert_non_null(strstr(why, "this server"));
    ortc_producer_free(&producer);
    cJSON_Delete(sent);
}

/* ---- threat H10: every allocation fails once ---- */

static long allocations_left = -1; /* -1: no limit */

static void *failing_malloc(size_t bytes)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return malloc(bytes);
}

/* A result is complete, or there is none: its text must be as long as with enough memory. */
static void assert_complete(const cJSON *json, size_t *length)
{
    long left = allocations_left;
    char *text;

    allocations_left = -1;
    text = cJSON_PrintUnformatted(json);
    if (*length == 0)
        *length = strlen(text);
    assert_int_equal(strlen(text), *length);
    free(text);
    allocations_left = left;
}

static void without_memory_it_refuses(void **state)
{
    static const char *const tags[] = {"av-audio", "vp8-simulcast-video"};
    cJSON_Hooks hooks = {.malloc_fn = failing_malloc, .free_fn = free};
    size_t t;

    for (t = 0; t < 2; t++) {
        size_t produced = 0, consumable = 0, consumed = 0, made = 0;
        long refused = 0, accepted = 0, k;
        char name[64], why[ORTC_WHY_BYTES];
        cJSON *sent, *out;

        snprintf(name, sizeof(name), "produce-%s", tags[t]);
        sent = take(load(name), "produceRtpParameters");
        cJSON_InitHooks(&hooks);
        for (k = 4000; k >= 0; k--) { /* the first round has enough memory and sets the lengths */
            char cname[CNAME_ROOM] = "sixteen letters.";
            struct ortc_producer producer;
            struct consumer_row row;

            allocations_left = k;
            if (ortc_produce(&producer, t == 0 ? "audio" : "video", sent, router, cname, why)) {
                accepted++;
                assert_complete(producer.rtp_parameters, &produced);
                assert_complete(producer.consumable_parameters, &consumable);
                ortc_can_consume(&producer, device);
                out = ortc_consume(&producer, device, "0", ortc_first_ssrc(), &row, why);
                if (out != NULL)
                    assert_complete(out, &consumed);
                cJSON_Delete(out);
                ortc_producer_free(&producer);
            } else {
                refused++;
            }
            allocations_left = k;
            out = ortc_router_capabilities(LIST, why);
            if (out != NULL)
                assert_complete(out, &made);
            cJSON_Delete(out);
        }
        allocations_left = -1;
        cJSON_InitHooks(NULL);
        cJSON_Delete(sent);
        assert_true(refused > 100 && accepted > 100 && consumed > 0 && made > 0);
    }
}

#define F256                                                                                  \
    "00:11:22:33:44:55:66:77:88:99:aa:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:" \
    "DD:EE:FF"
#define FP(algorithm, value) "{\"algorithm\":\"" algorithm "\",\"value\":\"" value "\"}"

static void dtls_parameters(void **state)
{
    static const struct {
        const char *json;
        int role; /* -1: refused */
    } rows[] = {
        {"{\"role\":\"client\",\"fingerprints\":[" FP("sha-256", F256) "]}", DTLS_ROLE_server},
        {"{\"role\":\"auto\",\"fingerprints\":[" FP("sha-256", F256) "]}", DTLS_ROLE_server},
        {"{\"fingerprints\":[" FP("sha-256", F256) "]}", DTLS_ROLE_server},
        {"{\"role\":\"server\",\"fingerprints\":[" FP("sha-256", F256) "]}", DTLS_ROLE_client},
        {"{\"role\":\"client\",\"fingerprints\":[" FP("sha-1", "00") "," FP("sha-256", F256) "]}",
         DTLS_ROLE_server},
        {"{\"role\":\"both\",\"fingerprints\":[" FP("sha-256", F256) "]}", -1},
        {"{\"role\":5,\"fingerprints\":[" FP("sha-256", F256) "]}", -1},
        {"{\"role\":\"client\",\"fingerprints\":[" FP("sha-256", F256 ":00") "]}", -1},
        {"{\"role\":\"client\",\"fingerprints\":[" FP("sha-512", F256) "]}", -1},
        {"{\"role\":\"client\",\"fingerprints\":[" FP("sha-256", "") "]}", -1},
        {"{\"role\":\"client\",\"fingerprints\":[" FP("sha-1", F256) "]}", -1},
        {"{\"role\":\"client\",\"fingerprints\":[" FP("sha-224", F256) "]}", -1},
        {"{\"role\":\"client\",\"fingerprints\":[]}", -1},
        {"{\"role\":\"client\",\"fingerprints\":[5]}", -1},
        {"{\"role\":\"client\",\"fingerprints\":{}}", -1},
        {"{\"role\":\"client\"}", -1},
        {"{}", -1},
        {"[]", -1},
    };
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cJSON *json = cJSON_Parse(rows[i].json);
        struct transport_row row = {0};
        char why[ORTC_WHY_BYTES] = "";
        bool ok;

        assert_non_null(json);
        ok = ortc_dtls_parameters(json, &row, why);
        if (ok != (rows[i].role >= 0))
            fail_msg("%s: %s", rows[i].json, why);
        assert_int_equal(row.dtls_role, ok ? rows[i].role : 0);
        if (ok) {
            assert_int_equal(row.fingerprint_algorithm, FINGERPRINT_sha_256);
            assert_int_equal(row.fingerprint_bytes, 32);
            assert_int_equal(row.fingerprint[10], 0xaa);
            assert_int_equal(row.fingerprint[31], 0xff);
        } else {
            assert_true(strlen(why) > 10);
        }
        cJSON_Delete(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(router_capabilities),
        cmocka_unit_test(captures_of_a_browser),
        cmocka_unit_test(audio_without_nack),
        cmocka_unit_test(extension_ids_up_to_255_are_accepted),
        cmocka_unit_test(the_row_has_every_detail),
        cmocka_unit_test(scalability_modes_are_parsed),
        cmocka_unit_test(layers_are_in_the_row),
        cmocka_unit_test(key_frames_are_asked_for_as_negotiated),
        cmocka_unit_test(long_names_are_accepted),
        cmocka_unit_test(text_that_is_not_printable_is_refused),
        cmocka_unit_test(only_what_consumers_need_is_kept),
        cmocka_unit_test(too_much_is_not_kept),
        cmocka_unit_test(dtls_parameters),
        cmocka_unit_test(without_memory_it_refuses),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
