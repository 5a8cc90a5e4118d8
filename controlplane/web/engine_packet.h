/* An outgoing packet of Engine.IO. It is encoded once and can be sent to many clients.
 *
 *   ┌ room for a frame header ┬ payload ┐
 *   └────────── 10 ───────────┴─────────┘
 *
 * A WebSocket frame is the header, which ends where the payload begins, and the payload. Polling
 * sends the payload alone.
 *
 * Threads: the loop's. Memory: counted references; engine_packet_new gives one. */
#ifndef RINGCAST_WEB_ENGINE_PACKET_H
#define RINGCAST_WEB_ENGINE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_PACKET_HEADER_ROOM 10 /* RFC 6455 5.2: a server's frame is not masked */

struct engine_packet {
    uint32_t references;
    bool is_binary;
    uint8_t header_bytes; /* 0: not framed yet */
    size_t bytes;         /* of the payload */
    unsigned char data[];
};

/* payload NULL: the caller fills engine_packet_payload. Returns NULL when there is no memory. */
struct engine_packet *engine_packet_new(const void *payload, size_t bytes, bool is_binary);
struct engine_packet *engine_packet_ref(struct engine_packet *packet);
void engine_packet_unref(struct engine_packet *packet);

static inline char *engine_packet_payload(struct engine_packet *packet)
{
    return (char *)packet->data + ENGINE_PACKET_HEADER_ROOM;
}

#endif
