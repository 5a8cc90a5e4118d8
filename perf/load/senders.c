/* Builds and sends frames and packets. They copy what Chromium sends: one-byte header extensions in
 * the same order, the descriptors of video_head.h, and frames cut into packets whose sizes differ by
 * at most one byte. */
#include "senders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/rtp.h"
#include "dataplane/engines/srtp/srtp.h"
#include "endpoint.h"
#include "media.h"
#include "memory.h"
#include "net.h"
#include "options.h"
#include "payload.h"
#include "src/clock.h"
#include "video_head.h"

#define OPUS_INTERVAL_NS (20 * NS_PER_MS)
#define OPUS_TICKS 960
#define DESCRIPTOR_BYTES 4  /* of VP8 without layers; others take more room */
#define LAYERED_BYTES 24    /* this much, at most, with RID, MID and a scalability structure */
#define PLAIN_HEAD_BYTES 14 /* of a key frame of VP8 without layers */
#define KBPS_MIN 50         /* of an encoding */
#define HEADER_BYTES_MAX 96
#define AUDIO_FLUSH 8 /* audio packets that are sent with one flush */

/* ---- the queue: a binary heap by due_ns ---- */

static void queue_place(struct media *media, uint32_t at, struct sender *s)
{
    media->sender_queue[at] = s;
    s->queue_at = at;
}

static void queue_move_down(struct media *media, uint32_t at)
{
    struct sender *s = media->sender_queue[at];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child + 1 < media->queue_count &&
            media->sender_queue[child + 1]->due_ns < media->sender_queue[child]->due_ns)
            child++;
        if (child >= media->queue_count || media->sender_queue[child]->due_ns >= s->due_ns)
            break;
        queue_place(media, at, media->sender_queue[child]);
        at = child;
    }
    queue_place(media, at, s);
}

static void queue_move_up(struct media *media, uint32_t at)
{
    struct sender *s = media->sender_queue[at];

    for (; at > 0 && media->sender_queue[(at - 1) / 2]->due_ns > s->due_ns; at = (at - 1) / 2)
        queue_place(media, at, media->sender_queue[(at - 1) / 2]);
    queue_place(media, at, s);
}

struct sender *sender_new(const struct options *options, uint32_t id, enum stream_kind kind,
                          uint64_t random)
{
    struct sender *s = memory_zeroed(1, sizeof(*s));

    s->id = id;
    s->kind = (uint8_t)kind;
    s->ticks = kind == STREAM_VIDEO ? VIDEO_CLOCK / options->fps : OPUS_TICKS;
    s->interval_ns = kind == STREAM_VIDEO ? NS_PER_S / options->fps : OPUS_INTERVAL_NS;
    s->ssrc = (uint32_t)random | 1;
    s->rtx_ssrc = kind == STREAM_VIDEO ? s->ssrc ^ 0x40000000u : 0;
    s->index = random >> 32 & 0x3fff; /* RFC 3711: start below 2^15 */
    s->rtx_index = random >> 48 & 0x3fff;
    s->timestamp = (uint32_t)(random >> 16);
    s->picture_id = (uint16_t)(random >> 40 & 0x7fff);
    s->tl0_index = (uint8_t)(random >> 56);
    s->key_frame_wanted = true;
    s->leader = s;
    s->kbps = options->video_kbps;
    s->codec = (uint8_t)(options->svc ? VIDEO_VP9 : options->codec);
    s->has_temporal = s->codec == VIDEO_VP9 || (s->codec == VIDEO_VP8 && options->simulcast);
    s->spatial_layers = options->svc ? SPATIAL_LAYERS_SENT : 1;
    return s;
}

void sender_join_encodings(struct sender *s, struct sender *leader, unsigned encoding)
{
    const struct options *o = s->endpoint->media->options;
    uint32_t kbps = o->video_kbps >> 2 * (o->simulcast - 1 - encoding);

    s->leader = leader;
    s->kbps = kbps > KBPS_MIN ? kbps : KBPS_MIN;
    if (!o->by_ssrc)
        snprintf(s->rid, sizeof(s->rid), "r%u", encoding);
}

void sender_start(struct media *media, struct sender *s)
{
    const struct options *o = media->options;

    if (s->running)
        return;
    if (o->nack && s->kind == STREAM_VIDEO)
        s->history = calloc(HISTORY_PACKETS, sizeof(*s->history));
    if (o->send_reorder > 0)
        s->held = calloc(1, sizeof(*s->held));
    s->running = true;
    /* At a random moment of the interval: real cameras do not send in step. The encodings of one
     * camera do. */
    s->due_ns = s->leader != s && s->leader->running
                    ? s->leader->due_ns
                    : media->now_ns + media_random(media) % s->interval_ns;
    media->sender_queue[media->queue_count] = s;
    queue_move_up(media, media->queue_count++);
}

