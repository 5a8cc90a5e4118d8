/* Consumers: from row to object, which encoding they get, statistics, removal. */
#include "consumer.h"

#include <string.h>

#include "key_frames.h"
#include "layers.h"
#include "memory.h"
#include "producer.h"
#include "publish.h"
#include "random_pool.h"
#include "repair_out.h"
#include "replay.h"
#include "replica.h"
#include "reports.h"
#include "resume.h"
#include "transport.h"

bool consumers_open(struct consumers *cs)
{
    cs->all = memory_map(sizeof(struct consumer) * CONSUMERS_MAX, true);
    cs->details = memory_map(sizeof(struct consumer_details) * CONSUMERS_MAX, true);
    cs->selections = memory_map(sizeof(struct selection) * CONSUMERS_MAX, false);
    cs->skipped = memory_map(sizeof(struct srtp_skipped) * CONSUMERS_MAX, false);
    return cs->all && cs->details && cs->skipped && cs->selections &&
           map_open(&cs->ssrcs, CONSUMERS_MAX);
}

void consumers_close(struct consumers *cs)
{
    memory_unmap(cs->all, sizeof(struct consumer) * CONSUMERS_MAX);
    memory_unmap(cs->details, sizeof(struct consumer_details) * CONSUMERS_MAX);
    memory_unmap(cs->selections, sizeof(struct selection) * CONSUMERS_MAX);
    memory_unmap(cs->skipped, sizeof(struct srtp_skipped) * CONSUMERS_MAX);
    map_close(&cs->ssrcs);
}

/* ---- statistics ---- */

/* The layers that are forwarded now, and those that replace them. */
static void add_layers(const struct consumers *cs, struct consumer_state_row *row,
                       const struct consumer *c)
{
    const struct selection *s = &cs->selections[c->index];
    bool is_svc = c->is_layered && c->producer->type != PRODUCER_TYPE_simulcast;

    layers_present(cs, c, &row->spatial_layer, &row->temporal_layer);
    row->target_spatial_layer = is_svc ? s->spatial : c->target;
    row->target_temporal_layer = c->is_layered ? s->temporal : 0;
}

static void publish(struct consumers *cs, const struct consumer_details *d)
{
    const struct consumer *c = d->consumer;
    const struct retransmission *again = &cs->repair_out->all[c->index];
    const struct consumer_state_row *before = (const struct consumer_state_row *)publish_row_before(
        cs->publisher, TABLE_consumer_state, c->index);
    uint64_t span_ns =
        publish_span_ns(cs->publisher, &before->header, d->generation, &before->published_ns);
    struct consumer_state_row row = {
        .packets_sent = c->packets,
        .bytes_sent = c->bytes - c->packets * c->egress->tag_bytes,
        .last_packet_ns = c->last_sent_ns,
        .packets_lost = d->lost,
        .published_ns = cs->turn->now_ns,
        .fraction_lost = d->fraction_lost,
        .jitter = d->jitter,
        .round_trip_us = d->round_trip_us,
        .pli_received = d->pli_received,
        .fir_received = d->fir_received,
        .nack_received = d->nack_received,
        .packets_asked = d->packets_asked,
        .packets_sent_again = again->packets,
        .packets_repaired = again->repaired,
        .bytes_sent_again = again->bytes - (uint64_t)again->packets * c->egress->tag_bytes,
        .layer_switches = d->layer_switches,
        .encoding = c->encoding,
        .score = d->score.value,
    };

    row.send_bps = publish_bps(row.bytes_sent, &before->bytes_sent, &before->send_bps, span_ns);
    add_layers(cs, &row, c);
    publish_row(cs->publisher, TABLE_consumer_state, c->index, d->generation, &row.header);
}

void consumer_publish_change(struct consumers *cs, const struct consumer_details *d)
{
    publish(cs, d);
    publish_event(cs->publisher, TABLE_consumer_state, d->consumer->index, d->generation);
}

