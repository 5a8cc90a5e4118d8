/* Requests about producers: produce, pause, resume, close. */
#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "controlplane/web/json.h"
#include "events.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "request.h"
#include "room.h"
#include "room_json.h"
#include "transport.h"

#define APP_DATA_BYTES_MAX 4096

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

/* The data plane finds the producer of a packet by its SSRC or MID, so within one transport no two
 * producers may have the same (threat D16). */
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

/* Whoever joins gets the appData of all producers in one answer, so a room holds only so much. A
 * participant always has its share, so that nobody can use up all of it. */
static bool fits_room(const struct participant *owner, uint32_t bytes)
{
    const struct settings *settings = owner->room->rooms->settings;
    uint64_t most = settings->room_app_data_kib * 1024ull;

    return owner->room->app_data_bytes + bytes <= most ||
           owner->app_data_bytes + bytes <= most / settings->room_participants_max;
}

/* False: the request has been answered. */
static bool copy_app_data(struct request *request, struct producer *producer)
{
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(request->payload, "appData");
    char text[APP_DATA_BYTES_MAX] = "{}";

    if (cJSON_IsObject(given) &&
        !cJSON_PrintPreallocated((cJSON *)given, text, sizeof(text), false)) {
        request_fail_because(request, ERROR_invalid_payload, "appData is longer than %d bytes",
                             APP_DATA_BYTES_MAX);
        return false;
    }
    producer->app_data_bytes = (uint32_t)strlen(text);
    if (!fits_room(request->participant, producer->app_data_bytes)) {
        request_fail_because(request, ERROR_limit_reached, "the room has %u KiB of appData",
                             request->rooms->settings->room_app_data_kib);
        return false;
    }
    producer->app_data = strdup(text);
    if (producer->app_data == NULL)
        request_fail(request, ERROR_unavailable);
    return producer->app_data != NULL;
}

/* Negotiates and adds the row. Returns NULL after it answered the request with an error. */
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
    if (!copy_app_data(request, producer))
        goto failed;
    if (!ortc_produce(&producer->ortc, payload_text(request->payload, "kind"), parameters,
                      request->rooms->capabilities, cname, why) ||
        !ortc_keep(&producer->ortc, why)) {
        request_fail_because(request, ERROR_cannot_produce, "%s", why);
        goto failed;
    }
    if (!is_distinct(transport, row)) {
        request_fail_because(request, ERROR_cannot_produce,
                             "another producer of this transport has this mid or ssrc");
        goto failed;
    }
    uuid_make(producer->id);
    uuid_to_bytes(producer->id, row->id);
    row->transport = transport->handle;
    row->paused = payload_flag(request->payload, "paused");
    TAILQ_INIT(&producer->consumers);
    speaker_begin(&producer->speaker);
    producer->transport = transport;
    producer->handle =
        dataplane_row_add(request->rooms->dataplane, TABLE_producer, row, transport->row.worker);
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
    struct participant *owner = request->participant;
    char why[QUOTA_WHY_BYTES];
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
    if (owner->producer_count >= PRODUCERS_PER_PARTICIPANT_MAX) {
        request_fail_because(request, ERROR_limit_reached, "%d producers; close one first",
                             PRODUCERS_PER_PARTICIPANT_MAX);
        return;
    }
    if (!quota_take(request->rooms, &owner->owner, QUOTA_producers, why)) {
        request_fail_because(request, ERROR_limit_reached, "%s", why);
        return;
    }
    producer = producer_new(request);
    if (producer == NULL) {
        quota_give_back(&owner->owner, QUOTA_producers, 1);
        return;
    }
    producer_insert(producer);
    audit_write(request->rooms->audit, AUDIT_producer_created, owner->user_id, request->room->id,
                owner->ip, "{\"producerId\":\"%s\",\"kind\":\"%s\"}", producer->id, kind);
    value = json_texts("producerId", producer->id, "userId", owner->user_id, "kind", kind, NULL);
    json_add(value, "appData", cJSON_CreateRaw(producer->app_data));
    cJSON_AddBoolToObject(value, "paused", producer->ortc.row.paused);
    announce_to_room(request->room, owner, NOTICE_new_producer, value);
    request_succeed(request, json_texts("producerId", producer->id, "id", producer->id, NULL));
}

static void set_paused(struct request *request, bool paused)
{
    if (producer_set_paused(request->producer, paused))
        request_succeed_flag(request, paused ? "paused" : "resumed");
    else
        request_fail(request, ERROR_unavailable);
}

void handle_media_pause_producer(struct request *request)
{
    set_paused(request, true);
}

void handle_media_resume_producer(struct request *request)
{
    set_paused(request, false);
}

void handle_media_close_producer(struct request *request)
{
    producer_close(request->producer, true);
    request_succeed_flag(request, "closed");
}
