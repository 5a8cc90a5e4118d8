/* media:activeSpeaker and media:audioLevels: what clients say about their loudness, as the data plane
 * publishes it, by room.
 *
 *   audio_level rows ─► 20 ms frames of each producer, all at the same time ─► speaker.c
 *
 * A producer costs about 1.5 µs a second, 5 more while it is spoken into.
 * Frames are heard DELAY_SLOTS late: by then what came in them is published, and it is out of date
 * less than anybody notices. */
#include <math.h>
#include <stdlib.h>

#include "src/clock.h"
#include "state.h"

#define DELAY_SLOTS 9     /* publication every 5 slots, a packet's length, what jitter puts off */
#define CATCH_UP_SLOTS 64 /* behind by more (a loop that hung): older ones are not of interest */
#define TICK_EVERY_MS 100
#define VOLUMES_MS 500
#define VOLUMES_MAX 32      /* the loudest: what a page can show */
#define VOLUME_SILENCE -127 /* dBov */

_Static_assert(SPEAKER_FRAME_MS * 1000000u == AUDIO_INTERVAL_NS, "a frame is a slot");
_Static_assert(AUDIO_LEVEL_INTERVALS > DELAY_SLOTS + 2 * TICK_EVERY_MS / SPEAKER_FRAME_MS,
               "slots are gone before they are heard");

static uint32_t slot_now(void)
{
    return (uint32_t)(clock_monotonic_ns() / AUDIO_INTERVAL_NS);
}

/* ---- whom to listen to ---- */

static bool tells_level(const struct producer_row *row)
{
    uint32_t i;

    for (i = 0; i < 16; i++) {
        if (row->extension_router_id[i] == ORTC_AUDIO_LEVEL_ID)
            return row->kind == MEDIA_KIND_audio;
    }
    return false;
}

static void tick(uv_timer_t *timer);

void audio_levels_forget(struct producer *producer)
{
    struct room *room = producer->transport->owner->room;

    if (!producer->is_heard)
        return;
    producer->is_heard = false;
    if (room->dominant == producer)
        room->dominant = NULL;
    TAILQ_REMOVE(&room->heard, producer, heard_link);
}

void audio_levels_follow(struct producer *producer)
{
    struct room *room = producer->transport->owner->room;
    uv_timer_t *timer = &room->rooms->audio_levels_tick;

    audio_levels_forget(producer);
    if (producer->ortc.row.paused || !tells_level(&producer->ortc.row))
        return;
    producer->is_heard = true;
    producer->next_slot = slot_now();
    producer->power = 0;
    producer->frames = 0;
    speaker_resume(&producer->speaker);
    if (!uv_is_active((uv_handle_t *)timer) && !room->rooms->closing)
        uv_timer_start(timer, tick, TICK_EVERY_MS, TICK_EVERY_MS);
    if (!room->is_heard)
        TAILQ_INSERT_TAIL(&room->rooms->heard, room, heard_link);
    room->is_heard = true;
    TAILQ_INSERT_TAIL(&room->heard, producer, heard_link);
}

/* ---- listening ---- */

/* Of full scale, by RFC 6464 level. */
static double power_of(uint8_t level)
{
    static double powers[128];

    if (powers[0] == 0) {
        for (int i = 0; i < 127; i++)
            powers[i] = pow(10, -i / 10.0);
    }
    return powers[level & 0x7f]; /* 127 is digital silence */
}

static void listen_to(struct dataplane *dataplane, struct producer *p, uint32_t last_slot)
{
    struct audio_level_row row;
    bool known = dataplane_row_read(dataplane, TABLE_audio_level, p->handle, &row);

    if ((int32_t)(last_slot - p->next_slot) > CATCH_UP_SLOTS)
        p->next_slot = last_slot - CATCH_UP_SLOTS;
    for (; (int32_t)(last_slot - p->next_slot) >= 0; p->next_slot++) {
        uint8_t level = AUDIO_LEVEL_NONE;

        if (known && row.newest_interval - p->next_slot < AUDIO_LEVEL_INTERVALS)
            level = row.level[p->next_slot % AUDIO_LEVEL_INTERVALS];
        p->power += power_of(speaker_hear(&p->speaker, level));
        p->frames++;
    }
}

