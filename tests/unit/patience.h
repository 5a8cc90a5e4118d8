/* How much longer than on an idle machine something may take: for tests that check a duration. A
 * test that only waits for an event needs no patience: it gives the event a minute. */
#ifndef RINGCAST_TEST_PATIENCE_H
#define RINGCAST_TEST_PATIENCE_H

#include <stdio.h>
#include <unistd.h>

#include "src/sanitizer.h"

/* 1 on an idle machine in a plain build; more under a sanitizer, and up to 4 times more when other
 * processes run. */
static inline unsigned patience(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    FILE *file = fopen("/proc/loadavg", "r");
    double minute = 0, most;
    unsigned running = 0;

    if (file) {
        if (fscanf(file, "%lf %*f %*f %u", &minute, &running) != 2)
            minute = running = 0;
        fclose(file);
    }
    most = (minute > running ? minute : running) / (double)(processors > 0 ? processors : 1);
    if (most > 3)
        return SANITIZER_PATIENCE * 4;
    return SANITIZER_PATIENCE * (most > 1 ? (unsigned)most + 1 : 1);
}

#endif
