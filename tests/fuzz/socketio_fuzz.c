/* uses: controlplane */
/* Decodes arbitrary text as a Socket.IO packet. A packet that is accepted can be encoded again, and
 * that decodes to the same packet. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/socketio_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct socketio_packet packet, again;
    struct engine_packet *said;

    if (!socketio_decode((const char *)data, bytes, &packet))
        return 0;
    if (packet.attachments > SOCKETIO_ATTACHMENTS_MAX || packet.name_space[0] != '/' ||
        memchr(packet.name_space, '\0', sizeof(packet.name_space)) == NULL)
        abort();
    said = socketio_encode(packet.type, packet.attachments, packet.name_space, packet.ack,
                           packet.data);
    if (said == NULL || engine_packet_payload(said)[0] != '4')
        abort();
    if (!socketio_decode(engine_packet_payload(said) + 1, said->bytes - 1, &again) ||
        again.type != packet.type || again.ack != packet.ack ||
        again.attachments != packet.attachments || strcmp(again.name_space, packet.name_space) != 0)
        abort();
    socketio_packet_clear(&again);
    socketio_packet_clear(&packet);
    engine_packet_unref(said);
    return 0;
}
