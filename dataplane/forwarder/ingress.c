/* SRTP in: from a transport's datagrams to authentic packets of a producer, with statistics. */
#include <string.h>

#include "worker.h"

#include "src/clock.h"

/* ---- which producer (ortc.md §10: SSRC, else MID, else RID) ---- */

static bool element_equals(const uint8_t *data, struct rtp_element e, const char *text,
                           size_t text_bytes)
{
    return e.offset != 0 && e.bytes == text_bytes && memcmp(data + e.offset, text, text_bytes) == 0;
}

static struct rtp_element element_of(const struct rtp_view *view, uint8_t id)
{
    return id ? view->element[id] : (struct rtp_element){0};
}

/* The encoding of p that this SSRC and these stream ids name, -1 for none. */
static int encoding_of(const struct transport *t, const struct producer *p, const uint8_t *data,
                       const struct rtp_view *view, bool *is_rtx)
{
    struct rtp_element rid = element_of(view, t->rid_id);
    struct rtp_element repaired = element_of(view, t->repaired_rid_id);

    for (int e = 0; e < p->encoding_count; e++) {
        *is_rtx = p->encodings[e].rtx_ssrc == view->ssrc;
        if (p->encodings[e].ssrc && (*is_rtx || p->encodings[e].ssrc == view->ssrc))
            return e;
    }
    for (int e = 0; e < p->encoding_count; e++) {
        size_t bytes = strnlen(p->rid[e], RID_BYTES_MAX);

        if (bytes == 0)
            continue;
        *is_rtx = element_equals(data, repaired, p->rid[e], bytes);
        if (*is_rtx || element_equals(data, rid, p->rid[e], bytes))
            return e;
    }
    *is_rtx = false;
    if (p->encoding_count == 1 && p->encodings[0].ssrc == 0 && p->rid[0][0] == '\0') {
        for (int c = 0; c < p->codec_count; c++)
            *is_rtx |= p->rtx_payload_type[c] && p->rtx_payload_type[c] == view->payload_type;
        return 0;
    }
    return -1;
}

static struct producer *producer_of(const struct transport *t, const uint8_t *data,
                                    const struct rtp_view *view, int *encoding, bool *is_rtx)
{
    struct rtp_element mid = element_of(view, t->mid_id);
    struct producer *p;

    for (p = t->producers; p; p = p->next)
        for (*encoding = 0; *encoding < p->encoding_count; ++*encoding) {
            const struct encoding *e = &p->encodings[*encoding];

            *is_rtx = e->rtx_ssrc && e->rtx_ssrc == view->ssrc;
            if (*is_rtx || (e->ssrc && e->ssrc == view->ssrc))
                return p;
        }
    for (p = t->producers; p; p = p->next) {
        if (mid.offset && !(p->mid_bytes && element_equals(data, mid, p->mid, p->mid_bytes)))
            continue;
        /* Without a MID only a RID may route (ortc.md §10). */
        if (!mid.offset && !element_of(view, t->rid_id).offset &&
            !element_of(view, t->repaired_rid_id).offset)
            return NULL;
        *encoding = encoding_of(t, p, data, view, is_rtx);
        if (*encoding >= 0)
            return p;
    }
    return NULL;
}

static struct stream *known_stream(struct transport *t, uint32_t ssrc)
{
    for (unsigned i = 0; i < STREAMS_MAX; i++)
        if (t->inbound->streams[i].producer && t->inbound->streams[i].ssrc == ssrc)
            return &t->inbound->streams[i];
    return NULL;
}

/* A slot for an SSRC that proved authentic: its own from before, else one never used, else one whose
 * producer is gone. */
static struct stream *stream_entry_for(struct transport *t, uint32_t ssrc)
{
    struct stream *fresh = NULL, *left = NULL;

    for (unsigned i = 0; i < STREAMS_MAX; i++) {
        struct stream *s = &t->inbound->streams[i];

        if (s->producer)
            continue;
        if (!s->srtp.started)
            fresh = fresh ? fresh : s;
        else if (s->ssrc == ssrc)
            return s;
        else
            left = s;
    }
    return fresh ? fresh : left;
}

/* The SRTP state of an SSRC that was here before; its roll-over counter and window go on. */
static const struct srtp_stream *past_of(const struct transport *t, uint32_t ssrc)
{
    for (unsigned i = 0; i < STREAMS_MAX; i++)
        if (!t->inbound->streams[i].producer && t->inbound->streams[i].srtp.started &&
            t->inbound->streams[i].ssrc == ssrc)
            return &t->inbound->streams[i].srtp;
    return NULL;
}

