/* One room on one worker, and the same room spread over several, each on a thread and a processor
 * of its own. As bounds: encryption alone, on one thread and on as many.
 *
 *   one    publishers and all subscribers       worker 0     ┐ the same packets, prepared before;
 *   many   publishers and 1/n of subscribers    worker 0     │ wall time until every subscriber
 *          1/n of subscribers each              worker 1 …   │ has its packets
 *   bound  all keys, or 1/n of them each        threads      ┘
 *
 * The publishers' worker feeds itself: a packet is in flight until the pool has it back, which
 * means that all workers are done with it. One round measures each of these once, in one process.
 * Two processors that share a core do not do twice as much work; the bound on as many threads shows
 * how much they do. */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#include "packets.h"
#include "samples.h"
#include "team.h"
#include "world.h"

#define VIDEO_BURST 9
#define BURST_MAX 100
#define IN_FLIGHT_MAX \
    144 /* packets; for a thousand subscribers they take 60 ms, below BACKLOG_NS_MAX */
#define PREPARED_MAX 16384 /* packets of one round */
#define ROUNDS_TRIED_MAX 3 /* tries up to this many times --rounds, for undisturbed rounds */
#define SAMPLED_BURSTS 2   /* bursts of each publisher of which samples are taken */

enum { ONE, MANY, KINDS };

/* What one thread encrypts for the bound. */
struct share {
    struct srtp_engine *engine;
    struct srtp_key *keys;
    uint32_t key_count;
    uint8_t *slots;
    struct srtp_protect_job jobs[SRTP_BURST];
};

/* One room on one or on all workers. */
struct room {
    struct bench_world world;
    _Atomic bool over;
    struct share *shares; /* one for each worker */
    struct bench_series path, bound;
};

struct spread {
    struct bench_options options;
    struct team *team;
    struct room *rooms; /* KINDS */
    struct room *running;
    struct srtp_key *publisher_keys;
    uint64_t *next_index;      /* of each publisher */
    uint32_t count;            /* packets prepared */
    uint8_t *packets;          /* PREPARED_MAX × DATAGRAM_ROOM */
    uint32_t lossy, disturbed; /* rounds in which packets were dropped; that were disturbed */
    struct samples samples;
};

static uint32_t bytes_of(const struct bench_options *o)
{
    return o->bytes + (uint32_t)srtp_tag_bytes(o->profile);
}

/* ---- feeding ---- */

static uint32_t publisher_of(const struct bench_options *o, uint32_t packet)
{
    return packet / o->burst % o->publishers;
}

/* Makes the packets that each room is fed with: bursts of one publisher after the other. */
static void prepare(struct spread *b, uint32_t count, bool key_frame)
{
    const struct bench_options *o = &b->options;
    uint8_t clear[DATAGRAM_ROOM];

    b->count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t p = publisher_of(o, i);
        struct packet_rtp rtp = {
            .index = b->next_index[p]++,
            .ssrc = world_producer_ssrc(p),
            .marker = (i + 1) % o->burst == 0,
            .is_key_frame = key_frame && i % o->burst == 0,
            .bytes = o->bytes,
        };

        rtp.timestamp = (uint32_t)(rtp.index / o->burst * 3000);
        packet_rtp_write(clear, &rtp);
        packet_rtp_protect(b->rooms[ONE].world.crypto, &b->publisher_keys[p],
                           b->packets + (size_t)i * DATAGRAM_ROOM, clear, &rtp);
    }
}

static void feed_burst(struct spread *b, uint32_t first)
{
    const struct bench_options *o = &b->options;
    struct path path =
        world_path(publisher_of(o, first)); /* the publishers are the first transports */

    for (uint32_t i = first; i < first + o->burst; i++)
        if (!io_replay_feed(b->running->world.workers[0].io, &path,
                            b->packets + (size_t)i * DATAGRAM_ROOM, bytes_of(o)))
            bench_die("the queue of the replay backend is full");
}

/* The publishers' worker feeds and turns until its pool has every packet back. */
static void work_home(struct spread *b)
{
    struct worker *w = b->running->world.workers[0].worker;
    uint32_t burst = b->options.burst, fed = 0;

    do {
        uint32_t in_flight = w->pool.taken;

        for (; fed < b->count && in_flight + burst <= IN_FLIGHT_MAX; in_flight += burst) {
            feed_burst(b, fed);
            fed += burst;
        }
        if (!worker_turn(w))
            _mm_pause();
    } while (fed < b->count || w->pool.taken > 0);
    atomic_store_explicit(&b->running->over, true, memory_order_release);
}

