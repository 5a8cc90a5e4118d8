/* Table changes: makes this worker's objects say what the rows of `desired` say.
 *
 * A change note only names a row; reconcile() looks at the row and at the object and closes the gap.
 * Losing every note and scanning the tables gives the same result (architecture, rule 3). */
#include <string.h>

#include "worker.h"

#include "src/clock.h"

static void refuse(struct worker *w)
{
    w->turn.counters[COUNTER_rows_refused]++;
}

/* ---- consumers ---- */

static void consumer_remove(struct worker *w, struct consumer *c, bool say_goodbye)
{
    uint32_t generation = c->generation, index = c->index;
    struct producer *p = c->producer;

    if (say_goodbye)
        bye_send(w, c);
    map_remove(&w->ssrcs, ((uint64_t)c->transport->index + 1) << 32 | c->ssrc, c->index);
    if (p->cursor == c)
        p->cursor = c->next_of_producer;
    *c->previous_of_producer = c->next_of_producer;
    if (c->next_of_producer)
        c->next_of_producer->previous_of_producer = c->previous_of_producer;
    *c->previous_of_transport = c->next_of_transport;
    if (c->next_of_transport)
        c->next_of_transport->previous_of_transport = c->previous_of_transport;
    p->consumer_count--;
    c->transport->consumer_count--;
    w->consumer_count--;
    memset(c, 0, sizeof(*c));
    publish_gone(w, TABLE_consumer_state, index, generation);
    replica_drop_unused(w, p);
}

static void consumer_link(struct consumer *c)
{
    c->previous_of_producer = &c->producer->consumers;
    c->next_of_producer = c->producer->consumers;
    if (c->next_of_producer)
        c->next_of_producer->previous_of_producer = &c->next_of_producer;
    c->producer->consumers = c;
    c->previous_of_transport = &c->transport->consumers;
    c->next_of_transport = c->transport->consumers;
    if (c->next_of_transport)
        c->next_of_transport->previous_of_transport = &c->next_of_transport;
    c->transport->consumers = c;
    c->producer->consumer_count++;
    c->transport->consumer_count++;
}

/* The first SRTP index of a new SSRC: random in the lower half, so that a receiver cannot mistake an
 * early reordering for a roll-over (RFC 3711 3.3.1); behind the reserved range when a forwarder
 * before us has sent with this key. */
static uint64_t first_index(struct worker *w, const struct consumer *c)
{
    uint64_t reserved;

    if (resume_find_rtp(&w->resume, c->index, c->generation, &reserved))
        return reserved;
    return random_pool_take(&w->random) & 0x3fff;
}

static struct header_kind header_kind_of(const struct consumer_row *row)
{
    return (struct header_kind){.extension_mask = row->extension_mask,
                                .mid_bytes = row->mid_bytes,
                                .payload_type = row->payload_type};
}

/* What the latest consumer gets is what padding reckons with, at the producer's home too. */
static void consumer_is_typical(struct worker *w, const struct consumer *c)
{
    struct producer *p = c->producer;

    if (header_kind_equal(&p->typical, &c->header))
        return;
    p->typical = c->header;
    if (p->is_replica)
        replica_want(w, p);
}

static void consumer_add(struct worker *w, uint32_t index, const struct consumer_row *row)
{
    struct consumer *c = &w->objects.consumers[index];
    struct transport *t = worker_transport(w, row->transport);
    struct producer *p = t ? producer_or_replica(w, row->producer) : NULL;
    uint64_t key;

    if (!p) {
        refuse(w);
        return;
    }
    key = ((uint64_t)t->index + 1) << 32 | row->ssrc;
    if (row->kind != p->kind || row->ssrc == 0 || map_find(&w->ssrcs, key) != MAP_NONE ||
        !map_set(&w->ssrcs, key, index)) {
        refuse(w);
        replica_drop_unused(w, p);
        return;
    }
    *c = (struct consumer){
        .generation = row->header.generation,
        .index = index,
        .transport = t,
        .egress = t->egress,
        .producer = p,
        .ssrc = row->ssrc,
        .rtx_ssrc = row->rtx_ssrc,
        .header = header_kind_of(row),
        .kind = row->kind,
        .paused = row->paused,
        .preferred_spatial_layer = row->preferred_spatial_layer,
    };
    memcpy(c->mid, row->mid, sizeof(c->mid));
    c->highest_out = first_index(w, c);
    consumer_link(c);
    consumer_is_typical(w, c);
    w->consumer_count++;
    t->dirty = true;
    t->next_report_ns = w->turn.now_ns;
    timer_set(&w->wheel, &t->timer, w->turn.now_ns + PUBLISH_INTERVAL_NS);
    if (!c->paused)
        key_frame_request(w, p, c->target);
}

