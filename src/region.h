/* Regions: the sealed memory files that the processes share, and how a process maps one.
 *
 *   desired   control plane writes     forwarder, handshaker, ringcastctl read
 *   actual    forwarder writes         control plane, ringcastctl read
 *   keys      handshaker writes        forwarder reads (never the control plane)
 *   resume    forwarder writes         handshaker reads (never the control plane)
 *
 * Shape of every region; each process computes the same offsets from rows.h:
 *   struct region_header | rings that this region's writer fills | tables of this region
 *
 * The supervisor creates all four, keeps them, and hands out descriptors: read-write to the writer,
 * and opened with O_RDONLY to the readers. The kernel enforces that (mmap and mprotect for writing
 * fail with EACCES). The files are sealed against shrinking, growing and further seals.
 * F_SEAL_FUTURE_WRITE is not used, because the successor of a dead writer could not map its own
 * region.
 *
 * Units:   bytes, nanoseconds of the monotonic clock.
 * Threads: create and map at start only; region_beat from the thread that it names.
 * Memory:  a mapping lives until region_unmap, mostly as long as the process.
 * Errors:  -1 with errno and a line in the log, or false with a sentence in `why`. */
#ifndef RINGCAST_REGION_H
#define RINGCAST_REGION_H

#include "ring.h"
#include "tables.h"

enum region_id { REGION_desired, REGION_actual, REGION_keys, REGION_resume, REGION_COUNT };
extern const char
    *const region_names[REGION_COUNT]; /* "desired" …; its descriptor has this name too */

/* A healthy thread of the data plane beats at least this often. An idle thread wakes its core for
 * each beat (20 µs in a virtual machine), so this is as long as possible to still find a hung
 * thread within 100 ms. */
#define REGION_HEARTBEAT_NS (60 * 1000000ull)

/* The time of a thread's last beat; 0: there is no such thread. */
struct region_beat {
    _Atomic uint64_t ns;
    uint8_t pad[56];
};

#define REGION_MAGIC 0x31305443474e4952ull /* "RINGCT01" */

/* The first REGION_HEADER_BYTES of a region. The first four words belong to the supervisor, the rest
 * to the region's writer. A writer that was taken over can change all of it, so the data plane does
 * not believe these four words of a region that the control plane may write (region_map_vouched). */
struct region_header {
    uint64_t magic;
    uint64_t
        layout_hash; /* region_layout_hash(): all processes must be built from the same rows.h */
    uint64_t bytes;  /* size of the whole region */
    uint64_t instance_id; /* random number of the supervisor that created the region */
    _Atomic uint32_t writer_pid;
    _Atomic uint32_t writer_starts; /* processes that were the writer so far */
    _Atomic uint32_t rescan_wanted; /* this writer asks its peer to scan all tables */
    uint32_t reserved;
    /* Heads of the rings that this writer fills, one per worker. */
    struct ring_head heads[WORKERS_MAX];
    /* Tails of the rings that this writer reads; their entries lie in the other region. */
    struct ring_tail tails[WORKERS_MAX];
    struct region_beat beats[WORKERS_MAX]; /* forwarder: one per worker; others: the first only */
};
_Static_assert(sizeof(struct region_header) <= 8192,
               "region header is larger than REGION_HEADER_BYTES");
#define REGION_HEADER_BYTES 8192

struct region {
    enum region_id id;
    bool writable;
    size_t bytes;
    uint8_t *base;
    struct region_header *header;
    uint8_t *tables[TABLE_COUNT]; /* first row of each table; NULL for tables of other regions */
    uint8_t *rings[WORKERS_MAX];  /* first entry of each ring of this region */
};

/* A number that changes with any detail of rows.h: names, types, counts, offsets, limits.
 * FNV-1a, 64 bit. */
uint64_t region_layout_hash(void);
size_t region_bytes(enum region_id id);

/* Creates a region, empty and sealed. Returns its read-write descriptor, or -1. */
int region_create(enum region_id id, uint64_t instance_id);

/* Supervisor: writes the four words of the header that belong to it anew, through a writable
 * descriptor. So a writer that destroyed them keeps nobody from starting. False with errno: they
 * could not be written. */
bool region_repair(int fd, enum region_id id, uint64_t instance_id);

/* A second descriptor of the same region, for reading only; or -1. */
int region_reopen_readonly(int fd);

/* Maps the region behind fd, after a check of seals, size, magic and layout hash. fd may be closed
 * afterwards. False, with a sentence in `why` (128 bytes), when the region does not fit this
 * build. */
bool region_map(struct region *region, enum region_id id, int fd, bool writable, char *why);
/* For children of the supervisor: maps a region for reading whose header nobody may believe. The
 * kernel vouches for its size and seals; that the supervisor, a process of the same build, hands it
 * out vouches for its layout. */
bool region_map_vouched(struct region *region, enum region_id id, int fd, char *why);
void region_unmap(struct region *region);

/* Writer: says that thread number `thread` makes progress. */
static inline void region_beat(const struct region *region, uint32_t thread, uint64_t now_ns)
{
    atomic_store_explicit(&region->header->beats[thread].ns, now_ns, memory_order_release);
}
/* Writer with `threads` threads: clears beats of a predecessor that had more threads. */
void region_beats_clear(const struct region *region, uint32_t threads);
/* The oldest beat of all threads, because a writer is only as healthy as its slowest thread; 0: no
 * beat yet. */
uint64_t region_heartbeat(const struct region_header *header);

/* Row `index` of a table. The table must be in this region, and index below tables[table].rows. */
static inline struct row_header *region_row(const struct region *region, enum table_id table,
                                            uint32_t index)
{
    return (struct row_header *)(region->tables[table] + (size_t)index * tables[table].row_bytes);
}

/* The ring of worker w from the writer of `producer` to the writer of `consumer`:
 *   desired → actual   changes, struct ring_note, one ring per worker
 *   actual → desired   events, struct ring_note
 *   resume → keys      to the handshaker, struct ring_datagram
 *   keys → resume      from the handshaker, struct ring_datagram */
struct ring region_ring(const struct region *producer, const struct region *consumer, uint32_t w);

#endif
