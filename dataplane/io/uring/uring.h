/* The backend over io_uring (Linux 6.0 or newer). The kernel receives datagrams into a ring of
 * buffers. Where the device takes data without a copy, the backend sends without one. */
#ifndef RINGCAST_IO_URING_H
#define RINGCAST_IO_URING_H

#include "dataplane/io/io.h"

extern const struct io_backend io_uring_backend;

#endif
