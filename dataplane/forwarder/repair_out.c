/* Repair of what subscribers lost. */
#include "repair_out.h"

#include <string.h>

#include "consumer.h"
#include "dataplane/engines/quality/rtx.h"
#include "dataplane/engines/rtcp.h"
#include "egress.h"
#include "handoff.h"
#include "memory.h"
#include "producer.h"
#include "resume.h"
#include "src/clock.h"
#include "transmit.h"
#include "transport.h"

#define ROUND_TRIP_NS_DEFAULT (50 * NS_PER_MS) /* of a subscriber that has not reported yet */
#define ROUND_TRIP_NS_MIN (5 * NS_PER_MS)
#define FIRST_INDEX_MAX 0x3fff /* as for the first packet of a consumer, see consumer.c */
#define KEY_FRAME_PENDING_NS NS_PER_S

bool repair_out_open(struct repair_out *r)
{
    r->all = memory_map(sizeof(*r->all) * CONSUMERS_MAX, false);
    return r->all;
}

void repair_out_close(struct repair_out *r)
{
    memory_unmap(r->all, sizeof(*r->all) * CONSUMERS_MAX);
}

void repair_out_forget(struct repair_out *r, uint32_t consumer)
{
    struct retransmission *x = &r->all[consumer];

    if (x->next_index || x->segment_count || x->budget_bytes ||
        x->floor_out) /* else it was never touched */
        memset(x, 0, sizeof(*x));
}

/* ---- which packet it was ---- */

static struct segment present_segment(const struct repair_out *r, const struct consumer *c)
{
    const struct consumer_details *d = &r->consumers->details[c->index];

    return (struct segment){.first_out = d->first_in + c->index_offset,
                            .squeeze = d->squeeze,
                            .squeezed_until = d->live_from,
                            .index_offset = c->index_offset,
                            .timestamp_offset = c->timestamp_offset,
                            .encoding = c->encoding,
                            .source = c->source};
}

void repair_out_close_past(struct repair_out *r, const struct consumer *c)
{
    if (c->has_sent && c->producer->kind == MEDIA_KIND_audio)
        r->all[c->index].floor_out = srtp_sent_next(&c->sent);
}

void repair_out_remember(struct repair_out *r, const struct consumer *c)
{
    struct retransmission *x = &r->all[c->index];

    x->segments[x->segment_count++ % RESEND_SEGMENTS] = present_segment(r, c);
}

/* The segment in which this index left. False: it is too long ago. */
static bool find_segment(const struct repair_out *r, const struct consumer *c, uint64_t out,
                         struct segment *segment)
{
    const struct retransmission *x = &r->all[c->index];
    uint32_t oldest = x->segment_count < RESEND_SEGMENTS ? 0 : x->segment_count - RESEND_SEGMENTS;

    /* Also while the consumer waits to be synchronised: this was the last that was sent. */
    *segment = present_segment(r, c);
    if (out >= segment->first_out)
        return true;
    for (uint32_t i = x->segment_count; i > oldest; i--) {
        *segment = x->segments[(i - 1) % RESEND_SEGMENTS];
        if (out >= segment->first_out)
            return true;
    }
    return false;
}

/* The index that left last with this sequence number. False: none did. */
static bool index_sent(const struct consumer *c, uint16_t sequence, uint64_t *out)
{
    uint64_t next = srtp_sent_next(&c->sent);
    uint16_t before = (uint16_t)((uint16_t)next - sequence);

    if (!c->has_sent || before == 0 || before > HISTORY_PLACES || before > next)
        return false;
    *out = next - before;
    return true;
}

/* Was this index used for a packet, and would that packet be the same now? (threat D13) */
static bool can_repeat(const struct repair_out *r, const struct consumer *c, uint64_t out)
{
    return out >= r->all[c->index].floor_out && out < c->index_reserved &&
           !(srtp_sent_skipped(&c->sent) &&
             srtp_skipped_test(&r->consumers->skipped[c->index], out));
}

const struct history *repair_history(const struct repair_out *r, const struct producer *p)
{
    if (!p->is_replica)
        return r->own;
    return p->home < r->lanes->worker_count ? r->lanes->shared->workers[p->home].history : NULL;
}

/* A packet as it left: from the history, and what was changed in it. */
struct departed {
    struct history_packet packet;
    struct rtp_view view;
    struct layer layer;
    struct selection_out how; /* index: as it came in */
};

static bool find_layered(const struct repair_out *r, const struct consumer *c, uint64_t out,
                         struct departed *d)
{
    const struct producer *p = c->producer;
    const struct history *history = repair_history(r, p);
    const struct history_head *head = &d->packet.head;
    uint64_t in;
    const struct selection_segment *segment =
        selection_find(&r->consumers->selections[c->index], out, &in);
    struct selection_packet packet = {.layer = &d->layer, .index = in};

