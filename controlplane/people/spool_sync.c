/* The audit spool: syncing segments to the disk, and the repair after a sync that failed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "spool_internal.h"

bool spool_sync_start(struct spool *spool, struct spool_sync *sync)
{
    int fd;

    sync->count = 0;
    spool->syncing_number = spool->write_number;
    if (spool->unsynced_fd >= 0) {
        sync->fds[sync->count++] = spool->unsynced_fd;
        spool->unsynced_fd = -1;
    }
    if (spool->write_fd >= 0 && spool->synced_bytes < spool->write_bytes &&
        (fd = fcntl(spool->write_fd, F_DUPFD_CLOEXEC, 0)) >= 0) {
        sync->fds[sync->count++] = fd;
        spool->synced_bytes = spool->write_bytes;
    }
    if (spool->directory_unsynced && sync->count &&
        (fd = fcntl(spool->directory, F_DUPFD_CLOEXEC, 0)) >= 0) {
        sync->fds[sync->count++] = fd;
        spool->directory_unsynced = false;
    }
    return sync->count > 0;
}

bool spool_sync_run(struct spool_sync *sync)
{
    bool ok = true;

    for (unsigned i = 0; i < sync->count; i++) {
        ok &= spool_fsync(sync->fds[i]) == 0;
        close(sync->fds[i]);
    }
    sync->count = 0;
    return ok;
}

void spool_sync_done(struct spool *spool)
{
    if (!spool->sync_failed && spool->durable_number < spool->syncing_number)
        spool->durable_number = spool->syncing_number;
}

/* ---- after a sync that failed ---- */

void spool_sync_failed(struct spool *spool)
{
    spool->sync_failed = true;
}

bool spool_sync_has_failed(const struct spool *spool)
{
    return spool->sync_failed;
}

bool spool_repair_start(struct spool *spool, struct spool_repair *repair)
{
    repair->directory = fcntl(spool->directory, F_DUPFD_CLOEXEC, 0);
    if (repair->directory < 0)
        return false;
    repair->first = spool->durable_number;
    if (spool->write_fd >= 0) {
        descriptor_close(&spool->unsynced_fd); /* the repair copies it as well */
        spool_segment_end(spool);
    }
    descriptor_close(&spool->unsynced_fd);
    repair->last = spool->write_number - 1;
    descriptor_close(&spool->read_fd); /* another file gets this name */
    return true;
}

/* Copies a segment under another name, syncs the copy and renames it over the segment. A segment
 * that does not exist was stored and removed: nothing to do. */
static bool segment_renew(int directory, uint64_t number, char *chunk)
{
    char name[SEGMENT_NAME_BYTES], copy[SEGMENT_NAME_BYTES + sizeof(SEGMENT_COPY_SUFFIX)];
    int from, to = -1;
    ssize_t got = -1;
    bool ok;

    spool_segment_name(number, name);
    snprintf(copy, sizeof(copy), "%s" SEGMENT_COPY_SUFFIX, name);
    from = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0)
        return errno == ENOENT;
    to = openat(directory, copy, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    while (to >= 0 && (got = read(from, chunk, SPOOL_CHUNK_BYTES)) > 0)
        if (write(to, chunk, (size_t)got) != got) {
            got = -1;
            break;
        }
    ok = to >= 0 && got == 0 && spool_fsync(to) == 0 &&
         renameat(directory, copy, directory, name) == 0;
    if (!ok)
        unlinkat(directory, copy, 0);
    close(from);
    if (to >= 0)
        close(to);
    return ok;
}

bool spool_repair_run(struct spool_repair *repair)
{
    char *chunk = malloc(SPOOL_CHUNK_BYTES);
    bool ok = chunk != NULL;

    for (uint64_t number = repair->first; ok && number <= repair->last;
         number = spool_segment_after(repair->directory, number, repair->last + 1))
        ok = segment_renew(repair->directory, number, chunk);
    ok = ok && spool_fsync(repair->directory) == 0;
    close(repair->directory);
    free(chunk);
    return ok;
}

void spool_repair_done(struct spool *spool, const struct spool_repair *repair)
{
    spool->sync_failed = false;
    if (spool->durable_number <= repair->last)
        spool->durable_number = repair->last + 1;
}
