/* Outgoing messages, counted. */
#include "packet.h"

#include <stdlib.h>
#include <string.h>

struct packet *packet_new(const void *payload, size_t bytes, bool is_binary)
{
    struct packet *packet = malloc(sizeof(*packet) + PACKET_HEADER_ROOM + bytes);

    if (packet == NULL)
        return NULL;
    *packet = (struct packet){.references = 1, .is_binary = is_binary, .bytes = bytes};
    if (payload != NULL)
        memcpy(packet_payload(packet), payload, bytes);
    return packet;
}

struct packet *packet_ref(struct packet *packet)
{
    packet->references++;
    return packet;
}

void packet_unref(struct packet *packet)
{
    if (packet != NULL && --packet->references == 0)
        free(packet);
}
