/* Clients: an Engine.IO session, the requests and the WebSocket that carry it, its timer. */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reply.h"
#include "request.h"

static void timer_passed(uv_timer_t *timer);

/* ---- memory ---- */

static struct client **client_bucket(struct socketio *io, struct slice sid)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < sid.bytes; i++)
        hash = (hash ^ (unsigned char)sid.at[i]) * 16777619u;
    return &io->clients[hash % CLIENT_BUCKETS];
}

struct client *client_find(struct socketio *io, struct slice sid)
{
    struct client *client = *client_bucket(io, sid);

    while (client != NULL && !slice_is(sid, client->engine.sid))
        client = client->next;
    return client;
}

void socketio_unref(struct socketio *io)
{
    if (--io->handles == 0)
        free(io);
}

struct client *client_ref(struct client *client)
{
    client->references++;
    return client;
}

void client_forget_pending(struct client *client)
{
    for (unsigned i = 0; i < client->attachment_count; i++)
        free((char *)client->attachments[i].bytes);
    client->attachment_count = 0;
    client->attachment_bytes = 0;
    socketio_packet_clear(&client->pending);
}

void client_unref(struct client *client)
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
    socketio_unref(io);
}

/* ---- the end ---- */

void client_release_post(struct client *client)
{
    struct http_request *request = client->post;

    client->post = NULL;
    if (request == NULL)
        return;
    http_on_gone(request, NULL, NULL);
    http_reply_bytes(request, 200, "text/html", "ok", 2);
}

/* Removes the client from the server and closes its sockets. */
static void finish(struct client *client)
{
    struct socketio *io = client->io;

    if (client->link == NULL)
        return;
    *client->link = client->next;
    if (client->next != NULL)
        client->next->link = client->link;
    client->link = NULL;
    client_release_post(client);
    address_limits_release(&io->address_limits, client->address_limit, uv_now(io->loop));
    io->counters.sessions_open--;
    uv_close((uv_handle_t *)&client->timer, handle_closed);
    io->ended(client, client->engine.close_reason);
}

void client_end(struct client *client, const char *reason)
{
    engine_abort(&client->engine, reason);
    finish(client);
}

void client_close(struct client *client, const char *reason)
{
    engine_close(&client->engine, reason, uv_now(client->io->loop));
    client_rearm(client);
}

/* ---- time ---- */

void client_rearm(struct client *client)
{
    struct socketio *io = client->io;
    uint64_t now_ms = uv_now(io->loop), until_ms = engine_deadline(&client->engine);

    if (client->is_closed)
        return;
    if (client->open_socket_count == 0 && client->connect_until_ms == 0)
        client->connect_until_ms = now_ms + io->settings->connect_timeout_ms;
    if (client->connect_until_ms != 0 && (until_ms == 0 || client->connect_until_ms < until_ms))
        until_ms = client->connect_until_ms;
    if (client->post != NULL && (until_ms == 0 || client->post_until_ms < until_ms))
        until_ms = client->post_until_ms;
    /* At least 1 ms: a deadline in the past that stays there would keep the loop busy for ever. */
    uv_timer_start(&client->timer, timer_passed, until_ms > now_ms ? until_ms - now_ms : 1, 0);
}

static void timer_passed(uv_timer_t *timer)
{
    struct client *client = timer->data;
    uint64_t now_ms = uv_now(client->io->loop);

    if (client->is_closed) {
        finish(client);
        return;
    }
    if (client->post != NULL && now_ms >= client->post_until_ms)
        client_release_post(client);
    if (client->connect_until_ms != 0 && now_ms >= client->connect_until_ms) {
        client->io->counters.timeouts++;
        engine_close(&client->engine, "connect timeout", now_ms);
        client->connect_until_ms = 0;
    }
    engine_tick(&client->engine, now_ms);
    client_rearm(client);
}

/* ---- packets ---- */

void client_allow_messages(struct client *client)
{
    bool is_known = client->open_socket_count > 0;

    if (client->websocket != NULL && !client->is_probe)
        websocket_set_message_max(client->websocket,
                                  is_known ? client->io->settings->payload_bytes_max
                                           : FIRST_MESSAGE_BYTES_MAX,
                                  is_known, client->account);
}

void client_send(struct client *client, struct engine_packet *packet)
{
    if (packet == NULL)
        engine_abort(&client->engine, "transport error");
    else
        engine_send(&client->engine, packet);
    engine_packet_unref(packet);
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
    /* A client that does not read will not read a close frame. */
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

/* The sockets are told on the next turn of the loop: our caller is in the middle of its work on
 * this client. */
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

/* ---- its WebSocket ---- */

static void websocket_message(void *context, const char *bytes, size_t count, bool is_binary)
{
    struct client *client = context;

    client_ref(client);
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

const struct websocket_handlers client_websocket_handlers = {
    .message = websocket_message,
    .closed = websocket_closed,
};

/* ---- the beginning ---- */

static void refuse_session(struct socketio *io, struct http_request *request,
                           enum address_verdict verdict)
{
    bool is_out_of_memory = verdict == ADDRESS_NO_MEMORY;

    io->counters.sessions_while_draining += io->is_draining;
    io->counters.sessions_over_address += !io->is_draining && !is_out_of_memory;
    http_reply_header(request, "Retry-After", "10");
    if (io->is_draining)
        http_reply_error(request, 503, "The server is about to stop");
    else if (is_out_of_memory)
        http_reply_error(request, 503, "Out of memory, try again");
    else
        http_reply_error(request, 429, "Too many sessions from your address");
}

struct client *client_new(struct socketio *io, struct http_request *request)
{
    struct client *client = calloc(1, sizeof(*client));
    struct address address = {{0}};
    enum address_verdict verdict = ADDRESS_OVER_COUNT; /* draining */
    char sid[SID_ROOM];

    if (client == NULL) {
        refuse_session(io, request, ADDRESS_NO_MEMORY);
        return NULL;
    }
    snprintf(client->ip, sizeof(client->ip), "%s", http_client_ip(request));
    address_parse(client->ip, &address);
    if (http_bearer(request) != NULL && (client->bearer = strdup(http_bearer(request))) == NULL)
        verdict = ADDRESS_NO_MEMORY;
    else if (!io->is_draining)
        verdict =
            address_limits_take(&io->address_limits, address, io->settings->sockets_per_address_max,
                                0, uv_now(io->loop), &client->address_limit);
    if (verdict != ADDRESS_ALLOWED) {
        free(client->bearer);
        free(client);
        refuse_session(io, request, verdict);
        return NULL;
    }
    client->io = io;
    client->references = 1;
    client->account = BUDGET_NO_SLOT;
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

/* engine_open zeroes the engine and with it the session id: it needs a copy. */
void client_open(struct client *client, enum engine_transport transport)
{
    char sid[SID_ROOM];

    memcpy(sid, client->engine.sid, sizeof(sid));
    engine_open(&client->engine, &client->io->engine, &engine_output, client, transport, sid,
                uv_now(client->io->loop));
    client_rearm(client);
}
