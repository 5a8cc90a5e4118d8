/* The id of this installation, kept in the data directory over restarts. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/people/data_directory_open.h"
#include "controlplane/people/uuid.h"
#include "live.h"
#include "src/log.h"

#define INSTANCE_FILE "instance-id"
#define TEXT_BYTES (UUID_TEXT_BYTES - 1)

/* Writes a new file and renames it, so that the file with the name is always complete. */
static bool instance_make(int directory, char instance[UUID_TEXT_BYTES])
{
    char line[UUID_TEXT_BYTES + 1];
    bool fine;
    int fd;

    uuid_make(instance);
    snprintf(line, sizeof(line), "%s\n", instance);
    fd = openat(directory, INSTANCE_FILE ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    fine = write(fd, line, UUID_TEXT_BYTES) == UUID_TEXT_BYTES && fsync(fd) == 0;
    fine &= close(fd) == 0;
    return fine && renameat(directory, INSTANCE_FILE ".new", directory, INSTANCE_FILE) == 0 &&
           fsync(directory) == 0;
}

bool live_instance(const struct settings *settings, char instance[UUID_TEXT_BYTES], char *why)
{
    int directory = data_directory_open(settings, why), fd;
    ssize_t got = 0;
    bool fine;

    if (directory < 0)
        return false;
    fd = openat(directory, INSTANCE_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        got = read(fd, instance, TEXT_BYTES);
        close(fd);
    }
    instance[got == TEXT_BYTES ? TEXT_BYTES : 0] = '\0';
    fine = uuid_is_valid(instance);
    if (!fine && fd >= 0)
        LOG(WARN, "live", "instance-id in the data directory is not a UUID; making a new one");
    if (!fine && !(fine = instance_make(directory, instance)))
        snprintf(why, WHY_BYTES, "cannot write " INSTANCE_FILE " into the data directory: %s",
                 strerror(errno));
    close(directory);
    return fine;
}
