/* Rings between two processes: one producer, one consumer, fixed entries; nobody ever blocks.
 *
 *   producer's region: head, entries           consumer's region: tail
 *     ring_head.published ───────────────────►  reads entries [tail, published)
 *     producer reads the tail ◄───────────────  ring_tail.consumed
 *
 * Each word has one writer. A full ring refuses the entry: for changes and events the producer then
 * raises ring_head.overflows, and the consumer, seeing it differ, rescans the tables instead; for
 * DTLS datagrams the datagram is dropped and counted (the peer sends it again).
 * Neither side trusts the other: the consumer takes at most `entries` at a time. */
#ifndef RINGCAST_RING_H
#define RINGCAST_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "race.h"

struct ring_head {
    _Atomic uint64_t published; /* entries ever filled */
    _Atomic uint32_t overflows;
    uint32_t reserved;
    uint8_t pad[48];
};

struct ring_tail {
    _Atomic uint64_t consumed;
    uint8_t pad[56];
};

/* One change or event: which row moved. op is advisory; the row says what is. */
struct ring_note {
    uint32_t table; /* enum table_id */
    uint32_t op;
    uint64_t handle;
};

/* One DTLS datagram, or a request, between forwarder and handshaker. */
enum dtls_note {
    DTLS_NOTE_datagram = 1, /* both ways: bytes of `data` */
    DTLS_NOTE_validated, /* to the handshaker: ICE validated this transport (client role starts) */
    DTLS_NOTE_keys,      /* to the forwarder: look at the key row */
    DTLS_NOTE_closed,    /* to the handshaker: the transport is gone; to the forwarder: see row */
};
struct ring_datagram {
    uint64_t handle;
    uint32_t note; /* enum dtls_note */
    uint32_t bytes;
    uint8_t data[1520];
};

/* The process-local end of a ring: where its words are and how big it is. */
struct ring {
    struct ring_head *head; /* producer's region */
    struct ring_tail *tail; /* consumer's region */
    uint8_t *entries;
    uint32_t entry_bytes;
    uint32_t entry_count;    /* a power of two */
    uint32_t overflows_seen; /* consumer: ring_head.overflows when it last looked */
};

/* Producer: the next free entry, or NULL when full. Fill it, then ring_publish. */
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

/* Producer: copies a note in; when the ring is full, marks the overflow instead. */
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

/* Consumer: the oldest unread entry, or NULL when there is none. Read it, then ring_consume. */
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

/* Consumer: skips everything unread (on attach, before a full rescan). */
static inline void ring_skip_all(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head->published, memory_order_acquire);

    RACE_POINT("ring_skip_all.looked");
    ring->overflows_seen = atomic_load_explicit(&ring->head->overflows, memory_order_acquire);
    atomic_store_explicit(&ring->tail->consumed, head, memory_order_release);
}

/* Consumer: did the producer drop notes since last asked? Then everything must be rescanned. The
 * same when the head makes no sense, which a well-behaved producer never causes: unread entries are
 * skipped then, or the ring would stay dead. */
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
