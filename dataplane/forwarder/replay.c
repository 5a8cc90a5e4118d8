/* Instant join. */
#include "replay.h"

#include <string.h>

#include "consumer.h"
#include "dataplane/engines/quality/history.h"
#include "egress.h"
#include "fanout.h"
#include "memory.h"
#include "packet.h"
#include "producer.h"
#include "repair_out.h"
#include "turn.h"

#define OVERTAKEN_MAX 64 /* how far behind the first packet of a key frame those may be */

bool replays_open(struct replays *rs)
{
    rs->all = memory_map(sizeof(*rs->all) * REPLAYS_MAX, false);
    return rs->all;
}

void replays_close(struct replays *rs)
{
    memory_unmap(rs->all, sizeof(*rs->all) * REPLAYS_MAX);
}

static struct replay *take(struct replays *rs)
{
    struct replay *replay = rs->free;

    if (replay)
        rs->free = replay->next_free;
    else if (rs->touched < REPLAYS_MAX)
        replay = &rs->all[rs->touched++];
    return replay;
}

static void give(struct replays *rs, struct replay *replay)
{
    timer_cancel(&replay->timer);
    replay->consumer = NULL;
    replay->next_free = rs->free;
    rs->free = replay;
}

/* ---- stored packets ---- */

static bool read(const struct replays *rs, const struct consumer *c, uint64_t index,
                 struct history_packet *stored)
{
    const struct producer *p = c->producer;
    const struct history *history = repair_history(rs->repair_out, p);

    return history && history_read(history, producer_stream(p, c->target), p->owner, index, stored);
}

/* Makes a packet of the pool from a stored one, as ingress would. False: it is malformed. */
static bool restore(struct replay *replay, const struct producer *p, struct packet *packet,
                    const struct history_packet *stored)
{
    const struct history_head *head = &stored->head;
    struct rtp_element descriptor;

    memcpy(packet->room, stored->data, head->bytes);
    if (head->codec >= p->codec_count || !rtp_parse(packet->room, head->bytes, &packet->view))
        return false;
    packet->index = head->index;
    packet->arrived_ns = head->arrived_ns;
    packet->payload_at = head->payload_at;
    packet->payload_bytes = head->bytes - head->payload_at;
    packet->bytes = head->bytes;
    packet->encoding = replay->encoding;
    packet->codec = head->codec;
    packet->is_key_frame = head->is_key_frame;
    packet->padding_bytes = 0;
    packet->owner = head->owner;
    packet->source = head->source;
    if (!producer_is_layered(p))
        return true;
    descriptor = rtp_element(&packet->view, p->sent_id[EXTENSION_dependency_descriptor]);
    layer_read(&replay->layers, p->codec[head->codec], packet->room + head->payload_at,
               packet->payload_bytes, packet->view.marker, packet->room + descriptor.offset,
               descriptor.bytes, &packet->layer);
    if (packet->layer.has_targets)
        layer_targets_copy(&packet->targets, &replay->layers);
    return true;
}

static uint64_t newest_of(const struct replays *rs, const struct consumer *c)
{
    const struct producer *p = c->producer;
    const struct history *history = repair_history(rs->repair_out, p);
    uint64_t key_frame, newest;

    return history && history_last_key_frame(history, producer_stream(p, c->target), &key_frame,
                                             &newest)
               ? newest
               : 0;
}

/* ---- one after the other ---- */

static bool is_over(const struct replay *replay, const struct consumer *c)
{
    return c->paused || !c->egress->open || !c->synchronised || c->encoding != replay->encoding ||
           c->source != replay->source || c->producer->paused || c->producer->is_leaving;
}

/* From now on packets leave as they come. */
static void finish(struct replays *rs, struct replay *replay)
{
    struct consumer *c = replay->consumer;
    struct consumer_details *d = &rs->consumers->details[c->index];

    if (c->synchronised && c->floor_in == UINT64_MAX)
        c->floor_in = replay->next;
    if (d->live_from == UINT64_MAX)
        d->live_from = replay->next;
    d->replay = NULL;
    give(rs, replay);
}

void replay_stop(struct replays *rs, struct consumer *c)
{
    struct consumer_details *d = &rs->consumers->details[c->index];

    if (d->replay)
        finish(rs, d->replay);
}