static void consumer_change(struct worker *w, struct consumer *c, const struct consumer_row *row)
{
    c->header.extension_mask = row->extension_mask;
    consumer_is_typical(w, c);
    c->preferred_spatial_layer = row->preferred_spatial_layer;
    if (c->paused == row->paused)
        return;
    c->paused = row->paused;
    c->synchronised = false;
    if (!c->paused)
        key_frame_request(w, c->producer, c->target);
}

static void reconcile_consumer(struct worker *w, uint32_t index, const struct consumer_row *row)
{
    struct consumer *c = &w->objects.consumers[index];

    if (c->generation && (!row || row->header.generation != c->generation))
        consumer_remove(w, c, true);
    if (!row)
        return;
    if (c->generation)
        consumer_change(w, c, row);
    else if (worker_transport(w, row->transport))
        consumer_add(w, index, row);
}

/* ---- producers ---- */

/* The last of a producer, when it has no consumers any more. */
static void producer_forget(struct worker *w, struct producer *p)
{
    uint32_t generation = p->generation, index = p->index;
    bool is_replica = p->is_replica, has_levels = p->level_id;

    memset(p, 0, sizeof(*p));
    if (is_replica)
        return;
    publish_gone(w, TABLE_producer_state, index, generation);
    if (has_levels)
        publish_gone(w, TABLE_audio_level, index, generation);
}

/* Takes consumers off producers that go, so many that no turn is long; `all`: it must be done now,
 * for its index is taken anew. */
static void leaving_slice(struct worker *w, unsigned share, const struct producer *all)
{
    struct producer **link = &w->leaving;

    while (*link) {
        struct producer *p = *link;

        while (p->consumers && (share > 0 || p == all)) {
            consumer_remove(w, p->consumers, true);
            share -= share > 0;
        }
        if (p->consumers) {
            link = &p->next_leaving;
            continue;
        }
        *link = p->next_leaving;
        producer_forget(w, p);
    }
}

/* At home: off its transport. */
static void producer_unlink(struct worker *w, struct producer *p)
{
    struct transport *t = p->transport;
    struct producer **link = &t->producers;

    while (*link != p)
        link = &(*link)->next;
    *link = p->next;
    for (unsigned i = 0; i < STREAMS_MAX; i++)
        if (t->inbound->streams[i].producer == p)
            t->inbound->streams[i].producer = NULL; /* its SRTP state stays: see struct stream */
    p->transport = NULL;
    w->producer_count--;
    replica_workers_row_changed(w, p);
}

void producer_remove(struct worker *w, struct producer *p)
{
    if (p->is_leaving)
        return;
    if (p->is_replica)
        replica_unwant(w, p);
    else
        producer_unlink(w, p);
    fan_out_forget(w, p);
    timer_cancel(&p->timer);
    p->is_leaving = true;
    p->next_leaving = w->leaving;
    w->leaving = p;
}

void producer_replace(struct worker *w, struct producer *p)
{
    producer_remove(w, p);
    leaving_slice(w, 0, p);
}

