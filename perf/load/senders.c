/* Builds and sends frames and packets. They copy what Chromium sends: one-byte header extensions in
 * the same order, a VP8 payload descriptor with a 15-bit picture id, and frames cut into packets
 * whose sizes differ by at most one byte. */
#include "senders.h"

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

#define OPUS_INTERVAL_NS (20 * NS_PER_MS)
#define OPUS_TICKS 960
#define VIDEO_CLOCK 90000
#define DESCRIPTOR_BYTES 4
#define FRAME_TAG_BYTES 3
#define KEY_FRAME_HEAD_BYTES 10
#define HEADER_BYTES_MAX 64
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
    s->interval_ns = kind == STREAM_VIDEO ? NS_PER_S / options->fps : OPUS_INTERVAL_NS;
    s->ssrc = (uint32_t)random | 1;
    s->rtx_ssrc = kind == STREAM_VIDEO ? s->ssrc ^ 0x40000000u : 0;
    s->index = random >> 32 & 0x3fff; /* RFC 3711: start below 2^15 */
    s->rtx_index = random >> 48 & 0x3fff;
    s->timestamp = (uint32_t)(random >> 16);
    s->picture_id = (uint16_t)(random >> 40 & 0x7fff);
    s->key_frame_wanted = true;
    return s;
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
    /* At a random moment of the interval: real cameras do not send in step. */
    s->due_ns = media->now_ns + media_random(media) % s->interval_ns;
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
    bool marker;                /* the last of its frame */
    bool key_end;               /* the last of a key frame */
    uint8_t payload_type;
    uint32_t ssrc;
    uint16_t sequence;
};