void sender_stop(struct media *media, struct sender *s)
{
    struct sender *last;
    uint32_t at = s->queue_at;

    if (!s->running)
        return;
    s->running = false;
    last = media->sender_queue[--media->queue_count];
    if (last != s) {
        queue_place(media, at, last);
        queue_move_up(media, at);
        queue_move_down(media, last->queue_at);
    }
    free(s->history);
    free(s->held);
    s->history = s->held = NULL;
}

void senders_stop_all(struct media *media, void *unused)
{
    while (media->queue_count)
        sender_stop(media, media->sender_queue[0]);
}

/* ---- packets ---- */

static uint8_t *put_number(uint8_t *p, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        p[i] = (uint8_t)value;
        value >>= 8;
    }
    return p + bytes;
}

struct packet {
    struct payload_label label; /* where in its frame it is */
    bool marker;                /* the last of its picture */
    bool is_rtx;
    uint32_t timestamp;
    bool key_end; /* the last of a key frame */
    uint8_t payload_type;
    uint32_t ssrc;
    uint16_t sequence;
};

/* Writes the header with its extensions. Returns its bytes. */
static size_t header_write(struct sender *s, const struct packet *packet, uint8_t *out)
{
    size_t mid = strlen(s->mid), rid = strlen(s->rid), words;
    bool is_known = packet->is_rtx ? s->rtx_acknowledged : s->mid_acknowledged;
    uint8_t *p = out, *length;

    *p++ = 0x90;
    *p++ = (uint8_t)(packet->marker << 7 | packet->payload_type);
    p = put_number(p, packet->sequence, 2);
    p = put_number(p, packet->timestamp, 4);
    p = put_number(p, packet->ssrc, 4);
    p = put_number(p, 0xbede, 2);
    length = p;
    p += 2;
    *p++ = SENT_ID_ABS_SEND_TIME << 4 | 2;
    p = put_number(p, rtp_abs_send_time(s->last_wall_ns), 3);
    *p++ = SENT_ID_TRANSPORT_CC << 4 | 1;
    p = put_number(p, s->endpoint->transport_sequence++, 2);
    if (!is_known && mid) {
        *p++ = (uint8_t)(SENT_ID_MID << 4 | (mid - 1));
        memcpy(p, s->mid, mid);
        p += mid;
    }
    if (!is_known && rid) {
        *p++ = (uint8_t)((packet->is_rtx ? SENT_ID_REPAIRED_RID : SENT_ID_RID) << 4 | (rid - 1));
        memcpy(p, s->rid, rid);
        p += rid;
    }
    if (s->kind == STREAM_AUDIO) {
        *p++ = SENT_ID_AUDIO_LEVEL << 4;
        *p++ = 0x80 | 30; /* voice, -30 dBov */
    } else if (packet->key_end) {
        *p++ = (uint8_t)(SENT_ID_VIDEO_ORIENTATION << 4);
        *p++ = 0;
    }
    words = (size_t)(p - length - 2 + 3) / 4;
    put_number(length, words, 2);
    while (p < length + 2 + 4 * words)
        *p++ = 0;
    return (size_t)(p - out);
}

static void protect_and_send(struct media *media, struct sender *s, uint64_t index,
                             const struct packet *packet, const uint8_t *header,
                             size_t header_bytes, const uint8_t *payload, size_t payload_bytes)
{
    struct endpoint *e = s->endpoint;
    size_t bytes = header_bytes + payload_bytes + srtp_tag_bytes(media->options->profile);
    struct srtp_protect_job job = {.key = &e->ours,
                                   .payload = payload,
                                   .index = index,
                                   .ssrc = packet->ssrc,
                                   .header_bytes = (uint16_t)header_bytes,
                                   .payload_bytes = (uint16_t)payload_bytes};

    net_reserve(media->net, 1);
    job.out = net_slot(media->net, e->index, &e->remote.address, bytes);
    memcpy(job.out, header, header_bytes);
    srtp_protect_burst(media->engine, &job, 1);
    if (media->measurement.running) {
        media->measurement.counts.rtp_sent++;
        media->measurement.counts.rtp_sent_bytes += bytes;
    }
}

static void packet_keep(struct kept_packet *kept, uint64_t index, const uint8_t *header,
                        size_t header_bytes, const uint8_t *payload, size_t payload_bytes)
{
    kept->index = index;
    kept->sequence = (uint16_t)index;
    kept->header_bytes = (uint16_t)header_bytes;
    kept->payload_bytes = (uint16_t)payload_bytes;
    memcpy(kept->bytes, header, header_bytes);
    memcpy(kept->bytes + header_bytes, payload, payload_bytes);
}