void consumer_publish_layers(struct consumers *cs, struct consumer_details *d)
{
    d->layer_switches++;
    cs->turn->counters[COUNTER_layer_switches]++;
    consumer_publish_change(cs, d);
}

void consumers_publish(struct consumers *cs, const struct transport *t)
{
    for (const struct consumer_details *d = t->consumers; d; d = d->next_of_transport)
        publish(cs, d);
}

/* ---- encodings and key frames ---- */

void consumer_need_key_frame(struct consumers *cs, struct consumer *c)
{
    if (!c->paused && c->egress->open && !c->egress->is_limited && !replay_start(cs->replays, c))
        key_frame_request(cs->key_frames, c->producer, c->target);
}

void consumers_request_key_frames(struct consumers *cs, const struct transport *t)
{
    for (const struct consumer_details *d = t->consumers; d; d = d->next_of_transport)
        if (!d->consumer->synchronised)
            consumer_need_key_frame(cs, d->consumer);
        else if (!d->consumer->paused) /* it has lost packets that nobody can tell */
            key_frame_request(cs->key_frames, d->consumer->producer, d->consumer->target);
}

void consumers_restart(struct consumers *cs, struct producer *p)
{
    for (struct consumer *c = p->consumers; c; c = c->next_of_producer) {
        c->synchronised = false;
        consumer_update_wants(cs, c);
        if (!p->paused)
            consumer_need_key_frame(cs, c);
    }
}

void consumers_choose_layers(struct consumers *cs, const struct transport *t)
{
    for (const struct consumer_details *d = t->consumers; d; d = d->next_of_transport) {
        layers_choose(cs, d->consumer);
        layers_note(cs, d->consumer);
    }
}

void consumer_update_wants(struct consumers *cs, struct consumer *c)
{
    uint8_t wants = 0;

    if (!c->paused)
        wants = (uint8_t)(1u << c->target | (c->synchronised ? 1u << c->encoding : 0));
    if (wants != c->wants)
        producer_change_wants(cs->producers, c->producer, c->wants, wants);
    c->wants = wants;
}

/* ---- lists of its producer and its transport ---- */

static void link_to_lists(struct consumers *cs, struct consumer_details *d)
{
    struct consumer *c = d->consumer;
    struct producer *p = c->producer;
    struct transport *t = d->transport;

    d->previous_of_producer = &p->consumers;
    c->next_of_producer = p->consumers;
    if (c->next_of_producer)
        cs->details[c->next_of_producer->index].previous_of_producer = &c->next_of_producer;
    p->consumers = c;
    d->previous_of_transport = &t->consumers;
    d->next_of_transport = t->consumers;
    if (d->next_of_transport)
        d->next_of_transport->previous_of_transport = &d->next_of_transport;
    t->consumers = d;
    p->consumer_count++;
    t->consumer_count++;
    cs->count++;
}

static void unlink_from_lists(struct consumers *cs, struct consumer_details *d)
{
    struct consumer *c = d->consumer;
    struct producer *p = c->producer;

    if (p->cursor == c)
        p->cursor = c->next_of_producer;
    *d->previous_of_producer = c->next_of_producer;
    if (c->next_of_producer)
        cs->details[c->next_of_producer->index].previous_of_producer = d->previous_of_producer;
    *d->previous_of_transport = d->next_of_transport;
    if (d->next_of_transport)
        d->next_of_transport->previous_of_transport = d->previous_of_transport;
    p->consumer_count--;
    d->transport->consumer_count--;
    cs->count--;
}

/* ---- row to object ---- */

/* An SSRC that nothing was sent with may begin again. */
static void give_ssrc_back(struct transport *t, uint32_t ssrc)
{
    if (srtp_sent_next(&t->ssrcs) - ssrc <= SRTP_SENT_WINDOW)
        srtp_skipped_set(&t->ssrcs, &t->ssrcs_skipped, ssrc, true);
}

