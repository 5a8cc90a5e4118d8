/* Fan-out: gather, emit, retire. */
#include "fanout.h"

#include "consumer.h"
#include "egress.h"
#include "handoff.h"
#include "key_frames.h"
#include "layers.h"
#include "producer.h"
#include "proofs.h"
#include "repair_out.h"
#include "replay.h"
#include "resume.h"
#include "src/clock.h"
#include "transmit.h"
#include "transport.h"

/* What a send, a packet in it, and 1024 bytes of a packet cost, in about nanoseconds. */
#define COST_SEND 1200
#define COST_PACKET 150
#define COST_1024_BYTES 360
#define ROUND 64 /* consumers of one producer that are served before the next producer's */

/* From this packet on, the consumer's indexes, sequence numbers and time stamps continue without a
 * gap. */
static void synchronise(struct fanout *f, struct consumer *c, const struct packet *packet,
                        uint32_t clock_rate)
{
    struct consumer_details *d = &f->consumers->details[c->index];

    if (c->has_sent)
        repair_out_remember(f->repair_out, c);
    if (!c->has_sent) {
        /* `sent` was set when the consumer was made, see first_index in consumer.c. */
        c->timestamp_offset = 0;
    } else if (c->source != packet->source) {
        int32_t gap = layers_ticks_since(c, packet, clock_rate);

        c->timestamp_offset =
            c->last_timestamp + (uint32_t)(gap > 0 ? gap : 1) - packet->view.timestamp;
    }
    c->encoding = packet->encoding;
    c->source = packet->source;
    c->index_offset = srtp_sent_next(&c->sent) - packet->index;
    c->floor_in = packet->index;
    c->synchronised = true;
    d->first_in = packet->index;
    d->squeeze.is_on = false;
    d->live_from = 0;
}

/* May this packet go to this consumer now? A consumer follows one stream, because the sequence
 * numbers and time stamps of another one have nothing to do with those of the first. Video starts,
 * resumes and changes its stream only at a key frame of the encoding that should be forwarded. */
static bool selects(struct fanout *f, struct consumer *c, const struct producer *p,
                    const struct packet *packet)
{
    if (p->mapped_payload_type[packet->codec] != c->header.payload_type)
        return false;
    if (packet->encoding == c->target && (!c->synchronised || c->source != packet->source)) {
        if (p->kind == MEDIA_KIND_video && !packet->is_key_frame)
            return false;
        synchronise(f, c, packet, p->clock_rate[packet->codec]);
        if (p->kind == MEDIA_KIND_video)
            replay_overtaken(f->replays, c, packet);
    }
    return c->synchronised && packet->source == c->source && packet->index >= c->floor_in;
}

/* The longest that padding leaves, with the longest header in place of the shortest, and a tag. */
_Static_assert(DATAGRAM_BYTES_MAX - RTP_FIXED_BYTES + RTP_HEADER_BYTES_MAX + 16 <=
                   DATAGRAM_SENT_BYTES_MAX,
               "a packet may outgrow what can be sent");

/* How a packet leaves for a consumer. Only layered ones may change more than index and time stamp. */
struct departure {
    struct selection_out how;
    bool is_empty; /* without payload */
};

/* What a consumer got of one job, or a subscriber in one turn. */
struct emitted {
    uint32_t packets, bytes, payload_bytes;
};

/* A copy that is not sent: the packet has this verdict unless somebody else gets it. */
static bool refuse(struct packet *packet, enum verdict verdict)
{
    if (packet->verdict != VERDICT_forwarded)
        packet->verdict = (uint8_t)verdict;
    return false;
}

/* An index that is not simply the next one. */
static __attribute__((noinline)) bool take_late(struct fanout *f, struct consumer *c,
                                                uint64_t index, uint32_t timestamp)
{
    if (!srtp_sent_take_late(&c->sent, &f->consumers->skipped[c->index], index)) {
        f->turn->counters[COUNTER_index_refused]++;
        return false;
    }
    if (srtp_sent_next(&c->sent) == index + 1)
        c->last_timestamp = timestamp;
    return true;
}

