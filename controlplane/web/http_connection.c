/* Reads HTTP/1.1 requests from a connection. */
#define _GNU_SOURCE
#include "http_connection.h"

#include <stdlib.h>
#include <string.h>

#include "dispatch.h"
#include "reply.h"
#include "request.h"
#include "server.h"

/* ---- bytes that cannot be used yet ---- */

bool http_connection_hold(struct http_connection *http)
{
    const struct http_request *request = http->request;

    return connection_hold(&http->connection,
                           http->kept_room +
                               (request == NULL ? 0 : request->head_bytes + request->body_room));
}

static void refuse_to_keep(struct http_connection *http)
{
    if (http->state == HTTP_HEAD)
        http_refuse(http, 429, "Your address has too many unfinished requests");
    else
        connection_close(&http->connection);
}

static bool keep(struct http_connection *http, const char *bytes, size_t count)
{
    size_t wanted = http->kept_bytes + count;

    if (count == 0)
        return true;
    if (wanted > http->kept_room) {
        size_t room = wanted < 512 ? 512 : wanted * 2, had = http->kept_room;
        char *kept;

        http->kept_room = room;
        if (!http_connection_hold(http)) {
            http->kept_room = had;
            refuse_to_keep(http);
            return false;
        }
        kept = realloc(http->kept, room);
        if (kept == NULL) {
            http->kept_room = had;
            connection_close(&http->connection);
            return false;
        }
        http->kept = kept;
    }
    memcpy(http->kept + http->kept_bytes, bytes, count);
    http->kept_bytes = wanted;
    return true;
}

static void forget_kept(struct http_connection *http)
{
    free(http->kept);
    http->kept = NULL;
    http->kept_bytes = http->kept_room = 0;
    http_connection_hold(http);
}

/* ---- the head ---- */

/* After a refused head the connection ends, because the start of the next request is unknown. */
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

static void run_handler(struct http_connection *http)
{
    http->state = HTTP_HANDLER;
    connection_set_deadline(&http->connection, 0);
    dispatch_request(http->request);
}

static void head_complete(struct http_connection *http, const char *head, size_t head_bytes)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_request *request = dispatch_head(http, head, head_bytes);

    http->had_request = true;
    forget_kept(http);
    if (request == NULL)
        return;
    if (request->head.body == HTTP_BODY_NONE ||
        (request->head.body == HTTP_BODY_LENGTH && request->head.body_bytes == 0)) {
        run_handler(http);
        return;
    }
    http->state = HTTP_BODY;
    http->chunks = (struct http_chunks){0};
    connection_set_deadline(&http->connection, HTTP_BODY_TIMEOUT_MS);
    if (request->head.expect_continue)
        connection_write(&http->connection, NULL, 0, go_on, sizeof(go_on) - 1, false);
}

/* Returns how many bytes were used. */
static size_t take_head(struct http_connection *http, const char *bytes, size_t count)
{
    struct http_head head;
    size_t kept = http->kept_bytes, take = count, used = 0;
    bool was_idle = kept == 0;
    int status;

    if (take > HTTP_HEAD_BYTES_MAX - kept)
        take = HTTP_HEAD_BYTES_MAX - kept;
    /* Only an end of line can complete a head. To parse again after every byte would cost the
     * square of its length. */
    if (memchr(bytes, '\n', take) == NULL && kept + take < HTTP_HEAD_BYTES_MAX) {
        status = 0;
    } else if (was_idle) {
        status = http_head_parse(bytes, take, &head, &used);
    } else {
        if (!keep(http, bytes, take))
            return count;
        status = http_head_parse(http->kept, http->kept_bytes, &head, &used);
        http->kept_bytes = kept;
    }
    if (status == 0) {
        if (!keep(http, bytes, take))
            return count;
        if (was_idle)
            connection_set_deadline(&http->connection, HTTP_HEAD_TIMEOUT_MS);
        return take;
    }
    if (status != 200) {
        http->server->shared.counters.heads_malformed++;
        forget_kept(http);
        http_refuse(http, status, head_problem(status));
        return count;
    }
    if (was_idle) {
        head_complete(http, bytes, used);
        return used;
    }
    head_complete(http, http->kept, used);
    return used - kept;
}

/* ---- the body ---- */

