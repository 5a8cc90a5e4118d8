/* Reads CPU time and memory of processes from /proc. */
#include "server_usage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "src/clock.h"

/* The first number of schedstat: nanoseconds on a CPU. */
static uint64_t read_process_ns(int pid)
{
    char path[300];
    uint64_t sum = 0;
    struct dirent *entry;
    DIR *tasks;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    tasks = opendir(path);
    while (tasks && (entry = readdir(tasks))) {
        unsigned long long ns = 0;
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid, entry->d_name);
        file = fopen(path, "re");
        if (!file)
            continue;
        if (fscanf(file, "%llu", &ns) == 1)
            sum += ns;
        fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

/* user + nice + system + irq + softirq of /proc/stat. */
static uint64_t read_core_busy_ns(int cpu)
{
    unsigned long long v[7];
    char line[300], wanted[16];
    uint64_t ticks = 0;
    FILE *file = fopen("/proc/stat", "re");

    snprintf(wanted, sizeof(wanted), "cpu%d ", cpu);
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, wanted, strlen(wanted)) == 0 &&
            sscanf(line + strlen(wanted), "%llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2],
                   &v[3], &v[4], &v[5], &v[6]) == 7)
            ticks = v[0] + v[1] + v[2] + v[5] + v[6];
    if (file)
        fclose(file);
    return ticks * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t read_memory_kib(int pid)
{
    unsigned long long kib = 0;
    char path[64], line[200];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file) && sscanf(line, "Pss: %llu kB", &kib) != 1)
        continue;
    if (file)
        fclose(file);
    return kib;
}

/* Name and role of a process, such as "rc-forwarder --role=forwarder". */
static void read_name(int pid, char name[64])
{
    char path[64], line[400] = "";
    FILE *file;
    size_t bytes;

    snprintf(name, 64, "%d", pid);
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    file = fopen(path, "re");
    if (!file)
        return;
    if (fgets(line, sizeof(line), file))
        snprintf(name, 64, "%.*s", (int)strcspn(line, "\n"), line);
    fclose(file);
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    file = fopen(path, "re");
    bytes = file ? fread(line, 1, sizeof(line) - 1, file) : 0;
    if (file)
        fclose(file);
    line[bytes] = '\0';
    for (char *word = line; word < line + bytes; word += strlen(word) + 1)
        if (strncmp(word, "--role=", 7) == 0)
            snprintf(name + strlen(name), 64 - strlen(name), " %.30s", word);
}

/* ---- processes and their children ---- */

static int read_parent(int pid)
{
    char path[64], line[600], *end;
    FILE *file;
    int parent = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    /* The line is: pid (name) state parent. The name may hold any character, also ')'. */
    if (fgets(line, sizeof(line), file) && (end = strrchr(line, ')')))
        sscanf(end + 1, " %*c %d", &parent);
    fclose(file);
    return parent;
}

static bool has_process(const struct server_usage *usage, int pid)
{
    for (unsigned i = 0; i < usage->count; i++)
        if (usage->processes[i].pid == pid)
            return true;
    return false;
}

/* Adds the children of the processes in `usage`. True: it found at least one. */
static bool add_children(struct server_usage *usage)
{
    unsigned before = usage->count;
    DIR *all = opendir("/proc");
    struct dirent *entry;

    while (all && (entry = readdir(all)) && usage->count < SERVER_PROCESSES_MAX) {
        int pid = atoi(entry->d_name);

        if (pid > 0 && !has_process(usage, pid) && has_process(usage, read_parent(pid)))
            usage->processes[usage->count++].pid = pid;
    }
    if (all)
        closedir(all);
    return usage->count > before;
}

void server_usage_read(struct server_usage *usage, const struct options *options)
{
    memset(usage, 0, sizeof(*usage));
    for (unsigned i = 0; i < options->server_pid_count; i++)
        usage->processes[usage->count++].pid = options->server_pids[i];
    while (usage->count && add_children(usage))
        continue;
    for (unsigned i = 0; i < usage->count; i++) {
        read_name(usage->processes[i].pid, usage->processes[i].name);
        usage->processes[i].memory_kib = read_memory_kib(usage->processes[i].pid);
    }
    usage->wall_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < usage->count; i++)
        usage->processes[i].used_ns = read_process_ns(usage->processes[i].pid);
    usage->core_busy_ns = options->server_cpu < 0 ? 0 : read_core_busy_ns(options->server_cpu);
}

uint64_t server_usage_cpu_ns(const struct server_usage *before, const struct server_usage *after,
                             unsigned i)
{
    uint64_t used = after->processes[i].used_ns;

    for (unsigned k = 0; k < before->count; k++)
        if (before->processes[k].pid == after->processes[i].pid)
            return used > before->processes[k].used_ns ? used - before->processes[k].used_ns : 0;
    return used;
}

unsigned server_usage_gone(const struct server_usage *before, const struct server_usage *after)
{
    unsigned gone = 0;

    for (unsigned i = 0; i < before->count; i++)
        gone += !has_process(after, before->processes[i].pid);
    return gone;
}

uint64_t server_usage_memory_kib(const struct server_usage *usage)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < usage->count; i++)
        sum += usage->processes[i].memory_kib;
    return sum;
}
