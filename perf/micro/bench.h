/* What every microbenchmark shares: cases, time, rounds, figures.
 *
 *   struct bench_case   open ─► step, step, … (prepares, then bench_measure) ─► close
 *                               bound, bound, …
 *
 * A figure is the cost of one unit of work (a packet, an answer, a joined consumer) in nanoseconds.
 * It is measured in many short rounds. The best round shows what the code can do, the median what
 * it did.
 *
 * A bound is the least that the same work can cost: for the path of a packet, the calls of the
 * cipher and nothing else. Its rounds alternate with those of the case, inside one process, so that
 * whatever else the machine does slows both down alike.
 *
 * perf/regress runs the same steps under callgrind and counts the instructions inside
 * bench_measured() only.
 *
 * Threads: one, except for a room on several workers (spread.c). Memory: bench_pages. Errors:
 *          bench_die. */
#ifndef RINGCAST_BENCH_H
#define RINGCAST_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

#include "src/rows.h"

#define BENCH_ROUNDS_MAX 2000

/* Prints what went wrong and ends the program: no figure is better than a wrong one. */
__attribute__((format(printf, 1, 2), noreturn)) void bench_die(const char *format, ...);

/* Zeroed memory, in large pages when the kernel has them. Ends the program when there is none. */
void *bench_pages(size_t bytes);
void bench_pages_free(void *pages, size_t bytes);

/* ---- time ---- */

/* The processor's counter of constant rate. Reading it takes a third of the time of
 * clock_gettime(); that matters when one turn takes a microsecond. */
static inline uint64_t bench_ticks(void)
{
    unsigned processor;

    return __rdtscp(&processor);
}

/* Measures the counter's rate, and how long an empty measurement takes. Call it once, at start. */
void bench_clock_start(void);
double bench_ns(uint64_t ticks);
extern uint64_t bench_nothing_ticks;

/* Does the work. A function of its own, so that callgrind can count its instructions only. */
void bench_measured(void (*work)(void *argument), void *argument);

/* Does the work and returns how many ticks it took. */
static inline uint64_t bench_measure(void (*work)(void *argument), void *argument)
{
    uint64_t began = bench_ticks(), ticks;

    bench_measured(work, argument);
    ticks = bench_ticks() - began;
    return ticks > bench_nothing_ticks ? ticks - bench_nothing_ticks : 0;
}

/* ---- cases ---- */

/* 0 or false: the case chooses. */
struct bench_options {
    enum srtp_profile profile;
    uint32_t fanout;     /* consumers of each producer */
    uint32_t bytes;      /* of an RTP packet, header and extensions included, without the tag */
    bool audio;          /* single packets of many producers instead of bursts of few */
    bool uneven;         /* packets of a burst differ in size by one byte, as in browsers */
    bool cold;           /* rooms exceed the cache, so the next room is never in it */
    uint32_t rooms;      /* rooms that send one after the other */
    uint32_t publishers; /* of a room */
    uint32_t burst;      /* packets of a producer in one turn */
    uint32_t together;   /* rooms that send in one turn */
    uint32_t transports; /* for cases whose cost depends on the number of clients */
    uint32_t workers;    /* over which one room is spread */
    uint64_t turn_ns;    /* virtual time that passes with each turn */
    uint32_t rounds;
    uint32_t units; /* of work in one round */
};

/* What one step did: units of work and the ticks they took. */
struct bench_tally {
    uint64_t units, ticks;
};

struct bench_case {
    const char *name; /* "path" */
    const char *unit; /* "packet out" */
    const char *prose;
    /* Chooses what the options leave open, and a name for the figure: "fanout 50 gcm128". */
    void *(*open)(struct bench_options *options, char *what /* 64 */);
    void (*step)(void *state, struct bench_tally *tally);
    void (*bound)(void *state, struct bench_tally *tally); /* NULL: none */
    void (*check)(void *state); /* ends the program if a result was wrong; NULL: nothing to check */
    void (*close)(void *state);
    /* For a case that measures and prints by itself: all other functions are NULL then. */
    void (*run)(const struct bench_options *options);
};

/* Measures in rounds and prints the figure. */
void bench_run(const struct bench_case *what, const struct bench_options *options);
/* Runs steps until `units` are done, for counting instructions. Returns the units done. */
uint64_t bench_count(const struct bench_case *what, const struct bench_options *options,
                     uint64_t units);

/* ---- figures ---- */

/* ns per unit of each round. */
struct bench_series {
    size_t count;
    double ns[BENCH_ROUNDS_MAX];
};

struct bench_figure {
    const char *name, *unit;
    char what[64];
    struct bench_options options;
    double best_ns, median_ns;
    double bound_best_ns, bound_median_ns; /* 0: no bound */
    double ratio;                  /* bound / work: the median of the ratios of all rounds */
    double scaling, bound_scaling; /* throughput of several workers / of one; 0: not measured */
};

void bench_figure_set(struct bench_figure *figure, const struct bench_series *work,
                      const struct bench_series *bound /* or NULL */);
/* The median of a / b of all rounds. */
double bench_ratio(const struct bench_series *a, const struct bench_series *b);
/* Prints one line of the table, and keeps the figure for the JSON file. */
void bench_print(const struct bench_figure *figure);
/* Writes all figures that were printed. */
void bench_write_json(const char *path);

const char *bench_profile_name(enum srtp_profile profile); /* gcm128, gcm256, cm */
bool bench_profile_parse(const char *name, enum srtp_profile *profile);

#endif