static size_t take_body(struct http_connection *http, const char *bytes, size_t count)
{
    struct http_request *request = http->request;
    size_t used = count, written = 0;
    bool complete = false;
    int status = 0;
    char *room;

    if (request->head.body == HTTP_BODY_LENGTH &&
        used > request->head.body_bytes - request->body_bytes)
        used = (size_t)request->head.body_bytes - request->body_bytes;
    room = http_request_body_room(request, used, &status);
    if (room != NULL && request->head.body == HTTP_BODY_CHUNKED) {
        status = http_chunks_read(&http->chunks, bytes, used, &used, room, &written);
        request->body_bytes += written;
        complete = status == 200;
        status = request->body_bytes > request->body_bytes_max ? 413 : complete ? 0 : status;
    } else if (room != NULL) {
        memcpy(room, bytes, used);
        request->body_bytes += used;
        complete = request->body_bytes == request->head.body_bytes;
    }
    if (status != 0 || room == NULL) {
        http->server->shared.counters.bodies_too_large += status == 413;
        http->server->shared.counters.bodies_malformed += status == 400;
        http->keep_alive = false;
        if (status == 429)
            http_reply_header(request, "Retry-After", "10");
        http_reply_error(request, status,
                         status == 413   ? "Body is too large"
                         : status == 429 ? "Your address has too many unfinished requests"
                         : status == 503 ? "Out of memory"
                                         : "Malformed chunked body");
        return count;
    }
    if (complete) {
        if (request->body != NULL)
            request->body[request->body_bytes] = '\0';
        run_handler(http);
    }
    return used;
}

/* ---- what the connection tells ---- */

static size_t received(void *context, const char *bytes, size_t count)
{
    struct http_connection *http = context;

    switch (http->state) {
    case HTTP_HEAD:
        return take_head(http, bytes, count);
    case HTTP_BODY:
        return take_body(http, bytes, count);
    case HTTP_REPLY:
        if (!http->keep_alive)
            return count; /* the rest of a refused request */
        break;
    case HTTP_HANDLER:
        break;
    }
    /* The client sent its next request before our reply (RFC 9112 9.3.2). */
    if (keep(http, bytes, count) && http->kept_bytes >= HTTP_HEAD_BYTES_MAX)
        connection_stop_reading(&http->connection);
    return count;
}

static void next_request(struct http_connection *http)
{
    char *kept = http->kept;
    size_t count = http->kept_bytes;

    http->state = HTTP_HEAD;
    http->kept = NULL;
    http->kept_bytes = http->kept_room = 0;
    connection_set_deadline(&http->connection, http->server->settings->keep_alive_s * 1000);
    connection_deliver(&http->connection, kept, count);
    free(kept);
    if (http->connection.state != CONNECTION_CLOSING)
        connection_start_reading(&http->connection);
}

static void reply_written(void *context)
{
    struct http_connection *http = context;

    if (http->keep_alive && !http->half_closed && !http->server->is_closing) {
        next_request(http);
        return;
    }
    forget_kept(http);
    connection_finish(&http->connection);
}

/* A client may end its side after its request and still wait for the reply. A handler that waits
 * for an event (`gone` is set) wants to know instead that the client has gone. */
static void peer_finished(void *context)
{
    struct http_connection *http = context;

    if (http->state == HTTP_REPLY || (http->state == HTTP_HANDLER && http->request->gone == NULL)) {
        http->half_closed = true;
        connection_stop_reading(&http->connection);
        return;
    }
    connection_close(&http->connection);
}

static void deadline_passed(void *context)
{
    struct http_connection *http = context;
    struct http_counters *counters = &http->server->shared.counters;

    switch (http->state) {
    case HTTP_HEAD:
        if (http->kept_bytes > 0) {
            counters->heads_slow++;
            http_refuse(http, 408, "Request took too long");
            return;
        }
        counters->heads_slow += !http->had_request;
        break;
    case HTTP_BODY:
        counters->bodies_slow++;
        http->keep_alive = false;
        http_reply_error(http->request, 408, "Request took too long");
        return;
    case HTTP_REPLY:
        counters->replies_slow++;
        break;
    case HTTP_HANDLER:
        break;
    }
    connection_close(&http->connection);
}

static void opened(void *context)
{
    struct http_connection *http = context;

    connection_set_deadline(&http->connection, HTTP_HEAD_TIMEOUT_MS);
}

static void not_tls(void *context)
{
    http_refuse(context, 400, "This port speaks HTTPS only: use https://");
}

static void lost(void *context)
{
    struct http_connection *http = context;
    struct http_request *request = http->request;

    http->request = NULL;
    if (request != NULL && http->state == HTTP_BODY)
        http_request_free(request); /* no handler has seen it */
    else if (request != NULL)
        http_request_gone(request);
}

static const struct connection_protocol http_protocol = {
    .received = received,
    .written = reply_written,
    .peer_finished = peer_finished,
    .deadline_passed = deadline_passed,
    .opened = opened,
    .not_tls = not_tls,
    .lost = lost,
};

void http_connection_init(struct http_connection *http, struct http_server *server)
{
    http->server = server;
    connection_set_protocol(&http->connection, &http_protocol, http);
}

void http_connection_free(struct http_connection *http)
{
    free(http->kept);
    free(http);
}
