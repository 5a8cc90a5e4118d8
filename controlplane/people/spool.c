/* The audit spool: appends rows to segments, reads them back, removes segments that are stored. */
#define _GNU_SOURCE /* fallocate */
#include "spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool_internal.h"
#include "src/log.h"

/* Reserved ahead of the writer, so that a caller who asked finds its space although others wrote
 * meanwhile; and how much more to reserve when less is left. */
#define RESERVE_BYTES (256ull << 10)
#define RESERVE_STEP_BYTES (512ull << 10)

uint64_t spool_bytes_max = 256ull << 20;
uint64_t spool_segment_bytes_max = 1ull << 20;
int (*spool_fsync)(int fd) = fsync;

void spool_segment_name(uint64_t number, char name[SEGMENT_NAME_BYTES])
{
    snprintf(name, SEGMENT_NAME_BYTES, SEGMENT_PREFIX "%016" PRIx64, number);
}

/* The number in the name of a segment. False: the name is another one. */
static bool segment_number(const char *name, uint64_t *number)
{
    return strlen(name) == SEGMENT_NAME_BYTES - 1 &&
           sscanf(name, SEGMENT_PREFIX "%16" SCNx64, number) == 1;
}

/* Lists the files of a directory; NULL: it cannot be read. */
static DIR *list_open(int directory)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);

    if (!list && fd >= 0)
        close(fd);
    return list;
}

uint64_t spool_segment_after(int directory, uint64_t number, uint64_t end)
{
    DIR *list = list_open(directory);
    struct dirent *entry;
    uint64_t next = end, found;

    if (!list)
        return number + 1 < end ? number + 1 : end; /* the name may exist or not */
    while ((entry = readdir(list)))
        if (segment_number(entry->d_name, &found) && found > number && found < next)
            next = found;
    closedir(list);
    return next;
}

/* May this entry of the data directory be a segment that an earlier run left? */
static bool segment_is_ours(struct spool *spool, const char *name, uint64_t number,
                            struct stat *file)
{
    const char *why = NULL;

