/* WebSocket (RFC 6455) on a connection of the HTTP server; frames are wslay's. No extensions.
 *
 * Threads: the loop's.
 * Memory: a struct websocket belongs to its connection. It may be used until `closed` was called or
 *         websocket_close / websocket_abort were: after either, no handler is called any more.
 * Limits: message_bytes_max from the peer (1009), HTTP_BODY_TIMEOUT_MS from a message's first byte to
 *         its last, WEBSOCKET_QUEUE_BYTES_MAX towards the peer. */
#ifndef RINGCAST_WEBSOCKET_H
#define RINGCAST_WEBSOCKET_H

#include "engine_packet.h"

#define WEBSOCKET_QUEUE_BYTES_MAX (1024 * 1024) /* threats.md C20 */

struct websocket;
struct http_request;

struct websocket_handlers {
    /* Text is valid UTF-8. bytes[count] is NUL. */
    void (*message)(void *context, const char *bytes, size_t count, bool is_binary);
    /* peer_closed: with a close frame; else the connection broke or its grammar did. */
    void (*closed)(void *context, bool peer_closed);
};

/* Does the request ask for a WebSocket? */
bool websocket_wanted(const struct http_request *request);
/* Answers 101 and turns the request's connection into a WebSocket; the request is used up. NULL: the
 * handshake was bad and has been answered (400, 426). */
struct websocket *websocket_accept(struct http_request *request,
                                   const struct websocket_handlers *handlers, void *context,
                                   size_t message_bytes_max);
void websocket_set_message_max(struct websocket *websocket, size_t message_bytes_max);
/* The caller keeps its reference. false: the peer does not read fast enough; nothing was queued. */
bool websocket_send(struct websocket *websocket, struct engine_packet *packet);
void websocket_close(struct websocket *websocket, uint16_t code);
void websocket_abort(struct websocket *websocket);

#endif
