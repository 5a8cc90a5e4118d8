/* A virtual publisher. */
#include "publisher.h"

#include "control.h"
#include "dataplane/engines/rtp.h" /* only the numbers of header extensions, which the rows hold */

#define PAYLOAD_BYTES 1100
#define AUDIO_NS MS(20)
#define AGAIN_NS MS(5) /* the same packet is not sent again sooner */
#define TEMPORAL_MAX 3

enum { ID_SEND_TIME = 2, ID_DESCRIPTOR = 13 };

/* ---- packets ---- */

static uint32_t clock_rate(const struct publisher *p)
{
    return p->options.codec == CODEC_opus ? 48000 : 90000;
}

static uint32_t timestamp_of(const struct publisher *p, const struct publisher_stream *s,
                             uint64_t at_ns)
{
    return s->timestamp_offset +
           (uint32_t)((at_ns - WORLD_BEGIN_NS) / 1000 * clock_rate(p) / 1000000);
}

/* Header of a packet with its extensions: abs-send-time, and AV1's descriptor in the two-byte form. */
static size_t put_header(uint8_t *out, uint8_t payload_type, uint16_t sequence, uint32_t timestamp,
                         uint32_t ssrc, bool marker, const uint8_t *descriptor, size_t bytes)
{
    size_t at = 16;

    out[0] = 0x90;
    out[1] = (uint8_t)(marker << 7 | payload_type);
    write16(out + 2, sequence);
    write32(out + 4, timestamp);
    write32(out + 8, ssrc);
    write16(out + 12, bytes ? 0x1000 : 0xbede);
    if (bytes) {
        out[at++] = ID_DESCRIPTOR;
        out[at++] = (uint8_t)bytes;
        memcpy(out + at, descriptor, bytes);
        at += bytes;
    } else {
        out[at++] = ID_SEND_TIME << 4 | 2;
        memset(out + at, 0x33, 3);
        at += 3;
    }
    while (at % 4)
        out[at++] = 0;
    write16(out + 14, (uint32_t)(at - 16) / 4);
    return at;
}

static void send(struct publisher *p, struct publisher_stream *s, const uint8_t *packet,
                 size_t bytes)
{
    struct sent_packet *kept = &s->history[s->sequence % PUBLISHER_HISTORY];

    kept->sequence = s->sequence++;
    kept->bytes = (uint16_t)bytes;
    kept->again_ns = 0;
    memcpy(kept->data, packet, bytes);
    s->packets++;
    s->bytes += (uint32_t)bytes;
    s->has_sent = true;
    world_send_rtp(p->client, packet, bytes);
}

static void send_packet(struct publisher *p, struct publisher_stream *s, struct frame *f,
                        unsigned packet, size_t bytes)
{
    uint8_t out[1400], described[64], extension[128];
    size_t filling = bytes > sizeof(f->truth) + 16 ? bytes - sizeof(f->truth) : 16;
    size_t extension_bytes,
        head = codec_describe(p->options.codec, f, packet, filling + sizeof(f->truth), described,
                              extension, &extension_bytes);
    bool marker = f->ends_picture && packet + 1u == f->truth.packets;
    size_t at = put_header(out, publisher_payload_type(p->options.codec), s->sequence, f->timestamp,
                           s->ssrc, marker, extension, extension_bytes);

    memcpy(out + at, described, head);
    at += head;
    for (size_t i = 0; i < filling; i++)
        out[at + i] = (uint8_t)(f->truth.frame * 31 + packet + i * 7);
    f->truth.packet = (uint16_t)packet;
    f->truth.hash = (uint32_t)hash_more(f->truth.frame, out + at, filling);
    at += filling;
    memcpy(out + at, &f->truth, sizeof(f->truth));
    send(p, s, out, at + sizeof(f->truth));
}

static void send_frame(struct publisher *p, struct publisher_stream *s, struct frame *f)
{
    unsigned parameters = p->options.codec == CODEC_h264 && f->truth.is_key;
    unsigned packets = (f->bytes + PAYLOAD_BYTES - 1) / PAYLOAD_BYTES;

    f->truth.packets = (uint16_t)(packets + parameters);
    f->timestamp = timestamp_of(p, s, p->capture_ns);
    p->last_timestamp = f->timestamp;
    if (parameters)
        send_packet(p, s, f, 0, 60);
    for (unsigned i = 0; i < packets; i++)
        send_packet(p, s, f, i + parameters, f->bytes / packets);
}

