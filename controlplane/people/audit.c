/* Audit: rows go to the spool at once and from there, in batches, to the store.
 *
 * audit_write ─► spool (page cache: survives our death) ─► batch ─► store ─► spool forgets
 *                  │ store away: fsynced on the thread pool (survives the machine's death)
 *                  │   sync failed: copied into new files; until then calls are refused
 *                  └ disk full: kept in memory, bounded; calls are refused until it is in the spool
 */
#include "audit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spool.h"
#include "src/clock.h"
#include "src/log.h"
#include "uuid.h"

#define BATCH_WAIT_MS 10 /* rows of one moment share a transaction and its sync */
#define RETRY_MS_MIN 100
#define RETRY_MS_MAX 1000
#define KEPT_ROWS_MAX 1024
#define CLOCK_BACK_US_MAX 1000000
#define ROW_BYTES 512   /* of a line, as calls write them: ids and words */
#define REARM_PERCENT 5 /* that much below a level, it may be reached again */
#define STATUS_BYTES 120
#define CLOSE_BATCHES_MAX 32 /* 4096 rows; what is beyond is replayed at the next start */

struct kept_row {
    struct audit_row row;
    char metadata[SPOOL_METADATA_BYTES];
};

struct audit {
    uv_loop_t *loop;
    struct persistence *store;
    struct spool *spool;
    uv_timer_t timer;
    struct spool_batch *batch;
    struct kept_row *kept; /* rows that the disk had no room for; allocated with the first */
    size_t kept_count, kept_sent;
    int64_t written_us; /* time of the last row */
    uint64_t lost, refused, alarms;
    uint32_t retry_ms;
    unsigned level; /* of spool_levels, reached */
    bool sending, syncing, repairing, away, closing, timer_closed;
    int write_error; /* why the last row is not in the spool; 0: it is */
    char status[STATUS_BYTES];
    unsigned owed;         /* callbacks of the store and the pool, holders */
    unsigned sent_closing; /* batches under way since audit_close */
    int lock;              /* directory descriptor that holds the lock of the data directory */
};

struct sync_work {
    uv_work_t work;
    struct audit *audit;
    struct spool_sync sync;
    struct spool_repair repair;
    bool ok;
};

static const unsigned spool_levels[] = {50, 80, 95, 100}; /* percent of its bound */
#define LEVELS (sizeof(spool_levels) / sizeof(spool_levels[0]))

static const char *const action_names[] = {
#define A(name) #name,
    AUDIT_ACTIONS(A)
#undef A
};

static void drain(struct audit *audit);

/* Says once per level how full the spool is: long before it must refuse, and when it does. */
static void level_watch(struct audit *audit)
{
    uint64_t bytes = spool_bytes(audit->spool), percent = bytes * 100 / spool_bytes_max;
    unsigned level = 0;

    /* The last one is reached when not even a line fits. */
    while (level < LEVELS - 1 && percent >= spool_levels[level])
        level++;
    if (level == LEVELS - 1 && bytes + SPOOL_LINE_BYTES > spool_bytes_max)
        level++;
    if (level > audit->level) {
        audit->alarms += level - audit->level;
        audit->level = level;
        if (level == LEVELS)
            LOG(ERROR, "audit",
                "the audit spool is full: calls are refused; bring the database back",
                F("bytes", "%llu", (unsigned long long)bytes));
        else
            LOG(WARN, "audit",
                "the audit spool fills up: bring the database back before it is full and calls are "
                "refused",
                F("percent", "%u", (unsigned)percent),
                F("bytes", "%llu", (unsigned long long)bytes),
                F("max", "%llu", (unsigned long long)spool_bytes_max));
    }
    while (audit->level > level && percent + REARM_PERCENT <= spool_levels[audit->level - 1])
        audit->level--;
}

static void drain_timer(uv_timer_t *timer)
{
    drain(timer->data);
}

static void drain_in(struct audit *audit, uint64_t ms)
{
    if (!audit->closing)
        uv_timer_start(&audit->timer, drain_timer, ms, 0);
}

