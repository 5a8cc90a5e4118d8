/* The backend over io_uring (Linux 6.0 or newer): datagrams are received into a ring of buffers
 * that the kernel fills by itself, and where the device really takes data without a copy, sent
 * without one. */
#ifndef RINGCAST_IO_URING_H
#define RINGCAST_IO_URING_H

#include "dataplane/io/io.h"

extern const struct io_backend io_uring_backend;

#endif
