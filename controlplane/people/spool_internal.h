/* Inside of the audit spool: for spool.c and spool_sync.c. */
#ifndef RINGCAST_SPOOL_INTERNAL_H
#define RINGCAST_SPOOL_INTERNAL_H

#include <unistd.h>

#include "spool.h"

#define SEGMENT_PREFIX "audit-spool-"
#define SEGMENT_COPY_SUFFIX ".new"
#define SEGMENT_NAME_BYTES (sizeof(SEGMENT_PREFIX) + 16)
#define SEGMENT_NUMBER_MAX (1ull << 60) /* a greater one is not ours */

struct spool {
    int directory;

    /* Writing: always to the newest segment, which is opened with its first row. */
    uint64_t write_number;
    int write_fd;    /* -1: not open */
    int unsynced_fd; /* the segment before it, until it is synced; -1: none */
    uint64_t write_bytes, synced_bytes;
    uint64_t reserved_bytes; /* the disk has space for that segment up to here */
    bool directory_unsynced;

    /* Syncing: segments below durable_number are on the disk. */
    uint64_t durable_number;
    uint64_t syncing_number; /* durable_number when the running sync succeeds */
    bool sync_failed;        /* rows from durable_number on may not be on the disk */

    /* Reading: in the segment that is written, or in an older one. */
    uint64_t read_number;
    int read_fd;
    uint64_t read_bytes;                  /* how far that segment has been read */
    uint64_t stored_number, stored_bytes; /* where spool_rewind goes */
    uint64_t bytes;                       /* of all segments */
    uint64_t damaged_lines;
};

void spool_segment_name(uint64_t number, char name[SEGMENT_NAME_BYTES]);
/* The number of the next segment that exists and is below `end`; else `end`. Any thread. */
uint64_t spool_segment_after(int directory, uint64_t number, uint64_t end);
/* Ends the segment that is written; the next row begins a new one. */
void spool_segment_end(struct spool *spool);

static inline void descriptor_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

#endif
