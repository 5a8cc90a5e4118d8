/* Creates, seals, reopens and maps regions; computes their offsets and the layout hash. */
#define _GNU_SOURCE
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define WHY_BYTES 128
#define PAGE_BYTES 4096
#define REGION_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

const char *const region_names[REGION_COUNT] = {"desired", "actual", "keys", "resume"};

/* The rings that the writer of each region fills, one per worker. */
static const struct {
    uint32_t entries, entry_bytes;
} ring_shapes[REGION_COUNT] = {
    [REGION_desired] = {CHANGE_RING_ENTRIES, sizeof(struct ring_note)},
    [REGION_actual] = {EVENT_RING_ENTRIES, sizeof(struct ring_note)},
    [REGION_keys] = {DTLS_RING_ENTRIES, sizeof(struct ring_datagram)},
    [REGION_resume] = {DTLS_RING_ENTRIES, sizeof(struct ring_datagram)},
};
_Static_assert((CHANGE_RING_ENTRIES & (CHANGE_RING_ENTRIES - 1)) == 0,
               "change ring: not a power of two");
_Static_assert((EVENT_RING_ENTRIES & (EVENT_RING_ENTRIES - 1)) == 0, "ring: not a power of two");
_Static_assert((DTLS_RING_ENTRIES & (DTLS_RING_ENTRIES - 1)) == 0, "ring: not a power of two");

/* ---- layout ---- */

struct layout {
    size_t rings[WORKERS_MAX];
    size_t tables[TABLE_COUNT]; /* 0: not in this region */
    size_t bytes;
};

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

static struct layout layout_of(enum region_id id)
{
    struct layout layout = {0};
    size_t at = REGION_HEADER_BYTES;

    for (unsigned w = 0; w < WORKERS_MAX; w++) {
        layout.rings[w] = at;
        at += (size_t)ring_shapes[id].entries * ring_shapes[id].entry_bytes;
    }
    for (unsigned t = 0; t < TABLE_COUNT; t++) {
        if (tables[t].region != id)
            continue;
        at = round_up(at, PAGE_BYTES);
        layout.tables[t] = at;
        at += (size_t)tables[t].rows * tables[t].row_bytes;
    }
    layout.bytes = round_up(at, PAGE_BYTES);
    return layout;
}

size_t region_bytes(enum region_id id)
{
    return layout_of(id).bytes;
}

/* ---- layout hash: FNV-1a, 64 bit ---- */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < count; i++)
        hash = (hash ^ at[i]) * 0x100000001b3ull;
    return hash;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return hash_bytes(hash, text, strlen(text) + 1);
}

static uint64_t hash_number(uint64_t hash, uint64_t number)
{
    return hash_bytes(hash, &number, sizeof(number));
}

/* The meaning of the numbers in the rows: enum values, verdicts and counters. */
static uint64_t hash_names(uint64_t hash)
{
#define HASH_VALUE(name, value) hash = hash_number(hash_text(hash, #name), value);
#define HASH_ENUM(name, list)      \
    hash = hash_text(hash, #name); \
    list(HASH_VALUE)
    ROW_ENUMS(HASH_ENUM)
#define HASH_NAME(name, text) hash = hash_text(hash, #name);
    VERDICTS(HASH_NAME)
    WORKER_COUNTERS(HASH_NAME)
    return hash;
}

static uint64_t hash_table(uint64_t hash, const struct table *t)
{
    hash = hash_text(hash, t->name);
    hash = hash_number(hash, t->region);
    hash = hash_number(hash, t->row_bytes);
    hash = hash_number(hash, t->rows);
    for (uint32_t f = 0; f < t->field_count; f++) {
        const struct field *field = &t->fields[f];

        hash = hash_text(hash, field->name);
        hash = hash_text(hash, field->type);
        hash = hash_number(hash, field->offset);
        hash = hash_number(hash, field->size);
        hash = hash_number(hash, field->count);
        hash = hash_number(hash, field->show);
        hash = hash_number(hash, (uint64_t)field->min);
        hash = hash_number(hash, (uint64_t)field->max);
    }
    return hash;
}

uint64_t region_layout_hash(void)
{
    uint64_t hash = 0xcbf29ce484222325ull;

    hash = hash_number(hash, REGION_MAGIC);
    hash = hash_number(hash, sizeof(struct region_header));
    hash = hash_number(hash, offsetof(struct region_header, heads));
    hash = hash_number(hash, offsetof(struct region_header, tails));
    hash = hash_number(hash, offsetof(struct region_header, beats));
    hash = hash_number(hash, WORKERS_MAX);
    for (unsigned id = 0; id < REGION_COUNT; id++) {
        struct layout layout = layout_of(id);

        hash = hash_text(hash, region_names[id]);
        hash = hash_number(hash, ring_shapes[id].entries);
        hash = hash_number(hash, ring_shapes[id].entry_bytes);
        for (unsigned w = 0; w < WORKERS_MAX; w++)
            hash = hash_number(hash, layout.rings[w]);
        for (unsigned t = 0; t < TABLE_COUNT; t++)
            hash = hash_number(hash, layout.tables[t]);
        hash = hash_number(hash, layout.bytes);
    }
    for (unsigned t = 0; t < TABLE_COUNT; t++)
        hash = hash_table(hash, &tables[t]);
    return hash_names(hash);
}

/* ---- creating a region ---- */

/* What the supervisor writes of a header; the rest is the writer's. */
#define OWNED_BYTES offsetof(struct region_header, writer_pid)

bool region_repair(int fd, enum region_id id, uint64_t instance_id)
{
    struct region_header header = {
        .magic = REGION_MAGIC,
        .layout_hash = region_layout_hash(),
        .bytes = region_bytes(id),
        .instance_id = instance_id,
    };

    return pwrite(fd, &header, OWNED_BYTES, 0) == (ssize_t)OWNED_BYTES;
}

/* Mode 0600 stops a process of another user: with a read-only descriptor it could otherwise open
 * the file for writing through /proc/self/fd. */
static int region_prepare(int fd, enum region_id id, uint64_t instance_id)
{
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, (off_t)region_bytes(id)) != 0)
        return -1;
    if (!region_repair(fd, id, instance_id)) /* all else of a new file is 0 */
        return -1;
    return fcntl(fd, F_ADD_SEALS, REGION_SEALS);
}