/* D16: one SSRC may belong to one encoding of a transport only. */
static bool ssrcs_taken(const struct transport *t, const struct producer_row *row)
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
    p->paused = row->paused;
    p->codec_count = row->codec_count;
    p->encoding_count = row->encoding_count;
    p->mid_bytes = row->mid_bytes;
    p->timer.owner = p;
    p->timer.kind = TIMER_PRODUCER;
    for (int e = 0; e < p->encoding_count; e++) {
        p->encodings[e].ssrc = row->encoding_ssrc[e];
        p->encodings[e].rtx_ssrc = row->encoding_rtx_ssrc[e];
        memcpy(p->rid[e], row->encoding_rid + (size_t)e * RID_BYTES_MAX, RID_BYTES_MAX);
    }
    memcpy(p->router_id, row->extension_router_id, sizeof(p->router_id));
    memcpy(p->codec, row->codec, sizeof(p->codec));
    memcpy(p->payload_type, row->codec_payload_type, sizeof(p->payload_type));
    memcpy(p->mapped_payload_type, row->codec_mapped_payload_type, sizeof(p->mapped_payload_type));
    memcpy(p->rtx_payload_type, row->codec_rtx_payload_type, sizeof(p->rtx_payload_type));
    for (int c = 0; c < CODECS_MAX; c++)
        p->clock_rate[c] = row->codec_clock_rate[c] ? row->codec_clock_rate[c] : 90000;
    memcpy(p->mid, row->mid, sizeof(p->mid));
    memcpy(p->cname, row->cname, sizeof(p->cname));
    p->cname[CNAME_ROOM - 1] = '\0';
}

/* One numbering per transport: BUNDLE makes the ids of all its m-sections agree. */
static void producer_extensions(struct transport *t, const struct producer *p)
{
    for (uint8_t id = 1; id < 15; id++) {
        if (p->router_id[id] == EXTENSION_mid)
            t->mid_id = id;
        else if (p->router_id[id] == EXTENSION_rid)
            t->rid_id = id;
        else if (p->router_id[id] == EXTENSION_repaired_rid)
            t->repaired_rid_id = id;
        else if (p->router_id[id] == EXTENSION_transport_cc)
            t->transport_cc_id = id;
    }
}

static void producer_add(struct worker *w, uint32_t index, const struct producer_row *row)
{
    struct producer *p = &w->objects.producers[index];
    struct transport *t = worker_transport(w, row->transport);

    if (!t || ssrcs_taken(t, row)) {
        refuse(w);
        return;
    }
    producer_fill(p, index, row);
    p->transport = t;
    p->home = (uint8_t)w->config.index;
    p->ntp_offset = t->ntp_offset;
    producer_extensions(t, p);
    audio_levels_begin(w, p);
    p->next = t->producers;
    t->producers = p;
    t->has_published = true;
    w->producer_count++;
    t->next_report_ns = w->turn.now_ns;
    timer_set(&w->wheel, &t->timer, w->turn.now_ns + PUBLISH_INTERVAL_NS);
    replica_workers_update(w, p);
}
void producer_change(struct worker *w, struct producer *p, const struct producer_row *row)
{
    if (p->paused == row->paused)
        return;
    p->paused = row->paused;
    replica_workers_row_changed(w, p);
    if (p->paused)
        fan_out_forget(w, p);
    for (struct consumer *c = p->consumers; c; c = c->next_of_producer) {
        c->synchronised = false; /* what was not forwarded must leave no gap in their numbering */
        if (!p->paused && !c->paused)
            key_frame_request(w, p, c->target);
    }
}

static void reconcile_producer(struct worker *w, uint32_t index, const struct producer_row *row)
{
    struct producer *p = &w->objects.producers[index];
    bool is_home = row && worker_transport(w, row->transport);

    if (p->generation && (!row || row->header.generation != p->generation))
        producer_remove(w, p);
    if (is_home && p->generation != row->header.generation) {
        if (p->generation)
            producer_replace(w, p);
        producer_add(w, index, row);
    } else if (row && p->generation == row->header.generation && !p->is_leaving) {
        producer_change(w, p, row);
        if (is_home)
            replica_workers_update(w, p);
    }
}

