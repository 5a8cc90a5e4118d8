/* The data directory and the control socket in it, where control plane and observers get
 * descriptors. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "src/data_directory.h"
#include "src/log.h"
#include "supervisor.h"

#define CLIENT_LIMIT_NS (3 * NS_PER_S)
#define SOCKET_NAME "dataplane.sock"
#define LOCK_NAME "dataplane.lock"
#define LOCK_WAIT_MS 1000 /* an earlier supervisor that was just killed may still hold the lock */

/* ---- directory and lock ---- */

bool control_socket_lock(struct control_socket *control, const struct settings *settings, char *why)
{
    const struct passwd *user;

    memset(control, 0, sizeof(*control));
    control->listener = control->lock = -1;
    if (geteuid() == 0 && settings->run_as[0]) {
        user = getpwnam(settings->run_as);
        if (!user) {
            snprintf(why, SUPERVISOR_WHY_BYTES,
                     "run_as names %.40s, which is no user of this machine: create that user, or "
                     "set run_as to one that exists",
                     settings->run_as);
            return false;
        }
        control->has_run_as = true;
        control->run_as = user->pw_uid;
    }
    if ((size_t)snprintf(control->path, sizeof(control->path), "%s/%s", settings->data_directory,
                         SOCKET_NAME) >= sizeof(control->path)) {
        snprintf(why, SUPERVISOR_WHY_BYTES,
                 "data_directory is too long for the path of a socket (at most %zu bytes): choose "
                 "a shorter one",
                 sizeof(control->path) - sizeof(SOCKET_NAME) - 1);
        return false;
    }
    if (!data_directory_make(settings->data_directory, settings->run_as, why))
        return false;
    control->lock = data_directory_lock(settings->data_directory, LOCK_NAME, "another data plane",
                                        LOCK_WAIT_MS, why);
    return control->lock >= 0;
}

/* ---- listening ---- */

/* bind creates the socket file directly for the user of run_as. A chown after bind would be unsafe:
 * that user could replace the file before it. When that user may not write in the directory, bind
 * creates the file as ours. ringcast-run asks the kernel to end this process when its parent ends
 * (PR_SET_PDEATHSIG); setfsuid cancels that, so it is requested again. */
static int socket_bind(int fd, const struct control_socket *control)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    mode_t before = umask(0177);
    int result = -1, signal_number = 0, error;

    memcpy(address.sun_path, control->path, sizeof(address.sun_path));
    if (control->has_run_as) {
        prctl(PR_GET_PDEATHSIG, &signal_number);
        setfsuid(control->run_as);
        result = bind(fd, (struct sockaddr *)&address, sizeof(address));
        setfsuid(geteuid());
        prctl(PR_SET_PDEATHSIG, signal_number);
    }
    if (result != 0) {
        result = bind(fd, (struct sockaddr *)&address, sizeof(address));
        /* That user may not write there, so this chown is safe. */
        if (result == 0 && control->has_run_as)
            result = lchown(control->path, control->run_as, (gid_t)-1);
    }
    error = errno;
    umask(before);
    errno = error;
    return result;
}

bool control_socket_open(struct control_socket *control, char *why)
{
    control->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(control->path); /* we hold the lock: it belonged to a supervisor that is dead */
    if (control->listener >= 0 && socket_bind(control->listener, control) == 0 &&
        listen(control->listener, CONTROL_CLIENTS_MAX) == 0)
        return true;
    snprintf(why, SUPERVISOR_WHY_BYTES, "cannot listen on %.100s: %s", control->path,
             strerror(errno));
    return false;
}

void control_socket_close(struct control_socket *control)
{
    for (int i = 0; i < control->client_count; i++)
        close(control->clients[i].fd);
    control->client_count = 0;
    if (control->listener >= 0) {
        unlink(control->path);
        close(control->listener);
    }
    if (control->lock >= 0)
        close(control->lock);
    control->listener = control->lock = -1;
}

/* ---- clients ---- */

static void client_hang_up(struct control_socket *control, int client)
{
    close(control->clients[client].fd);
    control->clients[client] = control->clients[--control->client_count];
}

static bool client_is_allowed(const struct control_socket *control, int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid() ||
        (control->has_run_as && peer.uid == control->run_as))
        return true;
    LOG(WARN, "control", "refused shared memory to a process of another user",
        F("uid", "%u", (unsigned)peer.uid), F("pid", "%d", peer.pid));
    return false;
}

void control_client_accept(struct supervisor *s, uint64_t now_ns)
{
    struct control_socket *control = &s->control;
    int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    if (!client_is_allowed(control, fd) || control->client_count == CONTROL_CLIENTS_MAX) {
        close(fd);
        return;
    }
    control->clients[control->client_count].fd = fd;
    control->clients[control->client_count++].deadline_ns = now_ns + CLIENT_LIMIT_NS;
}

/* Tells a client that the forwarder is dead: it crashed several times, so the supervisor waits
 * before it starts another one. The descriptor means nothing; its name is the message. */
static void add_forwarder_state(const struct supervisor *s, struct descriptors *set)
{
    const struct child *forwarder = &s->children[CHILD_forwarder];

    if (forwarder->pidfd < 0 && forwarder->start_again_ns > clock_monotonic_ns())
        descriptors_add(set, descriptors_get(set, "%s", region_names[REGION_actual]),
                        DESCRIPTOR_FORWARDER_DEAD);
}

/* Reads one message, sends one answer and hangs up. The answer fits into the buffer of the socket;
 * a client that made its buffer smaller gets a part and must ask again. */
void control_client_serve(struct supervisor *s, int client)
{
    int fd = s->control.clients[client].fd;
    struct descriptors set;
    char role[16];
    ssize_t bytes = recv(fd, role, sizeof(role) - 1, MSG_DONTWAIT);

    if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (bytes > 0) {
        role[bytes] = '\0';
        if (!resources_for_client(&s->resources, role, &set)) {
            LOG(WARN, "control", "a client asked for a role that does not exist",
                F("role", "%s", role));
        } else {
            add_forwarder_state(s, &set);
            if (descriptors_send(fd, &set) != 0)
                LOG(WARN, "control", "cannot hand shared memory to a client", F("role", "%s", role),
                    F("error", "%s", strerror(errno)));
            else
                LOG(DEBUG, "control", "handed shared memory to a client", F("role", "%s", role));
        }
    }
    client_hang_up(&s->control, client);
}

void control_clients_tick(struct control_socket *control, uint64_t now_ns)
{
    for (int i = control->client_count; i-- > 0;)
        if (now_ns > control->clients[i].deadline_ns)
            client_hang_up(control, i);
}
