/* Transmit memory and its runs; see slots.h. */
#include <errno.h>
#include <sys/mman.h>

#include "slots.h"
#include "src/limits.h"

void *pages_map(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return pages == MAP_FAILED ? NULL : pages;
}

void pages_unmap(void *pages, size_t bytes)
{
    if (pages)
        munmap(pages, bytes);
}

static size_t pages_bytes(unsigned arena_count)
{
    return (size_t)arena_count * IO_SLOTS_BYTES + 2 * SLOTS_BYTES_AROUND;
}

bool slots_open(struct slots *slots, unsigned arena_count)
{
    slots->pages = pages_map(pages_bytes(arena_count));
    if (!slots->pages)
        return false;
    slots->arena_count = arena_count;
    slots_use_arena(slots, 0);
    slots_clear(slots);
    return true;
}

void slots_use_arena(struct slots *slots, unsigned arena)
{
    slots->memory = slots->pages + SLOTS_BYTES_AROUND + (size_t)arena * IO_SLOTS_BYTES;
}

void slots_close(struct slots *slots)
{
    pages_unmap(slots->pages, pages_bytes(slots->arena_count));
    slots->pages = slots->memory = NULL;
}

/* Can a datagram of `bytes` on `path` join this run? */
static bool run_continues(const struct run *run, const struct path *path, uint32_t bytes)
{
    return run->segment_bytes > 0 && bytes > 0 && bytes <= run->segment_bytes &&
           /* the last segment is full, so another one may follow */
           run->bytes == (uint32_t)run->segments * run->segment_bytes &&
           run->segments < IO_SEGMENTS_MAX && run->bytes + bytes <= RUN_BYTES_MAX &&
           path_equal(&run->path, path);
}

/* FNV-1a, without a secret. The worst that a peer can reach with equal hashes is that datagrams are
 * sent one by one. */
static uint32_t path_hash(const struct path *path)
{
    const uint8_t *bytes = (const uint8_t *)path;
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < sizeof(*path); i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return hash;
}

void slots_note_refusal(struct slots *slots, const struct path *path)
{
    uint32_t hash = path_hash(path);

    slots->refusals[hash % REFUSALS] =
        (struct refusal){.tag = (uint16_t)(hash >> 16), .left = REFUSAL_DATAGRAMS};
    slots->has_refusals = true;
}

/* Called once for each run, before a second datagram joins it. */
static bool path_refuses(struct slots *slots, const struct run *run)
{
    struct refusal *refusal;
    uint32_t hash;

    if (!slots->has_refusals || run->segments != 1)
        return false;
    hash = path_hash(&run->path);
    refusal = &slots->refusals[hash % REFUSALS];
    if (refusal->left == 0 || refusal->tag != (uint16_t)(hash >> 16))
        return false;
    refusal->left--;
    return true;
}

uint8_t *slots_take(struct slots *slots, const struct path *path, uint32_t bytes)
{
    struct run *run = slots->run_count ? &slots->runs[slots->run_count - 1] : NULL;
    uint8_t *slot = slots->memory + slots->used;

    if (bytes > DATAGRAM_SENT_BYTES_MAX || bytes > IO_SLOTS_BYTES - slots->used)
        return NULL;
    if (!run || !run_continues(run, path, bytes) || path_refuses(slots, run)) {
        if (slots->run_count == RUNS_MAX || IO_SLOTS_BYTES - slots->used < RUN_RESERVE)
            return NULL;
        run = &slots->runs[slots->run_count++];
        run->path = *path;
        run->at = slots->used;
        run->bytes = 0;
        run->segment_bytes = (uint16_t)bytes;
        run->segments = 0;
        run->error = 0;
        run->without_copying = false;
    }
    run->bytes += bytes;
    run->segments++;
    slots->used += bytes;
    return slot;
}

/* EBUSY is what io_uring says for EAGAIN. */
bool error_means_full(int error)
{
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == EBUSY;
}

void run_count(struct io_counters *counters, const struct run *run)
{
    if (run->error == 0) {
        counters->sent += run->segments;
        counters->sent_bytes += run->bytes;
        counters->sends++;
    } else if (error_means_full(run->error)) {
        counters->send_full += run->segments;
    } else {
        counters->send_failed += run->segments;
    }
}

/* EIO: the device cannot compute checksums of segments (Linux before 6.11). EINVAL, EMSGSIZE: the
 * segments are longer than the MTU of the path, where single sends still pass as IP fragments; or
 * the socket sends without checksums. ENOPROTOOPT, EOPNOTSUPP: there is no segmentation at all. */
bool error_refuses_segments(int error)
{
    return error == EIO || error == EINVAL || error == EMSGSIZE || error == ENOPROTOOPT ||
           error == EOPNOTSUPP;
}