static void find_speaker(struct room *room)
{
    const struct speaker *had_it = room->dominant != NULL ? &room->dominant->speaker : NULL;
    struct producer *p, *found = NULL;
    double best = 0;

    TAILQ_FOREACH(p, &room->heard, heard_link)
    {
        double lead = p != room->dominant ? speaker_lead(&p->speaker, had_it) : 0;

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

static int louder_first(const void *a, const void *b)
{
    return ((const struct volume *)b)->db - ((const struct volume *)a)->db;
}

/* Of the frames since the last time; the sums start anew. */
static int volume_of(struct producer *p)
{
    double mean = p->frames > 0 ? p->power / p->frames : 0;
    double db = mean > 0 ? round(10 * log10(mean)) : VOLUME_SILENCE;

    p->power = 0;
    p->frames = 0;
    return db < VOLUME_SILENCE ? VOLUME_SILENCE : db > 0 ? 0 : (int)db;
}

/* The loudest of the room, loudest first; how many. */
static size_t volumes_take(struct room *room, struct volume loudest[VOLUMES_MAX])
{
    struct producer *p;
    size_t count = 0;

    TAILQ_FOREACH(p, &room->heard, heard_link)
    {
        struct volume volume = {p, volume_of(p)};

        if (volume.db == VOLUME_SILENCE)
            continue;
        if (count < VOLUMES_MAX)
            loudest[count++] = volume;
        else if (volume.db > loudest[VOLUMES_MAX - 1].db)
            loudest[VOLUMES_MAX - 1] = volume;
        else
            continue;
        if (count == VOLUMES_MAX)
            qsort(loudest, count, sizeof(loudest[0]), louder_first);
    }
    qsort(loudest, count, sizeof(loudest[0]), louder_first);
    return count;
}

/* An empty list once when it became quiet, then nothing while it is. */
static void announce_volumes(struct room *room)
{
    struct volume loudest[VOLUMES_MAX];
    size_t count = volumes_take(room, loudest), i;
    cJSON *value, *list;

    if (count == 0 && !room->levels_told)
        return;
    room->levels_told = count > 0;
    value = json_texts("roomId", room->id, NULL);
    list = cJSON_AddArrayToObject(value, "volumes");
    for (i = 0; i < count; i++) {
        const struct producer *p = loudest[i].producer;
        cJSON *item = json_texts("userId", p->transport->owner->user_id, "producerId", p->id, NULL);

        cJSON_AddNumberToObject(item, "volume", loudest[i].db);
        cJSON_AddItemToArray(list, item);
    }
    announce_to_listeners(room, NOTICE_audio_levels, value);
}

void audio_levels_forget_room(struct room *room)
{
    if (room->is_heard)
        TAILQ_REMOVE(&room->rooms->heard, room, heard_link);
    room->is_heard = false;
}

static void room_tick(struct room *room, uint32_t now)
{
    uint64_t now_ms = uv_now(room->rooms->loop);
    struct producer *p;

    TAILQ_FOREACH(p, &room->heard, heard_link)
    listen_to(room->rooms->dataplane, p, now - DELAY_SLOTS);
    find_speaker(room);
    if (now_ms - room->levels_ms < VOLUMES_MS)
        return;
    room->levels_ms = now_ms;
    announce_volumes(room);
    if (TAILQ_EMPTY(&room->heard)) /* and that it is quiet has been told */
        audio_levels_forget_room(room);
}

/* Runs while there is anybody to listen to: an idle installation does not wake for it. */
static void tick(uv_timer_t *timer)
{
    struct rooms *rooms = timer->data;
    struct room *room, *next;
    uint32_t now = slot_now();

    for (room = TAILQ_FIRST(&rooms->heard); room != NULL; room = next) {
        next = TAILQ_NEXT(room, heard_link);
        room_tick(room, now);
    }
    if (TAILQ_EMPTY(&rooms->heard))
        uv_timer_stop(timer);
}
