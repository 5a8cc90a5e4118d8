/* Consumers: created, paused, resumed, closed. */
#include "consumer.h"

#include <stdlib.h>
#include <string.h>

#include "announce.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "room.h"
#include "room_json.h"
#include "transport.h"

struct consumer *consumer_find(struct rooms *rooms, const char *id)
{
    char key[UUID_TEXT_BYTES];

    if (!uuid_normalize(id, key))
        return NULL;
    return INDEX_OWNER(index_get(&rooms->consumers, key), struct consumer, by_id);
}

struct consumer *consumer_new(struct transport *transport, struct producer *producer,
                              const struct consumer_row *row)
{
    struct rooms *rooms = transport->owner->room->rooms;
    struct consumer *consumer = calloc(1, sizeof(*consumer));

    if (consumer == NULL)
        return NULL;
    consumer->row = *row;
    consumer->transport = transport;
    consumer->producer = producer;
    uuid_make(consumer->id);
    uuid_to_bytes(consumer->id, consumer->row.id);
    consumer->row.transport = transport->handle;
    consumer->row.producer = producer->handle;
    consumer->row.paused = 1;
    consumer->handle =
        dataplane_row_add(rooms->dataplane, TABLE_consumer, &consumer->row, transport->row.worker);
    if (consumer->handle == 0) {
        free(consumer);
        return NULL;
    }
    quality_begin_consumer(consumer);
    index_put(&rooms->consumers, &consumer->by_id, consumer->id);
    TAILQ_INSERT_TAIL(&transport->consumers, consumer, of_transport);
    TAILQ_INSERT_TAIL(&producer->consumers, consumer, of_producer);
    transport->consumer_count++;
    transport->owner->consumer_count++;
    return consumer;
}

/* ---- changes ---- */

static bool update(struct consumer *consumer, const struct consumer_row *row)
{
    struct transport *transport = consumer->transport;

    if (memcmp(row, &consumer->row, sizeof(*row)) != 0 &&
        !dataplane_row_update(transport->owner->room->rooms->dataplane, TABLE_consumer,
                              consumer->handle, row, transport->row.worker))
        return false;
    consumer->row = *row;
    return true;
}

bool consumer_set_paused(struct consumer *consumer, bool paused)
{
    struct consumer_row row = consumer->row;

    row.paused = paused;
    return update(consumer, &row);
}

bool consumer_set_priority(struct consumer *consumer, uint8_t priority)
{
    struct consumer_row row = consumer->row;

    row.priority = priority;
    return update(consumer, &row);
}

/* ---- layers ---- */

bool consumer_has_layers(const struct consumer *consumer)
{
    return consumer->producer->ortc.row.type != PRODUCER_TYPE_simple;
}

/* The highest spatial layer. Of simulcast, each encoding is one. */
static uint8_t highest_spatial(const struct consumer *consumer)
{
    const struct producer_row *row = &consumer->producer->ortc.row;

    return (uint8_t)((row->type == PRODUCER_TYPE_simulcast ? row->encoding_count
                                                           : row->encoding_spatial_layers[0]) -
                     1);
}

static uint8_t highest_temporal(const struct consumer *consumer, uint8_t spatial)
{
    const struct producer_row *row = &consumer->producer->ortc.row;

    return (
        uint8_t)(row->encoding_temporal_layers[row->type == PRODUCER_TYPE_simulcast ? spatial : 0] -
                 1);
}

void consumer_preferred_layers(const struct consumer *consumer, uint8_t *spatial, uint8_t *temporal)
{
    uint8_t highest = highest_spatial(consumer);

    *spatial = consumer->row.preferred_spatial_layer;
    if (*spatial > highest)
        *spatial = highest;
    highest = highest_temporal(consumer, *spatial);
    *temporal = consumer->row.preferred_temporal_layer;
    if (*temporal > highest)
        *temporal = highest;
}

/* Who prefers the highest layer gets "the best one", so that it also gets layers that the publisher
 * sends without having said so. */
bool consumer_set_preferred_layers(struct consumer *consumer, double spatial,
                                   const double *temporal)
{
    struct consumer_row row = consumer->row;
    uint8_t highest = highest_spatial(consumer);

    row.preferred_spatial_layer = spatial < highest ? (uint8_t)spatial : LAYER_NONE;
    if (spatial < highest)
        highest = (uint8_t)spatial;
    highest = highest_temporal(consumer, highest);
    row.preferred_temporal_layer =
        temporal != NULL && *temporal < highest ? (uint8_t)*temporal : LAYER_NONE;
    return update(consumer, &row);
}

/* ---- closing ---- */

void consumer_close(struct consumer *consumer, bool announced)
{
    struct transport *transport = consumer->transport;
    struct rooms *rooms = transport->owner->room->rooms;

    if (announced)
        announce_to_participant(transport->owner, NOTICE_consumer_closed,
                                json_texts("consumerId", consumer->id, NULL));
    quality_end_consumer(consumer);
    dataplane_row_remove(rooms->dataplane, TABLE_consumer, consumer->handle, transport->row.worker);
    index_remove(&rooms->consumers, &consumer->by_id);
    TAILQ_REMOVE(&transport->consumers, consumer, of_transport);
    TAILQ_REMOVE(&consumer->producer->consumers, consumer, of_producer);
    transport->consumer_count--;
    transport->owner->consumer_count--;
    quota_give_back(&transport->owner->owner, QUOTA_consumers, 1);
    free(consumer);
}
