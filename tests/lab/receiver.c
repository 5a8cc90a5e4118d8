/* A virtual receiver: numbers, NACK, RTX, what left the worker. */
#include "receiver.h"

#include "control.h"
#include "dataplane/engines/rtp.h" /* only the numbers of header extensions, which the rows hold */
#include "decoder.h"
#include "publisher.h"

#define TICK_NS MS(20)
#define TRIES_MAX 10
#define OWN_SSRC 77
#define KEY_WAIT_NS MS(200) /* for the first key frame */
#define PICTURE_WAIT_NS SECONDS(3)
#define NUMBER_BEGIN (1ll << 20) /* so that numbers before the first one are positive */

/* ---- RTP ---- */

struct view {
    uint8_t type;
    bool marker;
    uint16_t sequence;
    uint32_t timestamp, ssrc;
    const uint8_t *payload, *extension;
    size_t bytes, extension_bytes;
};

static void find_extension(struct view *v, uint32_t profile, const uint8_t *p, size_t bytes,
                           unsigned id)
{
    bool two = (profile & 0xfff0) == 0x1000;
    size_t at = 0;

    while (at < bytes) {
        unsigned one_id = two ? p[at] : p[at] >> 4, length;

        if (p[at] == 0) {
            at++;
            continue;
        }
        length = two ? p[at + 1] : (p[at] & 15u) + 1;
        at += two ? 2 : 1;
        if (one_id == id && at + length <= bytes) {
            v->extension = p + at;
            v->extension_bytes = length;
        }
        at += length;
    }
}

/* False: malformed. Padding is taken off. */
static bool view_read(const uint8_t *data, size_t bytes, struct view *v)
{
    size_t at = 12 + 4u * (data[0] & 15);

    *v = (struct view){.type = data[1] & 0x7f,
                       .marker = data[1] >> 7,
                       .sequence = (uint16_t)read16(data + 2),
                       .timestamp = read32(data + 4),
                       .ssrc = read32(data + 8)};
    if (data[0] & 0x10) {
        size_t length = 4 * (size_t)read16(data + at + 2);

        if (at + 4 + length > bytes)
            return false;
        find_extension(v, read16(data + at), data + at + 4, length,
                       EXTENSION_dependency_descriptor);
        at += 4 + length;
    }
    if (data[0] & 0x20) {
        if (data[bytes - 1] == 0 || at + data[bytes - 1] > bytes)
            return false;
        bytes -= data[bytes - 1];
    }
    if (at > bytes)
        return false;
    v->payload = data + at;
    v->bytes = bytes - at;
    return true;
}

static bool read_truth(const struct view *v, struct truth *truth, bool *is_damaged)
{
    const uint8_t *end = v->payload + v->bytes - sizeof(*truth);

    if (v->bytes < sizeof(*truth) + 17)
        return false;
    memcpy(truth, end, sizeof(*truth));
    if (truth->magic != TRUTH_MAGIC)
        return false;
    *is_damaged = true;
    /* The filling begins behind the codec's bytes, whose number the receiver does not know. */
    for (size_t head = 0; head < 80 && head < v->bytes - sizeof(*truth); head++)
        if (v->payload[head] == (uint8_t)(truth->frame * 31 + truth->packet) &&
            (uint32_t)hash_more(truth->frame, v->payload + head,
                                (size_t)(end - v->payload) - head) == truth->hash)
            *is_damaged = false;
    return true;
}

/* ---- what leaves the worker ---- */

static void compare_with_first(struct receiver *r, const struct view *v)
{
    int64_t full = unwrap_near(r->sent_newest, read16(v->payload), 16);
    const struct sent_place *place = &r->places[(uint64_t)full % SENT_PLACES];

    r->sent.resent++;
    if (!place->is_used || place->number != full) {
        if (full < r->sent_first || full > r->sent_newest)
            r->sent.resent_outside++;
        else
            r->sent.resent_first++;
        return;
    }
    if (place->marker != v->marker || place->timestamp != v->timestamp ||
        place->hash != hash_more(1, v->payload + 2, v->bytes - 2))
        r->sent.resent_changed++;
}

