/* Every case of ringcast-bench, and named sets of cases. */
#ifndef RINGCAST_BENCH_CASES_H
#define RINGCAST_BENCH_CASES_H

#include "bench.h"

extern const struct bench_case case_path;              /* whole.c */
extern const struct bench_case case_room_over_workers; /* spread.c */
/* engines.c */
extern const struct bench_case case_classify, case_parse, case_template_build, case_template_copy,
    case_unprotect, case_protect;
/* lookups.c */
extern const struct bench_case case_path_lookup, case_ssrc_lookup, case_slots, case_wheel;
/* requests.c */
extern const struct bench_case case_stun_answer, case_stun_stranger, case_media_stranger,
    case_media_forged, case_receiver_report, case_key_frame_request;
/* changes.c */
extern const struct bench_case case_transport_join, case_transport_leave, case_consumer_join,
    case_consumer_leave, case_idle;

/* Options that a case is measured with in all usual values when the command line gives none. */
enum case_axis { AXIS_FANOUT = 1, AXIS_PROFILE = 2, AXIS_BYTES = 4, AXIS_COLD = 8, AXIS_ROOM = 16 };

struct case_entry {
    const struct bench_case *what;
    unsigned axes; /* bits of enum case_axis */
};
extern const struct case_entry cases[]; /* the last one has no case */

/* What `make bench` runs: less than a minute. */
struct case_run {
    const struct bench_case *what;
    struct bench_options options;
};
extern const struct case_run short_set[]; /* the last one has no case */

/* Scenarios whose instructions perf/regress counts. Their names and numbers are part of
 * perf/baseline.json: after a change of one, make the baseline again. */
struct case_scenario {
    const char *name;
    const struct bench_case *what;
    struct bench_options options;
    uint32_t units;
};
extern const struct case_scenario scenarios[]; /* the last one has no name */

#endif
