/* The backend over recvmmsg and sendmmsg, for machines where io_uring is forbidden
 * or too old. */
#ifndef RINGCAST_IO_SOCKET_H
#define RINGCAST_IO_SOCKET_H

#include "io.h"

extern const struct io_backend io_socket_backend;

#endif
