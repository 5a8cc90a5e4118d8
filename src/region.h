/* Regions: the sealed memory files that the processes share, and how a process maps them.
 *
 *   desired   control plane writes     forwarder, handshaker, ringcastctl read
 *   actual    forwarder writes         control plane, ringcastctl read
 *   keys      handshaker writes        forwarder reads (never the control plane)
 *   resume    forwarder writes         handshaker reads (never the control plane)
 *
 * Shape of every region, offsets computed alike in every process from rows.h:
 *   struct region_header | rings that this region's writer fills | tables of this region
 *
 * The supervisor creates all four, keeps them, and hands them out as descriptors: read-write to the
 * writer, and opened O_RDONLY to the readers, which the kernel enforces (mmap and mprotect for
 * writing fail with EACCES). They are sealed against shrinking, growing and further seals.
 * F_SEAL_FUTURE_WRITE is not used: a replaced writer could not map its own region again.
 *
 * Units: bytes. Threads: create/map at start only. Memory: the mapping lives as long as the process.
 * Errors: NULL or -1 with errno, and a sentence in the log. */
#ifndef RINGCAST_REGION_H
#define RINGCAST_REGION_H

#include "ring.h"
#include "tables.h"

enum region_id { REGION_desired, REGION_actual, REGION_keys, REGION_resume, REGION_COUNT };
extern const char *const region_names[REGION_COUNT]; /* "desired" … also the descriptors' names */

/* How often a thread of the data plane that works says so at least. Each beat of an idle one wakes a
 * core (20 µs in a virtual machine), so no more often than it takes to find a hung one in 100 ms. */
#define REGION_HEARTBEAT_NS (60 * 1000000ull)

/* When a thread last said that it lives, monotonic; 0: there is no such thread. */
struct region_beat {
    _Atomic uint64_t ns;
    uint8_t pad[56];
};

#define REGION_MAGIC 0x31305443474e4952ull /* "RINGCT01" */

/* First 4096 bytes of a region; written by the region's writer only. */
struct region_header {
    uint64_t magic;
    uint64_t
        layout_hash; /* region_layout_hash(): both sides must have been built from one rows.h */
    uint64_t bytes;  /* of the whole region */
    uint64_t instance_id; /* random; the supervisor's that created it */
    _Atomic uint32_t writer_pid;
    _Atomic uint32_t writer_starts; /* rises with every process that takes this region as writer */
    _Atomic uint32_t rescan_wanted; /* the writer of a reader-side region asks its peer: rescan */
    uint32_t reserved;
    /* Rings this writer fills: heads (producer side), one per ring. */
    struct ring_head heads[WORKERS_MAX];
    /* How far this writer has read the rings of the *other* regions: tails (consumer side). */
    struct ring_tail tails[WORKERS_MAX];
    struct region_beat beats[WORKERS_MAX]; /* the writer's threads: workers, else the first only */
};
_Static_assert(sizeof(struct region_header) <= 8192, "region header grew past its room");
#define REGION_HEADER_BYTES 8192

struct region {
    enum region_id id;
    bool writable;
    size_t bytes;
    uint8_t *base;
    struct region_header *header;
    uint8_t *tables[TABLE_COUNT]; /* first row of each table of this region, NULL for others' */
    uint8_t *rings[WORKERS_MAX];  /* entries of each ring of this region */
};

/* Of the table descriptions: names, types, counts, offsets, limits. FNV-1a, 64 bit. */
uint64_t region_layout_hash(void);
size_t region_bytes(enum region_id id);

/* Makes, sizes, initialises and seals one; returns its read-write descriptor or -1. */
int region_create(enum region_id id, uint64_t instance_id);

/* A second descriptor of the same region that can only ever be read. */
int region_reopen_readonly(int fd);

/* Maps a region received as fd, checks magic, size, seals and layout hash. The descriptor may be
 * closed afterwards. False, with a sentence in `why` (128 bytes), when it does not fit this build. */
bool region_map(struct region *region, enum region_id id, int fd, bool writable, char *why);
void region_unmap(struct region *region);

/* `thread` of this region's writer lives. A writer of `threads` threads forgets what a predecessor with
 * more of them said. A writer is as well as its worst thread: its heartbeat is the oldest; 0: never. */
static inline void region_beat(const struct region *region, uint32_t thread, uint64_t now_ns)
{
    atomic_store_explicit(&region->header->beats[thread].ns, now_ns, memory_order_release);
}
void region_beats_clear(const struct region *region, uint32_t threads);
uint64_t region_heartbeat(const struct region_header *header);

/* Row `index` of a table in its mapped region. index must be < tables[table].rows. */
static inline struct row_header *region_row(const struct region *region, enum table_id table,
                                            uint32_t index)
{
    return (struct row_header *)(region->tables[table] + (size_t)index * tables[table].row_bytes);
}

/* The ring that `producer`'s writer fills for worker w and `consumer`'s writer empties:
 *   desired → actual   changes, struct ring_note, one ring per worker
 *   actual → desired   events, struct ring_note
 *   resume → keys      to the handshaker, struct ring_datagram
 *   keys → resume      from the handshaker, struct ring_datagram */
struct ring region_ring(const struct region *producer, const struct region *consumer, uint32_t w);

#endif
