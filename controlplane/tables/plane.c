/* The connection to the data plane: supervisor's descriptors, heartbeats, events. */
#define _GNU_SOURCE
#include "plane.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parts.h"
#include "src/clock.h"
#include "src/descriptors.h"
#include "src/log.h"

/* One attempt to reach the supervisor, on libuv's thread pool: it may have to wait for it. */
struct attempt {
    uv_work_t work;
    struct plane *plane;
    char path[SETTING_TEXT_ROOM + 32];
    struct descriptors set;
    char why[192];
    bool connected;
};

static void release(struct plane *plane)
{
    if (--plane->handles_open > 0)
        return;
    plane_rows_close(plane);
    free(plane);
}

/* ---- mapping ---- */

static void unmap(struct plane *plane)
{
    uint32_t w;

    if (plane->bell_polled)
        uv_poll_stop(&plane->bell);
    plane->bell_polled = false;
    for (w = 0; w < WORKERS_MAX; w++) {
        if (plane->bell_worker[w] >= 0)
            close(plane->bell_worker[w]);
        plane->bell_worker[w] = -1;
    }
    if (plane->mapped) {
        region_unmap(&plane->desired);
        region_unmap(&plane->actual);
    }
    plane->mapped = false;
    plane->bells_due = 0;
}

static void rescan(struct plane *plane, enum table_id table, enum table_id state)
{
    const struct slots *slots = plane_slots(plane, table);
    uint32_t i;

    for (i = 0; i < slots->fresh; i++) {
        const struct row_header *row = region_row(&plane->desired, table, i);

        if (row->used)
            plane->handlers.changed(plane->context, state, handle_make(i, row->generation));
    }
}

static void read_events(struct plane *plane)
{
    bool lost = false;
    uint32_t w, i;

    for (w = 0; w < WORKERS_MAX && plane->mapped; w++) {
        struct ring *ring = &plane->events[w];
        const struct ring_note *shared;

        lost |= ring_overflowed(ring); /* skips, too, when the head makes no sense */
        for (i = 0; i < ring->slot_count && (shared = ring_peek(ring)) != NULL; i++) {
            struct ring_note note = *shared;

            ring_consume(ring);
            if ((note.table == TABLE_transport_state || note.table == TABLE_producer_state ||
                 note.table == TABLE_consumer_state) &&
                handle_index(note.handle) < tables[note.table].rows)
                plane->handlers.changed(plane->context, note.table, note.handle);
        }
    }
    if (!lost)
        return;
    LOG(WARN, "plane", "events of the data plane were lost; looking at every row instead");
    rescan(plane, TABLE_transport, TABLE_transport_state);
    rescan(plane, TABLE_producer, TABLE_producer_state);
    rescan(plane, TABLE_consumer, TABLE_consumer_state);
}

static void bell_rung(uv_poll_t *poll, int status, int events)
{
    struct plane *plane = poll->data;
    uint64_t count;

    if (read(plane->bell_control, &count, sizeof(count)) > 0 && plane->mapped)
        read_events(plane);
}

static void bell_closed(uv_handle_t *handle)
{
    struct plane *plane = handle->data;

    close(plane->bell_control);
    plane->bell_control = -1;
    release(plane);
}

/* The control bell stays the same descriptor number for libuv: a new one is put in its place. */
static bool poll_bell(struct plane *plane, int fd)
{
    if (plane->bell_control >= 0) {
        int result = dup3(fd, plane->bell_control, O_CLOEXEC);

        close(fd);
        if (result < 0)
            return false;
    } else {
        if (uv_poll_init(plane->loop, &plane->bell, fd) != 0) {
            close(fd);
            return false;
        }
        plane->bell_control = fd;
        plane->bell.data = plane;
        plane->handles_open++;
    }
    plane->bell_polled = uv_poll_start(&plane->bell, UV_READABLE, bell_rung) == 0;
    return plane->bell_polled;
}

