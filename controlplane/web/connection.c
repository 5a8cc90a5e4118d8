/* One TCP connection: bytes in until a request is whole, bytes out, a deadline for each part. */
#define _GNU_SOURCE
#include "server.h"

#include <stdlib.h>

#include "websocket.h"

static void feed(struct connection *connection, const char *bytes, size_t count);
static void start_reading(struct connection *connection);
static void set_deadline(struct connection *connection, uint64_t timeout_ms);

/* ---- the end of a connection ---- */

static void handle_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct http_server *server = connection->server;

    if (--connection->handles > 0)
        return;
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    server->connection_count--;
    address_limits_release(&server->address_limits, connection->address_limit,
                           uv_now(server->loop));
    tls_server_free(connection->tls);
    free(connection->in);
    free(connection);
    server_unref(server);
}

void connection_close(struct connection *connection)
{
    enum connection_state state = connection->state;
    struct http_request *request = connection->request;
    struct websocket *websocket = connection->websocket;

    if (state == CONNECTION_CLOSING)
        return;
    connection->state = CONNECTION_CLOSING;
    connection->request = NULL;
    connection->websocket = NULL;
    uv_close((uv_handle_t *)&connection->tcp, handle_closed);
    uv_close((uv_handle_t *)&connection->timer, handle_closed);
    if (request != NULL && state == CONNECTION_BODY)
        http_request_free(request); /* no handler has seen it */
    else if (request != NULL)
        http_request_gone(request);
    if (websocket != NULL)
        websocket_lost(websocket);
}

static void shutdown_done(uv_shutdown_t *request, int status)
{
    free(request);
}

void connection_finish(struct connection *connection)
{
    uv_shutdown_t *request = malloc(sizeof(*request));

    if (connection->tls != NULL && connection->state != CONNECTION_CLOSING) {
        tls_server_say_goodbye(connection->tls);
        connection_flush_tls(connection);
    }
    if (connection->state == CONNECTION_CLOSING || request == NULL ||
        uv_shutdown(request, (uv_stream_t *)&connection->tcp, shutdown_done) != 0) {
        free(request);
        connection_close(connection);
        return;
    }
    /* Closing with unread bytes would reset the connection and take the last reply with it. */
    connection->state = CONNECTION_LINGER;
    connection->is_paused = false;
    connection->websocket = NULL;
    set_deadline(connection, HTTP_LINGER_MS);
    free(connection->in);
    connection->in = NULL;
    connection->in_bytes = connection->in_room = 0;
    start_reading(connection);
}

/* ---- deadlines ---- */

static void read_on(struct connection *connection)
{
    bool is_receiving = websocket_is_receiving(connection->websocket);

    connection->is_paused = false;
    connection_set_deadline(connection, is_receiving ? HTTP_BODY_TIMEOUT_MS : 0);
    start_reading(connection);
}

static void deadline_passed(uv_timer_t *timer)
{
    struct connection *connection = timer->data;
    struct http_counters *counters = &connection->server->counters;

    switch (connection->state) {
    case CONNECTION_HANDSHAKE:
        counters->tls_slow++;
        connection_close(connection);
        return;
    case CONNECTION_HEAD:
        if (connection->in_bytes == 0) {
            counters->heads_slow += !connection->had_request;
            connection_close(connection);
            return;
        }
        counters->heads_slow++;
        connection_refuse(connection, 408, "Request took too long");
        return;
    case CONNECTION_BODY: {
        struct http_request *request = connection->request;

        counters->bodies_slow++;
        connection->keep_alive = false;
        http_reply_error(request, 408, "Request took too long");
        return;
    }
    case CONNECTION_REPLY:
        counters->replies_slow++;
        break;
    case CONNECTION_WEBSOCKET:
        if (connection->is_paused && !connection->is_doomed) {
            read_on(connection);
            return;
        }
        counters->bodies_slow++;
        break;
    default:
        break;
    }
    connection_close(connection);
}

static void set_deadline(struct connection *connection, uint64_t timeout_ms)
{
    uv_timer_start(&connection->timer, deadline_passed, timeout_ms, 0);
}

/* Not at once: whoever writes is in the middle of something that a close would take away. */
void connection_close_soon(struct connection *connection)
{
    connection->is_doomed = true;
    set_deadline(connection, 0);
}

void connection_set_deadline(struct connection *connection, uint64_t timeout_ms)
{
    if (connection->is_doomed)
        return;
    if (timeout_ms == 0)
        uv_timer_stop(&connection->timer);
    else
        set_deadline(connection, timeout_ms);
}

