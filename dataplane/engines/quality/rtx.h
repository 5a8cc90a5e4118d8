/* Retransmission payloads (RFC 4588 4): the sequence number that the packet had at first stands in
 * front of its payload.
 *
 * Shape:   functions of bytes; no state, no I/O, no clock.
 * Units:   bytes.
 * Threads: any.
 * Errors:  false: the packet carries nothing to repair with. Publishers send such packets to measure
 *          the bandwidth. */
#ifndef RINGCAST_RTX_H
#define RINGCAST_RTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/engines/rtp.h"

#define RTX_NUMBER_BYTES 2

/* The sequence number that a decrypted retransmission names. payload_bytes: without padding. */
static inline bool rtx_read(const uint8_t *data, const struct rtp_view *view, size_t payload_bytes,
                            uint16_t *sequence)
{
    const uint8_t *payload = data + view->header_bytes;

    if (payload_bytes <= RTX_NUMBER_BYTES)
        return false;
    *sequence = (uint16_t)(payload[0] << 8 | payload[1]);
    return true;
}

/* Makes the original packet from a retransmission. The header moves up by RTX_NUMBER_BYTES, over
 * the number. So the original packet begins at data + RTX_NUMBER_BYTES. `view` is changed to match;
 * its header_bytes stays the same. Extensions stay as they came. */
void rtx_unwrap(uint8_t *data, struct rtp_view *view, uint32_t ssrc, uint16_t sequence,
                uint8_t payload_type);

#endif