static bool map_regions(struct plane *plane, struct descriptors *set, char *why)
{
    int desired = descriptors_take(set, "desired"), actual = descriptors_take(set, "actual");
    int bell = descriptors_take(set, "bell.control");
    struct region new_desired = {0}, new_actual = {0};
    char fault[128] = "descriptors are missing";
    bool ok = desired >= 0 && actual >= 0 && bell >= 0 &&
              region_map(&new_desired, REGION_desired, desired, true, fault);
    uint32_t w;

    if (ok && !region_map(&new_actual, REGION_actual, actual, false, fault)) {
        region_unmap(&new_desired);
        ok = false;
    }
    if (desired >= 0)
        close(desired);
    if (actual >= 0)
        close(actual);
    if (!ok) {
        if (bell >= 0)
            close(bell);
        snprintf(why, 192, "the data plane's shared memory cannot be used: %s", fault);
        return false;
    }
    /* The same regions as before: a child was replaced or hung, our rows still stand there. */
    if (plane->mapped && plane->desired.header->instance_id == new_desired.header->instance_id) {
        region_unmap(&new_desired);
        region_unmap(&new_actual);
        close(bell);
        return true;
    }
    unmap(plane);
    plane->desired = new_desired;
    plane->actual = new_actual;
    plane->mapped = true;
    for (w = 0; w < WORKERS_MAX; w++) {
        plane->bell_worker[w] = descriptors_take(set, "bell.worker.%u", w);
        plane->changes[w] = region_ring(&plane->desired, &plane->actual, w);
        plane->events[w] = region_ring(&plane->actual, &plane->desired, w);
        ring_skip_all(&plane->events[w]);
    }
    if (!poll_bell(plane, bell)) {
        unmap(plane);
        snprintf(why, 192, "cannot watch the data plane's bell: %s", strerror(errno));
        return false;
    }
    atomic_store(&plane->desired.header->writer_pid, (uint32_t)getpid());
    atomic_fetch_add(&plane->desired.header->writer_starts, 1);
    region_beat(&plane->desired, 0, clock_monotonic_ns());
    plane_take_over(plane);
    LOG(INFO, "plane", "connected to the data plane",
        F("instance", "%016llx", (unsigned long long)plane->desired.header->instance_id));
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
    struct plane *plane = attempt->plane;

    plane->connecting = false;
    plane->retry_ms = uv_now(plane->loop) + RECONNECT_MS;
    if (attempt->connected) {
        if (!plane->closing)
            map_regions(plane, &attempt->set, attempt->why);
        descriptors_close(&attempt->set);
    }
    if (!plane->closing && !plane->complained && attempt->why[0] != '\0') {
        plane->complained = true;
        LOG(WARN, "plane", "no data plane yet; trying on", F("why", "%s", attempt->why));
    }
    free(attempt);
    release(plane);
}

static void try_connect(struct plane *plane)
{
    struct attempt *attempt = calloc(1, sizeof(*attempt));

    if (attempt == NULL)
        return;
    attempt->plane = plane;
    attempt->work.data = attempt;
    snprintf(attempt->path, sizeof(attempt->path), "%s/dataplane.sock",
             plane->settings->data_directory);
    if (uv_queue_work(plane->loop, &attempt->work, attempt_run, attempt_done) != 0) {
        free(attempt);
        return;
    }
    plane->connecting = true;
    plane->handles_open++;
}

/* ---- heartbeats ---- */

/* Alive, and has told what a client must be told: fingerprints and a port. */
static bool looks_up(struct plane *plane)
{
    uint64_t beat_ns, now_ns = clock_monotonic_ns();
    struct node_row node;
    uint32_t w;

    if (!plane->mapped)
        return false;
    beat_ns = region_heartbeat(plane->actual.header);
    if (now_ns > beat_ns && now_ns - beat_ns > HEARTBEAT_SILENCE_MS * NS_PER_MS)
        return false;
    if (plane->up)
        return true;
    if (!plane_read(plane, TABLE_node, 0, &node) || !node.has_fingerprints)
        return false;
    for (w = 0; w < node.worker_count; w++) {
        if (plane_worker_port(plane, w) != 0)
            return true;
    }
    return false;
}

