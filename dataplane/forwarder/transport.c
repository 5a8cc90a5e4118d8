/* Transports: from row to object, keys, the timer, statistics, removal. */
#include "transport.h"

#include <string.h>

#include "checks.h"
#include "consumer.h"
#include "handoff.h"
#include "handshaker_link.h"
#include "memory.h"
#include "producer.h"
#include "proofs.h"
#include "publish.h"
#include "random_pool.h"
#include "reports.h"
#include "scores.h"
#include "resume.h"
#include "src/clock.h"

#define REPORT_INTERVAL_NS NS_PER_S /* RTCP reports of an active transport */

bool transports_open(struct transports *ts)
{
    ts->all = memory_map(sizeof(struct transport) * TRANSPORTS_MAX, false);
    ts->egresses = memory_map(sizeof(struct egress) * TRANSPORTS_MAX, true);
    ts->ingresses = memory_map(sizeof(struct ingress) * TRANSPORTS_MAX, false);
    return ts->all && ts->egresses && ts->ingresses &&
           map_open(&ts->ufrags.map, 2 * TRANSPORTS_MAX);
}

void transports_close(struct transports *ts)
{
    memory_unmap(ts->all, sizeof(struct transport) * TRANSPORTS_MAX);
    memory_unmap(ts->egresses, sizeof(struct egress) * TRANSPORTS_MAX);
    memory_unmap(ts->ingresses, sizeof(struct ingress) * TRANSPORTS_MAX);
    map_close(&ts->ufrags.map);
}

struct transport *transport_find(const struct transports *ts, handle_word handle)
{
    uint32_t index = handle_index(handle);
    struct transport *t = index < TRANSPORTS_MAX ? &ts->all[index] : NULL;

    return t && t->generation && t->generation == handle_generation(handle) ? t : NULL;
}

void transport_update_egress(struct transport *t)
{
    const struct path *path = ice_selected_path(&t->ice);

    t->egress->open = path && t->profile;
    t->egress->is_limited = path && t->ice.paths[t->ice.selected].proof.state != PROOF_COMPLETE;
    if (path)
        t->egress->path = *path;
    if (t->profile)
        t->egress->tag_bytes = (uint8_t)srtp_tag_bytes(t->profile);
}

void transport_set_rate(const struct transports *ts, struct transport *t)
{
    enum media_kind kind = MEDIA_KIND_audio;

    for (const struct producer *p = t->producers; p; p = p->next)
        if (p->kind == MEDIA_KIND_video)
            kind = MEDIA_KIND_video;
    t->rate = &ts->rates[kind];
}

void transport_report_soon(struct transports *ts, struct transport *t)
{
    t->next_report_ns = ts->turn->now_ns;
    timer_set(ts->wheel, &t->timer, ts->turn->now_ns + PUBLISH_INTERVAL_NS);
}

/* ---- statistics ---- */

static void publish(struct transports *ts, struct transport *t)
{
    const struct transport_state_row *before =
        (const struct transport_state_row *)publish_row_before(ts->publisher, TABLE_transport_state,
                                                               t->index);
    uint64_t span_ns =
        publish_span_ns(ts->publisher, &before->header, t->generation, &before->published_ns);
    const struct path *path = ice_selected_path(&t->ice);
    struct transport_state_row row = {
        .bytes_received = t->bytes_received,
        .bytes_sent = t->bytes_sent + t->egress->bytes,
        .rtp_packets_received = t->rtp_packets_received,
        .rtp_bytes_received = t->rtp_bytes_received,
        .rtp_packets_sent = t->egress->packets,
        .rtp_bytes_sent = t->egress->bytes - t->egress->packets * t->egress->tag_bytes,
        .rtx_bytes_received = t->rtx_bytes_received,
        .rtx_bytes_sent = t->egress->rtx_bytes - t->egress->rtx_packets * t->egress->tag_bytes,
        .last_check_ns = t->ice.last_check_ns,
        .connected_ns = t->connected_ns,
        .published_ns = ts->turn->now_ns,
        .ice_state = t->ice.state,
        .dtls_state = t->dtls_state,
        .dtls_failure = t->dtls_failure,
        .srtp_profile = t->profile,
        .path_moves = t->ice.moves,
        .path_withheld = t->withheld,
    };

    row.receive_bps =
        publish_bps(row.bytes_received, &before->bytes_received, &before->receive_bps, span_ns);
    row.send_bps = publish_bps(row.bytes_sent, &before->bytes_sent, &before->send_bps, span_ns);
    row.rtp_receive_bps = publish_bps(row.rtp_bytes_received, &before->rtp_bytes_received,
                                      &before->rtp_receive_bps, span_ns);
    row.rtp_send_bps =
        publish_bps(row.rtp_bytes_sent, &before->rtp_bytes_sent, &before->rtp_send_bps, span_ns);
    row.rtx_receive_bps = publish_bps(row.rtx_bytes_received, &before->rtx_bytes_received,
                                      &before->rtx_receive_bps, span_ns);
    row.rtx_send_bps =
        publish_bps(row.rtx_bytes_sent, &before->rtx_bytes_sent, &before->rtx_send_bps, span_ns);
    if (path) {
        memcpy(row.remote_ip, path->remote_ip, sizeof(row.remote_ip));
        memcpy(row.local_ip, path->local_ip, sizeof(row.local_ip));
        row.remote_port = path->remote_port;
        row.local_port = path->local_port;
        row.path_proof = t->ice.paths[t->ice.selected].proof.state;
    }
    row.path_count = (uint8_t)__builtin_popcount(t->mapped_bits);
    publish_row(ts->publisher, TABLE_transport_state, t->index, t->generation, &row.header);
}

