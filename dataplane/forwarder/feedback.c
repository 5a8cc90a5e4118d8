/* RTCP from clients: reports, key-frame requests, goodbyes; and when we ask publishers for key
 * frames ourselves. */
#include <string.h>

#include "dataplane/engines/rtcp.h"
#include "worker.h"

#include "src/clock.h"

static struct consumer *consumer_of(struct worker *w, const struct transport *t, uint32_t ssrc)
{
    uint32_t i = map_find(&w->ssrcs, ((uint64_t)t->index + 1) << 32 | ssrc);

    return i == MAP_NONE ? NULL : &w->objects.consumers[i];
}

static struct encoding *encoding_of_ssrc(struct transport *t, uint32_t ssrc)
{
    for (unsigned i = 0; i < STREAMS_MAX; i++) {
        struct stream *s = &t->inbound->streams[i];

        if (s->producer && s->ssrc == ssrc && !s->is_rtx)
            return &s->producer->encodings[s->encoding];
    }
    return NULL;
}

/* ---- key frames ---- */

/* False: the publisher cannot be told yet (no keys, or its SSRC is not known). */
static bool key_frame_ask(struct worker *w, struct producer *p, struct encoding *e)
{
    uint8_t compound[64 + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = 64};
    uint32_t media_ssrc = e->started ? e->seen_ssrc : e->ssrc;

    if (media_ssrc == 0 || !p->transport->profile || !ice_selected_path(&p->transport->ice) ||
        !rtcp_add_pli(&buffer, p->transport->report_ssrc, media_ssrc))
        return false;
    rtcp_send(w, p->transport, compound, buffer.bytes);
    e->pli_sent++;
    w->turn.counters[COUNTER_key_frames_asked]++;
    return true;
}

/* At a replica: its home is told, once until a key frame came or a second has passed. */
static void key_frame_pass_on(struct worker *w, struct producer *p, uint8_t encoding)
{
    struct encoding *e = &p->encodings[encoding];

    if (e->key_frame_wanted && w->turn.now_ns - e->key_frame_asked_ns < KEY_FRAME_INTERVAL_NS)
        return;
    e->key_frame_wanted = true;
    e->key_frame_asked_ns = w->turn.now_ns;
    handoff_send(w, p->home, HANDOFF_key_frame, p->index, p->generation, encoding);
}

/* At most one a second and encoding leaves for the publisher (threats.md D19); asked again every
 * second until one came. */
void key_frame_request(struct worker *w, struct producer *p, uint8_t encoding)
{
    struct encoding *e = &p->encodings[encoding];
    uint64_t again_ns = w->turn.now_ns + KEY_FRAME_INTERVAL_NS;

    if (p->kind != MEDIA_KIND_video || p->paused || p->is_leaving || encoding >= p->encoding_count)
        return;
    if (p->is_replica) {
        key_frame_pass_on(w, p, encoding);
        return;
    }
    if (e->key_frame_asked_ns && w->turn.now_ns - e->key_frame_asked_ns < KEY_FRAME_INTERVAL_NS) {
        if (!e->key_frame_wanted)
            w->turn.counters[COUNTER_key_frames_held]++;
        again_ns = e->key_frame_asked_ns + KEY_FRAME_INTERVAL_NS;
    } else if (key_frame_ask(w, p, e)) {
        e->key_frame_asked_ns = w->turn.now_ns;
    } else {
        again_ns = w->turn.now_ns + KEY_FRAME_RETRY_NS;
    }
    e->key_frame_wanted = true;
    if (!p->timer.previous || again_ns < p->timer.due_ns)
        timer_set(&w->wheel, &p->timer, again_ns);
}

void key_frame_timer(struct worker *w, struct producer *p)
{
    for (uint8_t i = 0; i < p->encoding_count; i++)
        if (p->encodings[i].key_frame_wanted) {
            if (p->consumer_count == 0 && !p->replica_workers)
                p->encodings[i].key_frame_wanted = false;
            else
                key_frame_request(w, p, i);
        }
}

/* ---- what clients report ---- */

static void sender_report(struct worker *w, struct transport *t, const struct rtcp_packet *packet)
{
    struct rtcp_sender_info info;
    struct encoding *e;
    uint64_t offset;

    if (!rtcp_read_sender_info(packet, &info))
        return;
    e = encoding_of_ssrc(t, info.ssrc);
    if (!e)
        return;
    e->has_sr = true;
    e->sr_ntp = info.ntp;
    e->sr_timestamp = info.timestamp;
    e->sr_arrival_ns = w->turn.now_ns;
    /* One offset for all streams of a client keeps them in sync with each other. The smallest seen
     * is the truest; it is let up slowly, for clocks drift, and follows a jump at once. */
    offset = rtcp_ntp(w->turn.wall_ns) - info.ntp;
    if (!t->has_ntp_offset || (int64_t)(offset - t->ntp_offset) < 0 ||
        (int64_t)(offset - t->ntp_offset) > (int64_t)1 << 32)
        t->ntp_offset = offset;
    else
        t->ntp_offset += (offset - t->ntp_offset) / 64;
    t->has_ntp_offset = true;
    for (struct producer *p = t->producers; p; p = p->next) {
        p->ntp_offset = t->ntp_offset;
        handoff_report(w, p, p->replica_workers);
    }
}

