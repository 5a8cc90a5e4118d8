/* RTCP to clients. */
#include "reports.h"

#include "consumer.h"
#include "dataplane/engines/rtcp.h"
#include "producer.h"
#include "proofs.h"
#include "resume.h"
#include "src/clock.h"
#include "transmit.h"
#include "transport.h"

#define SRTCP_INDEX_END (1u << 31)
#define COMPOUND_BYTES 1100 /* of a clear compound; the rest of a datagram is for tag and index */
#define REPORT_BLOCKS_MAX 31
/* A sender report has 28 bytes and a chunk of at most 8 + CNAME_ROOM in the SDES behind them. */
#define SENDERS_PER_COMPOUND 10
_Static_assert(SENDERS_PER_COMPOUND *(28 + 8 + CNAME_ROOM) + 4 + 24 <= COMPOUND_BYTES,
               "a compound is too small for its sender reports and an XR");
_Static_assert(SENDERS_PER_COMPOUND + 2 <= RTCP_PACKETS_MAX,
               "a compound has more packets than we would accept ourselves");
/* Of a challenge: a check has 90 bytes or more, and the response to it 64 to 76; 3 × 90 leave room for
 * two challenges of 4 reports. */
#define CHALLENGE_SENDERS_MAX 4
#define SR_BYTES 28

/* ---- sending ---- */

static uint32_t next_index(struct reports *r, struct transport *t)
{
    if (t->rtcp_index >= SRTCP_INDEX_END)
        return SRTCP_INDEX_END; /* srtcp_protect refuses it, so no index is used twice */
    if (t->rtcp_index >= t->rtcp_index_reserved)
        t->rtcp_index_reserved =
            resume_reserve_rtcp(r->resume, t->index, t->generation, t->rtcp_index);
    return t->rtcp_index++;
}

/* Encrypts and sends a clear compound that has room for SRTP_TAIL_BYTES_MAX more behind it. Returns
 * the bytes that were sent. */
static size_t send_to(struct reports *r, struct transport *t, const struct path *path,
                      uint8_t *compound, size_t bytes)
{
    if (srtcp_protect(r->transmit->srtp, &t->egress->key, next_index(r, t), compound, &bytes) !=
            SRTP_OK ||
        !transmit_datagram(r->transmit, path, compound, bytes, COUNTER_rtcp_sent))
        return 0;
    t->bytes_sent += bytes;
    return bytes;
}

/* The same, to the selected path, if it may get so much. */
static void send_compound(struct reports *r, struct transport *t, uint8_t *compound, size_t bytes)
{
    if (t->egress->open && bytes > 0 &&
        proofs_may_send(r->proofs, t, t->ice.selected, PROOF_USE_CONTROL,
                        bytes + SRTP_TAIL_BYTES_MAX))
        send_to(r, t, &t->egress->path, compound, bytes);
}

/* ---- reports ---- */

/* RFC 3550 A.3 and 6.4.1: what this encoding lost since the last report, and in total. */
static struct rtcp_report_block block_of(const struct reports *r, struct encoding *e)
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
            (uint32_t)(((r->turn->now_ns - e->sr_arrival_ns) << 16) / NS_PER_S);
    }
    return block;
}

static void receiver_reports(struct reports *r, struct transport *t)
{
    uint8_t compound[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = COMPOUND_BYTES};
    struct rtcp_report_block blocks[REPORT_BLOCKS_MAX];
    const struct rtcp_cname ours = {t->report_ssrc, "ringcast"};
    size_t count = 0;

    for (struct producer *p = t->producers; p; p = p->next)
        for (int i = 0; i < p->encoding_count && count < REPORT_BLOCKS_MAX; i++)
            if (p->encodings[i].started)
                blocks[count++] = block_of(r, &p->encodings[i]);
    if (count == 0)
        return;
    rtcp_add_rr(&buffer, t->report_ssrc, blocks, count);
    rtcp_add_sdes(&buffer, &ours, 1);
    rtcp_add_reference_time(&buffer, t->report_ssrc, rtcp_ntp(r->turn->wall_ns));
    send_compound(r, t, compound, buffer.bytes);
}

/* One moment, `ntp`, on the producer's RTP clock and on our clock. A receiver needs the pair to play
 * audio and video of one client together. False: not known yet. */
static bool sender_info(const struct consumer *c, uint64_t ntp, struct rtcp_sender_info *info)
{
    const struct producer *p = c->producer;
    const struct encoding *e = &p->encodings[c->encoding];
    int64_t since_sr; /* 32.32 s */

    if (!c->has_sent || !c->synchronised || !e->has_sr || c->source != e->source)
        return false;
    since_sr = (int64_t)(ntp - p->ntp_offset - e->sr_ntp);
    *info = (struct rtcp_sender_info){
        .ssrc = c->ssrc,
        .ntp = ntp,
        .timestamp = e->sr_timestamp + c->timestamp_offset +
                     (uint32_t)(int64_t)((__int128_t)since_sr * p->clock_rate[0] >> 32),
        .packets = (uint32_t)c->packets,
        .bytes = c->payload_bytes,
    };
    return true;
}

/* Answers the client that told its clock; once for each time. */
static void add_reference_answer(const struct reports *r, struct transport *t,
                                 struct rtcp_buffer *buffer)
{
    uint64_t since_ns = r->turn->now_ns - t->reference_arrived_ns;

