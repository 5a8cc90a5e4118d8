/* The Socket.IO server: opens it, drains it, closes it, counts. */
#include <stdio.h>
#include <stdlib.h>

#include "engine_requests.h"
#include "socket.h"

static void write_metrics(struct metrics *metrics, void *context)
{
    const struct socketio_counters *counters = &((struct socketio *)context)->counters;

#define X(name, prose) \
    metrics_value(metrics, "socketio_" #name "_total", "counter", prose, (double)counters->name);
    SOCKETIO_COUNTERS(X)
#undef X
    metrics_value(metrics, "socketio_sessions_open", "gauge", "Engine.IO sessions now",
                  (double)counters->sessions_open);
    metrics_value(metrics, "socketio_sockets_open", "gauge", "Socket.IO sockets now",
                  (double)counters->sockets_open);
}

struct socketio *socketio_open(struct http_server *http, const struct settings *settings,
                               const struct socket_handlers *handlers, void *context)
{
    struct socketio *io = calloc(1, sizeof(*io));

    if (io == NULL)
        return NULL;
    io->loop = http_loop(http);
    io->settings = settings;
    io->handlers = handlers;
    io->context = context;
    io->handles = 1;
    io->message = sockets_receive;
    io->ended = sockets_close;
    io->engine = (struct engine_settings){
        .ping_interval_ms = settings->ping_interval_ms,
        .ping_timeout_ms = settings->ping_timeout_ms,
        .payload_bytes_max = settings->payload_bytes_max,
    };
    socketio_namespace(io, "/");
    http_route_raw(http, "/socket.io/", settings->payload_bytes_max, engine_before_body,
                   engine_request, io);
    http_route_raw(http, "/socket.io", settings->payload_bytes_max, engine_before_body,
                   engine_request, io);
    http_metrics_add(http, write_metrics, io);
    return io;
}

void socketio_namespace(struct socketio *io, const char *name)
{
    if (io->namespace_count < NAMESPACES_MAX)
        snprintf(io->namespaces[io->namespace_count++], SOCKETIO_NAMESPACE_ROOM, "%s", name);
}

void socketio_drain(struct socketio *io, const char *event, const cJSON *value)
{
    io->is_draining = true;
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++)
        for (struct client *client = io->clients[i]; client != NULL; client = client->next)
            for (unsigned n = 0; n < NAMESPACES_MAX; n++)
                if (client->sockets[n] != NULL)
                    socket_emit_all(&client->sockets[n], 1, event, value);
}

void socketio_close(struct socketio *io)
{
    io->is_draining = true;
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++)
        while (io->clients[i] != NULL)
            client_end(io->clients[i], "server disconnect");
    address_limits_clear(&io->address_limits);
    socketio_unref(io);
}

const struct socketio_counters *socketio_counters(const struct socketio *io)
{
    return &io->counters;
}
