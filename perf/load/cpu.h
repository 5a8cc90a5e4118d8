/* CPU time of the server's processes, and what a bare sendto costs on its core: the yardstick that
 * makes figures of different machines and days comparable. Units: ns. */
#ifndef RINGCAST_LOAD_CPU_H
#define RINGCAST_LOAD_CPU_H

#include <stdint.h>

#include "options.h"

#define SERVER_PROCESSES_MAX 64

/* The processes of --server-pid and all that descend from them, as they are just now. */
struct cpu_sample {
    uint64_t wall_ns;
    unsigned count;
    struct cpu_process {
        int pid;
        uint64_t used_ns;    /* all threads, softirqs that ran inline included */
        uint64_t memory_kib; /* proportional: shared pages counted once */
        char name[64];
    } processes[SERVER_PROCESSES_MAX];
    uint64_t core_busy_ns; /* of --server-cpu, all that ran there (grain 10 ms) */
};

void cpu_sample_take(struct cpu_sample *sample, const struct options *options);
/* CPU ns used between two samples by the process at `i` of the later one. */
uint64_t cpu_used_ns(const struct cpu_sample *before, const struct cpu_sample *after, unsigned i);
/* Processes of the earlier sample that are no more in the later one: what they used is not known. */
unsigned cpu_gone(const struct cpu_sample *before, const struct cpu_sample *after);
uint64_t cpu_memory_kib(const struct cpu_sample *sample);

/* CPU ns of one sendto of `bytes` to a loopback socket that nobody reads, by this thread's CPU clock:
 * the median of short runs spread over half a second on `cpu` (-1: anywhere). To be asked while the
 * load is on: cores that share something with a busy neighbour are slower than idle ones, for the
 * server's sends and for these alike. 0 when it cannot be measured. */
double cpu_sendto_ns(int cpu, unsigned bytes);

#endif