/* What a sender's bandwidth estimation adds: nothing but padding, with numbers of the stream. */
static void send_padding(struct publisher *p, struct publisher_stream *s)
{
    uint8_t out[400];
    size_t at = put_header(out, publisher_payload_type(p->options.codec), s->sequence,
                           p->last_timestamp, s->ssrc, false, NULL, 0);

    out[0] |= 0x20;
    memset(out + at, 0, 224);
    out[at + 223] = 224;
    send(p, s, out, at + 224);
}

/* ---- retransmission (RFC 4588) ---- */

static void send_again(struct publisher *p, struct publisher_stream *s, uint16_t number)
{
    struct sent_packet *kept = &s->history[number % PUBLISHER_HISTORY];
    uint8_t out[1408];
    size_t header = 16 + 4 * read16(kept->data + 14);

    if (!kept->bytes || kept->sequence != number)
        return;
    if (kept->again_ns && world_now(p->client->world) - kept->again_ns < AGAIN_NS)
        return;
    kept->again_ns = world_now(p->client->world);
    memcpy(out, kept->data, header);
    out[1] = (uint8_t)((out[1] & 0x80) | (publisher_payload_type(p->options.codec) + 1));
    write16(out + 2, s->rtx_sequence++);
    write32(out + 8, s->rtx_ssrc);
    write16(out + header, number);
    memcpy(out + header + 2, kept->data + header, kept->bytes - header);
    s->packets_sent_again++;
    world_send_rtp(p->client, out, kept->bytes + 2u);
}

/* ---- pictures ---- */

static const uint8_t patterns[TEMPORAL_MAX + 1][PUBLISHER_PATTERN] = {
    {0}, {0, 0, 0, 0}, {0, 1, 0, 1}, {0, 2, 1, 2}};

static uint32_t frame_bytes(struct publisher *p, unsigned level, bool key)
{
    uint32_t kbps = p->options.kbps, bytes;

    for (unsigned i = 0; i < level; i++)
        kbps *= 3;
    bytes = kbps * 125 / p->options.frames_per_second;
    bytes = bytes * (70 + random_below(world_random(p->client->world), 60)) / 100;
    return (key ? 5 * bytes : bytes) + 200;
}

static void refer(struct frame *f, const struct publisher_stream *s, unsigned spatial,
                  unsigned temporal, unsigned *count)
{
    f->truth.references[*count] = s->last[spatial][temporal];
    f->differences[*count] = (uint16_t)(f->number - s->last_number[spatial][temporal]);
    ++*count;
}

/* One layer of a picture. */
static void send_layer(struct publisher *p, unsigned encoding, unsigned spatial, bool key,
                       unsigned temporal, unsigned layers)
{
    struct publisher_stream *s = &p->streams[encoding];
    unsigned count = 0;
    struct frame f = {
        .truth = {.magic = TRUTH_MAGIC,
                  .frame = ++p->frames,
                  .capture_us = (uint32_t)((p->capture_ns - WORLD_BEGIN_NS) / 1000),
                  .encoding = (uint8_t)encoding,
                  .spatial = (uint8_t)spatial,
                  .temporal = (uint8_t)temporal,
                  .is_key = key},
        .bytes = frame_bytes(p, encoding + spatial, key),
        .ends_picture = spatial + 1 == layers,
        .picture_id = s->picture_id,
        .picture_bits = p->options.picture_bits == 1 ? 0 : p->options.picture_bits,
        .tl0 = s->tl0,
        .layer_sync = temporal > 0 && s->phase % PUBLISHER_PATTERN != 3,
        .inter_layer = spatial > 0 && (key || p->options.full_svc),
        .spatial_layers = (uint8_t)layers,
        .temporal_layers = (uint8_t)p->options.temporal,
        .number = s->number++,
    };

    if (f.inter_layer) {
        f.truth.references[count] = p->frames - 1;
        f.differences[count++] = 1;
    }
    if (!key && temporal == 2 && s->phase % PUBLISHER_PATTERN == 3)
        refer(&f, s, spatial, 1, &count);
    else if (!key)
        refer(&f, s, spatial, 0, &count);
    s->last[spatial][temporal] = f.truth.frame;
    s->last_number[spatial][temporal] = f.number;
    send_frame(p, s, &f);
}

static void send_picture(struct publisher *p, unsigned encoding)
{
    struct publisher_stream *s = &p->streams[encoding];
    bool key = !s->has_sent || (s->key_wanted && world_now(p->client->world) >= s->key_due_ns);
    unsigned temporal;

    if (key) {
        s->phase = 0;
        s->key_wanted = false;
        s->keys_sent++;
    }
    temporal = patterns[p->options.temporal][s->phase % PUBLISHER_PATTERN];
    if (temporal == 0)
        s->tl0++;
    s->picture_id++;
    for (unsigned i = 0; i < p->options.spatial; i++)
        send_layer(p, encoding, i, key, temporal, p->options.spatial);
    s->phase++;
    for (unsigned i = 0; i < p->options.paddings && p->pictures % 10 == 0; i++)
        send_padding(p, s);
    if (p->options.probes && p->pictures % (p->options.frames_per_second / 10 + 1) == 0)
        send_again(p, s, (uint16_t)(s->sequence - 1));
}

