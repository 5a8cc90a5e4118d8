/* /metrics: rooms, requests, and the counters of the data plane's workers. */
#include "participant.h"
#include "registry.h"
#include "room.h"

static void write_workers(struct rooms *rooms, struct metrics *metrics)
{
    struct worker_counters_row sum = {0}, row;
    struct worker_state_row state;
    uint32_t workers = 0;

    for (uint32_t w = 0; w < WORKERS_MAX; w++) {
        if (!dataplane_row_read(rooms->dataplane, TABLE_worker_state, handle_make(w, 0), &state) ||
            !dataplane_row_read(rooms->dataplane, TABLE_worker_counters, handle_make(w, 0), &row))
            continue;
        workers++;
#define V(name, text) sum.verdicts[VERDICT_##name] += row.verdicts[VERDICT_##name];
        VERDICTS(V)
#undef V
#define C(name, text) sum.counters[COUNTER_##name] += row.counters[COUNTER_##name];
        WORKER_COUNTERS(C)
#undef C
    }
    metrics_value(metrics, "dataplane_workers", "gauge", "worker threads that forward media",
                  workers);
    if (workers == 0)
        return;
    metrics_head(metrics, "dataplane_packets_total", "counter", "datagrams received, by verdict");
#define V(name, text)                                                      \
    metrics_labelled(metrics, "dataplane_packets_total", "verdict", #name, \
                     (double)sum.verdicts[VERDICT_##name]);
    VERDICTS(V)
#undef V
#define C(name, text)                                                    \
    metrics_value(metrics, "dataplane_" #name "_total", "counter", text, \
                  (double)sum.counters[COUNTER_##name]);
    WORKER_COUNTERS(C)
#undef C
}

void rooms_write_metrics(struct metrics *metrics, void *context)
{
    struct rooms *rooms = context;
    const struct room *room;
    const struct participant *p;
    uint32_t rooms_open = 0, participants = 0, absent = 0;

    TAILQ_FOREACH(room, &rooms->all, link)
    {
        rooms_open += !room->closed && room->participant_count > 0;
        participants += room->participant_count;
    }
    TAILQ_FOREACH(p, &rooms->absent, absent_link)
    absent++;
    metrics_value(metrics, "rooms_open", "gauge", "rooms that people are in", rooms_open);
    metrics_value(metrics, "participants", "gauge", "people in rooms", participants);
    metrics_value(metrics, "participants_in_grace", "gauge",
                  "participants without a socket, within their grace time", absent);
    metrics_value(metrics, "calls_total", "counter", "Socket.IO events received from clients",
                  (double)rooms->requests);
    metrics_head(metrics, "call_errors_total", "counter", "Socket.IO events refused, by code");
    for (int i = 0; i < ROOM_ERROR_COUNT; i++)
        metrics_labelled(metrics, "call_errors_total", "code", room_error_codes[i],
                         (double)rooms->errors[i]);
    metrics_value(metrics, "authentications_refused_total", "counter",
                  "sockets refused: token missing, forged, expired or unknown",
                  (double)rooms->refused_tokens);
    metrics_value(metrics, "dataplane_up", "gauge", "1 while the data plane answers",
                  dataplane_is_up(rooms->dataplane));
    write_workers(rooms, metrics);
}
