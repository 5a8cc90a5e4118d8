/* Fan-out: every packet to every consumer of its producer, subscriber by subscriber, so that what
 * goes to one of them lies side by side for segmentation and the cipher.
 *
 *   queue of a producer ─► job: its packets × its consumers, served from `cursor` on
 *     fan_out, each turn:  gather   which consumers of which jobs are due, within the turn's budget
 *                          emit     subscriber by subscriber: select, rewrite, protect, send
 *                          retire   the packets of jobs that are done
 *
 * A room larger than a turn's budget goes on in the next turn, behind all producers that have received
 * something meanwhile: its size costs itself, not its neighbours on this worker. */
#include <string.h>

#include "worker.h"

#include "src/clock.h"

#define SRTP_INDEX_END (1ull << 48)
/* What sending costs, in units that are about nanoseconds: a send, and in it a packet and its bytes. */
#define COST_SEND 1200
#define COST_PACKET 150
#define COST_1024_BYTES 360
#define ROUND 64 /* consumers of one producer, before it is the next one's turn */
#define ENCODING_ALIVE_NS (1500 * NS_PER_MS) /* silence after which an encoding is not forwarded */

/* Sequence numbers, indexes and time stamps that this consumer gets next follow what it had. */
static void synchronise(struct consumer *c, const struct packet *packet, uint64_t now_ns,
                        uint32_t clock_rate)
{
    if (!c->has_sent) {
        /* highest_out was set when the consumer was made: a random start, or behind the reserved
         * range of a forwarder that died. */
        c->timestamp_offset = 0;
    } else {
        uint64_t gap_ns = now_ns - c->last_sent_ns;
        uint32_t gap = (uint32_t)((__uint128_t)gap_ns * clock_rate / NS_PER_S);

        if (c->encoding != packet->encoding)
            c->timestamp_offset = c->last_timestamp + (gap ? gap : 1) - packet->view.timestamp;
    }
    c->encoding = packet->encoding;
    c->index_offset = c->highest_out + 1 - packet->index;
    c->floor_in = packet->index;
    c->synchronised = true;
}

/* May this packet go to this consumer now? Video starts, resumes and changes its encoding only at a
 * key frame of the encoding aimed at. */
static bool selects(struct worker *w, struct consumer *c, const struct producer *p,
                    const struct packet *packet)
{
    if (p->mapped_payload_type[packet->codec] != c->header.payload_type)
        return false;
    if (packet->encoding == c->target && (!c->synchronised || c->encoding != c->target)) {
        if (p->kind == MEDIA_KIND_video && !packet->is_key_frame)
            return false;
        synchronise(c, packet, w->turn.now_ns, p->clock_rate[packet->codec]);
    }
    return c->synchronised && packet->encoding == c->encoding && packet->index >= c->floor_in;
}

void targets_choose(struct worker *w, struct transport *t)
{
    for (struct consumer *c = t->consumers; c; c = c->next_of_transport) {
        const struct producer *p = c->producer;
        int best = -1;

        if (p->type != PRODUCER_TYPE_simulcast)
            continue;
        for (int e = 0; e < p->encoding_count && e <= c->preferred_spatial_layer; e++)
            if (p->encodings[e].started &&
                w->turn.now_ns - p->encodings[e].last_packet_ns < ENCODING_ALIVE_NS)
                best = e;
        if (best < 0 || best == c->target)
            continue;
        c->target = (uint8_t)best;
        if (!c->paused)
            key_frame_request(w, c->producer, c->target);
    }
}

const struct rtp_template *packet_header_build(struct packet *packet, const struct producer *p,
                                               const struct header_kind *kind)
{
    struct packet_header *header = &packet->headers[kind->mid_bytes % PACKET_HEADERS];
    struct rtp_template_options options = {
        .router_id = p->router_id,
        .mask = kind->extension_mask,
        .mid_bytes = kind->mid_bytes,
        .payload_type = kind->payload_type,
        .has_padding = packet->padding_bytes > 0,
    };

    rtp_template_build(&header->template, packet->data, &packet->view, &options);
    header->kind = *kind;
    return &header->template;
}

/* What one consumer got of one job. */
struct emitted {
    uint32_t packets, bytes, payload_bytes;
};

