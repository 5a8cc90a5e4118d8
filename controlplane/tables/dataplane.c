/* The data plane as the control plane sees it: heartbeats,
 * events, reading rows, picking a worker. */
#include "dataplane.h"

#include <stdlib.h>
#include <unistd.h>

#include "internal.h"
#include "src/clock.h"
#include "src/log.h"

/* ---- events ---- */

/* Reports every used row of a desired table as changed. */
static void report_all(struct dataplane *dataplane, enum table_id table, enum table_id state_table)
{
    const struct row_pool *pool = row_pool_of(dataplane, table);
    uint32_t i;

    for (i = 0; i < pool->first_unused; i++) {
        const struct row_header *row = region_row(&dataplane->desired, table, i);

        if (row->used)
            dataplane->handlers.changed(dataplane->context, state_table,
                                        handle_make(i, row->generation));
    }
}

static void read_events(struct dataplane *dataplane)
{
    bool lost = false;
    uint32_t w, i;

    for (w = 0; w < WORKERS_MAX && dataplane->mapped; w++) {
        struct ring *ring = &dataplane->events[w];
        const struct ring_note *shared;

        lost |= ring_overflowed(ring);
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
    LOG(WARN, "dataplane",
        "the event ring of the data plane overflowed; reading every row instead");
    report_all(dataplane, TABLE_transport, TABLE_transport_state);
    report_all(dataplane, TABLE_producer, TABLE_producer_state);
    report_all(dataplane, TABLE_consumer, TABLE_consumer_state);
}

void control_doorbell_rung(uv_poll_t *poll, int status, int events)
{
    struct dataplane *dataplane = poll->data;
    uint64_t count;

    if (read(dataplane->control_doorbell, &count, sizeof(count)) > 0 && dataplane->mapped)
        read_events(dataplane);
}

/* ---- heartbeats ---- */

static bool is_late(const struct dataplane *dataplane)
{
    uint64_t beat_ns = region_heartbeat(dataplane->actual.header), now_ns = clock_monotonic_ns();

    return now_ns > beat_ns && now_ns - beat_ns > HEARTBEAT_SILENCE_MS * NS_PER_MS;
}

/* There is a forwarder, and clients can be told fingerprints and at least one port. */
static bool is_serving(struct dataplane *dataplane, bool late)
{
    struct node_row node;
    uint32_t w;

    if (!dataplane->mapped)
        return false;
    if (dataplane->up)
        return !(late && dataplane->refused);
    if (late)
        return false; /* nothing has shown yet that it serves */
    if (!dataplane_row_read(dataplane, TABLE_node, 0, &node) || !node.has_fingerprints)
        return false;
    for (w = 0; w < node.worker_count; w++) {
        if (dataplane_worker_port(dataplane, w) != 0)
            return true;
    }
    return false;
}

void dataplane_set_up(struct dataplane *dataplane, bool up)
{
    if (up == dataplane->up)
        return;
    dataplane->up = up;
    dataplane->late = dataplane->refused = false;
    if (up) {
        dataplane->failure_logged = false;
        LOG(INFO, "dataplane", "the data plane is up");
    } else {
        LOG(WARN, "dataplane",
            "the data plane is down: its supervisor does not answer, or says that the forwarder is "
            "dead");
    }
    dataplane->handlers.up(dataplane->context, up);
}

/* While the heartbeat is late, a forwarder may have died and its events with it. So when the
 * heartbeat is back, this counts as a start of the data plane. */
static void set_late(struct dataplane *dataplane, bool late)
{
    if (late == dataplane->late)
        return;
    dataplane->late = late;
    dataplane->refused = false;
    dataplane->retry_ms = 0;
    if (late) {
        LOG(WARN, "dataplane",
            "the heartbeat of the data plane is late; asking its supervisor; requests continue",
            F("silence_limit_ms", "%u", HEARTBEAT_SILENCE_MS));
    } else {
        dataplane->failure_logged = false;
        dataplane->handlers.up(dataplane->context, true);
    }
}

static void beat(uv_timer_t *timer)
{
    struct dataplane *dataplane = timer->data;
    bool late;

    if (dataplane->mapped)
        region_beat(&dataplane->desired, 0, clock_monotonic_ns());
    late = dataplane->mapped && is_late(dataplane);
    dataplane_set_up(dataplane, is_serving(dataplane, late));
    if (dataplane->up)
        set_late(dataplane, late);
    if ((!dataplane->up || dataplane->late) && !dataplane->connecting &&
        uv_now(dataplane->loop) >= dataplane->retry_ms)
        dataplane_connect(dataplane);
}

/* Rings the doorbells once per turn of the loop: so a worker is woken once for many changes. */
static void before_wait(uv_prepare_t *prepare)
{
    doorbells_ring(prepare->data);
}

/* ---- the object ---- */

void dataplane_unref(struct dataplane *dataplane)
{
    if (--dataplane->references > 0)
        return;
    row_pools_close(dataplane);
    free(dataplane);
}

struct dataplane *dataplane_open(uv_loop_t *loop, const struct settings *settings,
                                 const struct dataplane_handlers *handlers, void *context)
{
    struct dataplane *dataplane = calloc(1, sizeof(*dataplane));
    uint32_t w;

    if (dataplane == NULL || !row_pools_open(dataplane)) {
        if (dataplane != NULL)
            row_pools_close(dataplane);
        free(dataplane);
        LOG(ERROR, "dataplane", "no memory for the lists of free rows");
        return NULL;
    }
    dataplane->loop = loop;
    dataplane->settings = settings;
    dataplane->handlers = *handlers;
    dataplane->context = context;
    dataplane->control_doorbell = -1;
    for (w = 0; w < WORKERS_MAX; w++)
        dataplane->worker_doorbell[w] = -1;
    dataplane->references = 2; /* timer, before_wait */
    dataplane->timer.data = dataplane->before_wait.data = dataplane;
    uv_timer_init(loop, &dataplane->timer);
    uv_prepare_init(loop, &dataplane->before_wait);
    uv_timer_start(&dataplane->timer, beat, 0, HEARTBEAT_MS);
    uv_prepare_start(&dataplane->before_wait, before_wait);
    return dataplane;
}

static void handle_closed(uv_handle_t *handle)
{
    dataplane_unref(handle->data);
}

static void control_poll_closed(uv_handle_t *handle)
{
    struct dataplane *dataplane = handle->data;

    close(dataplane->control_doorbell);
    dataplane->control_doorbell = -1;
    dataplane_unref(dataplane);
}

void dataplane_close(struct dataplane *dataplane)
{
    if (dataplane == NULL)
        return;
    doorbells_ring(dataplane);
    dataplane->closing = true;
    dataplane->up = false;
    dataplane_unmap(dataplane);
    uv_close((uv_handle_t *)&dataplane->timer, handle_closed);
    uv_close((uv_handle_t *)&dataplane->before_wait, handle_closed);
    if (dataplane->control_doorbell >= 0)
        uv_close((uv_handle_t *)&dataplane->control_poll, control_poll_closed);
}

bool dataplane_is_up(const struct dataplane *dataplane)
{
    return dataplane->up;
}

/* ---- reading ---- */

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
