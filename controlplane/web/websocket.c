/* WebSocket connections. This file does the handshake of RFC 6455, wslay reads and writes the
 * frames.
 *
 * Messages are collected here and not in wslay. wslay would keep a list node for every fragment,
 * and a client could send a message in a million fragments (threat C10). */
#define _GNU_SOURCE
#include "websocket.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "reply.h"
#include "request.h"
#include "text.h"

/* How many frames of one client are handled before the loop turns to other clients. All frames of
 * one read are handled, so the reads are short. */
#define FRAMES_PER_TURN 16
#define READ_BYTES 4096
#define SHORT_READ_BYTES \
    512 /* at most 85 frames: all sockets of a client may be read in one turn */
#define TRY_AGAIN_LATER 1013 /* close code, IANA's registry of RFC 6455 */

struct websocket {
    struct connection *connection;             /* NULL: it is gone */
    const struct websocket_handlers *handlers; /* NULL: no more calls to the owner */
    void *context;
    wslay_event_context_ptr frames;
    const char *in; /* bytes that wslay has not read yet */
    size_t in_bytes;
    char *message;
    size_t message_bytes, message_room, message_bytes_max;
    bool message_is_binary, in_control_frame, is_feeding;
    bool message_begun, has_deadline;
    bool is_paused; /* the client sent too many frames: not read until the deadline */
    uint16_t frames_read;
    size_t bytes_read;
    uint64_t frames_spent_until_us; /* the client has used its share of frames until this time */
    char *out;                      /* control frames that are not sent yet */
    size_t out_bytes;
};

/* ---- from the peer ---- */

