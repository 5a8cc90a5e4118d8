/* Talking to a service manager without its library: readiness, watchdog, and the descriptor store
 * that keeps our regions and sockets while the supervisor itself is replaced.
 *
 * Protocol: sd_notify(3), sd_listen_fds(3): datagrams of "KEY=value\n" lines to the Unix socket named
 * in NOTIFY_SOCKET ('@' first: abstract), descriptors beside them as SCM_RIGHTS; stored descriptors
 * come back from number 3 on, LISTEN_FDS of them, named by LISTEN_FDNAMES (colon separated).
 *
 * Without NOTIFY_SOCKET every call here succeeds and does nothing: running by hand is no error.
 * Threads: one at a time. Memory: none kept. Errors: -1 with errno; nothing is logged. */
#ifndef RINGCAST_NOTIFY_H
#define RINGCAST_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "descriptors.h"

/* Is there a service manager that listens? Then descriptors can be stored. */
bool notify_wanted(void);

int notify_ready(void);
/* Before a reload; notify_ready follows when it is over, refused or not. */
int notify_reloading(void);
int notify_stopping(void);
int notify_watchdog(void);
/* The stop may take that long from now on, whatever the unit's TimeoutStopSec. */
int notify_extend_timeout(uint64_t us);
int notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How often notify_watchdog is expected, in microseconds (WATCHDOG_USEC, and WATCHDOG_PID is us or
 * unset); 0: never. Send it at half of that. */
uint64_t notify_watchdog_interval_us(void);

/* Puts a duplicate of fd into the store under that name (< DESCRIPTOR_NAME_BYTES, no colon), which
 * it keeps until removed, whatever becomes of the descriptor; takes every descriptor of that name
 * out again. Store a name once: the store holds as many as it was given. */
int notify_store(int fd, const char *name_format, ...) __attribute__((format(printf, 2, 3)));
int notify_store_remove(const char *name_format, ...) __attribute__((format(printf, 1, 2)));
int notify_store_all(const struct descriptors *set);

/* What an earlier process of this service stored, with its names, close-on-exec; the environment
 * variables are unset so that no child takes them for its own. Returns how many; 0 when there are
 * none (or LISTEN_PID is somebody else); -1 when LISTEN_* makes no sense, and the set is empty. */
int notify_take_stored(struct descriptors *set);

#endif
