/* Keeping and decrypting samples of what workers send. */
#include "samples.h"

#include <string.h>

#include "packets.h"

void samples_look(void *context, const struct path *path, const uint8_t *data, uint32_t bytes)
{
    struct samples *samples = context;
    struct sample *s;

    /* Every seventh one: a prime number, so that no producer and no place in a burst is left out.
     */
    if (samples->seen++ % 7 != 0 || samples->count == SAMPLES_MAX || bytes > DATAGRAM_ROOM ||
        datagram_classify(data, bytes) != DATAGRAM_rtp)
        return;
    s = &samples->of[samples->count++];
    s->path = *path;
    s->bytes = bytes;
    memcpy(s->data, data, bytes);
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint32_t sample_open(struct bench_world *world, struct sample *s, const uint64_t *next_index,
                     uint32_t back)
{
    const struct world_shape *shape = &world->shape;
    uint32_t consumer = load32(s->data + 8) - world_consumer_ssrc(0);
    uint32_t room = consumer / shape->publishers / shape->subscribers;
    uint32_t producer = room * shape->publishers + consumer % shape->publishers;
    uint32_t transport =
        world_subscriber(world, room, consumer / shape->publishers % shape->subscribers);
    struct path path = world_path(transport);
    struct srtp_key key;
    /* The worker began at a random index of 14 bits and counts as the producer does. The engine
     * computes the roll-over counter from highest_index. */
    struct srtp_stream stream = {.started = true};
    struct srtp_unprotect_job job = {
        .key = &key,
        .stream = &stream,
        .packet = s->data,
        .ssrc = load32(s->data + 8),
        .sequence = (uint16_t)(s->data[2] << 8 | s->data[3]),
        .header_bytes = PACKET_HEADER_BYTES,
        .bytes = (uint16_t)s->bytes,
    };

    if (room >= shape->room_count || !path_equal(&path, &s->path))
        bench_die("a packet of consumer %u went to another client", consumer);
    stream.highest_index = next_index[producer] - back - 1;
    world_client_key(world, transport, true, &key);
    srtp_unprotect_burst(world->crypto, &job, 1);
    if (job.result != SRTP_OK)
        bench_die("the client of consumer %u cannot decrypt its packet", consumer);
    s->bytes = job.bytes;
    return producer;
}
