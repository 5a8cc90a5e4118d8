/* The whole path of a packet through a worker, and as its bound the calls of the cipher alone.
 *
 *   path    feed one burst of each producer of a room | worker_turn |         next room …
 *   bound                                             | srtp_protect_burst × n |
 *                                                     └── timed ──┘
 * The bound does only what the path cannot avoid: it uses as many keys, lying side by side in the
 * order of the consumers, the same plaintext for all consumers, slots of the same sizes in as much
 * memory, and bursts as long as the worker's. Jobs and headers are made in code that is not timed.
 */
#include "cases.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "packets.h"
#include "samples.h"
#include "world.h"

#include "src/clock.h"

#define VIDEO_BURST 9 /* 2.5 Mbit/s at 30 frames/s in packets of 1200 bytes */
#define VIDEO_INTERVAL_NS (NS_PER_S / 30)
#define AUDIO_PACKET_NS (NS_PER_S / 50)
#define LOADED_NS 200 /* for a packet out on a worker under full load */
#define AUDIO_PUBLISHERS 20
#define COLD_BYTES 2048 /* about what one packet to a consumer touches: key, consumer, egress */

struct whole {
    struct bench_options options;
    struct bench_world world;
    struct srtp_key *publisher_keys; /* room_count × publishers */
    uint64_t *next_index;            /* of each producer */
    uint32_t room, bound_room;       /* the next one */
    uint8_t clear[IO_BATCH][DATAGRAM_ROOM], datagrams[IO_BATCH][DATAGRAM_ROOM];
    uint64_t fed;
    /* the bound */
    struct srtp_key *keys; /* room_count × subscribers */
    uint8_t *slots;
    struct srtp_protect_job jobs[SRTP_BURST];
    size_t job_count;
    uint64_t bound_index;
    struct samples samples; /* of what was sent, while it is checked */
};

/* How many packets a turn must send. */
static uint64_t packets_out(const struct bench_options *o)
{
    return (uint64_t)o->together * o->publishers * o->burst * o->fanout;
}

static void rooms_default(struct bench_options *o)
{
    long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    uint32_t most, wanted;

    if (o->rooms)
        return;
    /* So many rooms that they need four times the cache: when a room sends again, none of it is
     * left. */
    if (cache <= 0)
        cache = 2 << 20;
    wanted = (uint32_t)(4 * cache / COLD_BYTES / o->fanout) + 1;
    most = TRANSPORTS_MAX / (o->fanout + o->publishers);
    o->rooms = o->cold ? (wanted < 100 ? 100 : wanted) : 1;
    if (o->rooms > most)
        o->rooms = most;
}

/* Chooses what was not given. */
static void defaults(struct bench_options *o)
{
    if (!o->profile)
        o->profile = SRTP_PROFILE_aead_aes_128_gcm;
    if (!o->fanout)
        o->fanout = 50;
    if (!o->bytes)
        o->bytes = o->audio ? 160 : 1200;
    if (!o->publishers)
        o->publishers = o->audio ? AUDIO_PUBLISHERS : 1;
    if (!o->burst)
        o->burst = o->audio ? 1 : VIDEO_BURST;
    if (!o->together)
        o->together = 1;
    if (!o->rounds)
        o->rounds = 100;
    if (!o->units)
        o->units = 5000;
    rooms_default(o);
    /* Many rooms send at the rate of real rooms, so the cost includes reports and statistics. One
     * room at that rate would not load a worker, so its clock moves as under full load. */
    if (!o->turn_ns && o->rooms > 1)
        o->turn_ns = (o->audio ? AUDIO_PACKET_NS : VIDEO_INTERVAL_NS) * o->together / o->rooms;
    else if (!o->turn_ns)
        o->turn_ns = packets_out(o) * LOADED_NS;
}

/* Size of a datagram. */
static uint32_t bytes_max(const struct bench_options *o)
{
    return o->bytes + (uint32_t)srtp_tag_bytes(o->profile);
}

/* ---- the path ---- */

/* libwebrtc splits a frame into about equal packets, the larger ones last. */
static uint32_t packet_bytes(const struct bench_options *o, uint32_t i)
{
    return o->uneven && i < o->burst / 2 ? o->bytes - 1 : o->bytes;
}

