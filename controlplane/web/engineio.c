/* Engine.IO 4 sessions. */
#include "engineio.h"

#include <stdio.h>
#include <stdlib.h>

#define RECORD_SEPARATOR '\x1e'

struct engine_node {
    struct engine_node *next;
    struct engine_packet *packet;
};

const char *engine_error_text(enum engine_error error)
{
    static const char *const texts[] = {
        [ENGINE_UNKNOWN_TRANSPORT] = "Transport unknown",
        [ENGINE_UNKNOWN_SID] = "Session ID unknown",
        [ENGINE_BAD_METHOD] = "Bad handshake method",
        [ENGINE_BAD_REQUEST] = "Bad request",
        [ENGINE_FORBIDDEN] = "Forbidden",
        [ENGINE_UNSUPPORTED_VERSION] = "Unsupported protocol version",
        [ENGINE_FINE] = "",
    };

    return texts[error];
}

/* ---- the queue towards a polling client ---- */

static void queue_clear(struct engine *engine)
{
    while (engine->head != NULL) {
        struct engine_node *node = engine->head;

        engine->head = node->next;
        engine_packet_unref(node->packet);
        free(node);
    }
    engine->tail = &engine->head;
    engine->queued_bytes = 0;
}

static bool queue_add(struct engine *engine, struct engine_packet *packet)
{
    struct engine_node *node;

    if (engine->queued_bytes > ENGINE_QUEUE_BYTES_MAX)
        return false;
    node = malloc(sizeof(*node));
    if (node == NULL)
        return false;
    *node = (struct engine_node){.packet = engine_packet_ref(packet)};
    *engine->tail = node;
    engine->tail = &node->next;
    engine->queued_bytes += packet->bytes;
    return true;
}

/* Joins the queued packets with 0x1e. Binary packets are 'b' and base64. */
static char *queue_encode(struct engine *engine, size_t *bytes)
{
    size_t room = 8, at = 0;
    char *body;

    for (const struct engine_node *node = engine->head; node != NULL; node = node->next)
        room += node->packet->is_binary ? node->packet->bytes / 3 * 4 + 8 : node->packet->bytes + 1;
    body = malloc(room);
    if (body == NULL)
        return NULL;
    for (const struct engine_node *node = engine->head; node != NULL; node = node->next) {
        struct engine_packet *packet = node->packet;

        if (at > 0)
            body[at++] = RECORD_SEPARATOR;
        if (packet->is_binary) {
            body[at++] = 'b';
            at += base64_encode((unsigned char *)engine_packet_payload(packet), packet->bytes,
                                body + at);
        } else {
            memcpy(body + at, engine_packet_payload(packet), packet->bytes);
            at += packet->bytes;
        }
    }
    body[at] = '\0';
    *bytes = at;
    return body;
}

/* ---- the end ---- */

static void end(struct engine *engine, const char *reason)
{
    if (engine->state == ENGINE_CLOSED)
        return;
    engine->state = ENGINE_CLOSED;
    engine->close_reason = reason;
    queue_clear(engine);
    if (engine->probe != ENGINE_NO_PROBE) {
        engine->probe = ENGINE_NO_PROBE;
        engine->out->link_close(engine->owner, ENGINE_PROBE_LINK);
    }
    /* The waiting poll is answered: with a noop when the client closed, otherwise with a close. */
    if (engine->poll_waits) {
        engine->poll_waits = false;
        engine->out->poll(engine->owner, strcmp(reason, "transport close") == 0 ? "6" : "1", 1);
    }
    if (engine->transport == ENGINE_WEBSOCKET)
        engine->out->link_close(engine->owner, ENGINE_LINK);
    engine->out->closed(engine->owner, reason);
}

void engine_abort(struct engine *engine, const char *reason)
{
    end(engine, reason);
}

/* ---- out ---- */

/* A closing session answers one poll with its last messages and the next poll with the close.
 * Clients act on a close at once, but on messages only a moment later. */
static void flush_poll(struct engine *engine)
{
    bool is_last = engine->state == ENGINE_CLOSING && engine->head == NULL;
    size_t bytes;
    char *body;

    if (!engine->poll_waits || (engine->head == NULL && !is_last))
        return;
    if (is_last) {
        end(engine, engine->close_reason); /* answers the poll */
        return;
    }
    body = queue_encode(engine, &bytes);
    if (body == NULL) {
        end(engine, "transport error");
        return;
    }
    queue_clear(engine);
    engine->poll_waits = false;
    engine->out->poll(engine->owner, body, bytes);
    free(body);
}

static void send_packet(struct engine *engine, struct engine_packet *packet)
{
    bool fits;

    if (packet == NULL) {
        end(engine, "transport error");
        return;
    }
    if (engine->transport == ENGINE_WEBSOCKET)
        fits = engine->out->frame(engine->owner, ENGINE_LINK, packet);
    else
        fits = queue_add(engine, packet);
    if (!fits)
        end(engine, "slow reader");
    else if (engine->transport == ENGINE_POLLING)
        flush_poll(engine);
}

