/* One outgoing message, encoded once however many sockets it goes to.
 *
 *   ┌ room for the frame header ┬ payload ┐
 *   └──────────── 10 ───────────┴─────────┘   the WebSocket frame is the end of the first part and
 *                                             the second; polling takes the payload alone
 *
 * Threads: the loop's. Memory: counted; packet_new gives one reference. */
#ifndef RINGCAST_WEB_PACKET_H
#define RINGCAST_WEB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_HEADER_ROOM 10 /* RFC 6455 5.2: a server's frame is not masked */

struct packet {
    uint32_t references;
    bool is_binary;
    uint8_t header_bytes; /* 0: not framed yet */
    size_t bytes;         /* of the payload */
    unsigned char data[];
};

/* payload may be NULL: then the caller fills packet_payload. NULL when memory is out. */
struct packet *packet_new(const void *payload, size_t bytes, bool is_binary);
struct packet *packet_ref(struct packet *packet);
void packet_unref(struct packet *packet);

static inline char *packet_payload(struct packet *packet)
{
    return (char *)packet->data + PACKET_HEADER_ROOM;
}

#endif
