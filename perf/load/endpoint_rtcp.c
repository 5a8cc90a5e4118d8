/* RTCP compounds of one endpoint, outgoing and incoming. */
#include "endpoint_rtcp.h"

#include "dataplane/engines/rtcp.h"
#include "dataplane/engines/transport_cc.h"
#include "endpoint.h"
#include "media.h"
#include "net.h"
#include "receiver.h"
#include "senders.h"
#include "src/clock.h"

#define COMPOUND_BYTES 1200
#define BLOCKS_MAX 31
#define PLI_INTERVAL_NS NS_PER_S

static void send_compound(struct endpoint *e, struct rtcp_buffer *b)
{
    size_t bytes = b->bytes;

    if (bytes == 0 ||
        srtcp_protect(e->media->engine, &e->ours, e->rtcp_index++, b->data, &bytes) != SRTP_OK)
        return;
    net_send(e->media->net, e->index, &e->remote.address, b->data, bytes);
    e->media->measurement.counts.rtcp_sent++;
}

/* ---- outgoing ---- */

static void send_sender_report(struct endpoint *e, struct sender *s)
{
    uint8_t data[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer b = {.data = data, .capacity = COMPOUND_BYTES};
    uint64_t wall = clock_wall_ns();
    uint64_t clock_rate = s->kind == STREAM_VIDEO ? 90000 : 48000;
    struct rtcp_sender_info info = {
        .ssrc = s->ssrc, .ntp = rtcp_ntp(wall), .packets = s->packets, .bytes = s->bytes};

    if (s->packets == 0)
        return;
    /* RTP time stamp of now: that of the last frame plus the time since it was captured. */
    info.timestamp =
        s->timestamp - s->ticks + (uint32_t)((wall - s->captured_wall_ns) * clock_rate / NS_PER_S);
    rtcp_add_sr(&b, &info);
    rtcp_add_sdes(&b, &(struct rtcp_cname){s->ssrc, e->local.cname}, 1);
    send_compound(e, &b);
}

static void send_key_frame_request(struct endpoint *e, struct receiver *r)
{
    uint8_t data[64 + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer b = {.data = data, .capacity = 64};

    if (r->key_frame_asked_ns && e->media->now_ns - r->key_frame_asked_ns < PLI_INTERVAL_NS)
        return;
    r->key_frame_asked_ns = e->media->now_ns;
    rtcp_add_pli(&b, e->report_ssrc, r->ssrc);
    send_compound(e, &b);
    e->media->measurement.counts.pli_sent++;
}

void endpoint_send_reports(struct endpoint *e)
{
    struct rtcp_report_block blocks[BLOCKS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < e->sender_count; i++)
        send_sender_report(e, e->senders[i]);
    for (unsigned i = 0; i < e->receiver_count; i++) {
        if (e->receivers[i]->has_packets)
            receiver_report(e->receivers[i], &blocks[count++], e->media->now_ns);
        if (count == BLOCKS_MAX || (count && i + 1 == e->receiver_count)) {
            uint8_t data[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
            struct rtcp_buffer b = {.data = data, .capacity = COMPOUND_BYTES};

            rtcp_add_rr(&b, e->report_ssrc, blocks, count);
            send_compound(e, &b);
            count = 0;
        }
    }
    for (unsigned i = 0; i < e->receiver_count; i++)
        if ((!e->receivers[i]->decodable || e->receivers[i]->needs_key) &&
            e->receivers[i]->kind == STREAM_VIDEO)
            send_key_frame_request(e, e->receivers[i]);
}

void endpoint_send_transport_cc(struct endpoint *e)
{
    uint8_t data[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];

    e->next_feedback_ns = 0;
    for (;;) {
        struct rtcp_buffer b = {.data = data, .capacity = COMPOUND_BYTES};

        b.bytes = transport_cc_build_report(e->transport_cc, e->report_ssrc, e->transport_cc_media,
                                            data, COMPOUND_BYTES);
        if (b.bytes == 0)
            break;
        send_compound(e, &b);
        e->media->measurement.counts.transport_cc_sent++;
    }
}

/* Appends the NACK of one stream. A compound that is full leaves first. */
static void add_nack(struct endpoint *e, struct rtcp_buffer *b, struct receiver *r)
{
    uint16_t sequences[GAPS_MAX];
    size_t count = gaps_due(&r->gaps, e->media->now_ns, sequences);

    if (count == 0)
        return;
    if (!rtcp_add_nack(b, e->report_ssrc, r->ssrc, sequences, count)) {
        send_compound(e, b);
        b->bytes = 0;
        if (!rtcp_add_nack(b, e->report_ssrc, r->ssrc, sequences, count))
            return;
    }
    e->media->measurement.counts.nack_sent++;
    e->media->measurement.counts.nack_packets_sent += count;
}

void endpoint_send_nacks(struct endpoint *e)
{
    uint8_t data[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer b = {.data = data, .capacity = COMPOUND_BYTES};

    e->next_nack_ns = 0;
    for (unsigned i = 0; i < e->receiver_count; i++) {
        struct receiver *r = e->receivers[i];

        if (r->gaps.count)
            add_nack(e, &b, r);
        if (r->gaps.count)
            e->next_nack_ns = e->media->now_ns + GAP_TICK_NS;
        if (r->gaps.gave_up) {
            r->gaps.gave_up = false;
            r->needs_key = r->kind == STREAM_VIDEO;
            if (r->needs_key)
                send_key_frame_request(e, r);
        }
    }
    send_compound(e, &b);
}

/* ---- incoming ---- */

static struct sender *sender_of(const struct endpoint *e, uint32_t ssrc)
{
    for (unsigned i = 0; i < e->sender_count; i++)
        if (e->senders[i]->ssrc == ssrc)
            return e->senders[i];
    return NULL;
}

static void take_report(struct endpoint *e, const struct rtcp_packet *packet)
{
    struct rtcp_sender_info info;
    struct rtcp_report_block block;
    struct receiver *r;
    struct sender *s;

    if (rtcp_read_sender_info(packet, &info) && (r = endpoint_receiver(e, info.ssrc))) {
        r->last_sr = rtcp_ntp_middle(info.ntp);
        r->last_sr_ns = e->media->now_ns;
    }
    /* From now on without MID and RID, as Chromium does. */
    for (size_t i = 0; rtcp_read_report_block(packet, i, &block); i++)
        for (unsigned k = 0; k < e->sender_count; k++) {
            s = e->senders[k];
            s->mid_acknowledged |= s->ssrc == block.ssrc;
            s->rtx_acknowledged |= s->rtx_ssrc == block.ssrc;
        }
}

static void want_key_frame(struct sender *s)
{
    s->key_frame_wanted = true;
    s->key_frames_asked++;
}

static void take_key_frame_request(struct endpoint *e, const struct rtcp_packet *packet)
{
    uint32_t sender, ssrc;
    uint8_t sequence;
    struct sender *s;

    if (packet->count == PSFB_PLI && rtcp_read_feedback(packet, &sender, &ssrc)) {
        e->media->measurement.counts.pli_received++;
        if ((s = sender_of(e, ssrc)))
            want_key_frame(s);
    }
    for (size_t i = 0; packet->count == PSFB_FIR && rtcp_read_fir(packet, i, &ssrc, &sequence);
         i++) {
        e->media->measurement.counts.fir_received++;
        s = sender_of(e, ssrc);
        if (s && !(s->fir_seen && s->fir_sequence == sequence)) {
            s->fir_seen = true;
            s->fir_sequence = sequence;
            want_key_frame(s);
        }
    }
}

static void take_nack(struct endpoint *e, const struct rtcp_packet *packet)
{
    uint32_t sender, ssrc;
    uint16_t id, mask;
    struct sender *s;

    if (packet->count != RTPFB_NACK || !rtcp_read_feedback(packet, &sender, &ssrc) ||
        !(s = sender_of(e, ssrc)))
        return;
    for (size_t i = 0; rtcp_read_nack(packet, i, &id, &mask); i++) {
        e->media->measurement.counts.nack_received++;
        sender_resend(e->media, s, id);
        for (int k = 0; k < 16; k++)
            if (mask >> k & 1)
                sender_resend(e->media, s, (uint16_t)(id + 1 + k));
    }
}

void endpoint_take_rtcp(struct endpoint *e, uint8_t *data, size_t bytes)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct media *media = e->media;
    size_t count;

    if (atomic_load(&e->state) != ENDPOINT_CONNECTED)
        return;
    if (srtcp_unprotect(media->engine, &e->theirs, &e->window, data, &bytes) != SRTP_OK ||
        (count = rtcp_split(data, bytes, packets)) == 0) {
        media->measurement.counts.rtcp_bad++;
        return;
    }
    media->measurement.counts.rtcp_received++;
    for (size_t i = 0; i < count; i++)
        switch (packets[i].type) {
        case RTCP_SR:
        case RTCP_RR:
            take_report(e, &packets[i]);
            break;
        case RTCP_PSFB:
            take_key_frame_request(e, &packets[i]);
            break;
        case RTCP_RTPFB:
            take_nack(e, &packets[i]);
            break;
        default:
            break;
        }
}
