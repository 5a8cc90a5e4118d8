/* RTP padding that makes neighbouring packets equal in size. */
#include "padding.h"

#define PADDING_BYTES_MAX 32 /* two header extensions, and the differences within a frame */

static void pad(struct packet *packet, uint32_t bytes)
{
    uint8_t *end = (uint8_t *)packet->data + packet->bytes; /* in its own room */

    if (bytes == 0 || packet->bytes + bytes > DATAGRAM_BYTES_MAX)
        return;
    memset(end, 0, bytes);
    end[bytes - 1] = (uint8_t)bytes;
    packet->padding_bytes = (uint8_t)bytes;
    packet->bytes = (uint16_t)(packet->bytes + bytes);
    packet->payload_bytes = (uint16_t)(packet->payload_bytes + bytes);
    packet_headers_clear(packet); /* those were built without the P bit */
}

/* How many packets from the first on can leave in one send, and the size that all but the last of
 * them need for it. */
static unsigned group(const uint32_t *sizes, unsigned count, uint32_t *size)
{
    uint32_t smallest = sizes[0], largest = sizes[0];
    unsigned n = 1;

    for (; n < count; n++) {
        uint32_t low = sizes[n] < smallest ? sizes[n] : smallest;
        uint32_t high = sizes[n] > largest ? sizes[n] : largest;

        if (high - low > PADDING_BYTES_MAX) {
            n += sizes[n] < largest; /* as the last one it may be shorter */
            break;
        }
        smallest = low;
        largest = high;
    }
    *size = largest;
    return n;
}

void padding_merge(const uint8_t *sent_id, const struct header_kind *typical,
                   struct packet *const *packets, unsigned count)
{
    uint32_t sizes[PADDING_RUN_MAX], size;

    if (count < 2 || !typical->payload_type)
        return;
    for (unsigned i = 0; i < count; i++)
        sizes[i] = packet_header_for(packets[i], sent_id, typical)->size +
                   packets[i]->payload_bytes; /* the tag is equally long for all */
    for (unsigned first = 0, n; first < count; first += n) {
        n = group(sizes + first, count - first, &size);
        for (unsigned i = first; i + 1 < first + n; i++)
            pad(packets[i], size - sizes[i]);
    }
}
