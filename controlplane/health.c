/* Says whether the parts of the control plane work. */
#include "health.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "controlplane/live/live.h"
#include "controlplane/people/auth.h"
#include "controlplane/rooms/rooms.h"
#include "controlplane/web/json.h"
#include "src/clock.h"
#include "src/version.h"

/* ---- GET /health ---- */

static cJSON *part(const char *backend, const char *status)
{
    cJSON *object = json_new_object();

    if (backend != NULL)
        cJSON_AddStringToObject(object, "backend", backend);
    cJSON_AddStringToObject(object, "status", status);
    return object;
}

static cJSON *audit_part(const struct audit_health *audit)
{
    cJSON *object = part(NULL, audit->status);

    cJSON_AddNumberToObject(object, "waitingBytes", (double)audit->spool_bytes);
    cJSON_AddNumberToObject(object, "waitingBytesMax", (double)audit->spool_bytes_max);
    cJSON_AddNumberToObject(object, "alarms", (double)audit->alarms);
    cJSON_AddNumberToObject(object, "rowsLost", (double)audit->rows_lost);
    cJSON_AddNumberToObject(object, "rowsInMemory", (double)audit->rows_in_memory);
    cJSON_AddNumberToObject(object, "linesDamaged", (double)audit->lines_damaged);
    cJSON_AddNumberToObject(object, "callsRefused", (double)audit->requests_refused);
    return object;
}

static void reply_health(struct http_request *request)
{
    const struct control *control = http_context(request);
    const char *persistence = persistence_status(control->store);
    bool plane_up = dataplane_is_up(control->dataplane);
    bool draining = control->drain_until_ms != 0;
    struct audit_health audit;
    char state_why[SETTING_ERROR_BYTES];
    const char *state_status = live_status(control->live, state_why);
    bool ok;
    uint64_t uptime_s = (clock_monotonic_ns() - control->started_ns) / NS_PER_S;
    cJSON *body = json_new_object(); /* json.h: an object is made before its parts */
    cJSON *state = part(control->settings.state, state_status);
    cJSON *store = part(control->settings.persistence, persistence);

    audit_health(control->audit, &audit);
    ok = plane_up && strcmp(persistence, "ok") == 0 && strcmp(audit.status, "ok") == 0 &&
         strcmp(state_status, "ok") == 0 && !draining;
    json_add(store, "audit", audit_part(&audit));
    if (state_why[0] != '\0')
        cJSON_AddStringToObject(state, "problem", state_why);
    cJSON_AddStringToObject(body, "status", ok ? "ok" : "degraded");
    cJSON_AddStringToObject(body, "version", ringcast_version);
    cJSON_AddNumberToObject(body, "uptimeSeconds", (double)uptime_s);
    if (draining)
        cJSON_AddBoolToObject(body, "draining", true);
    json_add(body, "dataplane", part(NULL, plane_up ? "ok" : "down"));
    json_add(body, "persistence", store);
    json_add(body, "state", state);
    http_reply_json(request, ok ? 200 : 503, body);
}

/* ---- GET /metrics ---- */

static void write_audit_metrics(struct metrics *metrics, void *context)
{
    struct audit_health audit;

    audit_health(context, &audit);
    metrics_value(metrics, "audit_spool_bytes", "gauge",
                  "bytes of audit rows that wait for the database", (double)audit.spool_bytes);
    metrics_value(metrics, "audit_spool_bytes_max", "gauge",
                  "the most bytes of audit rows that may wait", (double)audit.spool_bytes_max);
    metrics_value(metrics, "audit_rows_in_memory", "gauge",
                  "audit rows that could not be written to the disk and wait in memory",
                  (double)audit.rows_in_memory);
    metrics_value(metrics, "audit_rows_lost_total", "counter", "audit rows that were lost",
                  (double)audit.rows_lost);
    metrics_value(metrics, "audit_calls_refused_total", "counter",
                  "requests refused because their audit rows could not be stored",
                  (double)audit.requests_refused);
    metrics_value(metrics, "audit_alarms_total", "counter",
                  "alarms: the spool reached 50, 80, 95 or 100 percent of its size",
                  (double)audit.alarms);
}

static void write_process_metrics(struct metrics *metrics, void *context)
{
    const struct control *control = context;
    struct rusage used;
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file != NULL) {
        if (fscanf(file, "%*s %ld", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    getrusage(RUSAGE_SELF, &used);
    metrics_value(metrics, "controlplane_uptime_seconds", "gauge", "seconds since the start",
                  (double)(clock_monotonic_ns() - control->started_ns) / NS_PER_S);
    metrics_value(metrics, "controlplane_resident_bytes", "gauge", "memory of this process",
                  (double)pages * (double)sysconf(_SC_PAGESIZE));
    metrics_value(metrics, "controlplane_cpu_seconds_total", "counter", "user and system time",
                  (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                      (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    metrics_value(metrics, "controlplane_draining", "gauge",
                  "1 while the process waits for its clients to leave",
                  control->drain_until_ms != 0);
}

void health_open(struct control *control)
{
    http_route(control->http, "GET", "/health", reply_health, control);
    http_metrics_add(control->http, write_process_metrics, control);
    http_metrics_add(control->http, write_audit_metrics, control->audit);
}
