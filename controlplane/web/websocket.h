/* WebSocket (RFC 6455, without extensions) on a connection of the HTTP server. The library wslay
 * reads and writes the frames.
 *
 * Threads: the loop's.
 * Memory:  a struct websocket belongs to its connection. The owner may use it until `closed` is
 *          called or until it calls websocket_close or websocket_abort. Afterwards no handler is
 *          called.
 * Limits:  message_bytes_max from the peer (close code 1009), the budget of its address (1013), WEBSOCKET_MESSAGE_TIMEOUT_MS from the
 *          first byte of a message to its last, WEBSOCKET_QUEUE_BYTES_MAX towards the peer. */
#ifndef RINGCAST_WEB_WEBSOCKET_H
#define RINGCAST_WEB_WEBSOCKET_H

#include "engine_packet.h"

#define WEBSOCKET_QUEUE_BYTES_MAX (1024 * 1024) /* threat C20 */
#define WEBSOCKET_MESSAGE_TIMEOUT_MS 10000      /* threat C9 */
/* A client may send 640 frames a second, and 1000 at once. When it sends more we stop reading for a
 * while, so that TCP slows this client down and nobody else waits (threat C19). */
#define WEBSOCKET_FRAME_US 1562
#define WEBSOCKET_BYTES_PER_US 4 /* and 4 MB a second; an address has its budget besides */
#define WEBSOCKET_BURST_US (1000 * WEBSOCKET_FRAME_US)

/* What a client has spent when it has sent this besides. */
static inline uint64_t websocket_spent_us(uint64_t spent_until_us, uint64_t now_us, unsigned frames,
                                          size_t bytes)
{
    return (spent_until_us > now_us ? spent_until_us : now_us) +
           (uint64_t)frames * WEBSOCKET_FRAME_US + bytes / WEBSOCKET_BYTES_PER_US;
}

struct websocket;
struct http_request;

struct websocket_handlers {
    /* A text message is valid UTF-8. bytes[count] is NUL. */
    void (*message)(void *context, const char *bytes, size_t count, bool is_binary);
    /* peer_closed: the peer sent a close frame. Otherwise the connection or its grammar broke. */
    void (*closed)(void *context, bool peer_closed);
};

/* Does the request ask for a WebSocket? */
bool websocket_wanted(const struct http_request *request);
/* Answers 101 and turns the request's connection into a WebSocket; the request is freed. NULL: the
 * handshake was malformed and has been answered (400, 426). */
struct websocket *websocket_accept(struct http_request *request,
                                   const struct websocket_handlers *handlers, void *context,
                                   size_t message_bytes_max);
/* account: the slot of its budget, or BUDGET_NO_SLOT. is_known: a stranger's unfinished messages count in a smaller budget. */
void websocket_set_message_max(struct websocket *websocket, size_t message_bytes_max, bool is_known,
                               uint16_t account);
/* One packet is one message. The caller keeps its reference. False: the peer does not read fast
 * enough; nothing was queued. */
bool websocket_send(struct websocket *websocket, struct engine_packet *packet);
void websocket_close(struct websocket *websocket, uint16_t code);
void websocket_abort(struct websocket *websocket);

#endif
