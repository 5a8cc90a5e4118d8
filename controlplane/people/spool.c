/* The audit spool: segments of lines that are appended, read back, and removed when stored. */
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

#include "src/log.h"

#define SEGMENT_PREFIX "audit-spool-"
#define REPAIR_SUFFIX ".new"
#define SEGMENT_NAME_BYTES (sizeof(SEGMENT_PREFIX) + 16)

uint64_t spool_bytes_max = 256ull << 20;
uint64_t spool_segment_bytes_max = 1ull << 20;
int (*spool_fsync)(int fd) = fsync;

/* Room held ahead of the writer, so that one who asked finds it although others wrote meanwhile, and
 * how much more is asked for when that gets short. */
#define RESERVE_BYTES (256ull << 10)
#define RESERVE_STEP_BYTES (512ull << 10)

struct spool {
    int directory;
    /* appending: always to the newest segment; opened with the first row */
    uint64_t write_number;
    int write_fd, unsynced_fd; /* the segment before it, while not synced; -1 */
    uint64_t write_bytes, synced_bytes;
    uint64_t reserved_bytes; /* end of the room that the disk holds for that segment */
    bool directory_unsynced;
    bool failed; /* a sync: what lies between the two numbers may not be on the disk */
    uint64_t durable_number, syncing_number; /* segments below it are; will be when it is through */
    /* reading: behind it, or in it */
    uint64_t read_number;
    int read_fd;
    uint64_t read_bytes;                  /* read so far of that segment */
    uint64_t stored_number, stored_bytes; /* where spool_rewind goes */
    uint64_t bytes;                       /* of all segments */
    uint64_t damaged;
};

