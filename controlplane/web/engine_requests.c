/* Answers the HTTP requests of Engine.IO. */
#include "engine_requests.h"

#include <stdlib.h>

#include "client.h"
#include "json.h"
#include "reply.h"
#include "request.h"

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
    cJSON *body = json_new_object();

    ++*refused[error];
    cJSON_AddNumberToObject(body, "code", error);
    cJSON_AddStringToObject(body, "message", engine_error_text(error));
    http_reply_json(request, 400, body);
}

/* ---- GET: a poll ---- */

static void poll_gone(void *context)
{
    struct client *client = context;
    struct http_request *request = client->poll;

    client->poll = NULL;
    engine_poll_gone(&client->engine);
    http_reply_bytes(request, 200, "text/plain", "",
                     0); /* the client has gone: only frees the request */
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

/* ---- POST ---- */

static void post_gone(void *context)
{
    struct client *client = context;

    client_release_post(client); /* the client has gone: only frees the request */
}

/* A client that sends more packets than its share (the same share as on a WebSocket) gets its reply
 * later. It sends one body at a time, so the late reply slows it down. */
static void post_answer(struct client *client, struct http_request *request, uint64_t wait_us)
{
    uint64_t now_us = uv_now(client->io->loop) * 1000;
    uint64_t until_us = now_us + wait_us, spent_us;

    spent_us = websocket_spent_us(client->posted_until_us, now_us, client->post_packets,
                                  request->body_bytes);
    client->posted_until_us = spent_us;
    if (until_us < spent_us - WEBSOCKET_BURST_US)
        until_us = spent_us - WEBSOCKET_BURST_US;
    client->post = request;
    if (until_us <= now_us || client->is_closed) {
        client_release_post(client);
        return;
    }
    client->io->counters.posts_delayed++;
    client->post_until_ms = until_us / 1000 + 1;
    http_on_gone(request, post_gone, client);
}

static void client_post(struct client *client, struct http_request *request)
{
    struct slice type = http_field(&request->head, "content-type");
    bool ok;

    if (slice_is_nocase(type, "application/octet-stream")) {
        /* Only version 3 had binary bodies; version 4 has base64 in text. */
        engine_abort(&client->engine, "transport error");
        refuse(request, ENGINE_BAD_REQUEST);
        return;
    }
    if (client->post != NULL) {
        engine_abort(&client->engine, "transport error"); /* two POSTs at once */
        refuse(request, ENGINE_BAD_REQUEST);
        return;
    }
    client_ref(client);
    client->post_packets = 0;
    ok = engine_post(&client->engine, request->body == NULL ? "" : request->body,
                     request->body_bytes, uv_now(client->io->loop));
    if (ok)
        post_answer(client, request, http_request_spend(request, client->post_packets));
    else
        refuse(request, ENGINE_BAD_REQUEST);
    client_rearm(client);
    client_unref(client);
}

/* ---- WebSocket ---- */

/* For a WebSocket that is not wanted: it is closed as soon as it is open. */
static void ignore_message(void *context, const char *bytes, size_t count, bool is_binary)
{
}

static void ignore_closed(void *context, bool peer_closed)
{
}

static const struct websocket_handlers ignore_handlers = {ignore_message, ignore_closed};

static void client_upgrade(struct client *client, struct http_request *request)
{
    struct socketio *io = client->io;
    struct websocket *websocket;

    if (client->websocket != NULL || !engine_probe_open(&client->engine, uv_now(io->loop))) {
        websocket =
            websocket_accept(request, &ignore_handlers, NULL, io->settings->payload_bytes_max);
        if (websocket != NULL)
            websocket_close(websocket, 1000);
        return;
    }
    client->is_probe = true;
    client->websocket =
        websocket_accept(request, &client_websocket_handlers, client, FIRST_MESSAGE_BYTES_MAX);
    if (client->websocket == NULL)
        engine_link_gone(&client->engine, ENGINE_PROBE_LINK, false);
    client_rearm(client);
}

/* ---- a new session ---- */

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
    client->websocket =
        websocket_accept(request, &client_websocket_handlers, client, FIRST_MESSAGE_BYTES_MAX);
    client_open(client, ENGINE_WEBSOCKET);
    if (client->websocket == NULL)
        engine_abort(&client->engine,
                     "transport error"); /* the malformed handshake has been answered */
}

bool engine_before_body(struct http_request *request)
{
    struct socketio *io = http_context(request);
    struct slice transport = http_query(request->head.query, "transport");
    struct slice sid = http_query(request->head.query, "sid");
    struct client *client = client_find(io, sid);
    bool is_polling = slice_is(transport, "polling");
    enum engine_error error = ENGINE_FINE;

    if (!is_polling && !slice_is(transport, "websocket"))
        error = ENGINE_UNKNOWN_TRANSPORT;
    else if (sid.at == NULL)
        error = slice_is(request->head.method, "GET") ? ENGINE_BAD_REQUEST : ENGINE_BAD_METHOD;
    else if (client == NULL || client->is_closed)
        error = ENGINE_UNKNOWN_SID;
    else if (!is_polling || !slice_is(request->head.method, "POST") ||
             client->engine.transport != ENGINE_POLLING)
        error = ENGINE_BAD_REQUEST;
    if (error != ENGINE_FINE) {
        request->connection->keep_alive = false; /* the body is still on its way */
        refuse(request, error);
        return false;
    }
    if (client->open_socket_count > 0) {
        struct connection *connection = &request->connection->connection;

        budget_move(&connection->shared->budgets, &connection->share, connection->share.slot, true);
        connection->share.account = client->account;
    } else if (request->body_bytes_max > FIRST_MESSAGE_BYTES_MAX) {
        request->body_bytes_max = FIRST_MESSAGE_BYTES_MAX;
    }
    return true;
}

void engine_request(struct http_request *request)
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
