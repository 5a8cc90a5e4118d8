/* Requests about consumers: consume, pause, resume, layers, priority. */
#include <stdio.h>

#include "consumer.h"
#include "controlplane/web/json.h"
#include "events.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "request.h"
#include "room.h"
#include "room_json.h"
#include "transport.h"

/* Returns rtpParameters and fills the row, or NULL after it answered the request with an error. The
 * SSRCs of a transport count upwards: the data plane takes each of them only once, because the key of
 * the transport remains. */
static cJSON *negotiate(struct request *request, const struct ortc_producer *producer,
                        struct consumer_row *row)
{
    const cJSON *capabilities =
        cJSON_GetObjectItemCaseSensitive(request->payload, "rtpCapabilities");
    struct transport *transport = request->transport;
    char mid[CONSUMER_MID_BYTES_MAX + 4], why[ORTC_WHY_BYTES];
    cJSON *parameters;

    if (transport->next_ssrc == 0)
        transport->next_ssrc = ortc_first_ssrc();
    snprintf(mid, sizeof(mid), "%u", transport->next_mid % 100000000u);
    parameters = ortc_consume(producer, capabilities, mid, transport->next_ssrc, row, why);
    if (parameters == NULL)
        request_fail_because(request, ERROR_cannot_consume, "%s", why);
    else
        transport->next_ssrc += 2;
    return parameters;
}

/* The acknowledgement; takes rtp_parameters. */
static cJSON *consume_answer(const struct consumer *consumer, cJSON *rtp_parameters)
{
    static const char *const types[] = {"none", "simple", "simulcast", "svc"};
    const struct producer_row *producer = &consumer->producer->ortc.row;
    cJSON *value = json_texts("consumerId", consumer->id, "id", consumer->id, "producerId",
                              consumer->producer->id, "kind", kind_text(consumer->row.kind), "type",
                              types[producer->type], NULL);

    json_add(value, "rtpParameters", rtp_parameters);
    cJSON_AddBoolToObject(value, "producerPaused", producer->paused);
    json_add(value, "score", consumer_score_json(consumer));
    return value;
}

void handle_media_consume(struct request *request)
{
    const cJSON *capabilities =
        cJSON_GetObjectItemCaseSensitive(request->payload, "rtpCapabilities");
    struct producer *producer =
        producer_find(request->rooms, payload_text(request->payload, "producerId"));
    struct transport *transport = request->transport;
    struct consumer_row row;
    struct consumer *consumer;
    char why[QUOTA_WHY_BYTES];
    cJSON *parameters;

    if (transport->row.direction != DIRECTION_recv) {
        request_fail(request, ERROR_wrong_direction);
        return;
    }
    if (producer == NULL || producer->transport->owner->room != request->room) {
        request_fail(request, ERROR_producer_not_found);
        return;
    }
    if (transport->consumer_count >= CONSUMERS_PER_TRANSPORT_MAX) {
        request_fail_because(request, ERROR_limit_reached, "%d consumers on one transport",
                             CONSUMERS_PER_TRANSPORT_MAX);
        return;
    }
    if (!ortc_can_consume(&producer->ortc, capabilities)) {
        request_fail(request, ERROR_cannot_consume);
        return;
    }
    if (!quota_take(request->rooms, &request->participant->owner, QUOTA_consumers, why)) {
        request_fail_because(request, ERROR_limit_reached, "%s", why);
        return;
    }
    parameters = negotiate(request, &producer->ortc, &row); /* answers the request if it fails */
    consumer = parameters != NULL ? consumer_new(transport, producer, &row) : NULL;
    if (consumer == NULL) {
        quota_give_back(&request->participant->owner, QUOTA_consumers, 1);
        if (parameters != NULL)
            request_fail(request, ERROR_unavailable);
        cJSON_Delete(parameters);
        return;
    }
    transport->next_mid++;
    audit_write(request->rooms->audit, AUDIT_consumer_created, request->participant->user_id,
                request->room->id, request->participant->ip,
                "{\"consumerId\":\"%s\",\"producerId\":\"%s\"}", consumer->id, producer->id);
    request_succeed(request, consume_answer(consumer, parameters));
}

static void set_paused(struct request *request, bool paused)
{
    if (consumer_set_paused(request->consumer, paused))
        request_succeed_flag(request, paused ? "paused" : "resumed");
    else
        request_fail(request, ERROR_unavailable);
}

void handle_media_resume_consumer(struct request *request)
{
    set_paused(request, false);
}

void handle_media_pause_consumer(struct request *request)
{
    set_paused(request, true);
}

/* mediasoup's setPreferredLayers does nothing for a stream without layers, and says so with null. */
void handle_media_set_preferred_layers(struct request *request)
{
    const cJSON *spatial = cJSON_GetObjectItemCaseSensitive(request->payload, "spatialLayer"),
                *temporal = cJSON_GetObjectItemCaseSensitive(request->payload, "temporalLayer");
    struct consumer *consumer = request->consumer;
    cJSON *value;

    if (consumer_has_layers(consumer) &&
        !consumer_set_preferred_layers(consumer, spatial->valuedouble,
                                       cJSON_IsNumber(temporal) ? &temporal->valuedouble : NULL)) {
        request_fail(request, ERROR_unavailable);
        return;
    }
    value = json_new_object();
    json_add(value, "preferredLayers", preferred_layers_json(consumer));
    request_succeed(request, value);
}

void handle_media_set_priority(struct request *request)
{
    double priority = cJSON_GetObjectItemCaseSensitive(request->payload, "priority")->valuedouble;
    cJSON *value;

    if (priority < 1 || priority > 255) {
        request_fail_because(request, ERROR_invalid_payload, "priority is not from 1 to 255");
        return;
    }
    if (!consumer_set_priority(request->consumer, (uint8_t)priority)) {
        request_fail(request, ERROR_unavailable);
        return;
    }
    value = json_new_object();
    cJSON_AddNumberToObject(value, "priority", request->consumer->row.priority);
    request_succeed(request, value);
}
