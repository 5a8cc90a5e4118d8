/* One TCP connection to a Redis server or a Sentinel. */
#include "redis_connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/endpoints.h"

#define READ_ROOM 65536
/* Of one reply. Our longest replies are the lists in our own keys, and they are shorter. */
#define REPLY_BYTES_MAX (64u << 20)

struct redis_connection {
    const struct redis_connection_handlers *handlers;
    void *context;
    uv_loop_t *loop;
    uv_tcp_t tcp;
    uv_timer_t deadline;
    uv_getaddrinfo_t resolving;
    uv_connect_t connecting;
    struct addrinfo *addresses, *next_address;
    SSL_CTX *tls_context;
    struct tls tls;
    redisReader *reader;
    size_t since_reply; /* bytes that arrived since the last whole reply */
    uint32_t timeout_ms, pending;
    const char *failure; /* reported when the deadline timer runs; NULL: none */
    char host[ENDPOINT_HOST_ROOM];
    unsigned references; /* open handles, running requests, callbacks on the stack */
    bool is_open, is_closing, is_resolving;
    char buffer[READ_ROOM];
};

struct pending_write {
    uv_write_t request;
    struct redis_connection *connection;
    char bytes[];
};

static void release(struct redis_connection *connection)
{
    if (--connection->references > 0)
        return;
    if (connection->addresses != NULL)
        uv_freeaddrinfo(connection->addresses);
    if (connection->reader != NULL)
        redisReaderFree(connection->reader);
    tls_close(&connection->tls);
    free(connection);
}

static void handle_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void redis_connection_close(struct redis_connection *connection)
{
    if (connection == NULL || connection->is_closing)
        return;
    connection->is_closing = true;
    if (connection->is_resolving)
        uv_cancel((uv_req_t *)&connection->resolving);
    if (!uv_is_closing((uv_handle_t *)&connection->tcp))
        uv_close((uv_handle_t *)&connection->tcp, handle_closed);
    uv_close((uv_handle_t *)&connection->deadline, handle_closed);
}

static void fail(struct redis_connection *connection, const char *why)
{
    char text[TLS_WHY_BYTES];

    if (connection->is_closing)
        return;
    snprintf(text, sizeof(text), "%.190s",
             why); /* a copy: why may lie in memory that is freed now */
    redis_connection_close(connection);
    connection->handlers->closed(connection->context, text);
}

static void deadline_passed(uv_timer_t *timer)
{
    struct redis_connection *connection = timer->data;
    char why[TLS_WHY_BYTES];

    if (connection->failure != NULL) {
        fail(connection, connection->failure);
        return;
    }
    snprintf(why, sizeof(why), "%s within %u ms",
             connection->is_open ? "no answer" : "no connection", connection->timeout_ms);
    fail(connection, why);
}

/* Reports the failure in the next turn of the loop, because the caller still uses the
 * connection. */
static void fail_later(struct redis_connection *connection, const char *why)
{
    if (connection->is_closing)
        return;
    connection->failure = why;
    uv_timer_start(&connection->deadline, deadline_passed, 0, 0);
}

/* ---- out ---- */

static void written(uv_write_t *request, int status)
{
    struct pending_write *write = (struct pending_write *)request;
    struct redis_connection *connection = write->connection;

    free(write);
    if (status != 0 && status != UV_ECANCELED)
        fail(connection, uv_strerror(status));
    release(connection);
}

static void send_bytes(struct redis_connection *connection, const char *bytes, size_t count)
{
    struct pending_write *write = malloc(sizeof(*write) + count);
    uv_buf_t buffer;

    if (write == NULL) {
        fail_later(connection, "out of memory");
        return;
    }
    memcpy(write->bytes, bytes, count);
    write->connection = connection;
    buffer = uv_buf_init(write->bytes, (unsigned)count);
    connection->references++;
    if (uv_write(&write->request, (uv_stream_t *)&connection->tcp, &buffer, 1, written) == 0)
        return;
    connection->references--;
    free(write);
    fail_later(connection, "cannot write");
}