    if (fstatat(spool->directory, name, file, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    if (!S_ISREG(file->st_mode))
        why = "it is not a file";
    else if (number > SEGMENT_NUMBER_MAX)
        why = "Ringcast never counts so far";
    if (why)
        LOG(WARN, "audit",
            "the data directory has something with the name of a part of the audit spool; it is "
            "left alone",
            F("name", "%s", name), F("reason", "%s", why));
    return !why;
}

/* Finds the oldest and the newest segment that the last run left, and how many bytes all have. */
static bool segments_find(struct spool *spool)
{
    DIR *list = list_open(spool->directory);
    uint64_t oldest = UINT64_MAX, newest = 0;
    struct dirent *entry;
    struct stat file;

    if (!list)
        return false;
    while ((entry = readdir(list))) {
        uint64_t number;

        if (strstr(entry->d_name, SEGMENT_PREFIX) == entry->d_name &&
            strstr(entry->d_name, SEGMENT_COPY_SUFFIX))
            unlinkat(spool->directory, entry->d_name, 0); /* the process died in a repair */
        if (!segment_number(entry->d_name, &number))
            continue;
        /* A new segment gets no name that is taken, by whatever. */
        if (number <= SEGMENT_NUMBER_MAX && number > newest)
            newest = number;
        if (!segment_is_ours(spool, entry->d_name, number, &file))
            continue;
        oldest = number < oldest ? number : oldest;
        spool->bytes += (uint64_t)file.st_size;
    }
    closedir(list);
    /* Never append to a segment of an earlier run: its last line may be torn. */
    spool->write_number = newest + 1;
    spool->read_number = spool->stored_number = oldest < newest + 1 ? oldest : newest + 1;
    spool->durable_number = spool->syncing_number = spool->read_number;
    return true;
}

struct spool *spool_open(int directory, char *why)
{
    struct spool *spool = calloc(1, sizeof(*spool));

    if (!spool) {
        snprintf(why, WHY_BYTES, "no memory for the audit spool");
        close(directory);
        return NULL;
    }
    spool->directory = directory;
    spool->write_fd = spool->read_fd = spool->unsynced_fd = -1;
    if (!segments_find(spool)) {
        snprintf(why, WHY_BYTES, "cannot list the audit spool in the data directory: %s",
                 strerror(errno));
        spool_close(spool);
        return NULL;
    }
    return spool;
}

void spool_close(struct spool *spool)
{
    char name[SEGMENT_NAME_BYTES];

    if (!spool)
        return;
    if (spool->write_fd >= 0 &&
        spool->write_bytes == 0) { /* every row is stored: remove the empty file */
        spool_segment_name(spool->write_number, name);
        unlinkat(spool->directory, name, 0);
    }
    descriptor_close(&spool->write_fd);
    descriptor_close(&spool->unsynced_fd);
    descriptor_close(&spool->read_fd);
    descriptor_close(&spool->directory);
    free(spool);
}

static bool segment_begin(struct spool *spool)
{
    char name[SEGMENT_NAME_BYTES];

    spool_segment_name(spool->write_number, name);
    spool->write_fd = openat(spool->directory, name,
                             O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    spool->write_bytes = spool->synced_bytes = spool->reserved_bytes = 0;
    spool->directory_unsynced = true;
    return spool->write_fd >= 0;
}

/* The full segment stays open until it is synced. When the next one is full before that, the disk
 * is too slow, and the older one is synced here and now. */
void spool_segment_end(struct spool *spool)
{
    if (spool->unsynced_fd >= 0 && spool_fsync(spool->unsynced_fd) != 0)
        spool->sync_failed = true;
    descriptor_close(&spool->unsynced_fd);
    spool->unsynced_fd = spool->write_fd;
    spool->write_fd = -1;
    spool->write_number++;
}

/* Makes sure that a segment is open for writing: a new one when this one is full. */
static bool segment_ready(struct spool *spool, bool full)
{
    if (spool->write_fd >= 0 && full)
        spool_segment_end(spool);
    return spool->write_fd >= 0 || segment_begin(spool);
}

bool spool_reserve(struct spool *spool, uint64_t bytes)
{
    uint64_t wanted = bytes + RESERVE_BYTES, end;

    if (spool->bytes + bytes > spool_bytes_max) {
        errno = EFBIG;
        return false;
    }
    if (spool->write_fd >= 0 && spool->write_bytes + wanted <= spool->reserved_bytes)
        return true;
    if (!segment_ready(spool, spool->write_bytes >= spool_segment_bytes_max))
        return false;
    /* When the disk has no space for the whole step, what the caller asked for is enough. */
    end = wanted + RESERVE_STEP_BYTES;
    while (fallocate(spool->write_fd, FALLOC_FL_KEEP_SIZE, (off_t)spool->write_bytes, (off_t)end)) {
        if (errno ==
            EOPNOTSUPP) /* this file system cannot reserve; a write will fail when it is full */
            return true;
        if (errno != EINTR && end == bytes)
            return false;
        if (errno != EINTR)
            end = bytes;
    }
    spool->reserved_bytes = spool->write_bytes + end;
    return true;
}

bool spool_append(struct spool *spool, const struct audit_row *row)
{
    char line[SPOOL_LINE_BYTES];
    size_t length = spool_line_format(row, line);
    ssize_t written;

    if (length == 0 || spool->bytes + length > spool_bytes_max) {
        errno = length ? EFBIG : EINVAL;
        return false;
    }
    /* No new segment while this one has reserved space: spool_reserve promised it to its
     * callers. */
    if (!segment_ready(spool, spool->write_bytes >= spool_segment_bytes_max &&
                                  spool->write_bytes + length > spool->reserved_bytes))
        return false;
    do
        written = write(spool->write_fd, line, length);
    while (written < 0 && errno == EINTR);
    if (written == (ssize_t)length) {
        spool->write_bytes += length;
        spool->bytes += length;
        return true;
    }
    if (written > 0) {
        /* The disk is full and has only a part of the line. When that part cannot be removed, it
         * stays as a damaged line, and the next row goes to a new segment. */
        if (ftruncate(spool->write_fd, (off_t)spool->write_bytes) != 0) {
            spool->write_bytes += (uint64_t)written;
            spool->bytes += (uint64_t)written;
            spool_segment_end(spool);
        }
        errno = ENOSPC;
    }
    return false;
}

/* Goes on with the next segment. spool_stored removes the old one. */
static void read_next_segment(struct spool *spool)
{
    descriptor_close(&spool->read_fd);
    spool->read_number =
        spool_segment_after(spool->directory, spool->read_number, spool->write_number);
    spool->read_bytes = 0;
}

/* Turns the complete lines of a chunk into rows, and returns how many bytes they had. ended: nobody
 * writes to the segment any more, so what follows its last newline is a torn line. */
static size_t chunk_parse(struct spool *spool, struct spool_batch *batch, size_t bytes, bool ended)
{
    size_t used = 0;

    while (batch->count < SPOOL_BATCH_ROWS && used < bytes) {
        char *line = batch->chunk + used, *end = memchr(line, '\n', bytes - used);

        if (!end && !(ended && bytes < SPOOL_CHUNK_BYTES))
            break;
        if (end && spool_line_parse(line, (size_t)(end - line), &batch->rows[batch->count])) {
            batch->count++;
        } else {
            spool->damaged_lines++;
            LOG(WARN, "audit", "the audit spool has a damaged line (torn write?); it is skipped",
                F("segment", "%" PRIx64, spool->read_number), F("bytes", "%zu", bytes));
        }
        used = end ? (size_t)(end + 1 - batch->chunk) : bytes;
    }
    return used;
}

/* Opens the segment to read. What is not a file is passed over, as if it did not exist. */
static int segment_open(const struct spool *spool)
{
    char name[SEGMENT_NAME_BYTES];
    struct stat file;
    int fd;

    spool_segment_name(spool->read_number, name);
    fd = openat(spool->directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &file) == 0 && !S_ISREG(file.st_mode)) {
        close(fd);
        errno = ENOENT;
        return -1;
    }
    if (fd < 0 && (errno == ELOOP || errno == ENXIO))
        errno = ENOENT;
    return fd;
}

size_t spool_read(struct spool *spool, struct spool_batch *batch)
{
    batch->count = 0;
    /* Every round reads rows, skips damaged lines, or continues with the next segment. */
    while (batch->count == 0) {
        bool last = spool->read_number == spool->write_number;
        ssize_t bytes = 0;

        if (spool->read_number > spool->write_number ||
            (last && (spool->write_fd < 0 || spool->read_bytes >= spool->write_bytes)))
            return 0;
        if (spool->read_fd < 0)
            spool->read_fd = segment_open(spool);
        if (spool->read_fd >= 0)
            bytes =
                pread(spool->read_fd, batch->chunk, SPOOL_CHUNK_BYTES, (off_t)spool->read_bytes);
        if (bytes < 0 || (spool->read_fd < 0 && errno != ENOENT)) {
            LOG(ERROR, "audit", "cannot read the audit spool; will retry",
                F("segment", "%" PRIx64, spool->read_number), F("reason", "%s", strerror(errno)));
            return 0;
        }
        if (bytes == 0) {
            if (last)
                return 0;
            read_next_segment(spool);
            continue;
        }
        batch->chunk[bytes] = 0;
        bytes = (ssize_t)chunk_parse(spool, batch, (size_t)bytes, !last);
        spool->read_bytes += (uint64_t)bytes;
        if (bytes == 0) { /* no newline in 64 KiB: not a file of Ringcast */
            spool->read_bytes += last ? 0 : SPOOL_CHUNK_BYTES;
            if (last)
                return 0;
        }
    }
    return batch->count;
}

void spool_stored(struct spool *spool)
{
    char name[SEGMENT_NAME_BYTES];
    struct stat file;

    for (; spool->stored_number < spool->read_number;
         spool->stored_number =
             spool_segment_after(spool->directory, spool->stored_number, spool->read_number)) {
        spool_segment_name(spool->stored_number, name);
        if (fstatat(spool->directory, name, &file, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(file.st_mode))
            continue;
        if (unlinkat(spool->directory, name, 0) != 0)
            LOG(ERROR, "audit",
                "cannot remove a stored segment of the audit spool; the next start sends its rows "
                "again, which is harmless",
                F("segment", "%s", name), F("reason", "%s", strerror(errno)));
        spool->bytes -=
            (uint64_t)file.st_size < spool->bytes ? (uint64_t)file.st_size : spool->bytes;
    }
    spool->stored_bytes = spool->read_bytes;
    /* Every row is stored: empty the segment that is written. */
    if (spool->read_number == spool->write_number && spool->write_fd >= 0 &&
        spool->stored_bytes == spool->write_bytes && ftruncate(spool->write_fd, 0) == 0) {
        spool->bytes = 0;
        spool->read_bytes = spool->stored_bytes = 0;
        spool->write_bytes = spool->synced_bytes = spool->reserved_bytes = 0;
    }
    /* Stored rows need no sync any more. */
    if (spool->durable_number < spool->stored_number)
        spool->durable_number = spool->stored_number;
    if (spool->bytes == 0)
        spool->sync_failed = false;
}

void spool_rewind(struct spool *spool)
{
    descriptor_close(&spool->read_fd);
    spool->read_number = spool->stored_number;
    spool->read_bytes = spool->stored_bytes;
}

bool spool_is_empty(const struct spool *spool)
{
    return spool->bytes == 0 ||
           (spool->stored_number == spool->write_number &&
            (spool->write_fd < 0 || spool->stored_bytes >= spool->write_bytes));
}

uint64_t spool_bytes(const struct spool *spool)
{
    return spool->bytes;
}

uint64_t spool_damaged_lines(const struct spool *spool)
{
    return spool->damaged_lines;
}
