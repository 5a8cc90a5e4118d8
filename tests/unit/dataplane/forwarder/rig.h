/* A worker on a test bench: real regions, the replay backend and a virtual clock, all in one
 * thread.
 *
 *   rig_open ─► rig_row, rig_free_row    the test plays the control plane
 *               io_replay_feed(rig->io)  a client's datagram; client.h makes them
 *               rig_turn                 the worker turns until nothing is left to do
 *               rig->sent                what it sent in that time
 *               rig->worker              its insides, to be looked at
 *
 * The clocks are rig_now_ns and rig_wall_ns. They stand still unless the test moves them, or by a
 * microsecond in each turn. Several workers of one forwarder share regions: rig_open_next. */
#ifndef RINGCAST_TEST_RIG_H
#define RINGCAST_TEST_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/forwarder/worker.h"
#include "dataplane/io/replay.h"
#include "src/clock.h"

static uint64_t rig_now_ns = 1000 * NS_PER_S;
static uint64_t rig_wall_ns = 1700000000ull * NS_PER_S;

static inline uint64_t rig_monotonic(void)
{
    return rig_now_ns;
}

static inline uint64_t rig_wall(void)
{
    return rig_wall_ns;
}

struct rig_sent {
    struct path path;
    uint32_t bytes;
    uint8_t data[DATAGRAM_SENT_BYTES_MAX];
};

struct rig {
    struct region desired, actual, keys, resume;
    struct worker *worker;
    struct io *io;
    struct ring changes, to_handshaker, from_handshaker, events;
    struct rig_sent *sent;
    size_t sent_count, sent_max;
    uint32_t index;          /* of the worker */
    struct handoff *handoff; /* NULL: there is no other worker */
    bool shares_regions;     /* with the rig of the first worker, which frees them */
};

/* The replay backend calls it for every datagram that the worker sends. */
static inline void rig_sink(void *context, const struct path *path, const uint8_t *data,
                            uint32_t bytes)
{
    struct rig *rig = context;
    struct rig_sent *s;

    if (rig->sent_count == rig->sent_max)
        return;
    s = &rig->sent[rig->sent_count++];
    assert_true(bytes <= sizeof(s->data));
    s->path = *path;
    s->bytes = bytes;
    memcpy(s->data, data, bytes);
}

static inline void rig_region(struct region *region, enum region_id id)
{
    char why[128];
    int fd = region_create(id, 7);

    assert_true(fd >= 0);
    assert_true(region_map(region, id, fd, true, why));
    close(fd);
}

static inline void rig_start_worker(struct rig *rig)
{
    struct worker_config config = {
        .index = rig->index,
        .handoff = rig->handoff,
        .desired = &rig->desired,
        .actual = &rig->actual,
        .keys = &rig->keys,
        .resume = &rig->resume,
        .backend = &io_replay_backend,
        .bell_control = -1,
        .bell_handshaker = -1,
        .consent_ns = 30 * NS_PER_S,
        .udp_port = 40000,
        .has_ipv4 = true,
        .monotonic_ns = rig_monotonic,
        .wall_ns = rig_wall,
    };
    char why[192];

    rig->io = io_replay_open();
    assert_non_null(rig->io);
    io_replay_sink(rig->io, rig_sink, rig);
    config.io = rig->io;
    rig->worker = mmap(NULL, sizeof(struct worker), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(worker_open(rig->worker, &config, why));
}

static inline void rig_stop_worker(struct rig *rig)
{
    worker_close(rig->worker);
    munmap(rig->worker, sizeof(struct worker));
    io_replay_backend.close(rig->io);
}

static inline void rig_begin(struct rig *rig)
{
    rig->sent_max = 65536;
    rig->sent = malloc(rig->sent_max * sizeof(*rig->sent));
    rig->changes = region_ring(&rig->desired, &rig->actual, rig->index);
    rig->events = region_ring(&rig->actual, &rig->desired, rig->index);
    rig->to_handshaker = region_ring(&rig->resume, &rig->keys, rig->index);
    rig->from_handshaker = region_ring(&rig->keys, &rig->resume, rig->index);
    rig_start_worker(rig);
}

static inline struct rig *rig_open_first(struct handoff *handoff)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    rig->handoff = handoff;
    rig_region(&rig->desired, REGION_desired);
    rig_region(&rig->actual, REGION_actual);
    rig_region(&rig->keys, REGION_keys);
    rig_region(&rig->resume, REGION_resume);
    rig_begin(rig);
    return rig;
}

static inline struct rig *rig_open(void)
{
    return rig_open_first(NULL);
}

/* One more worker on the regions of the first. It must be closed before the first. */
static inline struct rig *rig_open_next(const struct rig *first, uint32_t index)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    *rig = (struct rig){.desired = first->desired,
                        .actual = first->actual,
                        .keys = first->keys,
                        .resume = first->resume,
                        .handoff = first->handoff,
                        .index = index,
                        .shares_regions = true};
    rig_begin(rig);
    return rig;
}

static inline void rig_close(struct rig *rig)
{
    rig_stop_worker(rig);
    if (!rig->shares_regions) {
        region_unmap(&rig->desired);
        region_unmap(&rig->actual);
        region_unmap(&rig->keys);
        region_unmap(&rig->resume);
    }
    free(rig->sent);
    free(rig);
}

/* Turns until the worker has nothing left to do; returns how many datagrams it sent. */
static inline size_t rig_turn(struct rig *rig)
{
    rig->sent_count = 0;
    do
        rig_now_ns += 1000;
    while (worker_turn(rig->worker) > 0);
    worker_turn(rig->worker);
    return rig->sent_count;
}

/* Moves both clocks, then turns. */
static inline void rig_advance(struct rig *rig, uint64_t ns)
{
    rig_now_ns += ns;
    rig_wall_ns += ns;
    rig_turn(rig);
}

/* Writes a row of `desired` and puts a change note in the ring. */
static inline void rig_row(struct rig *rig, enum table_id table, uint32_t index,
                           struct row_header *row, uint32_t generation)
{
    row->generation = generation;
    row->used = 1;
    row_write(table, region_row(&rig->desired, table, index), row);
    ring_put_note(&rig->changes,
                  (struct ring_note){.table = table, .handle = handle_make(index, generation)});
}

/* Marks the row as not in use; a note, too. */
static inline void rig_free_row(struct rig *rig, enum table_id table, uint32_t index,
                                uint32_t generation)
{
    _Alignas(8) uint8_t empty[1024] = {0};

    ((struct row_header *)empty)->generation = generation;
    row_write(table, region_row(&rig->desired, table, index), (struct row_header *)empty);
    ring_put_note(&rig->changes,
                  (struct ring_note){.table = table, .handle = handle_make(index, generation)});
}

/* How often a datagram had this verdict. */
static inline uint64_t rig_verdict(const struct rig *rig, enum verdict verdict)
{
    return rig->worker->turn.verdicts[verdict];
}

static inline uint64_t rig_counter(const struct rig *rig, enum worker_counter counter)
{
    return rig->worker->turn.counters[counter];
}

#endif
