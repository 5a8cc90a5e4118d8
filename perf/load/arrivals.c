/* A datagram's way: read, sort by kind, decrypt, check its content, count. */
#include "arrivals.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/rtp.h"
#include "dataplane/engines/srtp/srtp.h"
#include "dataplane/engines/transport_cc.h"
#include "endpoint.h"
#include "endpoint_rtcp.h"
#include "media.h"
#include "net.h"
#include "options.h"
#include "payload.h"
#include "receiver.h"
#include "senders.h"
#include "src/clock.h"

#define BURST SRTP_BURST
#define BATCHES_MAX 32 /* of one socket in one turn, so that timers and commands get their time */
#define COPY_BYTES 2048

/* Whose packet a decryption job is. */
struct origin {
    struct endpoint *endpoint;
    struct receiver *receiver;
    uint64_t arrived_ns;
    bool is_rtx;
};

/* RTP packets that wait to be decrypted together. */
struct arrivals {
    unsigned count;
    struct srtp_unprotect_job jobs[BURST];
    struct origin origins[BURST];
    unsigned copies; /* used entries of `copy`: packets doubled by --receive-duplicate */
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

/* ---- decrypted packets ---- */

/* The payload without padding and, for RTX, without the original sequence number. */
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

/* Notes what is missing before this packet, and what this packet repairs. The first gap plans the
 * next NACK of the transport. */
static void note_gaps(struct media *media, const struct origin *from,
                      const struct srtp_unprotect_job *job)
{
    struct endpoint *e = from->endpoint;
    struct gaps *gaps = &from->receiver->gaps;
    const uint8_t *payload = job->packet + job->header_bytes;
    uint64_t missing_ns = 0;

    if (!from->is_rtx)
        missing_ns = gaps_add(gaps, job->index, media->now_ns);
    else if ((size_t)job->bytes >= job->header_bytes + 2u)
        missing_ns = gaps_add_rtx(gaps, (uint16_t)(payload[0] << 8 | payload[1]), media->now_ns);
    if (missing_ns)
        histogram_record(&media->measurement.missing, missing_ns);
    if ((gaps->count || gaps->gave_up) && !e->next_nack_ns) {
        e->next_nack_ns = media->now_ns + GAP_TICK_NS;
        endpoint_arm(e, e->next_nack_ns);
    }
}

/* From its first key frame on a decoder could show the stream. */
static void check_decodable(struct media *media, struct receiver *r, const uint8_t *payload,
                            size_t bytes)
{
    struct video_head head;

    if (r->kind != STREAM_VIDEO ||
        (video_head_read((enum video_codec)r->codec, payload, bytes, &head) && head.key &&
         head.spatial == 0)) {
        r->decodable = true;
        return;
    }
    r->before_key_frame++;
    media->measurement.counts.before_key_frame++;
}

/* The index of the packet, or that of the packet that an RTX packet repeats. */
static uint64_t index_of(const struct origin *from, const struct srtp_unprotect_job *job)
{
    const uint8_t *payload = job->packet + job->header_bytes;
    uint32_t highest = from->receiver->highest;

    if (!from->is_rtx)
        return (uint32_t)job->index;
    return highest + (uint32_t)(int16_t)((payload[0] << 8 | payload[1]) - (uint16_t)highest);
}

/* The first packet from the layer that was asked for. Of layers in one stream it is the last packet
 * of a picture that says which ones are sent. */
static void note_layer(struct media *media, const struct origin *from, bool marker,
                       const struct payload_label *label)
{
    struct receiver *r = from->receiver;
    int layer = r->stream_count > 1 ? (int)(label->stream - r->stream) : label->spatial;

    if (r->awaited_layer != layer || (r->stream_count == 1 && !marker))
        return;
    r->awaited_layer = -1;
    histogram_record(&media->measurement.layer_delay, from->arrived_ns > r->awaited_since_ns
                                                          ? from->arrived_ns - r->awaited_since_ns
                                                          : 0);
}

static void check_video(struct media *media, const struct origin *from,
                        const struct srtp_unprotect_job *job, const uint8_t *payload, size_t bytes,
                        const struct payload_label *label)
{
    struct receiver *r = from->receiver;
    struct verify_packet packet = {.index = index_of(from, job),
                                   .timestamp = get32(job->packet + 4),
                                   .marker = job->packet[1] & 0x80,
                                   .label = *label};

    receiver_count_key(r, label, from->arrived_ns);
    if (r->awaited_layer >= 0)
        note_layer(media, from, packet.marker, label);
    if (label->key && label->at == 0 && label->spatial == 0 && !from->is_rtx) {
        gaps_add_key_frame(&r->gaps, job->index);
        r->needs_key = false;
    }
    if (!r->verify)
        return;
    packet.is_readable = video_head_read((enum video_codec)r->codec, payload, bytes, &packet.head);
    verify_add(r->verify, &packet);
}

static void check_content(struct media *media, const struct origin *from,
                          const struct srtp_unprotect_job *job, const uint8_t *payload,
                          size_t bytes)
{
    struct receiver *r = from->receiver;
    uint64_t arrived_ns = from->arrived_ns;
    struct payload_label label;
    uint32_t number;
    bool counts;

    switch (payload_read(payload, bytes, &label)) {
    case PAYLOAD_FOREIGN:
        media->measurement.counts.foreign += media->measurement.running;
        return;
    case PAYLOAD_CORRUPT:
        media->measurement.counts.corrupt += media->measurement.running;
        return;
    case PAYLOAD_OK:
        break;
    }
    if (label.stream - r->stream >= r->stream_count) {
        media->measurement.counts.misrouted += media->measurement.running;
        return;
    }
    if (!r->decodable)
        check_decodable(media, r, payload, bytes);
    if (r->kind == STREAM_VIDEO)
        check_video(media, from, job, payload, bytes, &label);
    number = r->is_layered ? (uint32_t)index_of(from, job) : label.number;
    if (loss_counter_record(&r->loss, number, &counts) < ARRIVED_DUPLICATE && counts) {
        uint64_t latency = arrived_ns > label.sent_ns ? arrived_ns - label.sent_ns : 0;

        histogram_record(&media->measurement.latency[r->kind], latency);
        if (media->measurement.room_latency)
            histogram_record(&media->measurement.room_latency[r->room], latency);
        media->measurement.last_counted_ns = arrived_ns;
    }
}

/* Nothing but padding: the server probes the bandwidth, or fills the place of a packet that it does
 * not forward. */
static void take_empty(const struct origin *from, const struct srtp_unprotect_job *job)
{
    struct receiver *r = from->receiver;
    struct verify_packet packet = {.is_empty = true};
    bool counts;

    if (!r->is_layered || (from->is_rtx && (size_t)job->bytes < job->header_bytes + 2u))
        return;
    packet.index = index_of(from, job);
    loss_counter_record(&r->loss, (uint32_t)packet.index, &counts);
    if (r->verify)
        verify_add(r->verify, &packet);
}

static void take_decrypted(struct media *media, struct srtp_unprotect_job *job, struct origin *from)
{
    struct receiver *r = from->receiver;
    const uint8_t *payload;
    size_t bytes;

    switch (job->result) {
    case SRTP_OK:
        break;
    case SRTP_REPLAYED:
        media->measurement.counts.replayed += media->measurement.running;
        return;
    case SRTP_UNAUTHENTIC:
        media->measurement.counts.unauthentic += media->measurement.running;
        return;
    default:
        media->measurement.counts.malformed += media->measurement.running;
        return;
    }
    if (media->measurement.running) {
        media->measurement.counts.rtp_received++;
        media->measurement.counts.rtp_received_bytes += job->bytes;
    }
    media->measurement.counts.rtx_received += from->is_rtx;
    if (!from->is_rtx)
        receiver_count(r, job->index, get32(job->packet + 4), from->arrived_ns);
    if (r->asks)
        note_gaps(media, from, job);
    payload = payload_of(job, from->is_rtx, &bytes);
    if (bytes == 0) {
        take_empty(from, job);
        return;
    }
    if (media_chance(media, media->options->receive_scramble) && bytes > LABEL_BYTES + 4) {
        job->packet[payload - job->packet + (ptrdiff_t)bytes - LABEL_BYTES - 1] ^= 0x10;
        media->measurement.counts.injected_scramble += media->measurement.running;
    }
    check_content(media, from, job, payload, bytes);
}

static void decrypt_all(struct media *media)
{
    struct arrivals *a = media->arrivals;

    srtp_unprotect_burst(media->engine, a->jobs, a->count);
    for (unsigned i = 0; i < a->count; i++)
        take_decrypted(media, &a->jobs[i], &a->origins[i]);
    a->count = a->copies = 0;
}

/* ---- RTP ---- */

/* Bytes of fixed header, CSRCs and extension; 0: the datagram is too short for them. */
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

/* A server that numbers nothing may send the extension with the same number in every packet. Like a
 * browser the endpoint then reports that number again and again. */
static void note_for_transport_cc(struct endpoint *e, struct receiver *r, const uint8_t *data,
                                  size_t bytes, uint64_t arrived_ns)
{
    struct media_counts *counts = &e->media->measurement.counts;
    struct rtp_view view;
    struct rtp_element element;
    uint16_t number;

    if (!rtp_parse(data, bytes, &view))
        return;
    element = rtp_element(&view, (uint8_t)e->transport_cc_id);
    if (element.bytes != 2)
        return;
    number = (uint16_t)(data[element.offset] << 8 | data[element.offset + 1]);
    counts->transport_cc_packets++;
    counts->transport_cc_unnumbered += e->transport_cc_media && number == e->transport_cc_number;
    e->transport_cc_media = r->ssrc;
    e->transport_cc_number = number;
    if (transport_cc_add_packet(e->transport_cc, number, arrived_ns)) {
        e->next_feedback_ns = e->media->now_ns + TRANSPORT_CC_INTERVAL_NS;
        endpoint_arm(e, e->next_feedback_ns);
    }
}

static void add_job(struct media *media, const struct origin *from, uint8_t *data, size_t bytes,
                    size_t head)
{
    struct arrivals *a = media->arrivals;
    struct receiver *r = from->receiver;

    if (a->count == BURST)
        decrypt_all(media);
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

/* Makes the faults of --receive-…, so that tests can see each check fail. True: drop the packet. */
static bool inject_faults(struct media *media, const struct origin *from, uint8_t *data,
                          size_t bytes, size_t head)
{
    const struct options *o = media->options;
    struct arrivals *a = media->arrivals;

    if (media_chance(media, o->receive_loss)) {
        media->measurement.counts.injected_loss += media->measurement.running;
        return true;
    }
    if (media_chance(media, o->receive_duplicate) && bytes <= COPY_BYTES) {
        if (a->copies == BURST || a->count >= BURST - 1)
            decrypt_all(media);
        memcpy(a->copy[a->copies], data, bytes);
        add_job(media, from, a->copy[a->copies++], bytes, head);
        media->measurement.counts.injected_duplicate += media->measurement.running;
    }
    if (media_chance(media, o->receive_corrupt) && bytes > head) {
        data[head + media_random(media) % (bytes - head)] ^= 0x01;
        media->measurement.counts.injected_corrupt += media->measurement.running;
    }
    return false;
}

static void take_rtp(struct media *media, struct endpoint *e, uint8_t *data, size_t bytes,
                     uint64_t arrived_ns)
{
    const struct options *o = media->options;
    uint32_t ssrc = get32(data + 8);
    struct receiver *r = endpoint_receiver(e, ssrc);
    struct origin from = {.endpoint = e, .receiver = r, .arrived_ns = arrived_ns};
    size_t head = header_bytes(data, bytes);

    if (atomic_load_explicit(&e->state, memory_order_relaxed) != ENDPOINT_CONNECTED) {
        media->measurement.counts.too_early++;
        return;
    }
    if (!r) {
        media->measurement.counts.unknown_ssrc++;
        return;
    }
    if (!head) {
        media->measurement.counts.malformed += media->measurement.running;
        return;
    }
    from.is_rtx = ssrc != r->ssrc;
    if (from.is_rtx && !r->srtp_rtx && !(r->srtp_rtx = calloc(1, sizeof(*r->srtp_rtx))))
        abort();
    if ((o->receive_loss > 0 || o->receive_duplicate > 0 || o->receive_corrupt > 0) &&
        inject_faults(media, &from, data, bytes, head))
        return;
    if (e->transport_cc)
        note_for_transport_cc(e, r, data, bytes, arrived_ns);
    add_job(media, &from, data, bytes, head);
}

/* ---- datagrams ---- */

static void take_datagram(struct media *media, struct endpoint *e, const struct net_message *m,
                          uint8_t *data, size_t bytes)
{
    switch (datagram_classify(data, bytes)) {
    case DATAGRAM_rtp:
        take_rtp(media, e, data, bytes, m->arrived_ns);
        break;
    case DATAGRAM_rtcp:
        endpoint_take_rtcp(e, data, bytes);
        break;
    case DATAGRAM_stun:
        endpoint_stun(e, m, data, bytes);
        break;
    case DATAGRAM_dtls:
        endpoint_dtls(e, data, bytes);
        break;
    default:
        media->measurement.counts.malformed += media->measurement.running;
        break;
    }
}

static void take_message(struct media *media, const struct net_message *m)
{
    struct endpoint *e = m->endpoint < media->endpoint_count ? media->endpoints[m->endpoint] : NULL;

    if (!e) {
        media->measurement.counts.unknown_endpoint++;
        return;
    }
    for (size_t at = 0; at < m->bytes; at += m->segment_bytes) {
        size_t left = m->bytes - at;

        take_datagram(media, e, m, m->data + at, left < m->segment_bytes ? left : m->segment_bytes);
    }
}

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
                if (media->measurement.running)
                    histogram_record(&media->measurement.read_lag,
                                     now > messages[i].arrived_ns ? now - messages[i].arrived_ns
                                                                  : 0);
                take_message(media, &messages[i]);
            }
            decrypt_all(media);
            media->now_ns = clock_monotonic_ns();
            if (senders_due_ns(media) <= media->now_ns)
                senders_run(media);
        } while (count == NET_BATCH && ++batches < BATCHES_MAX);
    }
}
