/* Producers: from row to object, statistics, removal. */
#include "producer.h"

#include <string.h>

#include "consumer.h"
#include "fanout.h"
#include "memory.h"
#include "publish.h"
#include "repair_in.h"
#include "replica.h"
#include "src/clock.h"
#include "transport.h"

#define LAYER_SILENT_NS (600 * NS_PER_MS) /* then a layer counts as turned off */

bool producers_open(struct producers *ps)
{
    ps->all = memory_map(sizeof(struct producer) * PRODUCERS_MAX, false);
    return ps->all;
}

void producers_close(struct producers *ps)
{
    memory_unmap(ps->all, sizeof(struct producer) * PRODUCERS_MAX);
}

/* ---- statistics ---- */

static void publish(struct producers *ps, const struct producer *p)
{
    const struct producer_state_row *before = (const struct producer_state_row *)publish_row_before(
        ps->publisher, TABLE_producer_state, p->index);
    uint64_t span_ns =
        publish_span_ns(ps->publisher, &before->header, p->generation, &before->published_ns);
    struct producer_state_row row = {.published_ns = ps->turn->now_ns,
                                     .orientation = p->orientation,
                                     .round_trip_us = p->round_trip_us};

    for (int i = 0; i < p->encoding_count; i++) {
        const struct encoding *e = &p->encodings[i];

        row.encoding_packets[i] = e->packets - e->empty_packets;
        row.encoding_bytes[i] = e->bytes;
        row.encoding_last_packet_ns[i] = e->last_packet_ns;
        row.encoding_ssrc[i] = e->started ? e->seen_ssrc : e->ssrc;
        row.encoding_jitter[i] = e->jitter >> 4;
        row.encoding_fraction_lost[i] = e->fraction_lost;
        if (e->started)
            row.encoding_packets_lost[i] =
                (int64_t)(e->highest_index - e->first_index + 1 - e->packets);
        row.encoding_bps[i] =
            publish_bps(e->bytes, &before->encoding_bytes[i], &before->encoding_bps[i], span_ns);
        row.encoding_rtx_packets[i] = (uint32_t)e->rtx_packets;
        row.encoding_rtx_ssrc[i] = e->seen_rtx_ssrc ? e->seen_rtx_ssrc : e->rtx_ssrc;
        row.encoding_score[i] = e->score.value;
        row.encoding_packets_discarded[i] = e->discarded;
        row.encoding_rtx_discarded[i] = e->rtx_discarded;
        row.encoding_key_frames[i] = e->key_frames;
        row.encoding_pli_sent[i] = e->pli_sent;
        row.encoding_fir_sent[i] = e->fir_sent;
        row.encoding_nacks_sent[i] = e->nacks_sent;
        row.encoding_packets_asked[i] = e->packets_asked;
        row.encoding_packets_repaired[i] = e->packets_repaired;
        row.encoding_bytes_repaired[i] = e->bytes_repaired;
    }
    for (int i = 0; i < ROW_LAYERS; i++) {
        row.layer_bytes[i] = p->layer_bytes[i];
        row.layer_bps[i] =
            publish_bps(p->layer_bytes[i], &before->layer_bytes[i], &before->layer_bps[i], span_ns);
    }
    publish_row(ps->publisher, TABLE_producer_state, p->index, p->generation, &row.header);
}

void producer_publish_change(struct producers *ps, const struct producer *p)
{
    publish(ps, p);
    publish_event(ps->publisher, TABLE_producer_state, p->index, p->generation);
}

void producers_publish(struct producers *ps, const struct transport *t)
{
    for (const struct producer *p = t->producers; p; p = p->next) {
        publish(ps, p);
        producer_share_alive(ps, p);
    }
}

void producer_publish_levels(struct producers *ps, const struct producer *p)
{
    struct audio_level_row row = {.newest_interval = p->levels.newest};

    memcpy(row.level, p->levels.level, sizeof(row.level));
    publish_row(ps->publisher, TABLE_audio_level, p->index, p->generation, &row.header);
}

/* ---- encodings and layers ---- */

void producer_change_wants(struct producers *ps, struct producer *p, uint8_t before, uint8_t after)
{
    uint8_t wanted = 0;

    for (unsigned e = 0; e < ENCODINGS_MAX; e++) {
        p->want_count[e] += after >> e & 1;
        p->want_count[e] -= before >> e & 1;
        wanted |= (uint8_t)((p->want_count[e] > 0) << e);
    }
    if (wanted == p->wanted)
        return;
    p->wanted = wanted;
    if (p->is_replica && !p->is_leaving)
        replica_request(ps->replicas, p);
}

/* All encodings are made of the same pictures. So one that is silent while another one is not has been
 * turned off, however few pictures there are in a second. */
