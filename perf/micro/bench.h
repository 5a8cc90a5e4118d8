/* What every microbenchmark shares: time, rounds, and how a figure is told.
 *
 * A figure is the cost of one unit of work (a packet, an answer, a joined consumer) in nanoseconds,
 * taken in many short rounds. Where there is a bound (the same work without everything that is ours
 * around it), its rounds alternate with the path's inside one process, so that whatever else the
 * machine does hits both alike. The best round says what the code can do, the median what it did. */
#ifndef RINGCAST_BENCH_H
#define RINGCAST_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

#include "src/rows.h"

#define BENCH_ROUNDS_MAX 1000

/* Says what went wrong and ends: a benchmark that measured something else is worse than none. */
__attribute__((format(printf, 1, 2), noreturn)) void bench_die(const char *format, ...);

/* Zeroed pages, large ones where the kernel has them; ends when there are none. */
void *bench_pages(size_t bytes);
void bench_pages_free(void *pages, size_t bytes);

/* ---- time ---- */

/* The processor's constant-rate counter: reading it costs a third of clock_gettime(), which counts
 * where one turn takes a microsecond. */
static inline uint64_t bench_ticks(void)
{
    unsigned processor;

    return __rdtscp(&processor);
}

/* Measures the counter's rate and what two readings cost; call once at start. */
void bench_clock_start(void);
double bench_ns(uint64_t ticks);
/* Of two readings with nothing between them. */
uint64_t bench_reading_ticks(void);

/* ---- rounds ---- */

/* ns per unit of each round. */
struct bench_series {
    size_t count;
    double ns[BENCH_ROUNDS_MAX];
};

void bench_series_add(struct bench_series *series, uint64_t ticks, uint64_t units);
double bench_series_best(const struct bench_series *series);
double bench_series_median(const struct bench_series *series);

/* How often this thread had to make room for others so far. A round in which that rose says nothing:
 * measure it again, unless `tried` rounds say that the machine is too busy for that. */
uint64_t bench_preemptions(void);
bool bench_round_counts(uint64_t preemptions_before, size_t tried, size_t wanted);

/* ---- figures ---- */

struct bench_figure {
    const char *name; /* "path", "stun answer" */
    char what[64];    /* "fanout 50 gcm128 1200 B warm" */
    const char *unit; /* "packet out" */
    double best_ns, median_ns;
    double bound_best_ns, bound_median_ns; /* 0: no bound */
    double ratio; /* of bound to work: the median of the rounds' own ratios */
};

void bench_figure_set(struct bench_figure *figure, const struct bench_series *work,
                      const struct bench_series *bound /* or NULL */);
/* One line of the table now, one object of the JSON file at the end. */
void bench_tell(const struct bench_figure *figure);
/* JSON of everything told so far; ends when the file cannot be written. */
void bench_write_json(const char *path);

/* ---- names on the command line ---- */

const char *bench_profile_name(enum srtp_profile profile); /* gcm128, gcm256, cm */
bool bench_profile_parse(const char *name, enum srtp_profile *profile);

#endif