static void send_held(struct media *media, struct sender *s)
{
    struct packet packet = {.ssrc = s->ssrc};
    const struct kept_packet *held = s->held;

    s->holding = false;
    protect_and_send(media, s, held->index, &packet, held->bytes, held->header_bytes,
                     held->bytes + held->header_bytes, held->payload_bytes);
}

/* Labels, counts and sends one packet. The codec's head is already in `payload`. With --loss and
 * --reorder some packets are not sent, or sent later. */
static void send_packet(struct media *media, struct sender *s, struct packet *packet,
                        uint8_t *payload, size_t head_bytes, size_t payload_bytes)
{
    struct payload_label *label = &packet->label;
    uint8_t header[HEADER_BYTES_MAX];
    uint64_t index = s->index++;
    size_t header_bytes;

    label->stream = s->id;
    label->number = s->next_number++;
    label->sent_ns = s->last_frame_ns;
    packet->ssrc = s->ssrc;
    packet->payload_type = s->payload_type;
    packet->timestamp = s->timestamp;
    packet->sequence = (uint16_t)index;
    header_bytes = header_write(s, packet, header);
    payload_write(payload, head_bytes, payload_bytes, label);
    s->packets++;
    s->bytes += (uint32_t)payload_bytes;
    if (s->history)
        packet_keep(&s->history[index % HISTORY_PACKETS], index, header, header_bytes, payload,
                    payload_bytes);
    if (media_chance(media, media->options->send_loss)) {
        media->measurement.counts.injected_send_loss += media->measurement.running;
        s->not_sent += media->measurement.running;
        return;
    }
    if (s->held && !s->holding && media_chance(media, media->options->send_reorder)) {
        media->measurement.counts.injected_send_reorder += media->measurement.running;
        packet_keep(s->held, index, header, header_bytes, payload, payload_bytes);
        s->holding = true;
        return;
    }
    protect_and_send(media, s, index, packet, header, header_bytes, payload, payload_bytes);
    if (s->holding)
        send_held(media, s);
}

/* ---- frames ---- */

/* How the bytes of a layer frame are divided among packets. */
struct split {
    size_t count, small, larger; /* `larger` packets at the end have one byte more than `small` */
};

static struct split split_frame(const struct sender *s, size_t bytes, const struct options *o)
{
    bool layered = s->has_temporal || s->rid[0] || s->codec != VIDEO_VP8;
    /* RTP header, extensions */
    size_t room = o->video_bytes - 12 - 12 - (layered ? LAYERED_BYTES : DESCRIPTOR_BYTES);
    size_t count = (bytes + room - 1) / room, most = FRAME_PACKETS_MAX / s->spatial_layers;
    size_t least = (layered ? VIDEO_HEAD_BYTES_MAX : PLAIN_HEAD_BYTES) + LABEL_BYTES;

    if (s->codec == VIDEO_H264 && s->key_frame_wanted && count < 2)
        count = 2; /* parameter sets and a slice */
    if (count > most) {
        count = most;
        bytes = count * room;
    }
    if (bytes < count * least)
        bytes = count * least;
    return (struct split){.count = count, .small = bytes / count, .larger = bytes % count};
}

/* Sends the packets of one spatial layer of a picture. */
static void send_layer_frame(struct media *media, struct sender *s, const struct video_head *frame,
                             const struct payload_label *label, size_t bytes)
{
    struct split split = split_frame(s, bytes, media->options);
    bool is_top = label->spatial + 1 == s->spatial_layers;

    for (size_t i = 0; i < split.count; i++) {
        bool is_last = i + 1 == split.count;
        struct packet packet = {.label = *label,
                                .marker = is_last && is_top,
                                .key_end = is_last && is_top && label->key};
        uint8_t *payload = media->payloads + i * RTP_PAYLOAD_BYTES_MAX;
        size_t size = DESCRIPTOR_BYTES + split.small + (i >= split.count - split.larger), written;
        struct video_head head = *frame;

        packet.label.at = (uint8_t)i;
        packet.label.last = (uint8_t)(split.count - 1);
        head.at = (uint8_t)i;
        head.first = i == 0;
        head.last = is_last;
        written = video_head_write((enum video_codec)s->codec, &head, payload);
        if (s->codec == VIDEO_H264 && i == 0) { /* the head says how long the rest is */
            head.rest_bytes = (uint16_t)(size - written);
            video_head_write(VIDEO_H264, &head, payload);
        }
        send_packet(media, s, &packet, payload, written, size);
    }
}

