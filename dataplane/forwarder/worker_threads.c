/* Starts, pins and stops the worker threads; see worker_threads.h. */
#define _GNU_SOURCE
#include "worker_threads.h"

#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/clock.h"
#include "src/log.h"
#include "src/settings.h"

#define SLICE_NS (100 * 1000ull) /* the shortest that the kernel grants */
#define TIMER_SLACK_NS 1000UL    /* a sleep while a batch fills may end this much late */

/* ---- one thread ---- */

/* Each worker gets a core of its own when there are enough cores. Otherwise the kernel distributes
 * them. */
static void pin(const struct worker_thread *thread)
{
    cpu_set_t allowed, one;
    uint32_t seen = 0;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 ||
        (uint32_t)CPU_COUNT(&allowed) < thread->all->count)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && seen++ == thread->config.index) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
            return;
        }
}

/* Linux 6.12 and newer let a thread ask for a short time slice. When such a thread wakes, it runs
 * at once; otherwise another thread on its core may first use up its own slice of up to 3 ms.
 * (Measured with the control plane on the same core: the 99th percentile of delay in a small call
 * fell from 2.2 ms to 0.4 ms.) The thread gets no larger share of the core. Older kernels ignore
 * the request. */
static void request_short_slices(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max;
    } attributes = {.size = sizeof(attributes)};

    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0)
        return;
    attributes.flags = 0;
    attributes.runtime = SLICE_NS;
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static void *thread_main(void *argument)
{
    struct worker_thread *thread = argument;
    struct worker_threads *all = thread->all;
    struct worker_config *config = &thread->config;
    char name[16];

    snprintf(name, sizeof(name), "worker %u", config->index);
    pthread_setname_np(pthread_self(), name);
    pin(thread);
    request_short_slices();
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
    config->io =
        io_open(all->choice, all->descriptors, config->index, &config->backend, thread->reason);
    if (!config->io)
        memcpy(thread->why, thread->reason, sizeof(thread->why));
    else
        thread->ok = worker_open(thread->worker, config, thread->why);
    pthread_barrier_wait(&all->opened);
    pthread_barrier_wait(&all->released);
    if (thread->ok)
        worker_run(thread->worker);
    pthread_barrier_wait(&all->stopped);
    if (thread->ok)
        worker_close(thread->worker);
    if (config->io)
        config->backend->close(config->io);
    return NULL;
}

/* ---- all threads ---- */

static uint16_t port_of(int fd)
{
    struct sockaddr_in6 address = {0}; /* sin6_port is where sin_port is */
    socklen_t bytes = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &bytes) == 0 ? ntohs(address.sin6_port) : 0;
}

/* False: worker w has no socket. */
static bool thread_prepare(struct worker_threads *threads, uint32_t w,
                           const struct worker_threads_config *config)
{
    struct worker_thread *thread = &threads->list[w];
    int udp4 = descriptors_get(config->descriptors, "udp4.%u", w);
    int udp6 = descriptors_get(config->descriptors, "udp6.%u", w);

    if (udp4 < 0 && udp6 < 0)
        return false;
    thread->all = threads;
    thread->doorbell = descriptors_get(config->descriptors, "bell.worker.%u", w);
    thread->config = (struct worker_config){
        .index = w,
        .desired = config->desired,
        .actual = config->actual,
        .keys = config->keys,
        .resume = config->resume,
        .backend_is_measured = config->choice->is_measured,
        .bell_control = descriptors_get(config->descriptors, "bell.control"),
        .bell_handshaker = descriptors_get(config->descriptors, "bell.handshaker"),
        .fill_ns_max = config->settings->batch_fill_us * NS_PER_US,
        .consent_ns = config->settings->consent_timeout_ms * NS_PER_MS,
        .audio_rate = policer_rate(config->settings->audio_in_kbps_max,
                                   config->settings->audio_in_packets_max),
        .video_rate = policer_rate(config->settings->video_in_kbps_max,
                                   config->settings->video_in_packets_max),
        .udp_port = port_of(udp4 >= 0 ? udp4 : udp6),
        .has_ipv4 = udp4 >= 0,
        .has_ipv6 = udp6 >= 0,
        .wall_offset_ns = threads->wall_offset_ns,
    };
    return true;
}

bool worker_threads_prepare(struct worker_threads *threads,
                            const struct worker_threads_config *config)
{
    threads->choice = config->choice;
    threads->descriptors = config->descriptors;
    threads->wall_offset_ns = clock_wall_ns() - clock_monotonic_ns();
    while (threads->count < WORKERS_MAX && thread_prepare(threads, threads->count, config))
        threads->count++;
    if (threads->count == 0) {
        LOG(ERROR, "start",
            "the supervisor handed over no media socket; the forwarder cannot work");
        return false;
    }
    threads->handoff = handoff_new(threads->count);
    for (uint32_t w = 0; w < threads->count; w++) {
        struct worker_thread *thread = &threads->list[w];

        thread->worker = mmap(NULL, sizeof(struct worker), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (!threads->handoff || thread->worker == MAP_FAILED) {
            LOG(ERROR, "start", "no memory for the workers", F("workers", "%u", threads->count));
            return false;
        }
        thread->config.handoff = threads->handoff;
        threads->handoff->workers[w].bell = thread->doorbell;
    }
    return true;
}

bool worker_threads_start(struct worker_threads *threads)
{
    bool ok = true;

    pthread_barrier_init(&threads->opened, NULL, threads->count + 1);
    pthread_barrier_init(&threads->released, NULL, threads->count + 1);
    pthread_barrier_init(&threads->stopped, NULL, threads->count);
    for (uint32_t w = 0; w < threads->count; w++) {
        int error = pthread_create(&threads->list[w].thread, NULL, thread_main, &threads->list[w]);

        if (error) {
            LOG(ERROR, "start", "cannot start a worker thread", F("worker", "%u", w),
                F("why", "%s", strerror(error)));
            return false;
        }
    }
    pthread_barrier_wait(&threads->opened);
    for (uint32_t w = 0; w < threads->count; w++) {
        const struct worker_thread *thread = &threads->list[w];

        if (thread->ok)
            LOG(INFO, "start", "worker ready", F("worker", "%u", w),
                F("port", "%u", thread->config.udp_port),
                F("backend", "%s", thread->config.backend->name),
                F("backend_reason", "%s", thread->reason));
        else
            LOG(ERROR, "start", "worker cannot start", F("worker", "%u", w),
                F("why", "%s", thread->why));
        ok &= thread->ok;
    }
    return ok;
}

void worker_threads_release(struct worker_threads *threads)
{
    pthread_barrier_wait(&threads->released);
}

void worker_threads_stop(struct worker_threads *threads)
{
    const uint64_t one = 1;

    for (uint32_t w = 0; w < threads->count; w++) {
        ssize_t n;

        atomic_store_explicit(&threads->list[w].worker->stop, true, memory_order_release);
        n = write(threads->list[w].doorbell, &one, sizeof(one));
        (void)n; /* it fails only when the doorbell rings already */
    }
    for (uint32_t w = 0; w < threads->count; w++) {
        pthread_join(threads->list[w].thread, NULL);
        munmap(threads->list[w].worker, sizeof(struct worker));
    }
    handoff_delete(threads->handoff);
}
