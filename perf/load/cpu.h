/* CPU time of the server's processes, and what a bare sendto costs on its core: the yardstick that
 * makes figures of different machines and days comparable. Units: ns. */
#ifndef RINGCAST_LOAD_CPU_H
#define RINGCAST_LOAD_CPU_H

#include <stdint.h>

#include "options.h"

struct cpu_sample {
    uint64_t wall_ns;
    uint64_t
        used_ns[SERVER_PIDS_MAX]; /* all threads of the process, softirqs run inline included */
    uint64_t core_busy_ns;        /* of --server-cpu, all that ran there (grain 10 ms) */
};

void cpu_sample_take(struct cpu_sample *sample, const struct options *options);
/* "ringcast-datapl --role=forwarder": what a process is called. */
void cpu_name(int pid, char name[64]);

/* CPU ns of one sendto of `bytes` to a loopback socket that nobody reads: median of some hundreds of
 * short runs on `cpu` (-1: anywhere), by this thread's CPU clock. 0 when it cannot be measured. */
double cpu_sendto_ns(int cpu, unsigned bytes);

#endif
