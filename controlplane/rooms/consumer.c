/* Consumers: created, paused, resumed, closed. */
#include "consumer.h"

#include <stdlib.h>

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
    index_put(&rooms->consumers, &consumer->by_id, consumer->id);
    TAILQ_INSERT_TAIL(&transport->consumers, consumer, of_transport);
    TAILQ_INSERT_TAIL(&producer->consumers, consumer, of_producer);
    transport->consumer_count++;
    transport->owner->consumer_count++;
    return consumer;
}

bool consumer_set_paused(struct consumer *consumer, bool paused)
{
    struct transport *transport = consumer->transport;
    struct consumer_row row = consumer->row;

    row.paused = paused;
    if (row.paused != consumer->row.paused &&
        !dataplane_row_update(transport->owner->room->rooms->dataplane, TABLE_consumer,
                              consumer->handle, &row, transport->row.worker))
        return false;
    consumer->row = row;
    return true;
}

void consumer_close(struct consumer *consumer, bool announced)
{
    struct transport *transport = consumer->transport;
    struct rooms *rooms = transport->owner->room->rooms;

    if (announced)
        announce_to_participant(transport->owner, NOTICE_consumer_closed,
                                json_texts("consumerId", consumer->id, NULL));
    dataplane_row_remove(rooms->dataplane, TABLE_consumer, consumer->handle, transport->row.worker);
    index_remove(&rooms->consumers, &consumer->by_id);
    TAILQ_REMOVE(&transport->consumers, consumer, of_transport);
    TAILQ_REMOVE(&consumer->producer->consumers, consumer, of_producer);
    transport->consumer_count--;
    transport->owner->consumer_count--;
    quota_give_back(&transport->owner->owner, QUOTA_consumers, 1);
    free(consumer);
}
