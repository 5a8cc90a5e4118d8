/* What the kernel says about CPU time, and the timed sendto. */
#define _GNU_SOURCE
#include "cpu.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/clock.h"

#define SENDTO_RUNS_MAX 200
#define SENDTO_EACH 50
#define SENDTO_PAUSE_NS (2 * NS_PER_MS) /* the server wants its core, too */
#define SENDTO_TIME_NS (600 * NS_PER_MS)

/* First number of schedstat: ns on a CPU. */
static uint64_t process_ns(int pid)
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
static uint64_t core_ns(int cpu)
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

static uint64_t memory_kib(int pid)
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

/* "rc-forwarder --role=forwarder": what a process is called. */
static void name_read(int pid, char name[64])
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

/* ---- who descends from whom ---- */

static int parent_of(int pid)
{
    char path[64], line[600], *end;
    FILE *file;
    int parent = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    /* pid (name, which may hold anything) state ppid */
    if (fgets(line, sizeof(line), file) && (end = strrchr(line, ')')))
        sscanf(end + 1, " %*c %d", &parent);
    fclose(file);
    return parent;
}

static bool is_in(const struct cpu_sample *sample, int pid)
{
    for (unsigned i = 0; i < sample->count; i++)
        if (sample->processes[i].pid == pid)
            return true;
    return false;
}

/* True when somebody new was found. */
static bool children_add(struct cpu_sample *sample)
{
    unsigned before = sample->count;
    DIR *all = opendir("/proc");
    struct dirent *entry;

    while (all && (entry = readdir(all)) && sample->count < SERVER_PROCESSES_MAX) {
        int pid = atoi(entry->d_name);

        if (pid > 0 && !is_in(sample, pid) && is_in(sample, parent_of(pid)))
            sample->processes[sample->count++].pid = pid;
    }
    if (all)
        closedir(all);
    return sample->count > before;
}

void cpu_sample_take(struct cpu_sample *sample, const struct options *options)
{
    memset(sample, 0, sizeof(*sample));
    for (unsigned i = 0; i < options->server_pid_count; i++)
        sample->processes[sample->count++].pid = options->server_pids[i];
    while (sample->count && children_add(sample))
        continue;
    for (unsigned i = 0; i < sample->count; i++) {
        name_read(sample->processes[i].pid, sample->processes[i].name);
        sample->processes[i].memory_kib = memory_kib(sample->processes[i].pid);
    }
    sample->wall_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < sample->count; i++)
        sample->processes[i].used_ns = process_ns(sample->processes[i].pid);
    sample->core_busy_ns = options->server_cpu < 0 ? 0 : core_ns(options->server_cpu);
}

uint64_t cpu_used_ns(const struct cpu_sample *before, const struct cpu_sample *after, unsigned i)
{
    uint64_t used = after->processes[i].used_ns;

    for (unsigned k = 0; k < before->count; k++)
        if (before->processes[k].pid == after->processes[i].pid)
            return used > before->processes[k].used_ns ? used - before->processes[k].used_ns : 0;
    return used;
}

unsigned cpu_gone(const struct cpu_sample *before, const struct cpu_sample *after)
{
    unsigned gone = 0;

    for (unsigned i = 0; i < before->count; i++)
        gone += !is_in(after, before->processes[i].pid);
    return gone;
}

uint64_t cpu_memory_kib(const struct cpu_sample *sample)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < sample->count; i++)
        sum += sample->processes[i].memory_kib;
    return sum;
}

/* ---- sendto ---- */

struct timing {
    int cpu;
    unsigned bytes;
    double ns;
};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void time_sends(struct timing *t, int from, const struct sockaddr_in *to)
{
    static const uint8_t data[1500];
    const struct timespec pause = {.tv_nsec = SENDTO_PAUSE_NS};
    uint64_t until = clock_monotonic_ns() + SENDTO_TIME_NS;
    double runs[SENDTO_RUNS_MAX];
    size_t count = 0;

    while (count < SENDTO_RUNS_MAX && clock_monotonic_ns() < until) {
        uint64_t began = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);

        for (int i = 0; i < SENDTO_EACH; i++)
            sendto(from, data, t->bytes, 0, (const struct sockaddr *)to, sizeof(*to));
        runs[count++] = (double)(clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - began) / SENDTO_EACH;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    qsort(runs, count, sizeof(runs[0]), ascending);
    t->ns = runs[count / 2];
}

static void *timing_main(void *argument)
{
    struct timing *t = argument;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(to);
    int from = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int unread = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cpu_set_t set;

    CPU_ZERO(&set);
    if (t->cpu >= 0) {
        CPU_SET(t->cpu, &set);
        pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    }
    if (from >= 0 && unread >= 0 && bind(unread, (struct sockaddr *)&to, sizeof(to)) == 0 &&
        getsockname(unread, (struct sockaddr *)&to, &bytes) == 0)
        time_sends(t, from, &to);
    if (from >= 0)
        close(from);
    if (unread >= 0)
        close(unread);
    return NULL;
}

double cpu_sendto_ns(int cpu, unsigned bytes)
{
    struct timing t = {.cpu = cpu, .bytes = bytes < 1500 ? bytes : 1500};
    pthread_t thread;

    if (pthread_create(&thread, NULL, timing_main, &t) == 0)
        pthread_join(thread, NULL);
    return t.ns;
}
