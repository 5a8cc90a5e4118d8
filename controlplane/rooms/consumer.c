/* Consumers: made, paused, resumed, closed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

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

/* SSRCs are drawn at random; within one transport they must also differ. */
static cJSON *negotiate(struct request *request, const struct ortc_producer *producer,
                        struct consumer_row *row)
{
    const cJSON *capabilities =
        cJSON_GetObjectItemCaseSensitive(request->payload, "rtpCapabilities");
    char mid[CONSUMER_MID_BYTES_MAX + 4], why[ORTC_WHY_BYTES] = "no free SSRC";
    cJSON *parameters;
    int attempt;

    snprintf(mid, sizeof(mid), "%u", request->transport->next_mid % 100000000u);
    for (attempt = 0; attempt < 8; attempt++) {
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

static struct consumer *consumer_new(struct request *request, struct producer *producer,
                                     const struct consumer_row *row)
{
    struct consumer *consumer = calloc(1, sizeof(*consumer));
    struct transport *transport = request->transport;

    if (consumer == NULL)
        return NULL;
    consumer->row = *row;
    consumer->transport = transport;
    consumer->producer = producer;
    uuid_make(consumer->id);
    id_bytes(consumer->id, consumer->row.id);
    consumer->row.transport = transport->handle;
    consumer->row.producer = producer->handle;
    consumer->row.paused = 1;
    consumer->handle = dataplane_row_add(request->rooms->dataplane, TABLE_consumer, &consumer->row,
                                         worker_of(transport));
    if (consumer->handle == 0) {
        free(consumer);
        return NULL;
    }
    index_put(&request->rooms->consumers, &consumer->by_id, consumer->id);
    TAILQ_INSERT_TAIL(&transport->consumers, consumer, of_transport);
    TAILQ_INSERT_TAIL(&producer->consumers, consumer, of_producer);
    transport->consumer_count++;
    transport->next_mid++;
    return consumer;
}

void handle_media_consume(struct request *request)
{
    static const char *const types[] = {"none", "simple", "simulcast", "svc"};
    struct producer *producer =
        producer_find(request->rooms, payload_text(request->payload, "producerId"));
    const cJSON *capabilities =
        cJSON_GetObjectItemCaseSensitive(request->payload, "rtpCapabilities");
    struct consumer_row row;
    struct consumer *consumer;
    cJSON *parameters, *value;

    if (request->transport->row.direction != DIRECTION_recv) {
        request_fail(request, ERROR_wrong_direction);
        return;
    }
    if (producer == NULL || producer->transport->owner->room != request->room) {
        request_fail(request, ERROR_producer_not_found);
        return;
    }
    if (request->transport->consumer_count >= CONSUMERS_PER_TRANSPORT_MAX) {
        request_fail_because(request, ERROR_limit_reached, "%d consumers of one transport",
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
    consumer = consumer_new(request, producer, &row);
    if (consumer == NULL) {
        cJSON_Delete(parameters);
        request_fail(request, ERROR_unavailable);
        return;
    }
    audit_write(request->rooms->audit, AUDIT_consumer_created, request->caller->user_id,
                request->room->id, request->caller->ip,
                "{\"consumerId\":\"%s\",\"producerId\":\"%s\"}", consumer->id, producer->id);
    value = json_texts("consumerId", consumer->id, "id", consumer->id, "producerId", producer->id,
                       "kind", row.kind == MEDIA_KIND_audio ? "audio" : "video", "type",
                       types[producer->ortc.row.type], NULL);
    cJSON_AddItemToObject(value, "rtpParameters", parameters);
    cJSON_AddBoolToObject(value, "producerPaused", producer->ortc.row.paused);
    request_succeed(request, value);
}

static void set_paused(struct request *request, bool paused)
{
    struct consumer *consumer = request->consumer;
    struct consumer_row row = consumer->row;
    cJSON *value;

    row.paused = paused;
    if (row.paused != consumer->row.paused &&
        !dataplane_row_update(request->rooms->dataplane, TABLE_consumer, consumer->handle, &row,
                              worker_of(consumer->transport))) {
        request_fail(request, ERROR_unavailable);
        return;
    }
    consumer->row = row;
    value = cJSON_CreateObject();
    cJSON_AddTrueToObject(value, paused ? "paused" : "resumed");
    request_succeed(request, value);
}

void handle_media_resume_consumer(struct request *request)
{
    set_paused(request, false);
}

void handle_media_pause_consumer(struct request *request)
{
    set_paused(request, true);
}

void consumer_close(struct consumer *consumer, bool announced)
{
    struct transport *transport = consumer->transport;
    struct rooms *rooms = transport->owner->room->rooms;

    if (announced)
        announce(transport->owner, NOTICE_consumer_closed,
                 json_texts("consumerId", consumer->id, NULL));
    dataplane_row_remove(rooms->dataplane, TABLE_consumer, consumer->handle, worker_of(transport));
    index_remove(&rooms->consumers, &consumer->by_id);
    TAILQ_REMOVE(&transport->consumers, consumer, of_transport);
    TAILQ_REMOVE(&consumer->producer->consumers, consumer, of_producer);
    transport->consumer_count--;
    free(consumer);
}
