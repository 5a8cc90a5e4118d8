/* Audit: syncs the spool to the disk on the thread pool, and repairs it after a sync that
 *        failed. */
#include <stdlib.h>
#include <unistd.h>

#include "audit_internal.h"
#include "src/log.h"

struct sync_work {
    uv_work_t work;
    struct audit *audit;
    struct spool_sync sync;
    struct spool_repair repair;
    bool ok;
};

static void sync_run(uv_work_t *work)
{
    struct sync_work *job = work->data;

    job->ok = spool_sync_run(&job->sync);
}

static void sync_done(uv_work_t *work, int status)
{
    struct sync_work *job = work->data;
    struct audit *audit = job->audit;

    if (job->ok) {
        spool_sync_done(audit->spool);
    } else {
        LOG(ERROR, "audit",
            "sync of the audit spool failed: requests are refused until its rows are safe; check "
            "the "
            "disk of the data directory");
        spool_sync_failed(audit->spool);
    }
    free(job);
    audit->syncing = false;
    audit->pending--;
    if (audit->database_down && !audit->closing && !spool_sync_has_failed(audit->spool))
        audit_sync_begin(audit); /* rows that were written meanwhile */
    audit_free_when_idle(audit);
}

void audit_sync_begin(struct audit *audit)
{
    struct sync_work *job;

    if (audit->syncing || !(job = calloc(1, sizeof(*job))))
        return; /* no memory: the next retry tries it again */
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
    audit->pending++;
}

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
        LOG(INFO, "audit", "the audit spool was copied to new files and is safe again");
    } else {
        LOG(ERROR, "audit", "the audit spool cannot be copied to new files; will retry",
            F("in_ms", "%u", RETRY_MS_MAX));
    }
    audit->repairing = false;
    audit_send_in(audit, job->ok ? 0 : RETRY_MS_MAX);
    free(job);
    audit->pending--;
    audit_free_when_idle(audit);
}

void audit_repair_begin(struct audit *audit)
{
    struct sync_work *job = audit->syncing ? NULL : calloc(1, sizeof(*job));

    if (job && spool_repair_start(audit->spool, &job->repair)) {
        job->audit = audit;
        job->work.data = job;
        if (uv_queue_work(audit->loop, &job->work, repair_run, repair_done) == 0) {
            audit->repairing = true;
            audit->pending++;
            return;
        }
        close(job->repair.directory);
    }
    free(job);
    audit_send_in(audit, RETRY_MS_MAX);
}
