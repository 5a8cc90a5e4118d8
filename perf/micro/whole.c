/* The whole path of a worker, beside the protect calls alone.
 *
 *   path    feed one burst of each producer of a room | worker_turn |         next room …
 *   bound                                             | srtp_protect_burst × n |
 *                                                     └── timed ──┘
 * The bound does for each packet what the path cannot avoid: as many keys, compact and in the order
 * of consumers, one plaintext for all consumers, slots of the same sizes in the same amount of
 * memory, bursts as long as the worker's. Neither its jobs nor its headers are made in timed code. */
#include "whole.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "packets.h"
#include "world.h"

#include "src/clock.h"

#define VIDEO_BURST 9 /* 2.5 Mbit/s at 30 frames/s in packets of 1200 bytes */
#define VIDEO_INTERVAL_NS (NS_PER_S / 30)
#define AUDIO_INTERVAL_NS (NS_PER_S / 50)
#define LOADED_NS 200 /* of a packet out on a worker that does nothing else */
#define AUDIO_PUBLISHERS 20
#define COLD_BYTES 2048 /* about what one consumer's packet touches: key, consumer, transport */
#define DATAGRAM_ROOM 1600
#define SAMPLES_MAX 256

struct sample {
    struct path path;
    uint32_t bytes;
    uint8_t data[DATAGRAM_ROOM];
};

struct whole {
    const struct whole_options *options;
    struct bench_world world;
    struct srtp_key *publisher_keys; /* room_count × publishers */
    uint64_t *next_index;            /* of each producer */
    uint32_t room, bound_room;       /* whose turn it is */
    uint8_t clear[IO_BATCH][DATAGRAM_ROOM], protected[IO_BATCH][DATAGRAM_ROOM];
    uint64_t fed;
    /* the bound */
    struct srtp_key *keys; /* room_count × subscribers */
    uint8_t *slots;
    struct srtp_protect_job jobs[SRTP_BURST];
    uint64_t bound_index;
    /* what was seen, while somebody looks */
    size_t sample_count, seen;
    struct sample samples[SAMPLES_MAX];
};

static void rooms_default(struct whole_options *o, bool cold)
{
    long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    uint32_t most, wanted;

    if (o->rooms)
        return;
    /* Four times the cache, so that nothing is left of a room when its turn comes again. */
    if (cache <= 0)
        cache = 2 << 20;
    wanted = (uint32_t)(4 * cache / COLD_BYTES / o->fanout) + 1;
    most = TRANSPORTS_MAX / (o->fanout + o->publishers);
    o->rooms = cold ? (wanted < 100 ? 100 : wanted) : 1;
    if (o->rooms > most)
        o->rooms = most;
}

void whole_defaults(struct whole_options *o, bool cold)
{
    if (!o->publishers)
        o->publishers = o->audio ? AUDIO_PUBLISHERS : 1;
    if (!o->burst)
        o->burst = o->audio ? 1 : VIDEO_BURST;
    rooms_default(o, cold);
    /* One room cannot load a worker at its own pace: there the clock goes as if it could, and what
     * each client costs beside its packets (reports, statistics) is seen in many rooms only. */
    if (!o->turn_ns && o->rooms > 1)
        o->turn_ns = (o->audio ? AUDIO_INTERVAL_NS : VIDEO_INTERVAL_NS) / o->rooms;
    else if (!o->turn_ns)
        o->turn_ns = (uint64_t)o->publishers * o->burst * o->fanout * LOADED_NS;
}

/* ---- the path ---- */

static void feed_producer(struct whole *b, uint32_t room, uint32_t p, size_t first, bool key_frame)
{
    const struct whole_options *o = b->options;
    uint32_t producer = room * o->publishers + p;
    struct path path = world_path(world_publisher(&b->world, room, p));
    struct io *io = world_worker(&b->world, world_publisher(&b->world, room, p))->io;
    uint32_t tag_bytes = (uint32_t)srtp_tag_bytes(o->profile);

    for (uint32_t i = 0; i < o->burst; i++) {
        struct packet_rtp rtp = {
            .index = b->next_index[producer]++,
            .ssrc = world_producer_ssrc(producer),
            .timestamp = (uint32_t)(world_now_ns() / 1000 * 90 / 1000),
            .marker = i + 1 == o->burst,
            .is_key_frame = key_frame && i == 0,
            .bytes = o->bytes,
        };

        packet_rtp_write(b->clear[first + i], &rtp);
        packet_rtp_protect(b->world.crypto, &b->publisher_keys[producer], b->protected[first + i],
                           b -> clear[first + i], &rtp);
        if (!io_replay_feed(io, &path, b->protected[first + i], o -> bytes + tag_bytes))
            bench_die("the replay backend takes no more");
        b->fed++;
    }
}

