/* Outgoing packets of Engine.IO, with counted references. */
#include "engine_packet.h"

#include <stdlib.h>
#include <string.h>

struct engine_packet *engine_packet_new(const void *payload, size_t bytes, bool is_binary)
{
    struct engine_packet *packet = malloc(sizeof(*packet) + ENGINE_PACKET_HEADER_ROOM + bytes);

    if (packet == NULL)
        return NULL;
    *packet = (struct engine_packet){.references = 1, .is_binary = is_binary, .bytes = bytes};
    if (payload != NULL)
        memcpy(engine_packet_payload(packet), payload, bytes);
    return packet;
}

struct engine_packet *engine_packet_ref(struct engine_packet *packet)
{
    packet->references++;
    return packet;
}

void engine_packet_unref(struct engine_packet *packet)
{
    if (packet != NULL && --packet->references == 0)
        free(packet);
}