static unsigned alive_at_home(const struct producer *p)
{
    uint64_t newest_ns = 0;
    unsigned alive = 0;

    for (int i = 0; i < p->encoding_count; i++)
        if (p->encodings[i].started && p->encodings[i].last_packet_ns > newest_ns)
            newest_ns = p->encodings[i].last_packet_ns;
    for (int i = 0; i < p->encoding_count; i++)
        alive |= (unsigned)(p->encodings[i].started &&
                            newest_ns - p->encodings[i].last_packet_ns < LAYER_SILENT_NS)
                 << i;
    return alive;
}

unsigned producer_alive(const struct producers *ps, const struct producer *p)
{
    return p->is_replica ? replica_alive(ps->replicas, p) : alive_at_home(p);
}

void producer_share_alive(const struct producers *ps, const struct producer *p)
{
    if (p->type == PRODUCER_TYPE_simulcast)
        replicas_share_alive(ps->replicas, p, alive_at_home(p));
}

int producer_highest_spatial(const struct producer *p)
{
    const struct encoding *e = &p->encodings[0];

    for (int i = LAYER_SPATIAL_MAX; i >= 0; i--)
        if (e->spatial_seen_ns[i] && /* a retransmission may be newer than the last packet */
            e->last_packet_ns < e->spatial_seen_ns[i] + LAYER_SILENT_NS)
            return i;
    return p->spatial_layers > 0 ? p->spatial_layers - 1 : 0;
}

/* ---- removal ---- */

/* Clears a producer that has no consumers any more. */
static void forget(struct producers *ps, struct producer *p)
{
    uint32_t generation = p->generation, index = p->index;
    bool is_replica = p->is_replica, has_levels = p->levels.extension_id;

    memset(p, 0, sizeof(*p));
    if (is_replica)
        return; /* the rows belong to its home */
    publish_gone(ps->publisher, TABLE_producer_state, index, generation);
    if (has_levels)
        publish_gone(ps->publisher, TABLE_audio_level, index, generation);
}

/* Removes up to `count` consumers of leaving producers, and all of `whole`. */
static void remove_slice(struct producers *ps, unsigned count, const struct producer *whole)
{
    struct producer **link = &ps->leaving;

    while (*link) {
        struct producer *p = *link;

        while (p->consumers && (count > 0 || p == whole)) {
            consumer_remove(ps->consumers, p->consumers, true);
            count -= count > 0;
        }
        if (p->consumers) {
            link = &p->next_leaving;
            continue;
        }
        *link = p->next_leaving;
        forget(ps, p);
    }
}

void producers_remove_slice(struct producers *ps, unsigned count)
{
    remove_slice(ps, count, NULL);
}

/* At home: removes it from its transport. */
static void unlink_from_transport(struct producers *ps, struct producer *p)
{
    struct transport *t = p->transport;
    struct producer **link = &t->producers;

    while (*link != p)
        link = &(*link)->next;
    *link = p->next;
    for (unsigned i = 0; i < STREAMS_MAX; i++)
        if (t->ingress->streams[i].producer == p)
            t->ingress->streams[i].producer = NULL; /* its SRTP state stays: see struct stream */
    p->transport = NULL;
    transport_set_rate(ps->transports, t);
    ps->count--;
    replicas_row_changed(ps->replicas, p);
}

void producer_remove(struct producers *ps, struct producer *p)
{
    if (p->is_leaving)
        return;
    if (p->is_replica)
        replica_release(ps->replicas, p);
    else
        unlink_from_transport(ps, p);
    fan_out_forget(ps->fanout, p);
    if (!p->is_replica)
        repair_in_forget(ps->repair_in, p);
    timer_cancel(&p->timer);
    p->is_leaving = true;
    p->next_leaving = ps->leaving;
    ps->leaving = p;
}

void producer_remove_now(struct producers *ps, struct producer *p)
{
    producer_remove(ps, p);
    remove_slice(ps, 0, p);
}

/* ---- row to object ---- */

/* Threat D16: one SSRC may belong to one encoding of a transport only. */
static bool ssrcs_are_taken(const struct transport *t, const struct producer_row *row)
{
    for (const struct producer *p = t->producers; p; p = p->next)
        for (int i = 0; i < p->encoding_count; i++)
            for (int j = 0; j < row->encoding_count; j++) {
                uint32_t ssrc = row->encoding_ssrc[j], rtx = row->encoding_rtx_ssrc[j];
                const struct encoding *e = &p->encodings[i];

                if ((ssrc && (ssrc == e->ssrc || ssrc == e->rtx_ssrc)) ||
                    (rtx && (rtx == e->ssrc || rtx == e->rtx_ssrc)))
                    return true;
            }
    return false;
}