static void send_frame(struct media *media, struct sender *s)
{
    const struct options *o = media->options;
    size_t bytes = (size_t)s->kbps * 125 / o->fps, share = 1, shares = 0;
    bool key = s->key_frame_wanted;
    struct temporal_place place;

    s->position = key ? 0 : s->position + 1;
    place = s->has_temporal ? temporal_place(s->position)
                            : (struct temporal_place){.back = s->position > 0};
    s->tl0_index = (uint8_t)(s->tl0_index + (place.layer == 0));
    for (unsigned i = 0; i < s->spatial_layers; i++)
        shares = 4 * shares + 1;
    net_reserve(media->net, FRAME_PACKETS_MAX);
    for (uint8_t spatial = 0; spatial < s->spatial_layers; spatial++, share *= 4) {
        bool needs_lower = spatial > 0 && (key || o->svc == SVC_FULL);
        struct payload_label label = {.frame = s->frames,
                                      .spatial = spatial,
                                      .temporal = place.layer,
                                      .back = place.back,
                                      .key = key,
                                      .needs_lower = needs_lower};
        struct video_head head = {.has_layers = s->has_temporal,
                                  .key = key,
                                  .sync = place.sync,
                                  .needs_lower = needs_lower,
                                  .helps_upper = spatial + 1 < s->spatial_layers &&
                                                 (key || o->svc == SVC_FULL),
                                  .spatial = spatial,
                                  .temporal = place.layer,
                                  .spatial_layers = s->spatial_layers,
                                  .tl0_index = s->tl0_index,
                                  .picture_id = s->picture_id};

        send_layer_frame(media, s, &head, &label, bytes * share / shares);
    }
    net_flush(media->net);
    s->key_frame_wanted = false;
    s->key_frames += key;
    s->frames++;
    s->picture_id = (s->picture_id + 1) & 0x7fff;
    s->timestamp += s->ticks;
}

static void send_opus(struct media *media, struct sender *s)
{
    struct packet packet = {.marker = s->frames == 0};

    media->payloads[0] = 0x78; /* table of contents: CELT, 20 ms, mono */
    send_packet(media, s, &packet, media->payloads, 1, media->options->audio_bytes);
    s->frames++;
    s->timestamp += s->ticks;
}

uint64_t senders_due_ns(const struct media *media)
{
    return media->queue_count ? media->sender_queue[0]->due_ns : UINT64_MAX;
}

/* The machine stood still for a second: what was missed is not sent. A camera numbers its frames by
 * time, so that all its encodings stay together. */
static void skip_frames(struct sender *s, uint64_t now_ns)
{
    uint32_t missed = (uint32_t)((now_ns - s->due_ns) / s->interval_ns);

    s->due_ns += missed * s->interval_ns;
    s->frames += missed;
    s->picture_id = (s->picture_id + missed) & 0x7fff;
    s->timestamp += missed * s->ticks;
    s->key_frame_wanted = true;
}

void senders_run(struct media *media)
{
    unsigned waiting = 0;

    while (media->queue_count && media->sender_queue[0]->due_ns <= media->now_ns) {
        struct sender *s = media->sender_queue[0];
        uint64_t now = clock_monotonic_ns();

        if (media->measurement.running)
            histogram_record(&media->measurement.lateness, now - s->due_ns);
        s->last_frame_ns = now;
        s->last_wall_ns = clock_wall_ns();
        s->captured_wall_ns = s->last_wall_ns - (now - s->due_ns);
        if (s->kind == STREAM_VIDEO)
            send_frame(media, s);
        else
            send_opus(media, s);
        if (s->kind == STREAM_AUDIO && ++waiting % AUDIO_FLUSH == 0)
            net_flush(media->net);
        s->due_ns += s->interval_ns;
        if (s->due_ns + NS_PER_S < now)
            skip_frames(s, now);
        queue_move_down(media, 0);
    }
    net_flush(media->net);
}

/* ---- NACK ---- */

void sender_resend(struct media *media, struct sender *s, uint16_t sequence)
{
    const struct kept_packet *kept;
    struct packet packet = {
        .ssrc = s->rtx_ssrc, .payload_type = s->rtx_payload_type, .is_rtx = true};
    uint8_t header[HEADER_BYTES_MAX], payload[RTP_PAYLOAD_BYTES_MAX + 2];
    uint64_t index;
    size_t header_bytes;

    if (!s->history || !s->running)
        return;
    kept = &s->history[sequence % HISTORY_PACKETS];
    if (kept->sequence != sequence || kept->payload_bytes == 0)
        return;
    index = s->rtx_index++;
    packet.sequence = (uint16_t)index;
    packet.marker = kept->bytes[1] & 0x80;
    for (int i = 4; i < 8; i++)
        packet.timestamp = packet.timestamp << 8 | kept->bytes[i];
    header_bytes = header_write(s, &packet, header);
    /* RFC 4588 4: the original sequence number is in front of the payload. */
    put_number(payload, sequence, 2);
    memcpy(payload + 2, kept->bytes + kept->header_bytes, kept->payload_bytes);
    protect_and_send(media, s, index, &packet, header, header_bytes, payload,
                     kept->payload_bytes + 2u);
    media->measurement.counts.rtx_sent++;
}