    if (!history || !segment ||
        !history_read(history, producer_stream(p, segment->encoding), p->owner, in, &d->packet) ||
        head->source != segment->source || !rtp_parse(d->packet.data, head->bytes, &d->view))
        return false;
    packet.codec = p->codec[head->codec];
    packet.timestamp = d->view.timestamp;
    packet.marker = d->view.marker;
    layer_read(NULL, packet.codec, d->packet.data + head->payload_at,
               head->bytes - head->payload_at, packet.marker, NULL, 0, &d->layer);
    d->layer.spatial = head->spatial; /* as the dependency descriptor said */
    d->layer.ends_frame = head->ends_frame;
    return selection_rewrite(segment, &packet, &d->how);
}

static bool find_plain(const struct repair_out *r, const struct consumer *c, uint64_t out,
                       struct departed *d)
{
    const struct producer *p = c->producer;
    const struct history *history = repair_history(r, p);
    struct segment segment;
    uint32_t timestamp;

    if (!history || !find_segment(r, c, out, &segment) ||
        !history_read(history, producer_stream(p, segment.encoding), p->owner,
                      out - segment.index_offset, &d->packet) ||
        d->packet.head.source != segment.source ||
        !rtp_parse(d->packet.data, d->packet.head.bytes, &d->view))
        return false;
    timestamp = d->view.timestamp + segment.timestamp_offset;
    if (d->packet.head.index < segment.squeezed_until)
        timestamp = squeeze(&segment.squeeze, d->view.timestamp, timestamp);
    d->how = (struct selection_out){.timestamp = timestamp, .marker = d->view.marker};
    return true;
}

/* ---- limits ---- */

static uint64_t round_trip_ns(const struct consumer_details *d)
{
    uint64_t ns = (uint64_t)d->round_trip_us * NS_PER_US;

    return ns == 0 ? ROUND_TRIP_NS_DEFAULT : ns < ROUND_TRIP_NS_MIN ? ROUND_TRIP_NS_MIN : ns;
}

/* May this sequence number be sent again now? The clients' own measure of the round trip is a little
 * shorter than ours at times, so a quarter is granted. A newer number takes the place of an older one
 * at once, an older one waits: so two that take turns are not sent without an end. */
static bool may_try(struct repair_out *r, struct retransmission *x,
                    const struct consumer_details *d, uint16_t sequence)
{
    uint64_t now_ns = r->turn->now_ns;
    unsigned i = sequence % RESEND_PACKETS;
    bool is_same = x->tried[i].tries && x->tried[i].sequence == sequence;
    bool is_newer = !x->tried[i].tries || (int16_t)(sequence - x->tried[i].sequence) > 0;

    if (!is_newer && now_ns - x->tried[i].sent_ns < round_trip_ns(d) / 4 * 3)
        return false;
    if (!is_same)
        x->tried[i].tries = 0;
    else if (x->tried[i].tries == RESEND_TRIES_MAX)
        return false;
    x->tried[i].sequence = sequence;
    x->tried[i].sent_ns = now_ns;
    x->tried[i].tries++;
    return true;
}

static void fill_budget(struct retransmission *x, const struct consumer *c)
{
    uint32_t burst =
        c->producer->kind == MEDIA_KIND_audio ? RESEND_AUDIO_BURST_BYTES : RESEND_BURST_BYTES;
    uint64_t earned = (c->bytes - x->bytes_seen) * RESEND_SHARE_PERCENT / 100;

    if (!x->budget_bytes && !x->bytes_seen)
        earned = burst;
    x->bytes_seen = c->bytes;
    earned += x->budget_bytes;
    x->budget_bytes = (uint32_t)(earned < burst ? earned : burst);
}

/* ---- sending ---- */

static uint64_t next_index(struct repair_out *r, struct retransmission *x,
                           const struct consumer_details *d)
{
    const struct consumer *c = d->consumer;
    const struct resume_consumer name = {
        .index = c->index,
        .generation = d->generation,
        .ssrc = c->ssrc,
        .transport = handle_make(d->transport->index, d->transport->generation)};

    if (x->next_index == 0) {
        if (!resume_find_rtx(r->resume, &name, d->rtx_ssrc, &x->next_index))
            x->next_index = (r->turn->now_ns >> 10 & FIRST_INDEX_MAX) + 1;
        resume_take_ssrc(r->resume, name.transport, d->rtx_ssrc);
    }
    if (x->next_index >= x->index_reserved)
        x->index_reserved = resume_reserve_rtx(r->resume, &name, d->rtx_ssrc, x->next_index);
    return x->next_index++;
}

