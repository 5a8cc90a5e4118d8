/* RTP padding that makes neighbours equal: the packets of a video frame differ by a few bytes, and only
 * equal ones (the last may be shorter) leave as one segmented send. A send costs what protecting and
 * copying some ten thousand bytes costs (limits.md A2), so a few bytes of padding are cheap.
 *
 *   sizes as they came   1187 1187 1186 1186 | 1187 …         three sends to each subscriber
 *   padded               1187 1187 1187 1186                  one
 *
 * It is written once, behind the payload in the packet's room, for all consumers (RFC 3550 5.1: the P
 * bit, and the last byte counts). */
#include <string.h>

#include "worker.h"

#define PADDING_MAX 32 /* bytes; two extensions and what a packetizer leaves uneven */
#define RUN_MAX 64     /* packets looked at together; = IO_SEGMENTS_MAX */

/* What a consumer like the one that came last will get, without tag. */
static uint32_t size_towards_consumers(const struct producer *p, struct packet *packet)
{
    return packet_header_for(packet, p, &p->typical)->size + packet->payload_bytes;
}

static void pad(struct packet *packet, uint32_t bytes)
{
    uint8_t *end = packet->room + packet->bytes;

    if (bytes == 0 || packet->bytes + bytes > DATAGRAM_BYTES_MAX)
        return;
    memset(end, 0, bytes);
    end[bytes - 1] = (uint8_t)bytes;
    packet->padding_bytes = (uint8_t)bytes;
    packet->bytes = (uint16_t)(packet->bytes + bytes);
    packet->payload_bytes = (uint16_t)(packet->payload_bytes + bytes);
    packet_headers_clear(packet); /* without the P bit */
}

/* How many packets from the first on can leave as one, and the size they need. */
static unsigned group(const uint32_t *sizes, unsigned count, uint32_t *size)
{
    uint32_t smallest = sizes[0], largest = sizes[0];
    unsigned n = 1;

    for (; n < count; n++) {
        uint32_t low = sizes[n] < smallest ? sizes[n] : smallest;
        uint32_t high = sizes[n] > largest ? sizes[n] : largest;

        if (high - low > PADDING_MAX) {
            n += sizes[n] < largest; /* as the last one it may be shorter */
            break;
        }
        smallest = low;
        largest = high;
    }
    *size = largest;
    return n;
}

void padding_merge(const struct producer *p, struct packet *const *packets, unsigned count)
{
    uint32_t sizes[RUN_MAX], size;

    if (count > RUN_MAX)
        count = RUN_MAX;
    if (count < 2 || !p->typical.payload_type)
        return;
    for (unsigned i = 0; i < count; i++)
        sizes[i] = size_towards_consumers(p, packets[i]);
    for (unsigned first = 0, n; first < count; first += n) {
        n = group(sizes + first, count - first, &size);
        for (unsigned i = first; i + 1 < first + n; i++)
            pad(packets[i], size - sizes[i]);
    }
}
