/* Is a process whose heartbeat is late hung, or does it only wait for a processor?
 *
 * A heartbeat older than HEALTH_LATE_NS makes a process suspect. On a busy machine that alone says
 * little, so it is looked at: how long each of its threads ran and waited for a processor (the
 * scheduler's own figures), over HEALTH_WINDOW_NS or more.
 *   stopped (SIGSTOP)                                        hung at once
 *   a thread wanted a processor and got little of it         starved: look again
 *   nobody was kept waiting, and still no heartbeat          hung
 *   suspect for HEALTH_LIMIT_NS whatever the figures say     hung
 *
 * Measured on two cores (supervisor_test, from the moment it hung until it was gone): stopped 101 ms,
 * spinning 159 to 187 ms, asleep 185 to 189 ms; with eight busy loops beside it 104, 182 to 271, and
 * 159 to 185 ms. With sixteen busy loops for 11 s no working process was called hung.
 *
 * health_step is an engine: time, heartbeat and a sample in, a verdict out. */
#ifndef RINGCAST_SUPERVISOR_HEALTH_H
#define RINGCAST_SUPERVISOR_HEALTH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/clock.h"
#include "src/sanitizer.h"

#define HEALTH_LATE_NS (100 * NS_PER_MS * SANITIZER_PATIENCE)
#define HEALTH_WINDOW_NS (60 * NS_PER_MS * SANITIZER_PATIENCE)
#define HEALTH_LIMIT_NS (2 * NS_PER_S * SANITIZER_PATIENCE)
#define HEALTH_LOOKS_MIN 20 /* before the limit counts: we must not have slept ourselves */
#define HEALTH_THREADS_MAX 24

struct thread_sample {
    int32_t id;
    char state; /* as in /proc/PID/stat: R running or wanting to, S, D sleeping, T stopped */
    uint64_t ran_ns, waited_ns;
};

struct process_sample {
    uint64_t taken_ns;
    uint32_t count; /* 0: nothing could be learnt */
    struct thread_sample threads[HEALTH_THREADS_MAX];
};

struct health {
    uint64_t suspect_ns; /* since when; 0: it is well */
    uint32_t looks;
    struct process_sample first;
};

enum health_verdict { HEALTH_WELL, HEALTH_SUSPECT, HEALTH_HUNG };

/* sample: taken now; may be NULL while the heartbeat is not late (health_wants_sample). `why`: a text
 * constant when the verdict is HEALTH_HUNG. */
bool health_wants_sample(uint64_t now_ns, uint64_t heartbeat_ns);
enum health_verdict health_step(struct health *health, uint64_t now_ns, uint64_t heartbeat_ns,
                                const struct process_sample *sample, const char **why);

/* Reads /proc/PID/task. */
void process_sample_read(struct process_sample *sample, pid_t pid, uint64_t now_ns);

#endif
