/* The packet pool's memory, and the headers that consumers get. */
#include "packet.h"

#include <sys/mman.h>

bool pool_open(struct pool *pool)
{
    void *memory = mmap(NULL, sizeof(struct packet) * POOL_PACKETS, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    *pool = (struct pool){0};
    if (memory == MAP_FAILED)
        return false;
    madvise(memory, sizeof(struct packet) * POOL_PACKETS,
            MADV_DONTDUMP); /* what people say and show must not be in a core dump */
    pool->packets = memory;
    return true;
}

void pool_close(struct pool *pool)
{
    if (pool->packets)
        munmap(pool->packets, sizeof(struct packet) * POOL_PACKETS);
    *pool = (struct pool){0};
}

const struct rtp_template *packet_header_build(struct packet *packet, const uint8_t *sent_id,
                                               const struct header_kind *kind)
{
    struct packet_header *header = &packet->headers[kind->mid_bytes % PACKET_HEADERS];
    struct rtp_template_options options = {
        .sent_id = sent_id,
        .mask = kind->extension_mask,
        .mid_bytes = kind->mid_bytes,
        .payload_type = kind->payload_type,
        .has_padding = packet->padding_bytes > 0,
    };

    rtp_template_build(&header->template, packet->data, &packet->view, &options);
    header->kind = *kind;
    return &header->template;
}
