/* Transmit memory of the backends: slots without gaps between them, and the runs that they form.
 *
 *   memory  | slot slot slot | slot slot | slot |      a slot has exactly the bytes of its datagram
 *   runs    [ 3 × 1200 to A ] [ 2 × 160 to B ] [ 1 to A ]
 *
 * A run is what one segmented send (UDP_SEGMENT) can carry: datagrams of one path and of equal
 * size; the last one may be shorter. There are no gaps, so one iovec describes a run.
 *
 * An arena is the transmit memory of one turn. A backend has several of them when the kernel may
 * still read one after the turn. */
#ifndef RINGCAST_IO_SLOTS_H
#define RINGCAST_IO_SLOTS_H

#include "io.h"

#define RUNS_MAX 1024         /* of one turn */
#define RUN_BYTES_MAX 65000   /* the length field of an IP packet ends at 65535 */
#define RUN_RESERVE 16384     /* a run needs this many free bytes to begin, so few runs are cut */
#define SLOTS_BYTES_AROUND 64 /* may be read before the first and behind the last slot */

struct run {
    struct path path;
    uint32_t at, bytes; /* its place in slots.memory, its length */
    uint16_t segment_bytes;
    uint16_t segments;
    int error;            /* errno of its send, 0: sent */
    bool without_copying; /* the kernel may still read the run after transmit returns */
};

/* Paths on which the kernel refused a segmented send, found by their hash. For a while such a path
 * gets runs of one datagram. So no send is refused again, and the datagrams stay in order. */
#define REFUSALS 1024           /* a power of two */
#define REFUSAL_DATAGRAMS 10000 /* after this many single datagrams, segments are tried again */

struct refusal {
    uint16_t tag;  /* the bits of the hash that the index does not have */
    uint16_t left; /* datagrams until segments are tried again; 0: the entry is free */
};

struct slots {
    uint8_t *memory; /* the arena of this turn: IO_SLOTS_BYTES */
    uint8_t *pages;  /* all arenas, without gaps */
    unsigned arena_count;
    uint32_t used; /* bytes of this turn's arena */
    uint32_t run_count;
    bool has_refusals;
    struct refusal refusals[REFUSALS];
    struct run runs[RUNS_MAX];
};

/* Maps zeroed memory; a page is allocated when it is first used. NULL: there is no memory. */
void *pages_map(size_t bytes);
void pages_unmap(void *pages, size_t bytes);

bool slots_open(struct slots *slots, unsigned arena_count);
/* The next turn uses this arena. */
void slots_use_arena(struct slots *slots, unsigned arena);
void slots_close(struct slots *slots);

/* Implements `slot` of struct io_backend. */
uint8_t *slots_take(struct slots *slots, const struct path *path, uint32_t bytes);

/* Remembers that the kernel refused a segmented send on this path. */
void slots_note_refusal(struct slots *slots, const struct path *path);

static inline void slots_clear(struct slots *slots)
{
    slots->used = 0;
    slots->run_count = 0;
}

/* Bytes of segment i of a run. */
static inline uint32_t run_segment_bytes(const struct run *run, uint32_t i)
{
    uint32_t at = i * run->segment_bytes;

    return run->bytes - at < run->segment_bytes ? run->bytes - at : run->segment_bytes;
}

/* Counts the datagrams of a run as sent, or as its error says. */
void run_count(struct io_counters *counters, const struct run *run);
/* A queue is full or memory is short: an immediate retry would fail, too. */
bool error_means_full(int error);
/* The kernel refuses the run as one segmented send, but single sends may work. */
bool error_refuses_segments(int error);

#endif