/* Sends the packet that left with the index `out`: audio as it was, video as a retransmission. */
static void send_again(struct repair_out *r, struct retransmission *x,
                       const struct consumer_details *d, uint64_t out,
                       const struct departed *departed)
{
    const struct history_packet *packet = &departed->packet;
    const struct consumer *c = d->consumer;
    const bool as_it_was = c->producer->kind == MEDIA_KIND_audio;
    const struct rtp_template_options options = {.sent_id = c->producer->sent_id,
                                                 .mask = c->header.extension_mask,
                                                 .mid_bytes = c->header.mid_bytes,
                                                 .payload_type = as_it_was ? c->header.payload_type
                                                                           : d->rtx_payload_type};
    struct egress *to = c->egress;
    uint32_t number_bytes = as_it_was ? 0 : RTX_NUMBER_BYTES, bytes;
    uint32_t payload_bytes =
        departed->how.is_empty ? 0 : packet->head.bytes - packet->head.payload_at;
    uint32_t ssrc = as_it_was ? c->ssrc : d->rtx_ssrc;
    struct rtp_template template;
    uint64_t index;
    uint8_t *slot, *payload;

    rtp_template_build(&template, packet->data, &departed->view, &options);
    bytes = template.size + number_bytes + payload_bytes + to->tag_bytes;
    if (x->budget_bytes < bytes) {
        r->turn->counters[COUNTER_rtx_refused]++;
        return;
    }
    transmit_make_room(r->transmit, 1);
    slot = transmit_slot(r->transmit, &to->path, bytes);
    if (!slot)
        return;
    index = as_it_was ? out : next_index(r, x, d);
    rtp_template_copy(slot, bytes, &template,
                      &(struct rtp_patch){.ssrc = ssrc,
                                          .timestamp = departed->how.timestamp,
                                          .sequence = (uint16_t)index,
                                          .mid = c->mid,
                                          .abs_send_time = r->turn->abs_send_time});
    slot[1] = (uint8_t)((slot[1] & 0x7f) | (departed->how.marker ? 0x80 : 0));
    payload = slot + template.size;
    if (!as_it_was) {
        payload[0] = (uint8_t)(out >> 8);
        payload[1] = (uint8_t)out;
    }
    memcpy(payload + number_bytes, packet->data + packet->head.payload_at, payload_bytes);
    if (departed->how.rewrites_picture)
        layer_vp8_rewrite(payload + number_bytes, &departed->layer, departed->how.picture_id,
                          departed->how.tl0);
    *transmit_add_job(r->transmit) = (struct srtp_protect_job){
        .key = &to->key,
        .out = slot,
        .payload = payload,
        .index = index,
        .ssrc = ssrc,
        .header_bytes = template.size,
        .payload_bytes = (uint16_t)(payload_bytes + number_bytes),
    };
    x->budget_bytes -= bytes;
    x->packets++;
    x->repaired += x->tried[out % RESEND_PACKETS].tries == 1;
    x->bytes += bytes;
    to->bytes += bytes;
    to->packets++;
    to->rtx_bytes += bytes;
    to->rtx_packets++;
    to->dirty = true;
    r->turn->counters[COUNTER_rtx_sent]++;
}

/* A subscriber that has asked for a key frame needs nothing from before it. */
static bool waits_for_key_frame(const struct repair_out *r, const struct consumer_details *d)
{
    const struct encoding *e = &d->consumer->producer->encodings[d->consumer->target];

    return d->key_frame_asked_ns && e->key_frame_wanted &&
           r->turn->now_ns - d->key_frame_asked_ns < KEY_FRAME_PENDING_NS;
}

static bool answers(const struct repair_out *r, const struct consumer_details *d)
{
    const struct consumer *c = d->consumer;

    if (c->paused || !c->egress->open || c->egress->is_limited)
        return false;
    if (c->producer->kind == MEDIA_KIND_audio)
        return d->has_audio_nack;
    return d->rtx_payload_type && d->rtx_ssrc && !waits_for_key_frame(r, d);
}

static void answer(struct repair_out *r, const struct consumer_details *d, uint16_t sequence)
{
    const struct consumer *c = d->consumer;
    struct retransmission *x = &r->all[c->index];
    struct departed departed;
    uint64_t out;

    if (!index_sent(c, sequence, &out) ||
        !(c->is_layered ? find_layered : find_plain)(r, c, out, &departed) ||
        (c->producer->kind == MEDIA_KIND_audio && !can_repeat(r, c, out))) {
        r->turn->counters[COUNTER_rtx_missing]++;
        return;
    }
    if (may_try(r, x, d, sequence))
        send_again(r, x, d, out, &departed);
    else
        r->turn->counters[COUNTER_rtx_refused]++;
}

unsigned repair_out_answer(struct repair_out *r, const struct consumer_details *d,
                           const struct rtcp_packet *nack, unsigned limit)
{
    const struct consumer *c = d->consumer;
    uint16_t sequence, mask;
    unsigned count = 0;

    if (!answers(r, d))
        return 0;
    fill_budget(&r->all[c->index], c);
    for (size_t i = 0; rtcp_read_nack(nack, i, &sequence, &mask); i++)
        for (uint32_t bits = (uint32_t)mask << 1 | 1; bits; bits &= bits - 1) {
            if (count == limit)
                return count;
            count++;
            answer(r, d, (uint16_t)(sequence + __builtin_ctz(bits)));
        }
    return count;
}
