/* The Socket.IO server: Engine.IO sessions bound to HTTP requests, WebSockets and the clock. */
#include "sockets.h"

#include <stdio.h>
#include <stdlib.h>

static void timer_passed(uv_timer_t *timer);

/* ---- clients ---- */

static struct client **client_bucket(struct socketio *io, struct slice sid)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < sid.bytes; i++)
        hash = (hash ^ (unsigned char)sid.at[i]) * 16777619u;
    return &io->clients[hash % CLIENT_BUCKETS];
}

static struct client *client_find(struct socketio *io, struct slice sid)
{
    struct client *client = *client_bucket(io, sid);

    while (client != NULL && !slice_is(sid, client->engine.sid))
        client = client->next;
    return client;
}

static void client_unref(struct client *client)
{
    if (--client->references > 0)
        return;
    engine_free(&client->engine);
    client_forget_pending(client);
    free(client->bearer);
    free(client);
}

static void handle_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    struct socketio *io = client->io;

    client_unref(client);
    if (--io->handles == 0)
        free(io);
}

void client_rearm(struct client *client)
{
    struct socketio *io = client->io;
    uint64_t now_ms = uv_now(io->loop), until_ms = engine_deadline(&client->engine);
    bool has_socket = false;

    if (client->is_closed)
        return;
    for (unsigned i = 0; i < NAMESPACES_MAX; i++)
        has_socket |= client->sockets[i] != NULL && client->sockets[i]->state == SOCKET_OPEN;
    if (!has_socket && client->connect_until_ms == 0)
        client->connect_until_ms = now_ms + io->settings->connect_timeout_ms;
    if (client->connect_until_ms != 0 && (until_ms == 0 || client->connect_until_ms < until_ms))
        until_ms = client->connect_until_ms;
    if (client->post != NULL && (until_ms == 0 || client->post_until_ms < until_ms))
        until_ms = client->post_until_ms;
    /* Never at once: a deadline that nothing moved would keep the loop from everything else. */
    uv_timer_start(&client->timer, timer_passed, until_ms > now_ms ? until_ms - now_ms : 1, 0);
}

static void post_release(struct client *client)
{
    struct http_request *request = client->post;

    client->post = NULL;
    if (request == NULL)
        return;
    http_on_gone(request, NULL, NULL);
    http_reply_bytes(request, 200, "text/html", "ok", 2);
}

/* Tells the sockets and lets go of the client. */
static void client_end(struct client *client)
{
    struct socketio *io = client->io;

    if (client->link == NULL)
        return;
    *client->link = client->next;
    if (client->next != NULL)
        client->next->link = client->link;
    client->link = NULL;
    post_release(client);
    address_limits_release(&io->address_limits, client->address_limit, uv_now(io->loop));
    io->counters.sessions_open--;
    uv_close((uv_handle_t *)&client->timer, handle_closed);
    for (unsigned i = 0; i < NAMESPACES_MAX; i++)
        if (client->sockets[i] != NULL)
            socket_end(client->sockets[i], client->engine.close_reason);
}

static void timer_passed(uv_timer_t *timer)
{
    struct client *client = timer->data;
    uint64_t now_ms = uv_now(client->io->loop);

    if (client->is_closed) {
        client_end(client);
        return;
    }
    if (client->post != NULL && now_ms >= client->post_until_ms)
        post_release(client);
    if (client->connect_until_ms != 0 && now_ms >= client->connect_until_ms) {
        client->io->counters.timeouts++;
        engine_close(&client->engine, "connect timeout", now_ms);
        client->connect_until_ms = 0;
    }
    engine_tick(&client->engine, now_ms);
    client_rearm(client);
}

void client_allow_messages(struct client *client)
{
    bool is_known = false;

    for (unsigned i = 0; i < NAMESPACES_MAX; i++)
        is_known |= client->sockets[i] != NULL && client->sockets[i]->state == SOCKET_OPEN;
    if (is_known && client->websocket != NULL && !client->is_probe)
        websocket_set_message_max(client->websocket, client->io->settings->payload_bytes_max);
}

void client_send(struct client *client, struct engine_packet *packet)
{
    if (packet == NULL)
        engine_abort(&client->engine, "transport error");
    else
        engine_send(&client->engine, packet);
    engine_packet_unref(packet);
}

void client_close(struct client *client, const char *reason)
{
    engine_close(&client->engine, reason, uv_now(client->io->loop));
    client_rearm(client);
}

