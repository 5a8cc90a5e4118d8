/* One connection to a Redis server or a Sentinel. */
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/endpoints.h"

#define READ_ROOM 65536
/* One reply: our longest are the lists of what is noted as ours. More is no Redis of ours. */
#define REPLY_BYTES_MAX (64u << 20)

struct wire {
    const struct wire_handlers *handlers;
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
    size_t since_reply; /* bytes that came since the last whole one */
    uint32_t timeout_ms, awaited;
    const char *failure; /* told when the deadline's timer runs */
    char host[ENDPOINT_HOST_ROOM];
    unsigned references; /* open handles, requests under way, callbacks on the stack */
    bool is_open, is_closing, is_resolving;
    char buffer[READ_ROOM];
};

struct wire_write {
    uv_write_t request;
    struct wire *wire;
    char bytes[];
};

static void release(struct wire *wire)
{
    if (--wire->references > 0)
        return;
    if (wire->addresses != NULL)
        uv_freeaddrinfo(wire->addresses);
    if (wire->reader != NULL)
        redisReaderFree(wire->reader);
    tls_close(&wire->tls);
    free(wire);
}

static void handle_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void wire_close(struct wire *wire)
{
    if (wire == NULL || wire->is_closing)
        return;
    wire->is_closing = true;
    if (wire->is_resolving)
        uv_cancel((uv_req_t *)&wire->resolving);
    if (!uv_is_closing((uv_handle_t *)&wire->tcp))
        uv_close((uv_handle_t *)&wire->tcp, handle_closed);
    uv_close((uv_handle_t *)&wire->deadline, handle_closed);
}

static void fail(struct wire *wire, const char *why)
{
    char text[TLS_WHY_BYTES];

    if (wire->is_closing)
        return;
    snprintf(text, sizeof(text), "%.190s", why); /* it may lie in what is about to go */
    wire_close(wire);
    wire->handlers->closed(wire->context, text);
}

static void deadline_passed(uv_timer_t *timer)
{
    struct wire *wire = timer->data;
    char why[TLS_WHY_BYTES];

    if (wire->failure != NULL) {
        fail(wire, wire->failure);
        return;
    }
    snprintf(why, sizeof(why), "%s within %u ms", wire->is_open ? "no answer" : "no connection",
             wire->timeout_ms);
    fail(wire, why);
}

/* Not from within the caller: what called us still counts on the wire. */
static void fail_later(struct wire *wire, const char *why)
{
    if (wire->is_closing)
        return;
    wire->failure = why;
    uv_timer_start(&wire->deadline, deadline_passed, 0, 0);
}

/* ---- out ---- */

static void written(uv_write_t *request, int status)
{
    struct wire_write *write = (struct wire_write *)request;
    struct wire *wire = write->wire;

    free(write);
    if (status != 0 && status != UV_ECANCELED)
        fail(wire, uv_strerror(status));
    release(wire);
}

static void push(struct wire *wire, const char *bytes, size_t count)
{
    struct wire_write *write = malloc(sizeof(*write) + count);
    uv_buf_t buffer;

    if (write == NULL) {
        fail_later(wire, "out of memory");
        return;
    }
    memcpy(write->bytes, bytes, count);
    write->wire = wire;
    buffer = uv_buf_init(write->bytes, (unsigned)count);
    wire->references++;
    if (uv_write(&write->request, (uv_stream_t *)&wire->tcp, &buffer, 1, written) == 0)
        return;
    wire->references--;
    free(write);
    fail_later(wire, "cannot write");
}

static void push_tls(struct wire *wire)
{
    const char *bytes;
    size_t count = tls_to_send(&wire->tls, &bytes);

    if (count == 0)
        return;
    push(wire, bytes, count);
    tls_sent(&wire->tls);
}

void wire_send(struct wire *wire, const char *bytes, size_t count, uint32_t replies)
{
    if (wire->is_closing || count == 0)
        return;
    if (wire->awaited == 0 && wire->failure == NULL)
        uv_timer_start(&wire->deadline, deadline_passed, wire->timeout_ms, 0);
    wire->awaited += replies;
    if (wire->tls.ssl == NULL) {
        push(wire, bytes, count);
    } else if (tls_write(&wire->tls, bytes, count)) {
        push_tls(wire);
    } else {
        fail_later(wire, "TLS cannot write");
    }
}

uint32_t wire_awaited(const struct wire *wire)
{
    return wire->awaited;
}

/* ---- in ---- */

static void take_replies(struct wire *wire)
{
    void *reply = NULL;

    while (!wire->is_closing) {
        if (redisReaderGetReply(wire->reader, &reply) != REDIS_OK) {
            fail(wire, "what it says is not the Redis protocol");
            return;
        }
        if (reply == NULL)
            return;
        wire->since_reply = 0;
        if (wire->awaited == 0) {
            freeReplyObject(reply);
            fail(wire, "it answers what nobody asked");
            return;
        }
        if (--wire->awaited > 0)
            uv_timer_start(&wire->deadline, deadline_passed, wire->timeout_ms, 0);
        else
            uv_timer_stop(&wire->deadline);
        wire->handlers->reply(wire->context, reply);
        freeReplyObject(reply);
    }
}

static void take_plain(struct wire *wire, const char *bytes, size_t count)
{
    wire->since_reply += count;
    if (wire->since_reply > REPLY_BYTES_MAX)
        fail(wire, "its answer is too long");
    else if (redisReaderFeed(wire->reader, bytes, count) != REDIS_OK)
        fail(wire, "out of memory");
    else
        take_replies(wire);
}

