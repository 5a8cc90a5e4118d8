/* Threads that begin together. */
#define _GNU_SOURCE /* pthread_setaffinity_np, RUSAGE_THREAD */
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "bench.h"

#include "src/clock.h"

struct member {
    pthread_t thread;
    struct team *team;
    sem_t begin;
    uint32_t number; /* of this run */
    uint64_t began_ns, ended_ns;
    bool disturbed;
};

struct team {
    uint32_t count;
    struct member members[WORKERS_MAX];
    sem_t done;
    /* this run */
    void (*work)(void *argument, uint32_t i); /* NULL: the threads end */
    void *argument;
    uint32_t running;
    _Atomic uint32_t arrived;
};

static void allowed(cpu_set_t *set)
{
    if (sched_getaffinity(0, sizeof(*set), set) != 0)
        bench_die("the kernel does not say which processors this process may use");
}

uint32_t team_processors(void)
{
    cpu_set_t set;

    allowed(&set);
    return (uint32_t)CPU_COUNT(&set);
}

static uint64_t preemptions(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_nivcsw;
}

/* The threads wait for each other without sleeping, because waking up takes different times. */
static void run(struct member *m)
{
    struct team *team = m->team;
    uint64_t before;

    atomic_fetch_add(&team->arrived, 1);
    while (atomic_load(&team->arrived) < team->running)
        _mm_pause();
    before = preemptions();
    m->began_ns = clock_monotonic_ns();
    team->work(team->argument, m->number);
    m->ended_ns = clock_monotonic_ns();
    m->disturbed = preemptions() != before;
}

static void *thread_main(void *argument)
{
    struct member *m = argument;
    struct sched_param ahead = {.sched_priority = 1};

    /* Asks for a real-time priority, because a disturbed thread makes all others wait. The kernel
     * may refuse it. */
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &ahead);
    for (;;) {
        while (sem_wait(&m->begin) != 0)
            ;
        if (!m->team->work)
            return NULL;
        run(m);
        sem_post(&m->team->done);
    }
}

struct team *team_open(uint32_t count)
{
    struct team *team = bench_pages(sizeof(*team));
    cpu_set_t set;
    int processor = -1;

    allowed(&set);
    if (count == 0 || count > WORKERS_MAX || count > (uint32_t)CPU_COUNT(&set))
        bench_die("%u threads need a processor each, but this process may use %d", count,
                  CPU_COUNT(&set));
    team->count = count;
    sem_init(&team->done, 0, 0);
    for (uint32_t i = 0; i < count; i++) {
        struct member *m = &team->members[i];
        cpu_set_t own;

        while (!CPU_ISSET(++processor, &set))
            ;
        CPU_ZERO(&own);
        CPU_SET(processor, &own);
        m->team = team;
        sem_init(&m->begin, 0, 0);
        if (pthread_create(&m->thread, NULL, thread_main, m) != 0 ||
            pthread_setaffinity_np(m->thread, sizeof(own), &own) != 0)
            bench_die("cannot run a thread on processor %d", processor);
    }
    return team;
}

void team_close(struct team *team)
{
    team->work = NULL;
    for (uint32_t i = 0; i < team->count; i++) {
        sem_post(&team->members[i].begin);
        pthread_join(team->members[i].thread, NULL);
        sem_destroy(&team->members[i].begin);
    }
    sem_destroy(&team->done);
    bench_pages_free(team, sizeof(*team));
}

uint64_t team_run(struct team *team, uint32_t first, uint32_t count,
                  void (*work)(void *argument, uint32_t i), void *argument, bool *disturbed)
{
    uint64_t began_ns = 0, ended_ns = 0;

    team->work = work;
    team->argument = argument;
    team->running = count;
    atomic_store(&team->arrived, 0);
    for (uint32_t i = 0; i < count; i++) {
        team->members[first + i].number = i;
        sem_post(&team->members[first + i].begin);
    }
    for (uint32_t i = 0; i < count; i++)
        while (sem_wait(&team->done) != 0)
            ;
    for (uint32_t i = 0; i < count; i++) {
        const struct member *m = &team->members[first + i];

        if (began_ns == 0 || m->began_ns < began_ns)
            began_ns = m->began_ns;
        if (m->ended_ns > ended_ns)
            ended_ns = m->ended_ns;
        *disturbed |= m->disturbed;
    }
    return ended_ns - began_ns;
}