static void on_sent(void *context, const uint8_t *data, size_t bytes)
{
    struct receiver *r = context;
    struct sent_place *place;
    struct reading reading;
    struct reader reader = {0};
    struct truth truth;
    struct view v;
    int64_t number, bit;
    bool damaged;

    if (r->is_closed || (read32(data + 8) != r->ssrc && read32(data + 8) != r->rtx_ssrc))
        return;
    if (!view_read(data, bytes, &v))
        world_fail(r->client->world, "a malformed packet leaves");
    if (v.ssrc == r->rtx_ssrc) {
        if (v.bytes >= 2)
            compare_with_first(r, &v);
        return;
    }
    number = r->has_sent ? unwrap_near(r->sent_newest, v.sequence, 16) : NUMBER_BEGIN + v.sequence;
    if (!r->has_sent)
        r->sent_base = r->sent_first = r->sent_newest = number;
    r->has_sent = true;
    r->sent.packets++;
    r->sent.empty += v.bytes == 0;
    r->sent.markers += v.marker;
    r->sent.backwards += number < r->sent_first && r->sent.packets > 64;
    if (number < r->sent_first)
        r->sent_first = number;
    bit = number - r->sent_base + SENT_BEFORE;
    if (bit >= 0 && bit < SENT_NUMBERS)
        r->left[bit / 8] |= (uint8_t)(1 << bit % 8);
    place = &r->places[(uint64_t)number % SENT_PLACES];
    r->sent.twice += place->is_used && place->number == number;
    *place = (struct sent_place){.number = number,
                                 .timestamp = v.timestamp,
                                 .marker = v.marker,
                                 .is_used = true,
                                 .hash = hash_more(1, v.payload, v.bytes)};
    if (number > r->sent_newest)
        r->sent_newest = number;
    if (!read_truth(&v, &truth, &damaged)) {
        r->sent.damaged += v.bytes > 0;
        return;
    }
    r->sent.damaged += damaged;
    if (codec_read(r->options.codec, &reader, v.payload, v.bytes, v.extension, v.extension_bytes,
                   &reading))
        r->sent.key_packets += truth.is_key && truth.packet == 0;
}

uint32_t receiver_holes(const struct receiver *r, uint32_t after)
{
    uint32_t holes = 0;

    for (int64_t n = r->sent_first + after; r->has_sent && n < r->sent_newest - 100; n++) {
        int64_t bit = n - r->sent_base + SENT_BEFORE;

        if (bit >= SENT_NUMBERS)
            world_fail(r->client->world, "the lab watches at most %d numbers", SENT_NUMBERS);
        holes += !(r->left[bit / 8] >> bit % 8 & 1);
    }
    return holes;
}

/* ---- wishes ---- */

static void send_control(struct receiver *r, const uint8_t *data, size_t bytes)
{
    world_send_rtcp(r->client, data, bytes);
}

void receiver_ask_key_frame(struct receiver *r)
{
    uint8_t out[16];

    r->asked_key_ns = world_now(r->client->world);
    r->key_frames_asked++;
    send_control(r, out, control_pli(out, OWN_SSRC, r->ssrc));
}

void receiver_ask_again(struct receiver *r, const uint16_t *numbers, size_t count)
{
    uint8_t out[1200];

    if (count == 0 || r->options.without_nack)
        return;
    r->nacks++;
    r->asked += (uint32_t)count;
    send_control(r, out, control_nack(out, OWN_SSRC, r->ssrc, numbers, count));
}

/* How many packets overtake a late one: more than that in every second case. */
static unsigned usual_overtaking(const struct receiver *r)
{
    unsigned count = r->overtaken_count < 128 ? r->overtaken_count : 128;

    for (unsigned n = 0; count && n < 64; n++) {
        unsigned below = 0;

        for (unsigned i = 0; i < count; i++)
            below += r->overtaken[i] <= n;
        if (below * 2 >= count)
            return n;
    }
    return 0;
}

static void note_missing(struct receiver *r, int64_t from, int64_t to)
{
    unsigned wait = usual_overtaking(r);

    if (to - from > RECEIVER_MISSING - (int64_t)r->missing_count) {
        r->missing_count = 0;
        receiver_ask_key_frame(r);
        return;
    }
    for (int64_t i = from; i < to; i++)
        r->missing[r->missing_count++] = (struct missing){
            .number = i, .send_at = i + wait, .noticed_ns = world_now(r->client->world)};
}