static void send_tls(struct redis_connection *connection)
{
    const char *bytes;
    size_t count = tls_to_send(&connection->tls, &bytes);

    if (count == 0)
        return;
    send_bytes(connection, bytes, count);
    tls_sent(&connection->tls);
}

void redis_connection_send(struct redis_connection *connection, const char *bytes, size_t count,
                           uint32_t replies)
{
    if (connection->is_closing || count == 0)
        return;
    if (connection->pending == 0 && connection->failure == NULL)
        uv_timer_start(&connection->deadline, deadline_passed, connection->timeout_ms, 0);
    connection->pending += replies;
    if (connection->tls.ssl == NULL) {
        send_bytes(connection, bytes, count);
    } else if (tls_write(&connection->tls, bytes, count)) {
        send_tls(connection);
    } else {
        fail_later(connection, "TLS cannot write");
    }
}

uint32_t redis_connection_pending(const struct redis_connection *connection)
{
    return connection->pending;
}

/* ---- in ---- */

static void replies_take(struct redis_connection *connection)
{
    void *reply = NULL;

    while (!connection->is_closing) {
        if (redisReaderGetReply(connection->reader, &reply) != REDIS_OK) {
            fail(connection, "it does not speak the Redis protocol");
            return;
        }
        if (reply == NULL)
            return;
        connection->since_reply = 0;
        if (connection->pending == 0) {
            freeReplyObject(reply);
            fail(connection, "it sent a reply without a command");
            return;
        }
        if (--connection->pending > 0)
            uv_timer_start(&connection->deadline, deadline_passed, connection->timeout_ms, 0);
        else
            uv_timer_stop(&connection->deadline);
        connection->handlers->reply(connection->context, reply);
        freeReplyObject(reply);
    }
}

static void plain_take(struct redis_connection *connection, const char *bytes, size_t count)
{
    connection->since_reply += count;
    if (connection->since_reply > REPLY_BYTES_MAX)
        fail(connection, "the reply is too long");
    else if (redisReaderFeed(connection->reader, bytes, count) != REDIS_OK)
        fail(connection, "out of memory");
    else
        replies_take(connection);
}

static void opened(struct redis_connection *connection)
{
    connection->is_open = true;
    uv_timer_stop(&connection->deadline);
    connection->handlers->open(connection->context);
}

static void tls_take(struct redis_connection *connection, const char *bytes, size_t count)
{
    char plain[16384], why[TLS_WHY_BYTES];
    int got;

    if (!tls_feed(&connection->tls, bytes, count)) {
        fail(connection, "out of memory");
        return;
    }
    if (!connection->tls.is_up) {
        bool went_well = tls_handshake(&connection->tls, why);

        send_tls(connection); /* also an alert */
        if (!went_well)
            fail(connection, why);
        else if (connection->tls.is_up && !connection->is_closing)
            opened(connection);
    }
    while (!connection->is_closing && connection->tls.is_up) {
        got = tls_read(&connection->tls, plain, sizeof(plain), why);
        if (got < 0)
            fail(connection, why);
        if (got <= 0)
            break;
        plain_take(connection, plain, (size_t)got);
    }
    if (!connection->is_closing)
        send_tls(connection);
}

static void allocate(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    struct redis_connection *connection = handle->data;

    *buffer = uv_buf_init(connection->buffer, READ_ROOM);
}

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct redis_connection *connection = stream->data;

    if (count == 0 || connection->is_closing)
        return;
    connection->references++;
    if (count < 0)
        fail(connection, count == UV_EOF ? "it closed the connection" : uv_strerror((int)count));
    else if (connection->tls.ssl != NULL)
        tls_take(connection, buffer->base, (size_t)count);
    else
        plain_take(connection, buffer->base, (size_t)count);
    release(connection);
}

