/* Layers and scores: read from the data plane, compared with what their owners know, told. */
#include "quality.h"

#include <string.h>

#include "announce.h"
#include "consumer.h"
#include "controlplane/web/json.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "room.h"
#include "room_json.h"
#include "transport.h"

#define LAYERS_INTERVAL_MS 250
#define SCORES_INTERVAL_MS 1000

/* What the data plane says now. */
struct reading {
    struct producer_state_row source;
    uint8_t spatial_layer, temporal_layer;
    struct scores scores;
};

/* ---- reading ---- */

static void read_source(struct rooms *rooms, const struct producer *producer, struct reading *now)
{
    memset(now, 0, sizeof(*now));
    now->spatial_layer = now->temporal_layer = LAYER_NONE;
    memset(now->scores.encodings, SCORE_NONE, sizeof(now->scores.encodings));
    if (!dataplane_row_read(rooms->dataplane, TABLE_producer_state, producer->handle, &now->source))
        return;
    for (uint32_t e = 0; e < producer->ortc.row.encoding_count; e++) {
        if (now->source.encoding_packets[e] > 0)
            now->scores.encodings[e] = now->source.encoding_score[e];
    }
}

/* False: its data plane knows it not yet, or no longer. */
static bool read_consumer(struct rooms *rooms, const struct consumer *consumer, struct reading *now)
{
    struct consumer_state_row row;
    uint32_t encoding = 0;

    if (!dataplane_row_read(rooms->dataplane, TABLE_consumer_state, consumer->handle, &row))
        return false;
    if (consumer_has_layers(consumer) && row.spatial_layer != LAYER_NONE) {
        now->spatial_layer = row.spatial_layer;
        now->temporal_layer = row.temporal_layer;
        encoding = row.encoding;
    }
    now->scores.own = row.score;
    if (!consumer_has_layers(consumer) || now->spatial_layer != LAYER_NONE)
        now->scores.forwarded = now->scores.encodings[encoding];
    if (now->scores.forwarded == SCORE_NONE)
        now->scores.forwarded = 0;
    return true;
}

/* ---- JSON ---- */

static cJSON *layers_json(uint8_t spatial, uint8_t temporal)
{
    cJSON *value = json_new_object();

    cJSON_AddNumberToObject(value, "spatialLayer", spatial);
    cJSON_AddNumberToObject(value, "temporalLayer", temporal);
    return value;
}

cJSON *current_layers_json(const struct consumer *consumer)
{
    const struct quality *q = &consumer->quality;

    return q->spatial_layer != LAYER_NONE ? layers_json(q->spatial_layer, q->temporal_layer)
                                          : cJSON_CreateNull();
}

cJSON *preferred_layers_json(const struct consumer *consumer)
{
    uint8_t spatial, temporal;

    if (!consumer_has_layers(consumer))
        return cJSON_CreateNull();
    consumer_preferred_layers(consumer, &spatial, &temporal);
    return layers_json(spatial, temporal);
}

cJSON *consumer_score_json(const struct consumer *consumer)
{
    const struct scores *scores = &consumer->quality.scores;
    cJSON *value = json_new_object(), *list;

    cJSON_AddNumberToObject(value, "score", scores->own);
    cJSON_AddNumberToObject(value, "producerScore", scores->forwarded);
    list = cJSON_AddArrayToObject(value, "producerScores");
    for (uint32_t e = 0; e < consumer->producer->ortc.row.encoding_count; e++) {
        uint8_t score = scores->encodings[e];

        json_push(list, cJSON_CreateNumber(score != SCORE_NONE ? score : 0));
    }
    return value;
}

/* mediasoup lists the encodings that have sent something. */
static cJSON *producer_scores_json(const struct producer *producer, const struct reading *now)
{
    cJSON *list = json_new_array();

    for (uint32_t e = 0; e < producer->ortc.row.encoding_count; e++) {
        const char *rid = producer->ortc.row.encoding_rid + e * RID_BYTES_MAX;
        cJSON *item;

        if (now->scores.encodings[e] == SCORE_NONE)
            continue;
        item = json_new_object();
        cJSON_AddNumberToObject(item, "encodingIdx", e);
        cJSON_AddNumberToObject(item, "ssrc", now->source.encoding_ssrc[e]);
        if (rid[0] != '\0')
            cJSON_AddStringToObject(item, "rid", rid);
        cJSON_AddNumberToObject(item, "score", now->scores.encodings[e]);
        json_push(list, item);
    }
    return list;
}

/* ---- telling ---- */

static void make_due(struct rooms *rooms, struct quality *q)
{
    if (q->is_due)
        return;
    q->is_due = true;
    TAILQ_INSERT_TAIL(&rooms->quality_due, q, due_link);
}

static void leave_due(struct rooms *rooms, struct quality *q)
{
    if (!q->is_due)
        return;
    q->is_due = false;
    TAILQ_REMOVE(&rooms->quality_due, q, due_link);
}

static void tell_layers(struct quality *q, const struct reading *now)
{
    struct consumer *consumer = q->consumer;
    cJSON *value = json_texts("consumerId", consumer->id, NULL);

    q->spatial_layer = now->spatial_layer;
    q->temporal_layer = now->temporal_layer;
    json_add(value, "layers", current_layers_json(consumer));
    announce_to_participant(consumer->transport->owner, NOTICE_layers_changed, value);
}

