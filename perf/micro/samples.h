/* Some of the packets that workers send, kept and decrypted as their receivers would do it. */
#ifndef RINGCAST_BENCH_SAMPLES_H
#define RINGCAST_BENCH_SAMPLES_H

#include "world.h"

#define SAMPLES_MAX 256
#define DATAGRAM_ROOM 1600

struct sample {
    struct path path;
    uint32_t bytes;
    uint8_t data[DATAGRAM_ROOM];
};

struct samples {
    size_t seen, count;
    struct sample of[SAMPLES_MAX];
};

/* For io_replay_sink: keeps some of the RTP packets. */
void samples_look(void *samples, const struct path *path, const uint8_t *data, uint32_t bytes);
/* Decrypts the sample in place with its subscriber's key and returns its producer. Ends the program
 * when it went to a wrong client or does not decrypt. next_index: of each producer. The producer
 * has sent more than `back` packets, and the sample must be one of the last `back`. */
uint32_t sample_open(struct bench_world *world, struct sample *sample, const uint64_t *next_index,
                     uint32_t back);

#endif