static uint32_t crc32_of(const char *bytes, size_t count)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < count; i++) {
        crc ^= (uint8_t)bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

static const char *or_dash(const char *text)
{
    return text && text[0] ? text : "-";
}

size_t spool_line_format(const struct audit_row *row, char line[SPOOL_LINE_BYTES])
{
    char sum[10];
    int length = snprintf(line + 9, SPOOL_LINE_BYTES - 10, "%s\t%s\t%s\t%s\t%s\t%" PRId64 "\t%s",
                          row->id, row->action, or_dash(row->user_id), or_dash(row->room_id),
                          or_dash(row->ip_address), row->created_us, or_dash(row->metadata));

    if (length < 0 || length >= SPOOL_LINE_BYTES - 10 || memchr(line + 9, '\n', (size_t)length))
        return 0;
    snprintf(sum, sizeof(sum), "%08x\t", crc32_of(line + 9, (size_t)length));
    memcpy(line, sum, 9);
    line[9 + length] = '\n';
    return 9 + (size_t)length + 1;
}

/* The next tab-separated column; "-" comes back as "". NULL: there is none, or it is too long. */
static char *column_next(char **at, size_t room)
{
    char *text = *at, *end;

    if (!text)
        return NULL;
    end = strchr(text, '\t');
    if (end)
        *end++ = 0;
    *at = end;
    if (!strcmp(text, "-"))
        text[0] = 0;
    return strlen(text) < room ? text : NULL;
}

bool spool_line_parse(char *line, size_t length, struct audit_row *row)
{
    char *at = line + 9, *id, *action, *user, *room, *ip, *created;
    char sum[9];

    if (length < 10 || memchr(line, 0, length) || line[8] != '\t')
        return false;
    line[length] = 0;
    snprintf(sum, sizeof(sum), "%08x", crc32_of(line + 9, length - 9));
    if (memcmp(line, sum, 8) != 0)
        return false;
    id = column_next(&at, sizeof(row->id));
    action = column_next(&at, sizeof(row->action));
    user = column_next(&at, sizeof(row->user_id));
    room = column_next(&at, sizeof(row->room_id));
    ip = column_next(&at, sizeof(row->ip_address));
    created = column_next(&at, 24);
    if (!id || !action || !user || !room || !ip || !created || !at)
        return false;
    memset(row, 0, sizeof(*row));
    strcpy(row->id, id);
    strcpy(row->action, action);
    strcpy(row->user_id, user);
    strcpy(row->room_id, room);
    strcpy(row->ip_address, ip);
    row->created_us = strtoll(created, NULL, 10);
    row->metadata = strcmp(at, "-") ? at : NULL;
    return true;
}

static void segment_name(uint64_t number, char name[SEGMENT_NAME_BYTES])
{
    snprintf(name, SEGMENT_NAME_BYTES, SEGMENT_PREFIX "%016" PRIx64, number);
}

/* Finds the oldest and newest segment left behind and how much there is to replay. */
static bool segments_find(struct spool *spool)
{
    int fd = openat(spool->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    uint64_t oldest = UINT64_MAX, newest = 0;
    struct dirent *entry;
    struct stat file;

    if (!list) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    while ((entry = readdir(list))) {
        uint64_t number;

        if (strstr(entry->d_name, SEGMENT_PREFIX) == entry->d_name &&
            strstr(entry->d_name, REPAIR_SUFFIX))
            unlinkat(spool->directory, entry->d_name, 0); /* we died in a repair */
        if (strlen(entry->d_name) != SEGMENT_NAME_BYTES - 1 ||
            sscanf(entry->d_name, SEGMENT_PREFIX "%16" SCNx64, &number) != 1 ||
            fstatat(spool->directory, entry->d_name, &file, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        oldest = number < oldest ? number : oldest;
        newest = number > newest ? number : newest;
        spool->bytes += (uint64_t)file.st_size;
    }
    closedir(list);
    /* Never appended to again: the last line of a segment may be torn. */
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

static void descriptor_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void spool_close(struct spool *spool)
{
    char name[SEGMENT_NAME_BYTES];

    if (!spool)
        return;
    if (spool->write_fd >= 0 && spool->write_bytes == 0) { /* all stored: leave nothing behind */
        segment_name(spool->write_number, name);
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

    segment_name(spool->write_number, name);
    spool->write_fd = openat(spool->directory, name,
                             O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    spool->write_bytes = spool->synced_bytes = spool->reserved_bytes = 0;
    spool->directory_unsynced = true;
    return spool->write_fd >= 0;
}

/* The full segment is kept open until it is synced; should yet another fill up before that, it is
 * synced here and now: a megabyte was written faster than the disk takes it. */
static void segment_end(struct spool *spool)
{
    if (spool->unsynced_fd >= 0 && spool_fsync(spool->unsynced_fd) != 0)
        spool->failed = true;
    descriptor_close(&spool->unsynced_fd);
    spool->unsynced_fd = spool->write_fd;
    spool->write_fd = -1;
    spool->write_number++;
}

/* Has a segment to write to, a new one when this one is full. */
static bool segment_ready(struct spool *spool, bool full)
{
    if (spool->write_fd >= 0 && full)
        segment_end(spool);
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
    /* Also the last bytes of the disk will do, if they are enough for the caller. */
    end = wanted + RESERVE_STEP_BYTES;
    while (fallocate(spool->write_fd, FALLOC_FL_KEEP_SIZE, (off_t)spool->write_bytes, (off_t)end)) {
        if (errno == EOPNOTSUPP) /* such a file system shows it when we write */
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
    /* Not out of what was reserved: the promise was for this segment. */
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
        /* A part of the line on a full disk. If it cannot be taken back, it stays as a damaged line
         * that ends where the next row of a new segment begins. */
        if (ftruncate(spool->write_fd, (off_t)spool->write_bytes) != 0) {
            spool->write_bytes += (uint64_t)written;
            spool->bytes += (uint64_t)written;
            segment_end(spool);
        }
        errno = ENOSPC;
    }
    return false;
}

/* Goes to the next segment; the one behind is removed once its rows are stored. */
static void read_next_segment(struct spool *spool)
{
    descriptor_close(&spool->read_fd);
    spool->read_number++;
    spool->read_bytes = 0;
}

/* Complete lines of one chunk become rows; says how many bytes they took. */
static size_t chunk_parse(struct spool *spool, struct spool_batch *batch, size_t bytes, bool last)
{
    size_t used = 0;

    while (batch->count < SPOOL_BATCH_ROWS && used < bytes) {
        char *line = batch->chunk + used, *end = memchr(line, '\n', bytes - used);

        if (!end && !(last && bytes < SPOOL_CHUNK_BYTES))
            break;
        if (end && spool_line_parse(line, (size_t)(end - line), &batch->rows[batch->count])) {
            batch->count++;
        } else {
            spool->damaged++;
            LOG(WARN, "audit", "a damaged line of the spool is left out (torn write?)",
                F("segment", "%" PRIx64, spool->read_number), F("bytes", "%zu", bytes));
        }
        used = end ? (size_t)(end + 1 - batch->chunk) : bytes;
    }
    return used;
}

size_t spool_read(struct spool *spool, struct spool_batch *batch)
{
    char name[SEGMENT_NAME_BYTES];

    batch->count = 0;
    /* Every round reads rows, skips damaged ones, or goes on to the next segment. */
    while (batch->count == 0) {
        bool last = spool->read_number == spool->write_number;
        ssize_t bytes = 0;

        if (spool->read_number > spool->write_number ||
            (last && (spool->write_fd < 0 || spool->read_bytes >= spool->write_bytes)))
            return 0;
        if (spool->read_fd < 0) {
            segment_name(spool->read_number, name);
            spool->read_fd =
                openat(spool->directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        }
        if (spool->read_fd >= 0)
            bytes =
                pread(spool->read_fd, batch->chunk, SPOOL_CHUNK_BYTES, (off_t)spool->read_bytes);
        if (bytes < 0 || (spool->read_fd < 0 && errno != ENOENT)) {
            LOG(ERROR, "audit", "cannot read the spool; trying again",
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
        if (bytes == 0) { /* no line end in 64 KiB: not a file of ours */
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

    for (; spool->stored_number < spool->read_number; spool->stored_number++) {
        segment_name(spool->stored_number, name);
        if (fstatat(spool->directory, name, &file, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (unlinkat(spool->directory, name, 0) != 0)
            LOG(ERROR, "audit",
                "cannot remove a stored segment of the spool; it is replayed at "
                "the next start, which changes nothing",
                F("segment", "%s", name), F("reason", "%s", strerror(errno)));
        spool->bytes -=
            (uint64_t)file.st_size < spool->bytes ? (uint64_t)file.st_size : spool->bytes;
    }
    spool->stored_bytes = spool->read_bytes;
    /* Everything there is has been stored: the running segment starts from nothing again. */
    if (spool->read_number == spool->write_number && spool->write_fd >= 0 &&
        spool->stored_bytes == spool->write_bytes && ftruncate(spool->write_fd, 0) == 0) {
        spool->bytes = 0;
        spool->read_bytes = spool->stored_bytes = 0;
        spool->write_bytes = spool->synced_bytes = spool->reserved_bytes = 0;
    }
    /* What the store has does not need the disk any more. */
    if (spool->durable_number < spool->stored_number)
        spool->durable_number = spool->stored_number;
    if (spool->bytes == 0)
        spool->failed = false;
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
    return spool->damaged;
}

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
    if (!spool->failed && spool->durable_number < spool->syncing_number)
        spool->durable_number = spool->syncing_number;
}

/* ---- after a sync that failed ---- */

void spool_sync_failed(struct spool *spool)
{
    spool->failed = true;
}

bool spool_sync_has_failed(const struct spool *spool)
{
    return spool->failed;
}

bool spool_repair_start(struct spool *spool, struct spool_repair *repair)
{
    repair->directory = fcntl(spool->directory, F_DUPFD_CLOEXEC, 0);
    if (repair->directory < 0)
        return false;
    repair->first = spool->durable_number;
    if (spool->write_fd >= 0) {
        descriptor_close(&spool->unsynced_fd); /* copied as well */
        segment_end(spool);
    }
    descriptor_close(&spool->unsynced_fd);
    repair->last = spool->write_number - 1;
    descriptor_close(&spool->read_fd); /* the name will stand for another file */
    return true;
}

/* One file copied under another name, synced, and renamed over itself. Gone: it was stored. */
static bool segment_copy(int directory, uint64_t number, char *chunk)
{
    char name[SEGMENT_NAME_BYTES], copy[SEGMENT_NAME_BYTES + sizeof(REPAIR_SUFFIX)];
    int from, to = -1;
    ssize_t got = -1;
    bool ok;

    segment_name(number, name);
    snprintf(copy, sizeof(copy), "%s" REPAIR_SUFFIX, name);
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

    for (uint64_t number = repair->first; ok && number <= repair->last; number++)
        ok = segment_copy(repair->directory, number, chunk);
    ok = ok && spool_fsync(repair->directory) == 0;
    close(repair->directory);
    free(chunk);
    return ok;
}

void spool_repair_done(struct spool *spool, const struct spool_repair *repair)
{
    spool->failed = false;
    if (spool->durable_number <= repair->last)
        spool->durable_number = repair->last + 1;
}
