/* CPU time and memory of the server's processes: those of --server-pid and all their descendants.
 *
 * Units: nanoseconds, KiB. Threads: any. */
#ifndef RINGCAST_LOAD_SERVER_USAGE_H
#define RINGCAST_LOAD_SERVER_USAGE_H

#include <stdint.h>

#define SERVER_PROCESSES_MAX 64

struct options;

struct server_usage {
    uint64_t wall_ns; /* when it was read */
    unsigned count;
    struct server_process {
        int pid;
        uint64_t used_ns;    /* CPU time of all threads, and of softirqs during their calls */
        uint64_t memory_kib; /* proportional set size: a page of n processes counts 1/n */
        char name[64];
    } processes[SERVER_PROCESSES_MAX];
    uint64_t core_busy_ns; /* CPU time of everything that ran on --server-cpu, in steps of 10 ms */
};

void server_usage_read(struct server_usage *usage, const struct options *options);
/* CPU time that process `i` of `after` used between the two readings. */
uint64_t server_usage_cpu_ns(const struct server_usage *before, const struct server_usage *after,
                             unsigned i);
/* How many processes of `before` are missing in `after`. Their CPU time is unknown. */
unsigned server_usage_gone(const struct server_usage *before, const struct server_usage *after);
uint64_t server_usage_memory_kib(const struct server_usage *usage);

#endif
