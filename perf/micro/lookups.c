/* Data structures of the path: maps, transmit slots, the timer wheel. */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#include "world.h"

#define ENTRIES 30000
#define SECRET 0x5eed
#define LOOKUPS 256     /* in one step: a full batch */
#define SLOT_SENDS 50   /* subscribers in one turn */
#define SLOT_SEGMENTS 9 /* packets to each */
#define TIMER_NS 2500000000ull

struct lookup {
    struct map map;
    struct path paths[LOOKUPS];
    uint64_t keys[LOOKUPS];
    uint64_t sum, wanted;
    uint32_t entries;
    uint32_t state; /* of a pseudo-random generator */
};

static void defaults(struct bench_options *o)
{
    if (!o->transports)
        o->transports = ENTRIES;
    if (!o->rounds)
        o->rounds = 100;
    if (!o->units)
        o->units = 5000;
}

static void *open_map(struct bench_options *o, char *what)
{
    struct lookup *s = bench_pages(sizeof(*s));

    defaults(o);
    s->state = 1;
    s->entries = o->transports;
    if (o->transports > TRANSPORTS_MAX)
        bench_die("--transports is at most %d", TRANSPORTS_MAX);
    snprintf(what, 64, "%u entries", o->transports);
    return s;
}

static void close_map(void *state)
{
    struct lookup *s = state;

    if (s->sum != s->wanted)
        bench_die("a lookup found a wrong entry");
    map_close(&s->map);
    bench_pages_free(s, sizeof(*s));
}

static uint32_t some_entry(struct lookup *s)
{
    s->state = s->state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)s->state * s->entries >> 32);
}

/* The map is as large as a worker's, so the cache holds as little of it. */
static void *open_paths(struct bench_options *o, char *what)
{
    struct lookup *s = open_map(o, what);

    if (!map_open(&s->map, TRANSPORTS_MAX * ICE_PATHS_MAX))
        bench_die("no memory for a map");
    for (uint32_t i = 0; i < o->transports; i++) {
        struct path path = world_path(i);

        map_set(&s->map, map_hash(SECRET, &path, sizeof(path)), i);
    }
    return s;
}

static void path_work(void *state)
{
    struct lookup *s = state;

    for (size_t i = 0; i < LOOKUPS; i++)
        s->sum += map_find(&s->map, map_hash(SECRET, &s->paths[i], sizeof(s->paths[i])));
}

static void path_step(void *state, struct bench_tally *tally)
{
    struct lookup *s = state;

    for (size_t i = 0; i < LOOKUPS; i++) {
        uint32_t entry = some_entry(s);

        s->paths[i] = world_path(entry);
        s->wanted += entry;
    }
    tally->ticks += bench_measure(path_work, s);
    tally->units += LOOKUPS;
}

static uint64_t ssrc_key(uint32_t i)
{
    return ((uint64_t)i + 1) << 32 | world_consumer_ssrc(i);
}

static void *open_ssrcs(struct bench_options *o, char *what)
{
    struct lookup *s = open_map(o, what);

    if (!map_open(&s->map, CONSUMERS_MAX))
        bench_die("no memory for a map");
    for (uint32_t i = 0; i < o->transports; i++)
        map_set(&s->map, ssrc_key(i), i);
    return s;
}

static void ssrc_work(void *state)
{
    struct lookup *s = state;

    for (size_t i = 0; i < LOOKUPS; i++)
        s->sum += map_find(&s->map, s->keys[i]);
}

static void ssrc_step(void *state, struct bench_tally *tally)
{
    struct lookup *s = state;

    for (size_t i = 0; i < LOOKUPS; i++) {
        uint32_t entry = some_entry(s);

        s->keys[i] = ssrc_key(entry);
        s->wanted += entry;
    }
    tally->ticks += bench_measure(ssrc_work, s);
    tally->units += LOOKUPS;
}

/* ---- slots ---- */

struct slots_state {
    struct io *io;
    uint32_t bytes;
    struct path paths[SLOT_SENDS];
    uint64_t asked;
};

