/* Maps the regions of a running data plane, read-only. */
#include "ctl.h"

#include <string.h>
#include <unistd.h>

#include "src/descriptors.h"

static bool map_one(struct region *region, enum region_id id, struct descriptors *set)
{
    char why[128];
    int fd = descriptors_take(set, "%s", region_names[id]);
    bool mapped;

    if (fd < 0) {
        fprintf(
            stderr,
            "ringcastctl: the data plane did not hand out region %s: use the ringcastctl of the "
            "same version\n",
            region_names[id]);
        return false;
    }
    mapped = region_map(region, id, fd, false, why);
    close(fd);
    if (!mapped)
        fprintf(stderr, "ringcastctl: %s\n", why);
    return mapped;
}

bool observer_attach(struct observer *observer, const char *data_directory)
{
    struct descriptors set;
    char path[512], why[192];
    bool attached;

    memset(observer, 0, sizeof(*observer));
    snprintf(path, sizeof(path), "%s/dataplane.sock", data_directory);
    if (descriptors_from_supervisor(path, "inspect", &set, why) != 0) {
        fprintf(stderr, "ringcastctl: %s\n", why);
        return false;
    }
    attached = map_one(&observer->desired, REGION_desired, &set) &&
               map_one(&observer->actual, REGION_actual, &set);
    descriptors_close(&set);
    if (!attached)
        observer_detach(observer);
    return attached;
}

void observer_detach(struct observer *observer)
{
    region_unmap(&observer->desired);
    region_unmap(&observer->actual);
}

const struct region *observer_region(const struct observer *observer, enum table_id table)
{
    switch (tables[table].region) {
    case REGION_desired:
        return &observer->desired;
    case REGION_actual:
        return &observer->actual;
    default:
        return NULL;
    }
}

/* Returns the table of `desired` whose indexes this table uses. If there is none, returns this
 * table. */
static enum table_id index_owner(enum table_id table)
{
    switch (table) {
    case TABLE_transport_state:
        return TABLE_transport;
    case TABLE_producer_state:
        return TABLE_producer;
    case TABLE_consumer_state:
        return TABLE_consumer;
    default:
        return table;
    }
}

uint32_t observer_rows(const struct observer *observer, enum table_id table)
{
    enum table_id owner = index_owner(table);
    uint32_t rows = 0;

    if (tables[owner].region != REGION_desired)
        return tables[table].rows;
    while (rows < tables[owner].rows &&
           __atomic_load_n(&region_row(&observer->desired, owner, rows)->generation,
                           __ATOMIC_RELAXED) != 0)
        rows++;
    return rows;
}