static void tick(void *context, uint64_t number)
{
    struct publisher *p = context;
    uint64_t now_ns = world_now(p->client->world);

    if (p->is_closed)
        return;
    p->capture_ns = now_ns;
    p->pictures++;
    for (unsigned i = 0; i < p->options.encodings; i++)
        if (!p->streams[i].is_stopped)
            send_picture(p, i);
    world_at(p->client->world, now_ns + NS_PER_S / p->options.frames_per_second, tick, p, 0);
}

/* ---- sound ---- */

static void talk(void *context, uint64_t number)
{
    struct publisher *p = context;
    struct world *world = p->client->world;
    struct publisher_stream *s = &p->streams[0];
    struct frame f = {.truth = {.magic = TRUTH_MAGIC, .frame = ++p->frames, .packets = 1},
                      .bytes = 80};
    bool begins = false;

    if (p->is_closed)
        return;
    if (p->options.dtx && world_now(world) >= p->phase_ends_ns) {
        p->is_talking = !p->is_talking;
        begins = p->is_talking;
        p->phase_ends_ns = world_now(world) + MS(800 + random_below(world_random(world), 3000));
    }
    p->capture_ns = world_now(world);
    f.timestamp = timestamp_of(p, s, p->capture_ns);
    f.ends_picture = begins;
    f.truth.capture_us = (uint32_t)((p->capture_ns - WORLD_BEGIN_NS) / 1000);
    send_packet(p, s, &f, 0, 80);
    world_at(world, p->capture_ns + (p->is_talking ? AUDIO_NS : MS(400)), talk, p, 0);
}

/* ---- RTCP ---- */

static uint64_t ntp_of(const struct publisher *p, uint64_t ns)
{
    uint64_t wall_ns = 1700000000ull * NS_PER_S + ns + (uint64_t)p->options.clock_ns;

    return (wall_ns / NS_PER_S + 2208988800ull) << 32 | ((wall_ns % NS_PER_S << 32) / NS_PER_S);
}

static void report(void *context, uint64_t encoding)
{
    struct publisher *p = context;
    struct publisher_stream *s = &p->streams[encoding];
    uint64_t now_ns = world_now(p->client->world);
    uint8_t out[64];

    if (p->is_closed)
        return;
    if (s->has_sent && !s->is_stopped)
        world_send_rtcp(p->client, out,
                        control_sender_report(out, s->ssrc, ntp_of(p, now_ns),
                                              timestamp_of(p, s, now_ns), s->packets, s->bytes));
    world_at(p->client->world, now_ns + SECONDS(1), report, p, encoding);
}

static void key_asked(struct publisher *p, struct publisher_stream *s)
{
    s->keys_asked++;
    for (unsigned i = 0; i < p->options.encodings; i++) {
        struct publisher_stream *one = &p->streams[i];

        if ((one != s && !p->options.all_keys) || one->key_wanted)
            continue;
        one->key_wanted = true;
        one->key_due_ns = world_now(p->client->world) + (p->options.slow_keys ? MS(500) : 0);
    }
}

static void wish(void *context, const struct control_wish *w)
{
    struct publisher *p = context;

    for (unsigned i = 0; i < p->options.encodings; i++) {
        struct publisher_stream *s = &p->streams[i];

        if (s->ssrc != w->ssrc)
            continue;
        if (w->kind == WISH_KEY_FRAME) {
            key_asked(p, s);
        } else if (w->kind == WISH_PACKET) {
            s->packets_asked++;
            if (!p->options.without_rtx)
                send_again(p, s, w->number);
        }
    }
}

static void on_rtcp(void *context, const uint8_t *data, size_t bytes)
{
    struct publisher *p = context;

    if (!p->is_closed && !control_read(data, bytes, wish, p))
        world_fail(p->client->world, "the publisher got malformed RTCP");
}

/* ---- life ---- */