/* Writes the header with its extensions. Returns its bytes. */
static size_t header_write(struct sender *s, const struct packet *packet, uint8_t *out)
{
    size_t mid = strlen(s->mid), words;
    uint8_t *p = out, *length;

    *p++ = 0x90;
    *p++ = (uint8_t)(packet->marker << 7 | packet->payload_type);
    p = put_number(p, packet->sequence, 2);
    p = put_number(p, s->timestamp, 4);
    p = put_number(p, packet->ssrc, 4);
    p = put_number(p, 0xbede, 2);
    length = p;
    p += 2;
    *p++ = SENT_ID_ABS_SEND_TIME << 4 | 2;
    p = put_number(p, rtp_abs_send_time(s->last_wall_ns), 3);
    *p++ = SENT_ID_TRANSPORT_CC << 4 | 1;
    p = put_number(p, s->endpoint->transport_sequence++, 2);
    if (!s->mid_acknowledged && mid) {
        *p++ = (uint8_t)(SENT_ID_MID << 4 | (mid - 1));
        memcpy(p, s->mid, mid);
        p += mid;
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

/* RFC 7741: the descriptor with a picture id. In the first packet VP8's frame tag follows, in a key
 * frame also the start code and the size (640 x 480). Returns the bytes written. */
static size_t write_vp8_head(uint8_t *p, const struct sender *s, bool first, bool key)
{
    static const uint8_t key_head[KEY_FRAME_HEAD_BYTES] = {0xb0, 0x74, 0x00, 0x9d, 0x01,
                                                           0x2a, 0x80, 0x02, 0xe0, 0x01};

    p[0] = first ? 0x90 : 0x80;
    p[1] = 0x80;
    p[2] = (uint8_t)(0x80 | s->picture_id >> 8);
    p[3] = (uint8_t)s->picture_id;
    if (!first)
        return DESCRIPTOR_BYTES;
    if (key) {
        memcpy(p + DESCRIPTOR_BYTES, key_head, sizeof(key_head));
        return DESCRIPTOR_BYTES + KEY_FRAME_HEAD_BYTES;
    }
    memcpy(p + DESCRIPTOR_BYTES, "\xd1\x2a\x00", FRAME_TAG_BYTES);
    return DESCRIPTOR_BYTES + FRAME_TAG_BYTES;
}

static void send_frame(struct media *media, struct sender *s)
{
    const struct options *o = media->options;
    size_t bytes = (size_t)o->video_kbps * 125 / o->fps;
    size_t room = o->video_bytes - 12 - 12 - DESCRIPTOR_BYTES; /* RTP header, extensions */
    size_t count = (bytes + room - 1) / room, small, larger;
    bool key = s->key_frame_wanted;

    if (count > FRAME_PACKETS_MAX) {
        count = FRAME_PACKETS_MAX;
        bytes = count * room;
    }
    if (bytes < count * (KEY_FRAME_HEAD_BYTES + LABEL_BYTES))
        bytes = count * (KEY_FRAME_HEAD_BYTES + LABEL_BYTES);
    small = bytes / count;
    larger = bytes % count; /* this many packets at the end have one byte more */
    s->key_frame_wanted = false;
    s->key_frames += key;
    s->frames++;
    net_reserve(media->net, FRAME_PACKETS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct packet packet = {.label = {.frame = s->frames,
                                          .at = (uint8_t)i,
                                          .last = (uint8_t)(count - 1),
                                          .back = !key,
                                          .key = key},
                                .marker = i + 1 == count,
                                .key_end = key && i + 1 == count};
        uint8_t *payload = media->payloads + i * RTP_PAYLOAD_BYTES_MAX;
        size_t head = write_vp8_head(payload, s, i == 0, key);

        send_packet(media, s, &packet, payload, head,
                    DESCRIPTOR_BYTES + small + (i >= count - larger));
    }
    net_flush(media->net);
    s->picture_id = (s->picture_id + 1) & 0x7fff;
    s->timestamp += VIDEO_CLOCK / o->fps;
}

static void send_opus(struct media *media, struct sender *s)
{
    struct packet packet = {.marker = s->frames == 0};

    media->payloads[0] = 0x78; /* table of contents: CELT, 20 ms, mono */
    send_packet(media, s, &packet, media->payloads, 1, media->options->audio_bytes);
    s->frames++;
    s->timestamp += OPUS_TICKS;
}

uint64_t senders_due_ns(const struct media *media)
{
    return media->queue_count ? media->sender_queue[0]->due_ns : UINT64_MAX;
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
        if (s->kind == STREAM_VIDEO)
            send_frame(media, s);
        else
            send_opus(media, s);
        if (s->kind == STREAM_AUDIO && ++waiting % AUDIO_FLUSH == 0)
            net_flush(media->net);
        s->due_ns += s->interval_ns;
        /* If the machine stood still for a second, do not send all that was missed. */
        if (s->due_ns + NS_PER_S < now)
            s->due_ns = now;
        queue_move_down(media, 0);
    }
    net_flush(media->net);
}

/* ---- NACK ---- */

void sender_resend(struct media *media, struct sender *s, uint16_t sequence)
{
    const struct kept_packet *kept;
    struct packet packet = {.ssrc = s->rtx_ssrc};
    uint8_t header[HEADER_BYTES_MAX + 128], payload[RTP_PAYLOAD_BYTES_MAX + 2];
    uint64_t index;

    if (!s->history || !s->running)
        return;
    kept = &s->history[sequence % HISTORY_PACKETS];
    if (kept->sequence != sequence || kept->payload_bytes == 0)
        return;
    index = s->rtx_index++;
    /* RFC 4588 4: the original sequence number is in front of the payload. */
    memcpy(header, kept->bytes, kept->header_bytes);
    header[1] = (uint8_t)((header[1] & 0x80) | s->rtx_payload_type);
    put_number(header + 2, (uint16_t)index, 2);
    put_number(header + 8, s->rtx_ssrc, 4);
    put_number(payload, sequence, 2);
    memcpy(payload + 2, kept->bytes + kept->header_bytes, kept->payload_bytes);
    protect_and_send(media, s, index, &packet, header, kept->header_bytes, payload,
                     kept->payload_bytes + 2u);
    media->measurement.counts.rtx_sent++;
}
