/* One TCP connection, with TLS or without. */
#include "connection.h"

#include <stdlib.h>

#include "certificate.h"
#include "tls_server.h"

static void start_timer(struct connection *connection, uint64_t timeout_ms);

/* ---- the end ---- */

static void handle_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    if (--connection->handles > 0)
        return;
    budget_hold(&connection->shared->budgets, &connection->share, 0);
    tls_server_free(connection->tls);
    connection->released(connection);
}

void connection_close(struct connection *connection)
{
    const struct connection_protocol *protocol = connection->protocol;

    if (connection->state == CONNECTION_CLOSING)
        return;
    connection->state = CONNECTION_CLOSING;
    connection->protocol = NULL;
    uv_close((uv_handle_t *)&connection->tcp, handle_closed);
    uv_close((uv_handle_t *)&connection->timer, handle_closed);
    if (protocol != NULL)
        protocol->lost(connection->context);
}

void connection_close_soon(struct connection *connection)
{
    connection->is_doomed = true;
    start_timer(connection, 0);
}

/* ---- the budget ---- */

bool connection_hold(struct connection *connection, size_t bytes)
{
    struct connection_shared *shared = connection->shared;

    if (budget_hold(&shared->budgets, &connection->share, bytes))
        return true;
    shared->counters.held_over_budget++;
    return false;
}

/* ---- the deadline ---- */

static void timer_passed(uv_timer_t *timer)
{
    struct connection *connection = timer->data;

    if (connection->state == CONNECTION_OPEN && connection->protocol != NULL &&
        !connection->is_doomed) {
        connection->protocol->deadline_passed(connection->context);
        return;
    }
    if (connection->state == CONNECTION_HANDSHAKE && !connection->is_doomed)
        connection->shared->counters.tls_slow++;
    connection_close(connection);
}

static void start_timer(struct connection *connection, uint64_t timeout_ms)
{
    uv_timer_start(&connection->timer, timer_passed, timeout_ms, 0);
}

void connection_set_deadline(struct connection *connection, uint64_t timeout_ms)
{
    if (connection->is_doomed || connection->state == CONNECTION_CLOSING)
        return;
    if (timeout_ms == 0)
        uv_timer_stop(&connection->timer);
    else
        start_timer(connection, timeout_ms);
}

/* ---- writing ---- */

struct write {
    uv_write_t request;
    struct connection *connection;
    char *owned;
    void (*release)(void *owner); /* NULL: nothing is shared */
    void *owner;
    bool tell;
};

static void write_free(struct write *write)
{
    free(write->owned);
    if (write->release != NULL)
        write->release(write->owner);
    free(write);
}

static void write_done(uv_write_t *request, int status)
{
    struct write *write = (struct write *)request;
    struct connection *connection = write->connection;
    bool tell = write->tell;

    write_free(write);
    if (connection->state == CONNECTION_CLOSING)
        return;
    if (status != 0)
        connection_close(connection);
    else if (tell && connection->protocol != NULL)
        connection->protocol->written(connection->context);
}

/* Turns the buffers into one buffer of TLS records. */
static bool encrypt(struct tls_server *tls, struct write *write, uv_buf_t *buffers, unsigned count)
{
    size_t encrypted_bytes;
    bool ok = true;

    for (unsigned i = 0; i < count; i++)
        ok = ok && tls_server_write(tls, buffers[i].base, buffers[i].len);
    free(write->owned);
    if (write->release != NULL)
        write->release(write->owner);
    write->release = NULL;
    write->owned = tls_server_take_output(tls, &encrypted_bytes);
    buffers[0] = uv_buf_init(write->owned, (unsigned)encrypted_bytes);
    return ok && write->owned != NULL;
}

static void write_buffers(struct connection *connection, struct write *write, uv_buf_t *buffers,
                          unsigned count)
{
    bool ok = true;

    write->connection = connection;
    if (connection->tls != NULL) {
        ok = encrypt(connection->tls, write, buffers, count);
        count = 1;
    }
    if (ok &&
        uv_write(&write->request, (uv_stream_t *)&connection->tcp, buffers, count, write_done) == 0)
        return;
    write_free(write);
    connection_close_soon(connection);
}

/* The peer would miss bytes. The caller is in the middle of its work: it must not lose its protocol
 * now. */