static void forget_missing(struct receiver *r, unsigned i)
{
    memmove(&r->missing[i], &r->missing[i + 1], (--r->missing_count - i) * sizeof(r->missing[0]));
}

/* A late packet. */
static void note_late(struct receiver *r, int64_t number, bool is_rtx)
{
    for (unsigned i = 0; i < r->missing_count; i++) {
        struct missing *m = &r->missing[i];

        if (m->number != number)
            continue;
        if (!is_rtx)
            r->overtaken[r->overtaken_count++ % 128] = (unsigned)(r->newest - number);
        if (is_rtx && m->asked_ns) {
            r->repaired++;
            r->repaired_in_time += world_now(r->client->world) - m->noticed_ns <= MS(200);
        }
        forget_missing(r, i);
        return;
    }
}

static void ask_due(struct receiver *r, bool is_tick)
{
    uint64_t now_ns = world_now(r->client->world);
    uint16_t numbers[RECEIVER_MISSING];
    size_t count = 0;

    for (unsigned i = 0; i < r->missing_count && count < 250;) {
        struct missing *m = &r->missing[i];
        bool due = m->asked_ns ? is_tick && now_ns - m->asked_ns >= r->options.round_trip_ns
                               : r->newest >= m->send_at;

        if (r->has_decoded && m->number <= r->decoded_to) {
            forget_missing(r, i); /* nothing needs it any more */
            continue;
        }
        if (due && m->tries == TRIES_MAX) {
            r->given_up++;
            forget_missing(r, i);
            continue;
        }
        if (due) {
            m->tries++;
            m->asked_ns = now_ns;
            numbers[count++] = (uint16_t)m->number;
        }
        i++;
    }
    receiver_ask_again(r, numbers, count);
}

/* ---- packets ---- */

/* The structure of an AV1 stream has come: what was there before can be read now. */
static void read_again(struct receiver *r)
{
    static const uint8_t payload[16];

    for (int64_t n = r->first; n <= r->newest; n++) {
        struct arrived *a = &r->packets[(uint64_t)n % RECEIVER_PACKETS];

        if (!a->is_used || a->number != n || !a->reading.is_unknown)
            continue;
        codec_read(r->options.codec, &r->reader, payload, sizeof(payload), a->extension,
                   a->extension_bytes, &a->reading);
        decoder_add(r, a);
    }
}

static void take(struct receiver *r, const struct view *v, bool is_rtx)
{
    int64_t number =
        r->has_first ? unwrap_near(r->newest, v->sequence, 16) : NUMBER_BEGIN + v->sequence;
    struct arrived *a = &r->packets[(uint64_t)number % RECEIVER_PACKETS];
    bool damaged, had_structure = r->reader.has_structure;

    if (!r->has_first)
        r->newest = number - 1, r->first = number, r->began_ns = world_now(r->client->world);
    r->has_first = true;
    if (a->is_used && a->number >= number)
        return; /* it is here, or much too old */
    if (number <= r->newest)
        note_late(r, number, is_rtx);
    else if (number > r->newest + 1)
        note_missing(r, r->newest + 1, number);
    if (number > r->newest)
        r->newest = number;
    if (number < r->first)
        r->first = number;
    *a = (struct arrived){.is_used = true,
                          .number = number,
                          .timestamp = v->timestamp,
                          .at_ns = world_now(r->client->world),
                          .marker = v->marker};
    if (v->bytes == 0) {
        a->is_done = true;
        a->reading.knows_ends = true;
    } else if (!read_truth(v, &a->truth, &damaged) || damaged ||
               !codec_read(r->options.codec, &r->reader, v->payload, v->bytes, v->extension,
                           v->extension_bytes, &a->reading)) {
        world_fail(r->client->world, "a receiver cannot read packet %u of SSRC %u", v->sequence,
                   v->ssrc);
    }
    if (r->options.codec == CODEC_opus)
        return;
    a->extension_bytes = v->extension_bytes < 64 ? v->extension_bytes : 0;
    memcpy(a->extension, v->extension, a->extension_bytes);
    if (!had_structure && r->reader.has_structure)
        read_again(r);
    if (v->bytes)
        decoder_add(r, a);
    ask_due(r, false);
}