static __attribute__((noinline)) void reserve(struct fanout *f, struct consumer *c, uint64_t index)
{
    const struct consumer_details *d = &f->consumers->details[c->index];
    const struct resume_consumer name = {
        .index = c->index,
        .generation = d->generation,
        .ssrc = c->ssrc,
        .transport = handle_make(d->transport->index, d->transport->generation)};

    if (c->index_reserved == 0)
        resume_take_ssrc(f->resume, name.transport, c->ssrc);
    c->index_reserved = resume_reserve_rtp(f->resume, &name, index);
}

/* Another marker, no payload, or a payload with other numbers. */
static const uint8_t *change(uint8_t *slot, uint16_t header_bytes, const struct packet *packet,
                             const struct departure *d)
{
    const struct layer *layer = &packet->layer;
    uint8_t *payload = slot + header_bytes;

    slot[1] = (uint8_t)((slot[1] & 0x7f) | (d->how.marker ? 0x80 : 0));
    if (d->is_empty)
        slot[0] &= (uint8_t)~0x20; /* no padding */
    if (d->is_empty || !d->how.rewrites_picture ||
        (d->how.picture_id == layer->picture_id && d->how.tl0 == layer->tl0))
        return packet->data + packet->payload_at;
    memcpy(payload, packet->data + packet->payload_at, packet->payload_bytes);
    layer_vp8_rewrite(payload, layer, d->how.picture_id, d->how.tl0);
    return payload;
}

/* Sends one packet to one consumer. This is the last defence against threat D13: whatever arrives,
 * it never sends two packets with the same SRTP index. */
static inline __attribute__((always_inline)) bool
forward(struct fanout *f, struct consumer *c, const struct producer *p, struct packet *packet,
        const struct departure *d, bool is_layered, struct emitted *emitted)
{
    struct egress *to = c->egress;
    const struct rtp_template *template = packet_header_for(packet, p->sent_id, &c->header);
    uint16_t payload_bytes = is_layered && d->is_empty ? 0 : packet->payload_bytes;
    uint32_t bytes = template->size + payload_bytes + (uint32_t)to->tag_bytes;
    const uint8_t *payload = packet->data + packet->payload_at;
    uint64_t index = d->how.index;
    uint32_t timestamp = d->how.timestamp;
    uint8_t *slot;

    if (__builtin_expect(to->is_limited, 0) && !proofs_may_send_rtp(f->proofs, to, bytes))
        return refuse(packet, VERDICT_drop_path_unproven);
    transmit_make_room(f->transmit, 1);
    if (srtp_sent_take_next(&c->sent, index))
        c->last_timestamp = timestamp;
    else if (!take_late(f, c, index, timestamp))
        return refuse(packet, VERDICT_drop_index_used);
    slot = transmit_slot(f->transmit, &to->path, bytes);
    if (!slot)
        return refuse(packet, VERDICT_drop_send_full);
    if (index >= c->index_reserved)
        reserve(f, c, index);
    rtp_template_copy(slot, bytes, template,
                      &(struct rtp_patch){.ssrc = c->ssrc,
                                          .timestamp = timestamp,
                                          .sequence = (uint16_t)index,
                                          .mid = c->mid,
                                          .abs_send_time = f->turn->abs_send_time});
    if (is_layered)
        payload = change(slot, template->size, packet, d);
    *transmit_add_job(f->transmit) = (struct srtp_protect_job){
        .key = &to->key,
        .out = slot,
        .payload = payload,
        .index = index,
        .ssrc = c->ssrc,
        .header_bytes = template->size,
        .payload_bytes = payload_bytes,
    };
    c->has_sent = true;
    emitted->packets++;
    emitted->bytes += bytes;
    if (!is_layered || payload_bytes > 0)
        emitted->payload_bytes += packet->payload_bytes - packet->padding_bytes;
    return true;
}

static inline void count_emitted(const struct fanout *f, struct consumer *c,
                                 const struct emitted *emitted)
{
    c->last_sent_ns = f->turn->now_ns;
    c->packets += emitted->packets;
    c->bytes += emitted->bytes;
    c->payload_bytes += emitted->payload_bytes;
}