void replay_on_timer(struct replays *rs, struct replay *replay)
{
    struct consumer *c = replay->consumer;
    uint64_t newest = newest_of(rs, c);
    struct packet *slice[REPLAY_SLICE];
    struct history_packet stored;
    unsigned count = 0;

    for (; count < REPLAY_SLICE && replay->next <= newest && !is_over(replay, c); replay->next++) {
        if (!read(rs, c, replay->next, &stored) || stored.head.source != replay->source)
            continue; /* it is missing, and keeps its number */
        slice[count] = pool_take(rs->pool);
        if (!slice[count])
            break;
        if (restore(replay, c->producer, slice[count], &stored))
            fan_out_stored(rs->fanout, c, slice[count]);
        count++;
    }
    fan_out_flush(rs->fanout);
    while (count > 0)
        pool_give(rs->pool, slice[--count]);
    if (replay->next > newest || is_over(replay, c))
        finish(rs, replay);
    else
        timer_set(rs->wheel, &replay->timer, rs->turn->now_ns + REPLAY_SLICE_NS);
}

static struct replay *begin(struct replays *rs, struct consumer *c, uint64_t first, uint8_t source)
{
    struct consumer_details *d = &rs->consumers->details[c->index];
    struct replay *replay = take(rs);

    if (!replay)
        return NULL;
    *replay = (struct replay){.timer = {.owner = replay, .kind = TIMER_REPLAY},
                              .consumer = c,
                              .first = first,
                              .next = first,
                              .encoding = c->target,
                              .source = source};
    d->replay = replay;
    return replay;
}

/* Has this consumer got packets of the same stream from this one on? Then numbers in the pictures would go
 * back. */
static bool goes_back(const struct replays *rs, const struct consumer *c,
                      const struct history_head *head)
{
    const struct selection *s = &rs->consumers->selections[c->index];
    uint64_t next = srtp_sent_next(&c->sent) - c->index_offset; /* in */

    if (c->is_layered)
        next = s->segment_count ? selection_seen(s)->packets.next : 0;
    return c->has_sent && head->source == c->source && c->encoding == c->target &&
           head->index < next;
}

/* Is this the beginning of a key frame that is worth being replayed? To somebody who sees another layer
 * only a very recent one is: what followed it has to pass his network once more. */
static bool is_fit(const struct replays *rs, const struct consumer *c,
                   const struct history_head *head, uint64_t newest)
{
    const struct producer *p = c->producer;
    const struct encoding *e = &p->encodings[c->target];
    uint64_t age_ns = c->synchronised ? REPLAY_AGE_SWITCH_NS : REPLAY_AGE_NS;

    return head->is_key_frame && head->source == e->source && e->started &&
           newest - head->index < REPLAY_PACKETS_MAX && !goes_back(rs, c, head) &&
           rs->turn->now_ns < head->arrived_ns + age_ns && head->codec < p->codec_count &&
           p->mapped_payload_type[head->codec] == c->header.payload_type;
}

bool replay_start(struct replays *rs, struct consumer *c)
{
    const struct producer *p = c->producer;
    const struct history *history = repair_history(rs->repair_out, p);
    struct history_packet stored;
    uint64_t first, newest;
    struct replay *replay;
    struct rtp_view view;
    struct packet *packet;

    replay_stop(rs, c);
    if (p->kind != MEDIA_KIND_video || p->paused || p->is_leaving || c->paused ||
        !c->egress->open || c->egress->is_limited || !history ||
        !history_last_key_frame(history, producer_stream(p, c->target), &first, &newest) ||
        !read(rs, c, newest, &stored) || !rtp_parse(stored.data, stored.head.bytes, &view) ||
        !read(rs, c, first, &stored) || !is_fit(rs, c, &stored.head, newest))
        return false;
    packet = pool_take(rs->pool);
    replay = packet ? begin(rs, c, first, stored.head.source) : NULL;
    if (replay && restore(replay, p, packet, &stored)) {
        fan_out_start(rs->fanout, c, packet, view.timestamp - packet->view.timestamp);
        rs->consumers->details[c->index].live_from = UINT64_MAX;
        rs->turn->counters[COUNTER_replays]++;
        replay->layers = (struct layer_source){0};
        replay_on_timer(rs, replay);
        pool_give(rs->pool, packet);
        return true;
    }
    if (replay)
        finish(rs, replay);
    if (packet)
        pool_give(rs->pool, packet);
    return false;
}

void replay_overtaken(struct replays *rs, struct consumer *c, const struct packet *first)
{
    struct replay scratch = {.encoding = first->encoding, .source = first->source};
    struct packet *packet = NULL;
    struct history_packet stored;

    for (uint64_t i = first->index + 1; i <= first->index + OVERTAKEN_MAX; i++) {
        if (!read(rs, c, i, &stored) || stored.head.source != first->source ||
            stored.head.arrived_ns >= first->arrived_ns)
            continue;
        packet = packet ? packet : pool_take(rs->pool);
        if (packet && restore(&scratch, c->producer, packet, &stored))
            fan_out_stored(rs->fanout, c, packet);
        fan_out_flush(rs->fanout);
    }
    if (packet)
        pool_give(rs->pool, packet);
}