/* ---- transports ---- */

static void transport_remove(struct worker *w, struct transport *t)
{
    uint32_t generation = t->generation, index = t->index;

    while (t->consumers)
        consumer_remove(w, t->consumers, false);
    while (t->producers)
        producer_remove(w, t->producers);
    handshaker_notify(w, t, DTLS_NOTE_closed);
    ice_init(&t->ice);
    paths_update(w, t);
    credentials_forget(w, t);
    timer_cancel(&t->timer);
    timer_cancel(&t->feedback_timer);
    srtp_key_wipe(&t->receive_key);
    explicit_bzero(t->egress, sizeof(*t->egress));
    if (t->has_published)
        memset(t->inbound, 0, sizeof(*t->inbound));
    memset(t, 0, sizeof(*t));
    w->transport_count--;
    publish_gone(w, TABLE_transport_state, index, generation);
}

static void transport_add(struct worker *w, uint32_t index, const struct transport_row *row)
{
    struct transport *t = &w->objects.transports[index];

    memset(t, 0, sizeof(*t));
    t->index = index;
    if (!credentials_take(w, t, row)) {
        refuse(w);
        return;
    }
    t->generation = row->header.generation;
    t->egress = &w->objects.egresses[index];
    t->inbound = &w->objects.inbounds[index];
    memcpy(t->id, row->id, sizeof(t->id));
    t->direction = row->direction;
    t->dtls_role = row->dtls_role;
    ice_init(&t->ice);
    t->report_ssrc = random_pool_take(&w->random) | 1;
    t->timer.owner = t;
    t->timer.kind = TIMER_TRANSPORT;
    t->feedback_timer.owner = t;
    t->feedback_timer.kind = TIMER_FEEDBACK;
    resume_find_rtcp(&w->resume, index, t->generation, &t->rtcp_index);
    w->transport_count++;
    timer_set(&w->wheel, &t->timer, w->turn.now_ns + IDLE_INTERVAL_NS);
    transport_keys(w, t); /* they are there already when a forwarder before us died */
    publish_transport(w, t);
}

static void reconcile_transport(struct worker *w, uint32_t index, const struct transport_row *row)
{
    struct transport *t = &w->objects.transports[index];

    if (row && row->worker != w->config.index)
        row = NULL;
    if (t->generation && (!row || row->header.generation != t->generation))
        transport_remove(w, t);
    if (!row)
        return;
    if (!t->generation) {
        transport_add(w, index, row);
        return;
    }
    if (!credentials_take(w, t, row))
        refuse(w);
    if (t->dtls_role != row->dtls_role) {
        t->dtls_role = row->dtls_role;
        /* As DTLS client we start, and could not before the role was known. */
        if (t->validated_notified)
            handshaker_notify(w, t, DTLS_NOTE_validated);
    }
}

void transport_keys(struct worker *w, struct transport *t)
{
    struct key_row row;
    bool was_keyed = t->profile != 0;

    if (row_copy(TABLE_key, &row, region_row(w->config.keys, TABLE_key, t->index), t->generation) !=
        ROW_OK)
        return;
    if (row.state == DTLS_STATE_connected && !was_keyed &&
        srtp_key_init(w->srtp, &t->egress->key, row.profile, row.ours_key, row.ours_salt) &&
        srtp_key_init(w->srtp, &t->receive_key, row.profile, row.theirs_key, row.theirs_salt)) {
        t->profile = row.profile;
        t->connected_ns = w->turn.now_ns;
        t->dtls_state = DTLS_STATE_connected;
    } else if (row.state != DTLS_STATE_connected) {
        t->dtls_state = row.state;
        t->dtls_failure = row.failure;
        if (was_keyed && (row.state == DTLS_STATE_closed || row.state == DTLS_STATE_failed)) {
            t->profile = 0;
            srtp_key_wipe(&t->egress->key);
            srtp_key_wipe(&t->receive_key);
        }
    }
    explicit_bzero(&row, sizeof(row));
    egress_update(t);
    if (t->profile && !was_keyed) {
        for (struct consumer *c = t->consumers; c; c = c->next_of_transport)
            if (!c->paused)
                key_frame_request(w, c->producer, c->target);
        t->next_report_ns = w->turn.now_ns;
        timer_set(&w->wheel, &t->timer, w->turn.now_ns + PUBLISH_INTERVAL_NS);
    }
    publish_transport(w, t);
    event_publish(w, TABLE_transport_state, t->index, t->generation);
}

