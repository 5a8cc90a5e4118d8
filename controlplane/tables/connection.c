/* The connection to the data plane: gets descriptors from the supervisor and maps the regions. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "src/clock.h"
#include "src/descriptors.h"
#include "src/log.h"

#define WHY_BYTES 192

/* One attempt to reach the supervisor. It runs on libuv's
 * thread pool, because it may have to wait. */
struct attempt {
    uv_work_t work;
    struct dataplane *dataplane;
    char path[SETTING_TEXT_ROOM + 32];
    struct descriptors set;
    char why[WHY_BYTES];
    bool connected;
};

/* ---- mapping ---- */

void dataplane_unmap(struct dataplane *dataplane)
{
    uint32_t w;

    if (dataplane->control_polled)
        uv_poll_stop(&dataplane->control_poll);
    dataplane->control_polled = false;
    for (w = 0; w < WORKERS_MAX; w++) {
        if (dataplane->worker_doorbell[w] >= 0)
            close(dataplane->worker_doorbell[w]);
        dataplane->worker_doorbell[w] = -1;
    }
    if (dataplane->mapped) {
        region_unmap(&dataplane->desired);
        region_unmap(&dataplane->actual);
    }
    dataplane->mapped = false;
    dataplane->doorbells_due = 0;
}

/* libuv polls the same descriptor number all the time; a new
 * doorbell gets the number of the old one. */
static bool poll_control_doorbell(struct dataplane *dataplane, int fd)
{
    if (dataplane->control_doorbell >= 0) {
        int result = dup3(fd, dataplane->control_doorbell, O_CLOEXEC);

        close(fd);
        if (result < 0)
            return false;
    } else {
        if (uv_poll_init(dataplane->loop, &dataplane->control_poll, fd) != 0) {
            close(fd);
            return false;
        }
        dataplane->control_doorbell = fd;
        dataplane->control_poll.data = dataplane;
        dataplane->references++;
    }
    dataplane->control_polled =
        uv_poll_start(&dataplane->control_poll, UV_READABLE, control_doorbell_rung) == 0;
    return dataplane->control_polled;
}

/* Maps both regions of the set, or neither. */
static bool map_both(struct descriptors *set, struct region *desired, struct region *actual,
                     char *why)
{
    int desired_fd = descriptors_take(set, "desired"), actual_fd = descriptors_take(set, "actual");
    char fault[128] = "descriptors are missing";
    bool ok = desired_fd >= 0 && actual_fd >= 0 &&
              region_map(desired, REGION_desired, desired_fd, true, fault);

    if (ok && !region_map(actual, REGION_actual, actual_fd, false, fault)) {
        region_unmap(desired);
        ok = false;
    }
    if (desired_fd >= 0)
        close(desired_fd);
    if (actual_fd >= 0)
        close(actual_fd);
    if (!ok)
        snprintf(why, WHY_BYTES, "the data plane's shared memory cannot be used: %s", fault);
    return ok;
}

/* Replaces the mapped regions by new ones. */
static void take_regions(struct dataplane *dataplane, struct descriptors *set,
                         const struct region *desired, const struct region *actual)
{
    uint32_t w;

    dataplane_set_up(dataplane, false); /* the new ones have none of our rows */
    dataplane_unmap(dataplane);
    dataplane->desired = *desired;
    dataplane->actual = *actual;
    dataplane->mapped = true;
    for (w = 0; w < WORKERS_MAX; w++) {
        dataplane->worker_doorbell[w] = descriptors_take(set, "bell.worker.%u", w);
        dataplane->changes[w] = region_ring(&dataplane->desired, &dataplane->actual, w);
        dataplane->events[w] = region_ring(&dataplane->actual, &dataplane->desired, w);
        ring_skip_all(&dataplane->events[w]);
    }
}

static bool map_regions(struct dataplane *dataplane, struct descriptors *set, char *why)
{
    struct region desired = {0}, actual = {0};
    int doorbell = descriptors_take(set, "bell.control");

    if (doorbell < 0) {
        snprintf(why, WHY_BYTES, "the supervisor sent no doorbell for the control plane");
        return false;
    }
    if (!map_both(set, &desired, &actual, why)) {
        close(doorbell);
        return false;
    }
    /* The same regions as before: only a child of the
     * supervisor stopped, and our rows are still there. */
    if (dataplane->mapped &&
        dataplane->desired.header->instance_id == desired.header->instance_id) {
        region_unmap(&desired);
        region_unmap(&actual);
        close(doorbell);
        return true;
    }
    take_regions(dataplane, set, &desired, &actual);
    if (!poll_control_doorbell(dataplane, doorbell)) {
        dataplane_unmap(dataplane);
        snprintf(why, WHY_BYTES, "cannot poll the doorbell: %s", strerror(errno));
        return false;
    }
    atomic_store(&dataplane->desired.header->writer_pid, (uint32_t)getpid());
    atomic_fetch_add(&dataplane->desired.header->writer_starts, 1);
    region_beat(&dataplane->desired, 0, clock_monotonic_ns());
    leftover_rows_free(dataplane);
    LOG(INFO, "dataplane", "connected to the data plane",
        F("instance", "%016llx", (unsigned long long)dataplane->desired.header->instance_id));
    return true;
}

/* ---- reaching the supervisor ---- */

static void attempt_run(uv_work_t *work)
{
    struct attempt *attempt = work->data;

    attempt->connected =
        descriptors_from_supervisor(attempt->path, "control", &attempt->set, attempt->why) == 0;
}

static void attempt_done(uv_work_t *work, int status)
{
    struct attempt *attempt = work->data;
    struct dataplane *dataplane = attempt->dataplane;

    dataplane->connecting = false;
    dataplane->retry_ms = uv_now(dataplane->loop) + RECONNECT_MS;
    dataplane->refused =
        !attempt->connected || descriptors_get(&attempt->set, DESCRIPTOR_FORWARDER_DEAD) >= 0;
    if (attempt->connected) {
        if (!dataplane->closing && !map_regions(dataplane, &attempt->set, attempt->why))
            dataplane->refused = true;
        descriptors_close(&attempt->set);
    }
    if (!dataplane->closing && !dataplane->failure_logged && attempt->why[0] != '\0') {
        dataplane->failure_logged = true;
        LOG(WARN, "dataplane", "cannot connect to the data plane; will retry",
            F("why", "%s", attempt->why));
    }
    free(attempt);
    dataplane_unref(dataplane);
}

void dataplane_connect(struct dataplane *dataplane)
{
    struct attempt *attempt = calloc(1, sizeof(*attempt));

    if (attempt == NULL)
        return;
    attempt->dataplane = dataplane;
    attempt->work.data = attempt;
    snprintf(attempt->path, sizeof(attempt->path), "%s/dataplane.sock",
             dataplane->settings->data_directory);
    if (uv_queue_work(dataplane->loop, &attempt->work, attempt_run, attempt_done) != 0) {
        free(attempt);
        return;
    }
    dataplane->connecting = true;
    dataplane->references++;
}
