/* I/O in memory; see replay.h. */
#include "replay.h"

#include <stdio.h>
#include <string.h>

#include "doorbell.h"
#include "slots.h"
#include "super_datagram.h"
#include "src/limits.h"

#define FEED_MAX 4096
#define LINE_BYTES 64
/* Room for FEED_MAX datagrams of DATAGRAM_BYTES_MAX, for one of the maximum length, and for the
 * unused bytes at the end, before the ring wraps. */
#define ARENA_BYTES (FEED_MAX * 1536u + 4 * RECEIVE_BYTES_MAX)
_Static_assert(DATAGRAM_BYTES_MAX + RECEIVE_BYTES_BEHIND <= 1536,
               "a datagram does not fit into its share of the arena");

struct fed {
    struct path path;
    uint32_t at, bytes;
};

/* The three indexes only grow; a place in the queue is index % FEED_MAX.
 *   released ≤ taken ≤ fed: the caller has [released, taken), and [taken, fed) is queued. */
struct io {
    struct slots slots;
    struct io_counters counters;
    int doorbell;
    uint32_t released, taken, fed;
    uint32_t arena_next;
    uint8_t *arena;
    struct fed queue[FEED_MAX];
    void (*sink)(void *context, const struct path *path, const uint8_t *data, uint32_t bytes);
    void *sink_context;
};

static void replay_close(struct io *io)
{
    slots_close(&io->slots);
    pages_unmap(io->arena, ARENA_BYTES);
    pages_unmap(io, sizeof(*io));
}

static struct io *replay_open(const struct descriptors *descriptors, uint32_t worker,
                              char why[IO_WHY_BYTES])
{
    struct io *io = pages_map(sizeof(*io));

    if (!io) {
        snprintf(why, IO_WHY_BYTES, "no memory for the replay backend");
        return NULL;
    }
    io->doorbell = descriptors_get(descriptors, "bell.worker.%u", worker);
    io->arena = pages_map(ARENA_BYTES);
    if (!io->arena || !slots_open(&io->slots, 1) || !doorbell_prepare(io->doorbell)) {
        snprintf(why, IO_WHY_BYTES, "no memory for the replay backend");
        replay_close(io);
        return NULL;
    }
    return io;
}

struct io *io_replay_open(void)
{
    static const struct descriptors none;
    char why[IO_WHY_BYTES];

    return replay_open(&none, 0, why);
}

/* A place for `bytes` in the arena, which is used as a ring; ARENA_BYTES: it is full. */
static uint32_t arena_place(const struct io *io, uint32_t bytes)
{
    uint32_t next = io->arena_next, oldest;

    if (io->released == io->fed)
        return bytes <= ARENA_BYTES ? 0 : ARENA_BYTES;
    oldest = io->queue[io->released % FEED_MAX].at;
    if (next > oldest && bytes <= ARENA_BYTES - next)
        return next;
    if (next > oldest)
        next = 0;
    return next < oldest && bytes < oldest - next ? next : ARENA_BYTES;
}

bool io_replay_feed(struct io *io, const struct path *path, const uint8_t *data, uint32_t bytes)
{
    struct fed *fed = &io->queue[io->fed % FEED_MAX];
    uint32_t room, at;

    if (bytes > RECEIVE_BYTES_MAX || io->fed - io->released == FEED_MAX)
        return false;
    room = (bytes + RECEIVE_BYTES_BEHIND + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    at = arena_place(io, room);
    if (at == ARENA_BYTES)
        return false;
    if (bytes)
        memcpy(io->arena + at, data, bytes);
    *fed = (struct fed){.path = *path, .at = at, .bytes = bytes};
    io->arena_next = at + room;
    io->fed++;
    return true;
}

void io_replay_sink(struct io *io,
                    void (*sink)(void *context, const struct path *path, const uint8_t *data,
                                 uint32_t bytes),
                    void *context)
{
    io->sink = sink;
    io->sink_context = context;
}

static size_t replay_receive(struct io *io, struct io_datagram *datagrams, size_t max)
{
    size_t count = 0;

    if (max > IO_BATCH)
        max = IO_BATCH;
    while (count < max && io->taken != io->fed) {
        const struct fed *fed = &io->queue[io->taken++ % FEED_MAX];
        struct io_datagram *datagram = &datagrams[count++];

        datagram->data = io->arena + fed->at;
        datagram->bytes = fed->bytes;
        datagram->path = fed->path;
        io->counters.received++;
        io->counters.received_bytes += fed->bytes;
        __builtin_prefetch(datagram->data, 1);
    }
    return count;
}

static void replay_release(struct io *io)
{
    io->released = io->taken;
}

static uint8_t *replay_slot(struct io *io, const struct path *path, uint32_t bytes)
{
    return slots_take(&io->slots, path, bytes);
}

static void replay_transmit(struct io *io)
{
    for (uint32_t r = 0; r < io->slots.run_count; r++) {
        const struct run *run = &io->slots.runs[r];

        for (uint32_t i = 0; io->sink && i < run->segments; i++)
            io->sink(io->sink_context, &run->path,
                     io->slots.memory + run->at + (size_t)i * run->segment_bytes,
                     run_segment_bytes(run, i));
        run_count(&io->counters, run);
    }
    slots_clear(&io->slots);
}

static bool replay_wait(struct io *io, uint64_t timeout_ns)
{
    (void)timeout_ns;
    return doorbell_reset(io->doorbell);
}

static const struct io_counters *replay_counters(struct io *io)
{
    return &io->counters;
}

const struct io_backend io_replay_backend = {
    .name = "replay",
    .open = replay_open,
    .receive = replay_receive,
    .release = replay_release,
    .slot = replay_slot,
    .transmit = replay_transmit,
    .wait = replay_wait,
    .counters = replay_counters,
    .close = replay_close,
};