static void feed_producer(struct whole *b, uint32_t room, uint32_t p, size_t first, bool key_frame)
{
    const struct bench_options *o = &b->options;
    uint32_t producer = room * o->publishers + p;
    struct path path = world_path(world_publisher(&b->world, room, p));
    struct io *io = world_worker(&b->world, world_publisher(&b->world, room, p))->io;
    uint32_t tag_bytes = (uint32_t)srtp_tag_bytes(o->profile);

    for (uint32_t i = 0; i < o->burst; i++) {
        struct packet_rtp rtp = {
            .index = b->next_index[producer]++,
            .ssrc = world_producer_ssrc(producer),
            .timestamp = (uint32_t)(world_now_ns() / NS_PER_MS * 90),
            .marker = i + 1 == o->burst,
            .is_key_frame = key_frame && i == 0,
            .level = o->audio ? 30 : 0,
            .bytes = packet_bytes(o, i),
        };

        packet_rtp_write(b->clear[first + i], &rtp);
        packet_rtp_protect(b->world.crypto, &b->publisher_keys[producer], b->datagrams[first + i],
                           b->clear[first + i], &rtp);
        if (!io_replay_feed(io, &path, b->datagrams[first + i], rtp.bytes + tag_bytes))
            bench_die("the queue of the replay backend is full");
        b->fed++;
    }
}

/* A large room takes several turns. The last one has work, too: a worker under load has no empty
 * turn. */
static void worker_work(void *argument)
{
    struct worker *w = argument;

    do
        worker_turn(w);
    while (fan_out_has_work(&w->fanout));
}

/* Feeds one burst of each producer of the next rooms; returns their worker, which must turn then.
 */
static struct worker *prepare(struct whole *b, bool key_frame)
{
    const struct bench_options *o = &b->options;
    struct worker *w = world_worker(&b->world, world_publisher(&b->world, b->room, 0))->worker;
    size_t first = 0;

    for (uint32_t i = 0; i < o->together; i++) {
        for (uint32_t p = 0; p < o->publishers; p++, first += o->burst)
            feed_producer(b, b->room, p, first, key_frame);
        b->room = (b->room + 1) % o->rooms;
    }
    world_advance(o->turn_ns);
    return w;
}

static void step(void *state, struct bench_tally *tally)
{
    struct whole *b = state;

    tally->ticks += bench_measure(worker_work, prepare(b, false));
    tally->units += packets_out(&b->options);
}

/* ---- the bound ---- */

/* Job i of a turn, in the order of rooms, their producers, their consumers, their packets. */
static void bound_job(struct whole *b, size_t i, struct srtp_protect_job *job, size_t slot)
{
    const struct bench_options *o = &b->options;
    size_t per_producer = (size_t)o->fanout * o->burst;
    size_t producer = i / per_producer;
    size_t packet = producer * o->burst + i % o->burst;
    size_t room = (b->bound_room + producer / o->publishers) % o->rooms;
    size_t consumer = room * o->fanout + i % per_producer / o->burst;

    *job = (struct srtp_protect_job){
        .key = &b->keys[consumer],
        .out = b->slots + slot * bytes_max(o),
        .payload = b->clear[packet] + PACKET_HEADER_BYTES,
        .index = b->bound_index + packet,
        .ssrc = world_consumer_ssrc((uint32_t)consumer),
        .header_bytes = PACKET_HEADER_BYTES,
        .payload_bytes = (uint16_t)(o->bytes - PACKET_HEADER_BYTES),
    };
}

static void protect_work(void *state)
{
    struct whole *b = state;

    srtp_protect_burst(b->world.crypto, b->jobs, b->job_count);
}

static void bound(void *state, struct bench_tally *tally)
{
    struct whole *b = state;
    const struct bench_options *o = &b->options;
    size_t total = packets_out(o), together = bench_burst_max(bytes_max(o));

    for (size_t done = 0; done < total; done += b->job_count) {
        b->job_count = total - done < together ? total - done : together;
        for (size_t i = 0; i < b->job_count; i++)
            bound_job(b, done + i, &b->jobs[i], i);
        tally->ticks += bench_measure(protect_work, b);
    }
    tally->units += total;
    b->bound_index += IO_BATCH;
    b->bound_room = (b->bound_room + o->together) % o->rooms;
}

/* ---- was the right thing sent? ---- */

static void check_count(struct whole *b)
{
    uint64_t sent = world_sent_rtp(&b->world), wanted = b->fed * b->options.fanout;

    if (sent != wanted)
        bench_die(
            "%llu packets in, %u consumers: %llu packets out were expected, but %llu were sent",
            (unsigned long long)b->fed, b->options.fanout, (unsigned long long)wanted,
            (unsigned long long)sent);
}

/* Decrypts a sample and looks for its plaintext among the packets of this turn. */
static void check_sample(struct whole *b, uint32_t first_room, struct sample *s)
{
    const struct bench_options *o = &b->options;
    uint32_t producer = sample_open(&b->world, s, b->next_index, o->burst);
    uint32_t room = producer / o->publishers, p = producer % o->publishers;
    uint32_t position = (room + o->rooms - first_room) % o->rooms;
    const uint8_t(*sent)[DATAGRAM_ROOM] =
        &b->clear[((size_t)position * o->publishers + p) * o->burst];

    if (position >= o->together || s->bytes < o->bytes - 1 || s->bytes > o->bytes)
        bench_die("a packet of room %u, which did not send in this turn, or %u bytes long", room,
                  s->bytes);
    for (uint32_t i = 0; i < o->burst; i++)
        if (memcmp(s->data + PACKET_HEADER_BYTES, sent[i] + PACKET_HEADER_BYTES,
                   packet_bytes(o, i) - PACKET_HEADER_BYTES) == 0)
            return;
    bench_die("a packet of producer %u has a payload that was not sent", producer);
}