/* A consumer that went on from an earlier one may have sent nothing itself, but the earlier one had. */
static void give_ssrcs_back(const struct consumers *cs, const struct consumer_details *d)
{
    const struct consumer *c = d->consumer;

    if (d->goes_on)
        return;
    if (!c->has_sent)
        give_ssrc_back(d->transport, c->ssrc);
    if (d->rtx_ssrc && !repair_out_has_begun(cs->repair_out, c->index))
        give_ssrc_back(d->transport, d->rtx_ssrc);
}

void consumer_remove(struct consumers *cs, struct consumer *c, bool with_bye)
{
    struct consumer_details *d = &cs->details[c->index];
    uint32_t generation = d->generation, index = c->index;
    struct producer *p = c->producer;

    if (with_bye && c->has_sent)
        reports_send_bye(cs->reports, d->transport, c->ssrc);
    give_ssrcs_back(cs, d);
    replay_stop(cs->replays, c);
    producer_change_wants(cs->producers, p, c->wants, 0);
    if (c->is_layered)
        memset(&cs->selections[index], 0, sizeof(cs->selections[index]));
    map_remove(&cs->ssrcs, consumer_key(d->transport->index, c->ssrc), index);
    unlink_from_lists(cs, d);
    if (srtp_sent_skipped(&c->sent))
        memset(&cs->skipped[index], 0, sizeof(cs->skipped[index]));
    repair_out_forget(cs->repair_out, index);
    memset(c, 0, sizeof(*c));
    memset(d, 0, sizeof(*d));
    publish_gone(cs->publisher, TABLE_consumer_state, index, generation);
    replica_drop_unused(cs->replicas, p);
}

static bool has_rtx(const struct consumer_row *row)
{
    return row->rtx_payload_type && row->rtx_ssrc && row->kind == MEDIA_KIND_video;
}

static bool has_audio_nack(const struct consumer_row *row)
{
    return row->has_audio_nack && row->kind == MEDIA_KIND_audio;
}

/* Audio is sent again as it was, so it has no header extensions that change with every send (threat
 * D13). */
static uint16_t extensions_of(const struct consumer_row *row, bool sent_again)
{
    const uint16_t changing = 1 << EXTENSION_abs_send_time | 1 << EXTENSION_transport_cc;

    return sent_again ? (uint16_t)(row->extension_mask & ~changing) : row->extension_mask;
}

/* Where a consumer starts: behind the indexes that were reserved for it. Otherwise at a random
 * sequence number in the lower half, so that a receiver does not take packets that arrive in
 * another order for a roll-over (RFC 3711 3.3.1). False: another consumer of the transport had its
 * SSRC, or that of its retransmissions (threat D13). A consumer that goes on keeps its media when
 * nobody can tell whether the SSRC of its retransmissions was used: *rtx says if it has any, *goes_on
 * that it goes on. */
static bool first_index(struct consumers *cs, uint32_t index, const struct consumer_row *row,
                        struct transport *t, uint64_t *first, bool *rtx, bool *goes_on)
{
    const struct resume_consumer name = {.index = index,
                                         .generation = row->header.generation,
                                         .ssrc = row->ssrc,
                                         .transport = row->transport};
    bool is_new = srtp_sent_take_late(&t->ssrcs, &t->ssrcs_skipped, row->ssrc);
    bool rtx_is_new =
        !has_rtx(row) || srtp_sent_take_late(&t->ssrcs, &t->ssrcs_skipped, row->rtx_ssrc);
    uint64_t first_rtx;

    *rtx = has_rtx(row);
    *goes_on = resume_find_rtp(cs->resume, &name, first);
    if (*goes_on) {
        *rtx &= rtx_is_new || resume_find_rtx(cs->resume, &name, row->rtx_ssrc, &first_rtx);
        return true;
    }
    *first = random_pool_take(cs->random) & 0x3fff;
    return is_new && rtx_is_new;
}

/* The producer's home computes padding with the header of the newest consumer. So a replica tells
 * the home which header that is. */
