/* What the supervisor holds for the other processes: it makes them once, or takes them over from an
 * earlier supervisor. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <poll.h>
#include <unistd.h>

#include "src/log.h"
#include "src/notify.h"
#include "supervisor.h"

#define OLD_CHILD_TIMEOUT_MS 2000

const char *const child_names[CHILD_COUNT] = {"forwarder", "handshaker"};

/* ---- making ---- */

static bool bell_add(struct descriptors *set, const char *name, uint32_t w, char *why)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) {
        snprintf(why, SUPERVISOR_WHY_BYTES,
                 "cannot make doorbell %s (%s): raise the limit of open files", name,
                 strerror(errno));
        return false;
    }
    if (strcmp(name, "bell.worker") == 0)
        descriptors_add(set, fd, "bell.worker.%u", w);
    else
        descriptors_add(set, fd, "%s", name);
    return true;
}

/* Opens what the I/O backends need: the one that io_backend names, or each one that `auto` may
 * choose. `auto` can do without one that fails. */
static bool backends_prepare(const struct io_backends *backends, const struct settings *settings,
                             uint32_t worker_count, struct descriptors *set, char *why)
{
    bool is_auto = strcmp(settings->io_backend, "auto") == 0;

    if (!is_auto && !io_backend_named(backends, settings->io_backend)) {
        io_backend_unknown(backends, settings->io_backend, why);
        return false;
    }
    for (size_t i = 0; i < backends->count; i++) {
        const struct io_backend *backend = backends->list[i];
        char refusal[IO_WHY_BYTES] = "";

        if (!(is_auto ? backend->auto_may_choose : !strcmp(backend->name, settings->io_backend)) ||
            !backend->open_privileged ||
            backend->open_privileged(settings, worker_count, set, refusal))
            continue;
        if (!is_auto) {
            snprintf(why, SUPERVISOR_WHY_BYTES, "I/O backend %s: %s", backend->name, refusal);
            return false;
        }
        LOG(WARN, "start", "an I/O backend cannot be used", F("backend", "%s", backend->name),
            F("why", "%s", refusal));
    }
    return true;
}

static bool resources_make(struct resources *resources, const struct settings *settings,
                           const struct io_backends *backends, char *why)
{
    uint32_t workers = workers_wanted(settings);
    uint64_t instance_id;

    if (getrandom(&instance_id, sizeof(instance_id), 0) != sizeof(instance_id)) {
        snprintf(why, SUPERVISOR_WHY_BYTES, "the kernel gives no random numbers: %s",
                 strerror(errno));
        return false;
    }
    for (unsigned id = 0; id < REGION_COUNT; id++) {
        int fd = region_create(id, instance_id);

        if (fd < 0) {
            snprintf(why, SUPERVISOR_WHY_BYTES, "cannot make shared memory region %s: %s",
                     region_names[id], strerror(errno));
            return false;
        }
        descriptors_add(&resources->set, fd, "%s", region_names[id]);
    }
    if (!media_sockets_open(settings, workers, &resources->set, why) ||
        !backends_prepare(backends, settings, workers, &resources->set, why))
        return false;
    for (uint32_t w = 0; w < workers; w++)
        if (!bell_add(&resources->set, "bell.worker", w, why))
            return false;
    if (!bell_add(&resources->set, "bell.control", 0, why) ||
        !bell_add(&resources->set, "bell.handshaker", 0, why))
        return false;
    resources->worker_count = workers;
    resources->instance_id = instance_id;
    if (notify_store_all(&resources->set) != 0)
        LOG(WARN, "store",
            "the service manager cannot keep our descriptors: calls would not survive the death of "
            "the supervisor",
            F("error", "%s", strerror(errno)));
    LOG(INFO, "start", "regions and sockets created", F("workers", "%u", workers),
        F("instance", "%016" PRIx64, instance_id));
    return true;
}

/* ---- taking over ---- */

