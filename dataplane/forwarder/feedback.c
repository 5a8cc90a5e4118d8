/* RTCP from clients. */
#include "feedback.h"

#include "consumer.h"
#include "dataplane/engines/rtcp.h"
#include "key_frames.h"
#include "producer.h"
#include "proofs.h"
#include "repair_out.h"
#include "replica.h"
#include "scores.h"
#include "transport.h"
#include "turn.h"

#define ROUND_TRIP_MAX (60u << 16) /* 1/65536 s; a longer one is an error, or a lie */

/* ---- from publishers ---- */

static struct encoding *encoding_of_ssrc(struct transport *t, uint32_t ssrc)
{
    for (unsigned i = 0; i < STREAMS_MAX; i++) {
        struct stream *s = &t->ingress->streams[i];

        if (s->producer && s->ssrc == ssrc && !s->is_rtx &&
            s->producer->encodings[s->encoding].seen_ssrc ==
                ssrc) /* else another one replaced it */
            return &s->producer->encodings[s->encoding];
    }
    return NULL;
}

/* The difference between our NTP clock and the client's. One value for all streams of a client
 * keeps them in sync with each other. Each report shows the difference plus its own delay in the
 * network, so the smallest value is the best one. Clocks drift apart, so the value may rise slowly;
 * a jump of more than a second is followed at once. */
static void update_ntp_offset(struct transport *t, uint64_t offset)
{
    int64_t rise = (int64_t)(offset - t->ntp_offset);

    if (!t->has_ntp_offset || rise < 0 || rise > (int64_t)1 << 32)
        t->ntp_offset = offset;
    else
        t->ntp_offset += (uint64_t)rise / 64;
    t->has_ntp_offset = true;
}

static void sender_report(struct feedback *f, struct transport *t, const struct rtcp_packet *packet)
{
    struct rtcp_sender_info info;
    struct encoding *e;

    if (!rtcp_read_sender_info(packet, &info))
        return;
    e = encoding_of_ssrc(t, info.ssrc);
    if (!e)
        return;
    e->has_sr = true;
    e->sr_ntp = info.ntp;
    e->sr_timestamp = info.timestamp;
    e->sr_arrival_ns = f->turn->now_ns;
    update_ntp_offset(t, rtcp_ntp(f->turn->wall_ns) - info.ntp);
    for (struct producer *p = t->producers; p; p = p->next) {
        p->ntp_offset = t->ntp_offset;
        replicas_send_report(f->replicas, p, p->replica_workers);
    }
}

static void bye(struct transport *t, const struct rtcp_packet *packet)
{
    uint32_t ssrc;

    for (size_t i = 0; rtcp_read_bye(packet, i, &ssrc); i++) {
        struct encoding *e = encoding_of_ssrc(t, ssrc);

        if (e)
            e->started = false; /* no more reports; statistics begin anew if it sends again */
    }
}

/* ---- from subscribers ---- */

static void report_blocks(struct feedback *f, struct transport *t, int path,
                          const struct rtcp_packet *packet)
{
    struct rtcp_report_block block;

    for (size_t i = 0; rtcp_read_report_block(packet, i, &block); i++) {
        struct consumer_details *d = consumer_find_details(f->consumers, t->index, block.ssrc);

        if (!d)
            continue;
        if (!proofs_is_complete(t, path))
            proofs_echo(f->proofs, t, path, block.last_sr);
        d->lost = block.packets_lost;
        d->fraction_lost = block.fraction_lost;
        d->jitter = block.jitter;
        if (block.last_sr && !(t->has_challenged && proofs_is_challenge(t, block.last_sr))) {
            uint32_t now = rtcp_ntp_middle(rtcp_ntp(f->turn->wall_ns));
            uint32_t trip = now - block.last_sr - block.delay_since_last_sr; /* 1/65536 s */

            if (trip < ROUND_TRIP_MAX)
                d->round_trip_us = (uint32_t)((uint64_t)trip * 1000000 >> 16);
        }
        scores_add_report(f->consumers, d);
    }
}

static void request_key_frame(struct feedback *f, struct consumer_details *d)
{
    const struct consumer *c = d->consumer;

    d->key_frame_asked_ns = f->turn->now_ns;
    if (!c->paused)
        key_frame_request(f->key_frames, c->producer, c->target);
}

