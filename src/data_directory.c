/* Creates and locks the data directory. */
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

#define LOCK_RETRY_MS 20

/* -1 with errno. *made: the last directory of the path is new. */
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

/* By descriptor and not through a symbolic link. Otherwise a user who may write to the parent could
 * put a link there, and root would give away another directory. */
static int give_to_user(const char *path, const char *run_as)
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
                 "cannot create the data directory %.150s: %s; create it yourself, or set "
                 "data_directory to another path",
                 path, strerror(errno));
        return false;
    }
    if (made && geteuid() == 0 && run_as[0] && give_to_user(path, run_as) != 0) {
        snprintf(why, DATA_DIRECTORY_WHY_BYTES,
                 "cannot give the data directory %.100s to the user %.40s that run_as names: %s",
                 path, run_as,
                 errno == ESRCH ? "there is no such user on this machine" : strerror(errno));
        rmdir(path);
        return false;
    }
    return true;
}

/* The process id that the holder of the lock wrote into the file; 0: none. */
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
                 "cannot open %.150s: %s; allow this user to write there, or set data_directory to "
                 "another path",
                 file, strerror(errno));
        return -1;
    }
    while ((result = flock(fd, LOCK_EX | LOCK_NB)) != 0 && wait_ms > 0) {
        usleep(LOCK_RETRY_MS * 1000);
        wait_ms -= wait_ms < LOCK_RETRY_MS ? wait_ms : LOCK_RETRY_MS;
    }
    if (result != 0) {
        snprintf(
            why, DATA_DIRECTORY_WHY_BYTES,
            "%s already uses the data directory %.120s (process %u): stop it first, or give this "
            "one its own data_directory and ports",
            what, path, lock_holder(fd));
        close(fd);
        return -1;
    }
    if (ftruncate(fd, 0) == 0)
        dprintf(fd, "%d\n", (int)getpid());
    return fd;
}
