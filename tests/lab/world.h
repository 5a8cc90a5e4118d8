/* The lab: whole workers of the forwarder on a virtual clock, and a virtual network between them and
 * virtual clients. No sockets, no threads, no wall clock: the same seed gives the same packets.
 *
 *   publisher ─► uplink (perf/network/link.h) ─► worker 0 … ─► downlink ─► receiver
 *
 *   world_open ─► world_join          a client: a transport with keys, and two links
 *                 publisher_open       what it sends (publisher.h)
 *                 receiver_open        what it gets of one producer (receiver.h)
 *                 world_at             something that happens later
 *                 world_run            time goes by
 *
 * Shape:   one list of events, in order of time; the workers turn when a datagram arrives, when a timer
 *          of theirs is due, and at least every 60 ms, as worker_run does it.
 * Units:   nanoseconds of the virtual clock, which begins at WORLD_BEGIN_NS.
 * Threads: one.
 * Errors:  world_fail and world_check name the seed; `LAB_SEED=n` repeats it. */
#ifndef RINGCAST_LAB_WORLD_H
#define RINGCAST_LAB_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/network/link.h"
#include "src/clock.h"
#include "src/tables.h"

#include "bytes.h"

#define WORLD_BEGIN_NS (1000 * NS_PER_S)
#define WORLD_ENDPOINTS_MAX 8
#define MS(n) ((uint64_t)(n)*NS_PER_MS)
#define SECONDS(n) ((uint64_t)(n)*NS_PER_S)

struct world;

/* What a client does with the packets that arrive, decrypted. */
struct endpoint {
    void *context;
    void (*rtp)(void *context, uint8_t *data, size_t bytes);
    void (*rtcp)(void *context, const uint8_t *data, size_t bytes);
    /* Every packet that leaves the worker for this client, before the network loses any. */
    void (*sent)(void *context, const uint8_t *data, size_t bytes);
};

struct world_client {
    struct world *world;
    uint32_t index;  /* of its transport */
    uint32_t worker; /* where the transport lives */
    struct link up, down;
    struct endpoint endpoints[WORLD_ENDPOINTS_MAX];
    unsigned endpoint_count;
    uint32_t refused; /* packets that libsrtp2 did not accept, but for repeated ones */
    void *keys;       /* of the test bench of the forwarder */
};

/* Begins a world. The seed decides about everything that is random in it. */
struct world *world_open(uint64_t seed, unsigned workers);
void world_close(struct world *world);
uint64_t world_seed(const struct world *world);
uint64_t world_now(const struct world *world);
uint64_t *world_random(struct world *world);
/* Lets so much time go by. */
void world_run(struct world *world, uint64_t ns);
void world_at(struct world *world, uint64_t due_ns, void (*run)(void *context, uint64_t number),
              void *context, uint64_t number);

/* A client with a transport on this worker, connected; its links are perfect. */
struct world_client *world_join(struct world *world, uint32_t worker);
/* Changes the links: see link_options_read; NULL leaves one as it is. */
void world_network(struct world_client *client, const char *up, const char *down);
void world_endpoint(struct world_client *client, const struct endpoint *endpoint);
void world_send_rtp(struct world_client *client, const uint8_t *packet, size_t bytes);
void world_send_rtcp(struct world_client *client, const uint8_t *packet, size_t bytes);

/* The test plays the control plane. */
void world_row(struct world_client *client, enum table_id table, uint32_t index,
               struct row_header *row);
void world_free_row(struct world_client *client, enum table_id table, uint32_t index);
const void *world_actual_row(struct world *world, enum table_id table, uint32_t index);
/* The sum over all workers. */
uint64_t world_counter(const struct world *world, enum worker_counter counter);
uint64_t world_verdict(const struct world *world, enum verdict verdict);

/* A number that stands for every datagram that the workers sent, and when. */
uint64_t world_trace(const struct world *world);

__attribute__((format(printf, 2, 3))) void world_fail(const struct world *world, const char *text,
                                                      ...);
#define world_check(world, condition)                                       \
    do {                                                                    \
        if (!(condition))                                                   \
            world_fail(world, "%s:%d: %s", __FILE__, __LINE__, #condition); \
    } while (0)
/* a, an operator, b: numbers, which are printed when the comparison does not hold */
#define world_compare(world, a, operator, b)                                                \
    do {                                                                                    \
        double a_ = (double)(a), b_ = (double)(b);                                          \
        if (!(a_ operator b_))                                                              \
            world_fail(world, "%s:%d: %s is %g, but must be " #operator" %s, %g", __FILE__, \
                       __LINE__, #a, a_, #b, b_);                                           \
    } while (0)

/* The seeds of a scenario: those of the environment variable LAB_SEED, or 1 to `usual`. */
struct seeds {
    uint64_t first, last;
};
struct seeds world_seeds(unsigned usual);
#define for_seeds(seed, usual) \
    for (uint64_t seed = world_seeds(usual).first; seed <= world_seeds(usual).last; seed++)

#endif
