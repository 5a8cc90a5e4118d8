/* RTCP to clients: receiver reports to publishers, sender reports to subscribers, goodbyes. */
#include <string.h>

#include "dataplane/engines/rtcp.h"
#include "worker.h"

#include "src/clock.h"

#define COMPOUND_BYTES 1100 /* a clear compound; the rest of the datagram is tag, index, headers */
#define REPORT_BLOCKS_MAX 31
/* Sender reports with one SDES behind them: 28 bytes each, and a chunk of at most 8 + CNAME_ROOM. */
#define SENDERS_PER_COMPOUND 10
_Static_assert(SENDERS_PER_COMPOUND *(28 + 8 + CNAME_ROOM) + 4 <= COMPOUND_BYTES, "they fit");
_Static_assert(SENDERS_PER_COMPOUND + 1 <= RTCP_PACKETS_MAX, "what we take, others may, too");

static uint32_t rtcp_next_index(struct worker *w, struct transport *t)
{
    if (t->rtcp_index >= t->rtcp_index_reserved)
        t->rtcp_index_reserved = resume_reserve_rtcp(&w->resume, t->index, t->generation,
                                                     t->rtcp_index, ice_selected_path(&t->ice));
    return t->rtcp_index++; /* past 2^31 srtcp_protect refuses: no index is used twice */
}

void rtcp_send(struct worker *w, struct transport *t, uint8_t *compound, size_t bytes)
{
    const struct path *path = ice_selected_path(&t->ice);

    if (!path || !t->profile || bytes == 0)
        return;
    if (srtcp_protect(w->srtp, &t->egress->key, rtcp_next_index(w, t), compound, &bytes) != SRTP_OK)
        return;
    if (transmit_datagram(&w->transmit, path, compound, bytes, COUNTER_rtcp_sent))
        t->bytes_sent += bytes;
}

/* RFC 3550 A.3 and 6.4.1: what this encoding lost since the last report, and in all. */
static struct rtcp_report_block block_of(const struct worker *w, struct encoding *e)
{
    uint64_t expected = e->highest_index - e->first_index + 1;
    uint64_t expected_now = expected - e->expected_prior;
    uint64_t received_now = e->packets - e->received_prior;
    int64_t lost = (int64_t)(expected - e->packets);
    struct rtcp_report_block block = {.ssrc = e->seen_ssrc, .jitter = e->jitter >> 4};

    e->expected_prior = expected;
    e->received_prior = e->packets;
    e->fraction_lost = expected_now > received_now && expected_now > 0
                           ? (uint32_t)(((expected_now - received_now) << 8) / expected_now)
                           : 0;
    if (e->fraction_lost > 255)
        e->fraction_lost = 255;
    block.fraction_lost = (uint8_t)e->fraction_lost;
    block.packets_lost = lost > 0x7fffff ? 0x7fffff : lost < -0x800000 ? -0x800000 : (int32_t)lost;
    block.highest_sequence = (uint32_t)e->highest_index;
    if (e->has_sr) {
        block.last_sr = rtcp_ntp_middle(e->sr_ntp);
        block.delay_since_last_sr =
            (uint32_t)(((w->turn.now_ns - e->sr_arrival_ns) << 16) / NS_PER_S);
    }
    return block;
}

static void receiver_reports(struct worker *w, struct transport *t)
{
    uint8_t compound[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = COMPOUND_BYTES};
    struct rtcp_report_block blocks[REPORT_BLOCKS_MAX];
    const struct rtcp_cname ours = {t->report_ssrc, "ringcast"};
    size_t count = 0;

    for (struct producer *p = t->producers; p; p = p->next)
        for (int i = 0; i < p->encoding_count && count < REPORT_BLOCKS_MAX; i++)
            if (p->encodings[i].started)
                blocks[count++] = block_of(w, &p->encodings[i]);
    if (count == 0)
        return;
    rtcp_add_rr(&buffer, t->report_ssrc, blocks, count);
    rtcp_add_sdes(&buffer, &ours, 1);
    rtcp_send(w, t, compound, buffer.bytes);
}

/* Where the producer's time-stamp clock stands now, and when that is on our clock: the mapping that
 * a receiver needs to play audio and video of one client together. */
static bool sender_info(const struct worker *w, const struct consumer *c,
                        struct rtcp_sender_info *info)
{
    const struct producer *p = c->producer;
    const struct encoding *e = &p->encodings[c->encoding];
    uint64_t now = rtcp_ntp(w->turn.wall_ns);
    int64_t since_sr; /* 32.32 s */

    if (!c->has_sent || !c->synchronised || !e->has_sr)
        return false;
    since_sr = (int64_t)(now - p->ntp_offset - e->sr_ntp);
    *info = (struct rtcp_sender_info){
        .ssrc = c->ssrc,
        .ntp = now,
        .timestamp = e->sr_timestamp + c->timestamp_offset +
                     (uint32_t)(int64_t)((__int128_t)since_sr * p->clock_rate[0] >> 32),
        .packets = (uint32_t)c->packets,
        .bytes = c->payload_bytes,
    };
    return true;
}

static void sender_reports_end(struct worker *w, struct transport *t, struct rtcp_buffer *buffer,
                               const struct rtcp_cname *sources, size_t count)
{
    rtcp_add_sdes(buffer, sources, count);
    rtcp_send(w, t, buffer->data, buffer->bytes);
    buffer->bytes = 0;
}

static void sender_reports(struct worker *w, struct transport *t)
{
    uint8_t compound[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = COMPOUND_BYTES};
    struct rtcp_cname sources[SENDERS_PER_COMPOUND];
    struct rtcp_sender_info info;
    size_t count = 0;

    for (struct consumer *c = t->consumers; c; c = c->next_of_transport) {
        if (!sender_info(w, c, &info))
            continue;
        rtcp_add_sr(&buffer, &info);
        sources[count++] = (struct rtcp_cname){c->ssrc, c->producer->cname};
        if (count == SENDERS_PER_COMPOUND) {
            sender_reports_end(w, t, &buffer, sources, count);
            count = 0;
        }
    }
    if (count)
        sender_reports_end(w, t, &buffer, sources, count);
}

void reports_send(struct worker *w, struct transport *t)
{
    receiver_reports(w, t);
    sender_reports(w, t);
}

void congestion_send(struct worker *w, struct transport *t)
{
    uint8_t packet[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    uint32_t media_ssrc = 0;
    size_t bytes;

    for (const struct producer *p = t->producers; p; p = p->next)
        if (p->encodings[0].started)
            media_ssrc =
                p->encodings[0].seen_ssrc; /* any will do: the numbers are transport-wide */
    while ((bytes = transport_cc_build_report(&t->inbound->congestion, t->report_ssrc, media_ssrc,
                                              packet, COMPOUND_BYTES)) > 0)
        rtcp_send(w, t, packet, bytes);
}

void bye_send(struct worker *w, struct consumer *c)
{
    uint8_t compound[128 + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = 128};

    if (!c->has_sent)
        return;
    /* RFC 3550 6.1: a compound starts with a report. */
    rtcp_add_rr(&buffer, c->ssrc, NULL, 0);
    rtcp_add_bye(&buffer, c->ssrc);
    rtcp_send(w, c->transport, compound, buffer.bytes);
}
