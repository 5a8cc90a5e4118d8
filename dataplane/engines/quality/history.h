/* The packets that one worker forwarded last, so that they can be sent again.
 *
 *   history_add (the home worker)                    history_read (any worker)
 *   log     one ring of bytes: head, packet, head, packet, … ──► copied out, then checked
 *   places  for each stream: packet index % HISTORY_PLACES → where it lies in the log
 *
 * There are no reference counts. The writer overwrites the oldest packets whether or not somebody
 * reads them; a reader that was overtaken notices it after its copy and throws the copy away.
 *
 * Shape:   a stream is a number that the caller gives to one encoding of one producer, below
 *          HISTORY_STREAMS. `owner` tells one user of that number from the next.
 * Units:   the log counts in units of 64 bytes, for ever; a unit lies at position % units.
 * Threads: one worker writes; any worker may read at any time.
 * Memory:  mapped when it is opened; a page takes memory when it is first touched. Not in core
 *          dumps, because it holds what people said.
 * Limits:  the last HISTORY_PLACES packets of a stream, as long as they are in the log. */
#ifndef RINGCAST_HISTORY_H
#define RINGCAST_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/limits.h"

#define HISTORY_PLACES 1024 /* a power of two */
#define HISTORY_STREAMS (PRODUCERS_MAX * ENCODINGS_MAX)
#define HISTORY_UNIT_BYTES 64

/* What is known about a packet besides its bytes. */
struct history_head {
    uint64_t index; /* SRTP index, as it came in */
    uint64_t arrived_ns;
    uint32_t stream, owner;
    uint16_t bytes;      /* header and clear payload, which follow */
    uint16_t payload_at; /* where the payload begins */
    uint8_t source, codec;
    uint8_t is_key_frame : 1, ends_frame : 1, spatial : 6; /* see struct layer */
    uint8_t reserved[1];
};
_Static_assert(sizeof(struct history_head) % 8 == 0, "history_head: the packet is not aligned");

struct history_packet {
    struct history_head head;
    _Alignas(8) uint8_t data[(DATAGRAM_BYTES_MAX + 7) & ~7];
};

/* What the packets of one stream were so far. Written by the worker, read by any. */
struct history_stream {
    uint64_t newest,
        key_frame;  /* indexes plus one, 0: none; key_frame: where the last one begins */
    uint32_t owner; /* whose packets they are */
    uint8_t source;
};

struct history {
    _Alignas(64) uint64_t claimed; /* units that were ever written, or are being written now */
    uint64_t units;                /* that the log holds */
    uint64_t *log;
    uint32_t (*places)[HISTORY_PLACES]; /* [HISTORY_STREAMS]: low half of a position; 0: none */
    struct history_stream *streams;     /* [HISTORY_STREAMS] */
};

/* bytes: a multiple of HISTORY_UNIT_BYTES, and more than the longest packet takes. False: mmap
 * found no address space. */
bool history_open(struct history *h, size_t bytes);
void history_close(struct history *h);

/* Keeps a packet: head->bytes bytes from `data` on. */
void history_add(struct history *h, const struct history_head *head, const uint8_t *data);

/* The last packet of a stream, and the packet with which its last key frame begins. False: nobody knows
 * of such a key frame. Another producer may have had the stream: history_read tells. */
bool history_last_key_frame(const struct history *h, uint32_t stream, uint64_t *key_frame,
                            uint64_t *newest);

/* A packet of the stream came and was not kept: what follows the last key frame is not whole. */
static inline void history_forget_key_frame(struct history *h, uint32_t stream)
{
    if (h->streams[stream].key_frame) /* reading takes no memory, writing does */
        __atomic_store_n(&h->streams[stream].key_frame, 0, __ATOMIC_RELAXED);
}

/* Copies a packet out. False: it is not there, or no longer. */
bool history_read(const struct history *h, uint32_t stream, uint32_t owner, uint64_t index,
                  struct history_packet *packet);

#endif
