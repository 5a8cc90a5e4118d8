/* Time, rounds and figures of the microbenchmarks. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "src/clock.h"

#define FIGURES_MAX 512

static double ns_per_tick = 1;
static uint64_t reading_ticks;
static size_t figure_count;
static struct bench_figure figures[FIGURES_MAX];

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

void bench_clock_start(void)
{
    uint64_t began_ns = clock_monotonic_ns(), began = bench_ticks(), now_ns;

    do
        now_ns = clock_monotonic_ns();
    while (now_ns - began_ns < 20 * NS_PER_MS);
    ns_per_tick = (double)(now_ns - began_ns) / (double)(bench_ticks() - began);
    reading_ticks = UINT64_MAX;
    for (int i = 0; i < 1000; i++) {
        uint64_t first = bench_ticks(), second = bench_ticks();

        if (second - first < reading_ticks)
            reading_ticks = second - first;
    }
}

double bench_ns(uint64_t ticks)
{
    return (double)ticks * ns_per_tick;
}

uint64_t bench_reading_ticks(void)
{
    return reading_ticks;
}

void bench_series_add(struct bench_series *series, uint64_t ticks, uint64_t units)
{
    if (series->count == BENCH_ROUNDS_MAX || units == 0)
        bench_die("%zu rounds of %llu units: more rounds than there is room for, or nothing done",
                  series->count, (unsigned long long)units);
    series->ns[series->count++] = bench_ns(ticks) / (double)units;
}

uint64_t bench_preemptions(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_nivcsw;
}

bool bench_round_counts(uint64_t preemptions_before, size_t tried, size_t wanted)
{
    return bench_preemptions() == preemptions_before || tried > 4 * wanted;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double bench_series_best(const struct bench_series *series)
{
    double best = series->ns[0];

    for (size_t i = 1; i < series->count; i++)
        if (series->ns[i] < best)
            best = series->ns[i];
    return best;
}

double bench_series_median(const struct bench_series *series)
{
    struct bench_series sorted = *series;

    qsort(sorted.ns, sorted.count, sizeof(sorted.ns[0]), compare_double);
    return sorted.ns[sorted.count / 2];
}

/* The middle one of the rounds' own ratios: a clock that changes its pace moves both halves of a
 * round, not their ratio. */
static double ratio_of(const struct bench_series *work, const struct bench_series *bound)
{
    struct bench_series ratios = {.count = work->count};

    for (size_t i = 0; i < work->count; i++)
        ratios.ns[i] = bound->ns[i] / work->ns[i];
    return bench_series_median(&ratios);
}

void bench_figure_set(struct bench_figure *figure, const struct bench_series *work,
                      const struct bench_series *bound)
{
    figure->best_ns = bench_series_best(work);
    figure->median_ns = bench_series_median(work);
    figure->bound_best_ns = bound ? bench_series_best(bound) : 0;
    figure->bound_median_ns = bound ? bench_series_median(bound) : 0;
    figure->ratio = bound ? ratio_of(work, bound) : 0;
}

static void print_heading(void)
{
    printf("%-14s %-36s %9s %9s %8s %9s %9s %7s\n", "", "", "ns best", "median", "M/s", "bound ns",
           "median", "ratio");
}

void bench_tell(const struct bench_figure *figure)
{
    if (figure_count == FIGURES_MAX)
        bench_die("more than %d figures", FIGURES_MAX);
    if (figure_count == 0)
        print_heading();
    figures[figure_count++] = *figure;
    printf("%-14s %-36s %9.1f %9.1f %8.2f", figure->name, figure->what, figure->best_ns,
           figure->median_ns, 1000 / figure->median_ns);
    if (figure->bound_best_ns > 0)
        printf(" %9.1f %9.1f %6.1f%%", figure->bound_best_ns, figure->bound_median_ns,
               100 * figure->ratio);
    else
        printf("   per %s", figure->unit);
    putchar('\n');
    fflush(stdout);
}

void bench_write_json(const char *path)
{
    FILE *file = fopen(path, "w");

    if (!file)
        bench_die("%s cannot be written", path);
    fputs("[\n", file);
    for (size_t i = 0; i < figure_count; i++) {
        const struct bench_figure *f = &figures[i];

        fprintf(file, " {\"name\": \"%s\", \"what\": \"%s\", \"unit\": \"%s\"", f->name, f->what,
                f->unit);
        fprintf(file, ", \"best_ns\": %.2f, \"median_ns\": %.2f", f->best_ns, f->median_ns);
        if (f->bound_best_ns > 0)
            fprintf(file, ", \"bound_best_ns\": %.2f, \"bound_median_ns\": %.2f, \"ratio\": %.4f",
                    f->bound_best_ns, f->bound_median_ns, f->ratio);
        fputs(i + 1 < figure_count ? "},\n" : "}\n", file);
    }
    fputs("]\n", file);
    if (fclose(file) != 0)
        bench_die("%s cannot be written", path);
}

static const struct {
    enum srtp_profile profile;
    const char *name;
} profiles[] = {
    {SRTP_PROFILE_aead_aes_128_gcm, "gcm128"},
    {SRTP_PROFILE_aead_aes_256_gcm, "gcm256"},
    {SRTP_PROFILE_aes128_cm_sha1_80, "cm"},
};

const char *bench_profile_name(enum srtp_profile profile)
{
    for (size_t i = 0; i < sizeof(profiles) / sizeof(*profiles); i++)
        if (profiles[i].profile == profile)
            return profiles[i].name;
    return "none";
}

bool bench_profile_parse(const char *name, enum srtp_profile *profile)
{
    for (size_t i = 0; i < sizeof(profiles) / sizeof(*profiles); i++)
        if (strcmp(profiles[i].name, name) == 0) {
            *profile = profiles[i].profile;
            return true;
        }
    return false;
}
