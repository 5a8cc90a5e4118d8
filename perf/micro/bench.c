/* Time, and running a case in rounds. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "src/clock.h"

#define ROUNDS_TRIED_MAX 3 /* tries per wanted round: disturbed rounds do not count */

static double ns_per_tick = 1;
uint64_t bench_nothing_ticks;

void bench_die(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("ringcast-bench: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *bench_pages(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (pages == MAP_FAILED)
        bench_die("no memory (%zu bytes)", bytes);
    madvise(pages, bytes, MADV_HUGEPAGE);
    return pages;
}

void bench_pages_free(void *pages, size_t bytes)
{
    munmap(pages, bytes);
}

/* ---- time ---- */

static void nothing(void *argument)
{
    (void)argument;
}

void bench_clock_start(void)
{
    uint64_t began_ns = clock_monotonic_ns(), began = bench_ticks(), now_ns, least = UINT64_MAX;

    do
        now_ns = clock_monotonic_ns();
    while (now_ns - began_ns < 20 * NS_PER_MS);
    ns_per_tick = (double)(now_ns - began_ns) / (double)(bench_ticks() - began);
    bench_nothing_ticks = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t ticks = bench_measure(nothing, NULL);

        if (ticks < least)
            least = ticks;
    }
    bench_nothing_ticks = least;
}

double bench_ns(uint64_t ticks)
{
    return (double)ticks * ns_per_tick;
}

__attribute__((noinline)) void bench_measured(void (*work)(void *argument), void *argument)
{
    work(argument);
    __asm__ volatile("" ::: "memory"); /* no tail call: callgrind would not count the work then */
}

/* ---- rounds ---- */

/* How often the kernel took the processor from this thread so far. A round in which this happened
 * also measured other programs. */
static uint64_t preemptions(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_nivcsw;
}

static struct bench_tally round_of(void (*step)(void *, struct bench_tally *), void *state,
                                   uint64_t units)
{
    struct bench_tally tally = {0};

    while (tally.units < units) {
        uint64_t before = tally.units;

        step(state, &tally);
        if (tally.units == before)
            bench_die("a step did no work");
    }
    return tally;
}

static double ns_per_unit(struct bench_tally tally)
{
    return bench_ns(tally.ticks) / (double)tally.units;
}

static void run_rounds(const struct bench_case *what, const struct bench_options *options)
{
    struct bench_series *work = bench_pages(sizeof(*work)), *bound = bench_pages(sizeof(*bound));
    struct bench_figure figure = {.name = what->name, .unit = what->unit, .options = *options};
    struct bench_options *o = &figure.options;
    void *state = what->open(o, figure.what);

    if (o->rounds == 0 || o->rounds > BENCH_ROUNDS_MAX)
        bench_die("--rounds must be 1 to %d", BENCH_ROUNDS_MAX);
    for (uint32_t tried = 0; work->count < o->rounds; tried++) {
        uint64_t before = preemptions();
        struct bench_tally worked = round_of(what->step, state, o->units), bounded = {0};

        if (what->bound)
            bounded = round_of(what->bound, state, worked.units);
        if (tried == 0) /* the first round only warms the caches */
            continue;
        /* On a machine that is always busy a disturbed round is better than none. */
        if (preemptions() != before && tried < ROUNDS_TRIED_MAX * o->rounds)
            continue;
        work->ns[work->count++] = ns_per_unit(worked);
        if (what->bound)
            bound->ns[bound->count++] = ns_per_unit(bounded);
    }
    if (what->check)
        what->check(state);
    bench_figure_set(&figure, work, what->bound ? bound : NULL);
    bench_print(&figure);
    what->close(state);
    bench_pages_free(work, sizeof(*work));
    bench_pages_free(bound, sizeof(*bound));
}

void bench_run(const struct bench_case *what, const struct bench_options *options)
{
    if (what->run)
        what->run(options);
    else
        run_rounds(what, options);
}

uint64_t bench_count(const struct bench_case *what, const struct bench_options *options,
                     uint64_t units)
{
    struct bench_options o = *options;
    char name[64];
    void *state = what->open(&o, name);
    struct bench_tally tally = round_of(what->step, state, units);

    if (what->check)
        what->check(state);
    what->close(state);
    return tally.units;
}