static ssize_t take_bytes(wslay_event_context_ptr frames, uint8_t *to, size_t room, int flags,
                          void *context)
{
    struct websocket *websocket = context;
    size_t count = websocket->in_bytes < room ? websocket->in_bytes : room;

    if (count == 0) {
        wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(to, websocket->in, count);
    websocket->in += count;
    websocket->in_bytes -= count;
    return (ssize_t)count;
}

static void refuse_message(struct websocket *websocket, uint16_t code)
{
    if (wslay_event_queue_close(websocket->frames, code, NULL, 0) != 0 &&
        websocket->connection != NULL)
        connection_close_soon(websocket->connection); /* no memory for the close frame */
    wslay_event_shutdown_read(websocket->frames);
}

static void frame_starts(wslay_event_context_ptr frames,
                         const struct wslay_event_on_frame_recv_start_arg *frame, void *context)
{
    struct websocket *websocket = context;

    if (frame->opcode == WSLAY_CONNECTION_CLOSE && frame->payload_length == 1)
        refuse_message(websocket, WSLAY_CODE_PROTOCOL_ERROR); /* RFC 6455 5.5.1 */
    /* Only complete messages and control frames cost work; fragments cost only their bytes. */
    if (frame->fin || wslay_is_ctrl_frame(frame->opcode))
        websocket->frames_read++;
    websocket->in_control_frame = wslay_is_ctrl_frame(frame->opcode);
    if (websocket->in_control_frame)
        return;
    websocket->message_begun = true;
    if (frame->opcode != WSLAY_CONTINUATION_FRAME)
        websocket->message_is_binary = frame->opcode == WSLAY_BINARY_FRAME;
    /* No subtraction: the maximum may be smaller now than the bytes that are already here. */
    if (frame->payload_length > websocket->message_bytes_max ||
        frame->payload_length + websocket->message_bytes > websocket->message_bytes_max)
        refuse_message(websocket, WSLAY_CODE_MESSAGE_TOO_BIG);
}

/* wslay calls this for control frames too, and keeps their payload itself. */
static void frame_chunk(wslay_event_context_ptr frames,
                        const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *context)
{
    struct websocket *websocket = context;
    size_t wanted = websocket->message_bytes + chunk->data_length;

    if (websocket->in_control_frame || !wslay_event_get_read_enabled(frames) ||
        chunk->data_length == 0 || websocket->connection == NULL)
        return; /* connection NULL: a message earlier in the same read closed it */
    if (wanted + 1 > websocket->message_room) {
        size_t room = wanted + 1 < 1024 ? 1024 : (wanted + 1) * 2;
        char *message;

        if (room > websocket->message_bytes_max + 1)
            room = websocket->message_bytes_max + 1;
        if (!connection_hold(websocket->connection, room)) {
            refuse_message(websocket, TRY_AGAIN_LATER);
            return;
        }
        message = realloc(websocket->message, room);
        if (message == NULL) {
            refuse_message(websocket, WSLAY_CODE_INTERNAL_SERVER_ERROR);
            return;
        }
        websocket->message = message;
        websocket->message_room = room;
    }
    memcpy(websocket->message + websocket->message_bytes, chunk->data, chunk->data_length);
    websocket->message_bytes = wanted;
}

static void message_complete(wslay_event_context_ptr frames,
                             const struct wslay_event_on_msg_recv_arg *arg, void *context)
{
    struct websocket *websocket = context;
    char *message = websocket->message;
    size_t count = websocket->message_bytes;

    if (wslay_is_ctrl_frame(arg->opcode) || !wslay_event_get_read_enabled(frames))
        return;
    websocket->message = NULL;
    websocket->message_bytes = websocket->message_room = 0;
    websocket->message_begun = false;
    if (message != NULL)
        message[count] = '\0';
    if (websocket->handlers != NULL)
        websocket->handlers->message(websocket->context, message == NULL ? "" : message, count,
                                     websocket->message_is_binary);
    free(message);
    if (websocket->connection != NULL)
        connection_hold(websocket->connection, 0);
}

/* ---- to the peer ---- */

static ssize_t give_bytes(wslay_event_context_ptr frames, const uint8_t *bytes, size_t count,
                          int flags, void *context)
{
    struct websocket *websocket = context;
    char *out = realloc(websocket->out, websocket->out_bytes + count);

    if (out == NULL) {
        wslay_event_set_error(frames, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    memcpy(out + websocket->out_bytes, bytes, count);
    websocket->out = out;
    websocket->out_bytes += count;
    return (ssize_t)count;
}

static const struct wslay_event_callbacks frame_callbacks = {
    .recv_callback = take_bytes,
    .send_callback = give_bytes,
    .on_frame_recv_start_callback = frame_starts,
    .on_frame_recv_chunk_callback = frame_chunk,
    .on_msg_recv_callback = message_complete,
};

static void websocket_free(struct websocket *websocket)
{
    if (websocket->is_feeding)
        return; /* received() frees it when it is done */
    wslay_event_context_free(websocket->frames);
    free(websocket->message);
    free(websocket->out);
    free(websocket);
}

static void notify_owner(struct websocket *websocket, bool peer_closed)
{
    const struct websocket_handlers *handlers = websocket->handlers;

    websocket->handlers = NULL;
    if (handlers != NULL)
        handlers->closed(websocket->context, peer_closed);
}

static void count_close(struct websocket *websocket, uint16_t code)
{
    struct http_counters *counters = &websocket->connection->shared->counters;

    counters->websocket_grammar += code == WSLAY_CODE_PROTOCOL_ERROR;
    counters->websocket_text += code == WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA;
    counters->websocket_too_big += code == WSLAY_CODE_MESSAGE_TOO_BIG;
}

/* A message that has begun must end in time: until then it holds memory. */
static void watch_message(struct websocket *websocket)
{
    if (websocket->message_begun == websocket->has_deadline)
        return;
    websocket->has_deadline = websocket->message_begun;
    connection_set_deadline(websocket->connection,
                            websocket->has_deadline ? WEBSOCKET_MESSAGE_TIMEOUT_MS : 0);
}

/* Sends pongs and close frames in one write. Ends the connection after a close frame. */
static void flush_control(struct websocket *websocket)
{
    struct connection *connection = websocket->connection;
    bool answers;

    wslay_event_send(websocket->frames);
    answers = websocket->out_bytes > 0;
    if (answers) {
        char *out = websocket->out;
        size_t count = websocket->out_bytes;

        websocket->out = NULL;
        websocket->out_bytes = 0;
        connection_write(connection, out, count, NULL, 0, false);
    }
    if (!wslay_event_get_close_sent(websocket->frames) &&
        wslay_event_get_write_enabled(websocket->frames)) {
        /* Pongs for a peer that does not read. Messages have their own limit in websocket_send; a long
         * one that waits must not end the connection. */
        if (answers && connection_queued_bytes(connection) > WEBSOCKET_QUEUE_BYTES_MAX)
            connection_close(connection);
        else
            watch_message(websocket);
        return;
    }
    if (wslay_event_get_close_sent(websocket->frames) &&
        !wslay_event_get_close_received(websocket->frames))
        count_close(websocket, wslay_event_get_status_code_sent(websocket->frames));
    websocket->connection = NULL;
    connection_finish(connection);
    notify_owner(websocket, wslay_event_get_close_received(websocket->frames));
    websocket_free(websocket);
}

/* ---- what the connection tells ---- */

static size_t received(void *context, const char *bytes, size_t count)
{
    /* When a frame breaks the grammar, wslay sends an empty close frame. RFC 6455 7.4.1 has a code
     * for that, so we send our own close frame. It cannot cut another frame: frames are written
     * whole. */
    static const char protocol_error[4] = {(char)0x88, 2, 0x03, (char)0xea};
    struct websocket *websocket = context;
    char *close_frame;
    int result;

    websocket->in = bytes;
    websocket->in_bytes = count;
    websocket->bytes_read += count;
    websocket->is_feeding = true;
    result = wslay_event_recv(websocket->frames);
    websocket->is_feeding = false;
    if (websocket->connection == NULL) {
        websocket_free(websocket);
        return count;
    }
    if (result != 0) {
        count_close(websocket, WSLAY_CODE_PROTOCOL_ERROR);
        close_frame = malloc(sizeof(protocol_error));
        if (close_frame != NULL) {
            memcpy(close_frame, protocol_error, sizeof(protocol_error));
            connection_write(websocket->connection, close_frame, sizeof(protocol_error), NULL, 0,
                             false);
        }
        wslay_event_shutdown_write(websocket->frames);
    }
    flush_control(websocket);
    return count;
}

/* Called after each read. A client that has sent many frames waits until the loop has served the
 * others. A client that has sent more frames than its share waits until it may send again. */
static void read_done(void *context)
{
    struct websocket *websocket = context;
    struct connection *connection = websocket->connection;
    uint64_t now_us = uv_now(connection->shared->loop) * 1000;
    unsigned frames = websocket->frames_read;
    uint64_t wait_us = budget_spend(&connection->shared->budgets, &connection->share, frames,
                                    websocket->bytes_read, now_us);
    uint64_t spent_us =
        websocket_spent_us(websocket->frames_spent_until_us, now_us, frames, websocket->bytes_read);

    /* Only a client in the middle of a long message gets long reads. */
    if (websocket->bytes_read > 0)
        connection->read_bytes_max =
            frames <= 1 && websocket->bytes_read >= connection->read_bytes_max ? READ_BYTES
                                                                               : SHORT_READ_BYTES;
    websocket->frames_read = 0;
    websocket->bytes_read = 0;
    websocket->frames_spent_until_us = spent_us;
    connection->shared->counters.slowed_by_budget += wait_us > 0;
    if (spent_us > now_us + WEBSOCKET_BURST_US + wait_us)
        wait_us = spent_us - now_us - WEBSOCKET_BURST_US;
    connection->shared->counters.websocket_pauses += wait_us > 0;
    if ((frames <= FRAMES_PER_TURN && wait_us == 0) || connection->is_doomed)
        return;
    websocket->is_paused = true;
    connection_stop_reading(connection);
    connection_set_deadline(connection, wait_us / 1000 + 1);
}

static void deadline_passed(void *context)
{
    struct websocket *websocket = context;
    struct connection *connection = websocket->connection;

    if (!websocket->is_paused) {
        connection->shared->counters.bodies_slow++;
        connection_close(connection);
        return;
    }
    websocket->is_paused = false;
    connection_set_deadline(connection,
                            websocket->message_begun ? WEBSOCKET_MESSAGE_TIMEOUT_MS : 0);
    connection_start_reading(connection);
}

static void lost(void *context)
{
    struct websocket *websocket = context;

    websocket->connection = NULL;
    notify_owner(websocket, false);
    websocket_free(websocket);
}

static const struct connection_protocol websocket_protocol = {
    .received = received,
    .read_done = read_done,
    .deadline_passed = deadline_passed,
    .lost = lost,
};

/* ---- sending ---- */

static ssize_t header_bytes(const uint8_t *bytes, size_t count, int flags, void *context)
{
    struct engine_packet *packet = *(struct engine_packet **)context;

    /* wslay gives the header first. We keep only that: the packet already has the payload. */
    if (packet->header_bytes == 0) {
        packet->header_bytes = (uint8_t)count;
        memcpy(engine_packet_payload(packet) - count, bytes, count);
    }
    return (ssize_t)count;
}

/* Puts the frame header in front of the payload, once for all clients that get the packet. */
static bool frame_packet(struct engine_packet *packet)
{
    static const struct wslay_frame_callbacks callbacks = {.send_callback = header_bytes};
    static wslay_frame_context_ptr encoder; /* made once; has no state between two frames */
    static struct engine_packet *encoding;
    struct wslay_frame_iocb frame = {
        .fin = 1,
        .opcode = packet->is_binary ? WSLAY_BINARY_FRAME : WSLAY_TEXT_FRAME,
        .payload_length = packet->bytes,
        .data = (const uint8_t *)engine_packet_payload(packet),
        .data_length = packet->bytes,
    };

    if (packet->header_bytes > 0)
        return true;
    if (encoder == NULL && wslay_frame_context_init(&encoder, &callbacks, &encoding) != 0)
        return false;
    encoding = packet;
    return wslay_frame_send(encoder, &frame) >= 0 && packet->header_bytes > 0;
}

static void release_packet(void *owner)
{
    engine_packet_unref(owner);
}

bool websocket_send(struct websocket *websocket, struct engine_packet *packet)
{
    if (!frame_packet(packet) ||
        connection_queued_bytes(websocket->connection) > WEBSOCKET_QUEUE_BYTES_MAX)
        return false;
    connection_write_shared(
        websocket->connection, engine_packet_payload(packet) - packet->header_bytes,
        packet->header_bytes + packet->bytes, release_packet, engine_packet_ref(packet));
    return true;
}

void websocket_set_message_max(struct websocket *websocket, size_t message_bytes_max, bool is_known,
                               uint16_t account)
{
    struct connection *connection = websocket->connection;

    if (connection != NULL)
        budget_move(&connection->shared->budgets, &connection->share, connection->share.slot,
                    is_known);
    if (connection != NULL)
        connection->share.account = account;

    websocket->message_bytes_max = message_bytes_max;
    wslay_event_config_set_max_recv_msg_length(websocket->frames, message_bytes_max);
}

void websocket_close(struct websocket *websocket, uint16_t code)
{
    websocket->handlers = NULL;
    if (wslay_event_queue_close(websocket->frames, code, NULL, 0) != 0)
        connection_close_soon(websocket->connection);
    wslay_event_shutdown_read(websocket->frames);
    if (!websocket->is_feeding)
        flush_control(websocket);
}

void websocket_abort(struct websocket *websocket)
{
    websocket->handlers = NULL;
    connection_close(websocket->connection);
}

/* ---- handshake, RFC 6455 4.2 ---- */

bool websocket_wanted(const struct http_request *request)
{
    const struct http_head *head = &request->head;

    return slice_is(head->method, "GET") && head->version_1_1 &&
           slice_has_token(http_field(head, "upgrade"), "websocket") &&
           slice_has_token(http_field(head, "connection"), "upgrade");
}

static bool accept_key(const struct http_head *head, char accept[29])
{
    struct slice key = http_field(head, "sec-websocket-key");
    unsigned char nonce[18], hash[SHA_DIGEST_LENGTH];
    char text[24 + 36 + 1];

    if (http_field_count(head, "sec-websocket-key") != 1 || key.bytes != 24 ||
        base64_decode(key.at, key.bytes, nonce) != 16)
        return false;
    snprintf(text, sizeof(text), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.at);
    SHA1((unsigned char *)text, sizeof(text) - 1, hash);
    accept[base64_encode(hash, sizeof(hash), accept)] = '\0';
    return true;
}

/* NULL: no memory. */
static struct websocket *websocket_new(void)
{
    struct websocket *websocket = calloc(1, sizeof(*websocket));

    if (websocket != NULL &&
        wslay_event_context_server_init(&websocket->frames, &frame_callbacks, websocket) != 0) {
        free(websocket); /* wslay has freed its part */
        return NULL;
    }
    return websocket;
}

struct websocket *websocket_accept(struct http_request *request,
                                   const struct websocket_handlers *handlers, void *context,
                                   size_t message_bytes_max)
{
    struct http_connection *http = request->connection;
    struct websocket *websocket;
    char accept[29], *reply = NULL;
    int count;

    if (!slice_is(http_field(&request->head, "sec-websocket-version"), "13")) {
        http_reply_header(request, "Sec-WebSocket-Version", "13");
        http_reply_error(request, 426, "Only WebSocket version 13 is supported");
        return NULL;
    }
    if (!accept_key(&request->head, accept) || request->head.body != HTTP_BODY_NONE ||
        http->kept_bytes > 0) {
        http_reply_error(request, 400, "Malformed WebSocket handshake");
        return NULL;
    }
    websocket = websocket_new();
    if (websocket == NULL ||
        (count = asprintf(&reply,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                          accept)) < 0) {
        if (websocket != NULL)
            websocket_free(websocket);
        http_reply_error(request, 503, "Out of memory");
        return NULL;
    }
    wslay_event_config_set_no_buffering(websocket->frames, 1);
    websocket->connection = &http->connection;
    websocket_set_message_max(websocket, message_bytes_max, false, BUDGET_NO_SLOT);
    websocket->handlers = handlers;
    websocket->context = context;
    http->connection.shared->counters.websockets++;
    http->connection.read_bytes_max = SHORT_READ_BYTES;
    connection_set_protocol(&http->connection, &websocket_protocol, websocket);
    connection_set_deadline(&http->connection, 0);
    connection_write(&http->connection, reply, (size_t)count, NULL, 0, false);
    http_request_detach(request);
    http_request_free(request);
    return websocket;
}