static void set_typical_header(struct consumers *cs, const struct consumer *c)
{
    struct producer *p = c->producer;

    if (header_kind_equal(&p->typical, &c->header))
        return;
    p->typical = c->header;
    if (p->is_replica)
        replica_request(cs->replicas, p);
}

static void consumer_add(struct consumers *cs, uint32_t index, const struct consumer_row *row,
                         struct transport *t)
{
    struct consumer *c = &cs->all[index];
    struct consumer_details *d = &cs->details[index];
    struct producer *p = producer_or_replica(cs->replicas, row->producer);
    uint64_t key = consumer_key(t->index, row->ssrc), first;
    bool rtx, goes_on;

    if (!p) {
        cs->turn->counters[COUNTER_rows_refused]++;
        return;
    }
    if (row->kind != p->kind || row->ssrc == 0 || map_find(&cs->ssrcs, key) != MAP_NONE ||
        !first_index(cs, index, row, t, &first, &rtx, &goes_on) ||
        !map_set(&cs->ssrcs, key, index)) {
        cs->turn->counters[COUNTER_rows_refused]++;
        replica_drop_unused(cs->replicas, p);
        return;
    }
    *c = (struct consumer){
        .egress = t->egress,
        .producer = p,
        .header = {.extension_mask = extensions_of(row, has_audio_nack(row)),
                   .mid_bytes = row->mid_bytes,
                   .payload_type = row->payload_type},
        .ssrc = row->ssrc,
        .index = index,
        .paused = row->paused,
        .is_layered = producer_is_layered(p),
        .sent.next_and_skipped = first,
    };
    memcpy(c->mid, row->mid, sizeof(c->mid));
    *d = (struct consumer_details){
        .generation = row->header.generation,
        .consumer = c,
        .transport = t,
        .preferred_spatial_layer = row->preferred_spatial_layer,
        .preferred_temporal_layer = row->preferred_temporal_layer,
        .published_spatial_layer = LAYER_NONE,
        .published_temporal_layer = LAYER_NONE,
        .has_audio_nack = has_audio_nack(row),
        .goes_on = goes_on,
        .rtx_ssrc = rtx ? row->rtx_ssrc : 0,
        .rtx_payload_type = rtx ? row->rtx_payload_type : 0,
    };
    score_reset(&d->score, SCORE_BEST);
    link_to_lists(cs, d);
    t->ice.has_receiver = true;
    set_typical_header(cs, c);
    consumer_update_wants(cs, c);
    layers_choose(cs, c);
    t->dirty = true;
    transport_report_soon(cs->transports, t);
    consumer_need_key_frame(cs, c);
}

static void consumer_change(struct consumers *cs, struct consumer *c,
                            const struct consumer_row *row)
{
    struct consumer_details *d = &cs->details[c->index];
    uint16_t mask = extensions_of(row, d->has_audio_nack);

    if (mask != c->header.extension_mask)
        repair_out_close_past(cs->repair_out, c);
    c->header.extension_mask = mask;
    set_typical_header(cs, c);
    d->preferred_spatial_layer = row->preferred_spatial_layer;
    d->preferred_temporal_layer = row->preferred_temporal_layer;
    if (c->paused != row->paused) {
        c->paused = row->paused;
        c->synchronised = false;
        consumer_update_wants(cs, c);
        consumer_need_key_frame(cs, c);
    }
    layers_choose(cs, c);
    layers_note(cs, c);
}

void consumer_reconcile(struct consumers *cs, uint32_t index, const struct consumer_row *row)
{
    struct consumer *c = &cs->all[index];
    const struct consumer_details *d = &cs->details[index];
    struct transport *t;

    if (d->generation && (!row || row->header.generation != d->generation))
        consumer_remove(cs, c, true);
    if (!row)
        return;
    if (d->generation)
        consumer_change(cs, c, row);
    else if ((t = transport_find(cs->transports, row->transport)))
        consumer_add(cs, index, row, t);
}
