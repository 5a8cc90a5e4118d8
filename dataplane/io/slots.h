/* Transmit memory of the backends: slots one behind the other, and the runs they form.
 *
 *   memory  | slot slot slot | slot slot | slot |      slot = one datagram, exactly as big as asked
 *   runs    [ 3 × 1200 to A ] [ 2 × 160 to B ] [ 1 to A ]
 *
 * A run is what one segmented send (UDP_SEGMENT) can carry: one path, equal sizes, the last may be
 * shorter. Because slots touch, a run is one contiguous piece of memory: one iovec. */
#ifndef RINGCAST_SLOTS_H
#define RINGCAST_SLOTS_H

#include "io.h"

#define RUNS_MAX 1024         /* of one turn */
#define RUN_BYTES_MAX 65000   /* of one UDP_SEGMENT send; the IP length field ends at 65535 */
#define RUN_RESERVE 16384     /* with less left no run begins: the next arena takes it whole */
#define SLOTS_BYTES_AROUND 64 /* readable before the first and behind the last slot */

struct run {
    struct path path;
    uint32_t at, bytes; /* in slots.memory */
    uint16_t segment_bytes;
    uint16_t segments;
    int error;            /* errno of its send, 0: sent */
    bool without_copying; /* the kernel may still read it after transmit */
};

/* Paths that refused a segmented send lately, by hash; they get runs of one for a while, so that not
 * every send fails first and order is kept. */
#define REFUSALS 1024           /* a power of two */
#define REFUSAL_DATAGRAMS 10000 /* after so many single ones segments are tried again */

struct refusal {
    uint16_t tag; /* rest of the hash */
    uint16_t left;
};

struct slots {
    uint8_t *memory; /* IO_SLOTS_BYTES: one of the arenas */
    uint8_t *pages;  /* arenas one behind the other */
    unsigned arena_count;
    uint32_t used;
    uint32_t run_count;
    bool has_refusals;
    struct refusal refusals[REFUSALS];
    struct run runs[RUNS_MAX];
};

/* Anonymous zeroed memory, paid when touched; NULL when there is none. */
void *pages_map(size_t bytes);
void pages_unmap(void *pages, size_t bytes);

bool slots_open(struct slots *slots, unsigned arena_count);
/* Writes the next turn into this arena. */
void slots_arena(struct slots *slots, unsigned arena);
void slots_close(struct slots *slots);

/* See io_backend.slot. */
uint8_t *slots_take(struct slots *slots, const struct path *path, uint32_t bytes);

/* The kernel would not segment on this path. */
void slots_refused(struct slots *slots, const struct path *path);

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

/* Counts a run as sent, or under what its error says. */
void run_count(struct io_counters *counters, const struct run *run);
/* Does this error mean that a queue is full, or memory short: that trying again at once is no use? */
bool error_means_full(int error);
/* Does this error mean "not as one segmented send", so that single ones may work? */
bool error_refuses_segments(int error);

#endif
