/* Audit: opens, closes, writes rows to the spool, reports the health. */
#include "audit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit_internal.h"
#include "src/clock.h"
#include "src/log.h"

#define CLOCK_BACK_US_MAX 1000000
#define ROW_BYTES 512   /* of a line with the usual metadata: ids and words */
#define REARM_PERCENT 5 /* a level warns again after the spool was this many percent below it */

static const unsigned spool_levels[] = {50, 80, 95, 100}; /* percent of the spool's limit */
#define LEVELS (sizeof(spool_levels) / sizeof(spool_levels[0]))

static const char *const action_names[] = {
#define A(name) #name,
    AUDIT_ACTIONS(A)
#undef A
};

void audit_level_check(struct audit *audit)
{
    uint64_t bytes = spool_bytes(audit->spool), percent = bytes * 100 / spool_bytes_max;
    unsigned level = 0;

    /* The last level is reached when the spool has no place for one more line. */
    while (level < LEVELS - 1 && percent >= spool_levels[level])
        level++;
    if (level == LEVELS - 1 && bytes + SPOOL_LINE_BYTES > spool_bytes_max)
        level++;
    if (level > audit->level) {
        audit->alarms += level - audit->level;
        audit->level = level;
        if (level == LEVELS)
            LOG(ERROR, "audit",
                "the audit spool is full: requests are refused; bring the database back",
                F("bytes", "%llu", (unsigned long long)bytes));
        else
            LOG(WARN, "audit",
                "the audit spool is filling up: bring the database back before the spool is full "
                "and requests are refused",
                F("percent", "%u", (unsigned)percent),
                F("bytes", "%llu", (unsigned long long)bytes),
                F("max", "%llu", (unsigned long long)spool_bytes_max));
    }
    while (audit->level > level && percent + REARM_PERCENT <= spool_levels[audit->level - 1])
        audit->level--;
}

/* ---- open and close ---- */

void audit_free_when_idle(struct audit *audit)
{
    if (!audit->closing || audit->pending || !audit->timer_closed)
        return;
    spool_close(audit->spool);
    close(audit->lock);
    free(audit->memory_rows);
    free(audit->batch);
    free(audit);
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
        LOG(INFO, "audit", "sending the rows that the last run left in the audit spool",
            F("bytes", "%llu", (unsigned long long)spool_bytes(audit->spool)));
        audit_send_in(audit, 0);
    }
    return audit;
}

static void timer_closed(uv_handle_t *handle)
{
    struct audit *audit = handle->data;

    audit->timer_closed = true;
    audit_free_when_idle(audit);
}

/* Rows that the database does not take now stay in the spool, synced, for the next start. */
void audit_close(struct audit *audit)
{
    struct spool_sync sync;

    audit->closing = true;
    uv_timer_stop(&audit->timer);
    audit_send_at_close(audit);
    if (spool_sync_start(audit->spool, &sync))
        spool_sync_run(&sync);
    uv_close((uv_handle_t *)&audit->timer, timer_closed);
}

void audit_hold(struct audit *audit)
{
    audit->pending++;
}

void audit_release(struct audit *audit)
{
    audit->pending--;
    audit_free_when_idle(audit);
}

/* ---- writing ---- */

static const char *reason_text(int error)
{
    return error == EFBIG ? "the spool is full" : strerror(error);
}

void audit_write_failed(struct audit *audit, int reason)
{
    if (!audit->write_error)
        LOG(ERROR, "audit",
            "the audit spool takes no rows; requests are refused until it does: free space in the "
            "data directory, or bring the database back",
            F("reason", "%s", reason_text(reason)),
            F("bytes", "%llu", (unsigned long long)spool_bytes(audit->spool)));
    audit->write_error = reason;
}

