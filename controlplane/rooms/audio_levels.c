/* Audio levels: media:activeSpeaker and media:audioLevels.
 *
 * Clients write the loudness of their audio into each packet (RFC 6464). The data plane publishes
 * it as one level per interval of 20 ms; here speaker.c gets every interval of every producer in
 * order.
 *
 *   rows of the table audio_level ─► intervals of each producer ─┬─► speaker.c ─► dominant speaker
 *                                                                └─► power ─────► volumes
 *
 * Cost: about 1.5 µs per second for a silent producer and 6.5 µs for one that speaks. */
#include "audio_levels.h"

#include <math.h>
#include <stdlib.h>

#include "announce.h"
#include "controlplane/web/json.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "room.h"
#include "room_json.h"
#include "src/clock.h"
#include "transport.h"

/* An interval is heard 180 ms after it began. By then it is published: publishing happens every 5
 * intervals, a packet lasts up to 3, and jitter takes the rest. Nobody notices this delay. */
#define DELAY_INTERVALS 9
#define CATCH_UP_INTERVALS_MAX 64 /* after the loop hung, older intervals are skipped */
#define TICK_EVERY_MS 100
#define VOLUMES_MS 500
#define VOLUMES_MAX 32      /* only the loudest: more than a page can show */
#define VOLUME_SILENCE -127 /* dBov */

_Static_assert(SPEAKER_FRAME_MS * 1000000u == AUDIO_INTERVAL_NS,
               "speaker.c takes one interval at a time");
_Static_assert(AUDIO_LEVEL_INTERVALS > DELAY_INTERVALS + 2 * TICK_EVERY_MS / SPEAKER_FRAME_MS,
               "the row must still hold an interval when it is heard");

static uint32_t current_interval(void)
{
    return (uint32_t)(clock_monotonic_ns() / AUDIO_INTERVAL_NS);
}

/* ---- which producers are measured ---- */

static bool sends_level(const struct producer_row *row)
{
    return row->kind == MEDIA_KIND_audio && row->extension_sent_id[ORTC_AUDIO_LEVEL_ID] != 0;
}

static void tick(uv_timer_t *timer);

void audio_levels_forget(struct producer *producer)
{
    struct room *room = producer->transport->owner->room;

    if (!producer->is_measured)
        return;
    producer->is_measured = false;
    if (room->dominant == producer)
        room->dominant = NULL;
    TAILQ_REMOVE(&room->measured, producer, measured_link);
}

void audio_levels_follow(struct producer *producer)
{
    struct room *room = producer->transport->owner->room;
    uv_timer_t *timer = &room->rooms->audio_levels_tick;

    audio_levels_forget(producer);
    if (producer->ortc.row.paused || !sends_level(&producer->ortc.row))
        return;
    producer->is_measured = true;
    producer->next_interval = current_interval();
    producer->power = 0;
    producer->intervals = 0;
    speaker_resume(&producer->speaker);
    if (!uv_is_active((uv_handle_t *)timer) && !room->rooms->closing)
        uv_timer_start(timer, tick, TICK_EVERY_MS, TICK_EVERY_MS);
    if (!room->is_measured)
        TAILQ_INSERT_TAIL(&room->rooms->measured, room, measured_link);
    room->is_measured = true;
    TAILQ_INSERT_TAIL(&room->measured, producer, measured_link);
}

void audio_levels_forget_room(struct room *room)
{
    if (room->is_measured)
        TAILQ_REMOVE(&room->rooms->measured, room, measured_link);
    room->is_measured = false;
}

/* ---- the dominant speaker ---- */

/* The power of a level, as a fraction of full scale. */
static double power_of(uint8_t level)
{
    static double powers[128];

    if (powers[0] == 0) {
        for (int i = 0; i < 127; i++)
            powers[i] = pow(10, -i / 10.0);
    }
    return powers[level & 0x7f]; /* 127 is digital silence */
}

/* Hears all intervals up to `last`, which is included. */
static void listen_to(struct dataplane *dataplane, struct producer *p, uint32_t last)
{
    struct audio_level_row row;
    bool known = dataplane_row_read(dataplane, TABLE_audio_level, p->handle, &row);

    if ((int32_t)(last - p->next_interval) > CATCH_UP_INTERVALS_MAX)
        p->next_interval = last - CATCH_UP_INTERVALS_MAX;
    for (; (int32_t)(last - p->next_interval) >= 0; p->next_interval++) {
        uint8_t level = AUDIO_LEVEL_NONE;

        if (known && row.newest_interval - p->next_interval < AUDIO_LEVEL_INTERVALS)
            level = row.level[p->next_interval % AUDIO_LEVEL_INTERVALS];
        p->power += power_of(speaker_hear(&p->speaker, level));
        p->intervals++;
    }
}

