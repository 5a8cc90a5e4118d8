/* The forwarder process: worker threads, which the main thread starts and stops. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/processes.h"
#include "dataplane/sandbox.h"
#include "src/clock.h"
#include "src/log.h"
#include "src/sanitizer.h"
#include "worker.h"

#define SLICE_NS (100 * 1000ull) /* the shortest that the kernel grants */

struct worker_thread {
    struct worker *worker;
    struct worker_config config;
    struct io_descriptors descriptors;
    const char *backend_name;
    uint32_t worker_count;
    pthread_t thread;
    /* everything is open; the sandbox is shut; nobody reads another's packets any more */
    pthread_barrier_t *opened, *started, *stopped;
    bool ok;
    char why[192], picked[192];
};

struct forwarder {
    struct region desired, actual, keys, resume;
    uint32_t worker_count;
    struct worker_thread threads[WORKERS_MAX];
    pthread_barrier_t opened, started, stopped;
    struct handoff *handoff;
    bool has_fingerprints;
};

static volatile sig_atomic_t stop_wanted;

static void on_stop(int signal_number)
{
    stop_wanted = 1;
}

/* One core each while there are enough; more workers than cores share by the kernel's choice. */
static void pin(const struct worker_thread *thread)
{
    cpu_set_t allowed, one;
    uint32_t seen = 0;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 ||
        (uint32_t)CPU_COUNT(&allowed) < thread->worker_count)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && seen++ == thread->config.index) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
            return;
        }
}

/* What Linux 6.12 and newer know as a custom slice: a thread that runs briefly when it wakes is let in
 * at once, where another on its core would otherwise first use up its own slice (up to 3 ms; measured
 * with the control plane on the same core: p99 of a small call 2.2 ms before, 0.4 ms with it). It gets
 * no larger share of the core. Older kernels ignore it. */
static void ask_for_short_slices(void)
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

static void *worker_thread(void *argument)
{
    struct worker_thread *thread = argument;
    char name[16];

    snprintf(name, sizeof(name), "worker %u", thread->config.index);
    pthread_setname_np(pthread_self(), name);
    pin(thread);
    ask_for_short_slices();
    prctl(PR_SET_TIMERSLACK, 1000UL); /* ns: a nap while a batch fills shall end when it is due */
    thread->config.io = io_open(thread->backend_name, &thread->descriptors, &thread->config.backend,
                                thread->picked);
    if (!thread->config.io)
        snprintf(thread->why, sizeof(thread->why), "%s", thread->picked);
    else
        thread->ok = worker_open(thread->worker, &thread->config, thread->why);
    pthread_barrier_wait(thread->opened);
    pthread_barrier_wait(thread->started);
    if (thread->ok)
        worker_run(thread->worker);
    pthread_barrier_wait(thread->stopped);
    if (thread->ok)
        worker_close(thread->worker);
    if (thread->config.io)
        thread->config.backend->close(thread->config.io);
    return NULL;
}

static bool map_regions(struct forwarder *f, const struct descriptors *set)
{
    struct {
        struct region *region;
        enum region_id id;
        bool writable;
    } wanted[] = {{&f->desired, REGION_desired, false},
                  {&f->actual, REGION_actual, true},
                  {&f->keys, REGION_keys, false},
                  {&f->resume, REGION_resume, true}};
    char why[128];

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        int fd = descriptors_get(set, "%s", region_names[wanted[i].id]);

        if (!region_map(wanted[i].region, wanted[i].id, fd, wanted[i].writable, why)) {
            LOG(ERROR, "start", "cannot map a shared region", F("why", "%s", why));
            return false;
        }
    }
    return true;
}

/* Rows that an earlier forwarder left for objects that are no longer wanted. */
static void clear_stale(struct forwarder *f, enum table_id state, enum table_id wanted)
{
    for (uint32_t i = 0; i < tables[state].rows; i++) {
        struct row_header *row = region_row(&f->actual, state, i);
        const struct row_header *desired = region_row(&f->desired, wanted, i);
        _Alignas(8) uint8_t empty[1024] = {0};
        uint32_t generation = __atomic_load_n(&desired->generation, __ATOMIC_RELAXED);

        if (generation == 0 && row->generation == 0)
            return; /* rows are taken from the front */
        if (row->used && (row->generation != generation || !desired->used)) {
            ((struct row_header *)empty)->generation = row->generation;
            row_write(state, row, (struct row_header *)empty);
        }
    }
}