static inline __attribute__((always_inline)) void
forward_all(struct fanout *f, struct consumer *c, const struct producer *p, struct emitted *emitted)
{
    for (struct packet *packet = p->job.first; packet; packet = packet->next)
        if (selects(f, c, p, packet)) {
            const struct departure d = {
                .how = {.index = packet->index + c->index_offset,
                        .timestamp = packet->view.timestamp + c->timestamp_offset}};

            if (forward(f, c, p, packet, &d, false, emitted))
                packet->verdict = VERDICT_forwarded;
        }
}

static __attribute__((noinline)) void forward_layers(struct fanout *f, struct consumer *c,
                                                     const struct producer *p,
                                                     struct emitted *emitted)
{
    struct selection *s = &f->consumers->selections[c->index];
    const struct consumer_details *details = &f->consumers->details[c->index];

    s->is_synchronised = c->synchronised;
    for (struct packet *packet = p->job.first; packet; packet = packet->next) {
        const struct selection_packet in = layers_packet(p, packet);
        struct departure d = {0};

        if (p->mapped_payload_type[packet->codec] != c->header.payload_type)
            continue;
        if (selection_is_start(s, &in)) {
            if (emitted->packets) /* in this turn: the new stream goes on from now */
                c->last_sent_ns = f->turn->now_ns;
            layers_start(f->consumers, c, packet);
            replay_overtaken(f->replays, c, packet);
        }
        if (packet->source == c->source && packet->index < details->live_from)
            continue;
        switch (selection_add(s, &in, &d.how)) {
        case SELECTION_DROP:
            continue;
        case SELECTION_EMPTY:
            d.is_empty = true;
            break;
        case SELECTION_FORWARD:
            break;
        }
        if (forward(f, c, p, packet, &d, true, emitted))
            packet->verdict = VERDICT_forwarded;
    }
    layers_note(f->consumers, c);
}

/* ---- packets that are replayed ---- */

void fan_out_start(struct fanout *f, struct consumer *c, struct packet *first, uint32_t span)
{
    struct consumer_details *d = &f->consumers->details[c->index];
    struct selection *s = &f->consumers->selections[c->index];
    const uint32_t last = c->last_timestamp, rate = c->producer->clock_rate[first->codec];
    const bool is_other = c->has_sent && c->source != first->source;
    const uint32_t gap = (uint32_t)layers_ticks_since(c, first, rate);
    struct squeeze *squeeze = &d->squeeze;
    uint32_t floor;

    if (c->is_layered) {
        layers_start(f->consumers, c, first);
        squeeze = &selection_present(s)->squeeze;
    } else {
        synchronise(f, c, first, rate);
        if (is_other) /* it may have arrived before the last one left */
            c->timestamp_offset = last + gap - first->view.timestamp;
        c->floor_in = UINT64_MAX; /* nothing leaves but what is replayed */
    }
    /* The last one is on the clock, and those before it stand close to it. */
    floor = first->view.timestamp + c->timestamp_offset + span - squeezed_span(span);
    if (c->has_sent && (int32_t)(floor - last) < 0)
        floor = last;
    *squeeze = (struct squeeze){true, first->view.timestamp, floor};
}

void fan_out_stored(struct fanout *f, struct consumer *c, struct packet *packet)
{
    const struct producer *p = c->producer;
    const struct selection_packet in = layers_packet(p, packet);
    struct selection *s = &f->consumers->selections[c->index];
    struct emitted emitted = {0};
    struct departure d = {0};

    packet_headers_clear(packet);
    packet->verdict = VERDICT_forwarded; /* it was counted when it came */
    if (!c->is_layered) {
        d.how.index = packet->index + c->index_offset;
        d.how.timestamp = squeeze(&f->consumers->details[c->index].squeeze, packet->view.timestamp,
                                  packet->view.timestamp + c->timestamp_offset);
        forward(f, c, p, packet, &d, false, &emitted);
    } else {
        switch (selection_add(s, &in, &d.how)) {
        case SELECTION_DROP:
            break;
        case SELECTION_EMPTY:
            d.is_empty = true;
            forward(f, c, p, packet, &d, true, &emitted);
            break;
        case SELECTION_FORWARD:
            forward(f, c, p, packet, &d, true, &emitted);
            break;
        }
    }
    if (emitted.packets)
        count_emitted(f, c, &emitted);
    c->egress->packets += emitted.packets;
    c->egress->bytes += emitted.bytes;
    c->egress->dirty = true;
    f->turn->counters[COUNTER_rtp_sent] += emitted.packets;
    f->turn->counters[COUNTER_rtp_sent_bytes] += emitted.bytes;
}