/* Keeps the row in memory, in its order, until the disk or the database takes it. */
static void row_keep(struct audit *audit, const struct audit_row *row, int reason)
{
    struct memory_row *kept;

    if (!audit->memory_rows)
        audit->memory_rows = calloc(MEMORY_ROWS_MAX, sizeof(*audit->memory_rows));
    audit_write_failed(audit, reason);
    if (!audit->memory_rows || audit->memory_count == MEMORY_ROWS_MAX) {
        audit->rows_lost++;
        LOG(ERROR, "audit", "audit row lost: database, disk and memory do not take it",
            F("action", "%s", row->action), F("user", "%s", row->user_id),
            F("room", "%s", row->room_id), F("lost", "%llu", (unsigned long long)audit->rows_lost));
        return;
    }
    kept = &audit->memory_rows[audit->memory_count++];
    kept->row = *row;
    snprintf(kept->metadata, sizeof(kept->metadata), "%s", row->metadata ? row->metadata : "");
}

/* Is it a JSON object that fits, without anything that a reader of the spool or a database
 * refuses? */
static bool metadata_is_sound(const char *text, int length)
{
    cJSON *parsed;
    bool sound;

    if (length < 0 || length >= SPOOL_METADATA_BYTES)
        return false;
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20)
            return false;
    if (strstr(text, "\\u0000")) /* databases refuse it in texts */
        return false;
    parsed = cJSON_Parse(text);
    sound = cJSON_IsObject(parsed);
    cJSON_Delete(parsed);
    return sound;
}

/* Each row gets a later time than the row before, so that the times alone give the order. When the
 * clock was set back by more than CLOCK_BACK_US_MAX, the new time of the clock counts. */
static int64_t time_next(struct audit *audit)
{
    int64_t now_us = (int64_t)(clock_wall_ns() / 1000);

    if (now_us <= audit->last_row_us && audit->last_row_us - now_us < CLOCK_BACK_US_MAX)
        now_us = audit->last_row_us + 1;
    audit->last_row_us = now_us;
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
            LOG(ERROR, "audit", "metadata is not a JSON object; the row is stored without it",
                F("action", "%s", row.action), F("metadata", "%.200s", metadata));
            row.metadata = NULL;
        }
    }
    logged = audit->memory_count == 0 && spool_append(audit->spool, &row);
    if (!logged)
        row_keep(audit, &row, audit->memory_count ? audit->write_error : errno);
    audit_level_check(audit);
    if (audit->closing)
        return logged;
    if (audit->database_down && !audit->repairing && !spool_sync_has_failed(audit->spool))
        audit_sync_begin(audit);
    else if (!audit->sending && !uv_is_active((uv_handle_t *)&audit->timer))
        audit_send_in(audit, BATCH_WAIT_MS);
    return logged;
}

/* One of the rows may be as long as a line can be; the others have the usual length. */
static uint64_t rows_bytes(uint64_t rows)
{
    return SPOOL_LINE_BYTES + rows * ROW_BYTES;
}

bool audit_ready(struct audit *audit, uint64_t rows)
{
    bool ready;

    if (audit->memory_count)
        audit_memory_to_spool(audit);
    ready = audit->memory_count == 0 && !spool_sync_has_failed(audit->spool);
    if (ready) {
        ready = spool_reserve(audit->spool, rows_bytes(rows));
        if (ready)
            audit->write_error = 0;
        else
            audit_write_failed(audit, errno);
    }
    audit->requests_refused += !ready;
    return ready;
}

/* ---- health ---- */

static const char *status_of(struct audit *audit)
{
    audit_level_check(audit);
    /* Clients may stay away until /health says "ok": try again without them. */
    if (audit->write_error && audit->memory_count == 0 &&
        spool_reserve(audit->spool, rows_bytes(1)))
        audit->write_error = 0;
    if (spool_sync_has_failed(audit->spool))
        return "the disk has errors: rows in the audit spool may be lost";
    if (audit->memory_count || audit->write_error)
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
                                    .rows_in_memory = audit->memory_count,
                                    .rows_lost = audit->rows_lost,
                                    .lines_damaged = spool_damaged_lines(audit->spool),
                                    .requests_refused = audit->requests_refused,
                                    .alarms = audit->alarms};
}
