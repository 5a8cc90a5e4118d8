/* Producers: made, paused, resumed, closed. */
#include <stdlib.h>
#include <string.h>

#include "state.h"

static const char *kind_text(const struct producer *producer)
{
    return producer->ortc.row.kind == MEDIA_KIND_audio ? "audio" : "video";
}

/* isMuted: no sound of theirs flows. isVideoOff: no picture. */
static void update_flags(struct participant *p, uint8_t kind)
{
    const struct transport *transport;
    const struct producer *producer;
    bool off = true;

    TAILQ_FOREACH(transport, &p->transports, link)
    {
        TAILQ_FOREACH(producer, &transport->producers, link)
        {
            if (producer->ortc.row.kind == kind && !producer->ortc.row.paused)
                off = false;
        }
    }
    if (kind == MEDIA_KIND_audio)
        p->is_muted = off;
    else
        p->is_video_off = off;
    live_state_put_participant(p);
}

/* ---- what is already there on this transport ---- */

static bool shares_ssrc(const struct producer_row *a, const struct producer_row *b)
{
    uint32_t i, k;

    for (i = 0; i < 2 * ENCODINGS_MAX; i++) {
        uint32_t x =
            i < ENCODINGS_MAX ? a->encoding_ssrc[i] : a->encoding_rtx_ssrc[i - ENCODINGS_MAX];

        for (k = 0; k < 2 * ENCODINGS_MAX && x != 0; k++) {
            if (x ==
                (k < ENCODINGS_MAX ? b->encoding_ssrc[k] : b->encoding_rtx_ssrc[k - ENCODINGS_MAX]))
                return true;
        }
    }
    return false;
}

/* Packets are told apart by SSRC, or MID: neither may stand for two producers (D16). */
static bool is_distinct(const struct transport *transport, const struct producer_row *row)
{
    const struct producer *other;

    TAILQ_FOREACH(other, &transport->producers, link)
    {
        const struct producer_row *theirs = &other->ortc.row;

        if (shares_ssrc(row, theirs) ||
            (row->mid_bytes != 0 && row->mid_bytes == theirs->mid_bytes &&
             memcmp(row->mid, theirs->mid, row->mid_bytes) == 0))
            return false;
    }
    return true;
}

/* ---- produce ---- */

static cJSON *copy_app_data(const cJSON *payload)
{
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(payload, "appData");
    char text[APP_DATA_BYTES_MAX];

    if (!cJSON_IsObject(given))
        return cJSON_CreateObject();
    if (!cJSON_PrintPreallocated((cJSON *)given, text, sizeof(text), false))
        return NULL;
    return cJSON_Duplicate(given, true);
}

static void producer_free(struct producer *producer)
{
    if (producer == NULL)
        return;
    ortc_producer_free(&producer->ortc);
    cJSON_Delete(producer->app_data);
    free(producer);
}

/* Negotiates and puts the row in place; NULL after having answered the request. */
static struct producer *producer_new(struct request *request)
{
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(request->payload, "rtpParameters");
    struct producer *producer = calloc(1, sizeof(*producer));
    struct transport *transport = request->transport;
    char why[ORTC_WHY_BYTES], cname[CNAME_ROOM];
    struct producer_row *row;

    if (producer == NULL) {
        request_fail(request, ERROR_unavailable);
        return NULL;
    }
    row = &producer->ortc.row;
    memcpy(cname, transport->cname, sizeof(cname));
    producer->app_data = copy_app_data(request->payload);
    if (producer->app_data == NULL) {
        request_fail_because(request, ERROR_invalid_payload, "appData is longer than %d bytes",
                             APP_DATA_BYTES_MAX);
        goto failed;
    }
    if (!ortc_produce(&producer->ortc, payload_text(request->payload, "kind"), parameters,
                      request->rooms->capabilities, cname, why)) {
        request_fail_because(request, ERROR_cannot_produce, "%s", why);
        goto failed;
    }
    if (!is_distinct(transport, row)) {
        request_fail_because(request, ERROR_cannot_produce,
                             "another producer of this transport has this mid or ssrc");
        goto failed;
    }
    uuid_make(producer->id);
    id_bytes(producer->id, row->id);
    row->transport = transport->handle;
    row->paused = payload_flag(request->payload, "paused");
    TAILQ_INIT(&producer->consumers);
    speaker_begin(&producer->speaker);
    producer->transport = transport;
    producer->handle =
        dataplane_row_add(request->rooms->dataplane, TABLE_producer, row, worker_of(transport));
    if (producer->handle == 0) {
        request_fail(request, ERROR_unavailable);
        goto failed;
    }
    memcpy(transport->cname, cname, sizeof(cname));
    return producer;
failed:
    producer_free(producer);
    return NULL;
}

