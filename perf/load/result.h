/* What a run found: for a human, and as JSON. */
#ifndef RINGCAST_LOAD_RESULT_H
#define RINGCAST_LOAD_RESULT_H

#include "cpu.h"
#include "media.h"

#define INVALID_REASONS_MAX 6

struct result {
    bool measured; /* the window was opened and closed */
    char failure[TARGET_WHY_BYTES];
    double ramp_s, settle_s;
    uint32_t endpoints, receivers, churned;
    struct cpu_sample empty, before, after; /* of the server: without us, around the window */
    unsigned server_died;                   /* processes that were there before and not after */
    double sendto_before_ns, sendto_after_ns;
    unsigned sendto_bytes;
    const char *invalid[INVALID_REASONS_MAX]; /* why the generator spoiled it; none: valid */
    unsigned invalid_count;
};

/* Finds out whether the generator was the bottleneck. */
void result_judge(struct result *result, const struct media *media);
void result_print(const struct result *result, const struct media *media);
/* False: the file cannot be written. */
bool result_write(const struct result *result, const struct media *media, const char *path);

#endif