static void on_rtp(void *context, uint8_t *data, size_t bytes)
{
    struct receiver *r = context;
    struct view v;

    if (r->is_closed || (read32(data + 8) != r->ssrc && read32(data + 8) != r->rtx_ssrc))
        return;
    if (!view_read(data, bytes, &v))
        world_fail(r->client->world, "a receiver got a malformed packet");
    if (v.ssrc == r->ssrc) {
        take(r, &v, false);
        return;
    }
    r->rtx_packets++;
    if (v.bytes < 2 || !r->has_first)
        return;
    v.sequence = (uint16_t)read16(v.payload);
    v.payload += 2;
    v.bytes -= 2;
    take(r, &v, true);
}

static void wish(void *context, const struct control_wish *w)
{
    struct receiver *r = context;

    if (w->kind != WISH_SENDER_REPORT || w->ssrc != r->ssrc)
        return;
    r->last_sr = (uint32_t)(w->ntp >> 16);
    r->last_sr_ns = world_now(r->client->world);
}

static void on_rtcp(void *context, const uint8_t *data, size_t bytes)
{
    struct receiver *r = context;

    if (!r->is_closed && !control_read(data, bytes, wish, r))
        world_fail(r->client->world, "a receiver got malformed RTCP");
}

/* ---- time ---- */

static void tick(void *context, uint64_t number)
{
    struct receiver *r = context;
    uint64_t now_ns = world_now(r->client->world), since_ns;

    if (r->is_closed)
        return;
    if (r->options.codec != CODEC_opus && r->has_first) {
        ask_due(r, true);
        decoder_tick(r);
        since_ns = r->has_decoded ? r->last_shown_ns : r->began_ns;
        if (r->asked_key_ns > since_ns)
            since_ns = r->asked_key_ns;
        if (!r->options.is_paused &&
            now_ns > since_ns + (r->has_decoded ? PICTURE_WAIT_NS : KEY_WAIT_NS))
            receiver_ask_key_frame(r);
    }
    world_at(r->client->world, now_ns + TICK_NS, tick, r, 0);
}

static void report(void *context, uint64_t number)
{
    struct receiver *r = context;
    uint64_t now_ns = world_now(r->client->world);
    uint8_t out[64];

    if (r->is_closed)
        return;
    if (r->has_first) {
        struct control_report block = {.ssrc = r->ssrc,
                                       .highest = (uint32_t)(r->newest - NUMBER_BEGIN),
                                       .last_sr = r->last_sr};

        if (r->last_sr)
            block.delay = (uint32_t)(((now_ns - r->last_sr_ns) << 16) / NS_PER_S);
        send_control(r, out, control_receiver_report(out, OWN_SSRC, &block));
    }
    world_at(r->client->world, now_ns + SECONDS(1), report, r, 0);
}

/* ---- life ---- */

static void write_row(struct receiver *r)
{
    const struct receiver_options *o = &r->options;
    bool audio = o->codec == CODEC_opus;
    struct consumer_row row = {
        .transport = handle_make(r->client->index, 1),
        .producer = handle_make(r->producer, 1),
        .ssrc = r->ssrc,
        .rtx_ssrc = r->rtx_ssrc,
        .extension_mask = 1 << EXTENSION_mid | 1 << EXTENSION_abs_send_time |
                          (o->codec == CODEC_av1 ? 1 << EXTENSION_dependency_descriptor : 0),
        .payload_type = publisher_payload_type(o->codec),
        .rtx_payload_type =
            (uint8_t)(o->without_rtx || audio ? 0 : publisher_payload_type(o->codec) + 1),
        .kind = audio ? MEDIA_KIND_audio : MEDIA_KIND_video,
        .paused = o->is_paused,
        .priority = 1,
        .preferred_spatial_layer = o->spatial ? (uint8_t)(o->spatial - 1) : 255,
        .preferred_temporal_layer = o->temporal ? (uint8_t)(o->temporal - 1) : 255,
        .mid_bytes = 1,
        .mid = "0",
    };

    world_row(r->client, TABLE_consumer, r->index, &row.header);
}

