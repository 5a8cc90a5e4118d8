/* The data directory: it holds the database, the audit spool and the generated secret. */
#include "data_directory_open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/data_directory.h"

#define LOCK_NAME "controlplane.lock"
#define LOCK_WAIT_MS 1000 /* a control plane that stops may still write its last rows */

int data_directory_open(const struct settings *settings, char *why)
{
    const char *path = settings->data_directory;
    char reason[DATA_DIRECTORY_WHY_BYTES];
    int fd;

    if (!data_directory_make(path, "", reason)) {
        snprintf(why, WHY_BYTES, "%.191s", reason);
        return -1;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        snprintf(why, WHY_BYTES,
                 "the data directory %.60s is not usable: %s; let user %u write there, or set "
                 "data_directory",
                 path, strerror(errno), (unsigned)geteuid());
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

int data_directory_claim(const struct settings *settings, char *why)
{
    char reason[DATA_DIRECTORY_WHY_BYTES];
    int fd = data_directory_lock(settings->data_directory, LOCK_NAME, "another control plane",
                                 LOCK_WAIT_MS, reason);

    if (fd < 0)
        snprintf(why, WHY_BYTES, "%.191s", reason);
    return fd;
}
