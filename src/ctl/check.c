/* ringcastctl check: shows the regions, their rings, and whether their writers are alive. */
#include "ctl.h"

#include <inttypes.h>

#include "src/clock.h"

static bool check_heartbeat(const struct region *region)
{
    uint64_t heartbeat_ns = region_heartbeat(region->header);
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t age_ns = now_ns > heartbeat_ns ? now_ns - heartbeat_ns : 0;

    if (heartbeat_ns == 0)
        printf("  heartbeat       never: its writer has not started\n");
    else
        printf("  heartbeat       %" PRIu64 " ms ago%s\n", (uint64_t)(age_ns / NS_PER_MS),
               age_ns > SILENT_NS ? ": its writer is dead or hangs" : "");
    return heartbeat_ns != 0 && age_ns <= SILENT_NS;
}

/* The rings that the writer of a region fills. Their tails are in the region of the reader. */
static void check_rings(const struct region *region, const struct region *reader)
{
    for (unsigned w = 0; w < WORKERS_MAX; w++) {
        uint64_t published = atomic_load(&region->header->heads[w].published);
        uint32_t overflows = atomic_load(&region->header->heads[w].overflows);

        if (published == 0 && overflows == 0)
            continue;
        printf("  ring of worker %-2u published %" PRIu64 ", overflows %u, unread %" PRIu64 "\n", w,
               published, overflows, published - atomic_load(&reader->header->tails[w].consumed));
    }
}

static bool check_region(const struct region *region, const struct region *reader)
{
    const struct region_header *header = region->header;

    printf("%s\n", region_names[region->id]);
    printf("  bytes           %" PRIu64 "\n", header->bytes);
    printf("  instance        %016" PRIx64 "\n", header->instance_id);
    printf("  layout          %016" PRIx64 " (this build's)\n", header->layout_hash);
    printf("  writer          pid %u, %u starts\n", atomic_load(&header->writer_pid),
           atomic_load(&header->writer_starts));
    check_rings(region, reader);
    return check_heartbeat(region);
}

int command_check(const struct observer *observer)
{
    bool alive = true;

    alive &= check_region(&observer->desired, &observer->actual);
    alive &= check_region(&observer->actual, &observer->desired);
    return alive ? 0 : 1;
}