/* Protects and queues one packet for one consumer; false when the backend has no room. */
static bool forward(struct worker *w, struct consumer *c, const struct producer *p,
                    struct packet *packet, struct emitted *emitted)
{
    struct egress *to = c->egress;
    const struct rtp_template *template = packet_header_for(packet, p, &c->header);
    uint32_t bytes = template->size + packet->payload_bytes + (uint32_t)to->tag_bytes;
    uint64_t index = packet->index + c->index_offset;
    uint32_t timestamp = packet->view.timestamp + c->timestamp_offset;
    uint8_t *slot;

    transmit_make_room(&w->transmit, 1);
    if (index >= SRTP_INDEX_END) /* used up, after 2^48 packets: this key sends no more */
        return false;
    slot = bytes <= DATAGRAM_BYTES_MAX ? transmit_slot(&w->transmit, &to->path, bytes) : NULL;
    if (!slot)
        return false;
    if (index >= c->index_reserved)
        c->index_reserved =
            resume_reserve_rtp(&w->resume, c->index, c->generation, index, c->timestamp_offset);
    rtp_template_copy(slot, bytes, template,
                      &(struct rtp_patch){.ssrc = c->ssrc,
                                          .timestamp = timestamp,
                                          .sequence = (uint16_t)index,
                                          .mid = c->mid,
                                          .abs_send_time = w->turn.abs_send_time});
    *transmit_add_job(&w->transmit) = (struct srtp_protect_job){
        .key = &to->key,
        .out = slot,
        .payload = packet->data + packet->payload_at,
        .index = index,
        .ssrc = c->ssrc,
        .header_bytes = template->size,
        .payload_bytes = packet->payload_bytes,
    };
    if (!c->has_sent || index > c->highest_out) {
        c->highest_out = index;
        c->last_timestamp = timestamp;
    }
    c->has_sent = true;
    emitted->packets++;
    emitted->bytes += bytes;
    emitted->payload_bytes += packet->payload_bytes - packet->padding_bytes;
    return true;
}

/* ---- queues ---- */

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

bool fan_out_queue(struct worker *w, struct producer *p, struct packet *packet)
{
    const struct packet *oldest = p->job.first ? p->job.first : p->waiting.first;

    /* Sums, no difference: a packet of a worker whose turn began later is from our future. */
    if (oldest && w->turn.now_ns > oldest->arrived_ns + BACKLOG_NS_MAX)
        return false;
    packet_queue_append(&p->waiting, packet);
    if (!p->is_listed)
        list_append(&w->fresh, p);
    p->is_listed = true;
    return true;
}

void packet_release(struct worker *w, struct packet *packet)
{
    if (--packet->holds > 0)
        return;
    if (packet->lane != PACKET_OWN)
        handoff_finish(w, packet->lane, packet->position);
    else if (packet->verdict != VERDICT_PENDING)
        w->turn.verdicts[packet->verdict]++;
    pool_give(&w->pool, packet);
}

static void retire(struct worker *w, struct packet_queue *queue)
{
    struct packet *packet = queue->first, *next;

    for (; packet; packet = next) {
        next = packet->next;
        packet_release(w, packet);
    }
    *queue = (struct packet_queue){0};
}

void fan_out_forget(struct worker *w, struct producer *p)
{
    retire(w, &p->job);
    retire(w, &p->waiting);
    if (p->is_listed) {
        list_remove(&w->fresh, p);
        list_remove(&w->late[p->kind], p);
    }
    p->is_listed = false;
}

/* ---- a turn's budget ---- */