static void send_text(struct engine *engine, const char *text)
{
    struct engine_packet *packet = engine_packet_new(text, strlen(text), false);

    send_packet(engine, packet);
    engine_packet_unref(packet);
}

void engine_send(struct engine *engine, struct engine_packet *packet)
{
    if (engine->state == ENGINE_OPEN)
        send_packet(engine, packet);
}

void engine_close(struct engine *engine, const char *reason, uint64_t now_ms)
{
    if (engine->state != ENGINE_OPEN)
        return;
    if (engine->transport == ENGINE_WEBSOCKET) {
        end(engine, reason); /* the link sends its queued frames before it closes */
        return;
    }
    engine->state = ENGINE_CLOSING;
    engine->close_reason = reason;
    engine->close_until_ms = now_ms + engine->settings->ping_timeout_ms;
    flush_poll(engine);
}

void engine_open(struct engine *engine, const struct engine_settings *settings,
                 const struct engine_output *out, void *owner, enum engine_transport transport,
                 const char *sid, uint64_t now_ms)
{
    char text[256];

    *engine = (struct engine){.settings = settings, .out = out, .owner = owner};
    engine->tail = &engine->head;
    engine->transport = transport;
    engine->ping_at_ms = now_ms + settings->ping_interval_ms;
    snprintf(engine->sid, sizeof(engine->sid), "%s", sid);
    snprintf(text, sizeof(text),
             "0{\"sid\":\"%s\",\"upgrades\":[%s],\"pingInterval\":%u,\"pingTimeout\":%u,"
             "\"maxPayload\":%u}",
             sid, transport == ENGINE_POLLING ? "\"websocket\"" : "", settings->ping_interval_ms,
             settings->ping_timeout_ms, settings->payload_bytes_max);
    send_text(engine, text);
}

void engine_free(struct engine *engine)
{
    queue_clear(engine);
}

/* ---- in ---- */

static void take_message(struct engine *engine, const char *bytes, size_t count, bool is_binary)
{
    if (engine->state == ENGINE_OPEN)
        engine->out->message(engine->owner, bytes, count, is_binary);
}

/* One text packet of an open session. In protocol 4 the server sends pings and the client pongs. A
 * client may send a ping only as a probe. */
static void take_packet(struct engine *engine, const char *bytes, size_t count, uint64_t now_ms)
{
    switch (count == 0 ? '\0' : bytes[0]) {
    case '4':
        take_message(engine, bytes + 1, count - 1, false);
        return;
    case '3':
        engine->pong_until_ms = 0;
        engine->ping_at_ms = now_ms + engine->settings->ping_interval_ms;
        return;
    case '1':
        end(engine, "transport close");
        return;
    case '6':
        return;
    case '0':
    case '2':
    case '5':
        end(engine, "transport error");
        return;
    default:
        end(engine, "parse error");
    }
}

bool engine_poll(struct engine *engine, uint64_t now_ms)
{
    if (engine->state == ENGINE_CLOSED || engine->transport != ENGINE_POLLING)
        return false;
    if (engine->poll_waits) {
        /* Two polls at once: another client uses the session id, or the client has an error. */
        engine->poll_waits = false;
        engine->out->poll(engine->owner, "1", 1);
        end(engine, "transport error");
        return false;
    }
    engine->poll_waits = true;
    flush_poll(engine);
    if (engine->poll_waits && engine->probe == ENGINE_PROBED) {
        engine->poll_waits = false;
        engine->out->poll(engine->owner, "6", 1);
    }
    return true;
}

void engine_poll_gone(struct engine *engine)
{
    if (!engine->poll_waits)
        return;
    engine->poll_waits = false;
    end(engine, "transport close");
}

bool engine_post(struct engine *engine, const char *body, size_t bytes, uint64_t now_ms)
{
    struct slice rest = {body, bytes}, packet;
    unsigned packets = 0;

    if (engine->state == ENGINE_CLOSED || engine->transport != ENGINE_POLLING)
        return false;
    if (bytes == 0 || !utf8_valid(body, bytes)) {
        end(engine, "parse error");
        return false;
    }
    while (engine->state != ENGINE_CLOSED && slice_next(&rest, RECORD_SEPARATOR, &packet)) {
        if (++packets > ENGINE_POST_PACKETS_MAX) {
            end(engine, "parse error");
            return false;
        }
        if (packet.bytes > 0 && packet.at[0] == 'b') {
            unsigned char *binary = malloc(packet.bytes + 4);
            int64_t count =
                binary == NULL ? -1 : base64_decode(packet.at + 1, packet.bytes - 1, binary);

            if (count < 0)
                end(engine, "parse error");
            else
                take_message(engine, (char *)binary, (size_t)count, true);
            free(binary);
        } else {
            take_packet(engine, packet.at, packet.bytes, now_ms);
        }
    }
    /* A client that closed the session did nothing wrong. */
    return engine->state != ENGINE_CLOSED || (strcmp(engine->close_reason, "parse error") != 0 &&
                                              strcmp(engine->close_reason, "transport error") != 0);
}

