/* Figures (measured values): best and median of the rounds, the table, the JSON file. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIGURES_MAX 512

static size_t figure_count;
static struct bench_figure figures[FIGURES_MAX];

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double best_of(const struct bench_series *series)
{
    double best = series->ns[0];

    for (size_t i = 1; i < series->count; i++)
        if (series->ns[i] < best)
            best = series->ns[i];
    return best;
}

static double median_of(const struct bench_series *series)
{
    struct bench_series sorted = *series;

    qsort(sorted.ns, sorted.count, sizeof(sorted.ns[0]), compare_double);
    return sorted.ns[sorted.count / 2];
}

/* The median of the ratios, not the ratio of the medians: when the processor changes its clock
 * rate, both halves of a round change, but not their ratio. */
double bench_ratio(const struct bench_series *a, const struct bench_series *b)
{
    struct bench_series ratios = {.count = a->count};

    for (size_t i = 0; i < a->count; i++)
        ratios.ns[i] = a->ns[i] / b->ns[i];
    return median_of(&ratios);
}

void bench_figure_set(struct bench_figure *figure, const struct bench_series *work,
                      const struct bench_series *bound)
{
    figure->best_ns = best_of(work);
    figure->median_ns = median_of(work);
    if (!bound)
        return;
    figure->bound_best_ns = best_of(bound);
    figure->bound_median_ns = median_of(bound);
    figure->ratio = bench_ratio(bound, work);
}

void bench_print(const struct bench_figure *figure)
{
    if (figure_count == FIGURES_MAX)
        bench_die("more than %d figures", FIGURES_MAX);
    if (figure_count == 0)
        printf("%-17s %-42s %9s %9s %8s %9s %9s %7s\n", "", "", "ns best", "median", "M/s",
               "bound ns", "median", "ratio");
    figures[figure_count++] = *figure;
    printf("%-17s %-42s %9.1f %9.1f %8.2f", figure->name, figure->what, figure->best_ns,
           figure->median_ns, 1000 / figure->median_ns);
    if (figure->ratio > 0)
        printf(" %9.1f %9.1f %6.1f%%\n", figure->bound_best_ns, figure->bound_median_ns,
               100 * figure->ratio);
    else
        printf("   per %s\n", figure->unit);
    if (figure->scaling > 0)
        printf("%-17s %u workers send %.2f times as much as one; encryption alone, on as many "
               "threads: "
               "%.2f times\n",
               "", figure->options.workers, figure->scaling, figure->bound_scaling);
    fflush(stdout);
}

static void write_figure(FILE *file, const struct bench_figure *f)
{
    const struct bench_options *o = &f->options;

    fprintf(file, " {\"name\": \"%s\", \"what\": \"%s\", \"unit\": \"%s\"", f->name, f->what,
            f->unit);
    fprintf(file, ", \"best_ns\": %.2f, \"median_ns\": %.2f", f->best_ns, f->median_ns);
    if (f->ratio > 0)
        fprintf(file, ", \"bound_best_ns\": %.2f, \"bound_median_ns\": %.2f, \"ratio\": %.4f",
                f->bound_best_ns, f->bound_median_ns, f->ratio);
    if (o->workers > 0)
        fprintf(file, ", \"workers\": %u", o->workers);
    if (f->scaling > 0)
        fprintf(file, ", \"scaling\": %.4f, \"bound_scaling\": %.4f", f->scaling, f->bound_scaling);
    fprintf(file, ", \"profile\": \"%s\", \"fanout\": %u, \"bytes\": %u, \"rooms\": %u",
            bench_profile_name(o->profile), o->fanout, o->bytes, o->rooms);
    fprintf(file, ", \"publishers\": %u, \"burst\": %u, \"together\": %u, \"rounds\": %u",
            o->publishers, o->burst, o->together, o->rounds);
    fprintf(file, ", \"cold\": %s, \"uneven\": %s, \"audio\": %s}", o->cold ? "true" : "false",
            o->uneven ? "true" : "false", o->audio ? "true" : "false");
}

void bench_write_json(const char *path)
{
    FILE *file = fopen(path, "w");

    if (!file)
        bench_die("cannot write %s", path);
    fputs("[\n", file);
    for (size_t i = 0; i < figure_count; i++) {
        write_figure(file, &figures[i]);
        fputs(i + 1 < figure_count ? ",\n" : "\n", file);
    }
    fputs("]\n", file);
    if (fclose(file) != 0)
        bench_die("cannot write %s", path);
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
