/* The supervisor's parts. It is one thread with one poll loop.
 *
 *   resources       what it holds for the other processes:  resources.c, sockets.c
 *                   regions, media sockets, doorbells
 *   children        forwarder, handshaker                   children.c, health.c
 *   control socket  <data_directory>/dataplane.sock         control_socket.c
 *
 * The descriptor store of the service manager has a copy of every resource and of the children's
 * pidfds. The next supervisor takes them from there and continues. A child gets its descriptors
 * only after its pidfd is in the store: so a later supervisor knows every child that works.
 *
 * Memory: nothing is allocated. Errors: false with a sentence in `why` (SUPERVISOR_WHY_BYTES). */
#ifndef RINGCAST_SUPERVISOR_H
#define RINGCAST_SUPERVISOR_H

#include <sys/types.h>

#include "dataplane/io/io.h"
#include "dataplane/processes.h"
#include "src/region.h"
#include "health.h"

#define SUPERVISOR_WHY_BYTES 320 /* = DATA_DIRECTORY_WHY_BYTES */

enum child_role { CHILD_forwarder, CHILD_handshaker, CHILD_COUNT };

struct child {
    enum child_role role;
    int pidfd; /* -1: not running */
    pid_t pid;
    bool adopted;            /* an earlier supervisor started it: it is not our child process */
    bool killed_by_us;       /* because it hung, or could not be given its descriptors */
    bool beating;            /* there was a heartbeat after judge_ns */
    uint64_t start_ns;       /* when it was started or adopted */
    uint64_t judge_ns;       /* only later heartbeats count */
    uint64_t start_again_ns; /* for a child that does not run */
    uint32_t deaths; /* in a row, by its own failure; 0 after a life of DEATHS_FORGIVEN_NS */
    struct health health;
    const struct region_header *header; /* of the region where it writes its heartbeat */
};

#define CONTROL_CLIENTS_MAX 16

struct control_socket {
    int lock, listener;
    struct {
        int fd;
        uint64_t deadline_ns;
    } clients[CONTROL_CLIENTS_MAX];
    int client_count;
    char path[108];
    bool has_run_as;
    uid_t run_as;
};

struct resources {
    struct descriptors set; /* as in the store: regions (writable), sockets, doorbells */
    int readonly[REGION_COUNT];
    uint32_t worker_count;
    uint64_t instance_id;       /* as in the headers of the regions */
    struct region actual, keys; /* mapped read-only, for the heartbeats */
};

struct supervisor {
    struct settings *settings; /* a reload changes those that are live */
    const struct io_backends *backends;
    int argc;
    char **argv;
    struct resources resources;
    struct child children[CHILD_COUNT];
    struct control_socket control;
    bool stopping;
};

/* ---- sockets.c ---- */

/* Opens one port for each worker from the range in the settings, the same port number for IPv4 and
 * IPv6, and adds udp4.W and udp6.W to `set`. */
bool media_sockets_open(const struct settings *settings, uint32_t worker_count,
                        struct descriptors *set, char *why);
/* How many workers the settings ask for on this machine. */
uint32_t workers_wanted(const struct settings *settings);

/* ---- resources.c ---- */

/* Takes over what the service manager kept, and with it the pidfds of running children (pidfds[c]
 * is -1 for a child that does not run); or makes all of it again. */
bool resources_open(struct resources *resources, const struct settings *settings,
                    const struct io_backends *backends, int pidfds[CHILD_COUNT], char *why);
/* Fills `set` with what a child or a control client gets. The descriptors stay ours: do not close
 * them. False: there is no such role for a client. */
void resources_for_child(const struct resources *resources, enum child_role role,
                         struct descriptors *set);
bool resources_for_client(const struct resources *resources, const char *role,
                          struct descriptors *set);
/* Closes everything and removes it from the store of the service manager. */
void resources_close(struct resources *resources);

/* ---- children.c ---- */

extern const char *const child_names[CHILD_COUNT];

void children_open(struct supervisor *s, const int pidfds[CHILD_COUNT]);
/* Starts children that do not run and whose time has come; judges the heartbeats of the others. */
void children_tick(struct supervisor *s, uint64_t now_ns);
/* Call this when the pidfd of a child is readable. */
void child_died(struct supervisor *s, struct child *child, uint64_t now_ns);
bool children_beat(const struct supervisor *s);
/* Sends the log level of the settings to the children that run. */
void children_send_log_level(const struct supervisor *s);
/* Milliseconds until children_tick has something to do. */
int children_timeout_ms(const struct supervisor *s, uint64_t now_ns);
/* Ends both children by SIGTERM, and by SIGKILL when that takes too long. */
void children_stop(struct supervisor *s);
/* The wait status of a process that has ended; -1: unknown. When the process was not our child,
 * only Linux 6.15 and newer know it. */
int pidfd_status(int pidfd);

/* ---- control_socket.c ---- */

/* Makes and locks the data directory; opens the socket in it. */
bool control_socket_lock(struct control_socket *control, const struct settings *settings,
                         char *why);
bool control_socket_open(struct control_socket *control, char *why);
void control_client_accept(struct supervisor *s, uint64_t now_ns); /* a client connects */
void control_client_serve(struct supervisor *s, int client);       /* a client sent or hung up */
void control_clients_tick(struct control_socket *control,
                          uint64_t now_ns); /* hangs up on silent clients */
void control_socket_close(struct control_socket *control);

#endif