static void write_row(struct publisher *p)
{
    const struct publisher_options *o = &p->options;
    bool audio = o->codec == CODEC_opus;
    struct producer_row row = {
        .transport = handle_make(p->client->index, 1),
        .kind = audio ? MEDIA_KIND_audio : MEDIA_KIND_video,
        .type = o->encodings > 1                    ? PRODUCER_TYPE_simulcast
                : o->spatial > 1 || o->temporal > 1 ? PRODUCER_TYPE_svc
                                                    : PRODUCER_TYPE_simple,
        .paused = p->is_paused,
        .codec_count = 1,
        .encoding_count = (uint8_t)o->encodings,
        .codec = {(uint8_t)o->codec},
        .codec_payload_type = {publisher_payload_type(o->codec)},
        .codec_mapped_payload_type = {publisher_payload_type(o->codec)},
        .codec_rtx_payload_type = {(uint8_t)(publisher_payload_type(o->codec) + 1)},
        .codec_mapped_rtx_payload_type = {(uint8_t)(publisher_payload_type(o->codec) + 1)},
        .codec_clock_rate = {clock_rate(p)},
        .cname = "publisher",
    };

    if (audio)
        row.codec_rtx_payload_type[0] = row.codec_mapped_rtx_payload_type[0] = 0;
    for (unsigned i = 0; i < o->encodings; i++) {
        row.encoding_ssrc[i] = p->streams[i].ssrc;
        row.encoding_rtx_ssrc[i] = audio ? 0 : p->streams[i].rtx_ssrc;
        row.encoding_spatial_layers[i] = (uint8_t)o->spatial;
        row.encoding_temporal_layers[i] = (uint8_t)o->temporal;
        row.encoding_dependency[i] =
            o->full_svc ? LAYER_DEPENDENCY_full : LAYER_DEPENDENCY_key_frames;
    }
    row.extension_sent_id[EXTENSION_abs_send_time] = ID_SEND_TIME;
    if (o->codec == CODEC_av1)
        row.extension_sent_id[EXTENSION_dependency_descriptor] = ID_DESCRIPTOR;
    world_row(p->client, TABLE_producer, p->index, &row.header);
}

static void open_stream(struct publisher *p, unsigned i)
{
    uint64_t *random = world_random(p->client->world);
    struct publisher_stream *s = &p->streams[i];

    s->ssrc = 0x10000u * (p->index + 1) + 2 * i + 1;
    s->rtx_ssrc = s->ssrc + 1;
    s->timestamp_offset = (uint32_t)random_next(random);
    s->sequence =
        (uint16_t)(p->options.with_sequence ? p->options.with_sequence : random_next(random));
    s->rtx_sequence = (uint16_t)random_next(random);
    s->number = (uint16_t)random_next(random);
    s->picture_id = p->options.first_picture ? p->options.first_picture
                                             : (uint32_t)random_next(random) & 0x7fff;
    s->tl0 = (uint8_t)random_next(random);
    s->history = calloc(PUBLISHER_HISTORY, sizeof(*s->history));
    world_at(p->client->world,
             world_now(p->client->world) + p->options.first_report_ns + i * MS(37), report, p, i);
}

struct publisher *publisher_open(struct world_client *client, uint32_t index,
                                 const struct publisher_options *options)
{
    struct publisher *p = calloc(1, sizeof(*p));
    struct publisher_options *o = &p->options;

    *p = (struct publisher){
        .client = client, .options = *options, .index = index, .is_talking = true};
    o->encodings = o->encodings ? o->encodings : 1;
    o->spatial = o->spatial ? o->spatial : 1;
    o->temporal = o->temporal ? o->temporal : 1;
    o->frames_per_second = o->frames_per_second ? o->frames_per_second : 25;
    o->kbps = o->kbps ? o->kbps : 200;
    o->picture_bits = o->picture_bits ? o->picture_bits : 15;
    o->first_report_ns = o->first_report_ns ? o->first_report_ns : SECONDS(1);
    for (unsigned i = 0; i < o->encodings; i++)
        open_stream(p, i);
    write_row(p);
    world_endpoint(client, &(struct endpoint){.context = p, .rtcp = on_rtcp});
    world_at(client->world, world_now(client->world) + MS(1), o->codec == CODEC_opus ? talk : tick,
             p, 0);
    return p;
}

void publisher_close(struct publisher *publisher)
{
    for (unsigned i = 0; i < publisher->options.encodings; i++)
        free(publisher->streams[i].history);
    free(publisher);
}

void publisher_stop(struct publisher *publisher, unsigned encoding, bool stop)
{
    publisher->streams[encoding].is_stopped = stop;
    if (!stop)
        publisher->streams[encoding].key_wanted = true;
}

void publisher_set_clock(struct publisher *publisher, int64_t clock_ns)
{
    publisher->options.clock_ns = clock_ns;
}

void publisher_spatial_layers(struct publisher *publisher, unsigned layers)
{
    publisher->options.spatial = layers;
    publisher->streams[0].key_wanted = true;
}