/* Is everything there that the data plane needs, and does it fit this build? */
static bool resources_fits(struct resources *resources, char *why)
{
    const struct descriptors *set = &resources->set;
    uint32_t w = 0;

    for (unsigned id = 0; id < REGION_COUNT; id++) {
        struct region region;
        int fd = descriptors_get(set, "%s", region_names[id]);

        if (fd < 0) {
            snprintf(why, SUPERVISOR_WHY_BYTES, "region %s is missing", region_names[id]);
            return false;
        }
        /* The header of `desired` proves nothing: the control plane may have changed it. All four
         * were created together, so the other three speak for it. */
        if (!(id == REGION_desired ? region_map_vouched(&region, id, fd, why)
                                   : region_map(&region, id, fd, false, why)))
            return false;
        if (id == REGION_actual)
            resources->instance_id = region.header->instance_id;
        region_unmap(&region);
    }
    while (w < WORKERS_MAX && descriptors_get(set, "bell.worker.%u", w) >= 0 &&
           (descriptors_get(set, "udp4.%u", w) >= 0 || descriptors_get(set, "udp6.%u", w) >= 0))
        w++;
    resources->worker_count = w;
    if (w > 0 && descriptors_get(set, "bell.control") >= 0 &&
        descriptors_get(set, "bell.handshaker") >= 0)
        return true;
    snprintf(why, SUPERVISOR_WHY_BYTES, "a doorbell or media socket is missing");
    return false;
}

static void old_child_end(int pidfd)
{
    struct pollfd wanted = {.fd = pidfd, .events = POLLIN};

    pidfd_send_signal(pidfd, SIGTERM, NULL, 0);
    if (poll(&wanted, 1, OLD_CHILD_TIMEOUT_MS) != 1) {
        pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
        poll(&wanted, 1, OLD_CHILD_TIMEOUT_MS);
    }
    close(pidfd);
}

static void resources_forget(struct resources *resources)
{
    for (size_t i = 0; i < resources->set.count; i++)
        notify_store_remove("%s", resources->set.list[i].name);
    descriptors_close(&resources->set);
}

/* Takes everything that an earlier supervisor left, or nothing. */
static bool resources_take_over(struct resources *resources, const struct settings *settings,
                                int pidfds[CHILD_COUNT])
{
    char why[SUPERVISOR_WHY_BYTES];
    bool fits;

    if (notify_take_stored(&resources->set) < 0)
        LOG(WARN, "store",
            "the service manager handed over descriptors that cannot be understood; creating new "
            "ones",
            F("error", "%s", strerror(errno)));
    for (unsigned c = 0; c < CHILD_COUNT; c++)
        pidfds[c] = descriptors_take(&resources->set, "child.%s", child_names[c]);
    if (resources->set.count == 0 && pidfds[0] < 0 && pidfds[1] < 0)
        return false;
    fits = resources_fits(resources, why);
    if (fits) {
        LOG(INFO, "start", "took over from an earlier supervisor",
            F("workers", "%u", resources->worker_count));
        if (resources->worker_count != workers_wanted(settings))
            LOG(WARN, "start",
                "the number of workers was changed: it takes effect after a full restart",
                F("running", "%u", resources->worker_count),
                F("configured", "%u", workers_wanted(settings)));
        return true;
    }
    LOG(WARN, "start",
        "the resources of an earlier supervisor do not fit; creating new ones, which ends all "
        "calls",
        F("why", "%s", why));
    for (unsigned c = 0; c < CHILD_COUNT; c++) {
        if (pidfds[c] < 0)
            continue;
        notify_store_remove("child.%s", child_names[c]);
        old_child_end(pidfds[c]);
        pidfds[c] = -1;
    }
    resources_forget(resources);
    return false;
}

bool resources_open(struct resources *resources, const struct settings *settings,
                    const struct io_backends *backends, int pidfds[CHILD_COUNT], char *why)
{
    memset(resources, 0, sizeof(*resources));
    if (!resources_take_over(resources, settings, pidfds) &&
        !resources_make(resources, settings, backends, why)) {
        resources_forget(resources);
        return false;
    }
    for (unsigned id = 0; id < REGION_COUNT; id++) {
        resources->readonly[id] =
            region_reopen_readonly(descriptors_get(&resources->set, "%s", region_names[id]));
        if (resources->readonly[id] < 0) {
            snprintf(why, SUPERVISOR_WHY_BYTES,
                     "cannot reopen region %s for reading (%s): is /proc mounted?",
                     region_names[id], strerror(errno));
            return false;
        }
    }
    return region_map(&resources->actual, REGION_actual, resources->readonly[REGION_actual], false,
                      why) &&
           region_map(&resources->keys, REGION_keys, resources->readonly[REGION_keys], false, why);
}

