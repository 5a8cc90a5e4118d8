/* Making and locking the data directory. */
#define _GNU_SOURCE
#include "data_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "settings.h"

#define LOCK_NAP_MS 20

/* -1 with errno; *made: the last part is new. */
static int directories_make(const char *path, bool *made)
{
    char part[SETTING_TEXT_ROOM];
    size_t bytes = strlen(path);

    if (bytes >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(part, path, bytes + 1);
    while (bytes > 1 && part[bytes - 1] == '/')
        part[--bytes] = '\0';
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return -1;
        *slash = '/';
    }
    *made = mkdir(part, 0700) == 0;
    return *made || errno == EEXIST ? 0 : -1;
}

/* By descriptor, and not through a link: whoever may write around it must not choose what root gives
 * away. */
static int give_away(const char *path, const char *run_as)
{
    const struct passwd *user = getpwnam(run_as);
    int fd, result;

    if (!user) {
        errno = ESRCH;
        return -1;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    result = fchown(fd, user->pw_uid, user->pw_gid);
    close(fd);
    return result;
}

bool data_directory_make(const char *path, const char *run_as, char *why)
{
    bool made = false;

    if (directories_make(path, &made) != 0) {
        snprintf(why, DATA_DIRECTORY_WHY_BYTES,
                 "cannot make the data directory %.150s: %s; make it, or set data_directory", path,
                 strerror(errno));
        return false;
    }
    if (made && geteuid() == 0 && run_as[0] && give_away(path, run_as) != 0) {
        snprintf(why, DATA_DIRECTORY_WHY_BYTES,
                 "cannot give the data directory %.100s to user %.40s of run_as: %s", path, run_as,
                 errno == ESRCH ? "there is no such user on this machine" : strerror(errno));
        rmdir(path);
        return false;
    }
    return true;
}

/* The holder's process id, which it wrote into the file; 0 when it did not. */
static unsigned lock_holder(int fd)
{
    char text[16] = "";
    unsigned pid;

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0 || sscanf(text, "%u", &pid) != 1)
        return 0;
    return pid;
}

int data_directory_lock(const char *path, const char *name, const char *what, unsigned wait_ms,
                        char *why)
{
    char file[SETTING_TEXT_ROOM + 64];
    int fd, result;

    snprintf(file, sizeof(file), "%s/%s", path, name);
    fd = open(file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(why, DATA_DIRECTORY_WHY_BYTES,
                 "cannot open %.150s: %s; let this user write there, or set data_directory", file,
                 strerror(errno));
        return -1;
    }
    while ((result = flock(fd, LOCK_EX | LOCK_NB)) != 0 && wait_ms > 0) {
        usleep(LOCK_NAP_MS * 1000);
        wait_ms -= wait_ms < LOCK_NAP_MS ? wait_ms : LOCK_NAP_MS;
    }
    if (result != 0) {
        snprintf(why, DATA_DIRECTORY_WHY_BYTES,
                 "%s already works with the data directory %.120s (pid %u): end it first, or give "
                 "this one a directory and ports of its own",
                 what, path, lock_holder(fd));
        close(fd);
        return -1;
    }
    if (ftruncate(fd, 0) == 0)
        dprintf(fd, "%d\n", (int)getpid());
    return fd;
}