/* ---- after a reply ---- */

static void next_request(struct connection *connection)
{
    char *in = connection->in;
    size_t count = connection->in_bytes;

    connection->state = CONNECTION_HEAD;
    connection->in = NULL;
    connection->in_bytes = connection->in_room = 0;
    set_deadline(connection, HTTP_IDLE_TIMEOUT_MS);
    if (count > 0)
        feed(connection, in, count);
    free(in);
    if (connection->state != CONNECTION_CLOSING)
        start_reading(connection);
}

void connection_replied(struct connection *connection)
{
    if (connection->keep_alive && !connection->half_closed && !connection->server->is_closing)
        next_request(connection);
    else
        connection_finish(connection);
}

/* ---- reading ---- */

/* Keeps bytes that cannot be used yet. */
static bool keep(struct connection *connection, const char *bytes, size_t count)
{
    size_t wanted = connection->in_bytes + count;

    if (count == 0)
        return true;
    if (wanted > connection->in_room) {
        size_t room = wanted < 512 ? 512 : wanted * 2;
        char *in = realloc(connection->in, room);

        if (in == NULL) {
            connection_close(connection);
            return false;
        }
        connection->in = in;
        connection->in_room = room;
    }
    memcpy(connection->in + connection->in_bytes, bytes, count);
    connection->in_bytes = wanted;
    return true;
}

static void forget_kept(struct connection *connection)
{
    free(connection->in);
    connection->in = NULL;
    connection->in_bytes = connection->in_room = 0;
}

/* A head that was refused: nothing that follows can be trusted to begin where it seems to. */
static const char *head_problem(int status)
{
    switch (status) {
    case 414:
        return "Request target is too long";
    case 417:
        return "Expectation cannot be met";
    case 431:
        return "Request headers are too large";
    case 501:
        return "Transfer coding is not supported";
    case 505:
        return "HTTP version is not supported";
    default:
        return "Malformed request";
    }
}

static void head_complete(struct connection *connection, const char *head, size_t head_bytes)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_request *request = http_request_open(connection, head, head_bytes);

    connection->had_request = true;
    forget_kept(connection);
    if (request == NULL)
        return;
    if (request->head.body == HTTP_BODY_NONE ||
        (request->head.body == HTTP_BODY_LENGTH && request->head.body_bytes == 0)) {
        connection->state = CONNECTION_HANDLER;
        uv_timer_stop(&connection->timer);
        http_request_dispatch(request);
        return;
    }
    connection->state = CONNECTION_BODY;
    connection->chunks = (struct http_chunks){0};
    set_deadline(connection, HTTP_BODY_TIMEOUT_MS);
    if (request->head.expect_continue)
        connection_write(connection, NULL, 0, go_on, sizeof(go_on) - 1, false);
}

/* Returns how many bytes were used. */
static size_t feed_head(struct connection *connection, const char *bytes, size_t count)
{
    struct http_head head;
    size_t kept = connection->in_bytes, take = count, used = 0;
    bool was_idle = kept == 0;
    int status;

    if (take > HTTP_HEAD_BYTES_MAX - kept)
        take = HTTP_HEAD_BYTES_MAX - kept;
    /* Only an end of line can complete anything; trying after every byte would cost the square. */
    if (memchr(bytes, '\n', take) == NULL && kept + take < HTTP_HEAD_BYTES_MAX) {
        status = 0;
    } else if (was_idle) {
        status = http_head_parse(bytes, take, &head, &used);
    } else {
        if (!keep(connection, bytes, take))
            return count;
        status = http_head_parse(connection->in, connection->in_bytes, &head, &used);
        connection->in_bytes = kept;
    }
    if (status == 0) {
        if (!keep(connection, bytes, take))
            return count;
        if (was_idle)
            set_deadline(connection, HTTP_HEAD_TIMEOUT_MS);
        return take;
    }
    if (status != 200) {
        connection->server->counters.heads_malformed++;
        forget_kept(connection);
        connection_refuse(connection, status, head_problem(status));
        return count;
    }
    if (was_idle) {
        head_complete(connection, bytes, used);
        return used;
    }
    head_complete(connection, connection->in, used);
    return used - kept;
}

