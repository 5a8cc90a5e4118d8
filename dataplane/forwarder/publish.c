/* Statistics rows and events in region `actual`: what the control plane and ringcastctl see. */
#include <string.h>

#include "worker.h"

#include "src/clock.h"

void event_publish(struct worker *w, enum table_id table, uint32_t index, uint32_t generation)
{
    struct ring_note note = {.table = table, .handle = handle_make(index, generation)};

    if (!ring_put_note(&w->events, note))
        w->turn.counters[COUNTER_events_lost]++;
    w->ring_control = true;
}

static void publish(struct worker *w, enum table_id table, uint32_t index, uint32_t generation,
                    struct row_header *row)
{
    row->generation = generation;
    row->used = 1;
    row_write(table, region_row(w->config.actual, table, index), row);
}

void publish_gone(struct worker *w, enum table_id table, uint32_t index, uint32_t generation)
{
    union {
        struct row_header header;
        struct transport_state_row transport;
        struct producer_state_row producer;
        struct consumer_state_row consumer;
        struct audio_level_row level;
    } row;

    memset(&row, 0, sizeof(row));
    row.header.generation = generation;
    row_write(table, region_row(w->config.actual, table, index), &row.header);
}

/* ---- rates: since the row that stands there was published, if it is ours ---- */

#define RATE_SPAN_NS_MIN (100 * NS_PER_MS) /* a shorter span says little: the rate before stays */

/* Of the row that is about to be replaced; 0 when it is of something else. Read by atomic loads: the
 * next to write there may be another worker. */
static uint64_t span_since(const struct worker *w, const struct row_header *was,
                           uint32_t generation, const uint64_t *published_ns)
{
    return __atomic_load_n(&was->generation, __ATOMIC_RELAXED) == generation &&
                   __atomic_load_n(&was->used, __ATOMIC_RELAXED)
               ? w->turn.now_ns - __atomic_load_n(published_ns, __ATOMIC_RELAXED)
               : 0;
}

/* were, before: bytes and rate in that row, not looked at without a span. */
static uint32_t bits_per_second(uint64_t bytes, const uint64_t *were, const uint32_t *before,
                                uint64_t span_ns)
{
    uint64_t then, bps;

    if (span_ns < RATE_SPAN_NS_MIN)
        return span_ns ? __atomic_load_n(before, __ATOMIC_RELAXED) : 0;
    then = __atomic_load_n(were, __ATOMIC_RELAXED);
    bps = bytes > then ? (bytes - then) * 8000000 / (span_ns / 1000) : 0;
    return bps < UINT32_MAX ? (uint32_t)bps : UINT32_MAX;
}

void publish_transport(struct worker *w, struct transport *t)
{
    const struct transport_state_row *was = (const struct transport_state_row *)region_row(
        w->config.actual, TABLE_transport_state, t->index);
    uint64_t span_ns = span_since(w, &was->header, t->generation, &was->published_ns);
    const struct path *path = ice_selected_path(&t->ice);
    struct transport_state_row row = {
        .bytes_received = t->bytes_received,
        .bytes_sent = t->bytes_sent + t->egress->bytes,
        .rtp_packets_received = t->rtp_packets_received,
        .rtp_bytes_received = t->rtp_bytes_received,
        .rtp_packets_sent = t->egress->packets,
        .rtp_bytes_sent = t->egress->bytes,
        .last_check_ns = t->ice.last_check_ns,
        .connected_ns = t->connected_ns,
        .published_ns = w->turn.now_ns,
        .ice_state = t->ice.state,
        .dtls_state = t->dtls_state,
        .dtls_failure = t->dtls_failure,
        .srtp_profile = t->profile,
    };

    row.receive_bps =
        bits_per_second(row.bytes_received, &was->bytes_received, &was->receive_bps, span_ns);
    row.send_bps = bits_per_second(row.bytes_sent, &was->bytes_sent, &was->send_bps, span_ns);
    row.rtp_receive_bps = bits_per_second(row.rtp_bytes_received, &was->rtp_bytes_received,
                                          &was->rtp_receive_bps, span_ns);
    row.rtp_send_bps =
        bits_per_second(row.rtp_bytes_sent, &was->rtp_bytes_sent, &was->rtp_send_bps, span_ns);
    if (path) {
        memcpy(row.remote_ip, path->remote_ip, sizeof(row.remote_ip));
        memcpy(row.local_ip, path->local_ip, sizeof(row.local_ip));
        row.remote_port = path->remote_port;
        row.local_port = path->local_port;
    }
    publish(w, TABLE_transport_state, t->index, t->generation, &row.header);
}

