/* Messages to a service manager, without its library: readiness, watchdog, and the descriptor store
 * that keeps our regions and sockets while the supervisor is replaced.
 *
 * Protocol: sd_notify(3) and sd_listen_fds(3). A message is a datagram of "KEY=value\n" lines to
 *           the Unix socket that NOTIFY_SOCKET names ('@' first: an abstract one), with descriptors
 *           as SCM_RIGHTS. Stored descriptors come back as numbers 3, 4, …; LISTEN_FDS is their
 *           count, LISTEN_FDNAMES has their names, separated by colons.
 * Without NOTIFY_SOCKET every function succeeds and does nothing, so a person can start the
 * programs.
 * Threads:  one at a time. Memory: none kept.
 * Waiting:  no call waits longer than 200 ms for a manager that does not read; notify_watchdog and
 *           notify_status do not wait at all.
 * Errors:   -1 with errno (EAGAIN: the manager does not read); nothing is logged. */
#ifndef RINGCAST_NOTIFY_H
#define RINGCAST_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "descriptors.h"

/* True when a service manager listens, so that descriptors can be stored. */
bool notify_wanted(void);

int notify_ready(void);
/* Send it before a reload. Send notify_ready after it, even if the reload failed. */
int notify_reloading(void);
int notify_stopping(void);
int notify_watchdog(void);
/* Asks for this much time to stop, from now on, instead of the unit's TimeoutStopSec. */
int notify_extend_timeout(uint64_t us);
int notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The service manager kills us when it gets no notify_watchdog for this long, in microseconds
 * (WATCHDOG_USEC, if WATCHDOG_PID is our process or is not set); 0: never. Send it twice as
 * often. */
uint64_t notify_watchdog_interval_us(void);

/* Stores a duplicate of fd under a name (printable ASCII without colon, shorter than
 * DESCRIPTOR_NAME_BYTES). It stays there until it is removed. Do not store a name twice: the store
 * would keep both. */
int notify_store(int fd, const char *name_format, ...) __attribute__((format(printf, 2, 3)));
/* Removes all descriptors with that name. */
int notify_store_remove(const char *name_format, ...) __attribute__((format(printf, 1, 2)));
int notify_store_all(const struct descriptors *set);

/* Fills the set with the descriptors that an earlier process of this service stored, close-on-exec,
 * and unsets the LISTEN_ variables, so that no child uses them. Returns the number of descriptors;
 * 0 when there are none or they are for another process; -1, with an empty set, when the
 * variables are wrong. */
int notify_take_stored(struct descriptors *set);

#endif