/* One turn of one room; returns the ticks it took. */
static uint64_t turn(struct whole *b, bool key_frame)
{
    const struct whole_options *o = b->options;
    struct worker *w = world_worker(&b->world, world_publisher(&b->world, b->room, 0))->worker;
    uint64_t began, ended;

    for (uint32_t p = 0; p < o->publishers; p++)
        feed_producer(b, b->room, p, (size_t)p * o->burst, key_frame);
    world_advance(o->turn_ns);
    began = bench_ticks();
    while (worker_turn(w)) /* a large room takes several turns */
        ;
    ended = bench_ticks();
    b->room = (b->room + 1) % o->rooms;
    return ended - began - bench_reading_ticks();
}

/* ---- the bound ---- */

static void bound_job(struct whole *b, uint32_t room, size_t i, struct srtp_protect_job *job,
                      size_t slot)
{
    const struct whole_options *o = b->options;
    uint32_t payload_bytes = o->bytes - PACKET_HEADER_BYTES;
    size_t per_producer = (size_t)o->fanout * o->burst;
    size_t packet = i / per_producer * o->burst + i % o->burst;
    size_t consumer = i % per_producer / o->burst;

    *job = (struct srtp_protect_job){
        .key = &b->keys[(size_t)room * o->fanout + consumer],
        .out = b->slots + slot * (o->bytes + srtp_tag_bytes(o->profile)),
        .payload = b->clear[packet] + PACKET_HEADER_BYTES,
        .index = b->bound_index + packet,
        .ssrc = world_consumer_ssrc((uint32_t)consumer),
        .header_bytes = PACKET_HEADER_BYTES,
        .payload_bytes = (uint16_t)payload_bytes,
    };
}

static uint64_t bound_turn(struct whole *b)
{
    const struct whole_options *o = b->options;
    size_t total = (size_t)o->publishers * o->burst * o->fanout;
    uint64_t ticks = 0;

    for (size_t done = 0; done < total;) {
        size_t count = total - done < SRTP_BURST ? total - done : SRTP_BURST;
        uint64_t began;

        for (size_t i = 0; i < count; i++)
            bound_job(b, b->bound_room, done + i, &b->jobs[i], i);
        began = bench_ticks();
        srtp_protect_burst(b->world.crypto, b->jobs, count);
        ticks += bench_ticks() - began - bench_reading_ticks();
        done += count;
    }
    b->bound_index += IO_BATCH;
    b->bound_room = (b->bound_room + 1) % o->rooms;
    return ticks;
}

/* ---- is it right? ---- */

static uint64_t sent_rtp(struct whole *b)
{
    uint64_t sent = 0;

    for (uint32_t i = 0; i < b->world.worker_count; i++) {
        const struct bench_worker *w = &b->world.workers[i];

        sent += w->worker->backend->counters(w->io)->sent;
        sent -= w->worker->counters[COUNTER_rtcp_sent] + w->worker->counters[COUNTER_stun_sent];
    }
    return sent;
}

static void must_have_sent(struct whole *b)
{
    uint64_t sent = sent_rtp(b), wanted = b->fed * b->options->fanout;

    if (sent != wanted)
        bench_die("%llu packets in and %u consumers make %llu out, but %llu were sent",
                  (unsigned long long)b->fed, b->options->fanout, (unsigned long long)wanted,
                  (unsigned long long)sent);
}

