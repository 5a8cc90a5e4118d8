/* Every case of ringcast-bench, and the sets of them that are run by name. */
#ifndef RINGCAST_BENCH_CASES_H
#define RINGCAST_BENCH_CASES_H

#include "bench.h"

extern const struct bench_case case_path; /* whole.c */
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

/* What of its options a case is measured over when the command line does not say. */
enum case_axis { AXIS_FANOUT = 1, AXIS_PROFILE = 2, AXIS_BYTES = 4, AXIS_COLD = 8 };

struct case_entry {
    const struct bench_case *what;
    unsigned axes; /* of enum case_axis */
};
extern const struct case_entry cases[]; /* ended by one without a case */

/* What `make bench` runs, in less than a minute. */
struct case_run {
    const struct bench_case *what;
    struct bench_options options;
};
extern const struct case_run short_set[]; /* likewise */

/* Scenarios whose instructions are counted (perf/regress). Names and numbers are part of
 * perf/baseline.json: change one and the baseline must be made anew. */
struct case_scenario {
    const char *name;
    const struct bench_case *what;
    struct bench_options options;
    uint32_t units;
};
extern const struct case_scenario scenarios[]; /* likewise */

#endif