/* An earlier forwarder has published which path it had a proof of. The client need not prove it
 * again when its next check comes from there. */
static void remember_path(struct transports *ts, struct transport *t)
{
    const struct row_header *before =
        publish_row_before(ts->publisher, TABLE_transport_state, t->index);
    struct transport_state_row row;

    if (__atomic_load_n(&before->generation, __ATOMIC_RELAXED) != t->generation ||
        row_copy(TABLE_transport_state, &row, before, t->generation) != ROW_OK ||
        row.path_proof != PROOF_COMPLETE)
        return;
    memcpy(t->ice.proven_before.remote_ip, row.remote_ip, sizeof(row.remote_ip));
    memcpy(t->ice.proven_before.local_ip, row.local_ip, sizeof(row.local_ip));
    t->ice.proven_before.remote_port = row.remote_port;
    t->ice.proven_before.local_port = row.local_port;
}

void transport_publish_change(struct transports *ts, struct transport *t)
{
    publish(ts, t);
    publish_event(ts->publisher, TABLE_transport_state, t->index, t->generation);
}

/* ---- keys ---- */

/* Makes keys from the row. Without a protection profile there are none, and nothing is sent or
 * taken (gate G7). */
static void take_keys(struct transports *ts, struct transport *t, const struct key_row *row)
{
    struct srtp_engine *srtp = ts->srtp;

    if (row->state == DTLS_STATE_connected) {
        if (t->profile ||
            !srtp_key_init(srtp, &t->egress->key, row->profile, row->ours_key, row->ours_salt) ||
            !srtp_key_init(srtp, &t->receive_key, row->profile, row->theirs_key, row->theirs_salt))
            return;
        t->profile = row->profile;
        ice_take_keys(&t->ice);
        t->connected_ns = ts->turn->now_ns;
        t->dtls_state = DTLS_STATE_connected;
        return;
    }
    t->dtls_state = row->state;
    t->dtls_failure = row->failure;
    if (t->profile && (row->state == DTLS_STATE_closed || row->state == DTLS_STATE_failed)) {
        t->profile = 0;
        srtp_key_wipe(&t->egress->key);
        srtp_key_wipe(&t->receive_key);
    }
}

void transport_read_keys(struct transports *ts, struct transport *t)
{
    struct key_row row;
    bool was_keyed = t->profile != 0;

    if (row_copy(TABLE_key, &row, region_row(ts->keys, TABLE_key, t->index), t->generation) !=
        ROW_OK)
        return;
    take_keys(ts, t, &row);
    explicit_bzero(&row, sizeof(row));
    transport_update_egress(t);
    if (t->profile && !was_keyed) {
        consumers_request_key_frames(ts->consumers, t);
        transport_report_soon(ts, t);
    }
    transport_publish_change(ts, t);
}

/* ---- row to object ---- */