static void audit_free_when_idle(struct audit *audit)
{
    if (!audit->closing || audit->owed || !audit->timer_closed)
        return;
    spool_close(audit->spool);
    close(audit->lock);
    free(audit->kept);
    free(audit->batch);
    free(audit);
}

static void sync_run(uv_work_t *work)
{
    struct sync_work *job = work->data;

    job->ok = spool_sync_run(&job->sync);
}

static void sync_begin(struct audit *audit);

static void sync_done(uv_work_t *work, int status)
{
    struct sync_work *job = work->data;
    struct audit *audit = job->audit;

    if (job->ok) {
        spool_sync_done(audit->spool);
    } else {
        LOG(ERROR, "audit",
            "sync of the spool failed: calls are refused until its rows are safe; check the disk "
            "of the data directory");
        spool_sync_failed(audit->spool);
    }
    free(job);
    audit->syncing = false;
    audit->owed--;
    if (audit->away && !audit->closing && !spool_sync_has_failed(audit->spool))
        sync_begin(audit); /* what was written meanwhile */
    audit_free_when_idle(audit);
}

static void sync_begin(struct audit *audit)
{
    struct sync_work *job;

    if (audit->syncing || !(job = calloc(1, sizeof(*job))))
        return; /* no memory: the next retry comes by again */
    if (!spool_sync_start(audit->spool, &job->sync)) {
        free(job);
        return;
    }
    job->audit = audit;
    job->work.data = job;
    if (uv_queue_work(audit->loop, &job->work, sync_run, sync_done) != 0) {
        spool_sync_run(&job->sync);
        free(job);
        return;
    }
    audit->syncing = true;
    audit->owed++;
}

/* ---- after a sync that failed ---- */

static void repair_run(uv_work_t *work)
{
    struct sync_work *job = work->data;

    job->ok = spool_repair_run(&job->repair);
}

static void repair_done(uv_work_t *work, int status)
{
    struct sync_work *job = work->data;
    struct audit *audit = job->audit;

    if (job->ok) {
        spool_repair_done(audit->spool, &job->repair);
        LOG(INFO, "audit", "the spool was written anew and is safe again");
    } else {
        LOG(ERROR, "audit", "the spool cannot be written anew; trying again",
            F("in_ms", "%u", RETRY_MS_MAX));
    }
    audit->repairing = false;
    drain_in(audit, job->ok ? 0 : RETRY_MS_MAX);
    free(job);
    audit->owed--;
    audit_free_when_idle(audit);
}

static void repair_begin(struct audit *audit)
{
    struct sync_work *job = audit->syncing ? NULL : calloc(1, sizeof(*job));

    if (job && spool_repair_start(audit->spool, &job->repair)) {
        job->audit = audit;
        job->work.data = job;
        if (uv_queue_work(audit->loop, &job->work, repair_run, repair_done) == 0) {
            audit->repairing = true;
            audit->owed++;
            return;
        }
        close(job->repair.directory);
    }
    free(job);
    drain_in(audit, RETRY_MS_MAX);
}

/* ---- to the store ---- */

static void sent_at_close(void *context, enum persistence_result result)
{
    struct audit *audit = context;

    audit->owed--;
    audit->away |= result != PERSISTED;
    if (--audit->sent_closing == 0 && !audit->away) /* all in order and all stored */
        spool_stored(audit->spool);
    audit_free_when_idle(audit);
}

