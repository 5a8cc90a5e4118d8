/* Negotiation as a filter, for differential.mjs: reads one JSON object per line, and writes one per
 *   line. {"op":"router","list":"opus,VP8"} → {"ok":true,"capabilities":{…}}
 *   {"op":"produce","kind":…,"rtpParameters":…,"list":…,"cname":…,"remote":[caps…]}
 *       → {"ok":true,"rtpParameters":…,"consumable":…,"type":…,"consume":[{…}…]}
 * A refusal is {"ok":false,"why":"…"}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/ortc/ortc.h"

static cJSON *refusal(const char *why)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddFalseToObject(out, "ok");
    cJSON_AddStringToObject(out, "why", why);
    return out;
}

static cJSON *consume(const struct ortc_producer *producer, const cJSON *remote)
{
    char why[ORTC_WHY_BYTES] = "";
    struct consumer_row row;
    cJSON *parameters = ortc_consume(producer, remote, "0", ortc_first_ssrc(), &row, why), *out;

    if (parameters == NULL) {
        out = refusal(why);
    } else {
        out = cJSON_CreateObject();
        cJSON_AddTrueToObject(out, "ok");
        cJSON_AddItemToObject(out, "rtpParameters", parameters);
        cJSON_AddNumberToObject(out, "payloadType", row.payload_type);
        cJSON_AddNumberToObject(out, "rtxPayloadType", row.rtx_payload_type);
        cJSON_AddNumberToObject(out, "extensionMask", row.extension_mask);
        cJSON_AddNumberToObject(out, "audioNack", row.has_audio_nack);
    }
    cJSON_AddBoolToObject(out, "can", ortc_can_consume(producer, remote));
    return out;
}

static cJSON *produce(const cJSON *in, const cJSON *router)
{
    static const char *const types[] = {"none", "simple", "simulcast", "svc"};
    const cJSON *remote, *cname_in = cJSON_GetObjectItem(in, "cname");
    char why[ORTC_WHY_BYTES] = "", cname[CNAME_ROOM] = "";
    struct ortc_producer producer;
    cJSON *out, *list;

    if (cJSON_IsString(cname_in))
        snprintf(cname, sizeof(cname), "%s", cname_in->valuestring);
    if (!ortc_produce(&producer, cJSON_GetStringValue(cJSON_GetObjectItem(in, "kind")),
                      cJSON_GetObjectItem(in, "rtpParameters"), router, cname, why))
        return refusal(why);
    out = cJSON_CreateObject();
    cJSON_AddTrueToObject(out, "ok");
    cJSON_AddStringToObject(out, "type", types[producer.row.type]);
    cJSON_AddNumberToObject(out, "audioNack", producer.row.has_audio_nack);
    cJSON_AddItemToObject(out, "rtpParameters", cJSON_Duplicate(producer.rtp_parameters, 1));
    cJSON_AddItemToObject(out, "consumable", cJSON_Duplicate(producer.consumable_parameters, 1));
    list = cJSON_AddArrayToObject(out, "consume");
    cJSON_ArrayForEach(remote, cJSON_GetObjectItem(in, "remote"))
        cJSON_AddItemToArray(list, consume(&producer, remote));
    ortc_producer_free(&producer);
    return out;
}

static cJSON *answer(const cJSON *in)
{
    const char *list = cJSON_GetStringValue(cJSON_GetObjectItem(in, "list"));
    const char *op = cJSON_GetStringValue(cJSON_GetObjectItem(in, "op"));
    char why[ORTC_WHY_BYTES] = "";
    cJSON *router, *out;

    if (list == NULL || op == NULL)
        return refusal("op and list are needed");
    router = ortc_router_capabilities(list, why);
    if (router == NULL)
        return refusal(why);
    if (strcmp(op, "produce") == 0) {
        out = produce(in, router);
        cJSON_Delete(router);
        return out;
    }
    out = cJSON_CreateObject();
    cJSON_AddTrueToObject(out, "ok");
    cJSON_AddItemToObject(out, "capabilities", router);
    return out;
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, stdin) > 0) {
        cJSON *in = cJSON_Parse(line), *out = in != NULL ? answer(in) : refusal("not JSON");
        char *text = cJSON_PrintUnformatted(out);

        puts(text);
        free(text);
        cJSON_Delete(out);
        cJSON_Delete(in);
    }
    free(line);
    return 0;
}
