/* From root to the user of the service. */
#define _GNU_SOURCE
#include "privileges.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controlplane/people/data_directory_open.h"
#include "src/log.h"

/* Gives the data directory to the user, with the files that root or its last owner made in it at an
 * earlier start. A file with several names keeps its owner: the last owner may have made a
 * link to a file of another user. */
static bool hand_over_data(const struct settings *settings, const struct passwd *user, char *why)
{
    int fd = data_directory_open(settings, why);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat state;
    uid_t last_owner;

    if (directory == NULL)
        return false;
    last_owner = fstat(fd, &state) == 0 ? state.st_uid : 0;
    if (fchown(dirfd(directory), user->pw_uid, user->pw_gid) != 0) {
        snprintf(why, WHY_BYTES, "cannot give the data directory %.80s to %.32s: %s",
                 settings->data_directory, user->pw_name, strerror(errno));
        closedir(directory);
        return false;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (fstatat(fd, entry->d_name, &state, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(state.st_mode) && state.st_nlink == 1 &&
            (state.st_uid == 0 || state.st_uid == last_owner) &&
            fchownat(fd, entry->d_name, user->pw_uid, user->pw_gid, AT_SYMLINK_NOFOLLOW) != 0)
            LOG(WARN, "main", "cannot give a file of the data directory to the user",
                F("file", "%s", entry->d_name), F("why", "%s", strerror(errno)));
    }
    closedir(directory);
    return true;
}

/* Can the user reach the data directory? We ask as that user and by the absolute path: SQLite opens
 * files by their absolute paths, so the user must be able to pass every directory above. */
static bool is_reachable(const struct settings *settings, const struct passwd *user)
{
    char *path = realpath(settings->data_directory, NULL);
    bool reachable = path && setegid(user->pw_gid) == 0 && seteuid(user->pw_uid) == 0 &&
                     faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0;

    free(path);
    return seteuid(0) == 0 && setegid(0) == 0 && reachable;
}

bool privileges_drop(const struct settings *settings, char *why)
{
    const struct passwd *user;

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (geteuid() != 0 || settings->run_as[0] == '\0')
        return true;
    user = getpwnam(settings->run_as);
    if (user == NULL || user->pw_uid == 0) {
        snprintf(why, WHY_BYTES,
                 "run_as names %.40s, which is %s: name an unprivileged user that exists",
                 settings->run_as, user != NULL ? "root" : "no user of this machine");
        return false;
    }
    if (!hand_over_data(settings, user, why))
        return false;
    if (!is_reachable(settings, user)) {
        snprintf(why, WHY_BYTES,
                 "user %.32s cannot reach the data directory %.60s: set RINGCAST_DATA to another "
                 "one, like /var/lib/ringcast",
                 settings->run_as, settings->data_directory);
        return false;
    }
    if (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0 ||
        setuid(0) == 0) {
        snprintf(why, WHY_BYTES, "cannot become user %.40s: %s", settings->run_as, strerror(errno));
        return false;
    }
    return true;
}
