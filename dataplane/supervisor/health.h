/* A process whose heartbeat is late: is it hung, or does it only wait for a processor?
 *
 * A process whose heartbeat is older than HEALTH_LATE_NS is suspect. On a busy machine that proves
 * little. So the supervisor reads the scheduler's figures: how long each thread of the process ran,
 * and how long it waited for a processor, over HEALTH_WINDOW_NS or more.
 *   all threads are stopped (SIGSTOP)                        hung, at once
 *   a thread wanted a processor and got little of it         starved: sample again
 *   no thread had to wait, but there was no heartbeat        hung
 *   suspect for HEALTH_LIMIT_NS, whatever the figures say    hung
 *
 * Measured on two cores by supervisor_test, from the beginning of the hang until the process was
 * gone:
 *                              stopped   spinning     asleep
 *   quiet machine              101 ms    159–187 ms   185–189 ms
 *   beside eight busy loops    104 ms    182–271 ms   159–185 ms
 * Beside sixteen busy loops for 11 s, no working process was judged to be hung.
 *
 * health_step is an engine: it takes time, heartbeat and a sample, and returns a verdict. */
#ifndef RINGCAST_SUPERVISOR_HEALTH_H
#define RINGCAST_SUPERVISOR_HEALTH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/clock.h"
#include "src/sanitizer.h"

#define HEALTH_LATE_NS (100 * NS_PER_MS * SANITIZER_PATIENCE)
#define HEALTH_WINDOW_NS (60 * NS_PER_MS * SANITIZER_PATIENCE)
/* A process that gets no processor is not mended by a restart, which needs even more of it; but figures may
 * deceive. */
#define HEALTH_LIMIT_NS (10 * NS_PER_S * SANITIZER_PATIENCE)
/* At least this many samples are needed. If the supervisor itself slept for HEALTH_LIMIT_NS, one
 * late sample proves nothing. */
#define HEALTH_SAMPLES_MIN 20
#define HEALTH_THREADS_MAX 24

struct thread_sample {
    int32_t id;
    char state; /* as in /proc/PID/stat: R running or runnable, S or D asleep, T stopped */
    uint64_t ran_ns, waited_ns;
};

struct process_sample {
    uint64_t taken_ns;
    uint32_t count; /* of threads; 0: /proc could not be read */
    struct thread_sample threads[HEALTH_THREADS_MAX];
};

struct health {
    uint64_t suspect_ns; /* since when it is suspect; 0: it is not */
    uint32_t samples;    /* since then */
    struct process_sample first;
};

enum health_verdict { HEALTH_WELL, HEALTH_SUSPECT, HEALTH_HUNG };

/* Is the heartbeat late, so that health_step needs a sample? Otherwise `sample` may be NULL. With
 * the verdict HEALTH_HUNG, `why` becomes a constant text. */
bool health_wants_sample(uint64_t now_ns, uint64_t heartbeat_ns);
enum health_verdict health_step(struct health *health, uint64_t now_ns, uint64_t heartbeat_ns,
                                const struct process_sample *sample, const char **why);

/* Reads the figures of all threads from /proc/PID/task. */
void process_sample_read(struct process_sample *sample, pid_t pid, uint64_t now_ns);

#endif
