/* Producers: inserted, paused, resumed, closed. */
#include "producer.h"

#include <stdlib.h>

#include "announce.h"
#include "audio_levels.h"
#include "consumer.h"
#include "live_state.h"
#include "participant.h"
#include "registry.h"
#include "room.h"
#include "room_json.h"
#include "transport.h"

struct producer *producer_find(struct rooms *rooms, const char *id)
{
    char key[UUID_TEXT_BYTES];

    if (!uuid_normalize(id, key))
        return NULL;
    return INDEX_OWNER(index_get(&rooms->producers, key), struct producer, by_id);
}

/* A participant is muted if it sends no audio, and its video is off if it sends no video. */
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

void producer_insert(struct producer *producer)
{
    struct transport *transport = producer->transport;
    struct participant *owner = transport->owner;

    quality_begin_producer(producer);
    index_put(&owner->room->rooms->producers, &producer->by_id, producer->id);
    TAILQ_INSERT_TAIL(&transport->producers, producer, link);
    owner->producer_count++;
    owner->room->producer_count++;
    owner->app_data_bytes += producer->app_data_bytes;
    owner->room->app_data_bytes += producer->app_data_bytes;
    audio_levels_follow(producer);
    update_flags(owner, producer->ortc.row.kind);
}

void producer_free(struct producer *producer)
{
    if (producer == NULL)
        return;
    ortc_producer_free(&producer->ortc);
    free(producer->app_data);
    free(producer);
}

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
                              producer->transport->row.worker))
        return false;
    producer->ortc.row.paused = paused;
    audio_levels_follow(producer);
    update_flags(owner, row.kind);
    announce_to_room(room, owner, paused ? NOTICE_producer_paused : NOTICE_producer_resumed,
                     json_texts("producerId", producer->id, "userId", owner->user_id, "kind",
                                kind_text(row.kind), NULL));
    TAILQ_FOREACH(consumer, &producer->consumers, of_producer)
    announce_to_participant(consumer->transport->owner,
                            paused ? NOTICE_consumer_paused : NOTICE_consumer_resumed,
                            json_texts("consumerId", consumer->id, NULL));
    return true;
}

void producers_pause_audio(struct participant *owner)
{
    struct transport *transport;
    struct producer *producer;

    TAILQ_FOREACH(transport, &owner->transports, link)
    {
        TAILQ_FOREACH(producer, &transport->producers, link)
        {
            if (producer->ortc.row.kind == MEDIA_KIND_audio)
                producer_set_paused(producer, true);
        }
    }
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
    quality_end_producer(producer);
    dataplane_row_remove(rooms->dataplane, TABLE_producer, producer->handle, transport->row.worker);
    audit_write(rooms->audit, AUDIT_producer_closed, owner->user_id, owner->room->id, owner->ip,
                "{\"producerId\":\"%s\",\"kind\":\"%s\"}", producer->id, kind_text(kind));
    index_remove(&rooms->producers, &producer->by_id);
    TAILQ_REMOVE(&transport->producers, producer, link);
    owner->producer_count--;
    owner->room->producer_count--;
    quota_give_back(&owner->owner, QUOTA_producers, 1);
    owner->app_data_bytes -= producer->app_data_bytes;
    owner->room->app_data_bytes -= producer->app_data_bytes;
    producer_free(producer);
    update_flags(owner, kind);
}
