/* The result of a run, as text and as JSON. */
#ifndef RINGCAST_LOAD_RESULT_H
#define RINGCAST_LOAD_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "joins.h"
#include "server_usage.h"
#include "target.h"

#define INVALID_REASONS_MAX 6

struct measurement;
struct net_counters;
struct options;

struct result {
    /* Set these three first. They must outlive the result. */
    const struct measurement *measurement;
    const struct options *options;
    const struct net_counters *net;
    bool measured; /* the measurement was started and stopped */
    char failure[TARGET_WHY_BYTES];
    double ramp_s, settle_s;
    uint32_t endpoints, receivers, churned;
    uint32_t flips, layer_requests, layer_refused;
    char layer_refusal[TARGET_WHY_BYTES]; /* the first one */
    struct joins joins;
    struct server_usage empty;         /* before any client connected */
    struct server_usage before, after; /* at the start and at the stop of the measurement */
    unsigned server_died;              /* processes of `before` that are missing in `after` */
    double sendto_before_ns, sendto_after_ns; /* see sendto_cost.h */
    unsigned sendto_bytes;
    const char *invalid[INVALID_REASONS_MAX]; /* why the generator was the bottleneck */
    unsigned invalid_count;                   /* 0: the measurement is valid */
};

/* Fills in `invalid`. */
void result_judge(struct result *result);
void result_print(const struct result *result);
/* False: the file cannot be written; the reason is on standard error. */
bool result_write(const struct result *result, const char *path);

#endif
