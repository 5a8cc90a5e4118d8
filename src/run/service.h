/* ringcast-run: the service manager of a machine that has none. It starts the data plane and the
 * control plane, keeps the descriptors that they store (sd_notify FDSTORE), restarts a process that
 * dies, passes on SIGHUP (a reload), and stops both on SIGTERM or SIGINT.
 *
 *   main.c           the loop: signals, notifications, the URL that people open
 *   service.c        one service: start, death, delay before a restart
 *   notifications.c  the socket that services send notifications to
 *
 * Threads: one. Memory: none allocated while running. */
#ifndef RINGCAST_RUN_SERVICE_H
#define RINGCAST_RUN_SERVICE_H

#include <stdint.h>
#include <sys/types.h>

#include "src/descriptors.h"

#define SERVICE_WATCHDOG_US 10000000ull /* a service that was silent for this long hangs */
#define SERVICE_START_NS \
    90000000000ull /* a service that is not ready this long after its start hangs */

struct service {
    const char *name; /* "ringcast-dataplane"; the program lies beside ours */
    char path[512];
    pid_t pid; /* 0: not running */
    bool ready, was_ready;
    bool killed_by_us; /* because it hung */
    uint64_t started_ns, start_again_ns;
    uint64_t beat_ns, beat_limit_ns; /* its last sign of life; it hangs this long after it */
    unsigned deaths; /* by itself and in a row, each less than 10 s after its start */
    struct descriptors store;
};

/* Starts the process and gives it its stored descriptors as numbers 3, 4, … False when fork
 * fails. */
bool service_start(struct service *service, char **argv, const char *notify_name);
/* Call it when the process ended with this wait status. Logs it and plans the next start. False
 * when the process exited before it was ever ready: a restart would fail in the same way. */
bool service_died(struct service *service, int wait_status, uint64_t now_ns);
/* Handles one notification of this service. fd is the descriptor that came with it, or -1. */
void service_notified(struct service *service, const char *text, int fd, uint64_t now_ns);

/* True: it gave no sign of life for too long. READY=1 is the first sign, WATCHDOG=1 the next ones. */
bool service_hangs(const struct service *service, uint64_t now_ns);

/* Opens the socket for notifications. `name` is its abstract address, for NOTIFY_SOCKET. -1:
 * error. */
int notifications_open(char name[64]);
/* Reads one notification. Returns the process id of its sender, or 0 when there is no notification.
 * *fd is the descriptor that came with it, or -1; the caller owns it. */
pid_t notification_read(int socket, char *text, size_t room, int *fd);

#endif
