/* Audit: from the spool to the database, batch after batch; from memory when the disk took no
 *        rows. */
#include <string.h>

#include "audit_internal.h"
#include "src/log.h"

#define CLOSE_BATCHES_MAX 32 /* 4096 rows; the next start sends the rest */

static void send_next(struct audit *audit);

static void send_due(uv_timer_t *timer)
{
    send_next(timer->data);
}

void audit_send_in(struct audit *audit, uint64_t ms)
{
    if (!audit->closing)
        uv_timer_start(&audit->timer, send_due, ms, 0);
}

static void sent_at_close(void *context, enum persistence_result result)
{
    struct audit *audit = context;

    audit->pending--;
    audit->database_down |= result != PERSISTED;
    if (--audit->closing_batches == 0 && !audit->database_down) /* all batches are stored */
        spool_stored(audit->spool);
    audit_free_when_idle(audit);
}

static void send_failed(struct audit *audit)
{
    if (!audit->database_down)
        LOG(WARN, "audit", "the database does not take audit rows; they wait in the spool",
            F("bytes", "%llu", (unsigned long long)spool_bytes(audit->spool)));
    audit->database_down = true;
    audit->memory_sent = 0;
    spool_rewind(audit->spool);
    audit_sync_begin(audit);
    audit_send_in(audit, audit->retry_ms);
    audit->retry_ms = 2 * audit->retry_ms < RETRY_MS_MAX ? 2 * audit->retry_ms : RETRY_MS_MAX;
}

static void sent(void *context, enum persistence_result result)
{
    struct audit *audit = context;
    bool full = audit->memory_sent || audit->batch->count == SPOOL_BATCH_ROWS;

    if (audit->closing) { /* audit_close has moved the read mark of the spool meanwhile */
        sent_at_close(context, result);
        return;
    }
    audit->pending--;
    audit->sending = false;
    if (result != PERSISTED) {
        send_failed(audit);
        return;
    }
    if (audit->database_down)
        LOG(INFO, "audit", "the database takes audit rows again");
    audit->database_down = false;
    audit->retry_ms = RETRY_MS_MIN;
    if (audit->memory_sent) {
        audit->memory_count -= audit->memory_sent;
        memmove(audit->memory_rows, audit->memory_rows + audit->memory_sent,
                audit->memory_count * sizeof(*audit->memory_rows));
        audit->memory_sent = 0;
    } else {
        spool_stored(audit->spool);
    }
    if (!spool_is_empty(audit->spool) || audit->memory_count)
        audit_send_in(audit, full ? 0 : BATCH_WAIT_MS);
}

static const struct audit_row *memory_row_at(struct audit *audit, size_t at)
{
    struct memory_row *kept = &audit->memory_rows[at];

    kept->row.metadata = kept->metadata[0] ? kept->metadata : NULL;
    return &kept->row;
}

/* Fills the batch from memory. Called when the whole spool was read: rows in memory are newer than
 * those in it. */
static void batch_from_memory(struct audit *audit)
{
    size_t count = audit->memory_count < SPOOL_BATCH_ROWS ? audit->memory_count : SPOOL_BATCH_ROWS;

    for (size_t i = 0; i < count; i++)
        audit->batch->rows[i] = *memory_row_at(audit, i);
    audit->memory_sent = audit->batch->count = count;
}

void audit_memory_to_spool(struct audit *audit)
{
    size_t moved = 0;

    if (audit->memory_sent) /* they are on their way to the database */
        return;
    while (moved < audit->memory_count && spool_append(audit->spool, memory_row_at(audit, moved)))
        moved++;
    audit->memory_count -= moved;
    memmove(audit->memory_rows, audit->memory_rows + moved,
            audit->memory_count * sizeof(*audit->memory_rows));
    if (moved > 0 && audit->memory_count == 0) {
        audit->write_error = 0;
        LOG(INFO, "audit", "the audit spool takes rows again");
    }
}

static void send_next(struct audit *audit)
{
    audit_level_check(audit);
    if (audit->sending || audit->repairing)
        return;
    if (spool_sync_has_failed(audit->spool)) {
        audit_repair_begin(audit);
        return;
    }
    if (audit->memory_count)
        audit_memory_to_spool(audit);
    if (spool_read(audit->spool, audit->batch) == 0) {
        spool_stored(audit->spool); /* what lies behind the read mark can only be damaged lines */
        if (!spool_is_empty(audit->spool)) {
            audit_send_in(audit, RETRY_MS_MAX); /* the spool cannot be read at the moment */
            return;
        }
        batch_from_memory(audit);
    }
    if (audit->batch->count == 0)
        return;
    audit->sending = true;
    audit->pending++;
    audit_insert_batch(audit->store, audit->batch->rows, audit->batch->count, sent, audit);
}

void audit_send_at_close(struct audit *audit)
{
    audit->closing_batches = audit->sending;
    /* A batch on its way is sent once more: the ids of its rows make that harmless. */
    spool_rewind(audit->spool);
    for (unsigned i = 0; i < CLOSE_BATCHES_MAX; i++) {
        bool last = audit->database_down || spool_read(audit->spool, audit->batch) == 0;

        /* The last batch is often empty. It is then a barrier behind the queries of others, whose
         * callbacks may still write rows. */
        if (last)
            batch_from_memory(audit);
        audit->pending++;
        audit->closing_batches++;
        audit_insert_batch(audit->store, audit->batch->rows, audit->batch->count, sent_at_close,
                           audit);
        if (last)
            break;
    }
}
