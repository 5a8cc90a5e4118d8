/* The sandbox of the control plane: system calls that it never needs fail with EPERM, in all threads.
 *
 * It parses what strangers send and talks to databases, and libuv, libpq and OpenSSL may make nearly
 * any call of a usual server. So this is a list of what is refused (the data plane has a list of what
 * is allowed): starting programs and processes, looking into other processes or signalling them,
 * memory that is both writable and executable, namespaces and mounts, kernel modules, keys of the
 * kernel, io_uring, changing the clock or the host.
 *
 * Without settings->sandbox, and in builds with a sanitizer, nothing is refused and the log says so. */
#ifndef RINGCAST_CONTROLPLANE_SANDBOX_H
#define RINGCAST_CONTROLPLANE_SANDBOX_H

#include <stdbool.h>

#include "src/settings.h"

/* Call this after the process has become its final user. False: `why` (WHY_BYTES) says what is
 * wrong. */
bool sandbox_enter(const struct settings *settings, char *why);

#endif