static struct unproven_stream *unproven_stream_of(struct worker *w, struct transport *t,
                                                  const uint8_t *data, const struct rtp_view *view)
{
    const struct srtp_stream *past;
    struct unproven_stream *n;
    struct producer *p;
    int encoding;
    bool is_rtx;

    for (size_t i = 0; i < w->unproven_count; i++)
        if (w->unproven[i].transport == t && w->unproven[i].stream.ssrc == view->ssrc)
            return &w->unproven[i];
    p = producer_of(t, data, view, &encoding, &is_rtx);
    if (!p)
        return NULL;
    n = &w->unproven[w->unproven_count++];
    *n = (struct unproven_stream){
        .transport = t,
        .stream = {.producer = p,
                   .ssrc = view->ssrc,
                   .encoding = (uint8_t)encoding,
                   .is_rtx = is_rtx},
    };
    past = past_of(t, view->ssrc);
    if (past)
        n->stream.srtp = *past;
    return n;
}

static bool is_consumed(const struct producer *p)
{
    return (p->consumers || p->replica_workers) && !p->paused;
}

/* A place in the pool for a packet that somebody consumes; NULL: nobody does, or there is none. */
static struct packet *packet_for(struct worker *w, const struct stream *stream)
{
    const struct producer *p = stream->producer;

    if (!is_consumed(p) || stream->is_rtx)
        return NULL;
    if (p->kind == MEDIA_KIND_video && w->pool.taken >= POOL_PACKETS - POOL_AUDIO_PACKETS)
        return NULL;
    return pool_take(&w->pool);
}

void ingress_add(struct worker *w, uint32_t position, struct transport *t)
{
    struct io_datagram *datagram = &w->datagrams[position];
    size_t n = w->unprotect_count;
    struct rtp_view *view = &w->unprotect_view[n];
    struct unproven_stream *unproven = NULL;
    struct packet *wanted;
    struct stream *stream;

    if (!rtp_parse(datagram->data, datagram->bytes, view)) {
        verdict_set(w, position, VERDICT_drop_rtp_malformed);
        return;
    }
    stream = known_stream(t, view->ssrc);
    if (!stream) {
        unproven = unproven_stream_of(w, t, datagram->data, view);
        if (!unproven) {
            verdict_set(w, position, VERDICT_drop_rtp_unrouted);
            return;
        }
        stream = &unproven->stream;
    }
    w->unprotect_position[n] = position;
    w->unprotect_transport[n] = t;
    w->unprotect_stream[n] = stream;
    w->unprotect_unproven[n] = unproven;
    wanted = packet_for(w, stream);
    w->unprotect_packet[n] = wanted;
    w->unprotect[n] = (struct srtp_unprotect_job){
        .key = &t->receive_key,
        .stream = &stream->srtp,
        .packet = datagram->data,
        .out = wanted ? wanted->room : NULL,
        .ssrc = view->ssrc,
        .sequence = view->sequence,
        .header_bytes = view->header_bytes,
        .bytes = (uint16_t)datagram->bytes,
    };
    w->unprotect_count++;
}

/* ---- statistics of an encoding (RFC 3550 A.3, A.8) ---- */

static void encoding_count(struct worker *w, struct producer *p, struct encoding *e,
                           const struct rtp_view *view, uint64_t index, size_t payload_bytes,
                           uint32_t clock_rate)
{
    uint32_t arrival = (uint32_t)((__uint128_t)w->turn.now_ns * clock_rate / NS_PER_S);
    uint32_t transit = arrival - view->timestamp;

    if (!e->started || e->seen_ssrc != view->ssrc) {
        e->started = true;
        e->seen_ssrc = view->ssrc;
        e->first_index = index;
        e->highest_index = index;
        e->packets = 0;
        e->expected_prior = 0;
        e->received_prior = 0;
        e->jitter = 0;
        e->has_sr = false;
    } else {
        int32_t d = (int32_t)(transit - e->transit);

        e->jitter += (uint32_t)(d < 0 ? -d : d) - ((e->jitter + 8) >> 4);
    }
    e->transit = transit;
    if (index > e->highest_index)
        e->highest_index = index;
    if (index < e->first_index)
        e->first_index = index;
    e->packets++;
    e->bytes += payload_bytes;
    e->last_packet_ns = w->turn.now_ns;
}

/* ---- authentic packets ---- */

/* Padding and repair count too: the sender's estimator wants all of them. */
static void congestion_note(struct worker *w, struct transport *t, const uint8_t *data,
                            const struct rtp_view *view)
{
    struct rtp_element e = element_of(view, t->transport_cc_id);

    if (e.bytes == 2 && transport_cc_add_packet(
                            &t->inbound->congestion,
                            (uint16_t)(data[e.offset] << 8 | data[e.offset + 1]), w->turn.now_ns))
        timer_set(&w->wheel, &t->feedback_timer, w->turn.now_ns + TRANSPORT_CC_INTERVAL_NS);
}

static int codec_of(const struct producer *p, uint8_t payload_type)
{
    for (int c = 0; c < p->codec_count; c++)
        if (p->payload_type[c] == payload_type)
            return c;
    return -1;
}

