/* Bytes of a connection on their way out, through TLS where it speaks that. */
#include <stdlib.h>

#include "server.h"

struct write {
    uv_write_t request;
    struct connection *connection;
    char *owned;
    struct engine_packet *packet;
    bool after_reply;
};

static void write_done(uv_write_t *request, int status)
{
    struct write *write = (struct write *)request;
    struct connection *connection = write->connection;
    bool after_reply = write->after_reply;

    free(write->owned);
    if (write->packet != NULL)
        engine_packet_unref(write->packet);
    free(write);
    if (connection->state == CONNECTION_CLOSING)
        return;
    if (status != 0) {
        connection_close(connection);
        return;
    }
    if (after_reply)
        connection_replied(connection);
}

/* Everything of `write` as TLS records. */
static bool seal(struct tls_server *tls, struct write *write, uv_buf_t *buffers, unsigned count)
{
    size_t sealed_bytes;
    bool ok = true;

    for (unsigned i = 0; i < count; i++)
        ok = ok && tls_server_write(tls, buffers[i].base, buffers[i].len);
    free(write->owned);
    if (write->packet != NULL)
        engine_packet_unref(write->packet);
    write->packet = NULL;
    write->owned = tls_server_take_output(tls, &sealed_bytes);
    buffers[0] = uv_buf_init(write->owned, (unsigned)sealed_bytes);
    return ok;
}

static void write_buffers(struct connection *connection, struct write *write, uv_buf_t *buffers,
                          unsigned count)
{
    bool ok = true;

    write->connection = connection;
    if (connection->tls != NULL) {
        ok = seal(connection->tls, write, buffers, count);
        count = 1;
    }
    if (ok &&
        uv_write(&write->request, (uv_stream_t *)&connection->tcp, buffers, count, write_done) == 0)
        return;
    free(write->owned);
    if (write->packet != NULL)
        engine_packet_unref(write->packet);
    free(write);
    connection_close_soon(connection);
}

/* What TLS itself has to say: handshake, tickets, alerts. */
void connection_flush_tls(struct connection *connection)
{
    size_t count;
    char *owned = tls_server_take_output(connection->tls, &count);
    struct write *write = owned == NULL ? NULL : calloc(1, sizeof(*write));
    uv_buf_t buffer = uv_buf_init(owned, (unsigned)count);

    if (write == NULL) {
        free(owned);
        return;
    }
    write->owned = owned;
    write->connection = connection;
    if (uv_write(&write->request, (uv_stream_t *)&connection->tcp, &buffer, 1, write_done) != 0) {
        free(write->owned);
        free(write);
        connection_close_soon(connection);
    }
}

void connection_write(struct connection *connection, char *owned, size_t owned_bytes,
                      const char *borrowed, size_t borrowed_bytes, bool after_reply)
{
    struct write *write = calloc(1, sizeof(*write));
    uv_buf_t buffers[2];

    if (write == NULL || connection->state == CONNECTION_CLOSING) {
        free(write);
        free(owned);
        connection_close(connection);
        return;
    }
    buffers[0] = uv_buf_init(owned, (unsigned)owned_bytes);
    buffers[1] = uv_buf_init((char *)borrowed, (unsigned)borrowed_bytes);
    write->owned = owned;
    write->after_reply = after_reply;
    if (after_reply) {
        connection->state = CONNECTION_REPLY;
        connection_set_deadline(connection, HTTP_WRITE_TIMEOUT_MS);
    }
    write_buffers(connection, write, buffers, borrowed != NULL ? 2 : 1);
}

void connection_write_packet(struct connection *connection, struct engine_packet *packet)
{
    struct write *write = calloc(1, sizeof(*write));
    uv_buf_t buffer;

    if (write == NULL || connection->state == CONNECTION_CLOSING) {
        free(write);
        return;
    }
    buffer = uv_buf_init(engine_packet_payload(packet) - packet->header_bytes,
                         (unsigned)(packet->header_bytes + packet->bytes));
    write->packet = engine_packet_ref(packet);
    write_buffers(connection, write, &buffer, 1);
}