static void sent(void *context, enum persistence_result result)
{
    struct audit *audit = context;
    bool full = audit->kept_sent || audit->batch->count == SPOOL_BATCH_ROWS;

    if (audit->closing) { /* the read mark has moved on meanwhile */
        sent_at_close(context, result);
        return;
    }
    audit->owed--;
    audit->sending = false;
    if (result != PERSISTED) {
        if (!audit->away)
            LOG(WARN, "audit", "the store does not take audit rows; they wait in the spool",
                F("bytes", "%llu", (unsigned long long)spool_bytes(audit->spool)));
        audit->away = true;
        audit->kept_sent = 0;
        spool_rewind(audit->spool);
        sync_begin(audit);
        drain_in(audit, audit->retry_ms);
        audit->retry_ms = 2 * audit->retry_ms < RETRY_MS_MAX ? 2 * audit->retry_ms : RETRY_MS_MAX;
        return;
    }
    if (audit->away)
        LOG(INFO, "audit", "the store takes audit rows again");
    audit->away = false;
    audit->retry_ms = RETRY_MS_MIN;
    if (audit->kept_sent) {
        audit->kept_count -= audit->kept_sent;
        memmove(audit->kept, audit->kept + audit->kept_sent,
                audit->kept_count * sizeof(*audit->kept));
        audit->kept_sent = 0;
    } else {
        spool_stored(audit->spool);
    }
    if (!spool_is_empty(audit->spool) || audit->kept_count)
        drain_in(audit, full ? 0 : BATCH_WAIT_MS);
}

/* Rows that never got into the spool are newer than all that did. */
static void kept_send(struct audit *audit)
{
    for (audit->kept_sent = 0;
         audit->kept_sent < audit->kept_count && audit->kept_sent < SPOOL_BATCH_ROWS;
         audit->kept_sent++) {
        struct kept_row *kept = &audit->kept[audit->kept_sent];

        audit->batch->rows[audit->kept_sent] = kept->row;
        audit->batch->rows[audit->kept_sent].metadata = kept->metadata[0] ? kept->metadata : NULL;
    }
    audit->batch->count = audit->kept_sent;
}

/* Rows that the disk had no room for go to the spool, behind all that are in it, as soon as it takes
 * them. */
static void kept_to_spool(struct audit *audit)
{
    size_t moved = 0;

    if (audit->kept_sent) /* on their way to the store */
        return;
    while (moved < audit->kept_count) {
        struct kept_row *kept = &audit->kept[moved];

        kept->row.metadata = kept->metadata[0] ? kept->metadata : NULL;
        if (!spool_append(audit->spool, &kept->row))
            break;
        moved++;
    }
    audit->kept_count -= moved;
    memmove(audit->kept, audit->kept + moved, audit->kept_count * sizeof(*audit->kept));
    if (moved > 0 && audit->kept_count == 0) {
        audit->write_error = 0;
        LOG(INFO, "audit", "the spool takes rows again");
    }
}

static void drain(struct audit *audit)
{
    level_watch(audit);
    if (audit->sending || audit->repairing)
        return;
    if (spool_sync_has_failed(audit->spool)) {
        repair_begin(audit);
        return;
    }
    if (audit->kept_count)
        kept_to_spool(audit);
    if (spool_read(audit->spool, audit->batch) == 0) {
        spool_stored(audit->spool); /* nothing but damaged lines behind the mark, if anything */
        if (!spool_is_empty(audit->spool)) {
            drain_in(audit, RETRY_MS_MAX); /* not readable at the moment */
            return;
        }
        kept_send(audit);
    }
    if (audit->batch->count == 0)
        return;
    audit->sending = true;
    audit->owed++;
    audit_insert_batch(audit->store, audit->batch->rows, audit->batch->count, sent, audit);
}

struct audit *audit_open(uv_loop_t *loop, struct persistence *store,
                         const struct settings *settings, char *why)
{
    struct audit *audit = calloc(1, sizeof(*audit));
    int directory = -1;

    if (!audit || !(audit->batch = calloc(1, sizeof(*audit->batch)))) {
        snprintf(why, WHY_BYTES, "no memory for the audit log");
        free(audit);
        return NULL;
    }
    audit->lock = data_directory_claim(settings, why);
    if (audit->lock >= 0)
        directory = data_directory_open(settings, why);
    if (directory >= 0)
        audit->spool = spool_open(directory, why);
    if (!audit->spool) {
        if (audit->lock >= 0)
            close(audit->lock);
        free(audit->batch);
        free(audit);
        return NULL;
    }
    audit->loop = loop;
    audit->store = store;
    audit->retry_ms = RETRY_MS_MIN;
    if (settings->audit_spool_mib_max)
        spool_bytes_max = (uint64_t)settings->audit_spool_mib_max << 20;
    audit->timer.data = audit;
    uv_timer_init(loop, &audit->timer);
    if (!spool_is_empty(audit->spool)) {
        LOG(INFO, "audit", "replaying the spool",
            F("bytes", "%llu", (unsigned long long)spool_bytes(audit->spool)));
        drain_in(audit, 0);
    }
    return audit;
}