static void report_blocks(struct worker *w, struct transport *t, const struct rtcp_packet *packet)
{
    struct rtcp_report_block block;
    struct consumer *c;

    for (size_t i = 0; rtcp_read_report_block(packet, i, &block); i++) {
        c = consumer_of(w, t, block.ssrc);
        if (!c)
            continue;
        c->lost = block.packets_lost;
        c->fraction_lost = block.fraction_lost;
        c->jitter = block.jitter;
        if (block.last_sr) {
            uint32_t now = rtcp_ntp_middle(rtcp_ntp(w->turn.wall_ns));
            uint32_t trip = now - block.last_sr - block.delay_since_last_sr; /* 1/65536 s */

            if (trip < 60u << 16)
                c->round_trip_us = (uint32_t)((uint64_t)trip * 1000000 >> 16);
        }
    }
}

static void consumer_wants_key_frame(struct worker *w, struct consumer *c)
{
    if (!c->paused)
        key_frame_request(w, c->producer, c->target);
}

static void payload_feedback(struct worker *w, struct transport *t,
                             const struct rtcp_packet *packet)
{
    uint32_t sender, media;
    uint8_t sequence;
    struct consumer *c;

    if (!rtcp_read_feedback(packet, &sender, &media))
        return;
    if (packet->count == PSFB_PLI) {
        c = consumer_of(w, t, media);
        if (!c)
            return;
        c->pli_received++;
        consumer_wants_key_frame(w, c);
        return;
    }
    if (packet->count != PSFB_FIR)
        return;
    for (size_t i = 0; rtcp_read_fir(packet, i, &media, &sequence); i++) {
        c = consumer_of(w, t, media);
        if (!c || (c->fir_seen && c->fir_sequence == sequence))
            continue; /* RFC 5104 4.3.1.2: the same number is the same request again */
        c->fir_seen = true;
        c->fir_sequence = sequence;
        c->fir_received++;
        consumer_wants_key_frame(w, c);
    }
}

static void transport_feedback(struct worker *w, struct transport *t,
                               const struct rtcp_packet *packet)
{
    uint32_t sender, media;
    struct consumer *c;

    if (packet->count != RTPFB_NACK || !rtcp_read_feedback(packet, &sender, &media))
        return;
    c = consumer_of(w, t, media);
    if (c)
        c->nack_received++;
}

static void bye(struct transport *t, const struct rtcp_packet *packet)
{
    uint32_t ssrc;

    for (size_t i = 0; rtcp_read_bye(packet, i, &ssrc); i++) {
        struct encoding *e = encoding_of_ssrc(t, ssrc);

        if (e)
            e->started = false; /* no more reports; the stream starts anew if it sends again */
    }
}

void feedback_receive(struct worker *w, uint32_t position, struct transport *t)
{
    struct io_datagram *datagram = &w->datagrams[position];
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    size_t bytes = datagram->bytes, count;

    switch (srtcp_unprotect(w->srtp, &t->receive_key, &t->rtcp_window, datagram->data, &bytes)) {
    case SRTP_OK:
        break;
    case SRTP_MALFORMED:
        verdict_set(w, position, VERDICT_drop_rtcp_malformed);
        return;
    case SRTP_REPLAYED:
        verdict_set(w, position, VERDICT_drop_rtcp_replay);
        return;
    default:
        verdict_set(w, position, VERDICT_drop_rtcp_unauthentic);
        return;
    }
    if (!within_rate(w, t, &t->rtcp_in_window, RTCP_PER_SECOND_MAX)) {
        verdict_set(w, position, VERDICT_drop_rtcp_limit);
        return;
    }
    count = rtcp_split(datagram->data, bytes, packets);
    verdict_set(w, position, count ? VERDICT_rtcp_consumed : VERDICT_drop_rtcp_malformed);
    for (size_t i = 0; i < count; i++) {
        switch (packets[i].type) {
        case RTCP_SR:
            sender_report(w, t, &packets[i]);
            report_blocks(w, t, &packets[i]);
            break;
        case RTCP_RR:
            report_blocks(w, t, &packets[i]);
            break;
        case RTCP_BYE:
            bye(t, &packets[i]);
            break;
        case RTCP_RTPFB:
            transport_feedback(w, t, &packets[i]);
            break;
        case RTCP_PSFB:
            payload_feedback(w, t, &packets[i]);
            break;
        default: /* SDES, XR, APP: nothing we act upon */
            break;
        }
    }
}