    if (!t->owes_reference_answer)
        return;
    t->reference.delay_since_last_rr = (uint32_t)((since_ns << 16) / NS_PER_S);
    t->owes_reference_answer = !rtcp_add_reference_answer(buffer, t->report_ssrc, &t->reference);
}

static void send_sender_reports(struct reports *r, struct transport *t, struct rtcp_buffer *buffer,
                                const struct rtcp_cname *sources, size_t count)
{
    rtcp_add_sdes(buffer, sources, count);
    add_reference_answer(r, t, buffer);
    send_compound(r, t, buffer->data, buffer->bytes);
    buffer->bytes = 0;
}

static void sender_reports(struct reports *r, struct transport *t)
{
    uint8_t compound[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = COMPOUND_BYTES};
    struct rtcp_cname sources[SENDERS_PER_COMPOUND];
    struct rtcp_sender_info info;
    uint64_t now = rtcp_ntp(r->turn->wall_ns);
    size_t count = 0;

    for (const struct consumer_details *d = t->consumers; d; d = d->next_of_transport) {
        const struct consumer *c = d->consumer;

        if (!sender_info(c, now, &info))
            continue;
        rtcp_add_sr(&buffer, &info);
        sources[count++] = (struct rtcp_cname){c->ssrc, c->producer->cname};
        if (count == SENDERS_PER_COMPOUND) {
            send_sender_reports(r, t, &buffer, sources, count);
            count = 0;
        }
    }
    if (count)
        send_sender_reports(r, t, &buffer, sources, count);
}

void reports_send(struct reports *r, struct transport *t)
{
    receiver_reports(r, t);
    if (!proofs_silence_reports(t, r->turn->now_ns))
        sender_reports(r, t);
}

/* Adds sender reports of this kind of media, as many as there is room for. */
static void add_challenge(const struct transport *t, enum media_kind kind, uint64_t ntp,
                          struct rtcp_buffer *buffer)
{
    struct rtcp_sender_info info;

    for (const struct consumer_details *d = t->consumers; d; d = d->next_of_transport)
        if (d->consumer->producer->kind == kind && sender_info(d->consumer, ntp, &info) &&
            !rtcp_add_sr(buffer, &info))
            return;
}

size_t reports_send_challenge(struct reports *r, struct transport *t, const struct path *path,
                              uint64_t ntp, uint64_t room)
{
    uint8_t compound[CHALLENGE_SENDERS_MAX * SR_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound};

    if (room > sizeof(compound))
        room = sizeof(compound);
    if (room < SR_BYTES + SRTP_TAIL_BYTES_MAX)
        return 0;
    buffer.capacity = (size_t)room - SRTP_TAIL_BYTES_MAX;
    add_challenge(t, MEDIA_KIND_video, ntp, &buffer);
    add_challenge(t, MEDIA_KIND_audio, ntp, &buffer);
    return buffer.bytes ? send_to(r, t, path, compound, buffer.bytes) : 0;
}

/* ---- what is sent alone ---- */

void reports_send_congestion(struct reports *r, struct transport *t)
{
    uint8_t packet[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    uint32_t media_ssrc =
        0; /* any SSRC of the client will do: the packet numbers are those of the transport */
    size_t bytes;

    for (const struct producer *p = t->producers; p; p = p->next)
        if (p->encodings[0].started)
            media_ssrc = p->encodings[0].seen_ssrc;
    while ((bytes = transport_cc_build_report(&t->ingress->congestion, t->report_ssrc, media_ssrc,
                                              packet, COMPOUND_BYTES)) > 0)
        send_compound(r, t, packet, bytes);
}

bool reports_send_pli(struct reports *r, struct transport *t, uint32_t media_ssrc)
{
    uint8_t compound[64 + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = 64};

    if (!t->egress->open || !rtcp_add_pli(&buffer, t->report_ssrc, media_ssrc))
        return false;
    send_compound(r, t, compound, buffer.bytes);
    return true;
}

bool reports_send_fir(struct reports *r, struct transport *t, uint32_t media_ssrc, uint8_t sequence)
{
    uint8_t compound[64 + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = 64};

    if (!t->egress->open || !rtcp_add_fir(&buffer, t->report_ssrc, media_ssrc, sequence))
        return false;
    send_compound(r, t, compound, buffer.bytes);
    return true;
}

bool reports_send_nack(struct reports *r, struct transport *t, uint32_t media_ssrc,
                       const uint16_t *sequences, size_t count)
{
    uint8_t compound[COMPOUND_BYTES + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = COMPOUND_BYTES};

    if (!t->egress->open || !rtcp_add_nack(&buffer, t->report_ssrc, media_ssrc, sequences, count))
        return false;
    send_compound(r, t, compound, buffer.bytes);
    return true;
}

void reports_send_bye(struct reports *r, struct transport *t, uint32_t ssrc)
{
    uint8_t compound[128 + SRTP_TAIL_BYTES_MAX];
    struct rtcp_buffer buffer = {.data = compound, .capacity = 128};

    rtcp_add_rr(&buffer, ssrc, NULL, 0); /* RFC 3550 6.1: a compound starts with a report */
    rtcp_add_bye(&buffer, ssrc);
    send_compound(r, t, compound, buffer.bytes);
}
