/* The audit spool: audit rows in the order in which they were written, in files that survive the
 *                  process.
 *
 * Shape: segments named audit-spool-<16 hexadecimal digits> in the data directory, one line per row
 *        (CRC-32, then the columns, separated by tabs, metadata last). spool_append writes a row
 *        with one write(): after that the death of the process cannot lose it. spool_sync_* makes
 *        it survive the death of the machine as well; that is needed only while the database is
 *        unavailable.
 * Reading: spool_read returns the rows behind those it returned before. spool_stored: everything
 *        that was read is in the database. spool_rewind: read again from what is stored. After a
 *        crash rows may be read twice, never skipped; their ids make the repeat harmless.
 * Failed sync: what was written before it may be lost, and a second sync would not say so, because
 *        Linux reports the error once. spool_repair_* copies those rows from the page cache to new
 *        files.
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
extern int (*spool_fsync)(int fd);       /* fsync; a test makes it fail */

struct spool;
/* directory: a descriptor; the spool closes it. */
struct spool *spool_open(int directory, char *why /* WHY_BYTES */);
void spool_close(struct spool *spool);

/* False, with errno: the row is not in the file (disk full, spool full, error). */
bool spool_append(struct spool *spool, const struct audit_row *row);
/* Reserves this many bytes on the disk for rows that are appended later. False, with errno: no
 * space. */
bool spool_reserve(struct spool *spool, uint64_t bytes);

struct spool_batch {
    struct audit_row rows[SPOOL_BATCH_ROWS]; /* metadata points into chunk */
    size_t count;
    char chunk[SPOOL_CHUNK_BYTES + 1];
};
/* The number of rows; 0: everything has been read. */
size_t spool_read(struct spool *spool, struct spool_batch *batch);
void spool_stored(struct spool *spool);
void spool_rewind(struct spool *spool);
bool spool_is_empty(const struct spool *spool); /* every row is stored */
uint64_t spool_bytes(const struct spool *spool);
uint64_t spool_damaged_lines(const struct spool *spool);

/* A sync for another thread: descriptors of the files (at most 2) and of the directory. */
struct spool_sync {
    int fds[3];
    unsigned count;
};
bool spool_sync_start(struct spool *spool, struct spool_sync *sync); /* false: nothing to sync */
bool spool_sync_run(struct spool_sync *sync); /* any thread; closes the descriptors */
/* It succeeded: the rows that were written before its start are on the disk. */
void spool_sync_done(struct spool *spool);
void spool_sync_failed(struct spool *spool);
/* True until the repair is done, or until every row is stored. */
bool spool_sync_has_failed(const struct spool *spool);

/* A repair for another thread: copies segments, syncs the copies and gives them the names of the
 * originals. Rows that are appended meanwhile go to a new segment. Do not read while it runs. */
struct spool_repair {
    int directory;
    uint64_t first, last; /* segment numbers */
};
bool spool_repair_start(struct spool *spool, struct spool_repair *repair); /* false: try later */
bool spool_repair_run(struct spool_repair *repair); /* any thread; closes the directory */
void spool_repair_done(struct spool *spool, const struct spool_repair *repair); /* it succeeded */

/* A row as a line, and back. format: the length with the newline, 0: the row does not fit into a
 * line. parse: length is without the newline; it writes NULs into the line. */
size_t spool_line_format(const struct audit_row *row, char line[SPOOL_LINE_BYTES]);
bool spool_line_parse(char *line, size_t length, struct audit_row *row);

#endif