static void work(void *spread, uint32_t i)
{
    struct spread *b = spread;
    struct worker *w = b->running->world.workers[i].worker;

    if (i == 0) {
        work_home(b);
        return;
    }
    while (!atomic_load_explicit(&b->running->over, memory_order_acquire))
        if (!worker_turn(w))
            _mm_pause();
}

/* ---- the bound ---- */

/* Encrypts each burst once with every key, subscriber by subscriber, in as many jobs as the
 * worker's. The timed code only sets the key of each job. */
static void protect(void *spread, uint32_t i)
{
    struct spread *b = spread;
    struct share *s = &b->running->shares[i];
    uint32_t burst = b->options.burst, together = bench_burst_max(bytes_of(&b->options)) / burst;

    for (uint32_t fed = 0; fed < b->count; fed += burst)
        for (uint32_t first = 0; first < s->key_count; first += together) {
            uint32_t count = s->key_count - first < together ? s->key_count - first : together;

            for (uint32_t j = 0; j < count * burst; j++)
                s->jobs[j].key = &s->keys[first + j / burst];
            srtp_protect_burst(s->engine, s->jobs, (size_t)count * burst);
        }
}

static void share_open(struct spread *b, struct room *room, uint32_t i)
{
    const struct bench_options *o = &b->options;
    struct share *s = &room->shares[i];
    uint32_t workers = room->world.worker_count;

    s->engine = srtp_engine_new();
    if (!s->engine)
        bench_die("intel-ipsec-mb does not start on this processor");
    s->keys = bench_pages(sizeof(struct srtp_key) * (o->fanout / workers + 1));
    for (uint32_t k = i; k < o->fanout; k += workers)
        world_client_key(&room->world, world_subscriber(&room->world, 0, k), true,
                         &s->keys[s->key_count++]);
    s->slots = bench_pages(IO_SLOTS_BYTES);
    for (uint32_t j = 0; j < SRTP_BURST; j++)
        s->jobs[j] = (struct srtp_protect_job){
            .out = s->slots + (size_t)j * bytes_of(o),
            .payload = b->packets + (size_t)(j % o->burst) * DATAGRAM_ROOM,
            .index = j % o->burst,
            .ssrc = world_consumer_ssrc(j),
            .header_bytes = PACKET_HEADER_BYTES,
            .payload_bytes = (uint16_t)(o->bytes - PACKET_HEADER_BYTES),
        };
}

static void share_close(struct spread *b, struct room *room, uint32_t i)
{
    struct share *s = &room->shares[i];

    srtp_engine_delete(s->engine);
    bench_pages_free(s->keys,
                     sizeof(struct srtp_key) * (b->options.fanout / room->world.worker_count + 1));
    bench_pages_free(s->slots, IO_SLOTS_BYTES);
}

/* ---- rounds ---- */

static uint64_t refused(const struct bench_world *world)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < world->worker_count; i++)
        sum += world->workers[i].worker->turn.counters[COUNTER_handoff_full] +
               world->workers[i].worker->turn.verdicts[VERDICT_drop_overload];
    return sum;
}

/* Sends all prepared packets through one room. False when some were dropped because a thread did
 * not run for so long that packets waited too long. If packets are missing for another reason, the
 * program ends. */
static bool send_all(struct spread *b, struct room *room, uint32_t thread, uint64_t *ns,
                     bool *disturbed)
{
    struct bench_world *world = &room->world;
    uint64_t sent = world_sent_rtp(world), before = refused(world);
    uint64_t wanted = (uint64_t)b->count * b->options.fanout;
    bool stopped = false;

    b->running = room;
    atomic_store(&room->over, false);
    *ns = team_run(b->team, thread, world->worker_count, work, b, &stopped);
    *disturbed |= stopped;
    world_drain(world);
    sent = world_sent_rtp(world) - sent;
    if (sent == wanted)
        return true;
    /* A packet that only the publishers' worker had no room for is not counted: another worker sent
     * it. */
    if (sent > wanted || (refused(world) == before && !stopped))
        bench_die("%u packets in, %u consumers: %llu packets out were expected, but %llu were sent",
                  b->count, b->options.fanout, (unsigned long long)wanted,
                  (unsigned long long)sent);
    return false;
}

/* One round. From round to round, the single worker changes its processor, and the rooms their
 * order. */
