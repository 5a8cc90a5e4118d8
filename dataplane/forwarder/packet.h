/* The packet pool of a worker: authentic packets while consumers are still to get them.
 *
 *   pool_take ─► unprotected into `room` ─► queued at its producer ─► … fan-out … ─► pool_give
 *
 * Shape: one packet is its parsed header, what the fan-out needs to know, and the clear bytes.
 * Memory: mapped at start, paid when touched; the packet given back last is taken first, so that a
 *         worker that keeps up uses the same few again and again.
 * Threads: one worker owns the pool; other workers may read a packet that was handed to them, see
 *          handoff.h. */
#ifndef RINGCAST_PACKET_H
#define RINGCAST_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/engines/rtp.h"
#include "src/limits.h"

#define POOL_PACKETS 4096
/* The last packets of the pool are audio's: under pressure it goes before video. */
#define POOL_AUDIO_PACKETS (POOL_PACKETS / 8)
#define PACKET_ROOM 1536 /* DATAGRAM_BYTES_MAX and what a cipher may read beyond */
_Static_assert(DATAGRAM_BYTES_MAX + 32 <= PACKET_ROOM, "packets outgrew their room");

#define PACKET_OWN UINT8_MAX /* lane of what this worker received itself */

/* The header that consumers of one kind get, for the next of that kind. Clients of one browser differ
 * in the length of their MIDs only ("7", "12"), so there are two. */
#define PACKET_HEADERS 2
struct header_kind {
    uint16_t extension_mask;
    uint8_t mid_bytes, payload_type; /* payload_type 0: not known */
};

static inline bool header_kind_equal(const struct header_kind *a, const struct header_kind *b)
{
    uint32_t x, y; /* one comparison, which memcmp of four bytes is not */

    _Static_assert(sizeof(*a) == sizeof(x), "header_kind: not a word");
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x == y;
}

struct packet_header {
    struct header_kind kind; /* what `template` was built for; template.size 0: nothing yet */
    struct rtp_template template;
};

struct packet {
    /* What the packet is; nobody changes it while it is held. */
    const uint8_t *data; /* header and clear payload: own room, or that of another worker */
    uint64_t index;      /* SRTP index */
    uint64_t arrived_ns;
    uint16_t payload_at, payload_bytes;
    uint16_t bytes;          /* header and payload */
    uint8_t encoding, codec; /* indexes into the producer's arrays */
    bool is_key_frame;
    uint8_t padding_bytes; /* at the end of the payload; ours, see padding.c */
    struct rtp_view view;

    /* What its worker does with it. */
    struct packet *next; /* of the same producer, or free */
    uint64_t position;   /* of the note that brought it, in its lane */
    uint16_t holds;      /* who still reads it: our own fan-out, each worker it was handed to */
    uint8_t lane;        /* the worker that handed it to us */
    uint8_t verdict;     /* what will have become of it */
    struct packet_header headers[PACKET_HEADERS]; /* by MID length */
    _Alignas(64) uint8_t room[PACKET_ROOM];
};

struct pool {
    struct packet *packets;
    struct packet *free;
    uint32_t touched; /* packets that were ever taken */
    uint32_t taken;
};

bool pool_open(struct pool *pool);
void pool_close(struct pool *pool);

/* NULL when all are taken. Its content is undefined but for data, which is its room. */
static inline struct packet *pool_take(struct pool *pool)
{
    struct packet *packet = pool->free;

    if (packet)
        pool->free = packet->next;
    else if (pool->touched < POOL_PACKETS)
        packet = &pool->packets[pool->touched++];
    else
        return NULL;
    pool->taken++;
    packet->data = packet->room;
    return packet;
}

/* Nothing was built for this packet yet. */
static inline void packet_headers_clear(struct packet *packet)
{
    for (unsigned i = 0; i < PACKET_HEADERS; i++)
        packet->headers[i].template.size = 0;
}

static inline void pool_give(struct pool *pool, struct packet *packet)
{
    packet->next = pool->free;
    pool->free = packet;
    pool->taken--;
}

/* Packets of one producer, oldest first. */
struct packet_queue {
    struct packet *first, *last;
    uint32_t count;
};

static inline void packet_queue_append(struct packet_queue *queue, struct packet *packet)
{
    packet->next = NULL;
    if (queue->last)
        queue->last->next = packet;
    else
        queue->first = packet;
    queue->last = packet;
    queue->count++;
}

#endif
