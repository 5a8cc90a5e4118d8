/* The connection to the data plane: supervisor's descriptors, heartbeats, events. */
#define _GNU_SOURCE
#include "dataplane.h"

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

/* One attempt to reach the supervisor, on libuv's thread pool: it may have to wait for it. */
struct attempt {
    uv_work_t work;
    struct dataplane *dataplane;
    char path[SETTING_TEXT_ROOM + 32];
    struct descriptors set;
    char why[192];
    bool connected;
};

static void release(struct dataplane *dataplane)
{
    if (--dataplane->handles_open > 0)
        return;
    dataplane_rows_close(dataplane);
    free(dataplane);
}

/* ---- mapping ---- */

static void unmap(struct dataplane *dataplane)
{
    uint32_t w;

    if (dataplane->bell_polled)
        uv_poll_stop(&dataplane->bell);
    dataplane->bell_polled = false;
    for (w = 0; w < WORKERS_MAX; w++) {
        if (dataplane->bell_worker[w] >= 0)
            close(dataplane->bell_worker[w]);
        dataplane->bell_worker[w] = -1;
    }
    if (dataplane->mapped) {
        region_unmap(&dataplane->desired);
        region_unmap(&dataplane->actual);
    }
    dataplane->mapped = false;
    dataplane->bells_due = 0;
}

static void rescan(struct dataplane *dataplane, enum table_id table, enum table_id state)
{
    const struct slots *slots = dataplane_slots(dataplane, table);
    uint32_t i;

    for (i = 0; i < slots->fresh; i++) {
        const struct row_header *row = region_row(&dataplane->desired, table, i);

        if (row->used)
            dataplane->handlers.changed(dataplane->context, state, handle_make(i, row->generation));
    }
}

static void read_events(struct dataplane *dataplane)
{
    bool lost = false;
    uint32_t w, i;

    for (w = 0; w < WORKERS_MAX && dataplane->mapped; w++) {
        struct ring *ring = &dataplane->events[w];
        const struct ring_note *shared;

        lost |= ring_overflowed(ring); /* skips, too, when the head makes no sense */
        for (i = 0; i < ring->entry_count && (shared = ring_peek(ring)) != NULL; i++) {
            struct ring_note note = *shared;

            ring_consume(ring);
            if ((note.table == TABLE_transport_state || note.table == TABLE_producer_state ||
                 note.table == TABLE_consumer_state) &&
                handle_index(note.handle) < tables[note.table].rows)
                dataplane->handlers.changed(dataplane->context, note.table, note.handle);
        }
    }
    if (!lost)
        return;
    LOG(WARN, "dataplane", "events of the data plane were lost; looking at every row instead");
    rescan(dataplane, TABLE_transport, TABLE_transport_state);
    rescan(dataplane, TABLE_producer, TABLE_producer_state);
    rescan(dataplane, TABLE_consumer, TABLE_consumer_state);
}

static void bell_rung(uv_poll_t *poll, int status, int events)
{
    struct dataplane *dataplane = poll->data;
    uint64_t count;

    if (read(dataplane->bell_control, &count, sizeof(count)) > 0 && dataplane->mapped)
        read_events(dataplane);
}

static void bell_closed(uv_handle_t *handle)
{
    struct dataplane *dataplane = handle->data;

    close(dataplane->bell_control);
    dataplane->bell_control = -1;
    release(dataplane);
}

/* The control bell stays the same descriptor number for libuv: a new one is put in its place. */
static bool poll_bell(struct dataplane *dataplane, int fd)
{
    if (dataplane->bell_control >= 0) {
        int result = dup3(fd, dataplane->bell_control, O_CLOEXEC);

        close(fd);
        if (result < 0)
            return false;
    } else {
        if (uv_poll_init(dataplane->loop, &dataplane->bell, fd) != 0) {
            close(fd);
            return false;
        }
        dataplane->bell_control = fd;
        dataplane->bell.data = dataplane;
        dataplane->handles_open++;
    }
    dataplane->bell_polled = uv_poll_start(&dataplane->bell, UV_READABLE, bell_rung) == 0;
    return dataplane->bell_polled;
}

static bool map_regions(struct dataplane *dataplane, struct descriptors *set, char *why)
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
    if (dataplane->mapped &&
        dataplane->desired.header->instance_id == new_desired.header->instance_id) {
        region_unmap(&new_desired);
        region_unmap(&new_actual);
        close(bell);
        return true;
    }
    unmap(dataplane);
    dataplane->desired = new_desired;
    dataplane->actual = new_actual;
    dataplane->mapped = true;
    for (w = 0; w < WORKERS_MAX; w++) {
        dataplane->bell_worker[w] = descriptors_take(set, "bell.worker.%u", w);
        dataplane->changes[w] = region_ring(&dataplane->desired, &dataplane->actual, w);
        dataplane->events[w] = region_ring(&dataplane->actual, &dataplane->desired, w);
        ring_skip_all(&dataplane->events[w]);
    }
    if (!poll_bell(dataplane, bell)) {
        unmap(dataplane);
        snprintf(why, 192, "cannot watch the data plane's bell: %s", strerror(errno));
        return false;
    }
    atomic_store(&dataplane->desired.header->writer_pid, (uint32_t)getpid());
    atomic_fetch_add(&dataplane->desired.header->writer_starts, 1);
    region_beat(&dataplane->desired, 0, clock_monotonic_ns());
    dataplane_take_over(dataplane);
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
    if (attempt->connected) {
        if (!dataplane->closing)
            map_regions(dataplane, &attempt->set, attempt->why);
        descriptors_close(&attempt->set);
    }
    if (!dataplane->closing && !dataplane->complained && attempt->why[0] != '\0') {
        dataplane->complained = true;
        LOG(WARN, "dataplane", "no data plane yet; trying on", F("why", "%s", attempt->why));
    }
    free(attempt);
    release(dataplane);
}