bool engine_probe_open(struct engine *engine, uint64_t now_ms)
{
    if (engine->state != ENGINE_OPEN || engine->transport != ENGINE_POLLING ||
        engine->probe != ENGINE_NO_PROBE)
        return false;
    engine->probe = ENGINE_PROBE_OPEN;
    engine->probe_until_ms = now_ms + ENGINE_UPGRADE_TIMEOUT_MS;
    return true;
}

static void probe_end(struct engine *engine)
{
    engine->probe = ENGINE_NO_PROBE;
    engine->probe_until_ms = 0;
    engine->out->link_close(engine->owner, ENGINE_PROBE_LINK);
}

static void complete_upgrade(struct engine *engine)
{
    struct engine_node *node;

    engine->probe = ENGINE_NO_PROBE;
    engine->probe_until_ms = 0;
    engine->transport = ENGINE_WEBSOCKET;
    engine->out->upgraded(engine->owner);
    if (engine->poll_waits) {
        engine->poll_waits = false;
        engine->out->poll(engine->owner, "6", 1);
    }
    while (engine->state != ENGINE_CLOSED && (node = engine->head) != NULL) {
        engine->head = node->next;
        if (engine->head == NULL)
            engine->tail = &engine->head;
        engine->queued_bytes -= node->packet->bytes;
        send_packet(engine, node->packet);
        engine_packet_unref(node->packet);
        free(node);
    }
    /* The client does not poll any more. A closing session has now sent its last messages. */
    if (engine->state == ENGINE_CLOSING)
        end(engine, engine->close_reason);
}

/* The client sends "2probe", we send "3probe", the client sends "5": the session is upgraded.
 * Anything else closes the probe link, and the session stays as it was. */
static void take_probe(struct engine *engine, const char *bytes, size_t count, bool is_binary)
{
    struct engine_packet *answer;
    bool sent;

    if (!is_binary && engine->probe == ENGINE_PROBE_OPEN && count == 6 &&
        memcmp(bytes, "2probe", 6) == 0) {
        answer = engine_packet_new("3probe", 6, false);
        sent = answer != NULL && engine->out->frame(engine->owner, ENGINE_PROBE_LINK, answer);
        engine_packet_unref(answer);
        if (!sent) {
            probe_end(engine);
            return;
        }
        engine->probe = ENGINE_PROBED;
        if (engine->poll_waits) {
            engine->poll_waits = false;
            engine->out->poll(engine->owner, "6", 1);
        }
    } else if (!is_binary && engine->probe == ENGINE_PROBED && count == 1 && bytes[0] == '5') {
        complete_upgrade(engine);
    } else {
        probe_end(engine);
    }
}

void engine_frame(struct engine *engine, enum engine_link link, const char *bytes, size_t count,
                  bool is_binary, uint64_t now_ms)
{
    if (engine->state == ENGINE_CLOSED)
        return;
    if (link == ENGINE_PROBE_LINK) {
        if (engine->probe != ENGINE_NO_PROBE)
            take_probe(engine, bytes, count, is_binary);
        return;
    }
    if (engine->transport != ENGINE_WEBSOCKET)
        return;
    if (is_binary)
        take_message(engine, bytes, count, true);
    else
        take_packet(engine, bytes, count, now_ms);
}

void engine_link_gone(struct engine *engine, enum engine_link link, bool peer_closed)
{
    if (engine->state == ENGINE_CLOSED)
        return;
    if (link == ENGINE_PROBE_LINK) {
        engine->probe = ENGINE_NO_PROBE;
        engine->probe_until_ms = 0;
    } else if (engine->transport == ENGINE_WEBSOCKET) {
        end(engine, "transport close");
    }
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

uint64_t engine_deadline(const struct engine *engine)
{
    if (engine->state == ENGINE_CLOSED)
        return 0;
    if (engine->state == ENGINE_CLOSING)
        return engine->close_until_ms;
    return earlier(earlier(engine->ping_at_ms, engine->pong_until_ms), engine->probe_until_ms);
}

void engine_tick(struct engine *engine, uint64_t now_ms)
{
    if (engine->state == ENGINE_CLOSING && now_ms >= engine->close_until_ms) {
        end(engine, engine->close_reason);
        return;
    }
    if (engine->state != ENGINE_OPEN)
        return;
    if (engine->probe_until_ms != 0 && now_ms >= engine->probe_until_ms)
        probe_end(engine);
    if (engine->pong_until_ms != 0 && now_ms >= engine->pong_until_ms) {
        end(engine, "ping timeout");
        return;
    }
    if (engine->ping_at_ms != 0 && now_ms >= engine->ping_at_ms) {
        engine->ping_at_ms = 0;
        engine->pong_until_ms = now_ms + engine->settings->ping_timeout_ms;
        send_text(engine, "2");
    }
}
