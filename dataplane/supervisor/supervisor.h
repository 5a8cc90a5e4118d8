/* The supervisor's parts. It is one thread with one poll loop, and holds what the others work with:
 *
  *   resources   regions, media sockets, doorbells        resources.c, sockets.c
 *   child   forwarder, handshaker: start and watch   children.c, health.c
  *   control <data_directory>/dataplane.sock          control_socket.c
 *
 * everything in the resources and the children's pidfds lie in the service manager's descriptor store as
 * well: the next supervisor takes them over and goes on. Order matters there: a child gets its
 * descriptors only after its pidfd was stored, so no child can work that nobody knows.
 *
 * Memory: no allocation. Errors: false with a sentence in `why` (SUPERVISOR_WHY_BYTES). */
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
    bool adopted;            /* started by an earlier supervisor: not our child */
    bool beating;            /* has shown a heartbeat since judge_ns */
    uint64_t start_ns;       /* or when it was adopted */
    uint64_t judge_ns;       /* from when on its heartbeat counts */
    uint64_t start_again_ns; /* when not running */
    uint32_t deaths;         /* in a row, without DEATHS_FORGIVEN_NS of life in between */
    struct health health;
    const struct region_header *header; /* where it beats */
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
    struct descriptors set; /* as stored: regions read-write, sockets, doorbells */
    int readonly[REGION_COUNT];
    uint32_t worker_count;
    struct region actual, keys; /* mapped read-only, for the heartbeats */
};

struct supervisor {
    struct settings *settings; /* in force: a reload changes what is live */
    const struct io_backends *backends;
    int argc;
    char **argv;
    struct resources resources;
    struct child children[CHILD_COUNT];
    struct control_socket control;
    bool stopping;
};

/* ---- sockets.c ---- */

/* One port per worker out of the settings' range, the same on IPv4 and IPv6: adds udp4.W, udp6.W. */
bool media_sockets_open(const struct settings *settings, uint32_t worker_count,
                        struct descriptors *set, char *why);
/* Workers that the settings ask for on this machine. */
uint32_t workers_wanted(const struct settings *settings);

/* ---- resources.c ---- */

/* Takes over what the service manager kept, and with it the pidfds of running children (pidfds[c] is
 * -1 for a child that does not run); or makes everything anew. */
bool resources_open(struct resources *resources, const struct settings *settings,
                    const struct io_backends *backends, int pidfds[CHILD_COUNT], char *why);
/* The set of descriptors that a child or a client is handed; borrowed, not to be closed. */
void resources_for_child(const struct resources *resources, enum child_role role,
                         struct descriptors *set);
bool resources_for_client(const struct resources *resources, const char *role,
                          struct descriptors *set);
/* Forgets everything, also in the service manager's store. */
void resources_close(struct resources *resources);

/* ---- children.c ---- */

extern const char *const child_names[CHILD_COUNT];

void children_open(struct supervisor *s, const int pidfds[CHILD_COUNT]);
/* Starts what does not run and may be started again, judges heartbeats. */
void children_tick(struct supervisor *s, uint64_t now_ns);
/* A pidfd became readable. */
void child_died(struct supervisor *s, struct child *child, uint64_t now_ns);
bool children_beat(const struct supervisor *s);
/* The settings' log level, to those that run. */
void children_tell_log_level(const struct supervisor *s);
/* Milliseconds until children_tick has something to do. */
int children_timeout_ms(const struct supervisor *s, uint64_t now_ns);
/* Ends both: SIGTERM, and SIGKILL when that takes too long. */
void children_stop(struct supervisor *s);
/* Text like "signal 9 (KILL)" or "exit status 1" for a process that ended; not our child: asks the
 * kernel, which knows since Linux 6.15. */
void pidfd_cause(int pidfd, char *text, size_t bytes);

/* ---- control_socket.c ---- */

/* The data directory, its lock, and the socket in it. */
bool control_socket_lock(struct control_socket *control, const struct settings *settings,
                         char *why);
bool control_socket_open(struct control_socket *control, char *why);
void control_client_accept(struct supervisor *s, uint64_t now_ns); /* somebody knocks */
void control_client_serve(struct supervisor *s, int client);       /* a client spoke or left */
void control_clients_tick(struct control_socket *control, uint64_t now_ns); /* silent clients go */
void control_socket_close(struct control_socket *control);

#endif
