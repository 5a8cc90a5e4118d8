/* Drains and stops. */
#include "stop.h"

#include <signal.h>
#include <stdlib.h>

#include "controlplane/live/live.h"
#include "controlplane/people/auth.h"
#include "controlplane/rooms/rooms.h"
#include "controlplane/web/json.h"
#include "src/clock.h"
#include "src/log.h"
#include "src/notify.h"

#define STOP_TIMEOUT_MS 10000
/* How often a drain checks whether all clients have left. It lasts at least this long, so that the
 * event server:draining can reach the clients. */
#define DRAIN_CHECK_MS 50

static void handle_closed(uv_handle_t *handle)
{
}

static void stop_timed_out(uv_timer_t *timer)
{
    LOG(WARN, "main", "some parts did not close in time: the process ends without them",
        F("seconds", "%d", STOP_TIMEOUT_MS / 1000));
    exit(1);
}

static void store_closed(void *context)
{
    struct control *control = context;

    uv_close((uv_handle_t *)&control->stop_timeout, handle_closed);
}

/* Closes all parts. The audit log closes before the store that takes its rows. */
static void stop(struct control *control)
{
    control->is_stopping = true;
    LOG(INFO, "main", "stopping");
    uv_timer_start(&control->stop_timeout, stop_timed_out, STOP_TIMEOUT_MS, 0);
    uv_unref((uv_handle_t *)&control->terminate);
    uv_unref((uv_handle_t *)&control->interrupt);
    uv_close((uv_handle_t *)&control->watchdog, handle_closed);
    reload_close(&control->reload);
    uv_close((uv_handle_t *)&control->drain, handle_closed);
    auth_close(control->auth);
    rooms_close(control->rooms);
    socketio_close(control->io);
    http_close(control->http);
    control->rooms = NULL;
    live_close(control->live);
    dataplane_close(control->dataplane);
    audit_close(control->audit);
    persistence_close(control->store, store_closed, control);
}

static void check_drain(uv_timer_t *timer)
{
    struct control *control = timer->data;
    const struct socketio_counters *counters = socketio_counters(control->io);

    if (counters->sessions_open == 0 || uv_now(&control->loop) >= control->drain_until_ms)
        stop(control);
    else
        notify_status("draining: %u clients are still connected", (unsigned)counters->sockets_open);
}

/* Tells every client. Calls may continue until the deadline. */
static void drain(struct control *control, uint32_t seconds)
{
    cJSON *value = json_new_object();
    uint64_t wall_ms = clock_wall_ns() / NS_PER_MS;

    LOG(INFO, "main", "draining", F("seconds", "%u", seconds),
        F("sockets", "%u", (unsigned)socketio_counters(control->io)->sockets_open));
    notify_stopping();
    notify_extend_timeout((seconds * 1000ull + STOP_TIMEOUT_MS) * 1000);
    control->drain_until_ms = uv_now(&control->loop) + seconds * 1000ull;
    cJSON_AddNumberToObject(value, "deadline", (double)(wall_ms + seconds * 1000ull));
    http_drain(control->http);
    rooms_drain(control->rooms);
    socketio_drain(control->io, "server:draining", value);
    cJSON_Delete(value);
    uv_timer_start(&control->drain, check_drain, DRAIN_CHECK_MS, DRAIN_CHECK_MS);
}

static void signal_arrived(uv_signal_t *signal, int number)
{
    struct control *control = signal->data;

    if (control->is_stopping)
        exit(1);
    if (control->drain_until_ms == 0)
        drain(control, number == SIGTERM ? control->settings.drain_s : 0);
    else
        control->drain_until_ms = uv_now(&control->loop);
}

void stop_open(struct control *control)
{
    uv_timer_init(&control->loop, &control->stop_timeout);
    uv_timer_init(&control->loop, &control->drain);
    uv_signal_init(&control->loop, &control->terminate);
    uv_signal_init(&control->loop, &control->interrupt);
    control->drain.data = control->terminate.data = control->interrupt.data = control;
    uv_signal_start(&control->terminate, signal_arrived, SIGTERM);
    uv_signal_start(&control->interrupt, signal_arrived, SIGINT);
}
