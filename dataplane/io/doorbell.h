/* The doorbell of a worker: an eventfd that other threads and processes write to. */
#ifndef RINGCAST_IO_DOORBELL_H
#define RINGCAST_IO_DOORBELL_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/* Resetting it must never wait, whoever read it in between. */
static inline bool doorbell_prepare(int fd)
{
    int flags = fd < 0 ? 0 : fcntl(fd, F_GETFL);

    if (fd < 0)
        return true;
    return flags >= 0 && (flags & O_NONBLOCK || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

/* True when it had been rung since the last time. */
static inline bool doorbell_reset(int fd)
{
    uint64_t rings;

    return fd >= 0 && read(fd, &rings, sizeof(rings)) == sizeof(rings);
}

#endif
