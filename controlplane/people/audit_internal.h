/* Inside of the audit log.
 *
 *   audit_write ─► spool ─► batch ─► database; then the spool removes the rows
 *
 * A row in the spool is in the page cache and survives the death of the process.
 * Database unavailable: the thread pool syncs the spool; rows survive the death of the machine.
 * Sync failed: the rows are copied to new files. Requests are refused until that is done.
 * Disk full: up to MEMORY_ROWS_MAX rows stay in memory. Requests are refused until they are in the
 *            spool.
 *
 *   audit.c       opens, closes, writes, reports the health
 *   audit_send.c  from the spool (or memory) to the database
 *   audit_sync.c  syncs and repairs the spool on the thread pool */
#ifndef RINGCAST_AUDIT_INTERNAL_H
#define RINGCAST_AUDIT_INTERNAL_H

#include "audit.h"
#include "spool.h"

#define BATCH_WAIT_MS 10 /* rows of one moment share a transaction and its sync */
#define RETRY_MS_MIN 100
#define RETRY_MS_MAX 1000
#define MEMORY_ROWS_MAX 1024
#define STATUS_BYTES 120

/* A row that the disk did not take. */
struct memory_row {
    struct audit_row row;
    char metadata[SPOOL_METADATA_BYTES];
};

struct audit {
    uv_loop_t *loop;
    struct persistence *store;
    struct spool *spool;
    uv_timer_t timer; /* of the next batch */
    struct spool_batch *batch;
    struct memory_row *memory_rows; /* allocated when the first row needs it */
    size_t memory_count;
    size_t memory_sent; /* rows of memory in the batch on its way; 0: the batch is from the spool */
    int64_t last_row_us;
    uint64_t rows_lost, requests_refused, alarms;
    uint32_t retry_ms;
    unsigned level; /* of the spool: how many of the levels it has reached */
    bool sending, syncing, repairing, database_down, closing, timer_closed;
    int write_error; /* errno of why the last row is not in the spool; 0: it is */
    char status[STATUS_BYTES];
    unsigned pending;         /* callbacks of the database and the thread pool, and holders */
    unsigned closing_batches; /* batches on their way since audit_close */
    int lock;                 /* descriptor that holds the lock of the data directory */
};

/* ---- audit.c ---- */

void audit_free_when_idle(struct audit *audit);
/* Warns once per level how full the spool is: long before requests must be refused, and when they
 * are. */
void audit_level_check(struct audit *audit);
/* The spool cannot take a row: logs this once and remembers the reason. */
void audit_write_failed(struct audit *audit, int reason);

/* ---- audit_send.c ---- */

void audit_send_in(struct audit *audit, uint64_t ms);
/* Rows that the disk did not take go to the spool, behind all rows in it, as soon as it takes
 * them. */
void audit_memory_to_spool(struct audit *audit);
/* Sends all waiting rows before the audit log closes. */
void audit_send_at_close(struct audit *audit);

/* ---- audit_sync.c ---- */

void audit_sync_begin(struct audit *audit);
void audit_repair_begin(struct audit *audit);

#endif