/* ---- what the engine asks for ---- */

static void out_poll(void *owner, const char *body, size_t bytes)
{
    struct client *client = owner;
    struct http_request *request = client->poll;

    client->poll = NULL;
    if (request != NULL)
        http_reply_bytes(request, 200, "text/plain; charset=UTF-8", body, bytes);
}

static bool out_frame(void *owner, enum engine_link link, struct engine_packet *packet)
{
    struct client *client = owner;

    return client->websocket == NULL || websocket_send(client->websocket, packet);
}

static void out_link_close(void *owner, enum engine_link link)
{
    struct client *client = owner;
    struct websocket *websocket = client->websocket;

    client->websocket = NULL;
    if (websocket == NULL)
        return;
    /* Who does not read will not read a close either. */
    if (client->engine.state == ENGINE_CLOSED &&
        strcmp(client->engine.close_reason, "slow reader") == 0)
        websocket_abort(websocket);
    else
        websocket_close(websocket, 1000);
}

static void out_upgraded(void *owner)
{
    struct client *client = owner;

    client->is_probe = false;
    client->io->counters.upgrades++;
    client_allow_messages(client);
}

static void out_message(void *owner, const char *bytes, size_t count, bool is_binary)
{
    struct client *client = owner;

    client->post_packets++;
    if (!client->io->message(client, bytes, count, is_binary))
        engine_abort(&client->engine, "parse error");
}

/* Sockets hear of it on the next turn of the loop: whoever caused this is in the middle of
 * something. */
static void out_closed(void *owner, const char *reason)
{
    struct client *client = owner;
    struct socketio_counters *counters = &client->io->counters;

    client->is_closed = true;
    counters->timeouts += strcmp(reason, "ping timeout") == 0;
    counters->protocol_errors +=
        strcmp(reason, "parse error") == 0 || strcmp(reason, "transport error") == 0;
    counters->slow_readers += strcmp(reason, "slow reader") == 0;
    if (!uv_is_closing((uv_handle_t *)&client->timer))
        uv_timer_start(&client->timer, timer_passed, 0, 0);
}

static const struct engine_output engine_output = {
    .poll = out_poll,
    .frame = out_frame,
    .link_close = out_link_close,
    .upgraded = out_upgraded,
    .message = out_message,
    .closed = out_closed,
};

/* ---- WebSockets ---- */

static void websocket_message(void *context, const char *bytes, size_t count, bool is_binary)
{
    struct client *client = context;

    client->references++;
    engine_frame(&client->engine, client->is_probe ? ENGINE_PROBE_LINK : ENGINE_LINK, bytes, count,
                 is_binary, uv_now(client->io->loop));
    client_rearm(client);
    client_unref(client);
}

static void websocket_closed(void *context, bool peer_closed)
{
    struct client *client = context;

    client->websocket = NULL;
    engine_link_gone(&client->engine, client->is_probe ? ENGINE_PROBE_LINK : ENGINE_LINK,
                     peer_closed);
    client_rearm(client);
}

static const struct websocket_handlers link_handlers = {
    .message = websocket_message,
    .closed = websocket_closed,
};

/* One that is not wanted: closed as soon as it is open. */
static void nobody_message(void *context, const char *bytes, size_t count, bool is_binary)
{
}

static void nobody_closed(void *context, bool peer_closed)
{
}

static const struct websocket_handlers nobody_handlers = {nobody_message, nobody_closed};

/* ---- requests ---- */

static void refuse(struct http_request *request, enum engine_error error)
{
    struct socketio_counters *counters = &((struct socketio *)http_context(request))->counters;
    uint64_t *const refused[] = {
        [ENGINE_UNKNOWN_TRANSPORT] = &counters->refused_unknown_transport,
        [ENGINE_UNKNOWN_SID] = &counters->refused_unknown_sid,
        [ENGINE_BAD_METHOD] = &counters->refused_bad_method,
        [ENGINE_BAD_REQUEST] = &counters->refused_bad_request,
        [ENGINE_FORBIDDEN] = &counters->refused_forbidden,
        [ENGINE_UNSUPPORTED_VERSION] = &counters->refused_unsupported_version,
    };
    cJSON *body = cJSON_CreateObject();

    ++*refused[error];

    cJSON_AddNumberToObject(body, "code", error);
    cJSON_AddStringToObject(body, "message", engine_error_text(error));
    http_reply_json(request, 400, body);
}