static void *open_slots(struct bench_options *o, char *what)
{
    struct slots_state *s = bench_pages(sizeof(*s));

    defaults(o);
    if (!o->bytes)
        o->bytes = 1200;
    s->bytes = o->bytes;
    s->io = io_replay_open();
    if (!s->io)
        bench_die("the replay backend does not open");
    for (uint32_t i = 0; i < SLOT_SENDS; i++)
        s->paths[i] = world_path(i);
    snprintf(what, 64, "%d x %d datagrams of %u B", SLOT_SENDS, SLOT_SEGMENTS, o->bytes);
    return s;
}

static void slots_work(void *state)
{
    struct slots_state *s = state;

    for (size_t i = 0; i < SLOT_SENDS; i++)
        for (size_t k = 0; k < SLOT_SEGMENTS; k++) {
            uint8_t *slot = io_replay_backend.slot(s->io, &s->paths[i], s->bytes);

            if (!slot) { /* the transmit memory is full: do what transmit_slot does */
                io_replay_backend.transmit(s->io);
                slot = io_replay_backend.slot(s->io, &s->paths[i], s->bytes);
            }
            if (slot)
                *slot = 0x80;
        }
    io_replay_backend.transmit(s->io);
}

static void slots_step(void *state, struct bench_tally *tally)
{
    struct slots_state *s = state;

    tally->ticks += bench_measure(slots_work, s);
    tally->units += SLOT_SENDS * SLOT_SEGMENTS;
    s->asked += SLOT_SENDS * SLOT_SEGMENTS;
}

static void slots_check(void *state)
{
    struct slots_state *s = state;

    if (io_replay_backend.counters(s->io)->sent != s->asked)
        bench_die("not every slot was sent");
}

static void close_slots(void *state)
{
    struct slots_state *s = state;

    io_replay_backend.close(s->io);
    bench_pages_free(s, sizeof(*s));
}

/* ---- the wheel ---- */

struct wheel_state {
    struct wheel wheel;
    uint64_t now_ns, fired, fired_before;
    uint32_t count;
    struct timer timers[TRANSPORTS_MAX];
};

static void *open_wheel(struct bench_options *o, char *what)
{
    struct wheel_state *s = bench_pages(sizeof(*s));

    defaults(o);
    s->count = o->transports <= TRANSPORTS_MAX ? o->transports : TRANSPORTS_MAX;
    s->now_ns = world_now_ns();
    wheel_init(&s->wheel, WHEEL_COARSE_NS, s->now_ns);
    for (uint32_t i = 0; i < s->count; i++)
        timer_set(&s->wheel, &s->timers[i], s->now_ns + TIMER_NS * i / s->count);
    snprintf(what, 64, "%u timers of 2.5 s", s->count);
    return s;
}

static void set_again(void *context, struct timer *timer)
{
    struct wheel_state *s = context;

    s->fired++;
    timer_set(&s->wheel, timer, s->now_ns + TIMER_NS);
}

static void wheel_work(void *state)
{
    struct wheel_state *s = state;

    wheel_advance(&s->wheel, s->now_ns, set_again, s);
}

static void wheel_step(void *state, struct bench_tally *tally)
{
    struct wheel_state *s = state;
    uint64_t before = s->fired;

    while (s->fired == before) {
        s->now_ns += WHEEL_COARSE_NS;
        tally->ticks += bench_measure(wheel_work, s);
    }
    tally->units += s->fired - before;
}

static void close_wheel(void *state)
{
    bench_pages_free(state, sizeof(struct wheel_state));
}

const struct bench_case case_path_lookup = {
    .name = "path-lookup",
    .unit = "packet in",
    .prose = "hash of a path, and its transport, among many",
    .open = open_paths,
    .step = path_step,
    .close = close_map,
};
const struct bench_case case_ssrc_lookup = {
    .name = "ssrc-lookup",
    .unit = "report",
    .prose = "the consumer of an SSRC, among many",
    .open = open_ssrcs,
    .step = ssrc_step,
    .close = close_map,
};
const struct bench_case case_slots = {
    .name = "slots",
    .unit = "packet out",
    .prose = "a slot in the transmit memory, finding runs and transmit included",
    .open = open_slots,
    .step = slots_step,
    .check = slots_check,
    .close = close_slots,
};
const struct bench_case case_wheel = {
    .name = "wheel",
    .unit = "timer",
    .prose = "the timer wheel alone: a timer fires and is set again",
    .open = open_wheel,
    .step = wheel_step,
    .close = close_wheel,
};