void handle_media_produce(struct request *request)
{
    const char *kind = payload_text(request->payload, "kind");
    struct producer *producer;
    cJSON *value;

    if (strcmp(kind, "audio") != 0 && strcmp(kind, "video") != 0) {
        request_fail_because(request, ERROR_invalid_payload, "kind is not audio or video");
        return;
    }
    if (request->transport->row.direction != DIRECTION_send) {
        request_fail(request, ERROR_wrong_direction);
        return;
    }
    if (request->caller->producer_count >= PRODUCERS_PER_PARTICIPANT_MAX) {
        request_fail_because(request, ERROR_limit_reached, "%d producers; close one first",
                             PRODUCERS_PER_PARTICIPANT_MAX);
        return;
    }
    producer = producer_new(request);
    if (producer == NULL)
        return;
    index_put(&request->rooms->producers, &producer->by_id, producer->id);
    TAILQ_INSERT_TAIL(&request->transport->producers, producer, link);
    request->caller->producer_count++;
    audio_levels_follow(producer);
    update_flags(request->caller, producer->ortc.row.kind);
    audit_write(request->rooms->audit, AUDIT_producer_created, request->caller->user_id,
                request->room->id, request->caller->ip, "{\"producerId\":\"%s\",\"kind\":\"%s\"}",
                producer->id, kind);
    value = json_texts("producerId", producer->id, "userId", request->caller->user_id, "kind", kind,
                       NULL);
    cJSON_AddItemToObject(value, "appData", cJSON_Duplicate(producer->app_data, true));
    cJSON_AddBoolToObject(value, "paused", producer->ortc.row.paused);
    announce_to_room(request->room, request->caller, NOTICE_new_producer, value);
    request_succeed(request, json_texts("producerId", producer->id, "id", producer->id, NULL));
}

/* ---- pause, resume, close ---- */

bool producer_set_paused(struct producer *producer, bool paused)
{
    struct participant *owner = producer->transport->owner;
    struct room *room = owner->room;
    struct producer_row row = producer->ortc.row;
    struct consumer *consumer;

    if (producer->ortc.row.paused == paused)
        return true;
    row.paused = paused;
    if (!dataplane_row_update(room->rooms->dataplane, TABLE_producer, producer->handle, &row,
                              worker_of(producer->transport)))
        return false;
    producer->ortc.row.paused = paused;
    audio_levels_follow(producer);
    update_flags(owner, row.kind);
    announce_to_room(room, owner, paused ? NOTICE_producer_paused : NOTICE_producer_resumed,
                     json_texts("producerId", producer->id, "userId", owner->user_id, "kind",
                                kind_text(producer), NULL));
    TAILQ_FOREACH(consumer, &producer->consumers, of_producer)
    announce(consumer->transport->owner, paused ? NOTICE_consumer_paused : NOTICE_consumer_resumed,
             json_texts("consumerId", consumer->id, NULL));
    return true;
}

static void set_paused(struct request *request, bool paused)
{
    cJSON *value;

    if (!producer_set_paused(request->producer, paused)) {
        request_fail(request, ERROR_unavailable);
        return;
    }
    value = cJSON_CreateObject();
    cJSON_AddTrueToObject(value, paused ? "paused" : "resumed");
    request_succeed(request, value);
}

void handle_media_pause_producer(struct request *request)
{
    set_paused(request, true);
}

void handle_media_resume_producer(struct request *request)
{
    set_paused(request, false);
}

void producer_close(struct producer *producer, bool announced)
{
    struct transport *transport = producer->transport;
    struct participant *owner = transport->owner;
    struct rooms *rooms = owner->room->rooms;
    uint8_t kind = producer->ortc.row.kind;
    struct consumer *consumer;

    audio_levels_forget(producer);
    if (announced)
        announce_to_room(owner->room, owner, NOTICE_producer_closed,
                         json_texts("producerId", producer->id, "userId", owner->user_id, NULL));
    while ((consumer = TAILQ_FIRST(&producer->consumers)) != NULL)
        consumer_close(consumer, announced);
    dataplane_row_remove(rooms->dataplane, TABLE_producer, producer->handle, worker_of(transport));
    audit_write(rooms->audit, AUDIT_producer_closed, owner->user_id, owner->room->id, owner->ip,
                "{\"producerId\":\"%s\",\"kind\":\"%s\"}", producer->id, kind_text(producer));
    index_remove(&rooms->producers, &producer->by_id);
    TAILQ_REMOVE(&transport->producers, producer, link);
    owner->producer_count--;
    producer_free(producer);
    update_flags(owner, kind);
}

void handle_media_close_producer(struct request *request)
{
    cJSON *value = cJSON_CreateObject();

    producer_close(request->producer, true);
    cJSON_AddTrueToObject(value, "closed");
    request_succeed(request, value);
}