static void publish_producer(struct worker *w, struct producer *p)
{
    const struct producer_state_row *was = (const struct producer_state_row *)region_row(
        w->config.actual, TABLE_producer_state, p->index);
    uint64_t span_ns = span_since(w, &was->header, p->generation, &was->published_ns);
    struct producer_state_row row = {.published_ns = w->turn.now_ns};

    for (int i = 0; i < p->encoding_count; i++) {
        const struct encoding *e = &p->encodings[i];

        row.encoding_packets[i] = e->packets;
        row.encoding_bytes[i] = e->bytes;
        row.encoding_last_packet_ns[i] = e->last_packet_ns;
        row.encoding_ssrc[i] = e->started ? e->seen_ssrc : e->ssrc;
        row.encoding_jitter[i] = e->jitter >> 4;
        row.encoding_fraction_lost[i] = e->fraction_lost;
        if (e->started)
            row.encoding_packets_lost[i] =
                (int64_t)(e->highest_index - e->first_index + 1 - e->packets);
        row.encoding_bps[i] =
            bits_per_second(e->bytes, &was->encoding_bytes[i], &was->encoding_bps[i], span_ns);
        row.encoding_rtx_packets[i] = (uint32_t)e->rtx_packets;
        row.encoding_pli_sent[i] = e->pli_sent;
    }
    publish(w, TABLE_producer_state, p->index, p->generation, &row.header);
}

static void publish_consumer(struct worker *w, struct consumer *c)
{
    const struct consumer_state_row *was = (const struct consumer_state_row *)region_row(
        w->config.actual, TABLE_consumer_state, c->index);
    uint64_t span_ns = span_since(w, &was->header, c->generation, &was->published_ns);
    struct consumer_state_row row = {
        .packets_sent = c->packets,
        .bytes_sent = c->bytes,
        .last_packet_ns = c->last_sent_ns,
        .packets_lost = c->lost,
        .published_ns = w->turn.now_ns,
        .fraction_lost = c->fraction_lost,
        .jitter = c->jitter,
        .round_trip_us = c->round_trip_us,
        .pli_received = c->pli_received,
        .fir_received = c->fir_received,
        .nack_received = c->nack_received,
        .encoding = c->encoding,
    };

    row.send_bps = bits_per_second(c->bytes, &was->bytes_sent, &was->send_bps, span_ns);
    publish(w, TABLE_consumer_state, c->index, c->generation, &row.header);
}

void publish_audio_levels(struct worker *w, struct producer *p)
{
    struct audio_level_row row = {.newest_interval = p->newest_interval};

    memcpy(row.level, p->levels, sizeof(row.level));
    publish(w, TABLE_audio_level, p->index, p->generation, &row.header);
}

void publish_streams(struct worker *w, struct transport *t)
{
    for (struct producer *p = t->producers; p; p = p->next)
        publish_producer(w, p);
    for (struct consumer *c = t->consumers; c; c = c->next_of_transport)
        publish_consumer(w, c);
}

void publish_worker(struct worker *w)
{
    const struct io_counters *io = w->backend->counters(w->io);
    struct worker_state_row state = {
        .heartbeat_ns = w->turn.now_ns,
        .turns = w->turn.number,
        .busy_ns = w->busy_ns,
        .transport_count = w->transport_count,
        .producer_count = w->producer_count,
        .consumer_count = w->consumer_count,
        .changes_seen = (uint32_t)w->turn.counters[COUNTER_changes_applied],
        .udp_port = w->config.udp_port,
        .has_ipv4 = w->config.has_ipv4,
        .has_ipv6 = w->config.has_ipv6,
        .backend_measured = w->config.backend_is_measured,
    };
    struct worker_counters_row counters = {0};

    strncpy(state.backend, w->backend->name, sizeof(state.backend) - 1);
    publish(w, TABLE_worker_state, w->config.index, 1, &state.header);
    w->turn.counters[COUNTER_receive_overflow] = io->receive_overflow;
    w->turn.counters[COUNTER_sends] = io->sends;
    w->turn.counters[COUNTER_sends_zero_copy] = io->zero_copy;
    w->turn.counters[COUNTER_sends_zero_copy_copied] = io->zero_copy_copied;
    w->turn.counters[COUNTER_send_failed] = io->send_failed;
    memcpy(counters.verdicts, w->turn.verdicts, sizeof(w->turn.verdicts));
    memcpy(counters.counters, w->turn.counters, sizeof(w->turn.counters));
    /* What the backend refused comes on top of what the worker could not hand over. */
    counters.counters[COUNTER_send_full] += io->send_full;
    publish(w, TABLE_worker_counters, w->config.index, 1, &counters.header);
}
_Static_assert(VERDICT_COUNT <= VERDICT_ROOM && COUNTER_COUNT <= COUNTER_ROOM,
               "counters outgrew their row");