static void close_without_memory(struct connection *connection)
{
    if (connection->state != CONNECTION_CLOSING)
        connection_close_soon(connection);
}

/* Sends the bytes of TLS itself: handshake, tickets, alerts. */
static void flush_tls(struct connection *connection)
{
    size_t count;
    char *owned = tls_server_take_output(connection->tls, &count);
    struct write *write = owned == NULL ? NULL : calloc(1, sizeof(*write));
    uv_buf_t buffer = uv_buf_init(owned, (unsigned)count);

    if (write == NULL) {
        if (owned != NULL)
            close_without_memory(connection);
        free(owned);
        return;
    }
    write->owned = owned;
    write->connection = connection;
    if (uv_write(&write->request, (uv_stream_t *)&connection->tcp, &buffer, 1, write_done) != 0) {
        write_free(write);
        connection_close_soon(connection);
    }
}

void connection_write(struct connection *connection, char *owned, size_t owned_bytes,
                      const char *borrowed, size_t borrowed_bytes, bool tell)
{
    struct write *write = calloc(1, sizeof(*write));
    uv_buf_t buffers[2];

    if (write == NULL || connection->state == CONNECTION_CLOSING) {
        free(write);
        free(owned);
        close_without_memory(connection);
        return;
    }
    buffers[0] = uv_buf_init(owned, (unsigned)owned_bytes);
    buffers[1] = uv_buf_init((char *)borrowed, (unsigned)borrowed_bytes);
    write->owned = owned;
    write->tell = tell;
    write_buffers(connection, write, buffers, borrowed != NULL ? 2 : 1);
}

void connection_write_shared(struct connection *connection, const char *bytes, size_t count,
                             void (*release)(void *owner), void *owner)
{
    struct write *write = calloc(1, sizeof(*write));
    uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned)count);

    if (write == NULL || connection->state == CONNECTION_CLOSING) {
        free(write);
        release(owner);
        close_without_memory(connection);
        return;
    }
    write->release = release;
    write->owner = owner;
    write_buffers(connection, write, &buffer, 1);
}

size_t connection_queued_bytes(const struct connection *connection)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&connection->tcp);
}

static void shutdown_done(uv_shutdown_t *request, int status)
{
    free(request);
}

void connection_finish(struct connection *connection)
{
    uv_shutdown_t *request = malloc(sizeof(*request));

    connection->protocol = NULL;
    if (connection->tls != NULL && connection->state != CONNECTION_CLOSING) {
        tls_server_say_goodbye(connection->tls);
        flush_tls(connection);
    }
    if (connection->state == CONNECTION_CLOSING || request == NULL ||
        uv_shutdown(request, (uv_stream_t *)&connection->tcp, shutdown_done) != 0) {
        free(request);
        connection_close(connection);
        return;
    }
    connection->state = CONNECTION_LINGER;
    connection_set_deadline(connection, CONNECTION_LINGER_MS);
    connection_start_reading(connection);
}

/* ---- reading ---- */

void connection_deliver(struct connection *connection, const char *bytes, size_t count)
{
    while (count > 0) {
        size_t used = count;

        switch (connection->state) {
        case CONNECTION_HANDSHAKE:
        case CONNECTION_CLOSING:
            return;
        case CONNECTION_OPEN:
            used = connection->protocol->received(connection->context, bytes, count);
            break;
        case CONNECTION_LINGER:
            connection->lingered_bytes += (uint32_t)count;
            if (connection->lingered_bytes > CONNECTION_LINGER_BYTES_MAX)
                connection_close(connection);
            break;
        }
        bytes += used;
        count -= used;
    }
}

static void end_of_stream(struct connection *connection)
{
    if (connection->state == CONNECTION_OPEN && connection->protocol->peer_finished != NULL)
        connection->protocol->peer_finished(connection->context);
    else
        connection_close(connection);
}