static void find_dominant(struct room *room)
{
    const struct speaker *dominant = room->dominant != NULL ? &room->dominant->speaker : NULL;
    struct producer *p, *found = NULL;
    double best = 0;

    TAILQ_FOREACH(p, &room->measured, measured_link)
    {
        double lead = p != room->dominant ? speaker_lead(&p->speaker, dominant) : 0;

        if (lead > best) {
            best = lead;
            found = p;
        }
    }
    if (found == NULL)
        return;
    room->dominant = found;
    announce_to_room(room, NULL, NOTICE_active_speaker, active_speaker_json(room));
}

cJSON *active_speaker_json(const struct room *room)
{
    return json_texts("roomId", room->id, "userId", room->dominant->transport->owner->user_id,
                      "producerId", room->dominant->id, NULL);
}

/* ---- volumes ---- */

struct volume {
    const struct producer *producer;
    int db;
};

static int compare_loudest_first(const void *a, const void *b)
{
    return ((const struct volume *)b)->db - ((const struct volume *)a)->db;
}

/* The mean volume since the last call, in dBov. */
static int volume_take(struct producer *p)
{
    double mean = p->intervals > 0 ? p->power / p->intervals : 0;
    double db = mean > 0 ? round(10 * log10(mean)) : VOLUME_SILENCE;

    p->power = 0;
    p->intervals = 0;
    return db < VOLUME_SILENCE ? VOLUME_SILENCE : db > 0 ? 0 : (int)db;
}

/* Fills in the loudest producers of the room, loudest first, and returns how many. */
static size_t volumes_take(struct room *room, struct volume loudest[VOLUMES_MAX])
{
    struct producer *p;
    size_t count = 0;

    TAILQ_FOREACH(p, &room->measured, measured_link)
    {
        struct volume volume = {p, volume_take(p)};

        if (volume.db == VOLUME_SILENCE)
            continue;
        if (count < VOLUMES_MAX)
            loudest[count++] = volume;
        else if (volume.db > loudest[VOLUMES_MAX - 1].db)
            loudest[VOLUMES_MAX - 1] = volume;
        else
            continue;
        if (count == VOLUMES_MAX)
            qsort(loudest, count, sizeof(loudest[0]), compare_loudest_first);
    }
    qsort(loudest, count, sizeof(loudest[0]), compare_loudest_first);
    return count;
}

/* When the room falls silent, clients get one empty list, and
 * then nothing until somebody is loud. */
static void announce_volumes(struct room *room)
{
    struct volume loudest[VOLUMES_MAX];
    size_t count = volumes_take(room, loudest), i;
    cJSON *value, *list;

    if (count == 0 && !room->volumes_were_loud)
        return;
    room->volumes_were_loud = count > 0;
    value = json_texts("roomId", room->id, NULL);
    list = cJSON_AddArrayToObject(value, "volumes");
    for (i = 0; i < count; i++) {
        const struct producer *p = loudest[i].producer;
        cJSON *item = json_texts("userId", p->transport->owner->user_id, "producerId", p->id, NULL);

        cJSON_AddNumberToObject(item, "volume", loudest[i].db);
        json_push(list, item);
    }
    announce_to_level_listeners(room, NOTICE_audio_levels, value);
}

/* ---- the timer ---- */

static void room_tick(struct room *room, uint32_t now)
{
    uint64_t now_ms = uv_now(room->rooms->loop);
    struct producer *p;

    TAILQ_FOREACH(p, &room->measured, measured_link)
    listen_to(room->rooms->dataplane, p, now - DELAY_INTERVALS);
    find_dominant(room);
    if (now_ms - room->volumes_sent_ms < VOLUMES_MS)
        return;
    room->volumes_sent_ms = now_ms;
    announce_volumes(room);
    /* A room without producers stays in the list until clients know that it is silent. */
    if (TAILQ_EMPTY(&room->measured))
        audio_levels_forget_room(room);
}

/* The timer runs only while a room is measured, so that an idle process does not wake up. */
static void tick(uv_timer_t *timer)
{
    struct rooms *rooms = timer->data;
    struct room *room, *next;
    uint32_t now = current_interval();

    for (room = TAILQ_FIRST(&rooms->measured); room != NULL; room = next) {
        next = TAILQ_NEXT(room, measured_link);
        room_tick(room, now);
    }
    if (TAILQ_EMPTY(&rooms->measured))
        uv_timer_stop(timer);
}
