/* Taking received super-datagrams apart; see super_datagram.h. */
#include "super_datagram.h"

size_t super_datagram_split(struct super_datagram *from, struct io_datagram *datagrams, size_t room,
                            struct io_counters *counters)
{
    size_t count = 0;

    while (from->pending && count < room) {
        struct io_datagram *datagram = &datagrams[count++];
        uint32_t bytes = from->bytes;

        if (from->segment_bytes && bytes > from->segment_bytes)
            bytes = from->segment_bytes;
        datagram->data = from->data;
        datagram->bytes = bytes;
        datagram->path = from->path;
        from->data += bytes;
        from->bytes -= bytes;
        from->pending = from->bytes > 0;
        counters->received++;
        counters->received_bytes += bytes;
        __builtin_prefetch(datagram->data, 1);
    }
    return count;
}
