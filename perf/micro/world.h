/* Workers on a bench: real regions, the replay backend, a virtual clock, and rooms of clients. For
 * a worker the clients are as good as real ones: they have rows, authentic ICE checks and keys.
 *
 *   room r:  publishers   transports (P+S)r … +P-1        producer P·r + p, one each
 *            subscribers  transports (P+S)r + P … +S-1    consumers of all P producers of the room
 *
 * Threads: change the world only while no worker turns. Several workers may turn on threads of
 * their own (world_open_on_threads); each has its own backend and rings.
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
    uint32_t room_count;
    uint32_t publishers, subscribers; /* of each room */
};

struct bench_world {
    uint32_t worker_count;
    bool on_threads;
    struct handoff *handoff; /* NULL: the workers do not know each other */
    struct bench_worker workers[WORKERS_MAX];
    struct region desired, actual, keys, resume;
    struct srtp_engine *crypto; /* of the clients */
    struct world_shape shape;
};

/* Regions and workers without clients. Each room is on one worker; the clock is virtual. */
void world_open(struct bench_world *world, uint32_t worker_count);
/* As in a forwarder: the clock is real, and each room is spread over all workers, with the
 * publishers on the first and the subscribers evenly on all. */
void world_open_on_threads(struct bench_world *world, uint32_t worker_count);
void world_close(struct bench_world *world);
/* Connects every client (ICE, keys) and makes every producer. */
void world_connect(struct bench_world *world, const struct world_shape *shape);
/* Makes every subscriber consume every producer of its room. */
void world_consume(struct bench_world *world);

/* The virtual clock of all workers. */
uint64_t world_now_ns(void);
void world_advance(uint64_t ns);
/* Empties the rings that the control plane and the handshaker would read. */
void world_drain(struct bench_world *world);
/* Turns every worker until none has anything left to do, and empties those rings. */
void world_settle(struct bench_world *world);
/* RTP packets that all backends have sent since the world was opened. */
uint64_t world_sent_rtp(struct bench_world *world);

/* How many packets of this size a worker encrypts and sends together at most. */
static inline uint32_t bench_burst_max(uint32_t bytes)
{
    return IO_SLOTS_BYTES / bytes < SRTP_BURST ? IO_SLOTS_BYTES / bytes : SRTP_BURST;
}

/* ---- rows; each puts a change note in the ring of its worker, too ---- */

void world_transport(struct bench_world *world, uint32_t index, uint32_t worker, bool used,
                     uint32_t generation);
void world_producer(struct bench_world *world, uint32_t index, uint32_t transport);
void world_consumer(struct bench_world *world, uint32_t index, uint32_t transport,
                    uint32_t producer, bool used, uint32_t generation);
/* Plays the handshaker: a DTLS datagram for the client, the key row, and notes in the ring. */
void world_keys(struct bench_world *world, uint32_t transport);

/* ---- who is where ---- */

struct bench_worker *world_worker(struct bench_world *world, uint32_t transport);
struct path world_path(uint32_t transport);
/* User fragment and password (BENCH_UFRAG_BYTES characters and NUL). */
void world_credentials(uint32_t transport, char *ufrag, char *password);
/* Key and salt that the worker (ours) or the client (not ours) sends with. */
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
