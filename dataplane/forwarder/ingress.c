/* SRTP in: streams, producers, statistics. */
#include "ingress.h"

#include <string.h>

#include "batch.h"
#include "dataplane/engines/quality/history.h"
#include "dataplane/engines/quality/layer.h"
#include "dataplane/engines/quality/rtx.h"
#include "fanout.h"
#include "key_frames.h"
#include "memory.h"
#include "padding.h"
#include "producer.h"
#include "proofs.h"
#include "reception.h"
#include "repair_in.h"
#include "replica.h"
#include "src/clock.h"

#define SOURCE_SILENT_NS (500 * NS_PER_MS) /* then an older stream may take over */

bool ingress_open(struct arrivals *a)
{
    a->layers = memory_map(sizeof(*a->layers) * HISTORY_STREAMS, false);
    return a->layers && numbers_in_open(&a->numbers);
}

void ingress_close(struct arrivals *a)
{
    memory_unmap(a->layers, sizeof(*a->layers) * HISTORY_STREAMS);
    numbers_in_close(&a->numbers);
}

/* ---- which producer: by SSRC, else by MID, else by RID ---- */

static bool element_equals(const uint8_t *data, struct rtp_element e, const char *text,
                           size_t text_bytes)
{
    return e.offset != 0 && e.bytes == text_bytes && memcmp(data + e.offset, text, text_bytes) == 0;
}

/* The encoding of p that this SSRC, or a RID in the header, names; -1: none. */
static int encoding_of(const struct transport *t, const struct producer *p, const uint8_t *data,
                       const struct rtp_view *view, bool *is_rtx)
{
    struct rtp_element rid = rtp_element(view, t->rid_id);
    struct rtp_element repaired = rtp_element(view, t->repaired_rid_id);

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
    struct rtp_element mid = rtp_element(view, t->mid_id);
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
        /* A packet without MID finds its producer only by a RID. */
        if (!mid.offset && !rtp_element(view, t->rid_id).offset &&
            !rtp_element(view, t->repaired_rid_id).offset)
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
        if (t->ingress->streams[i].producer && t->ingress->streams[i].ssrc == ssrc)
            return &t->ingress->streams[i];
    return NULL;
}

/* An entry for an SSRC that sent an authentic packet: its earlier entry, else an unused one, else
 * one whose producer is gone. NULL: every entry has a producer. */
static struct stream *stream_entry_for(struct transport *t, uint32_t ssrc)
{
    struct stream *fresh = NULL, *left = NULL;

