/* Times sendto on a thread of its own. */
#define _GNU_SOURCE
#include "sendto_cost.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/clock.h"

#define DATAGRAM_BYTES_MAX 1500
#define RUNS_MAX 200
#define CALLS_PER_RUN 50
#define PAUSE_NS (2 * NS_PER_MS) /* between two runs: the server needs the same processor */
#define TIME_NS (600 * NS_PER_MS)

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

static void time_runs(struct timing *t, int from, const struct sockaddr_in *to)
{
    static const uint8_t data[DATAGRAM_BYTES_MAX];
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    uint64_t until = clock_monotonic_ns() + TIME_NS;
    double runs[RUNS_MAX];
    size_t count = 0;

    while (count < RUNS_MAX && clock_monotonic_ns() < until) {
        uint64_t began = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);

        for (int i = 0; i < CALLS_PER_RUN; i++)
            sendto(from, data, t->bytes, 0, (const struct sockaddr *)to, sizeof(*to));
        runs[count++] = (double)(clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - began) / CALLS_PER_RUN;
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
        time_runs(t, from, &to);
    if (from >= 0)
        close(from);
    if (unread >= 0)
        close(unread);
    return NULL;
}

double sendto_cost_ns(int cpu, unsigned bytes)
{
    struct timing t = {.cpu = cpu,
                       .bytes = bytes < DATAGRAM_BYTES_MAX ? bytes : DATAGRAM_BYTES_MAX};
    pthread_t thread;

    if (pthread_create(&thread, NULL, timing_main, &t) == 0)
        pthread_join(thread, NULL);
    return t.ns;
}
