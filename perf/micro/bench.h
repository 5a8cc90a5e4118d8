/* What every microbenchmark shares: cases, time, rounds, and how a figure is told.
 *
 *   struct bench_case   open ─► step, step, … (prepares, then bench_measure) ─► close
 *                               bound, bound, …  the same work without what is ours around it
 *
 * A figure is the cost of one unit of work (a packet, an answer, a joined consumer) in nanoseconds,
 * taken in many short rounds. The bound's rounds alternate with the path's inside one process, so
 * that whatever else the machine does hits both alike. The best round says what the code can do, the
 * median what it did. The same steps run under callgrind (perf/regress), which counts instructions
 * inside bench_measured() only.
 *
 * Errors: bench_die. Memory: bench_pages. Threads: one, until worlds of several workers turn. */
#ifndef RINGCAST_BENCH_H
#define RINGCAST_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

#include "src/rows.h"

#define BENCH_ROUNDS_MAX 2000

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

/* Measures the counter's rate and what measuring nothing costs; call once at start. */
void bench_clock_start(void);
double bench_ns(uint64_t ticks);
extern uint64_t bench_nothing_ticks;

/* Does the work; a function of its own so that callgrind can be told to count in here only. */
void bench_measured(void (*work)(void *argument), void *argument);

/* The ticks it took. */
static inline uint64_t bench_measure(void (*work)(void *argument), void *argument)
{
    uint64_t began = bench_ticks(), ticks;

    bench_measured(work, argument);
    ticks = bench_ticks() - began;
    return ticks > bench_nothing_ticks ? ticks - bench_nothing_ticks : 0;
}

/* ---- cases ---- */

/* 0 or false: what the case thinks right. */
struct bench_options {
    enum srtp_profile profile;
    uint32_t fanout;     /* consumers of each producer */
    uint32_t bytes;      /* of an RTP packet, header and extensions included, without the tag */
    bool audio;          /* single packets of many producers instead of bursts of few */
    bool uneven;         /* the packets of a burst differ by a byte, as browsers split frames */
    bool cold;           /* so many rooms that every context is cold when it is needed */
    uint32_t rooms;      /* walked in turn */
    uint32_t publishers; /* of a room */
    uint32_t burst;      /* packets of a producer in one turn */
    uint32_t together;   /* rooms that send in one turn */
    uint32_t transports; /* where the number of clients is what counts */
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
    /* Fills in what the options leave open, and what the figure is called: "fanout 50 gcm128". */
    void *(*open)(struct bench_options *options, char *what /* 64 */);
    void (*step)(void *state, struct bench_tally *tally);
    void (*bound)(void *state, struct bench_tally *tally); /* NULL: none */
    void (*check)(void *state); /* that everything so far was right; NULL: nothing to check */
    void (*close)(void *state);
};

/* Measures in rounds and tells the figure. */
void bench_run(const struct bench_case *what, const struct bench_options *options);
/* As many steps as make `units`; for counting instructions. Returns the units done. */
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
    double ratio; /* of bound to work: the median of the rounds' own ratios */
};

void bench_figure_set(struct bench_figure *figure, const struct bench_series *work,
                      const struct bench_series *bound /* or NULL */);
/* One line of the table now, one object of the JSON file at the end. */
void bench_tell(const struct bench_figure *figure);
/* JSON of everything told so far. */
void bench_write_json(const char *path);

const char *bench_profile_name(enum srtp_profile profile); /* gcm128, gcm256, cm */
bool bench_profile_parse(const char *name, enum srtp_profile *profile);

#endif