int region_create(enum region_id id, uint64_t instance_id)
{
    char name[32];
    int fd, error;

    snprintf(name, sizeof(name), "ringcast-%s", region_names[id]);
    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && region_prepare(fd, id, instance_id) == 0)
        return fd;
    error = errno;
    LOG(ERROR, "region",
        "cannot create a shared memory file; check free memory and the limit of open files",
        F("region", "%s", region_names[id]), F("bytes", "%zu", region_bytes(id)),
        F("error", "%s", strerror(error)));
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

int region_reopen_readonly(int fd)
{
    char path[32];
    int readonly;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    readonly = open(path, O_RDONLY | O_CLOEXEC);
    if (readonly < 0) {
        int error = errno;

        LOG(ERROR, "region", "cannot open a region for reading; check that /proc is mounted",
            F("path", "%s", path), F("error", "%s", strerror(error)));
        errno = error;
    }
    return readonly;
}

/* ---- mapping a region ---- */

static bool descriptor_fits(enum region_id id, int fd, char *why)
{
    struct stat about;
    int seals = fcntl(fd, F_GET_SEALS);

    if (fstat(fd, &about) != 0) {
        snprintf(why, WHY_BYTES, "region %s: the descriptor does not work: %s", region_names[id],
                 strerror(errno));
        return false;
    }
    if (seals < 0 || (seals & REGION_SEALS) != REGION_SEALS) {
        snprintf(why, WHY_BYTES, "region %s is not a sealed memory file (seals %#x)",
                 region_names[id], seals < 0 ? 0 : (unsigned)seals);
        return false;
    }
    if ((uint64_t)about.st_size != region_bytes(id)) {
        snprintf(why, WHY_BYTES,
                 "region %s has %" PRIu64 " bytes, this build needs %zu: use programs of one build",
                 region_names[id], (uint64_t)about.st_size, region_bytes(id));
        return false;
    }
    return true;
}

static bool header_fits(enum region_id id, const struct region_header *header, char *why)
{
    if (header->magic != REGION_MAGIC || header->bytes != region_bytes(id)) {
        snprintf(why, WHY_BYTES, "region %s has no valid header (magic %016" PRIx64 ")",
                 region_names[id], header->magic);
        return false;
    }
    if (header->layout_hash != region_layout_hash()) {
        snprintf(why, WHY_BYTES,
                 "region %s has layout %016" PRIx64 ", this build %016" PRIx64
                 ": use programs of one build",
                 region_names[id], header->layout_hash, region_layout_hash());
        return false;
    }
    return true;
}

static bool map(struct region *region, enum region_id id, int fd, bool writable, bool vouched,
                char *why)
{
    struct layout layout = layout_of(id);
    void *base;

    memset(region, 0, sizeof(*region));
    if (!descriptor_fits(id, fd, why))
        return false;
    base = mmap(NULL, layout.bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        snprintf(why, WHY_BYTES, "region %s: cannot map it for %s: %s", region_names[id],
                 writable ? "writing" : "reading", strerror(errno));
        return false;
    }
    if (!vouched && !header_fits(id, base, why)) {
        munmap(base, layout.bytes);
        return false;
    }
    /* Keys must not reach a core dump, and the other regions would only make it large. */
    madvise(base, layout.bytes, MADV_DONTDUMP);
    region->id = id;
    region->writable = writable;
    region->bytes = layout.bytes;
    region->base = base;
    region->header = base;
    for (unsigned t = 0; t < TABLE_COUNT; t++)
        if (layout.tables[t] != 0)
            region->tables[t] = region->base + layout.tables[t];
    for (unsigned w = 0; w < WORKERS_MAX; w++)
        region->rings[w] = region->base + layout.rings[w];
    return true;
}

bool region_map(struct region *region, enum region_id id, int fd, bool writable, char *why)
{
    return map(region, id, fd, writable, false, why);
}

bool region_map_vouched(struct region *region, enum region_id id, int fd, char *why)
{
    return map(region, id, fd, false, true, why);
}

void region_unmap(struct region *region)
{
    if (region->base)
        munmap(region->base, region->bytes);
    memset(region, 0, sizeof(*region));
}

struct ring region_ring(const struct region *producer, const struct region *consumer, uint32_t w)
{
    return (struct ring){
        .head = &producer->header->heads[w],
        .tail = &consumer->header->tails[w],
        .entries = producer->rings[w],
        .entry_bytes = ring_shapes[producer->id].entry_bytes,
        .entry_count = ring_shapes[producer->id].entries,
    };
}

/* ---- heartbeats ---- */

void region_beats_clear(const struct region *region, uint32_t threads)
{
    for (uint32_t t = threads; t < WORKERS_MAX; t++)
        region_beat(region, t, 0);
}

uint64_t region_heartbeat(const struct region_header *header)
{
    uint64_t oldest_ns = 0;

    for (uint32_t t = 0; t < WORKERS_MAX; t++) {
        uint64_t ns = atomic_load_explicit(&header->beats[t].ns, memory_order_acquire);

        if (ns && (!oldest_ns || ns < oldest_ns))
            oldest_ns = ns;
    }
    return oldest_ns;
}
