/* Requests about consumers: consume, pause, resume. */
#include <stdio.h>

#include "consumer.h"
#include "events.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "request.h"
#include "room.h"
#include "room_json.h"
#include "transport.h"

#define SSRC_ATTEMPTS_MAX 8

static bool has_ssrc(const struct transport *transport, const struct consumer_row *row)
{
    const struct consumer *other;

    TAILQ_FOREACH(other, &transport->consumers, of_transport)
    {
        uint32_t ours[2] = {row->ssrc, row->rtx_ssrc}, i;

        for (i = 0; i < 2; i++) {
            if (ours[i] != 0 && (ours[i] == other->row.ssrc || ours[i] == other->row.rtx_ssrc))
                return true;
        }
    }
    return false;
}

/* Returns rtpParameters and fills the row, or NULL after it answered the request with an error.
 * SSRCs are random and must differ within one transport, so it tries again when one is in use. */
static cJSON *negotiate(struct request *request, const struct ortc_producer *producer,
                        struct consumer_row *row)
{
    const cJSON *capabilities =
        cJSON_GetObjectItemCaseSensitive(request->payload, "rtpCapabilities");
    char mid[CONSUMER_MID_BYTES_MAX + 4], why[ORTC_WHY_BYTES] = "no free SSRC";
    cJSON *parameters;
    int attempt;

    snprintf(mid, sizeof(mid), "%u", request->transport->next_mid % 100000000u);
    for (attempt = 0; attempt < SSRC_ATTEMPTS_MAX; attempt++) {
        parameters = ortc_consume(producer, capabilities, mid, row, why);
        if (parameters == NULL || !has_ssrc(request->transport, row))
            break;
        cJSON_Delete(parameters);
        parameters = NULL;
    }
    if (parameters == NULL)
        request_fail_because(request, ERROR_cannot_consume, "%s", why);
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

    cJSON_AddItemToObject(value, "rtpParameters", rtp_parameters);
    cJSON_AddBoolToObject(value, "producerPaused", producer->paused);
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
    parameters = negotiate(request, &producer->ortc, &row);
    if (parameters == NULL)
        return;
    consumer = consumer_new(transport, producer, &row);
    if (consumer == NULL) {
        cJSON_Delete(parameters);
        request_fail(request, ERROR_unavailable);
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
