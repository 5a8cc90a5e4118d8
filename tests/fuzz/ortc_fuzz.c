/* uses: controlplane */
/* Parses arbitrary RTP parameters, RTP capabilities and DTLS parameters of a client. Rows that are
 * made from them must be within their ranges.
 *
 * Input: a JSON object {kind, rtpParameters, rtpCapabilities, dtlsParameters}. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/ortc/ortc.h"

static cJSON *router;

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void consume(const struct ortc_producer *producer, const cJSON *capabilities)
{
    char why[ORTC_WHY_BYTES];
    struct consumer_row row;
    cJSON *parameters = ortc_consume(producer, capabilities, "12345678", 123456780, &row, why);

    check(!ortc_can_consume(producer, capabilities) || parameters != NULL);
    if (parameters != NULL)
        check(row_in_range(TABLE_consumer, &row, NULL));
    cJSON_Delete(parameters);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char why[ORTC_WHY_BYTES], cname[CNAME_ROOM] = "";
    struct transport_row transport = {0};
    struct ortc_producer producer;
    const cJSON *capabilities;
    cJSON *in;

    if (router == NULL)
        router = ortc_router_capabilities("opus,VP8,VP9,VP9:2,H264:4d0032,H264:42e01f,AV1", why);
    in = cJSON_ParseWithLength((const char *)data, bytes);
    if (in == NULL)
        return 0;
    capabilities = cJSON_GetObjectItemCaseSensitive(in, "rtpCapabilities");
    if (ortc_dtls_parameters(cJSON_GetObjectItemCaseSensitive(in, "dtlsParameters"), &transport,
                             why))
        check(row_in_range(TABLE_transport, &transport, NULL));
    if (ortc_produce(&producer, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(in, "kind")),
                     cJSON_GetObjectItemCaseSensitive(in, "rtpParameters"), router, cname, why)) {
        check(row_in_range(TABLE_producer, &producer.row, NULL));
        consume(&producer, capabilities != NULL ? capabilities : router);
        consume(&producer, router);
        ortc_producer_free(&producer);
    }
    cJSON_Delete(in);
    return 0;
}
