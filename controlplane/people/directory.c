/* The data directory: where the database, the audit spool and the generated secret live. */
#include "directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* mkdir -p; only the last part has to be ours alone. */
static int directories_make(const char *path)
{
    char part[SETTING_TEXT_ROOM];

    if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return -1;
        *slash = '/';
    }
    return mkdir(part, 0700) == 0 || errno == EEXIST ? 0 : -1;
}

int data_directory_open(const struct settings *settings, char *why)
{
    const char *path = settings->data_directory;
    int fd;

    if (directories_make(path) != 0) {
        snprintf(why, WHY_BYTES,
                 "cannot make the data directory %.80s: %s; make it or set RINGCAST_DATA", path,
                 strerror(errno));
        return -1;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        snprintf(why, WHY_BYTES,
                 "the data directory %.80s is not usable: %s; give uid %u write access or set "
                 "RINGCAST_DATA",
                 path, strerror(errno), (unsigned)geteuid());
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}