/* ---- connecting ---- */

static void connect_next(struct redis_connection *connection, const char *why);

static void tcp_connected(struct redis_connection *connection)
{
    char why[TLS_WHY_BYTES];

    uv_tcp_nodelay(&connection->tcp, 1);
    uv_tcp_keepalive(&connection->tcp, 1, 15);
    if (uv_read_start((uv_stream_t *)&connection->tcp, allocate, received) != 0) {
        fail(connection, "cannot read");
    } else if (connection->tls_context == NULL) {
        opened(connection);
    } else if (!tls_open(&connection->tls, connection->tls_context, connection->host)) {
        fail(connection, "TLS cannot be set up");
    } else if (tls_handshake(&connection->tls, why)) {
        send_tls(connection);
    } else {
        fail(connection, why);
    }
}

static void connected(uv_connect_t *request, int status)
{
    struct redis_connection *connection = request->data;

    if (!connection->is_closing) {
        if (status == 0)
            tcp_connected(connection);
        else
            connect_next(connection, uv_strerror(status));
    }
    release(connection);
}

static void connect_again(uv_handle_t *handle)
{
    struct redis_connection *connection = handle->data;

    if (!connection->is_closing) {
        uv_tcp_init(connection->loop, &connection->tcp);
        connection->references++;
        connect_next(connection, "");
    }
    release(connection);
}

/* A TCP handle that failed cannot connect again: the next address gets a new one. */
static void connect_next(struct redis_connection *connection, const char *why)
{
    struct addrinfo *address = connection->next_address;

    if (address == NULL) {
        fail(connection, why);
        return;
    }
    if (why[0] != '\0') {
        uv_close((uv_handle_t *)&connection->tcp, connect_again);
        return;
    }
    connection->next_address = address->ai_next;
    connection->references++;
    if (uv_tcp_connect(&connection->connecting, &connection->tcp, address->ai_addr, connected) == 0)
        return;
    connection->references--;
    connect_next(connection, "cannot connect");
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct redis_connection *connection = request->data;
    char why[TLS_WHY_BYTES];

    connection->is_resolving = false;
    connection->addresses = connection->next_address = addresses;
    if (!connection->is_closing) {
        if (status == 0) {
            connect_next(connection, "");
        } else {
            snprintf(why, sizeof(why), "the server name cannot be resolved: %s",
                     uv_strerror(status));
            fail(connection, why);
        }
    }
    release(connection);
}

struct redis_connection *redis_connection_open(uv_loop_t *loop, const char *host, uint16_t port,
                                               SSL_CTX *context_tls, uint32_t timeout_ms,
                                               const struct redis_connection_handlers *handlers,
                                               void *context)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct redis_connection *connection = calloc(1, sizeof(*connection));
    char service[8];

    if (connection == NULL)
        return NULL;
    connection->reader = redisReaderCreate();
    if (connection->reader == NULL) {
        free(connection);
        return NULL;
    }
    connection->handlers = handlers;
    connection->context = context;
    connection->loop = loop;
    connection->tls_context = context_tls;
    connection->timeout_ms = timeout_ms;
    snprintf(connection->host, sizeof(connection->host), "%s", host);
    snprintf(service, sizeof(service), "%u", port);
    connection->tcp.data = connection->deadline.data = connection->resolving.data =
        connection->connecting.data = connection;
    uv_tcp_init(loop, &connection->tcp);
    uv_timer_init(loop, &connection->deadline);
    connection->references = 2;
    uv_timer_start(&connection->deadline, deadline_passed, timeout_ms, 0);
    if (uv_getaddrinfo(loop, &connection->resolving, resolved, connection->host, service, &hints) ==
        0) {
        connection->references++;
        connection->is_resolving = true;
    } else {
        fail_later(connection, "the server name cannot be resolved");
    }
    return connection;
}