/* A session without its link yet; NULL: answered. */
static struct client *client_new(struct socketio *io, struct http_request *request)
{
    struct client *client = calloc(1, sizeof(*client));
    struct address address = {{0}};
    char sid[SID_ROOM];

    if (client == NULL) {
        http_reply_error(request, 503, "Out of memory");
        return NULL;
    }
    snprintf(client->ip, sizeof(client->ip), "%s", http_client_ip(request));
    address_parse(client->ip, &address);
    if (io->is_draining ||
        address_limits_take(&io->address_limits, address, io->settings->sockets_per_address_max, 0,
                            uv_now(io->loop), &client->address_limit) != ADDRESS_ALLOWED) {
        free(client);
        http_header(request, "Retry-After", "10");
        if (io->is_draining)
            http_reply_error(request, 503, "The server is about to stop");
        else
            http_reply_error(request, 429, "Too many sessions from your address");
        io->counters.sessions_while_draining += io->is_draining;
        io->counters.sessions_over_address += !io->is_draining;
        return NULL;
    }
    client->io = io;
    client->references = 1;
    if (http_bearer(request) != NULL)
        client->bearer = strdup(http_bearer(request));
    uv_timer_init(io->loop, &client->timer);
    client->timer.data = client;
    io->handles++;
    io->counters.connections++;
    io->counters.sessions_open++;
    sid_make(sid);
    client->link = client_bucket(io, slice_of(sid));
    client->next = *client->link;
    if (client->next != NULL)
        client->next->link = &client->next;
    *client->link = client;
    snprintf(client->engine.sid, sizeof(client->engine.sid), "%s", sid);
    return client;
}

/* engine_open writes the sid again; it comes from a copy because the engine starts from zero. */
static void client_open(struct client *client, enum engine_transport transport)
{
    char sid[SID_ROOM];

    memcpy(sid, client->engine.sid, sizeof(sid));
    engine_open(&client->engine, &client->io->engine, &engine_output, client, transport, sid,
                uv_now(client->io->loop));
    client_rearm(client);
}

static void client_poll(struct client *client, struct http_request *request);

static void open_session(struct socketio *io, struct http_request *request, bool is_websocket)
{
    struct client *client;

    if (!slice_is(request->head.method, "GET")) {
        refuse(request, ENGINE_BAD_METHOD);
        return;
    }
    if (is_websocket != websocket_wanted(request)) {
        refuse(request, ENGINE_BAD_REQUEST);
        return;
    }
    if (!slice_is(http_query(request->head.query, "EIO"), "4")) {
        refuse(request, ENGINE_UNSUPPORTED_VERSION);
        return;
    }
    client = client_new(io, request);
    if (client == NULL)
        return;
    if (!is_websocket) {
        client_open(client, ENGINE_POLLING);
        client_poll(client, request);
        return;
    }
    client->websocket = websocket_accept(request, &link_handlers, client, FIRST_MESSAGE_BYTES_MAX);
    client_open(client, ENGINE_WEBSOCKET);
    if (client->websocket == NULL)
        engine_abort(&client->engine, "transport error"); /* a bad handshake, answered already */
}

static void poll_gone(void *context)
{
    struct client *client = context;
    struct http_request *request = client->poll;

    client->poll = NULL;
    engine_poll_gone(&client->engine);
    http_reply_bytes(request, 200, "text/plain", "", 0); /* to nobody */
}

static void client_poll(struct client *client, struct http_request *request)
{
    bool is_second = client->poll != NULL;

    if (!is_second) {
        client->poll = request;
        http_on_gone(request, poll_gone, client);
    }
    if (!engine_poll(&client->engine, uv_now(client->io->loop))) {
        if (!is_second)
            client->poll = NULL;
        http_on_gone(request, NULL, NULL);
        refuse(request, ENGINE_BAD_REQUEST);
    }
    client_rearm(client);
}

static void post_gone(void *context)
{
    struct client *client = context;

    post_release(client); /* to nobody */
}

/* As with a WebSocket that says much: it may say more when it is entitled to what it said. A client
 * posts one body at a time, so the answer is what slows it down. */