/* An earlier forwarder measured the backends: measuring again would lengthen the gap that its death
 * made. */
static void prefer_measured(const struct forwarder *f)
{
    struct worker_state_row state;

    if (row_copy(TABLE_worker_state, &state, region_row(&f->actual, TABLE_worker_state, 0), 0) ==
            ROW_OK &&
        state.header.used && state.backend_measured) {
        state.backend[sizeof(state.backend) - 1] = '\0';
        io_prefer(state.backend);
    }
}

static uint16_t local_port(const struct io_descriptors *descriptors)
{
    int fd = descriptors->udp4 >= 0 ? descriptors->udp4 : descriptors->udp6;
    struct sockaddr_in6 address = {0}; /* sin6_port lies where sin_port does */
    socklen_t size = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &size) == 0 ? ntohs(address.sin6_port) : 0;
}

static uint32_t threads_prepare(struct forwarder *f, const struct settings *settings,
                                struct descriptors *set)
{
    uint32_t count = 0;

    for (uint32_t w = 0; w < WORKERS_MAX; w++) {
        struct worker_thread *thread = &f->threads[w];

        thread->descriptors = (struct io_descriptors){
            .udp4 = descriptors_get(set, "udp4.%u", w),
            .udp6 = descriptors_get(set, "udp6.%u", w),
            .doorbell = descriptors_get(set, "bell.worker.%u", w),
        };
        if (thread->descriptors.udp4 < 0 && thread->descriptors.udp6 < 0)
            break;
        thread->backend_name = settings->io_backend;
        thread->opened = &f->opened;
        thread->started = &f->started;
        thread->stopped = &f->stopped;
        thread->config = (struct worker_config){
            .index = w,
            .desired = &f->desired,
            .actual = &f->actual,
            .keys = &f->keys,
            .resume = &f->resume,
            .bell_control = descriptors_get(set, "bell.control"),
            .bell_handshaker = descriptors_get(set, "bell.handshaker"),
            .fill_ns_max = settings->batch_fill_us * 1000ull,
            .consent_ns = settings->consent_timeout_ms * NS_PER_MS,
            .udp_port = local_port(&thread->descriptors),
            .has_ipv4 = thread->descriptors.udp4 >= 0,
            .has_ipv6 = thread->descriptors.udp6 >= 0,
        };
        thread->worker = mmap(NULL, sizeof(struct worker), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (thread->worker == MAP_FAILED)
            break;
        count++;
    }
    f->handoff = handoff_new(count);
    if (!f->handoff)
        return 0;
    for (uint32_t w = 0; w < count; w++) {
        f->threads[w].worker_count = count;
        f->threads[w].config.handoff = f->handoff;
        f->handoff->workers[w].bell = f->threads[w].descriptors.doorbell;
    }
    return count;
}

static bool start_workers(struct forwarder *f, const struct settings *settings)
{
    char why[192];
    bool ok = true;

    pthread_barrier_init(&f->opened, NULL, f->worker_count + 1);
    pthread_barrier_init(&f->started, NULL, f->worker_count + 1);
    pthread_barrier_init(&f->stopped, NULL, f->worker_count);
    for (uint32_t w = 0; w < f->worker_count; w++) {
        int error = pthread_create(&f->threads[w].thread, NULL, worker_thread, &f->threads[w]);

        if (error) {
            LOG(ERROR, "start", "cannot start a worker thread", F("worker", "%u", w),
                F("why", "%s", strerror(error)));
            return false; /* those that wait at the barrier end with the process */
        }
    }
    pthread_barrier_wait(&f->opened);
    for (uint32_t w = 0; w < f->worker_count; w++) {
        const struct worker_thread *thread = &f->threads[w];

        if (thread->ok)
            LOG(INFO, "start", "worker ready", F("worker", "%u", w),
                F("port", "%u", thread->config.udp_port),
                F("backend", "%s", thread->config.backend->name), F("why", "%s", thread->picked));
        else
            LOG(ERROR, "start", "worker cannot start", F("worker", "%u", w),
                F("why", "%s", thread->why));
        ok &= thread->ok;
    }
    if (ok && !sandbox_enter(SANDBOX_FORWARDER, settings, why)) {
        LOG(ERROR, "start", "cannot shut the sandbox", F("why", "%s", why));
        ok = false;
    }
    return ok;
}

/* The node row: what all transports share. The handshaker's fingerprints come when it has them. */
static void publish_node(struct forwarder *f)
{
    struct identity_row identity;
    struct node_row node = {.header = {.generation = 1, .used = 1}};

    if (f->has_fingerprints)
        return;
    node.worker_count = f->worker_count;
    node.forwarder_pid = (uint32_t)getpid();
    if (row_copy(TABLE_identity, &identity, region_row(&f->keys, TABLE_identity, 0), 0) == ROW_OK) {
        memcpy(node.fingerprint_sha_256, identity.fingerprint_sha_256, 32);
        memcpy(node.fingerprint_sha_384, identity.fingerprint_sha_384, 48);
        memcpy(node.fingerprint_sha_512, identity.fingerprint_sha_512, 64);
        node.has_fingerprints = 1;
        f->has_fingerprints = true;
    }
    explicit_bzero(&identity, sizeof(identity));
    row_write(TABLE_node, region_row(&f->actual, TABLE_node, 0), &node.header);
}

/* Until the end is wanted; `open` lets signals in while this thread sleeps, and only then. */
static void wait_for_stop(struct forwarder *f, const sigset_t *open)
{
    const struct timespec look_again = {.tv_nsec = 40 * NS_PER_MS};

    while (!stop_wanted) {
        publish_node(f);
        ppoll(NULL, 0, f->has_fingerprints ? NULL : &look_again, open);
    }
}

static void stop_workers(struct forwarder *f)
{
    const uint64_t one = 1;

    for (uint32_t w = 0; w < f->worker_count; w++) {
        ssize_t n;

        atomic_store_explicit(&f->threads[w].worker->stop, true, memory_order_release);
        n = write(f->threads[w].descriptors.doorbell, &one, sizeof(one));
        (void)n;
    }
    for (uint32_t w = 0; w < f->worker_count; w++) {
        pthread_join(f->threads[w].thread, NULL);
        munmap(f->threads[w].worker, sizeof(struct worker));
    }
    handoff_delete(f->handoff);
}

int forwarder_main(const struct settings *settings, struct descriptors *descriptors)
{
    static struct forwarder forwarder; /* too big for a stack; one per process */
    struct forwarder *f = &forwarder;
    struct sigaction action = {.sa_handler = on_stop};
    sigset_t all, open;

    /* Signals are the main thread's, and wait until it sleeps. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &open);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    if (!map_regions(f, descriptors))
        return 1;
    atomic_store(&f->actual.header->writer_pid, (uint32_t)getpid());
    atomic_fetch_add(&f->actual.header->writer_starts, 1);
    atomic_store(&f->resume.header->writer_pid, (uint32_t)getpid());
    atomic_fetch_add(&f->resume.header->writer_starts, 1);
    clear_stale(f, TABLE_transport_state, TABLE_transport);
    clear_stale(f, TABLE_producer_state, TABLE_producer);
    clear_stale(f, TABLE_consumer_state, TABLE_consumer);
    clear_stale(f, TABLE_audio_level, TABLE_producer);
    prefer_measured(f);
    f->worker_count = threads_prepare(f, settings, descriptors);
    if (f->worker_count == 0) {
        LOG(ERROR, "start", "no media socket was handed over; the forwarder cannot work");
        return 1;
    }
    if (!start_workers(f, settings))
        return 1;
    region_beats_clear(&f->actual, f->worker_count);
    pthread_barrier_wait(&f->started);
    LOG(INFO, "start", "forwarding", F("workers", "%u", f->worker_count));
    wait_for_stop(f, &open);
    stop_workers(f);
    LOG(INFO, "stop", "stopped cleanly");
    return 0;
}