static void look(void *context, const struct path *path, const uint8_t *data, uint32_t bytes)
{
    struct whole *b = context;
    struct sample *s;

    /* A prime stride: first, last and whoever else, of every producer and position in the burst. */
    if (b->seen++ % 7 != 0 || b->sample_count == SAMPLES_MAX || bytes > DATAGRAM_ROOM ||
        packet_classify(data, bytes) != PACKET_rtp)
        return;
    s = &b->samples[b->sample_count++];
    s->path = *path;
    s->bytes = bytes;
    memcpy(s->data, data, bytes);
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Decrypts it with its subscriber's key and looks for its plaintext among those of this turn. */
static void must_be_right(struct whole *b, uint32_t room, struct sample *s)
{
    const struct whole_options *o = b->options;
    uint32_t consumer = load32(s->data + 8) - world_consumer_ssrc(0);
    uint32_t subscriber = consumer / o->publishers - room * o->fanout;
    uint32_t transport = world_subscriber(&b->world, room, subscriber);
    uint32_t p = consumer % o->publishers;
    struct path path = world_path(transport);
    /* The worker began at a random index of 14 bits and has counted along with the producer: from
     * here the engine finds the roll-over counter. */
    struct srtp_stream stream = {
        .started = true, .highest_index = b->next_index[room * o->publishers + p] - o->burst - 1};
    struct srtp_key key;
    struct srtp_unprotect_job job = {
        .key = &key,
        .stream = &stream,
        .packet = s->data,
        .ssrc = load32(s->data + 8),
        .sequence = (uint16_t)(s->data[2] << 8 | s->data[3]),
        .header_bytes = PACKET_HEADER_BYTES,
        .bytes = (uint16_t)s->bytes,
    };

    if (subscriber >= o->fanout || !path_equal(&path, &s->path))
        bench_die("a packet of consumer %u went to somebody else", consumer);
    world_client_key(&b->world, transport, true, &key);
    srtp_unprotect_burst(b->world.crypto, &job, 1);
    if (job.verdict != SRTP_OK || job.bytes != o->bytes)
        bench_die("a packet of consumer %u is not what its client can decrypt", consumer);
    for (uint32_t i = 0; i < o->burst; i++)
        if (memcmp(s->data + PACKET_HEADER_BYTES, b->clear[p * o->burst + i] + PACKET_HEADER_BYTES,
                   o->bytes - PACKET_HEADER_BYTES) == 0)
            return;
    bench_die("a packet of consumer %u has another payload than was sent", consumer);
}

/* One turn of the next room with everything it sends looked at. */
static void check_room(struct whole *b)
{
    uint32_t room = b->room;
    struct io *io = world_worker(&b->world, world_publisher(&b->world, room, 0))->io;

    b->sample_count = 0;
    b->seen = 0;
    io_replay_sink(io, look, b);
    turn(b, false);
    io_replay_sink(io, NULL, NULL);
    if (b->sample_count == 0)
        bench_die("nothing was sent");
    for (size_t i = 0; i < b->sample_count; i++)
        must_be_right(b, room, &b->samples[i]);
}

/* ---- together ---- */

static struct whole *whole_open(const struct whole_options *o)
{
    struct whole *b = bench_pages(sizeof(*b));
    size_t producers = (size_t)o->rooms * o->publishers;

    if (o->publishers * o->burst > IO_BATCH || o->fanout == 0 ||
        o->bytes < PACKET_HEADER_BYTES + 16 || o->bytes > PACKET_BYTES_MAX - SRTP_TAIL_BYTES_MAX)
        bench_die("at most %d packets a turn, 1 consumer, %d to %d bytes", IO_BATCH,
                  PACKET_HEADER_BYTES + 16, PACKET_BYTES_MAX - SRTP_TAIL_BYTES_MAX);
    b->options = o;
    world_open(&b->world, 1);
    world_fill(&b->world, o->profile, o->audio ? MEDIA_KIND_audio : MEDIA_KIND_video, o->rooms,
               o->publishers, o->fanout);
    b->publisher_keys = bench_pages(sizeof(struct srtp_key) * producers);
    b->next_index = bench_pages(sizeof(uint64_t) * producers);
    b->keys = bench_pages(sizeof(struct srtp_key) * o->rooms * o->fanout);
    b->slots = bench_pages(IO_SLOTS_BYTES);
    for (uint32_t room = 0; room < o->rooms; room++) {
        for (uint32_t p = 0; p < o->publishers; p++)
            world_client_key(&b->world, world_publisher(&b->world, room, p), false,
                             &b->publisher_keys[room * o->publishers + p]);
        for (uint32_t s = 0; s < o->fanout; s++)
            world_client_key(&b->world, world_subscriber(&b->world, room, s), true,
                             &b->keys[(size_t)room * o->fanout + s]);
    }
    return b;
}

static void whole_close(struct whole *b)
{
    const struct whole_options *o = b->options;
    size_t producers = (size_t)o->rooms * o->publishers;

    world_close(&b->world);
    bench_pages_free(b->publisher_keys, sizeof(struct srtp_key) * producers);
    bench_pages_free(b->next_index, sizeof(uint64_t) * producers);
    bench_pages_free(b->keys, sizeof(struct srtp_key) * o->rooms * o->fanout);
    bench_pages_free(b->slots, IO_SLOTS_BYTES);
    bench_pages_free(b, sizeof(*b));
}

void whole_measure(const struct whole_options *o)
{
    struct whole *b = whole_open(o);
    uint64_t per_turn = (uint64_t)o->publishers * o->burst * o->fanout;
    uint64_t turns = (o->packets + per_turn - 1) / per_turn;
    struct bench_series *path = bench_pages(sizeof(*path)), *bound = bench_pages(sizeof(*bound));
    struct bench_figure figure = {.name = "path", .unit = "packet out"};

    for (uint32_t room = 0; room < o->rooms; room++)
        turn(b, true); /* video begins at a key frame */
    must_have_sent(b);
    check_room(b);
    for (uint32_t tried = 0; path->count < o->rounds; tried++) {
        uint64_t path_ticks = 0, bound_ticks = 0, preemptions = bench_preemptions();

        for (uint64_t i = 0; i < turns; i++)
            path_ticks += turn(b, false);
        for (uint64_t i = 0; i < turns; i++)
            bound_ticks += bound_turn(b);
        if (tried == 0 || !bench_round_counts(preemptions, tried, o->rounds))
            continue; /* the first one warms up */
        bench_series_add(path, path_ticks, turns * per_turn);
        bench_series_add(bound, bound_ticks, turns * per_turn);
    }
    must_have_sent(b);
    check_room(b);
    snprintf(figure.what, sizeof(figure.what), "fanout %u %s %u B %s", o->fanout,
             bench_profile_name(o->profile), o->bytes, o->rooms > 1 ? "cold" : "warm");
    bench_figure_set(&figure, path, bound);
    bench_tell(&figure);
    bench_pages_free(path, sizeof(*path));
    bench_pages_free(bound, sizeof(*bound));
    whole_close(b);
}