void producer_fill(struct producer *p, uint32_t index, const struct producer_row *row)
{
    memset(p, 0, sizeof(*p));
    p->generation = row->header.generation;
    p->index = index;
    p->kind = row->kind;
    p->type = row->type;
    p->uses_fir = row->uses_fir;
    p->paused = row->paused;
    p->has_audio_nack = row->has_audio_nack && row->kind == MEDIA_KIND_audio;
    p->codec_count = row->codec_count;
    p->encoding_count = row->encoding_count;
    p->mid_bytes = row->mid_bytes;
    p->orientation = ORIENTATION_NONE;
    p->timer.owner = p;
    p->timer.kind = TIMER_PRODUCER;
    for (int e = 0; e < p->encoding_count; e++) {
        p->encodings[e].ssrc = row->encoding_ssrc[e];
        p->encodings[e].rtx_ssrc = row->encoding_rtx_ssrc[e];
        score_reset(&p->encodings[e].score, SCORE_BEST);
        memcpy(p->rid[e], row->encoding_rid + (size_t)e * RID_BYTES_MAX, RID_BYTES_MAX);
    }
    memcpy(p->sent_id, row->extension_sent_id, sizeof(p->sent_id));
    memcpy(p->codec, row->codec, sizeof(p->codec));
    p->spatial_layers = row->encoding_spatial_layers[0];
    memcpy(p->dependency, row->encoding_dependency, sizeof(p->dependency));
    memcpy(p->payload_type, row->codec_payload_type, sizeof(p->payload_type));
    memcpy(p->mapped_payload_type, row->codec_mapped_payload_type, sizeof(p->mapped_payload_type));
    memcpy(p->rtx_payload_type, row->codec_rtx_payload_type, sizeof(p->rtx_payload_type));
    for (int c = 0; c < CODECS_MAX; c++)
        p->clock_rate[c] = row->codec_clock_rate[c] ? row->codec_clock_rate[c] : 90000;
    memcpy(p->mid, row->mid, sizeof(p->mid));
    memcpy(p->cname, row->cname, sizeof(p->cname));
    p->cname[CNAME_ROOM - 1] = '\0';
}

/* A transport has one numbering of extensions: BUNDLE makes all its m-sections agree. */
static void learn_extensions(struct transport *t, const struct producer *p)
{
    const struct {
        enum extension_id id;
        uint8_t *to;
    } rows[] = {{EXTENSION_mid, &t->mid_id},
                {EXTENSION_rid, &t->rid_id},
                {EXTENSION_repaired_rid, &t->repaired_rid_id},
                {EXTENSION_transport_cc, &t->transport_cc_id}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (p->sent_id[rows[i].id])
            *rows[i].to = p->sent_id[rows[i].id];
}

static void producer_add(struct producers *ps, uint32_t index, const struct producer_row *row,
                         struct transport *t)
{
    struct producer *p = &ps->all[index];

    if (ssrcs_are_taken(t, row)) {
        ps->turn->counters[COUNTER_rows_refused]++;
        return;
    }
    producer_fill(p, index, row);
    p->transport = t;
    p->home = (uint8_t)ps->worker;
    p->owner = ++ps->made * WORKERS_MAX + ps->worker;
    p->ntp_offset = t->ntp_offset;
    learn_extensions(t, p);
    if (p->kind == MEDIA_KIND_audio)
        audio_levels_init(&p->levels, p->sent_id[EXTENSION_audio_level], ps->turn->audio_interval);
    p->next = t->producers;
    t->producers = p;
    transport_set_rate(ps->transports, t);
    t->has_sent = true;
    ps->count++;
    transport_report_soon(ps->transports, t);
    replicas_update_workers(ps->replicas, p);
}

static void producer_change(struct producers *ps, struct producer *p,
                            const struct producer_row *row)
{
    if (p->paused == row->paused)
        return;
    p->paused = row->paused;
    replicas_row_changed(ps->replicas, p);
    if (p->paused)
        fan_out_forget(ps->fanout, p);
    consumers_restart(ps->consumers, p);
}

void producer_reconcile(struct producers *ps, uint32_t index, const struct producer_row *row)
{
    struct producer *p = &ps->all[index];
    struct transport *t = row ? transport_find(ps->transports, row->transport) : NULL;

    if (p->generation && (!row || row->header.generation != p->generation))
        producer_remove(ps, p);
    if (t && p->generation != row->header.generation) {
        if (p->generation)
            producer_remove_now(ps, p);
        producer_add(ps, index, row, t);
    } else if (row && p->generation == row->header.generation && !p->is_leaving) {
        producer_change(ps, p, row);
        if (t)
            replicas_update_workers(ps->replicas, p);
    }
}
