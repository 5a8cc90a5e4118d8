/* Fan-out: every packet of this turn to every consumer of its producer, consumer by consumer, so
 * that the packets to one subscriber lie side by side for segmentation and the cipher. */
#include <string.h>

#include "worker.h"

#include "src/clock.h"

#define SRTP_INDEX_END (1ull << 48)
#define ENCODING_ALIVE_NS (1500 * NS_PER_MS) /* silence after which an encoding is not forwarded */

/* Sequence numbers, indexes and time stamps that this consumer gets next follow what it had. */
static void synchronise(struct consumer *c, const struct media_packet *packet, uint64_t now_ns,
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
                    const struct media_packet *packet)
{
    if (p->mapped_payload_type[packet->codec] != c->payload_type)
        return false;
    if (packet->encoding == c->target && (!c->synchronised || c->encoding != c->target)) {
        if (p->kind == MEDIA_KIND_video && !packet->is_key_frame)
            return false;
        synchronise(c, packet, w->now_ns, p->clock_rate[packet->codec]);
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
                w->now_ns - p->encodings[e].last_packet_ns < ENCODING_ALIVE_NS)
                best = e;
        if (best < 0 || best == c->target)
            continue;
        c->target = (uint8_t)best;
        if (!c->paused)
            key_frame_request(w, c->producer, c->target);
    }
}

/* Indexes are reserved in shared memory before they are used, so that a successor of this process
 * starts behind them (threats.md D13). */
static void reserve_indexes(struct worker *w, struct consumer *c, uint64_t index)
{
    struct consumer_resume_row row = {.header = {.generation = c->generation, .used = 1}};

    c->index_reserved = index + INDEX_RESERVE;
    row.rtp_index_reserved = c->index_reserved;
    row.timestamp_offset = c->timestamp_offset;
    row_write(TABLE_consumer_resume, region_row(w->config.resume, TABLE_consumer_resume, c->index),
              &row.header);
}

static const struct rtp_template *template_for(struct media_packet *packet,
                                               const struct producer *p, const struct consumer *c)
{
    struct rtp_template_options options = {
        .router_id = p->router_id,
        .mask = c->extension_mask,
        .mid_bytes = c->mid_bytes,
        .payload_type = c->payload_type,
    };

    if (packet->template.size && packet->template_mask == c->extension_mask &&
        packet->template_mid_bytes == c->mid_bytes &&
        packet->template_payload_type == c->payload_type)
        return &packet->template;
    rtp_template_build(&packet->template, packet->data, &packet->view, &options);
    packet->template_mask = c->extension_mask;
    packet->template_mid_bytes = c->mid_bytes;
    packet->template_payload_type = c->payload_type;
    return &packet->template;
}

/* Queues one packet for one consumer; false when the backend has no room. */
static bool forward(struct worker *w, struct consumer *c, const struct producer *p,
                    struct media_packet *packet, const struct path *path, size_t tag_bytes)
{
    const struct rtp_template *template = template_for(packet, p, c);
    uint32_t bytes = template->size + packet->payload_bytes + (uint32_t)tag_bytes;
    uint64_t index = packet->index + c->index_offset;
    struct rtp_patch patch = {
        .ssrc = c->ssrc,
        .timestamp = packet->view.timestamp + c->timestamp_offset,
        .sequence = (uint16_t)index,
        .mid = c->mid,
        .abs_send_time = w->abs_send_time,
    };
    uint8_t *slot;

    if (w->protect_count == SRTP_BURST)
        worker_flush(w);
    if (index >= SRTP_INDEX_END) /* used up, after 2^48 packets: this key sends no more */
        return false;
    slot = bytes <= PACKET_BYTES_MAX ? worker_slot(w, path, bytes) : NULL;
    if (!slot)
        return false;
    if (index >= c->index_reserved)
        reserve_indexes(w, c, index);
    rtp_template_copy(slot, template, &patch);
    w->protect[w->protect_count++] = (struct srtp_protect_job){
        .key = &c->transport->send_key,
        .out = slot,
        .payload = packet->data + packet->payload_at,
        .index = index,
        .ssrc = c->ssrc,
        .header_bytes = template->size,
        .payload_bytes = packet->payload_bytes,
    };
    if (!c->has_sent || index > c->highest_out) {
        c->highest_out = index;
        c->last_timestamp = patch.timestamp;
        c->last_sent_ns = w->now_ns;
    }
    c->has_sent = true;
    c->packets++;
    c->bytes += bytes;
    c->payload_bytes += packet->payload_bytes;
    c->transport->bytes_sent += bytes;
    c->transport->rtp_packets_sent++;
    c->transport->rtp_bytes_sent += bytes;
    w->counters[COUNTER_rtp_sent]++;
    w->counters[COUNTER_rtp_sent_bytes] += bytes;
    return true;
}

static void fan_out_consumer(struct worker *w, struct producer *p, struct consumer *c)
{
    struct transport *t = c->transport;
    const struct path *path = ice_selected(&t->ice);
    size_t tag_bytes;

    if (c->paused || !t->profile || !path)
        return;
    tag_bytes = srtp_tag_bytes(t->profile);
    t->dirty = true;
    for (int16_t i = p->batch_first; i >= 0; i = w->media[i].next) {
        struct media_packet *packet = &w->media[i];

        if (selects(w, c, p, packet) && forward(w, c, p, packet, path, tag_bytes))
            settle(w, packet->batch_position, VERDICT_forwarded);
    }
    if (p->kind == MEDIA_KIND_video && (!c->synchronised || c->encoding != c->target))
        key_frame_request(w, p, c->target);
}

void fan_out(struct worker *w)
{
    while (w->batch) {
        struct producer *p = w->batch;

        for (struct consumer *c = p->consumers; c; c = c->next_of_producer)
            fan_out_consumer(w, p, c);
        w->batch = p->batch_next;
        p->batch_first = -1;
        p->batch_last = -1;
    }
}