struct receiver *receiver_open(struct world_client *client, unsigned number, uint32_t producer,
                               const struct receiver_options *options)
{
    struct receiver *r = calloc(1, sizeof(*r));

    r->client = client;
    r->options = *options;
    r->index = client->index * 8 + number;
    r->producer = producer;
    r->ssrc = 4000 + 2 * number;
    r->rtx_ssrc = r->ssrc + 1;
    if (!r->options.round_trip_ns)
        r->options.round_trip_ns = MS(100);
    if (!r->options.patience_ns)
        r->options.patience_ns = MS(150);
    if (!r->options.held_ns)
        r->options.held_ns = MS(100);
    r->last_id = 1 << 20;
    r->last_shown_ns = world_now(client->world);
    write_row(r);
    world_endpoint(
        client, &(struct endpoint){.context = r, .rtp = on_rtp, .rtcp = on_rtcp, .sent = on_sent});
    world_at(client->world, world_now(client->world) + TICK_NS, tick, r, 0);
    world_at(client->world,
             world_now(client->world) + MS(300 + random_below(world_random(client->world), 500)),
             report, r, 0);
    return r;
}

void receiver_prefer(struct receiver *receiver, unsigned spatial, unsigned temporal)
{
    receiver->options.spatial = (uint8_t)spatial;
    receiver->options.temporal = (uint8_t)temporal;
    write_row(receiver);
}

void receiver_pause(struct receiver *receiver, bool pause)
{
    receiver->options.is_paused = pause;
    receiver->last_shown_ns = world_now(receiver->client->world);
    write_row(receiver);
}

void receiver_close(struct receiver *receiver)
{
    free(receiver->shown);
    free(receiver);
}

/* ---- figures ---- */

uint64_t receiver_gap_ns(const struct receiver *r, uint64_t from_ns)
{
    uint64_t last_ns = from_ns, gap_ns = 0, now_ns = world_now(r->client->world);

    for (size_t i = 0; i <= r->shown_count; i++) {
        uint64_t at_ns = i < r->shown_count ? r->shown[i].at_ns : now_ns;

        if (at_ns < last_ns)
            continue;
        if (at_ns - last_ns > gap_ns)
            gap_ns = at_ns - last_ns;
        last_ns = at_ns;
    }
    return gap_ns;
}

size_t receiver_shown(const struct receiver *r, uint64_t from_ns)
{
    size_t count = 0;

    for (size_t i = 0; i < r->shown_count; i++)
        count += r->shown[i].at_ns >= from_ns;
    return count;
}

unsigned receiver_freezes(const struct receiver *r, uint64_t from_ns)
{
    uint64_t usual_ns = 0, last_ns = 0;
    unsigned freezes = 0;

    for (size_t i = 0; i < r->shown_count; i++) {
        uint64_t at_ns = r->shown[i].at_ns, gap_ns = last_ns ? at_ns - last_ns : 0;

        if (usual_ns && at_ns >= from_ns && gap_ns > 3 * usual_ns && gap_ns > usual_ns + MS(150))
            freezes++;
        if (gap_ns)
            usual_ns = usual_ns ? usual_ns - usual_ns / 30 + gap_ns / 30 : gap_ns;
        last_ns = at_ns;
    }
    return freezes;
}

int receiver_level(const struct receiver *r, uint64_t from_ns)
{
    const struct shown *last = r->shown_count ? &r->shown[r->shown_count - 1] : NULL;

    return last && last->at_ns >= from_ns ? last->encoding + last->spatial : -1;
}

void receiver_check(const struct receiver *r)
{
    const struct world *world = r->client->world;

    world_compare(world, r->sent.twice, ==, 0);
    world_compare(world, r->sent.backwards, ==, 0);
    world_compare(world, r->sent.resent_outside, ==, 0);
    world_compare(world, r->sent.resent_changed, ==, 0);
    world_compare(world, r->sent.damaged, ==, 0);
    world_compare(world, r->broken, ==, 0);
    world_compare(world, r->client->refused, ==, 0);
}
