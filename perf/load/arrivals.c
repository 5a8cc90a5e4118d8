/* What comes in: split, told apart, checked and counted. Every SRTP packet's tag is verified; every
 * payload is compared with what was sent. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/rtp.h"
#include "media.h"
#include "src/clock.h"

#define BURST SRTP_BURST
#define BATCHES_MAX 32 /* of one socket in one turn: timers and commands want theirs too */
#define COPY_BYTES 2048
#define ONE_BYTE_PROFILE 0xbede

struct origin {
    struct endpoint *endpoint;
    struct receiver *receiver;
    uint64_t arrived_ns;
    bool is_rtx;
};

/* RTP that waits to be decrypted together. */
struct arrivals {
    unsigned count;
    struct srtp_unprotect_job jobs[BURST];
    struct origin origins[BURST];
    unsigned copies; /* injected duplicates lie here */
    uint8_t copy[BURST][COPY_BYTES];
};

struct arrivals *arrivals_new(void)
{
    return calloc(1, sizeof(struct arrivals));
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---- decrypted ---- */

/* Without padding, and without the original sequence number of an RTX packet. */
static const uint8_t *payload_of(const struct srtp_unprotect_job *job, bool is_rtx, size_t *bytes)
{
    const uint8_t *payload = job->packet + job->header_bytes;

    *bytes = (size_t)job->bytes - job->header_bytes;
    if (job->packet[0] & 0x20) {
        uint8_t padding = *bytes ? job->packet[job->bytes - 1] : 0;

        *bytes = padding && padding <= *bytes ? *bytes - padding : 0;
    }
    if (is_rtx) {
        *bytes -= *bytes < 2 ? *bytes : 2;
        payload += 2;
    }
    return payload;
}

static void decodable(struct media *media, struct receiver *r, const uint8_t *payload, size_t bytes)
{
    if (r->kind != STREAM_VIDEO || rtp_payload_is_key_frame(CODEC_vp8, payload, bytes)) {
        r->decodable = true;
        return;
    }
    r->before_key_frame++;
    media->counts.before_key_frame++;
}

static void content(struct media *media, struct endpoint *e, struct receiver *r,
                    const uint8_t *payload, size_t bytes, uint64_t arrived_ns)
{
    struct payload_label label;
    bool counts;

    switch (payload_read(payload, bytes, &label)) {
    case PAYLOAD_FOREIGN:
        media->counts.foreign += media->measuring;
        return;
    case PAYLOAD_CORRUPT:
        media->counts.corrupt += media->measuring;
        return;
    case PAYLOAD_OK:
        break;
    }
    if (label.stream != r->stream) {
        media->counts.misrouted += media->measuring;
        return;
    }
    if (!r->decodable)
        decodable(media, r, payload, bytes);
    if (loss_counter_record(&r->loss, label.number, &counts) < ARRIVED_DUPLICATE && counts) {
        uint64_t latency = arrived_ns > label.sent_ns ? arrived_ns - label.sent_ns : 0;

        histogram_record(&media->latency[r->kind], latency);
        if (media->room_latency)
            histogram_record(&media->room_latency[r->room], latency);
        media->last_counted_ns = arrived_ns;
    }
}

static void decrypted(struct media *media, struct srtp_unprotect_job *job, struct origin *from)
{
    struct receiver *r = from->receiver;
    const uint8_t *payload;
    size_t bytes;

    switch (job->result) {
    case SRTP_OK:
        break;
    case SRTP_REPLAYED:
        media->counts.replayed += media->measuring;
        return;
    case SRTP_UNAUTHENTIC:
        media->counts.unauthentic += media->measuring;
        return;
    default:
        media->counts.malformed += media->measuring;
        return;
    }
    if (media->measuring) {
        media->counts.rtp_received++;
        media->counts.rtp_received_bytes += job->bytes;
    }
    if (from->is_rtx) {
        media->counts.rtx_received++;
        if ((size_t)job->bytes >= job->header_bytes + 2u)
            report_recovered(r, (uint16_t)(job->packet[job->header_bytes] << 8 |
                                           job->packet[job->header_bytes + 1]));
    } else {
        report_count(r, job->index, get32(job->packet + 4), from->arrived_ns);
        if (media->options->nack && r->kind == STREAM_VIDEO)
            report_missing(from->endpoint, r);
    }
    payload = payload_of(job, from->is_rtx, &bytes);
    if (bytes == 0)
        return; /* padding only: a probe */
    if (media_chance(media, media->options->receive_scramble) && bytes > LABEL_BYTES + 4) {
        job->packet[payload - job->packet + (ptrdiff_t)bytes - LABEL_BYTES - 1] ^= 0x10;
        media->counts.injected_scramble += media->measuring;
    }
    content(media, from->endpoint, r, payload, bytes, from->arrived_ns);
}

static void flush(struct media *media)
{
    struct arrivals *a = media->arrivals;

    srtp_unprotect_burst(media->engine, a->jobs, a->count);
    for (unsigned i = 0; i < a->count; i++)
        decrypted(media, &a->jobs[i], &a->origins[i]);
    a->count = a->copies = 0;
}

/* ---- RTP ---- */

/* Fixed header, CSRCs and extension; 0 when they are not all there. */
static size_t header_bytes(const uint8_t *data, size_t bytes)
{
    size_t head = RTP_FIXED_BYTES + 4u * (data[0] & 15);

    if (data[0] & 0x10) {
        if (head + 4 > bytes)
            return 0;
        head += 4 + 4u * ((size_t)data[head + 2] << 8 | data[head + 3]);
    }
    return head <= bytes ? head : 0;
}

static void feedback_note(struct endpoint *e, struct receiver *r, const uint8_t *data, size_t bytes,
                          uint64_t arrived_ns)
{
    struct rtp_view view;
    const struct rtp_element *element;

    if (!rtp_parse(data, bytes, &view))
        return;
    element = &view.element[e->transport_cc_id & 15];
    if (element->bytes != 2)
        return;
    e->transport_cc_media = r->ssrc;
    if (transport_cc_add_packet(e->transport_cc,
                                (uint16_t)(data[element->offset] << 8 | data[element->offset + 1]),
                                arrived_ns)) {
        e->next_feedback_ns = e->media->now_ns + TRANSPORT_CC_INTERVAL_NS;
        endpoint_arm(e, e->next_feedback_ns);
    }
}

static void job_add(struct media *media, const struct origin *from, uint8_t *data, size_t bytes,
                    size_t head)
{
    struct arrivals *a = media->arrivals;
    struct receiver *r = from->receiver;

    if (a->count == BURST)
        flush(media);
    a->origins[a->count] = *from;
    a->jobs[a->count++] =
        (struct srtp_unprotect_job){.key = &from->endpoint->theirs,
                                    .stream = from->is_rtx ? r->srtp_rtx : &r->srtp,
                                    .packet = data,
                                    .ssrc = get32(data + 8),
                                    .sequence = (uint16_t)(data[2] << 8 | data[3]),
                                    .header_bytes = (uint16_t)head,
                                    .bytes = (uint16_t)bytes};
}

/* Faults on the last stretch, so that a test sees our own checks fail. True: the packet is lost. */
static bool injected(struct media *media, const struct origin *from, uint8_t *data, size_t bytes,
                     size_t head)
{
    const struct options *o = media->options;
    struct arrivals *a = media->arrivals;

    if (media_chance(media, o->receive_loss)) {
        media->counts.injected_loss += media->measuring;
        return true;
    }
    if (media_chance(media, o->receive_duplicate) && bytes <= COPY_BYTES) {
        if (a->copies == BURST || a->count >= BURST - 1)
            flush(media);
        memcpy(a->copy[a->copies], data, bytes);
        job_add(media, from, a->copy[a->copies++], bytes, head);
        media->counts.injected_duplicate += media->measuring;
    }
    if (media_chance(media, o->receive_corrupt) && bytes > head) {
        data[head + media_random(media) % (bytes - head)] ^= 0x01;
        media->counts.injected_corrupt += media->measuring;
    }
    return false;
}

static void rtp_arrived(struct media *media, struct endpoint *e, uint8_t *data, size_t bytes,
                        uint64_t arrived_ns)
{
    const struct options *o = media->options;
    uint32_t ssrc = get32(data + 8);
    struct receiver *r = endpoint_receiver(e, ssrc);
    struct origin from = {.endpoint = e, .receiver = r, .arrived_ns = arrived_ns};
    size_t head = header_bytes(data, bytes);

    if (atomic_load_explicit(&e->state, memory_order_relaxed) != ENDPOINT_CONNECTED) {
        media->counts.too_early++;
        return;
    }
    if (!r) {
        media->counts.unknown_ssrc++;
        return;
    }
    if (!head) {
        media->counts.malformed += media->measuring;
        return;
    }
    from.is_rtx = ssrc != r->ssrc;
    if (from.is_rtx && !r->srtp_rtx && !(r->srtp_rtx = calloc(1, sizeof(*r->srtp_rtx))))
        abort();
    if ((o->receive_loss > 0 || o->receive_duplicate > 0 || o->receive_corrupt > 0) &&
        injected(media, &from, data, bytes, head))
        return;
    if (e->transport_cc)
        feedback_note(e, r, data, bytes, arrived_ns);
    job_add(media, &from, data, bytes, head);
}

/* ---- datagrams ---- */

static void datagram(struct media *media, struct endpoint *e, const struct net_message *m,
                     uint8_t *data, size_t bytes)
{
    switch (datagram_classify(data, bytes)) {
    case DATAGRAM_rtp:
        rtp_arrived(media, e, data, bytes, m->arrived_ns);
        break;
    case DATAGRAM_rtcp:
        reports_received(e, data, bytes);
        break;
    case DATAGRAM_stun:
        endpoint_stun(e, m, data, bytes);
        break;
    case DATAGRAM_dtls:
        endpoint_dtls(e, data, bytes);
        break;
    default:
        media->counts.malformed += media->measuring;
        break;
    }
}

static void message(struct media *media, const struct net_message *m)
{
    struct endpoint *e = m->endpoint < media->endpoint_count ? media->endpoints[m->endpoint] : NULL;

    if (!e) {
        media->counts.unknown_endpoint++;
        return;
    }
    for (size_t at = 0; at < m->bytes; at += m->segment_bytes) {
        size_t left = m->bytes - at;

        datagram(media, e, m, m->data + at, left < m->segment_bytes ? left : m->segment_bytes);
    }
}

/* Until all sockets are empty, but with a look at who is due to send between two batches. */
void arrivals_run(struct media *media)
{
    struct net_message messages[NET_BATCH];

    for (unsigned s = 0; s < net_socket_count(media->net); s++) {
        unsigned batches = 0;
        size_t count;

        do {
            uint64_t now;

            count = net_receive(media->net, s, messages);
            if (count == 0)
                break;
            now = media->now_ns = clock_monotonic_ns();
            for (size_t i = 0; i < count; i++) {
                if (media->measuring)
                    histogram_record(&media->read_lag, now > messages[i].arrived_ns
                                                           ? now - messages[i].arrived_ns
                                                           : 0);
                message(media, &messages[i]);
            }
            flush(media);
            media->now_ns = clock_monotonic_ns();
            if (senders_due_ns(media) <= media->now_ns)
                senders_run(media);
        } while (count == NET_BATCH && ++batches < BATCHES_MAX);
    }
}