/* True when this is the first that the subscriber gets in this turn. */
static bool due_add(struct worker *w, struct consumer *c)
{
    struct egress *to = c->egress;
    bool first = !to->due_last;

    c->next_due = NULL;
    if (first) {
        to->due_first = c;
        to->next_touched = NULL;
        if (w->touched_last)
            w->touched_last->next_touched = to;
        else
            w->touched_first = to;
        w->touched_last = to;
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

/* Marks the next consumers of p's job, ROUND of them at most; returns what they cost. */
static uint32_t job_round(struct worker *w, struct producer *p, uint32_t budget)
{
    uint32_t cost = 0, consumers = 0;

    while (p->cursor && cost < budget && consumers < ROUND) {
        struct consumer *c = p->cursor;

        p->cursor = c->next_of_producer;
        __builtin_prefetch(p->cursor);
        if (c->paused || !c->egress->open)
            continue;
        cost += p->job_cost + (due_add(w, c) ? COST_SEND : 0);
        consumers++;
    }
    return cost;
}

/* Serves the producers of `list` round by round within `budget`; what is left of the budget. Those
 * whose job is through go to `done`; of the others, those whose turn it is next stand in front. */
static uint32_t gather(struct worker *w, struct producer_list *list, uint32_t budget,
                       struct producer_list *done)
{
    while (list->first && budget > 0) {
        struct producer *p = list_take(list);
        uint32_t cost;

        if (!p->job.first)
            job_begin(p);
        cost = job_round(w, p, budget);
        budget -= cost < budget ? cost : budget;
        list_append(p->cursor ? list : done, p);
    }
    return budget;
}

/* Many audio producers of a room have one small packet each, and a send costs several times what the
 * packet does. So audio goes in sweeps: what comes while one is under way sets off with the next one,
 * side by side, and leaves in one send for each subscriber. Small rooms do not wait. */
static bool waits_for_sweep(const struct worker *w, const struct producer *p)
{
    return p->kind == MEDIA_KIND_audio && w->late[MEDIA_KIND_audio].first &&
           p->consumer_count > ROUND;
}

static uint32_t gather_fresh(struct worker *w, uint32_t budget, struct producer_list *done)
{
    struct producer_list fresh = w->fresh, ready = {0};

    w->fresh = (struct producer_list){0};
    while (fresh.first) {
        struct producer *p = list_take(&fresh);

        list_append(waits_for_sweep(w, p) ? &w->fresh : &ready, p);
    }
    budget = gather(w, &ready, budget, done);
    while (ready.first) {
        struct producer *p = list_take(&ready);

        list_append(p->job.first ? &w->late[p->kind] : &w->fresh, p);
    }
    return budget;
}

static void emit_consumer(struct worker *w, struct producer *p, struct consumer *c)
{
    struct emitted emitted = {0};

    transmit_make_room(&w->transmit, p->job.count);
    for (struct packet *packet = p->job.first; packet; packet = packet->next)
        if (selects(w, c, p, packet) && forward(w, c, p, packet, &emitted))
            packet->verdict = VERDICT_forwarded;
    if (emitted.packets) {
        c->last_sent_ns = w->turn.now_ns;
        c->packets += emitted.packets;
        c->bytes += emitted.bytes;
        c->payload_bytes += emitted.payload_bytes;
        c->egress->packets += emitted.packets;
        c->egress->bytes += emitted.bytes;
        w->turn.counters[COUNTER_rtp_sent] += emitted.packets;
        w->turn.counters[COUNTER_rtp_sent_bytes] += emitted.bytes;
    }
    if (p->kind == MEDIA_KIND_video && (!c->synchronised || c->encoding != c->target))
        key_frame_request(w, p, c->target);
}

static void emit(struct worker *w)
{
    struct egress *to = w->touched_first;

    w->touched_first = NULL;
    w->touched_last = NULL;
    for (; to; to = to->next_touched) {
        struct consumer *c = to->due_first;

        to->due_first = NULL;
        to->due_last = NULL;
        to->dirty = true;
        for (; c; c = c->next_due)
            emit_consumer(w, c->producer, c);
    }
    transmit_flush(&w->transmit);
}

void fan_out(struct worker *w)
{
    struct producer_list done = {0};
    uint32_t left;

    if (!fan_out_has_work(w))
        return;
    left = gather_fresh(w, FAN_OUT_FRESH, &done);
    left = gather(w, &w->late[MEDIA_KIND_audio], left + FAN_OUT_LATE / 2, &done);
    gather(w, &w->late[MEDIA_KIND_video], left + FAN_OUT_LATE / 2, &done);
    emit(w);
    while (done.first) {
        struct producer *p = list_take(&done);

        retire(w, &p->job);
        p->is_listed = p->waiting.first;
        if (p->is_listed)
            list_append(p->kind == MEDIA_KIND_audio ? &w->fresh : &w->late[p->kind], p);
    }
}