static void transport_remove(struct transports *ts, struct transport *t)
{
    uint32_t generation = t->generation, index = t->index;

    while (t->consumers)
        consumer_remove(ts->consumers, t->consumers->consumer, false);
    while (t->producers)
        producer_remove(ts->producers, t->producers);
    handshaker_notify(ts->handshaker, t, DTLS_NOTE_closed);
    checks_forget(ts->checks, t);
    credentials_forget(&ts->ufrags, t);
    timer_cancel(&t->timer);
    timer_cancel(&t->feedback_timer);
    srtp_key_wipe(&t->receive_key);
    explicit_bzero(t->egress, sizeof(*t->egress));
    if (t->has_sent)
        memset(t->ingress, 0, sizeof(*t->ingress));
    memset(t, 0, sizeof(*t));
    ts->count--;
    handoff_release_transport(ts->lanes, index);
    publish_gone(ts->publisher, TABLE_transport_state, index, generation);
}

static void transport_add(struct transports *ts, uint32_t index, const struct transport_row *row)
{
    struct transport *t = &ts->all[index];

    t->index = index; /* everything else is 0 in a free transport */
    if (!handoff_claim_transport(ts->lanes, index)) {
        ts->waits_for_claim = true;
        return;
    }
    if (!credentials_take(&ts->ufrags, t, row)) {
        handoff_release_transport(ts->lanes, index);
        ts->turn->counters[COUNTER_rows_refused]++;
        return;
    }
    t->generation = row->header.generation;
    t->egress = &ts->egresses[index];
    t->ingress = &ts->ingresses[index];
    t->dtls_role = row->dtls_role;
    transport_set_rate(ts, t);
    ice_init_zeroed(&t->ice);
    t->asked = -1;
    remember_path(ts, t);
    t->report_ssrc = random_pool_take(ts->random) | 1;
    t->timer.owner = t;
    t->timer.kind = TIMER_TRANSPORT;
    t->feedback_timer.owner = t;
    t->feedback_timer.kind = TIMER_FEEDBACK;
    resume_find_rtcp(ts->resume, index, t->generation, &t->rtcp_index);
    resume_find_ssrcs(ts->resume, index, t->generation, &t->ssrcs, &t->ssrcs_skipped);
    ts->count++;
    timer_set(ts->wheel, &t->timer, ts->turn->now_ns + IDLE_INTERVAL_NS);
    transport_read_keys(ts, t); /* there may be keys already: an earlier forwarder died */
    publish(ts, t);
}

static void transport_change(struct transports *ts, struct transport *t,
                             const struct transport_row *row)
{
    if (!credentials_take(&ts->ufrags, t, row))
        ts->turn->counters[COUNTER_rows_refused]++;
    if (t->dtls_role == row->dtls_role)
        return;
    t->dtls_role = row->dtls_role;
    /* As DTLS client the handshaker sends first, and now it knows that it is the client. */
    if (t->handshaker_is_notified)
        handshaker_notify(ts->handshaker, t, DTLS_NOTE_validated);
}

void transport_reconcile(struct transports *ts, uint32_t index, const struct transport_row *row)
{
    struct transport *t = &ts->all[index];

    if (row && row->worker != ts->worker)
        row = NULL;
    if (t->generation && (!row || row->header.generation != t->generation))
        transport_remove(ts, t);
    if (row && t->generation)
        transport_change(ts, t, row);
    else if (row)
        transport_add(ts, index, row);
}

/* ---- the timer ---- */

void transport_on_timer(struct transports *ts, struct transport *t)
{
    uint64_t now_ns = ts->turn->now_ns, next_ns = now_ns + IDLE_INTERVAL_NS;

    if (ice_check_consent(&t->ice, now_ns, ts->consent_ns))
        checks_lose_consent(ts->checks, t);
    if (t->egress->open && (t->producers || t->consumers)) {
        consumers_choose_layers(ts->consumers, t);
        if (t->asked >= 0)
            proofs_ask(ts->proofs, t, t->asked);
        scores_watch(ts->producers, t);
        if (now_ns >= t->next_report_ns) {
            scores_add_interval(ts->producers, t);
            reports_send(ts->reports, t);
            t->next_report_ns = now_ns + REPORT_INTERVAL_NS;
        }
        next_ns = now_ns + PUBLISH_INTERVAL_NS;
    }
    if ((t->dirty || t->egress->dirty) && now_ns >= t->next_publish_ns) {
        publish(ts, t);
        producers_publish(ts->producers, t);
        consumers_publish(ts->consumers, t);
        t->next_publish_ns = now_ns + PUBLISH_INTERVAL_NS;
        t->dirty = false;
        t->egress->dirty = false;
    }
    timer_set(ts->wheel, &t->timer, next_ns);
}
