/* Retransmission payloads. */
#include "rtx.h"

#include <string.h>

void rtx_unwrap(uint8_t *data, struct rtp_view *view, uint32_t ssrc, uint16_t sequence,
                uint8_t payload_type)
{
    uint8_t *packet = data + RTX_NUMBER_BYTES;

    memmove(packet, data, view->header_bytes);
    packet[0] &= 0xdf; /* clears the padding bit: only the retransmission had the padding */
    packet[1] = (uint8_t)((packet[1] & 0x80) | payload_type);
    packet[2] = (uint8_t)(sequence >> 8);
    packet[3] = (uint8_t)sequence;
    packet[8] = (uint8_t)(ssrc >> 24);
    packet[9] = (uint8_t)(ssrc >> 16);
    packet[10] = (uint8_t)(ssrc >> 8);
    packet[11] = (uint8_t)ssrc;
    view->ssrc = ssrc;
    view->sequence = sequence;
    view->payload_type = payload_type;
    view->has_padding = false;
    view->bytes = (uint16_t)(view->bytes - RTX_NUMBER_BYTES);
}