    for (unsigned i = 0; i < STREAMS_MAX; i++) {
        struct stream *s = &t->ingress->streams[i];

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

/* The earlier SRTP state of an SSRC, so that its roll-over counter and replay window continue. */
static const struct srtp_stream *past_of(const struct transport *t, uint32_t ssrc)
{
    for (unsigned i = 0; i < STREAMS_MAX; i++)
        if (!t->ingress->streams[i].producer && t->ingress->streams[i].srtp.started &&
            t->ingress->streams[i].ssrc == ssrc)
            return &t->ingress->streams[i].srtp;
    return NULL;
}

static struct unproven_stream *unproven_stream_of(struct arrivals *a, struct transport *t,
                                                  const uint8_t *data, const struct rtp_view *view)
{
    const struct srtp_stream *past;
    struct unproven_stream *u;
    struct producer *p;
    int encoding;
    bool is_rtx;

    for (size_t i = 0; i < a->unproven_count; i++)
        if (a->unproven[i].transport == t && a->unproven[i].stream.ssrc == view->ssrc)
            return &a->unproven[i];
    p = producer_of(t, data, view, &encoding, &is_rtx);
    if (!p)
        return NULL;
    u = &a->unproven[a->unproven_count++];
    *u = (struct unproven_stream){
        .transport = t,
        .stream = {.producer = p,
                   .ssrc = view->ssrc,
                   .encoding = (uint8_t)encoding,
                   .is_rtx = is_rtx},
    };
    past = past_of(t, view->ssrc);
    if (past)
        u->stream.srtp = *past;
    return u;
}

/* Gives the stream of an authentic packet its entry; false when the transport has none left. */
static bool prove(struct unproven_stream *u)
{
    if (!u->entry) {
        u->entry = stream_entry_for(u->transport, u->stream.ssrc);
        if (u->entry)
            *u->entry = u->stream;
    }
    return u->entry;
}

/* ---- jobs ---- */

/* A packet of the pool, when somebody consumes the stream. NULL: nobody does, or the pool is empty.
 */
static struct packet *packet_for(struct arrivals *a, const struct stream *stream)
{
    const struct producer *p = stream->producer;

    if (!producer_is_wanted(p, stream->encoding))
        return NULL;
    if (p->kind == MEDIA_KIND_video && a->pool->taken >= POOL_PACKETS - POOL_AUDIO_PACKETS)
        return NULL;
    return pool_take(a->pool);
}

enum verdict ingress_add(struct arrivals *a, struct transport *t,
                         const struct io_datagram *datagram, uint32_t position, bool may_prove)
{
    struct arrival *arrival = &a->arrivals[a->count];
    const struct rtp_view *view = &arrival->view;
    struct unproven_stream *unproven = NULL;
    struct stream *stream;

    if (!rtp_parse(datagram->data, datagram->bytes, &arrival->view))
        return VERDICT_drop_rtp_malformed;
    stream = known_stream(t, view->ssrc);
    if (!stream) {
        unproven = unproven_stream_of(a, t, datagram->data, view);
        if (!unproven)
            return VERDICT_drop_rtp_unrouted;
        stream = &unproven->stream;
    }
    arrival->position = position;
    arrival->transport = t;
    arrival->stream = stream;
    arrival->unproven = unproven;
    arrival->may_prove = may_prove;
    arrival->packet = packet_for(a, stream);
    a->jobs[a->count++] = (struct srtp_unprotect_job){
        .key = &t->receive_key,
        .stream = &stream->srtp,
        .packet = datagram->data,
        .out = arrival->packet ? arrival->packet->room : NULL,
        .ssrc = view->ssrc,
        .sequence = view->sequence,
        .header_bytes = view->header_bytes,
        .bytes = (uint16_t)datagram->bytes,
    };
    return VERDICT_PENDING;
}

/* ---- authentic packets ---- */

/* For padding and repair packets, too: the client's bandwidth estimator needs all arrival times. */
static void congestion_add(struct arrivals *a, struct transport *t, const uint8_t *data,
                           const struct rtp_view *view)
{
    struct rtp_element e = rtp_element(view, t->transport_cc_id);

    if (e.bytes == 2 && transport_cc_add_packet(
                            &t->ingress->congestion,
                            (uint16_t)(data[e.offset] << 8 | data[e.offset + 1]), a->turn->now_ns))
        timer_set(a->wheel, &t->feedback_timer, a->turn->now_ns + TRANSPORT_CC_INTERVAL_NS);
}

static void level_add(struct arrivals *a, struct producer *p, const uint8_t *data,
                      const struct rtp_view *view)
{
    struct rtp_element e = rtp_element(view, p->levels.extension_id);

    if (e.bytes == 1 && audio_levels_add(&p->levels, a->turn->audio_interval, data[e.offset]))
        producer_publish_levels(a->producers, p);
}

/* How the camera is held; senders write it into some packets only (3GPP TS 26.114 7.4.5). */
static void orientation_add(struct producer *p, const uint8_t *data, const struct rtp_view *view)
{
    uint8_t id = p->sent_id[EXTENSION_video_orientation];
    struct rtp_element e;

    if (id == 0)
        return;
    e = rtp_element(view, id);
    if (e.bytes == 1)
        p->orientation = data[e.offset];
}

static int codec_of(const struct producer *p, uint8_t payload_type)
{
    for (int c = 0; c < p->codec_count; c++)
        if (p->payload_type[c] == payload_type)
            return c;
    return -1;
}

/* Queues the packet for the consumers here and on other workers. Returns its verdict;
 * VERDICT_PENDING: somebody holds it. */
static enum verdict queue(struct arrivals *a, struct producer *p, struct packet *packet)
{
    packet->holds = 0;
    packet->lane = PACKET_OWN;
    packet->verdict = VERDICT_unwanted; /* until a consumer gets it */
    packet_headers_clear(packet);
    if (p->workers_want[packet->encoding] && replicas_hand_over(a->replicas, p, packet))
        packet->verdict = VERDICT_forwarded;
    if (p->wanted >> packet->encoding & 1) {
        if (fan_out_queue(a->fanout, p, packet))
            packet->holds++;
        else
            a->turn->counters[COUNTER_backlog_full]++; /* counted even if another worker took it */
    }
    return packet->holds ? VERDICT_PENDING : VERDICT_drop_overload;
}

/* May this stream feed its encoding? One at a time does, and it is followed until it is silent: so
 * a late packet of a stream that was replaced does not bring that one back. A stream that is new
 * takes over at once, because a publisher that begins anew has a new SSRC. */
static bool is_source(struct arrivals *a, struct producer *p, struct transport *t,
                      struct stream *stream)
{
    struct encoding *e = &p->encodings[stream->encoding];
    uint8_t place = (uint8_t)(stream - t->ingress->streams);

    if (e->started && e->source == place)
        return true;
    if (e->started && stream->was_source && a->turn->now_ns - e->last_packet_ns < SOURCE_SILENT_NS)
        return false;
    e->source = place;
    stream->was_source = true;
    return true;
}

/* Turns a retransmission into the packet that it repairs. Returns the stream of that packet; NULL:
 * it repairs nothing, because it is padding, or the packet has arrived, or nobody needs it. */
static struct stream *unwrap(struct arrival *arrival, const struct stream *rtx,
                             size_t *payload_bytes, uint64_t *index)
{
    struct packet *packet = arrival->packet;
    const struct producer *p = rtx->producer;
    const struct encoding *e = &p->encodings[rtx->encoding];
    struct stream *media = &arrival->transport->ingress->streams[e->source];
    uint16_t sequence;
    int codec = 0;

    while (codec < p->codec_count && p->rtx_payload_type[codec] != arrival->view.payload_type)
        codec++;
    if (!packet || codec == p->codec_count || !e->started || media->producer != p ||
        media->ssrc != e->seen_ssrc ||
        !rtx_read(packet->room, &arrival->view, *payload_bytes, &sequence) ||
        !srtp_stream_take(&media->srtp, sequence, index))
        return NULL;
    rtx_unwrap(packet->room, &arrival->view, media->ssrc, sequence, p->payload_type[codec]);
    packet->data = packet->room + RTX_NUMBER_BYTES;
    *payload_bytes -= RTX_NUMBER_BYTES;
    return media;
}

/* Consumers learn from our sender reports how our clock relates to theirs, and nothing about the
 * clock of the publisher. So the time of capture is moved to our clock, in the packet: then copies on
 * other workers and packets that are sent again have it too. A time on an unknown clock would only
 * mislead: it is erased. */
static void capture_time_move(struct packet *packet, const struct transport *t,
                              const struct producer *p, struct rtp_view *view)
{
    uint8_t id = p->sent_id[EXTENSION_abs_capture_time];
    struct rtp_element e = rtp_element(view, id);
    uint8_t *data = (uint8_t *)packet->data; /* its own room */

    if (e.offset &&
        !(t->has_ntp_offset && rtp_capture_time_move(data + e.offset, e.bytes, t->ntp_offset)))
        rtp_element_erase(data, view, id);
}

/* What earlier packets of this encoding told about its layers. */
static struct layer_source *layer_source_of(struct arrivals *a, const struct packet *packet,
                                            const struct producer *p)
{
    struct layer_memory *m = &a->layers[producer_stream(p, packet->encoding)];

    if (m->owner != p->owner || m->source != packet->source)
        memset(m, 0, sizeof(*m));
    m->owner = p->owner;
    m->source = packet->source;
    return &m->layers;
}

static void read_layer(struct arrivals *a, struct packet *packet, struct producer *p)
{
    bool is_layered = producer_is_layered(p);
    struct layer_source *source = is_layered ? layer_source_of(a, packet, p) : NULL;
    struct rtp_element descriptor = {0};

    if (is_layered)
        descriptor = rtp_element(&packet->view, p->sent_id[EXTENSION_dependency_descriptor]);
    layer_read(source, p->codec[packet->codec], packet->data + packet->payload_at,
               packet->payload_bytes, packet->view.marker, packet->data + descriptor.offset,
               descriptor.bytes, &packet->layer);
    if (packet->layer.has_sps)
        p->encodings[packet->encoding].sends_parameters = true;
    else if (packet->layer.has_idr && p->encodings[packet->encoding].sends_parameters)
        packet->layer.begins_key_frame = false; /* the SPS is late: a decoder needs both */
    packet->is_key_frame = packet->layer.begins_key_frame;
    if (!is_layered)
        return;
    producer_note_layer(p, packet->encoding, &packet->layer, a->turn->now_ns);
    if (packet->layer.has_targets)
        layer_targets_copy(&packet->targets, source);
}

/* Writes down what the fan-out needs to know about the packet; its bytes are there already. */
static void describe(struct arrivals *a, struct packet *packet, struct producer *p,
                     const struct stream *stream, const struct rtp_view *view, size_t payload_bytes,
                     int codec)
{
    packet->view = *view;
    packet->payload_at = view->header_bytes;
    packet->payload_bytes = (uint16_t)payload_bytes;
    packet->bytes = (uint16_t)(view->header_bytes + payload_bytes);
    packet->padding_bytes = 0;
    packet->owner = p->owner;
    packet->encoding = stream->encoding;
    packet->source = p->encodings[stream->encoding].source;
    packet->codec = (uint8_t)codec;
    packet->is_key_frame = false;
    packet->layer = (struct layer){0};
    if (p->kind == MEDIA_KIND_video && payload_bytes)
        read_layer(a, packet, p);
}

/* Keeps a packet, so that it can be sent again, and notes the gap before it. */
static void repair_add(struct arrivals *a, struct producer *p, const struct packet *packet,
                       uint64_t index, bool is_repair)
{
    const struct history_head head = {.index = packet->index,
                                      .arrived_ns = packet->arrived_ns,
                                      .stream = producer_stream(p, packet->encoding),
                                      .owner = packet->owner,
                                      .bytes = packet->bytes,
                                      .payload_at = packet->payload_at,
                                      .source = packet->source,
                                      .codec = packet->codec,
                                      .is_key_frame = packet->is_key_frame,
                                      .spatial = packet->layer.spatial,
                                      .ends_frame = packet->layer.ends_frame};

    history_add(a->history, &head, packet->data);
    repair_in_add(a->repair_in, p, packet, index, is_repair);
}

/* A packet of nothing but padding. Its number is not missing. Mostly nothing leaves; but when packets
 * after it have left already, its place is filled by an empty packet, because subscribers would ask for
 * it. */
static enum verdict take_empty(struct arrivals *a, struct producer *p, struct packet *packet,
                               uint64_t index, bool is_repair)
{
    repair_in_add(a->repair_in, p, packet, index, is_repair);
    if (numbers_in_drop(&a->numbers, p, packet->encoding, index, &packet->index))
        return VERDICT_drop_rtp_empty;
    return queue(a, p, packet);
}

/* Everything is known about the packet; `index`, as received. Passes it on to who wants it. */
static enum verdict pass_on(struct arrivals *a, struct arrival *arrival,
                            const struct stream *stream, uint64_t index, size_t payload_bytes,
                            int codec)
{
    struct producer *p = stream->producer;
    struct encoding *e = &p->encodings[stream->encoding];
    struct packet *packet = arrival->packet;
    bool is_repair = arrival->is_repair;

    if (p->sent_id[EXTENSION_abs_capture_time])
        capture_time_move(packet, arrival->transport, p, &arrival->view);
    packet->arrived_ns = a->turn->now_ns;
    describe(a, packet, p, stream, &arrival->view, payload_bytes, codec);
    if (__builtin_expect(payload_bytes == 0, 0))
        return take_empty(a, p, packet, index, is_repair);
    if (!numbers_in_take(&a->numbers, p, packet->encoding, index, &packet->index))
        return VERDICT_drop_rtp_replay;
    if (packet->is_key_frame) {
        e->key_frames++;
        e->key_frame_wanted = false;
    }
    if (producer_is_layered(p) && !is_repair)
        p->layer_bytes[ROW_LAYER(p->type == PRODUCER_TYPE_simulcast ? stream->encoding
                                                                    : packet->layer.spatial,
                                 packet->layer.temporal)] += packet->bytes;
    repair_add(a, p, packet, index, is_repair);
    return queue(a, p, packet);
}

static enum verdict accept(struct arrivals *a, struct arrival *arrival,
                           const struct srtp_unprotect_job *job)
{
    const struct rtp_view *view = &arrival->view;
    struct transport *t = arrival->transport;
    struct stream *stream = arrival->unproven ? arrival->unproven->entry : arrival->stream;
    bool is_repair = stream->is_rtx;
    struct producer *p = stream->producer;
    struct encoding *e = &p->encodings[stream->encoding];
    struct packet *packet = arrival->packet;
    uint64_t index = job->index;
    size_t payload_bytes;
    uint32_t last_ssrc;
    int codec;

    t->rtp_packets_received++;
    t->rtp_bytes_received += job->bytes;
    policer_add(&t->authentic, t->rate, job->bytes, a->turn->now_ns);
    if (__builtin_expect(arrival->may_prove, 0))
        proofs_media(a->proofs, t, &a->batch->datagrams[arrival->position].path);
    congestion_add(a, t, job->packet, view);
    if (!rtp_padding_strip(packet ? packet->room : job->packet, view, job->bytes, &payload_bytes))
        return VERDICT_drop_rtp_malformed;
    if (is_repair) {
        e->rtx_packets++;
        t->rtx_bytes_received += job->bytes;
        e->seen_rtx_ssrc = stream->ssrc;
        stream = unwrap(arrival, stream, &payload_bytes, &index);
        if (!stream) {
            e->rtx_discarded++;
            return VERDICT_drop_rtx_unused;
        }
    }
    codec = codec_of(p, view->payload_type);
    if (codec < 0) {
        e->discarded++;
        return VERDICT_drop_rtp_payload_type;
    }
    last_ssrc = e->seen_ssrc;
    if (!is_source(a, p, t, stream)) {
        e->discarded++;
        return VERDICT_drop_rtp_replaced;
    }
    is_repair |= repair_in_is_audio_answer(a->repair_in, p, stream->encoding, view->ssrc, index);
    if (!is_repair) /* a retransmission does not tell how the network is (RFC 4588 8.3) */
        reception_add(e, view, index, payload_bytes ? job->bytes : 0, p->clock_rate[codec],
                      a->turn->now_ns);
    if (last_ssrc && last_ssrc != view->ssrc && producer_is_wanted(p, stream->encoding))
        key_frame_request(a->fanout->key_frames, p, stream->encoding); /* consumers wait for it */
    if (p->kind == MEDIA_KIND_video && (p->paused || !packet))
        history_forget_key_frame(a->history, producer_stream(p, stream->encoding));
    if (p->paused)
        return VERDICT_drop_rtp_paused;
    level_add(a, p, job->packet, view);
    orientation_add(p, job->packet, view);
    if (!packet)
        return producer_is_wanted(p, stream->encoding) ? VERDICT_drop_no_memory : VERDICT_unwanted;
    arrival->is_repair = is_repair;
    return pass_on(a, arrival, stream, index, payload_bytes, codec);
}

/* ---- together ---- */

static enum verdict finish(struct arrivals *a, struct arrival *arrival,
                           const struct srtp_unprotect_job *job)
{
    static const uint8_t refused[] = {
        [SRTP_MALFORMED] = VERDICT_drop_rtp_malformed,
        [SRTP_UNAUTHENTIC] = VERDICT_drop_rtp_unauthentic,
        [SRTP_REPLAYED] = VERDICT_drop_rtp_replay,
        [SRTP_KEY_LIMIT] = VERDICT_drop_rtp_replay,
    };

    if (job->result == SRTP_OK && (!arrival->unproven || prove(arrival->unproven)))
        return accept(a, arrival, job);
    policer_add(&arrival->transport->refused, arrival->transport->rate, job->bytes,
                a->turn->now_ns);
    return job->result != SRTP_OK ? refused[job->result] : VERDICT_drop_rtp_ssrc_limit;
}

/* Makes neighbouring packets of one video stream equal in size; mostly they are a frame. Audio is
 * left as it is: it comes one packet at a time, and what is sent again must be what was sent. */
static void pad_runs(struct arrivals *a)
{
    struct packet *run[PADDING_RUN_MAX];

    for (size_t i = 0; i < a->count;) {
        const struct stream *stream = a->arrivals[i].stream;
        unsigned n = 0;

        for (; i < a->count && n < PADDING_RUN_MAX && a->arrivals[i].stream == stream &&
               a->arrivals[i].packet;
             i++)
            run[n++] = a->arrivals[i].packet;
        if (n > 1 && stream->producer->kind == MEDIA_KIND_video)
            padding_merge(stream->producer->sent_id, &stream->producer->typical, run, n);
        i += n == 0;
    }
}

void ingress_run(struct arrivals *a)
{
    size_t queued = 0;

    if (a->count > 0)
        srtp_unprotect_burst(a->srtp, a->jobs, a->count);
    for (size_t i = 0; i < a->count; i++) {
        struct arrival *arrival = &a->arrivals[i];
        enum verdict verdict = finish(a, arrival, &a->jobs[i]);

        verdict_set(a->batch, arrival->position, verdict);
        if (verdict == VERDICT_PENDING) {
            queued++;
        } else if (arrival->packet) {
            pool_give(a->pool, arrival->packet);
            arrival->packet = NULL;
        }
    }
    if (queued > 1)
        pad_runs(a);
    a->count = 0;
    a->unproven_count = 0;
}