void fan_out_flush(struct fanout *f)
{
    transmit_flush(f->transmit);
}

/* ---- queues of producers ---- */

static void list_append(struct producer_list *list, struct producer *p)
{
    p->next_listed = NULL;
    if (list->last)
        list->last->next_listed = p;
    else
        list->first = p;
    list->last = p;
}

static struct producer *list_take(struct producer_list *list)
{
    struct producer *p = list->first;

    list->first = p->next_listed;
    if (!list->first)
        list->last = NULL;
    return p;
}

static void list_remove(struct producer_list *list, const struct producer *p)
{
    struct producer *before = NULL;

    for (struct producer *i = list->first; i; before = i, i = i->next_listed) {
        if (i != p)
            continue;
        if (before)
            before->next_listed = p->next_listed;
        else
            list->first = p->next_listed;
        if (list->last == p)
            list->last = before;
        return;
    }
}

bool fan_out_queue(struct fanout *f, struct producer *p, struct packet *packet)
{
    const struct packet *oldest = p->job.first ? p->job.first : p->waiting.first;

    /* arrived_ns may be later than now_ns: another worker received the packet in a turn that began
     * after ours. */
    if (oldest && f->turn->now_ns > oldest->arrived_ns + BACKLOG_NS_MAX)
        return false;
    packet_queue_append(&p->waiting, packet);
    if (!p->is_listed)
        list_append(&f->new, p);
    p->is_listed = true;
    return true;
}

static void retire(struct fanout *f, struct packet_queue *queue)
{
    struct packet *packet = queue->first, *next;

    for (; packet; packet = next) {
        next = packet->next;
        packet_release(f->lanes, packet);
    }
    *queue = (struct packet_queue){0};
}

void fan_out_forget(struct fanout *f, struct producer *p)
{
    retire(f, &p->job);
    retire(f, &p->waiting);
    if (p->is_listed) {
        list_remove(&f->new, p);
        list_remove(&f->begun[p->kind], p);
    }
    p->is_listed = false;
}

/* ---- gather: who is due ---- */

/* Notes that this consumer gets something in this turn. True when it is the first of its
 * subscriber. */
static bool due_add(struct fanout *f, struct consumer *c)
{
    struct egress *to = c->egress;
    bool first = !to->due_last;

    c->next_due = NULL;
    if (first) {
        to->due_first = c;
        to->next_touched = NULL;
        if (f->touched_last)
            f->touched_last->next_touched = to;
        else
            f->touched_first = to;
        f->touched_last = to;
    } else {
        to->due_last->next_due = c;
    }
    to->due_last = c;
    return first;
}

static void job_begin(struct producer *p)
{
    p->job = p->waiting;
    p->waiting = (struct packet_queue){0};
    p->cursor = p->consumers;
    p->job_cost = 0;
    for (const struct packet *packet = p->job.first; packet; packet = packet->next)
        p->job_cost += COST_PACKET + packet->payload_bytes * COST_1024_BYTES / 1024;
}

/* Marks the next consumers of p's job as due, at most ROUND of them; returns what they cost. */
static uint32_t job_round(struct fanout *f, struct producer *p, uint32_t budget)
{
    uint32_t cost = 0, consumers = 0;

    while (p->cursor && cost < budget && consumers < ROUND) {
        struct consumer *c = p->cursor;

        p->cursor = c->next_of_producer;
        __builtin_prefetch(p->cursor);
        if (c->paused || !c->egress->open)
            continue;
        cost += p->job_cost + (due_add(f, c) ? COST_SEND : 0);
        consumers++;
    }
    return cost;
}