static void beat(uv_timer_t *timer)
{
    struct plane *plane = timer->data;
    bool up;

    if (plane->mapped)
        region_beat(&plane->desired, 0, clock_monotonic_ns());
    up = looks_up(plane);
    if (up != plane->up) {
        plane->up = up;
        if (up)
            plane->complained = false;
        LOG(INFO, "plane", up ? "the data plane is up" : "the data plane does not answer",
            F("heartbeat_ms", "%u", HEARTBEAT_SILENCE_MS));
        plane->handlers.up(plane->context, up);
    }
    if (!plane->up && !plane->connecting && uv_now(plane->loop) >= plane->retry_ms)
        try_connect(plane);
}

static void before_wait(uv_prepare_t *prepare)
{
    plane_ring_bells(prepare->data);
}

/* ---- the object ---- */

struct plane *plane_open(uv_loop_t *loop, const struct settings *settings,
                         const struct plane_handlers *handlers, void *context)
{
    struct plane *plane = calloc(1, sizeof(*plane));
    uint32_t w;

    if (plane == NULL || !plane_rows_open(plane)) {
        if (plane != NULL)
            plane_rows_close(plane);
        free(plane);
        LOG(ERROR, "plane", "no memory for the tables' free lists");
        return NULL;
    }
    plane->loop = loop;
    plane->settings = settings;
    plane->handlers = *handlers;
    plane->context = context;
    plane->bell_control = -1;
    for (w = 0; w < WORKERS_MAX; w++)
        plane->bell_worker[w] = -1;
    plane->handles_open = 2;
    plane->timer.data = plane->before_wait.data = plane;
    uv_timer_init(loop, &plane->timer);
    uv_prepare_init(loop, &plane->before_wait);
    uv_timer_start(&plane->timer, beat, 0, HEARTBEAT_MS);
    uv_prepare_start(&plane->before_wait, before_wait);
    return plane;
}

static void handle_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void plane_close(struct plane *plane)
{
    if (plane == NULL)
        return;
    plane_ring_bells(plane);
    plane->closing = true;
    plane->up = false;
    unmap(plane);
    uv_close((uv_handle_t *)&plane->timer, handle_closed);
    uv_close((uv_handle_t *)&plane->before_wait, handle_closed);
    if (plane->bell_control >= 0)
        uv_close((uv_handle_t *)&plane->bell, bell_closed);
}

bool plane_is_up(const struct plane *plane)
{
    return plane->up;
}

bool plane_read(struct plane *plane, enum table_id table, handle_word handle, void *row)
{
    const struct region *region;

    if (!plane->mapped || handle_index(handle) >= tables[table].rows)
        return false;
    if (tables[table].region != REGION_desired && tables[table].region != REGION_actual)
        return false;
    region = tables[table].region == REGION_desired ? &plane->desired : &plane->actual;
    return row_copy(table, row, region_row(region, table, handle_index(handle)),
                    handle_generation(handle)) == ROW_OK;
}

uint16_t plane_worker_port(struct plane *plane, uint32_t worker)
{
    struct worker_state_row row;

    if (worker >= WORKERS_MAX ||
        !plane_read(plane, TABLE_worker_state, handle_make(worker, 0), &row))
        return 0;
    return row.udp_port;
}

int plane_pick_worker(struct plane *plane, int preferred, uint32_t slack)
{
    struct node_row node;
    int best = -1;
    uint32_t w;

    if (!plane->up || !plane_read(plane, TABLE_node, 0, &node))
        return -1;
    for (w = 0; w < node.worker_count; w++) {
        if (plane_worker_port(plane, w) == 0)
            continue;
        if (best < 0 || plane->load[w] < plane->load[best] ||
            (plane->load[w] == plane->load[best] && plane->room_count[w] < plane->room_count[best]))
            best = (int)w;
    }
    if (best < 0 || preferred < 0 || (uint32_t)preferred >= node.worker_count ||
        plane_worker_port(plane, (uint32_t)preferred) == 0)
        return best;
    return plane->load[preferred] <= plane->load[best] + slack ? preferred : best;
}