static void tell_scores(struct quality *q, const struct reading *now)
{
    struct transport *transport =
        q->consumer != NULL ? q->consumer->transport : q->producer->transport;
    cJSON *value;

    q->scores = now->scores;
    if (q->consumer != NULL) {
        value = json_texts("consumerId", q->consumer->id, NULL);
        json_add(value, "score", consumer_score_json(q->consumer));
    } else {
        value = json_texts("producerId", q->producer->id, NULL);
        json_add(value, "score", producer_scores_json(q->producer, now));
    }
    announce_to_participant(transport->owner, NOTICE_score, value);
}

/* Scores are told in ticks only, so that a bad network of a thousand people is no flood of events. */
static void check(struct rooms *rooms, struct quality *q, bool in_tick)
{
    const struct producer *producer = q->consumer != NULL ? q->consumer->producer : q->producer;
    uint64_t now_ms = uv_now(rooms->loop);
    struct reading now;

    read_source(rooms, producer, &now);
    if (q->consumer != NULL && !read_consumer(rooms, q->consumer, &now))
        return;
    if (q->consumer != NULL &&
        (now.spatial_layer != q->spatial_layer || now.temporal_layer != q->temporal_layer)) {
        if (now_ms - q->layers_told_ms >= LAYERS_INTERVAL_MS) {
            q->layers_told_ms = now_ms;
            tell_layers(q, &now);
        } else {
            make_due(rooms, q);
        }
    }
    if (memcmp(&now.scores, &q->scores, sizeof(now.scores)) != 0) {
        if (in_tick && now_ms - q->scores_told_ms >= SCORES_INTERVAL_MS) {
            q->scores_told_ms = now_ms;
            tell_scores(q, &now);
        } else {
            make_due(rooms, q);
        }
    }
}

void quality_tick(struct rooms *rooms)
{
    struct quality *last = TAILQ_LAST(&rooms->quality_due, quality_list), *q;

    for (uint32_t n = 0; n < QUALITY_PER_TICK; n++) {
        q = TAILQ_FIRST(&rooms->quality_due);
        if (q == NULL)
            return;
        leave_due(rooms, q);
        check(rooms, q, true);
        if (q == last)
            return;
    }
}

/* ---- what changed ---- */

static void producer_changed(struct rooms *rooms, struct producer *producer)
{
    struct consumer *consumer;

    check(rooms, &producer->quality, false);
    TAILQ_FOREACH(consumer, &producer->consumers, of_producer)
    check(rooms, &consumer->quality, false);
}

void quality_changed(struct rooms *rooms, enum table_id table, handle_word handle)
{
    if (handle_index(handle) >= tables[table].rows)
        return;
    if (table == TABLE_producer_state) {
        struct producer *producer = rooms->producer_of_row[handle_index(handle)];

        if (producer != NULL && producer->handle == handle)
            producer_changed(rooms, producer);
    } else if (table == TABLE_consumer_state) {
        struct consumer *consumer = rooms->consumer_of_row[handle_index(handle)];

        if (consumer != NULL && consumer->handle == handle)
            check(rooms, &consumer->quality, false);
    }
}

void quality_check_transport(struct transport *t)
{
    struct rooms *rooms = t->owner->room->rooms;
    struct producer *producer;
    struct consumer *consumer;

    TAILQ_FOREACH(producer, &t->producers, link)
    check(rooms, &producer->quality, false);
    TAILQ_FOREACH(consumer, &t->consumers, of_transport)
    check(rooms, &consumer->quality, false);
}

/* ---- objects ---- */

static struct rooms *rooms_of(const struct transport *transport)
{
    return transport->owner->room->rooms;
}

/* Owners know that a new producer has sent nothing. */
void quality_begin_producer(struct producer *producer)
{
    struct quality *q = &producer->quality;

    *q = (struct quality){.producer = producer};
    memset(q->scores.encodings, SCORE_NONE, sizeof(q->scores.encodings));
    rooms_of(producer->transport)->producer_of_row[handle_index(producer->handle)] = producer;
}

/* The answer to media:consume has the first scores. */
void quality_begin_consumer(struct consumer *consumer)
{
    struct rooms *rooms = rooms_of(consumer->transport);
    struct quality *q = &consumer->quality;
    struct reading now;

    read_source(rooms, consumer->producer, &now);
    *q = (struct quality){.consumer = consumer,
                          .spatial_layer = LAYER_NONE,
                          .temporal_layer = LAYER_NONE,
                          .scores = now.scores};
    q->scores.own = SCORE_MAX;
    if (!consumer_has_layers(consumer) && q->scores.encodings[0] != SCORE_NONE)
        q->scores.forwarded = q->scores.encodings[0];
    rooms->consumer_of_row[handle_index(consumer->handle)] = consumer;
}

void quality_end_producer(struct producer *producer)
{
    struct rooms *rooms = rooms_of(producer->transport);
    struct producer **of_row = &rooms->producer_of_row[handle_index(producer->handle)];

    leave_due(rooms, &producer->quality);
    if (*of_row == producer)
        *of_row = NULL;
}

void quality_end_consumer(struct consumer *consumer)
{
    struct rooms *rooms = rooms_of(consumer->transport);
    struct consumer **of_row = &rooms->consumer_of_row[handle_index(consumer->handle)];

    leave_due(rooms, &consumer->quality);
    if (*of_row == consumer)
        *of_row = NULL;
}