/* Returns true when the handshake is done. */
static bool continue_handshake(struct connection *connection, const char *bytes, size_t count)
{
    struct connection_shared *shared = connection->shared;
    enum tls_server_verdict verdict;

    if (connection->tls == NULL && !tls_server_begins(bytes)) {
        shared->counters.tls_plain++;
        connection->state = CONNECTION_OPEN;
        connection->protocol->not_tls(connection->context);
        return false;
    }
    if (connection->tls == NULL)
        connection->tls = tls_server_new(certificate_current(shared->certificate));
    if (connection->tls == NULL) {
        connection_close(connection);
        return false;
    }
    tls_server_feed(connection->tls, bytes, count);
    verdict = tls_server_handshake(connection->tls);
    flush_tls(connection);
    if (verdict == TLS_DONE) {
        shared->counters.tls_handshakes++;
        shared->counters.tls_resumed += tls_server_is_resumed(connection->tls);
        connection->state = CONNECTION_OPEN;
        connection->protocol->opened(connection->context);
        return true;
    }
    if (verdict != TLS_MORE) {
        shared->counters.tls_failed++;
        connection_finish(connection); /* sends the alert */
    }
    return false;
}

static void decrypt(struct connection *connection, const char *bytes, size_t count)
{
    struct connection_shared *shared = connection->shared;
    enum tls_server_verdict verdict = TLS_DONE;
    size_t plain_bytes;

    if (connection->state == CONNECTION_HANDSHAKE) {
        if (!continue_handshake(connection, bytes, count))
            return;
    } else {
        tls_server_feed(connection->tls, bytes, count);
    }
    while (verdict == TLS_DONE && connection->state != CONNECTION_CLOSING) {
        verdict = tls_server_read(connection->tls, shared->plain_buffer, CONNECTION_READ_BYTES,
                                  &plain_bytes);
        if (verdict == TLS_DONE)
            connection_deliver(connection, shared->plain_buffer, plain_bytes);
    }
    if (connection->state == CONNECTION_CLOSING)
        return;
    flush_tls(connection);
    shared->counters.tls_failed += verdict == TLS_FAILED;
    if (verdict == TLS_CLOSED)
        end_of_stream(connection);
    else if (verdict == TLS_FAILED ||
             connection_queued_bytes(connection) > CONNECTION_UNREAD_BYTES_MAX)
        connection_close(connection);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct connection *connection = handle->data;

    *buffer = uv_buf_init(connection->shared->read_buffer, connection->read_bytes_max);
}

static void bytes_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;
    bool is_encrypted = connection->tls != NULL || connection->state == CONNECTION_HANDSHAKE;

    if (count > 0 && is_encrypted && connection->state != CONNECTION_LINGER)
        decrypt(connection, buffer->base, (size_t)count);
    else if (count > 0)
        connection_deliver(connection, buffer->base, (size_t)count);
    else if (count == UV_EOF)
        end_of_stream(connection);
    else if (count < 0)
        connection_close(connection);
    if (connection->state == CONNECTION_OPEN && connection->protocol->read_done != NULL)
        connection->protocol->read_done(connection->context);
}

void connection_start_reading(struct connection *connection)
{
    if (connection->is_reading)
        return;
    connection->is_reading = true;
    if (uv_read_start((uv_stream_t *)&connection->tcp, give_buffer, bytes_read) != 0)
        connection_close(connection);
}

void connection_stop_reading(struct connection *connection)
{
    uv_read_stop((uv_stream_t *)&connection->tcp);
    connection->is_reading = false;
}

/* ---- the beginning ---- */

void connection_init(struct connection *connection, struct connection_shared *shared,
                     void (*released)(struct connection *connection))
{
    connection->shared = shared;
    connection->released = released;
    connection->state = CONNECTION_OPEN;
    connection->handles = 2;
    connection->read_bytes_max = CONNECTION_READ_BYTES;
    uv_tcp_init(shared->loop, &connection->tcp);
    uv_timer_init(shared->loop, &connection->timer);
    connection->tcp.data = connection->timer.data = connection;
}

void connection_set_protocol(struct connection *connection,
                             const struct connection_protocol *protocol, void *context)
{
    connection->protocol = protocol;
    connection->context = context;
}

void connection_begin(struct connection *connection, bool is_tls)
{
    if (is_tls) {
        connection->state = CONNECTION_HANDSHAKE;
        connection_set_deadline(connection, CONNECTION_HANDSHAKE_TIMEOUT_MS);
    } else {
        connection->protocol->opened(connection->context);
    }
    connection_start_reading(connection);
}