static void post_answer(struct client *client, struct http_request *request)
{
    uint64_t now_us = uv_now(client->io->loop) * 1000, spent_us = client->posted_until_us;

    spent_us = (spent_us > now_us ? spent_us : now_us) +
               (uint64_t)client->post_packets * WEBSOCKET_FRAME_US;
    client->posted_until_us = spent_us;
    client->post = request;
    if (spent_us <= now_us + WEBSOCKET_BURST_US || client->is_closed) {
        post_release(client);
        return;
    }
    client->io->counters.posts_delayed++;
    client->post_until_ms = (spent_us - WEBSOCKET_BURST_US) / 1000 + 1;
    http_on_gone(request, post_gone, client);
}

static void client_post(struct client *client, struct http_request *request)
{
    struct slice type = http_field(&request->head, "content-type");
    bool ok;

    if (slice_is_nocase(type, "application/octet-stream")) {
        /* Binary payloads were version 3's; now they are base64 in text. */
        engine_abort(&client->engine, "transport error");
        refuse(request, ENGINE_BAD_REQUEST);
        return;
    }
    if (client->post != NULL) {
        engine_abort(&client->engine, "transport error"); /* two at once */
        refuse(request, ENGINE_BAD_REQUEST);
        return;
    }
    client->references++;
    client->post_packets = 0;
    ok = engine_post(&client->engine, request->body == NULL ? "" : request->body,
                     request->body_bytes, uv_now(client->io->loop));
    if (ok)
        post_answer(client, request);
    else
        refuse(request, ENGINE_BAD_REQUEST);
    client_rearm(client);
    client_unref(client);
}

static void client_upgrade(struct client *client, struct http_request *request)
{
    struct socketio *io = client->io;
    struct websocket *websocket;

    if (client->websocket != NULL || !engine_probe_open(&client->engine, uv_now(io->loop))) {
        websocket =
            websocket_accept(request, &nobody_handlers, NULL, io->settings->payload_bytes_max);
        if (websocket != NULL)
            websocket_close(websocket, 1000);
        return;
    }
    client->is_probe = true;
    client->websocket = websocket_accept(request, &link_handlers, client, FIRST_MESSAGE_BYTES_MAX);
    if (client->websocket == NULL)
        engine_link_gone(&client->engine, ENGINE_PROBE_LINK, false);
    client_rearm(client);
}

static void take_request(struct http_request *request)
{
    struct socketio *io = http_context(request);
    struct slice transport = http_query(request->head.query, "transport");
    struct slice sid = http_query(request->head.query, "sid");
    bool is_websocket = slice_is(transport, "websocket");
    struct client *client;

    if (!is_websocket && !slice_is(transport, "polling")) {
        refuse(request, ENGINE_UNKNOWN_TRANSPORT);
        return;
    }
    if (sid.at == NULL) {
        open_session(io, request, is_websocket);
        return;
    }
    client = client_find(io, sid);
    if (client == NULL || client->is_closed)
        refuse(request, ENGINE_UNKNOWN_SID);
    else if (is_websocket && websocket_wanted(request))
        client_upgrade(client, request);
    else if (is_websocket || websocket_wanted(request))
        refuse(request, ENGINE_BAD_REQUEST);
    else if (slice_is(request->head.method, "GET"))
        client_poll(client, request);
    else if (slice_is(request->head.method, "POST"))
        client_post(client, request);
    else
        refuse(request, ENGINE_BAD_REQUEST);
}

/* ---- the server ---- */

static void tell_metrics(struct metrics *metrics, void *context)
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
    io->http = http;
    io->loop = http->loop;
    io->settings = settings;
    io->handlers = handlers;
    io->context = context;
    io->handles = 1;
    io->message = client_message;
    io->engine = (struct engine_settings){
        .ping_interval_ms = settings->ping_interval_ms,
        .ping_timeout_ms = settings->ping_timeout_ms,
        .payload_bytes_max = settings->payload_bytes_max,
    };
    socketio_namespace(io, "/");
    http_route_raw(http, "/socket.io/", settings->payload_bytes_max, take_request, io);
    http_route_raw(http, "/socket.io", settings->payload_bytes_max, take_request, io);
    http_metrics_add(http, tell_metrics, io);
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
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++) {
        while (io->clients[i] != NULL) {
            struct client *client = io->clients[i];

            engine_abort(&client->engine, "server disconnect");
            client_end(client);
        }
    }
    address_limits_clear(&io->address_limits);
    if (--io->handles == 0)
        free(io);
}

const struct socketio_counters *socketio_counters(const struct socketio *io)
{
    return &io->counters;
}