static void measure(struct spread *b, uint32_t number, bool is_warm)
{
    const struct bench_options *o = &b->options;
    uint32_t feed = o->burst * o->publishers;
    uint32_t count = o->units / o->fanout / feed * feed;
    uint64_t path_ns[KINDS], bound_ns[KINDS];
    bool disturbed = false, complete = true;

    prepare(b, count ? count : feed, false);
    for (uint32_t n = 0; n < KINDS; n++) {
        uint32_t kind = (n + number) % KINDS;
        struct room *room = &b->rooms[kind];
        uint32_t thread = kind == ONE ? number / KINDS % o->workers : 0;

        complete &= send_all(b, room, thread, &path_ns[kind], &disturbed);
        bound_ns[kind] =
            team_run(b->team, thread, room->world.worker_count, protect, b, &disturbed);
    }
    b->lossy += !complete;
    if (!complete || !is_warm || (disturbed && number < ROUNDS_TRIED_MAX * o->rounds))
        return;
    b->disturbed += disturbed;
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        double units = (double)b->count * o->fanout;
        struct room *room = &b->rooms[kind];

        room->path.ns[room->path.count++] = (double)path_ns[kind] / units;
        room->bound.ns[room->bound.count++] = (double)bound_ns[kind] / units;
    }
}

/* ---- was the right thing sent? ---- */

/* Is the payload of the sample that of one of the last packets of its publisher? */
static bool was_sent(const struct spread *b, uint32_t producer, const struct sample *s)
{
    const struct bench_options *o = &b->options;
    uint32_t back = SAMPLED_BURSTS * o->burst;
    uint8_t clear[DATAGRAM_ROOM];

    for (uint32_t i = 1; i <= back; i++) {
        struct packet_rtp rtp = {.index = b->next_index[producer] - i,
                                 .ssrc = world_producer_ssrc(producer),
                                 .bytes = o->bytes};

        packet_rtp_write(clear, &rtp);
        if (memcmp(clear + PACKET_HEADER_BYTES, s->data + PACKET_HEADER_BYTES,
                   o->bytes - PACKET_HEADER_BYTES) == 0)
            return true;
    }
    return false;
}

/* Takes samples of what each worker sends, and checks them. */
static void check_samples(struct spread *b)
{
    const struct bench_options *o = &b->options;

    for (uint32_t kind = 0; kind < KINDS; kind++)
        for (uint32_t i = 0; i < b->rooms[kind].world.worker_count; i++) {
            struct bench_world *world = &b->rooms[kind].world;
            bool disturbed = false;
            uint64_t ns;

            prepare(b, SAMPLED_BURSTS * o->burst * o->publishers, false);
            b->samples.count = b->samples.seen = 0;
            io_replay_sink(world->workers[i].io, samples_look, &b->samples);
            for (uint32_t k = 0; k < KINDS; k++)
                b->lossy += !send_all(b, &b->rooms[k], 0, &ns, &disturbed);
            io_replay_sink(world->workers[i].io, NULL, NULL);
            if (b->samples.count == 0)
                bench_die("worker %u sent nothing", i);
            for (size_t n = 0; n < b->samples.count; n++) {
                struct sample *s = &b->samples.of[n];
                uint32_t producer = sample_open(world, s, b->next_index, SAMPLED_BURSTS * o->burst);

                if (s->bytes != o->bytes || !was_sent(b, producer, s))
                    bench_die("a packet of producer %u has a payload that was not sent", producer);
            }
        }
}

/* ---- together ---- */

static void defaults(struct bench_options *o)
{
    if (!o->profile)
        o->profile = SRTP_PROFILE_aead_aes_128_gcm;
    if (!o->fanout)
        o->fanout = 500;
    if (!o->bytes)
        o->bytes = 1200;
    if (!o->publishers)
        o->publishers = 1;
    if (!o->burst)
        o->burst = VIDEO_BURST;
    if (!o->workers)
        o->workers = 2;
    if (!o->rounds)
        o->rounds = 20;
    if (!o->units)
        o->units = 400000;
    o->rooms = 1;
    if (o->workers < 2 || o->fanout < o->workers || o->burst > BURST_MAX ||
        o->units / o->fanout > PREPARED_MAX || o->rounds > BENCH_ROUNDS_MAX ||
        o->publishers * o->burst * SAMPLED_BURSTS > PREPARED_MAX ||
        o->bytes < PACKET_HEADER_BYTES + 16 || o->bytes > DATAGRAM_BYTES_MAX - SRTP_TAIL_BYTES_MAX)
        bench_die("at least 2 workers and one consumer for each, bursts of at most %d packets, "
                  "at most %d packets in a round, of %d to %d bytes",
                  BURST_MAX, PREPARED_MAX, PACKET_HEADER_BYTES + 16,
                  DATAGRAM_BYTES_MAX - SRTP_TAIL_BYTES_MAX);
}

