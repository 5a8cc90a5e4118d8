/* The packet pool of a worker: authentic RTP packets that some consumer has yet to get.
 *
 *   pool_take ─► decrypted into `room` ─► queued at its producer ─► … fan-out … ─► pool_give
 *
 * Shape:   one packet is its parsed header, what the fan-out needs to know, and the clear bytes.
 * Memory:  mapped at start; a page takes memory when it is first touched. The packet given back
 *          last is taken first, so that a worker without backlog uses the same few packets again
 *          and again.
 * Threads: one worker owns the pool. Other workers may read a packet that was handed to them, see
 *          handoff.h. */
#ifndef RINGCAST_PACKET_H
#define RINGCAST_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/engines/quality/selection.h"
#include "dataplane/engines/rtp.h"
#include "src/limits.h"

#define POOL_PACKETS 4096
/* The last free packets of the pool are only for audio: when memory is short, video is dropped
 * first. */
#define POOL_AUDIO_PACKETS (POOL_PACKETS / 8)
#define PACKET_ROOM 1536 /* DATAGRAM_BYTES_MAX, and what a cipher may read behind the end */
_Static_assert(DATAGRAM_BYTES_MAX + 32 <= PACKET_ROOM, "a packet does not fit into its memory");

#define PACKET_OWN UINT8_MAX /* lane of a packet that this worker received itself */

/* Consumers with the same kind get the same header, apart from the fields that are patched. */
struct header_kind {
    uint16_t extension_mask;
    uint8_t mid_bytes, payload_type; /* payload_type 0: not known */
};

static inline bool header_kind_equal(const struct header_kind *a, const struct header_kind *b)
{
    uint32_t x, y; /* one comparison; memcmp would be a call */

    _Static_assert(sizeof(*a) == sizeof(x), "header_kind: not a word");
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x == y;
}

/* The header that was built last, kept for the next consumer of the same kind. The consumers of one
 * producer mostly differ only in the length of their MIDs ("7", "12"), so a packet keeps two. */
#define PACKET_HEADERS 2
struct packet_header {
    struct header_kind kind; /* what `template` was built for; template.size 0: nothing yet */
    struct rtp_template template;
};

struct packet {
    /* The content of the packet. It does not change while somebody holds the packet. */
    const uint8_t *data; /* header and clear payload: own room, or that of another worker */
    uint64_t index;      /* SRTP index */
    uint64_t arrived_ns;
    uint32_t owner; /* its producer at home, see struct producer */
    uint16_t payload_at, payload_bytes;
    uint16_t bytes;          /* header and payload */
    uint8_t encoding, codec; /* indexes into the producer's arrays */
    bool is_key_frame;       /* it begins one */
    uint8_t padding_bytes;   /* how many bytes at the end of the payload are ours, see padding.h */
    uint8_t source;          /* the stream that it belongs to, see struct encoding */
    struct rtp_view view;
    struct layer layer;           /* video of a layered producer */
    struct layer_targets targets; /* if layer.has_targets */

    /* The state of the packet in its worker. */
    struct packet *next; /* of the same producer, or free */
    uint64_t position;   /* of the note that brought it, in its lane */
    uint16_t holds;      /* one for our own fan-out, one for each worker that it was handed to */
    uint8_t lane;        /* the worker that handed it to us, or PACKET_OWN */
    uint8_t verdict;     /* counted when the last hold ends */
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

/* NULL when all are taken. The content is undefined, except `data`: it is the packet's own room.
 */
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

static inline void pool_give(struct pool *pool, struct packet *packet)
{
    packet->next = pool->free;
    pool->free = packet;
    pool->taken--;
}

/* ---- the header that consumers get ---- */

/* Forgets the headers that were built for this packet. */
static inline void packet_headers_clear(struct packet *packet)
{
    for (unsigned i = 0; i < PACKET_HEADERS; i++)
        packet->headers[i].template.size = 0;
}

/* sent_id: the producer's, see struct rtp_template_options. */
const struct rtp_template *packet_header_build(struct packet *packet, const uint8_t *sent_id,
                                               const struct header_kind *kind);

static inline const struct rtp_template *
packet_header_for(struct packet *packet, const uint8_t *sent_id, const struct header_kind *kind)
{
    const struct packet_header *header = &packet->headers[kind->mid_bytes % PACKET_HEADERS];

    return header->template.size && header_kind_equal(&header->kind, kind)
               ? &header->template
               : packet_header_build(packet, sent_id, kind);
}

/* ---- queues ---- */

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
