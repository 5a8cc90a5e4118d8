/* RTCP of a browser: sender and receiver reports every second, key-frame requests until something
 * decodable came, NACK and transport-cc when asked for; and what the server asks of us. */
#include <string.h>

#include "dataplane/engines/rtcp.h"
#include "media.h"
#include "src/clock.h"

#define COMPOUND_BYTES 1200
#define BLOCKS_MAX 31
#define PLI_INTERVAL_NS NS_PER_S
#define NACK_INTERVAL_NS (50 * NS_PER_MS)

static void compound_send(struct endpoint *e, struct rtcp_buffer *b)
{
    size_t bytes = b->bytes;

    if (bytes == 0 ||
        srtcp_protect(e->media->engine, &e->ours, e->rtcp_index++, b->data, &bytes) != SRTP_OK)
        return;
    net_send(e->media->net, e->index, &e->remote.address, b->data, bytes);
    e->media->counts.rtcp_sent++;
}

/* ---- out ---- */

static void sender_report(struct endpoint *e, struct sender *s)
{
    uint8_t data[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer b = {.data = data, .capacity = COMPOUND_BYTES};
    uint64_t wall = clock_wall_ns();
    uint64_t clock_rate = s->kind == STREAM_VIDEO ? 90000 : 48000;
    uint64_t ticks = s->interval_ns * clock_rate / NS_PER_S;
    struct rtcp_sender_info info = {
        .ssrc = s->ssrc, .ntp = rtcp_ntp(wall), .packets = s->packets, .bytes = s->bytes};

    if (s->packets == 0)
        return;
    /* The time stamp of this very moment: the last frame's, and what has gone by since. */
    info.timestamp = s->timestamp - (uint32_t)ticks +
                     (uint32_t)((wall - s->last_wall_ns) * clock_rate / NS_PER_S);
    rtcp_add_sr(&b, &info);
    rtcp_add_sdes(&b, &(struct rtcp_cname){s->ssrc, e->local.cname}, 1);
    compound_send(e, &b);
}

/* RFC 3550 A.3 */
static void block_fill(struct receiver *r, struct rtcp_report_block *block, uint64_t now_ns)
{
    uint32_t expected = r->highest - r->base + 1;
    uint32_t expected_now = expected - r->expected_before;
    int32_t lost_now = (int32_t)(expected_now - (r->packets - r->packets_before));

    *block = (struct rtcp_report_block){.ssrc = r->ssrc,
                                        .packets_lost = (int32_t)(expected - r->packets),
                                        .highest_sequence = r->highest,
                                        .jitter = r->jitter >> 4,
                                        .last_sr = r->last_sr};
    if (expected_now && lost_now > 0)
        block->fraction_lost = (uint8_t)(((uint64_t)lost_now << 8) / expected_now > 255
                                             ? 255
                                             : ((uint64_t)lost_now << 8) / expected_now);
    if (r->last_sr_ns)
        block->delay_since_last_sr = (uint32_t)((now_ns - r->last_sr_ns) / 1000 * 65536 / 1000000);
    r->expected_before = expected;
    r->packets_before = r->packets;
}

void report_key_frame_request(struct endpoint *e, struct receiver *r)
{
    uint8_t data[64 + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer b = {.data = data, .capacity = 64};

    if (r->asked_ns && e->media->now_ns - r->asked_ns < PLI_INTERVAL_NS)
        return;
    r->asked_ns = e->media->now_ns;
    rtcp_add_pli(&b, e->report_ssrc, r->ssrc);
    compound_send(e, &b);
    e->media->counts.pli_sent++;
}

void reports_send(struct endpoint *e)
{
    struct rtcp_report_block blocks[BLOCKS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < e->sender_count; i++)
        sender_report(e, e->senders[i]);
    for (unsigned i = 0; i < e->receiver_count; i++) {
        if (e->receivers[i]->counted)
            block_fill(e->receivers[i], &blocks[count++], e->media->now_ns);
        if (count == BLOCKS_MAX || (count && i + 1 == e->receiver_count)) {
            uint8_t data[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
            struct rtcp_buffer b = {.data = data, .capacity = COMPOUND_BYTES};

            rtcp_add_rr(&b, e->report_ssrc, blocks, count);
            compound_send(e, &b);
            count = 0;
        }
    }
    for (unsigned i = 0; i < e->receiver_count; i++)
        if (!e->receivers[i]->decodable && e->receivers[i]->kind == STREAM_VIDEO)
            report_key_frame_request(e, e->receivers[i]);
}

void report_feedback(struct endpoint *e)
{
    uint8_t data[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];

    e->next_feedback_ns = 0;
    for (;;) {
        struct rtcp_buffer b = {.data = data, .capacity = COMPOUND_BYTES};

        b.bytes = transport_cc_build_report(e->transport_cc, e->report_ssrc, e->transport_cc_media,
                                            data, COMPOUND_BYTES);
        if (b.bytes == 0)
            break;
        compound_send(e, &b);
        e->media->counts.transport_cc_sent++;
    }
}

/* ---- what came: for reports and NACK ---- */

void report_count(struct receiver *r, uint64_t index, uint32_t timestamp, uint64_t arrived_ns)
{
    uint64_t clock_rate = r->kind == STREAM_VIDEO ? 90000 : 48000;
    uint32_t transit = (uint32_t)(arrived_ns / 1000 * clock_rate / 1000000) - timestamp;
    int32_t difference = (int32_t)(transit - r->transit);
    uint32_t extended = (uint32_t)index; /* roll-over counter and sequence number */
    int32_t ahead = (int32_t)(extended - r->highest);

    r->packets++;
    r->transit = transit;
    if (!r->counted) {
        r->counted = true;
        r->base = r->highest = extended;
        return;
    }
    r->jitter += (uint32_t)(difference < 0 ? -difference : difference) - ((r->jitter + 8) >> 4);
    if (ahead > 0) {
        r->missing_mask = ahead >= 64 ? 0 : r->missing_mask << ahead;
        r->missing_mask |= ahead > 64 ? 0 : ((ahead > 1) ? (1ull << (ahead - 1)) - 1 : 0);
        r->highest = extended;
    } else if (ahead < 0 && ahead >= -64) {
        r->missing_mask &= ~(1ull << (-ahead - 1));
    }
}

void report_recovered(struct receiver *r, uint16_t sequence)
{
    uint16_t behind = (uint16_t)((uint16_t)r->highest - sequence);

    if (behind >= 1 && behind <= 64)
        r->missing_mask &= ~(1ull << (behind - 1));
}

/* RFC 4585 6.2.1: packet ids, each with the sixteen behind it, until the whole mask is told. Returns
 * the bytes; `out` has room for 12 + 4 * 64. */
static size_t nack_write(uint8_t *out, uint32_t sender, const struct receiver *r)
{
    uint64_t left = r->missing_mask;
    size_t bytes = 12;

    out[0] = 0x80 | RTPFB_NACK;
    out[1] = RTCP_RTPFB;
    out[2] = 0;
    for (int i = 0; i < 4; i++) {
        out[4 + i] = (uint8_t)(sender >> (24 - 8 * i));
        out[8 + i] = (uint8_t)(r->ssrc >> (24 - 8 * i));
    }
    while (left) {
        int oldest = 63 - __builtin_clzll(left); /* bit i stands for highest - 1 - i */
        uint16_t id = (uint16_t)(r->highest - 1 - (uint32_t)oldest), mask = 0;

        left &= ~(1ull << oldest);
        for (int k = 1; k <= 16 && oldest - k >= 0; k++)
            if (left >> (oldest - k) & 1) {
                mask |= (uint16_t)(1u << (k - 1));
                left &= ~(1ull << (oldest - k));
            }
        out[bytes++] = (uint8_t)(id >> 8);
        out[bytes++] = (uint8_t)id;
        out[bytes++] = (uint8_t)(mask >> 8);
        out[bytes++] = (uint8_t)mask;
    }
    out[3] = (uint8_t)(bytes / 4 - 1);
    return bytes;
}

void report_missing(struct endpoint *e, struct receiver *r)
{
    uint8_t data[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer b = {.data = data, .capacity = COMPOUND_BYTES};

    if (!r->missing_mask || e->media->now_ns - r->nacked_ns < NACK_INTERVAL_NS)
        return;
    r->nacked_ns = e->media->now_ns;
    b.bytes = nack_write(data, e->report_ssrc, r);
    compound_send(e, &b);
    e->media->counts.nack_sent++;
}

/* ---- in ---- */

static struct sender *sender_of(const struct endpoint *e, uint32_t ssrc)
{
    for (unsigned i = 0; i < e->sender_count; i++)
        if (e->senders[i]->ssrc == ssrc)
            return e->senders[i];
    return NULL;
}

static void report_in(struct endpoint *e, const struct rtcp_packet *packet)
{
    struct rtcp_sender_info info;
    struct rtcp_report_block block;
    struct receiver *r;
    struct sender *s;

    if (rtcp_read_sender_info(packet, &info) && (r = endpoint_receiver(e, info.ssrc))) {
        r->last_sr = rtcp_ntp_middle(info.ntp);
        r->last_sr_ns = e->media->now_ns;
    }
    for (size_t i = 0; rtcp_read_report_block(packet, i, &block); i++)
        if ((s = sender_of(e, block.ssrc)))
            s->mid_acknowledged = true; /* Chromium stops sending it then, too */
}

static void key_frame_in(struct endpoint *e, const struct rtcp_packet *packet)
{
    uint32_t sender, ssrc;
    uint8_t sequence;
    struct sender *s;

    if (packet->count == PSFB_PLI && rtcp_read_feedback(packet, &sender, &ssrc)) {
        e->media->counts.pli_received++;
        if ((s = sender_of(e, ssrc)))
            s->key_frame_wanted = true;
    }
    for (size_t i = 0; packet->count == PSFB_FIR && rtcp_read_fir(packet, i, &ssrc, &sequence);
         i++) {
        e->media->counts.fir_received++;
        s = sender_of(e, ssrc);
        if (s && !(s->fir_seen && s->fir_sequence == sequence)) {
            s->fir_seen = true;
            s->fir_sequence = sequence;
            s->key_frame_wanted = true;
        }
    }
}

static void nack_in(struct endpoint *e, const struct rtcp_packet *packet)
{
    uint32_t sender, ssrc;
    uint16_t id, mask;
    struct sender *s;

    if (packet->count != RTPFB_NACK || !rtcp_read_feedback(packet, &sender, &ssrc) ||
        !(s = sender_of(e, ssrc)))
        return;
    for (size_t i = 0; rtcp_read_nack(packet, i, &id, &mask); i++) {
        e->media->counts.nack_received++;
        sender_resend(e->media, s, id);
        for (int k = 0; k < 16; k++)
            if (mask >> k & 1)
                sender_resend(e->media, s, (uint16_t)(id + 1 + k));
    }
}

void reports_received(struct endpoint *e, uint8_t *data, size_t bytes)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    struct media *media = e->media;
    size_t count;

    if (atomic_load(&e->state) != ENDPOINT_CONNECTED)
        return;
    if (srtcp_unprotect(media->engine, &e->theirs, &e->window, data, &bytes) != SRTP_OK ||
        (count = rtcp_split(data, bytes, packets)) == 0) {
        media->counts.rtcp_bad++;
        return;
    }
    media->counts.rtcp_received++;
    for (size_t i = 0; i < count; i++)
        switch (packets[i].type) {
        case RTCP_SR:
        case RTCP_RR:
            report_in(e, &packets[i]);
            break;
        case RTCP_PSFB:
            key_frame_in(e, &packets[i]);
            break;
        case RTCP_RTPFB:
            nack_in(e, &packets[i]);
            break;
        default:
            break;
        }
}