void resources_close(struct resources *resources)
{
    region_unmap(&resources->actual);
    region_unmap(&resources->keys);
    for (unsigned id = 0; id < REGION_COUNT; id++)
        close(resources->readonly[id]);
    resources_forget(resources);
}

/* ---- handing out ---- */

enum share { SHARE_NOT, SHARE_READ, SHARE_WRITE };

struct share_row {
    const char *name;
    enum share regions[REGION_COUNT]; /* desired actual keys resume */
    bool sockets;                     /* and what I/O backends opened: "io.…" */
    bool bell_workers, bell_control, bell_handshaker;
};

/* The same table as in processes.h. A client that is no child never gets `keys` or `resume`: the
 * control plane's user may connect to the control socket and ask for any role. */
static const struct share_row shares[] = {
    {"forwarder", {SHARE_READ, SHARE_WRITE, SHARE_READ, SHARE_WRITE}, true, true, true, true},
    {"handshaker", {SHARE_READ, SHARE_NOT, SHARE_WRITE, SHARE_READ}, false, true, false, true},
    {"control", {SHARE_WRITE, SHARE_READ, SHARE_NOT, SHARE_NOT}, false, true, true, false},
    {"inspect", {SHARE_READ, SHARE_READ, SHARE_NOT, SHARE_NOT}, false, false, false, false},
};
#define SHARES (sizeof(shares) / sizeof(shares[0]))

static void descriptor_copy(struct descriptors *to, const struct descriptors *from,
                            const char *name)
{
    int fd = descriptors_get(from, "%s", name);

    if (fd >= 0)
        descriptors_add(to, fd, "%s", name);
}

static void resources_share(const struct resources *resources, const struct share_row *row,
                            struct descriptors *set)
{
    set->count = 0;
    for (unsigned id = 0; id < REGION_COUNT; id++) {
        if (row->regions[id] == SHARE_WRITE)
            descriptor_copy(set, &resources->set, region_names[id]);
        else if (row->regions[id] == SHARE_READ)
            descriptors_add(set, resources->readonly[id], "%s", region_names[id]);
    }
    for (size_t i = 0; row->sockets && i < resources->set.count; i++)
        if (strncmp(resources->set.list[i].name, "io.", 3) == 0)
            descriptor_copy(set, &resources->set, resources->set.list[i].name);
    for (uint32_t w = 0; w < resources->worker_count; w++) {
        static const char *const formats[] = {"udp4.%u", "udp6.%u", "bell.worker.%u"};
        char name[DESCRIPTOR_NAME_BYTES];

        for (unsigned f = 0; f < 3; f++) {
            if (f < 2 ? !row->sockets : !row->bell_workers)
                continue;
            snprintf(name, sizeof(name), formats[f], w);
            descriptor_copy(set, &resources->set, name);
        }
    }
    if (row->bell_control)
        descriptor_copy(set, &resources->set, "bell.control");
    if (row->bell_handshaker)
        descriptor_copy(set, &resources->set, "bell.handshaker");
}

void resources_for_child(const struct resources *resources, enum child_role role,
                         struct descriptors *set)
{
    resources_share(resources, &shares[role], set);
}

/* The control plane may have destroyed the header that its successor and ringcastctl check. */
static void repair_desired(const struct resources *resources)
{
    int fd = descriptors_get(&resources->set, "%s", region_names[REGION_desired]);

    if (!region_repair(fd, REGION_desired, resources->instance_id))
        LOG(WARN, "control", "cannot repair the header of region desired",
            F("error", "%s", strerror(errno)));
}

bool resources_for_client(const struct resources *resources, const char *role,
                          struct descriptors *set)
{
    repair_desired(resources);
    for (size_t i = CHILD_COUNT; i < SHARES; i++) {
        if (strcmp(shares[i].name, role) == 0) {
            resources_share(resources, &shares[i], set);
            return true;
        }
    }
    return false;
}
