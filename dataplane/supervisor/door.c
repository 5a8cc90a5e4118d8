/* The data directory and the socket in it, where control plane and observers get their descriptors. */
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

#define GUEST_LIMIT_NS (3 * NS_PER_S)
#define SOCKET_NAME "dataplane.sock"
#define LOCK_NAME "dataplane.lock"
#define LOCK_WAIT_MS 1000 /* a predecessor that was just killed may still be dying */

/* ---- directory and lock ---- */

bool door_lock(struct door *door, const struct settings *settings, char *why)
{
    const struct passwd *user;

    memset(door, 0, sizeof(*door));
    door->listener = door->lock = -1;
    if (geteuid() == 0 && settings->run_as[0]) {
        user = getpwnam(settings->run_as);
        if (!user) {
            snprintf(why, SUPERVISOR_WHY_BYTES,
                     "run_as names %.40s, which is no user of this machine: make that user, or set "
                     "run_as to one that exists",
                     settings->run_as);
            return false;
        }
        door->has_run_as = true;
        door->run_as = user->pw_uid;
    }
    if ((size_t)snprintf(door->path, sizeof(door->path), "%s/%s", settings->data_directory,
                         SOCKET_NAME) >= sizeof(door->path)) {
        snprintf(why, SUPERVISOR_WHY_BYTES,
                 "data_directory is too long for a socket's path (at most %zu bytes): choose a "
                 "shorter one",
                 sizeof(door->path) - sizeof(SOCKET_NAME) - 1);
        return false;
    }
    if (!data_directory_make(settings->data_directory, settings->run_as, why))
        return false;
    door->lock = data_directory_lock(settings->data_directory, LOCK_NAME, "another data plane",
                                     LOCK_WAIT_MS, why);
    return door->lock >= 0;
}

/* ---- listening ---- */

/* The socket file belongs to the user of run_as from its first moment: chown afterwards would follow
 * whatever that user puts into its place. In a directory where that user may not write, it is ours.
 * setfsuid clears the wish to end with one's parent (ringcast-run's), as setuid does. */
static int socket_bind(int fd, const struct door *door)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    mode_t before = umask(0177);
    int result = -1, wish = 0, error;

    memcpy(address.sun_path, door->path, sizeof(address.sun_path));
    if (door->has_run_as) {
        prctl(PR_GET_PDEATHSIG, &wish);
        setfsuid(door->run_as);
        result = bind(fd, (struct sockaddr *)&address, sizeof(address));
        setfsuid(geteuid());
        prctl(PR_SET_PDEATHSIG, wish);
    }
    if (result != 0) {
        result = bind(fd, (struct sockaddr *)&address, sizeof(address));
        /* Nobody else may write there, so the name cannot have been swapped meanwhile. */
        if (result == 0 && door->has_run_as)
            result = lchown(door->path, door->run_as, (gid_t)-1);
    }
    error = errno;
    umask(before);
    errno = error;
    return result;
}

bool door_open(struct door *door, char *why)
{
    door->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(door->path); /* a dead predecessor's: we hold the lock */
    if (door->listener >= 0 && socket_bind(door->listener, door) == 0 &&
        listen(door->listener, DOOR_GUESTS_MAX) == 0)
        return true;
    snprintf(why, SUPERVISOR_WHY_BYTES, "cannot listen on %.100s: %s", door->path, strerror(errno));
    return false;
}

void door_close(struct door *door)
{
    for (int i = 0; i < door->guest_count; i++)
        close(door->guests[i].fd);
    door->guest_count = 0;
    if (door->listener >= 0) {
        unlink(door->path);
        close(door->listener);
    }
    if (door->lock >= 0)
        close(door->lock);
    door->listener = door->lock = -1;
}

/* ---- guests ---- */

static void guest_leave(struct door *door, int guest)
{
    close(door->guests[guest].fd);
    door->guests[guest] = door->guests[--door->guest_count];
}

static bool guest_may(const struct door *door, int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid() || (door->has_run_as && peer.uid == door->run_as))
        return true;
    LOG(WARN, "door", "a process of another user asked for shared memory and was refused",
        F("uid", "%u", (unsigned)peer.uid), F("pid", "%d", peer.pid));
    return false;
}

void door_visit(struct supervisor *s, uint64_t now_ns)
{
    struct door *door = &s->door;
    int fd = accept4(door->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    if (!guest_may(door, fd) || door->guest_count == DOOR_GUESTS_MAX) {
        close(fd);
        return;
    }
    door->guests[door->guest_count].fd = fd;
    door->guests[door->guest_count++].deadline_ns = now_ns + GUEST_LIMIT_NS;
}

/* One message, one answer, good-bye. The answer fits into the socket's buffer; who has made that too
 * small gets a part of it and must ask again. */
void door_serve(struct supervisor *s, int guest)
{
    int fd = s->door.guests[guest].fd;
    struct descriptors set;
    char role[16];
    ssize_t bytes = recv(fd, role, sizeof(role) - 1, MSG_DONTWAIT);

    if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (bytes > 0) {
        role[bytes] = '\0';
        if (!stock_for_guest(&s->stock, role, &set))
            LOG(WARN, "door", "somebody asked for a role that there is not", F("role", "%s", role));
        else if (descriptors_send(fd, &set) != 0)
            LOG(WARN, "door", "could not hand out shared memory", F("role", "%s", role),
                F("error", "%s", strerror(errno)));
        else
            LOG(DEBUG, "door", "handed out shared memory", F("role", "%s", role));
    }
    guest_leave(&s->door, guest);
}

void door_tick(struct door *door, uint64_t now_ns)
{
    for (int i = door->guest_count; i-- > 0;)
        if (now_ns > door->guests[i].deadline_ns)
            guest_leave(door, i);
}
