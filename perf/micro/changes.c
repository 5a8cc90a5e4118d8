/* The cost of table changes (clients join and leave), and of clients that send nothing. */
#include "cases.h"

#include <stdio.h>

#include "world.h"

#include "src/clock.h"

#define PEOPLE 1000
#define TOGETHER 64 /* changes in one step */
#define SILENT 30000
#define TICK_NS (10 * NS_PER_MS)

struct changes {
    struct bench_world world;
    enum table_id table;
    bool joins; /* joins are measured, else leaves */
    uint32_t people, generation;
};

static void *open_changes(struct bench_options *o, char *what, enum table_id table, bool joins)
{
    struct changes *s = bench_pages(sizeof(*s));
    struct world_shape shape = {.kind = MEDIA_KIND_video, .room_count = 1, .publishers = 1};

    if (!o->profile)
        o->profile = SRTP_PROFILE_aead_aes_128_gcm;
    if (!o->transports)
        o->transports = PEOPLE;
    if (!o->rounds)
        o->rounds = 30;
    if (!o->units)
        o->units = 1000;
    if (o->transports >= TRANSPORTS_MAX)
        bench_die("--transports is at most %d", TRANSPORTS_MAX - 1);
    s->table = table;
    s->joins = joins;
    s->people = o->transports;
    s->generation = 1;
    shape.profile = o->profile;
    shape.subscribers = table == TABLE_consumer ? o->transports : 0;
    world_open(&s->world, 1);
    world_connect(&s->world, &shape);
    snprintf(what, 64, "%u people", s->people);
    return s;
}

static void close_changes(void *state)
{
    struct changes *s = state;

    world_close(&s->world);
    bench_pages_free(s, sizeof(*s));
}

static void work(void *state)
{
    struct bench_worker *w = &((struct changes *)state)->world.workers[0];

    do
        worker_turn(w->worker);
    while (ring_peek(&w->changes));
}

static void change_row(struct changes *s, uint32_t i, bool used)
{
    if (s->table == TABLE_consumer)
        world_consumer(&s->world, i, world_subscriber(&s->world, 0, i), 0, used, s->generation);
    else
        world_transport(&s->world, 1 + i, 0, used, s->generation);
}

/* All join or leave, TOGETHER in one step. */
static void change_all(struct changes *s, bool used, struct bench_tally *tally /* or NULL */)
{
    for (uint32_t first = 0; first < s->people; first += TOGETHER) {
        uint32_t count = s->people - first < TOGETHER ? s->people - first : TOGETHER;

        for (uint32_t i = 0; i < count; i++)
            change_row(s, first + i, used);
        world_advance(NS_PER_MS);
        if (tally) {
            tally->ticks += bench_measure(work, s);
            tally->units += count;
        } else {
            work(s);
        }
        world_drain(&s->world);
    }
}

static uint32_t people_there(struct changes *s)
{
    const struct worker *w = s->world.workers[0].worker;

    return s->table == TABLE_consumer ? w->consumers.count : w->transports.count - 1;
}

static void step(void *state, struct bench_tally *tally)
{
    struct changes *s = state;

    change_all(s, true, s->joins ? tally : NULL);
    if (people_there(s) != s->people)
        bench_die("%u clients joined, but the worker has %u", s->people, people_there(s));
    change_all(s, false, s->joins ? NULL : tally);
    if (people_there(s) != 0)
        bench_die("all clients left, but the worker has %u", people_there(s));
    s->generation++;
}

static void *open_transport_join(struct bench_options *o, char *what)
{
    return open_changes(o, what, TABLE_transport, true);
}

static void *open_transport_leave(struct bench_options *o, char *what)
{
    return open_changes(o, what, TABLE_transport, false);
}

static void *open_consumer_join(struct bench_options *o, char *what)
{
    return open_changes(o, what, TABLE_consumer, true);
}

static void *open_consumer_leave(struct bench_options *o, char *what)
{
    return open_changes(o, what, TABLE_consumer, false);
}

/* ---- clients that send nothing ---- */

static void *open_idle(struct bench_options *o, char *what)
{
    struct changes *s = bench_pages(sizeof(*s));
    struct world_shape shape = {.kind = MEDIA_KIND_video, .room_count = 1};

    if (!o->profile)
        o->profile = SRTP_PROFILE_aead_aes_128_gcm;
    if (!o->transports)
        o->transports = SILENT;
    if (!o->rounds)
        o->rounds = 30;
    if (!o->units)
        o->units = 25;
    s->people = shape.subscribers = o->transports;
    shape.profile = o->profile;
    world_open(&s->world, 1);
    world_connect(&s->world, &shape);
    /* Until the first reports and statistics are done and the timers are spread evenly. */
    for (uint32_t i = 0; i < 500; i++) {
        world_advance(TICK_NS);
        world_settle(&s->world);
    }
    snprintf(what, 64, "%u silent transports, each 10 ms", s->people);
    return s;
}

static void idle_work(void *state)
{
    worker_turn(((struct changes *)state)->world.workers[0].worker);
}

static void idle_step(void *state, struct bench_tally *tally)
{
    struct changes *s = state;

    world_advance(TICK_NS);
    tally->ticks += bench_measure(idle_work, s);
    tally->units++;
}

static void idle_check(void *state)
{
    struct changes *s = state;

    if (s->world.workers[0].worker->transports.count != s->people)
        bench_die("some transports are gone");
}

const struct bench_case case_transport_join = {
    .name = "transport-join",
    .unit = "row",
    .prose = "a transport's row is applied: it joins",
    .open = open_transport_join,
    .step = step,
    .close = close_changes,
};
const struct bench_case case_transport_leave = {
    .name = "transport-leave",
    .unit = "row",
    .prose = "a transport's row is applied: it leaves",
    .open = open_transport_leave,
    .step = step,
    .close = close_changes,
};
const struct bench_case case_consumer_join = {
    .name = "consumer-join",
    .unit = "row",
    .prose = "a consumer's row is applied: it joins",
    .open = open_consumer_join,
    .step = step,
    .close = close_changes,
};
const struct bench_case case_consumer_leave = {
    .name = "consumer-leave",
    .unit = "row",
    .prose = "a consumer's row is applied: it leaves",
    .open = open_consumer_leave,
    .step = step,
    .close = close_changes,
};
const struct bench_case case_idle = {
    .name = "idle",
    .unit = "turn",
    .prose = "10 ms pass with 30 000 transports that send nothing",
    .open = open_idle,
    .step = idle_step,
    .check = idle_check,
    .close = close_changes,
};