static void try_connect(struct dataplane *dataplane)
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
    dataplane->handles_open++;
}

/* ---- heartbeats ---- */

/* Alive, and has told what a client must be told: fingerprints and a port. */
static bool looks_up(struct dataplane *dataplane)
{
    uint64_t beat_ns, now_ns = clock_monotonic_ns();
    struct node_row node;
    uint32_t w;

    if (!dataplane->mapped)
        return false;
    beat_ns = region_heartbeat(dataplane->actual.header);
    if (now_ns > beat_ns && now_ns - beat_ns > HEARTBEAT_SILENCE_MS * NS_PER_MS)
        return false;
    if (dataplane->up)
        return true;
    if (!dataplane_row_read(dataplane, TABLE_node, 0, &node) || !node.has_fingerprints)
        return false;
    for (w = 0; w < node.worker_count; w++) {
        if (dataplane_worker_port(dataplane, w) != 0)
            return true;
    }
    return false;
}

static void beat(uv_timer_t *timer)
{
    struct dataplane *dataplane = timer->data;
    bool up;

    if (dataplane->mapped)
        region_beat(&dataplane->desired, 0, clock_monotonic_ns());
    up = looks_up(dataplane);
    if (up != dataplane->up) {
        dataplane->up = up;
        if (up)
            dataplane->complained = false;
        LOG(INFO, "dataplane", up ? "the data plane is up" : "the data plane does not answer",
            F("heartbeat_ms", "%u", HEARTBEAT_SILENCE_MS));
        dataplane->handlers.up(dataplane->context, up);
    }
    if (!dataplane->up && !dataplane->connecting && uv_now(dataplane->loop) >= dataplane->retry_ms)
        try_connect(dataplane);
}

static void before_wait(uv_prepare_t *prepare)
{
    dataplane_ring_bells(prepare->data);
}

/* ---- the object ---- */

struct dataplane *dataplane_open(uv_loop_t *loop, const struct settings *settings,
                                 const struct dataplane_handlers *handlers, void *context)
{
    struct dataplane *dataplane = calloc(1, sizeof(*dataplane));
    uint32_t w;

    if (dataplane == NULL || !dataplane_rows_open(dataplane)) {
        if (dataplane != NULL)
            dataplane_rows_close(dataplane);
        free(dataplane);
        LOG(ERROR, "dataplane", "no memory for the tables' free lists");
        return NULL;
    }
    dataplane->loop = loop;
    dataplane->settings = settings;
    dataplane->handlers = *handlers;
    dataplane->context = context;
    dataplane->bell_control = -1;
    for (w = 0; w < WORKERS_MAX; w++)
        dataplane->bell_worker[w] = -1;
    dataplane->handles_open = 2;
    dataplane->timer.data = dataplane->before_wait.data = dataplane;
    uv_timer_init(loop, &dataplane->timer);
    uv_prepare_init(loop, &dataplane->before_wait);
    uv_timer_start(&dataplane->timer, beat, 0, HEARTBEAT_MS);
    uv_prepare_start(&dataplane->before_wait, before_wait);
    return dataplane;
}

static void handle_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void dataplane_close(struct dataplane *dataplane)
{
    if (dataplane == NULL)
        return;
    dataplane_ring_bells(dataplane);
    dataplane->closing = true;
    dataplane->up = false;
    unmap(dataplane);
    uv_close((uv_handle_t *)&dataplane->timer, handle_closed);
    uv_close((uv_handle_t *)&dataplane->before_wait, handle_closed);
    if (dataplane->bell_control >= 0)
        uv_close((uv_handle_t *)&dataplane->bell, bell_closed);
}

bool dataplane_is_up(const struct dataplane *dataplane)
{
    return dataplane->up;
}

bool dataplane_row_read(struct dataplane *dataplane, enum table_id table, handle_word handle,
                        void *row)
{
    const struct region *region;

    if (!dataplane->mapped || handle_index(handle) >= tables[table].rows)
        return false;
    if (tables[table].region != REGION_desired && tables[table].region != REGION_actual)
        return false;
    region = tables[table].region == REGION_desired ? &dataplane->desired : &dataplane->actual;
    return row_copy(table, row, region_row(region, table, handle_index(handle)),
                    handle_generation(handle)) == ROW_OK;
}

uint16_t dataplane_worker_port(struct dataplane *dataplane, uint32_t worker)
{
    struct worker_state_row row;

    if (worker >= WORKERS_MAX ||
        !dataplane_row_read(dataplane, TABLE_worker_state, handle_make(worker, 0), &row))
        return 0;
    return row.udp_port;
}

int dataplane_pick_worker(struct dataplane *dataplane, int preferred, uint32_t slack)
{
    struct node_row node;
    int best = -1;
    uint32_t w;

    if (!dataplane->up || !dataplane_row_read(dataplane, TABLE_node, 0, &node))
        return -1;
    for (w = 0; w < node.worker_count; w++) {
        if (dataplane_worker_port(dataplane, w) == 0)
            continue;
        if (best < 0 || dataplane->load[w] < dataplane->load[best] ||
            (dataplane->load[w] == dataplane->load[best] &&
             dataplane->room_count[w] < dataplane->room_count[best]))
            best = (int)w;
    }
    if (best < 0 || preferred < 0 || (uint32_t)preferred >= node.worker_count ||
        dataplane_worker_port(dataplane, (uint32_t)preferred) == 0)
        return best;
    return dataplane->load[preferred] <= dataplane->load[best] + slack ? preferred : best;
}
