/* ringcast-run: stands in for a service manager where there is none. It starts the data plane and
 * the control plane, keeps the descriptors they store (sd_notify FDSTORE), starts again what dies,
 * passes SIGHUP on (a reload), and stops everything on SIGTERM or SIGINT.
 *
 *   main.c           the loop: signals, notifications, the URL to open
 *   service.c        one service: start, death, back-off, stop
 *   notifications.c  what services tell: READY, FDSTORE, WATCHDOG
 *
 * Threads: one. Memory: none allocated while running. */
#ifndef RINGCAST_RUN_SERVICE_H
#define RINGCAST_RUN_SERVICE_H

#include <stdint.h>
#include <sys/types.h>

#include "src/descriptors.h"

#define SERVICE_WATCHDOG_US \
    10000000ull /* silence after which a service that promised to beat hangs */

struct service {
    const char *name; /* "ringcast-dataplane": the binary beside ours */
    char path[512];
    pid_t pid; /* 0: not running */
    bool ready, was_ready, beats;
    uint64_t started_ns, start_again_ns, beat_ns;
    unsigned deaths; /* in a row, each soon after its start */
    struct descriptors store;
};

/* Starts the process, with its stored descriptors from number 3 on. False when fork fails. */
bool service_start(struct service *service, char **argv, const char *notify_name);
/* It ended with this wait status: says so, plans the next start. False when it never got ready, so
 * that starting it again would only fail again. */
bool service_died(struct service *service, int wait_status, uint64_t now_ns);
/* One notification of this service; fd -1: none came with it. */
void service_notified(struct service *service, const char *text, int fd, uint64_t now_ns);

/* The datagram socket that services notify; its abstract name for NOTIFY_SOCKET. */
int notifications_open(char name[64]);
/* Reads one notification; pid of the sender, 0 when there was none. fd: -1 or the one that came. */
pid_t notification_read(int socket, char *text, size_t room, int *fd);

#endif