static void open_spread(struct spread *b)
{
    const struct bench_options *o = &b->options;
    struct world_shape shape = {.profile = o->profile,
                                .kind = MEDIA_KIND_video,
                                .room_count = 1,
                                .publishers = o->publishers,
                                .subscribers = o->fanout};

    b->team = team_open(o->workers);
    b->packets = bench_pages((size_t)PREPARED_MAX * DATAGRAM_ROOM);
    b->next_index = bench_pages(sizeof(*b->next_index) * o->publishers);
    b->publisher_keys = bench_pages(sizeof(*b->publisher_keys) * o->publishers);
    b->rooms = bench_pages(sizeof(*b->rooms) * KINDS);
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        struct room *room = &b->rooms[kind];
        uint32_t workers = kind == ONE ? 1 : o->workers;

        world_open_on_threads(&room->world, workers);
        world_connect(&room->world, &shape);
        world_consume(&room->world);
        room->shares = bench_pages(sizeof(*room->shares) * workers);
        for (uint32_t i = 0; i < workers; i++)
            share_open(b, room, i);
    }
    for (uint32_t p = 0; p < o->publishers; p++)
        world_client_key(&b->rooms[ONE].world, world_publisher(&b->rooms[ONE].world, 0, p), false,
                         &b->publisher_keys[p]);
    prepare(b, o->burst * o->publishers, true); /* video begins at a key frame */
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        bool disturbed = false;
        uint64_t ns;

        send_all(b, &b->rooms[kind], 0, &ns, &disturbed);
    }
    check_samples(b);
}

static void close_spread(struct spread *b)
{
    const struct bench_options *o = &b->options;

    for (uint32_t kind = 0; kind < KINDS; kind++) {
        struct room *room = &b->rooms[kind];
        uint32_t workers = room->world.worker_count;

        for (uint32_t i = 0; i < workers; i++)
            share_close(b, room, i);
        bench_pages_free(room->shares, sizeof(*room->shares) * workers);
        world_close(&room->world);
    }
    bench_pages_free(b->rooms, sizeof(*b->rooms) * KINDS);
    bench_pages_free(b->publisher_keys, sizeof(*b->publisher_keys) * o->publishers);
    bench_pages_free(b->next_index, sizeof(*b->next_index) * o->publishers);
    bench_pages_free(b->packets, (size_t)PREPARED_MAX * DATAGRAM_ROOM);
    team_close(b->team);
    bench_pages_free(b, sizeof(*b));
}

static void print_figure(const struct spread *b, uint32_t kind)
{
    struct bench_figure figure = {.name = case_room_over_workers.name,
                                  .unit = case_room_over_workers.unit,
                                  .options = b->options};
    const struct room *one = &b->rooms[ONE], *room = &b->rooms[kind];

    figure.options.workers = room->world.worker_count;
    snprintf(figure.what, sizeof(figure.what), "fanout %u %s %u B, %u worker%s", b->options.fanout,
             bench_profile_name(b->options.profile), b->options.bytes, figure.options.workers,
             figure.options.workers > 1 ? "s" : "");
    bench_figure_set(&figure, &room->path, &room->bound);
    if (kind != ONE) {
        figure.scaling = bench_ratio(&one->path, &room->path);
        figure.bound_scaling = bench_ratio(&one->bound, &room->bound);
    }
    bench_print(&figure);
}

static void run(const struct bench_options *options)
{
    struct spread *b = bench_pages(sizeof(*b));

    b->options = *options;
    defaults(&b->options);
    if (!options->workers && team_processors() < b->options.workers) {
        printf("%-17s not measured: it needs %u processors, but this process may use %u\n",
               case_room_over_workers.name, b->options.workers, team_processors());
        bench_pages_free(b, sizeof(*b));
        return;
    }
    open_spread(b);
    for (uint32_t number = 0; b->rooms[ONE].path.count < b->options.rounds; number++) {
        if (number > 2 * ROUNDS_TRIED_MAX * b->options.rounds)
            bench_die("this machine is too busy: workers did not run for so long that packets were "
                      "dropped in %u rounds",
                      b->lossy);
        measure(b, number, number > 0);
    }
    check_samples(b);
    print_figure(b, ONE);
    print_figure(b, MANY);
    if (b->lossy + b->disturbed > 0)
        printf(
            "%-17s this machine is busy: %u rounds were disturbed; %u more, in which packets were "
            "dropped, are left out\n",
            "", b->disturbed, b->lossy);
    close_spread(b);
}

const struct bench_case case_room_over_workers = {
    .name = "room-over-workers",
    .unit = "packet out, wall time",
    .prose = "one room on one worker and spread over several; bound: encryption alone",
    .run = run,
};