static void opened(struct wire *wire)
{
    wire->is_open = true;
    uv_timer_stop(&wire->deadline);
    wire->handlers->open(wire->context);
}

static void take_tls(struct wire *wire, const char *bytes, size_t count)
{
    char plain[16384], why[TLS_WHY_BYTES];
    int got;

    if (!tls_feed(&wire->tls, bytes, count)) {
        fail(wire, "out of memory");
        return;
    }
    if (!wire->tls.is_up) {
        bool went_well = tls_handshake(&wire->tls, why);

        push_tls(wire); /* an alert, too */
        if (!went_well)
            fail(wire, why);
        else if (wire->tls.is_up && !wire->is_closing)
            opened(wire);
    }
    while (!wire->is_closing && wire->tls.is_up) {
        got = tls_read(&wire->tls, plain, sizeof(plain), why);
        if (got < 0)
            fail(wire, why);
        if (got <= 0)
            break;
        take_plain(wire, plain, (size_t)got);
    }
    if (!wire->is_closing)
        push_tls(wire);
}

static void allocate(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    struct wire *wire = handle->data;

    *buffer = uv_buf_init(wire->buffer, READ_ROOM);
}

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct wire *wire = stream->data;

    if (count == 0 || wire->is_closing)
        return;
    wire->references++;
    if (count < 0)
        fail(wire, count == UV_EOF ? "it closed the connection" : uv_strerror((int)count));
    else if (wire->tls.ssl != NULL)
        take_tls(wire, buffer->base, (size_t)count);
    else
        take_plain(wire, buffer->base, (size_t)count);
    release(wire);
}

/* ---- the way there ---- */

static void connect_next(struct wire *wire, const char *why);

static void start_talking(struct wire *wire)
{
    char why[TLS_WHY_BYTES];

    uv_tcp_nodelay(&wire->tcp, 1);
    uv_tcp_keepalive(&wire->tcp, 1, 15);
    if (uv_read_start((uv_stream_t *)&wire->tcp, allocate, received) != 0) {
        fail(wire, "cannot read");
    } else if (wire->tls_context == NULL) {
        opened(wire);
    } else if (!tls_open(&wire->tls, wire->tls_context, wire->host)) {
        fail(wire, "TLS cannot be set up");
    } else if (tls_handshake(&wire->tls, why)) {
        push_tls(wire);
    } else {
        fail(wire, why);
    }
}

static void connected(uv_connect_t *request, int status)
{
    struct wire *wire = request->data;

    if (!wire->is_closing) {
        if (status == 0)
            start_talking(wire);
        else
            connect_next(wire, uv_strerror(status));
    }
    release(wire);
}

static void try_again(uv_handle_t *handle)
{
    struct wire *wire = handle->data;

    if (!wire->is_closing) {
        uv_tcp_init(wire->loop, &wire->tcp);
        wire->references++;
        connect_next(wire, "");
    }
    release(wire);
}

/* A tcp handle that failed once is of no use; the next address gets a fresh one. */
static void connect_next(struct wire *wire, const char *why)
{
    struct addrinfo *address = wire->next_address;

    if (address == NULL) {
        fail(wire, why);
        return;
    }
    if (why[0] != '\0') {
        uv_close((uv_handle_t *)&wire->tcp, try_again);
        return;
    }
    wire->next_address = address->ai_next;
    wire->references++;
    if (uv_tcp_connect(&wire->connecting, &wire->tcp, address->ai_addr, connected) == 0)
        return;
    wire->references--;
    connect_next(wire, "cannot connect");
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct wire *wire = request->data;
    char why[TLS_WHY_BYTES];

    wire->is_resolving = false;
    wire->addresses = wire->next_address = addresses;
    if (!wire->is_closing) {
        if (status == 0) {
            connect_next(wire, "");
        } else {
            snprintf(why, sizeof(why), "its name cannot be resolved: %s", uv_strerror(status));
            fail(wire, why);
        }
    }
    release(wire);
}

struct wire *wire_open(uv_loop_t *loop, const char *host, uint16_t port, SSL_CTX *context_tls,
                       uint32_t timeout_ms, const struct wire_handlers *handlers, void *context)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct wire *wire = calloc(1, sizeof(*wire));
    char service[8];

    if (wire == NULL)
        return NULL;
    wire->reader = redisReaderCreate();
    if (wire->reader == NULL) {
        free(wire);
        return NULL;
    }
    wire->handlers = handlers;
    wire->context = context;
    wire->loop = loop;
    wire->tls_context = context_tls;
    wire->timeout_ms = timeout_ms;
    snprintf(wire->host, sizeof(wire->host), "%s", host);
    snprintf(service, sizeof(service), "%u", port);
    wire->tcp.data = wire->deadline.data = wire->resolving.data = wire->connecting.data = wire;
    uv_tcp_init(loop, &wire->tcp);
    uv_timer_init(loop, &wire->deadline);
    wire->references = 2;
    uv_timer_start(&wire->deadline, deadline_passed, timeout_ms, 0);
    if (uv_getaddrinfo(loop, &wire->resolving, resolved, wire->host, service, &hints) == 0) {
        wire->references++;
        wire->is_resolving = true;
    } else {
        fail_later(wire, "its name cannot be resolved");
    }
    return wire;
}
