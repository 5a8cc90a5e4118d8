/* Workers on a bench: real regions, the replay backend, a virtual clock, and rooms of clients that
 * are as good as real ones to a worker: rows, authentic ICE checks, keys.
 *
 *   room r:  publishers   transports (P+S)r … +P-1        producer P·r + p, one each
 *            subscribers  transports (P+S)r + P … +S-1    consumers of all P producers of the room
 *
 * Threads: whoever changes the world does so while no worker turns. Several workers may then turn on
 * threads of their own (world_open_on_threads); each has its backend and rings here.
 * Errors: bench_die. */
#ifndef RINGCAST_BENCH_WORLD_H
#define RINGCAST_BENCH_WORLD_H

#include "bench.h"
#include "dataplane/forwarder/worker.h"
#include "dataplane/io/replay.h"

#define BENCH_UFRAG_BYTES 32

struct bench_worker {
    struct worker *worker;
    struct io *io;
    struct ring changes, events, to_handshaker, from_handshaker;
};

struct world_shape {
    enum srtp_profile profile;
    enum media_kind kind;
    uint32_t room_count, publishers, subscribers; /* the latter two of each room */
};

struct bench_world {
    uint32_t worker_count;
    bool on_threads;
    struct handoff *handoff; /* NULL: each for itself */
    struct bench_worker workers[WORKERS_MAX];
    struct region desired, actual, keys, resume;
    struct srtp_engine *crypto; /* the clients' own */
    struct world_shape shape;
};

/* Regions and workers, nobody in them. Whole rooms side by side on the workers, a virtual clock. */
void world_open(struct bench_world *world, uint32_t worker_count);
/* As in a forwarder: the real clock, rooms spread over the workers: publishers on the first,
 * subscribers evenly. */
void world_open_on_threads(struct bench_world *world, uint32_t worker_count);
void world_close(struct bench_world *world);
/* Every client connected (ICE, keys), every producer there. */
void world_connect(struct bench_world *world, const struct world_shape *shape);
/* Every subscriber consumes every producer of its room. */
void world_consume(struct bench_world *world);

/* The virtual clocks of all workers. */
uint64_t world_now_ns(void);
void world_advance(uint64_t ns);
/* Empties the rings that nobody reads here. */
void world_drain(struct bench_world *world);
/* Turns every worker until nothing is left to do; drains. */
void world_settle(struct bench_world *world);
/* RTP that all backends have sent since the world began. */
uint64_t world_sent_rtp(struct bench_world *world);

/* Packets of so many bytes that a worker protects and sends together at most. */
static inline uint32_t bench_burst_max(uint32_t bytes)
{
    return IO_SLOTS_BYTES / bytes < SRTP_BURST ? IO_SLOTS_BYTES / bytes : SRTP_BURST;
}

/* ---- rows; each also tells the worker concerned ---- */

void world_transport(struct bench_world *world, uint32_t index, uint32_t worker, bool used,
                     uint32_t generation);
void world_producer(struct bench_world *world, uint32_t index, uint32_t transport);
void world_consumer(struct bench_world *world, uint32_t index, uint32_t transport,
                    uint32_t producer, bool used, uint32_t generation);
/* Plays the handshaker: the key row and its note. */
void world_keys(struct bench_world *world, uint32_t transport);

/* ---- who is where ---- */

struct bench_worker *world_worker(struct bench_world *world, uint32_t transport);
struct path world_path(uint32_t transport);
/* User fragment and password (BENCH_UFRAG_BYTES characters and NUL). */
void world_credentials(uint32_t transport, char *ufrag, char *password);
/* Key and salt, ours: what the worker sends with; else what the client sends with. */
void world_master_key(uint32_t transport, bool ours, uint8_t key[32], uint8_t salt[16]);
void world_client_key(struct bench_world *world, uint32_t transport, bool ours,
                      struct srtp_key *key);

static inline uint32_t world_publisher(const struct bench_world *world, uint32_t room, uint32_t p)
{
    return room * (world->shape.publishers + world->shape.subscribers) + p;
}

static inline uint32_t world_subscriber(const struct bench_world *world, uint32_t room, uint32_t s)
{
    return room * (world->shape.publishers + world->shape.subscribers) + world->shape.publishers +
           s;
}

static inline uint32_t world_producer_ssrc(uint32_t producer)
{
    return 0x20000000u + producer;
}

static inline uint32_t world_consumer_ssrc(uint32_t consumer)
{
    return 0x40000000u + consumer;
}

static inline uint32_t world_consumer_index(const struct bench_world *world, uint32_t room,
                                            uint32_t p, uint32_t s)
{
    return (room * world->shape.subscribers + s) * world->shape.publishers + p;
}

#endif
