/* Rings between two processes: one producer, one consumer, a fixed number of entries. Nobody waits.
 *
 *   producer's region: head, entries           consumer's region: tail
 *     ring_head.published ───────────────────►  reads entries [tail, published)
 *     producer reads the tail ◄───────────────  ring_tail.consumed
 *
 * Threads: one producer thread and one consumer thread; each word has one writer.
 * Errors:  a full ring refuses the entry. For changes and events the producer then raises
 *          ring_head.overflows; the consumer sees the new number and scans the tables instead. A
 *          refused DTLS datagram is dropped and counted; the peer sends it again.
 * Trust:   neither side trusts the other's words. The consumer reads at most entry_count entries at
 *          a time and never outside the ring. */
#ifndef RINGCAST_RING_H
#define RINGCAST_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "race.h"

struct ring_head {
    _Atomic uint64_t published; /* entries filled since the region was made */
    _Atomic uint32_t overflows;
    uint32_t reserved;
    uint8_t pad[48];
};

struct ring_tail {
    _Atomic uint64_t consumed; /* entries read since the region was made */
    uint8_t pad[56];
};

/* One change or event: this row is new. The reader acts on the row, not on `op`. */
struct ring_note {
    uint32_t table; /* enum table_id */
    uint32_t op;
    uint64_t handle;
};

/* What an entry of a DTLS ring says. */
enum dtls_note {
    /* In both directions: a DTLS datagram in `data`. */
    DTLS_NOTE_datagram = 1,
    /* To the handshaker: ICE validated this transport. In the client role, start the handshake. */
    DTLS_NOTE_validated,
    /* To the forwarder: the key row is new. */
    DTLS_NOTE_keys,
    /* To the handshaker: the transport is gone. To the forwarder: the association ended, the key row
     * says why. */
    DTLS_NOTE_closed,
};
/* An entry of the rings between forwarder and handshaker. */
struct ring_datagram {
    uint64_t handle;
    uint32_t note; /* enum dtls_note */
    uint32_t bytes;
    uint8_t data[1520];
};

/* One end of a ring, private to a process: pointers to the shared words, and the sizes. */
struct ring {
    struct ring_head *head; /* producer's region */
    struct ring_tail *tail; /* consumer's region */
    uint8_t *entries;
    uint32_t entry_bytes;
    uint32_t entry_count;    /* a power of two */
    uint32_t overflows_seen; /* consumer: ring_head.overflows at its last check */
};

/* Producer: the next free entry, or NULL when the ring is full. Fill it, then call ring_publish. */
static inline void *ring_reserve(const struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head->published, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->tail->consumed, memory_order_acquire);

    RACE_POINT("ring_reserve.looked");
    if (head - tail >= ring->entry_count)
        return NULL;
    return ring->entries + (head & (ring->entry_count - 1)) * ring->entry_bytes;
}

static inline void ring_publish(const struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head->published, memory_order_relaxed);

    RACE_POINT("ring_publish.filled");
    atomic_store_explicit(&ring->head->published, head + 1, memory_order_release);
    RACE_POINT("ring_publish.published");
}

/* Producer: adds a note. False when the ring is full; then it counts the overflow. */
static inline bool ring_put_note(const struct ring *ring, struct ring_note note)
{
    struct ring_note *entry = ring_reserve(ring);

    if (!entry) {
        RACE_POINT("ring_put_note.full");
        atomic_fetch_add_explicit(&ring->head->overflows, 1, memory_order_release);
        return false;
    }
    *entry = note;
    ring_publish(ring);
    return true;
}

/* Consumer: the oldest unread entry, or NULL when there is none. Read it, then call
 *           ring_consume. */
static inline const void *ring_peek(const struct ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail->consumed, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring->head->published, memory_order_acquire);

    RACE_POINT("ring_peek.looked");
    if (head == tail || head - tail > ring->entry_count)
        return NULL;
    return ring->entries + (tail & (ring->entry_count - 1)) * ring->entry_bytes;
}

static inline void ring_consume(const struct ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail->consumed, memory_order_relaxed);

    RACE_POINT("ring_consume.read");
    atomic_store_explicit(&ring->tail->consumed, tail + 1, memory_order_release);
}

/* Consumer: skips all unread entries; call it before a full scan of the tables. */
static inline void ring_skip_all(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head->published, memory_order_acquire);

    RACE_POINT("ring_skip_all.looked");
    ring->overflows_seen = atomic_load_explicit(&ring->head->overflows, memory_order_acquire);
    atomic_store_explicit(&ring->tail->consumed, head, memory_order_release);
}

/* Consumer: true when the producer dropped notes since the last call, so that the tables must be
 *           scanned.
 * Also true when the head is impossible; a correct producer never writes such a head. Then unread
 * entries are skipped, because the ring would otherwise never work again. */
static inline bool ring_overflowed(struct ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->tail->consumed, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring->head->published, memory_order_acquire);
    uint32_t now = atomic_load_explicit(&ring->head->overflows, memory_order_acquire);
    bool lost = now != ring->overflows_seen;

    ring->overflows_seen = now;
    if (head - tail > ring->entry_count) {
        ring_skip_all(ring);
        lost = true;
    }
    return lost;
}

#endif