/* One turn of the next room; samples of what it sends are checked. */
static void check_room(struct whole *b)
{
    uint32_t room = b->room;
    struct io *io = world_worker(&b->world, world_publisher(&b->world, room, 0))->io;

    b->samples.count = 0;
    b->samples.seen = 0;
    io_replay_sink(io, samples_look, &b->samples);
    worker_work(prepare(b, false));
    io_replay_sink(io, NULL, NULL);
    if (b->samples.count == 0)
        bench_die("nothing was sent");
    for (size_t i = 0; i < b->samples.count; i++)
        check_sample(b, room, &b->samples.of[i]);
}

static void check(void *state)
{
    check_count(state);
    check_room(state);
}

/* ---- together ---- */

static void keys_make(struct whole *b)
{
    const struct bench_options *o = &b->options;

    for (uint32_t room = 0; room < o->rooms; room++) {
        for (uint32_t p = 0; p < o->publishers; p++)
            world_client_key(&b->world, world_publisher(&b->world, room, p), false,
                             &b->publisher_keys[room * o->publishers + p]);
        for (uint32_t s = 0; s < o->fanout; s++)
            world_client_key(&b->world, world_subscriber(&b->world, room, s), true,
                             &b->keys[(size_t)room * o->fanout + s]);
    }
}

static void *open_whole(struct bench_options *o, char *what)
{
    struct whole *b = bench_pages(sizeof(*b));
    struct world_shape shape;
    size_t producers;
    int used;

    defaults(o);
    producers = (size_t)o->rooms * o->publishers;
    if (o->together > o->rooms || o->together * o->publishers * o->burst > IO_BATCH ||
        o->bytes < PACKET_HEADER_BYTES + 16 || o->bytes > DATAGRAM_BYTES_MAX - SRTP_TAIL_BYTES_MAX)
        bench_die("at most %d packets in a turn, of %d to %d bytes each", IO_BATCH,
                  PACKET_HEADER_BYTES + 16, DATAGRAM_BYTES_MAX - SRTP_TAIL_BYTES_MAX);
    b->options = *o;
    shape = (struct world_shape){.profile = o->profile,
                                 .kind = o->audio ? MEDIA_KIND_audio : MEDIA_KIND_video,
                                 .room_count = o->rooms,
                                 .publishers = o->publishers,
                                 .subscribers = o->fanout};
    world_open(&b->world, 1);
    world_connect(&b->world, &shape);
    world_consume(&b->world);
    b->publisher_keys = bench_pages(sizeof(struct srtp_key) * producers);
    b->next_index = bench_pages(sizeof(uint64_t) * producers);
    b->keys = bench_pages(sizeof(struct srtp_key) * o->rooms * o->fanout);
    b->slots = bench_pages(IO_SLOTS_BYTES);
    keys_make(b);
    for (uint32_t room = 0; room < o->rooms; room += o->together)
        worker_work(prepare(b, true)); /* video begins at a key frame */
    check(b);
    used = snprintf(what, 64, "fanout %u %s %u B %s", o->fanout, bench_profile_name(o->profile),
                    o->bytes, o->rooms > 1 ? "cold" : "warm");
    if (o->together > 1)
        used += snprintf(what + used, 64 - (size_t)used, ", %u rooms a turn", o->together);
    if (o->uneven)
        snprintf(what + used, 64 - (size_t)used, " uneven");
    return b;
}

static void close_whole(void *state)
{
    struct whole *b = state;
    const struct bench_options *o = &b->options;
    size_t producers = (size_t)o->rooms * o->publishers;

    world_close(&b->world);
    bench_pages_free(b->publisher_keys, sizeof(struct srtp_key) * producers);
    bench_pages_free(b->next_index, sizeof(uint64_t) * producers);
    bench_pages_free(b->keys, sizeof(struct srtp_key) * o->rooms * o->fanout);
    bench_pages_free(b->slots, IO_SLOTS_BYTES);
    bench_pages_free(b, sizeof(*b));
}

const struct bench_case case_path = {
    .name = "path",
    .unit = "packet out",
    .prose = "the whole turn of a worker; bound: encryption alone",
    .open = open_whole,
    .step = step,
    .bound = bound,
    .check = check,
    .close = close_whole,
};
