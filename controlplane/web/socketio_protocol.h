/* Socket.IO 5 packets as text (the default parser), without I/O.
 *
 *   <type>[<attachments>-][<namespace>,][<ack id>][<JSON>]   then attachments, one message each
 *
 * Memory: a decoded packet owns its JSON. Errors: false when the packet breaks the protocol.
 * Limits: SOCKETIO_ATTACHMENTS_MAX, SOCKETIO_NAMESPACE_ROOM. Source: socket.io-protocol 5. */
#ifndef RINGCAST_SOCKETIO_PROTOCOL_H
#define RINGCAST_SOCKETIO_PROTOCOL_H

#include <cjson/cJSON.h>

#include "engine_packet.h"
#include "text.h"

#define SOCKETIO_ATTACHMENTS_MAX 8
#define SOCKETIO_NAMESPACE_ROOM 64
#define SOCKETIO_EVENT_BYTES_MAX 128

enum socketio_type {
    SOCKETIO_CONNECT,
    SOCKETIO_DISCONNECT,
    SOCKETIO_EVENT,
    SOCKETIO_ACK,
    SOCKETIO_CONNECT_ERROR,
    SOCKETIO_BINARY_EVENT,
    SOCKETIO_BINARY_ACK
};

struct socketio_packet {
    enum socketio_type type;
    unsigned attachments;
    int64_t ack; /* -1: none */
    char name_space[SOCKETIO_NAMESPACE_ROOM];
    cJSON *data; /* NULL: none */
};

/* text: what follows the Engine.IO '4'. The placeholders of binary packets are checked: each names
 * one of the announced attachments (CVE-2022-2421). */
bool socketio_decode(const char *text, size_t bytes, struct socketio_packet *packet);
void socketio_packet_clear(struct socketio_packet *packet);

/* Encodes an Engine.IO message (it begins with '4'). data is borrowed, and may be NULL. Returns
 * NULL when there is no memory. */
struct engine_packet *socketio_encode(enum socketio_type type, unsigned attachments,
                                      const char *name_space, int64_t ack, const cJSON *data);

#endif