static void timer_closed(uv_handle_t *handle)
{
    struct audit *audit = handle->data;

    audit->timer_closed = true;
    audit_free_when_idle(audit);
}

/* What is left goes to the store now, ahead of persistence_close; what that cannot take stays in
 * the spool, synced, for the next start. */
void audit_close(struct audit *audit)
{
    struct spool_sync sync;

    audit->closing = true;
    audit->sent_closing = audit->sending;
    uv_timer_stop(&audit->timer);
    /* A batch on its way is sent once more behind itself: the ids make that harmless. */
    spool_rewind(audit->spool);
    for (unsigned i = 0; i < CLOSE_BATCHES_MAX; i++) {
        bool last = audit->away || spool_read(audit->spool, audit->batch) == 0;

        if (last) /* often no rows at all: then it is a fence behind what others have asked for, */
            kept_send(audit); /* whose callbacks may still write */
        audit->owed++;
        audit->sent_closing++;
        audit_insert_batch(audit->store, audit->batch->rows, audit->batch->count, sent_at_close,
                           audit);
        if (last)
            break;
    }
    if (spool_sync_start(audit->spool, &sync))
        spool_sync_run(&sync);
    uv_close((uv_handle_t *)&audit->timer, timer_closed);
}

void audit_hold(struct audit *audit)
{
    audit->owed++;
}

void audit_release(struct audit *audit)
{
    audit->owed--;
    audit_free_when_idle(audit);
}

static const char *reason_text(int error)
{
    return error == EFBIG ? "the spool is full" : strerror(error);
}

/* The disk took no more: the row stays in memory, in its order, until disk or store take it. */
static void row_keep(struct audit *audit, const struct audit_row *row, int reason)
{
    struct kept_row *kept;

    if (!audit->kept)
        audit->kept = calloc(KEPT_ROWS_MAX, sizeof(*audit->kept));
    if (!audit->write_error)
        LOG(ERROR, "audit",
            "the spool cannot be written; calls are refused until it can: free space in the data "
            "directory",
            F("reason", "%s", reason_text(reason)),
            F("bytes", "%llu", (unsigned long long)spool_bytes(audit->spool)));
    audit->write_error = reason;
    if (!audit->kept || audit->kept_count == KEPT_ROWS_MAX) {
        audit->lost++;
        LOG(ERROR, "audit", "audit row lost: neither store, disk nor memory takes it",
            F("action", "%s", row->action), F("user", "%s", row->user_id),
            F("room", "%s", row->room_id), F("lost", "%llu", (unsigned long long)audit->lost));
        return;
    }
    kept = &audit->kept[audit->kept_count++];
    kept->row = *row;
    snprintf(kept->metadata, sizeof(kept->metadata), "%s", row->metadata ? row->metadata : "");
}

/* A JSON object without control characters, or nothing that would break a reader later. */
static bool metadata_is_sound(const char *text, int length)
{
    cJSON *parsed;
    bool sound;

    if (length < 0 || length >= SPOOL_METADATA_BYTES)
        return false;
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20)
            return false;
    if (strstr(text, "\\u0000")) /* no text in a database has it */
        return false;
    parsed = cJSON_Parse(text);
    sound = cJSON_IsObject(parsed);
    cJSON_Delete(parsed);
    return sound;
}

/* Later than that of the row before, so that the time alone says the order; but a clock that was set
 * back by more than a moment is followed. */
static int64_t time_next(struct audit *audit)
{
    int64_t now_us = (int64_t)(clock_wall_ns() / 1000);

    if (now_us <= audit->written_us && audit->written_us - now_us < CLOCK_BACK_US_MAX)
        now_us = audit->written_us + 1;
    audit->written_us = now_us;
    return now_us;
}

