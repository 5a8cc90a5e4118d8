/* The backend in memory, for tests and benchmarks: it receives the datagrams that the test queues,
 * and gives those that it sends to a function. It never sleeps. ringcast-dataplane does not have
 * it. */
#ifndef RINGCAST_IO_REPLAY_H
#define RINGCAST_IO_REPLAY_H

#include "io.h"

extern const struct io_backend io_replay_backend;

/* Without descriptors, so without a doorbell. NULL: no memory. */
struct io *io_replay_open(void);
/* Queues a copy of one datagram for the next receive. False when it is longer than 65536 bytes, or
 * when 4096 are queued already. */
bool io_replay_feed(struct io *io, const struct path *path, const uint8_t *data, uint32_t bytes);
/* From now on calls `sink` for every datagram that is sent; NULL: they are only counted. */
void io_replay_sink(struct io *io,
                    void (*sink)(void *context, const struct path *path, const uint8_t *data,
                                 uint32_t bytes),
                    void *context);

#endif