/* VERDICT_PENDING: it is queued; w->unprotect_packet[i] is the producer's then. */
static enum verdict accept(struct worker *w, size_t i)
{
    const struct srtp_unprotect_job *job = &w->unprotect[i];
    const struct rtp_view *view = &w->unprotect_view[i];
    struct transport *t = w->unprotect_transport[i];
    const struct stream *stream = w->unprotect_stream[i];
    struct producer *p = stream->producer;
    struct encoding *e = &p->encodings[stream->encoding];
    struct packet *packet = w->unprotect_packet[i];
    const uint8_t *clear = packet ? packet->room : job->packet;
    size_t payload_bytes;
    int codec;

    t->rtp_packets_received++;
    t->rtp_bytes_received += job->bytes;
    congestion_note(w, t, job->packet, view);
    if (!rtp_padding_strip(clear, view, job->bytes, &payload_bytes))
        return VERDICT_drop_rtp_malformed;
    if (stream->is_rtx) {
        e->rtx_packets++;
        return VERDICT_drop_rtx_unused;
    }
    codec = codec_of(p, view->payload_type);
    if (codec < 0)
        return VERDICT_drop_rtp_payload_type;
    encoding_count(w, p, e, view, job->index, payload_bytes, p->clock_rate[codec]);
    if (p->paused)
        return VERDICT_drop_rtp_paused;
    if (view->element[p->level_id].bytes == 1) /* nobody numbers an element 0 */
        audio_level_note(w, p, job->packet[view->element[p->level_id].offset]);
    if (!packet)
        return is_consumed(p) ? VERDICT_drop_no_memory : VERDICT_unwanted;
    packet->view = *view;
    packet->index = job->index;
    packet->arrived_ns = w->turn.now_ns;
    packet->payload_at = view->header_bytes;
    packet->payload_bytes = (uint16_t)payload_bytes;
    packet->bytes = (uint16_t)(view->header_bytes + payload_bytes);
    packet->padding_bytes = 0;
    packet->holds = 0;
    packet->lane = PACKET_OWN;
    packet->encoding = stream->encoding;
    packet->codec = (uint8_t)codec;
    packet->verdict = VERDICT_unwanted; /* until a consumer takes it */
    packet_headers_clear(packet);
    packet->is_key_frame =
        p->kind == MEDIA_KIND_video &&
        rtp_payload_is_key_frame(p->codec[codec], clear + view->header_bytes, payload_bytes);
    if (packet->is_key_frame)
        e->key_frame_wanted = false;
    if (handoff_packet(w, p, packet))
        packet->verdict = VERDICT_forwarded;
    if (p->consumers) {
        if (fan_out_queue(w, p, packet))
            packet->holds++;
        else
            w->turn.counters[COUNTER_backlog_full]++; /* also where another worker took it */
    }
    return packet->holds ? VERDICT_PENDING : VERDICT_drop_overload;
}

/* Gives the unproven of an authentic packet its slot; false when the transport has none left. */
static bool adopt(struct unproven_stream *n)
{
    if (!n->adopted) {
        n->adopted = stream_entry_for(n->transport, n->stream.ssrc);
        if (n->adopted)
            *n->adopted = n->stream;
    }
    return n->adopted;
}

/* Makes what came of one stream in this turn, a video frame mostly, equal in size. */
static void pad_runs(struct worker *w)
{
    for (size_t i = 0, first; i < w->unprotect_count; i += i == first) {
        const struct stream *stream = w->unprotect_stream[i];

        for (first = i;
             i < w->unprotect_count && w->unprotect_stream[i] == stream && w->unprotect_packet[i];
             i++)
            ;
        if (i - first > 1)
            padding_merge(stream->producer, &w->unprotect_packet[first], (unsigned)(i - first));
    }
}

void ingress_run(struct worker *w)
{
    static const uint8_t refused[] = {
        [SRTP_MALFORMED] = VERDICT_drop_rtp_malformed,
        [SRTP_UNAUTHENTIC] = VERDICT_drop_rtp_unauthentic,
        [SRTP_REPLAYED] = VERDICT_drop_rtp_replay,
        [SRTP_KEY_LIMIT] = VERDICT_drop_rtp_replay,
    };

    if (w->unprotect_count == 0)
        return;
    srtp_unprotect_burst(w->srtp, w->unprotect, w->unprotect_count);
    for (size_t i = 0; i < w->unprotect_count; i++) {
        uint8_t srtp = w->unprotect[i].result;
        struct unproven_stream *unproven = w->unprotect_unproven[i];
        enum verdict verdict;

        if (srtp != SRTP_OK)
            verdict = refused[srtp];
        else if (unproven && !adopt(unproven))
            verdict = VERDICT_drop_rtp_ssrc_limit;
        else
            verdict = accept(w, i);
        verdict_set(w, w->unprotect_position[i], verdict);
        if (w->unprotect_packet[i] && verdict != VERDICT_PENDING) {
            pool_give(&w->pool, w->unprotect_packet[i]);
            w->unprotect_packet[i] = NULL;
        }
    }
    pad_runs(w);
}
