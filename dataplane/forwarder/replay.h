/* Instant join: a subscriber gets the last key frame of a video, and what followed it, out of the history,
 * instead of waiting until the publisher makes another one.
 *
 *   a consumer needs a key frame ─► replay_start ─► the history has a recent one: replay
 *                                              └─► it has none: the publisher is asked
 *   timer ─► REPLAY_SLICE packets at a time, until the newest one has left; from then on packets leave
 *            as they come
 *
 * The same sends what overtook the first packet of a key frame.
 *
 * Shape:   struct replay for each consumer that is being served now, at most REPLAYS_MAX.
 * Threads: the worker of the consumer. It reads the history of any worker.
 * Memory:  mapped at start; a page takes memory when it is first touched.
 * Limits:  a key frame older than REPLAY_AGE_NS, or one that more than REPLAY_PACKETS_MAX packets
 *          followed, is not replayed. */
#ifndef RINGCAST_REPLAY_H
#define RINGCAST_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/engines/quality/layer.h"
#include "dataplane/engines/wheel.h"
#include "src/clock.h"

#define REPLAYS_MAX 1024
#define REPLAY_PACKETS_MAX 800
#define REPLAY_AGE_NS (2 * NS_PER_S)
#define REPLAY_AGE_SWITCH_NS (300 * NS_PER_MS) /* to somebody who sees another layer now */
#define REPLAY_SLICE 12 /* packets in REPLAY_SLICE_NS: 58 Mbit/s of full packets */
#define REPLAY_SLICE_NS (2 * NS_PER_MS)

struct consumer;
struct packet;

struct replay {
    struct timer timer;
    struct consumer *consumer; /* NULL: free */
    struct replay *next_free;
    uint64_t first, next; /* indexes in */
    uint8_t encoding, source;
    struct layer_source layers; /* what the packets told so far */
};

struct replays {
    struct turn *turn;
    struct wheel *wheel;
    struct pool *pool;
    struct fanout *fanout;
    struct consumers *consumers;
    struct repair_out *repair_out;
    struct replay *all; /* [REPLAYS_MAX] */
    struct replay *free;
    uint32_t touched; /* that were ever used */
};

/* Maps the array; false when there is no address space. */
bool replays_open(struct replays *rs);
void replays_close(struct replays *rs);

/* Begins to replay the target of this consumer. False: there is nothing to replay. */
bool replay_start(struct replays *rs, struct consumer *c);
/* The consumer has just begun with this packet, the first of a key frame. Those that overtook it
 * follow. */
void replay_overtaken(struct replays *rs, struct consumer *c, const struct packet *first);
/* Ends a replay, if there is one; the consumer may be removed. */
void replay_stop(struct replays *rs, struct consumer *c);
void replay_on_timer(struct replays *rs, struct replay *replay);

#endif