static size_t feed_body(struct connection *connection, const char *bytes, size_t count)
{
    struct http_request *request = connection->request;
    size_t used = count, written = 0;
    bool complete = false;
    int status = 0;
    char *room;

    if (request->head.body == HTTP_BODY_LENGTH &&
        used > request->head.body_bytes - request->body_bytes)
        used = (size_t)request->head.body_bytes - request->body_bytes;
    room = http_request_body_room(request, used, &status);
    if (room != NULL && request->head.body == HTTP_BODY_CHUNKED) {
        status = http_chunks_read(&connection->chunks, bytes, used, &used, room, &written);
        request->body_bytes += written;
        complete = status == 200;
        status = request->body_bytes > request->body_bytes_max ? 413 : complete ? 0 : status;
    } else if (room != NULL) {
        memcpy(room, bytes, used);
        request->body_bytes += used;
        complete = request->body_bytes == request->head.body_bytes;
    }
    if (status != 0 || room == NULL) {
        connection->server->counters.bodies_too_large += status == 413;
        connection->server->counters.bodies_malformed += status == 400;
        connection->keep_alive = false;
        http_reply_error(request, status,
                         status == 413   ? "Body is too large"
                         : status == 503 ? "Out of memory"
                                         : "Malformed chunked body");
        return count;
    }
    if (complete) {
        connection->state = CONNECTION_HANDLER;
        uv_timer_stop(&connection->timer);
        if (request->body != NULL)
            request->body[request->body_bytes] = '\0';
        http_request_dispatch(request);
    }
    return used;
}

static void feed(struct connection *connection, const char *bytes, size_t count)
{
    while (count > 0) {
        size_t used = count;

        switch (connection->state) {
        case CONNECTION_HANDSHAKE: /* unseal's business */
        case CONNECTION_CLOSING:
            return;
        case CONNECTION_HEAD:
            used = feed_head(connection, bytes, count);
            break;
        case CONNECTION_BODY:
            used = feed_body(connection, bytes, count);
            break;
        case CONNECTION_HANDLER:
        case CONNECTION_REPLY:
            /* The next request, ahead of our reply (RFC 9112 9.3.2), or what was refused. */
            if (connection->state == CONNECTION_HANDLER || connection->keep_alive) {
                if (!keep(connection, bytes, count))
                    return;
                if (connection->in_bytes >= HTTP_HEAD_BYTES_MAX) {
                    uv_read_stop((uv_stream_t *)&connection->tcp);
                    connection->reading = false;
                }
            }
            break;
        case CONNECTION_WEBSOCKET:
            websocket_feed(connection->websocket, bytes, count);
            break;
        case CONNECTION_LINGER:
            connection->lingered_bytes += (uint32_t)count;
            if (connection->lingered_bytes > HTTP_LINGER_BYTES_MAX)
                connection_close(connection);
            break;
        }
        bytes += used;
        count -= used;
    }
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct connection *connection = handle->data;

    /* One for all: it is used up before the callback returns. */
    *buffer = uv_buf_init(connection->server->read_buffer, connection->state == CONNECTION_WEBSOCKET
                                                               ? WEBSOCKET_READ_BYTES
                                                               : HTTP_READ_BYTES);
}

/* The peer will send no more. */
static void stream_ended(struct connection *connection)
{
    struct http_request *request = connection->request;

    /* A client may say that it has no more to ask and still wait for the answer. A poll has its own
     * way to learn that nobody waits any more. */
    if (connection->state == CONNECTION_REPLY ||
        (connection->state == CONNECTION_HANDLER && request->gone == NULL)) {
        connection->half_closed = true;
        uv_read_stop((uv_stream_t *)&connection->tcp);
        connection->reading = false;
        return;
    }
    connection_close(connection);
}

/* True when the handshake is over. */
static bool shake_hands(struct connection *connection, const char *bytes, size_t count)
{
    struct http_server *server = connection->server;
    enum tls_server_verdict verdict;

    if (connection->tls == NULL && !tls_server_begins(bytes)) {
        server->counters.tls_plain++;
        connection->state = CONNECTION_HEAD;
        connection_refuse(connection, 400, "This port speaks HTTPS only: ask with https://");
        return false;
    }
    if (connection->tls == NULL)
        connection->tls = tls_server_new(certificate_current(server->certificate));
    if (connection->tls == NULL) {
        connection_close(connection);
        return false;
    }
    tls_server_feed(connection->tls, bytes, count);
    verdict = tls_server_handshake(connection->tls);
    connection_flush_tls(connection);
    if (verdict == TLS_DONE) {
        server->counters.tls_handshakes++;
        server->counters.tls_resumed += tls_server_is_resumed(connection->tls);
        connection->state = CONNECTION_HEAD;
        set_deadline(connection, HTTP_HEAD_TIMEOUT_MS);
        return true;
    }
    if (verdict != TLS_MORE) {
        server->counters.tls_failed++;
        connection_finish(connection); /* after the alert */
    }
    return false;
}