static void payload_feedback(struct feedback *f, struct transport *t,
                             const struct rtcp_packet *packet)
{
    struct consumer_details *d;
    uint32_t sender, media;
    uint8_t sequence;

    if (!rtcp_read_feedback(packet, &sender, &media))
        return;
    if (packet->count == PSFB_PLI) {
        d = consumer_find_details(f->consumers, t->index, media);
        if (!d)
            return;
        d->pli_received++;
        request_key_frame(f, d);
        return;
    }
    if (packet->count != PSFB_FIR)
        return;
    for (size_t i = 0; rtcp_read_fir(packet, i, &media, &sequence); i++) {
        d = consumer_find_details(f->consumers, t->index, media);
        if (!d || (d->fir_seen && d->fir_sequence == sequence))
            continue; /* RFC 5104 4.3.1.2: the same number is the same request, sent again */
        d->fir_seen = true;
        d->fir_sequence = sequence;
        d->fir_received++;
        request_key_frame(f, d);
    }
}

static void transport_feedback(struct feedback *f, struct transport *t,
                               const struct rtcp_packet *packet)
{
    struct consumer_details *d;
    uint32_t sender, media;
    unsigned count;

    if (packet->count != RTPFB_NACK || !rtcp_read_feedback(packet, &sender, &media))
        return;
    d = consumer_find_details(f->consumers, t->index, media);
    if (!d)
        return;
    d->nack_received++;
    count =
        repair_out_answer(f->repair_out, d, packet, NACKED_PER_SECOND_MAX - t->nacked_in_window);
    d->packets_asked += count;
    f->turn->counters[COUNTER_nack_received] += count;
    t->nacked_in_window += count;
}

/* ---- from both ---- */

static void extended_report(struct feedback *f, struct transport *t,
                            const struct rtcp_packet *packet)
{
    uint32_t now = rtcp_ntp_middle(rtcp_ntp(f->turn->wall_ns)), sender;
    struct rtcp_reference_answer answer;
    uint64_t ntp;

    if (rtcp_read_reference_time(packet, &sender, &ntp)) {
        t->reference = (struct rtcp_reference_answer){sender, rtcp_ntp_middle(ntp), 0};
        t->reference_arrived_ns = f->turn->now_ns;
        t->owes_reference_answer = true;
    }
    for (size_t i = 0; rtcp_read_reference_answer(packet, i, &answer); i++) {
        uint32_t trip = now - answer.last_rr - answer.delay_since_last_rr; /* 1/65536 s */

        if (answer.ssrc != t->report_ssrc || answer.last_rr == 0 || trip >= ROUND_TRIP_MAX)
            continue;
        for (struct producer *p = t->producers; p; p = p->next)
            p->round_trip_us = (uint32_t)((uint64_t)trip * 1000000 >> 16);
        f->turn->counters[COUNTER_publisher_round_trips]++;
        return;
    }
}

/* ---- compounds ---- */

static void act_on(struct feedback *f, struct transport *t, int path,
                   const struct rtcp_packet *packet)
{
    switch (packet->type) {
    case RTCP_SR:
        sender_report(f, t, packet);
        report_blocks(f, t, path, packet);
        break;
    case RTCP_RR:
        report_blocks(f, t, path, packet);
        break;
    case RTCP_BYE:
        bye(t, packet);
        break;
    case RTCP_RTPFB:
        transport_feedback(f, t, packet);
        break;
    case RTCP_PSFB:
        payload_feedback(f, t, packet);
        break;
    case RTCP_XR:
        extended_report(f, t, packet);
        break;
    default: /* SDES, APP: ignored */
        break;
    }
}

/* The compound is authentic and has at least the eight bytes of an RTCP header with an SSRC. */
static bool within_limits(const struct feedback *f, struct transport *t, const uint8_t *compound)
{
    if (compound[1] == RTCP_RTPFB)
        return transport_count_within(t, f->turn->now_ns, &t->feedback_in_window,
                                      FEEDBACK_PER_SECOND_MAX);
    return transport_count_within(t, f->turn->now_ns, &t->rtcp_in_window, RTCP_PER_SECOND_MAX);
}

enum verdict feedback_receive(struct feedback *f, struct transport *t, int path,
                              struct io_datagram *datagram)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    size_t bytes = datagram->bytes, count;

    switch (srtcp_unprotect(f->srtp, &t->receive_key, &t->rtcp_window, datagram->data, &bytes)) {
    case SRTP_OK:
        break;
    case SRTP_MALFORMED:
        return VERDICT_drop_rtcp_malformed;
    case SRTP_REPLAYED:
        return VERDICT_drop_rtcp_replay;
    default:
        return VERDICT_drop_rtcp_unauthentic;
    }
    if (!within_limits(f, t, datagram->data))
        return VERDICT_drop_rtcp_limit;
    count = rtcp_split(datagram->data, bytes, packets);
    for (size_t i = 0; i < count; i++)
        act_on(f, t, path, &packets[i]);
    if (!proofs_is_complete(t, path))
        proofs_heard(f->proofs, t, path);
    return count ? VERDICT_rtcp_consumed : VERDICT_drop_rtcp_malformed;
}