/* ---- rows ---- */

/* A row whose writer is inside just now is left alone: the writer sends a note when it is done, and
 * one that died there is followed by a control plane that writes its rows anew. */
static void reconcile(struct worker *w, enum table_id table, uint32_t index)
{
    union {
        struct row_header header;
        struct transport_row transport;
        struct producer_row producer;
        struct consumer_row consumer;
    } row;
    enum row_verdict verdict =
        row_copy(table, &row, region_row(w->config.desired, table, index), 0);

    if (verdict == ROW_TORN)
        return;
    if (verdict == ROW_RANGE)
        refuse(w);
    w->turn.counters[COUNTER_changes_applied]++;
    if (table == TABLE_transport)
        reconcile_transport(w, index, verdict == ROW_OK ? &row.transport : NULL);
    else if (table == TABLE_producer)
        reconcile_producer(w, index, verdict == ROW_OK ? &row.producer : NULL);
    else
        reconcile_consumer(w, index, verdict == ROW_OK ? &row.consumer : NULL);
    explicit_bzero(&row, sizeof(row)); /* it held an ICE password */
}

void rescan_start(struct worker *w)
{
    w->rescan.active = true;
    w->rescan.table = TABLE_transport;
    w->rescan.row = 0;
    w->turn.counters[COUNTER_rescans]++;
}

void producer_look(struct worker *w, uint32_t index)
{
    if (index < PRODUCERS_MAX)
        reconcile(w, TABLE_producer, index);
}

/* A slice of a full scan, transports before producers before consumers. Rows that were never used
 * (generation 0) and that we have no object for are passed over without a copy. */
static void rescan_slice(struct worker *w)
{
    for (unsigned n = 0; n < RESCAN_ROWS_PER_TURN && w->rescan.active; n++) {
        const struct row_header *row =
            region_row(w->config.desired, w->rescan.table, w->rescan.row);

        if (__atomic_load_n(&row->generation, __ATOMIC_RELAXED) == 0) {
            /* Rows are taken from the front: the first one never used ends the table. */
            w->rescan.row = tables[w->rescan.table].rows;
        } else {
            reconcile(w, w->rescan.table, w->rescan.row);
            w->rescan.row++;
        }
        if (w->rescan.row < tables[w->rescan.table].rows)
            continue;
        w->rescan.row = 0;
        if (w->rescan.table == TABLE_transport)
            w->rescan.table = TABLE_producer;
        else if (w->rescan.table == TABLE_producer)
            w->rescan.table = TABLE_consumer;
        else
            w->rescan.active = false;
    }
}

void reconcile_changes(struct worker *w)
{
    if (ring_overflowed(&w->changes))
        rescan_start(w);
    for (unsigned n = 0; n < CHANGES_PER_TURN; n++) {
        const struct ring_note *shared = ring_peek(&w->changes);
        uint32_t table, index;

        if (!shared)
            break;
        table = __atomic_load_n(&shared->table, __ATOMIC_RELAXED);
        index = handle_index(__atomic_load_n(&shared->handle, __ATOMIC_RELAXED));
        if ((table == TABLE_transport || table == TABLE_producer || table == TABLE_consumer) &&
            index < tables[table].rows)
            reconcile(w, table, index);
        else if (table != TABLE_room)
            refuse(w);
        ring_consume(&w->changes);
    }
    if (w->rescan.active)
        rescan_slice(w);
    leaving_slice(w, CHANGES_PER_TURN, NULL);
}
