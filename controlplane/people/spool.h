/* The audit spool: rows in the order they were written, in files that survive the process.
 *
 * Shape: segments audit-spool-<16 hex digits> in the data directory, one line per row
 *        (crc32, then the columns, tab-separated, metadata last). A row is appended with one
 *        write() before audit_write returns: from then on the death of the process cannot lose it.
 *        spool_sync_* makes it survive the machine's, too (needed only while the store is away).
 * Reading: spool_read goes on behind the last row read; spool_stored says that everything read is
 *        in the store; spool_rewind reads it again. Rows are repeated after a crash, never skipped:
 *        their ids make the repeat harmless.
 * A sync that fails may have lost what was written before it, and a second one would not say so
 * (Linux reports it once): what it covered is then copied out of the page cache into new files.
 * Threads: one, except the functions that say so. Limits: spool_bytes_max. */
#ifndef RINGCAST_SPOOL_H
#define RINGCAST_SPOOL_H

#include "data_directory_open.h"
#include "persistence.h"

#define SPOOL_METADATA_BYTES 2048
#define SPOOL_LINE_BYTES (SPOOL_METADATA_BYTES + 512)
#define SPOOL_BATCH_ROWS 128
#define SPOOL_CHUNK_BYTES 65536

extern uint64_t spool_bytes_max;         /* all segments together; 256 MiB */
extern uint64_t spool_segment_bytes_max; /* 1 MiB */
extern int (*spool_fsync)(int fd);       /* fsync, unless a test lets it fail */

struct spool;
/* directory: a descriptor that becomes the spool's. */
struct spool *spool_open(int directory, char *why /* WHY_BYTES */);
void spool_close(struct spool *spool);

/* False, with errno: it is not in the file (disk full, spool full, error). */
bool spool_append(struct spool *spool, const struct audit_row *row);
/* Sees to it that so many bytes more can be appended, and keeps the disk's room for them: whoever
 * must not do what cannot be logged asks first. False, with errno: there is no room. */
bool spool_reserve(struct spool *spool, uint64_t bytes);

struct spool_batch {
    struct audit_row rows[SPOOL_BATCH_ROWS]; /* metadata points into chunk */
    size_t count;
    char chunk[SPOOL_CHUNK_BYTES + 1];
};
/* 0 rows: everything has been read. */
size_t spool_read(struct spool *spool, struct spool_batch *batch);
void spool_stored(struct spool *spool);
void spool_rewind(struct spool *spool);
bool spool_is_empty(const struct spool *spool); /* nothing that is not stored */
uint64_t spool_bytes(const struct spool *spool);
uint64_t spool_damaged_lines(const struct spool *spool);

/* Descriptors of what is not on the disk yet, for another thread: files (up to 2) and directory. */
struct spool_sync {
    int fds[3];
    unsigned count;
};
bool spool_sync_start(struct spool *spool, struct spool_sync *sync); /* false: nothing to do */
bool spool_sync_run(struct spool_sync *sync);                        /* any thread; closes them */
/* It went well: what was written before its start is safe. */
void spool_sync_done(struct spool *spool);
void spool_sync_failed(struct spool *spool);
bool spool_sync_has_failed(const struct spool *spool); /* until repaired, or all of it is stored */

/* After a sync that failed: segments to be copied, synced and put in place of themselves. What is
 * appended meanwhile goes to a new one; nothing may be read until it has run. */
struct spool_repair {
    int directory;
    uint64_t first, last; /* segment numbers */
};
bool spool_repair_start(struct spool *spool, struct spool_repair *repair); /* false: cannot now */
bool spool_repair_run(struct spool_repair *repair); /* any thread; closes the directory */
void spool_repair_done(struct spool *spool, const struct spool_repair *repair); /* it went well */

/* One line ↔ one row. Parse writes NULs into the line; its length without the newline. */
size_t spool_line_format(const struct audit_row *row, char line[SPOOL_LINE_BYTES]);
bool spool_line_parse(char *line, size_t length, struct audit_row *row);

#endif