bool audit_write(struct audit *audit, enum audit_action action, const char *user_id,
                 const char *room_id, const char *ip, const char *metadata_format, ...)
{
    struct audit_row row = {0};
    char metadata[SPOOL_METADATA_BYTES];
    bool logged;

    uuid_make(row.id);
    snprintf(row.action, sizeof(row.action), "%s", action_names[action]);
    snprintf(row.user_id, sizeof(row.user_id), "%s", user_id ? user_id : "");
    snprintf(row.room_id, sizeof(row.room_id), "%s", room_id ? room_id : "");
    snprintf(row.ip_address, sizeof(row.ip_address), "%s", ip ? ip : "");
    row.created_us = time_next(audit);
    if (metadata_format) {
        va_list values;
        int length;

        va_start(values, metadata_format);
        length = vsnprintf(metadata, sizeof(metadata), metadata_format, values);
        va_end(values);
        row.metadata = metadata;
        if (!metadata_is_sound(metadata, length)) {
            LOG(ERROR, "audit", "metadata is not a JSON object; the row is kept without it",
                F("action", "%s", row.action), F("metadata", "%.200s", metadata));
            row.metadata = NULL;
        }
    }
    logged = audit->kept_count == 0 && spool_append(audit->spool, &row);
    if (!logged)
        row_keep(audit, &row, audit->kept_count ? audit->write_error : errno);
    level_watch(audit);
    if (audit->closing)
        return logged;
    if (audit->away && !audit->repairing && !spool_sync_has_failed(audit->spool))
        sync_begin(audit);
    else if (!audit->sending && !uv_is_active((uv_handle_t *)&audit->timer))
        drain_in(audit, BATCH_WAIT_MS);
    return logged;
}

/* One may be as long as a line can be, the others are as calls write them. */
static uint64_t rows_bytes(uint64_t rows)
{
    return SPOOL_LINE_BYTES + rows * ROW_BYTES;
}

bool audit_ready(struct audit *audit, uint64_t rows)
{
    bool ready;

    if (audit->kept_count)
        kept_to_spool(audit);
    ready = audit->kept_count == 0 && !spool_sync_has_failed(audit->spool);
    if (ready && !spool_reserve(audit->spool, rows_bytes(rows))) {
        int reason = errno;

        ready = false;
        if (!audit->write_error)
            LOG(ERROR, "audit",
                "there is no room for audit rows; calls are refused until there is: free space in "
                "the data directory, or bring the database back",
                F("reason", "%s", reason_text(reason)),
                F("bytes", "%llu", (unsigned long long)spool_bytes(audit->spool)));
        audit->write_error = reason;
    } else if (ready) {
        audit->write_error = 0;
    }
    audit->refused += !ready;
    return ready;
}

static const char *status_of(struct audit *audit)
{
    level_watch(audit);
    /* Somebody may stay away until we say that we are well: look again. */
    if (audit->write_error && audit->kept_count == 0 && spool_reserve(audit->spool, rows_bytes(1)))
        audit->write_error = 0;
    if (spool_sync_has_failed(audit->spool))
        return "the spool's disk fails: rows are not safe";
    if (audit->kept_count || audit->write_error)
        snprintf(audit->status, STATUS_BYTES, "rows cannot be logged: %s",
                 reason_text(audit->write_error));
    else if (audit->level > 0)
        snprintf(audit->status, STATUS_BYTES, "the spool is %u %% full: bring the database back",
                 (unsigned)(spool_bytes(audit->spool) * 100 / spool_bytes_max));
    else
        snprintf(audit->status, STATUS_BYTES, "ok");
    return audit->status;
}

void audit_health(struct audit *audit, struct audit_health *health)
{
    *health = (struct audit_health){.status = status_of(audit),
                                    .spool_bytes = spool_bytes(audit->spool),
                                    .spool_bytes_max = spool_bytes_max,
                                    .rows_in_memory = audit->kept_count,
                                    .rows_lost = audit->lost,
                                    .lines_damaged = spool_damaged_lines(audit->spool),
                                    .calls_refused = audit->refused,
                                    .alarms = audit->alarms};
}