/* Serves the producers of `list` in rounds, within the budget; returns what is left of it.
 * Producers whose job is complete go to `done`. The others stay in `list`, the next one to serve
 * first. */
static uint32_t gather(struct fanout *f, struct producer_list *list, uint32_t budget,
                       struct producer_list *done)
{
    while (list->first && budget > 0) {
        struct producer *p = list_take(list);
        uint32_t cost;

        if (!p->job.first)
            job_begin(p);
        cost = job_round(f, p, budget);
        budget -= cost < budget ? cost : budget;
        list_append(p->cursor ? list : done, p);
    }
    return budget;
}

/* Many audio producers of a room have one small packet each, and a send costs several times as much
 * as such a packet. So audio of large rooms goes in sweeps: packets that arrive while a sweep is
 * under way wait for the next one. There they lie side by side and leave in one send for each
 * subscriber. */
static bool waits_for_sweep(const struct fanout *f, const struct producer *p)
{
    return p->kind == MEDIA_KIND_audio && f->begun[MEDIA_KIND_audio].first &&
           p->consumer_count > ROUND;
}

static uint32_t gather_new(struct fanout *f, uint32_t budget, struct producer_list *done)
{
    struct producer_list all = f->new, ready = {0};

    f->new = (struct producer_list){0};
    while (all.first) {
        struct producer *p = list_take(&all);

        list_append(waits_for_sweep(f, p) ? &f->new : &ready, p);
    }
    budget = gather(f, &ready, budget, done);
    while (ready.first) {
        struct producer *p = list_take(&ready);

        list_append(p->job.first ? &f->begun[p->kind] : &f->new, p);
    }
    return budget;
}

/* ---- emit: one subscriber after the other ---- */

static void emit_consumer(struct fanout *f, struct consumer *c, struct emitted *subscriber)
{
    struct producer *p = c->producer;
    struct emitted emitted = {0};

    transmit_make_room(f->transmit,
                       p->job.count); /* else a flush would cut the run in the middle */
    if (__builtin_expect(c->is_layered, 0))
        forward_layers(f, c, p, &emitted);
    else
        forward_all(f, c, p, &emitted);
    if (emitted.packets) {
        count_emitted(f, c, &emitted);
        subscriber->packets += emitted.packets;
        subscriber->bytes += emitted.bytes;
    }
    if (p->kind == MEDIA_KIND_video &&
        (c->is_layered ? layers_wait_for_key_frame(f->consumers, c) : !c->synchronised) &&
        !c->egress->is_limited) /* else it asks as soon as its path is proven */
        key_frame_request(f->key_frames, p, c->target);
}

static void emit(struct fanout *f)
{
    struct egress *to = f->touched_first;

    f->touched_first = NULL;
    f->touched_last = NULL;
    for (; to; to = to->next_touched) {
        struct consumer *c = to->due_first;
        struct emitted emitted = {0};

        to->due_first = NULL;
        to->due_last = NULL;
        to->dirty = true;
        for (; c; c = c->next_due)
            emit_consumer(f, c, &emitted);
        to->packets += emitted.packets;
        to->bytes += emitted.bytes;
        f->turn->counters[COUNTER_rtp_sent] += emitted.packets;
        f->turn->counters[COUNTER_rtp_sent_bytes] += emitted.bytes;
    }
    transmit_flush(f->transmit);
}

void fan_out(struct fanout *f)
{
    struct producer_list done = {0};
    uint32_t left;

    if (!fan_out_has_work(f))
        return;
    left = gather_new(f, FAN_OUT_NEW_NS, &done);
    left = gather(f, &f->begun[MEDIA_KIND_audio], left + FAN_OUT_BEGUN_NS / 2, &done);
    gather(f, &f->begun[MEDIA_KIND_video], left + FAN_OUT_BEGUN_NS / 2, &done);
    emit(f);
    while (done.first) {
        struct producer *p = list_take(&done);

        retire(f, &p->job);
        p->is_listed = p->waiting.first;
        if (p->is_listed)
            list_append(p->kind == MEDIA_KIND_audio ? &f->new : &f->begun[p->kind], p);
    }
}