/* Bytes of a TLS connection. */
static void unseal(struct connection *connection, const char *bytes, size_t count)
{
    struct http_server *server = connection->server;
    enum tls_server_verdict verdict = TLS_DONE;
    size_t plain;

    if (connection->state == CONNECTION_HANDSHAKE) {
        if (!shake_hands(connection, bytes, count))
            return;
    } else {
        tls_server_feed(connection->tls, bytes, count);
    }
    while (verdict == TLS_DONE && connection->state != CONNECTION_CLOSING) {
        verdict = tls_server_read(connection->tls, server->plain_buffer, HTTP_READ_BYTES, &plain);
        if (verdict == TLS_DONE)
            feed(connection, server->plain_buffer, plain);
    }
    if (connection->state == CONNECTION_CLOSING)
        return;
    connection_flush_tls(connection);
    server->counters.tls_failed += verdict == TLS_FAILED;
    if (verdict == TLS_CLOSED)
        stream_ended(connection);
    else if (verdict == TLS_FAILED || uv_stream_get_write_queue_size(
                                          (uv_stream_t *)&connection->tcp) > HTTP_UNREAD_BYTES_MAX)
        connection_close(connection);
}

/* After what one read of a WebSocket brought: lets the others have the loop, and waits until the
 * client is entitled to what it said. */
static void pause_when_flooded(struct connection *connection)
{
    uint64_t now_us = uv_now(connection->server->loop) * 1000;
    uint64_t spent_us = connection->frames_spent_until_us;
    unsigned frames = connection->frames_read;

    connection->frames_read = 0;
    spent_us = (spent_us > now_us ? spent_us : now_us) + (uint64_t)frames * WEBSOCKET_FRAME_US;
    connection->frames_spent_until_us = spent_us;
    if (frames <= WEBSOCKET_TURN_FRAMES || connection->is_doomed)
        return;
    connection->is_paused = true;
    connection->reading = false;
    uv_read_stop((uv_stream_t *)&connection->tcp);
    if (spent_us <= now_us + WEBSOCKET_BURST_US) {
        set_deadline(connection, 1);
        return;
    }
    connection->server->counters.websocket_pauses++;
    set_deadline(connection, (spent_us - now_us - WEBSOCKET_BURST_US) / 1000 + 1);
}

static void bytes_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;

    bool is_sealed = connection->tls != NULL || connection->state == CONNECTION_HANDSHAKE;

    if (count > 0 && is_sealed && connection->state != CONNECTION_LINGER)
        unseal(connection, buffer->base, (size_t)count);
    else if (count > 0)
        feed(connection, buffer->base, (size_t)count);
    else if (count == UV_EOF)
        stream_ended(connection);
    else if (count < 0)
        connection_close(connection);
    if (connection->state == CONNECTION_WEBSOCKET)
        pause_when_flooded(connection);
}

static void start_reading(struct connection *connection)
{
    if (connection->reading)
        return;
    connection->reading = true;
    if (uv_read_start((uv_stream_t *)&connection->tcp, give_buffer, bytes_read) != 0)
        connection_close(connection);
}

/* ---- the beginning ---- */

struct connection *connection_new(struct http_server *server)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    if (connection == NULL)
        return NULL;
    connection->server = server;
    connection->handles = 2;
    connection->link = &server->connections;
    connection->next = server->connections;
    if (connection->next != NULL)
        connection->next->link = &connection->next;
    server->connections = connection;
    server->connection_count++;
    server->handles++;
    connection->state = CONNECTION_HEAD;
    uv_tcp_init(server->loop, &connection->tcp);
    uv_timer_init(server->loop, &connection->timer);
    connection->tcp.data = connection->timer.data = connection;
    return connection;
}

void connection_begin(struct connection *connection, bool is_tls)
{
    connection->state = is_tls ? CONNECTION_HANDSHAKE : CONNECTION_HEAD;
    set_deadline(connection, is_tls ? HTTP_HANDSHAKE_TIMEOUT_MS : HTTP_HEAD_TIMEOUT_MS);
    start_reading(connection);
}
