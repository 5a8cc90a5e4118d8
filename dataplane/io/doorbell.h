/* The doorbell of a worker: an eventfd. Other threads and processes write to it to wake the
 * worker. */
#ifndef RINGCAST_IO_DOORBELL_H
#define RINGCAST_IO_DOORBELL_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/* Makes it non-blocking: a reset must never wait, even if somebody else has just read it. False:
 * `fd` is not a descriptor. fd -1 (no doorbell) is true. */
static inline bool doorbell_prepare(int fd)
{
    int flags = fd < 0 ? 0 : fcntl(fd, F_GETFL);

    if (fd < 0)
        return true;
    return flags >= 0 && (flags & O_NONBLOCK || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

/* True when it was rung since the last reset. */
static inline bool doorbell_reset(int fd)
{
    uint64_t rings;

    return fd >= 0 && read(fd, &rings, sizeof(rings)) == sizeof(rings);
}

#endif
