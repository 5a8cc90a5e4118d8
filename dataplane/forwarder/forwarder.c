/* The forwarder process: its regions and its worker threads, which the main thread starts and
 * stops. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/processes.h"
#include "dataplane/sandbox.h"
#include "src/clock.h"
#include "src/log.h"
#include "worker_threads.h"

#define IDENTITY_RETRY_NS (40 * NS_PER_MS)

struct forwarder {
    struct region desired, actual, keys, resume;
    struct io_choice choice;
    struct worker_threads threads;
    bool has_fingerprints; /* the node row holds them */
};

static volatile sig_atomic_t stop_wanted;

static void on_stop(int signal_number)
{
    stop_wanted = 1;
}

/* ---- regions ---- */

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

        if (!(wanted[i].id == REGION_desired
                  ? region_map_vouched(wanted[i].region, wanted[i].id, fd, why)
                  : region_map(wanted[i].region, wanted[i].id, fd, wanted[i].writable, why))) {
            LOG(ERROR, "start", "cannot map a shared region", F("why", "%s", why));
            return false;
        }
    }
    return true;
}

static void become_writer(struct region *region)
{
    atomic_store(&region->header->writer_pid, (uint32_t)getpid());
    atomic_fetch_add(&region->header->writer_starts, 1);
}

/* Clears the rows of table `state` whose object the control plane does not want any more: an
 * earlier forwarder left them. */
static void clear_stale(struct forwarder *f, enum table_id state, enum table_id wanted)
{
    for (uint32_t i = 0; i < tables[state].rows; i++) {
        struct row_header *row = region_row(&f->actual, state, i);
        const struct row_header *desired = region_row(&f->desired, wanted, i);
        _Alignas(8) uint8_t empty[1024] = {0};
        uint32_t generation = __atomic_load_n(&desired->generation, __ATOMIC_RELAXED);

        if (generation == 0 && row->generation == 0)
            return; /* rows are used from the front: all later ones were never used */
        if (row->used && (row->generation != generation || !desired->used)) {
            ((struct row_header *)empty)->generation = row->generation;
            row_write(state, row, (struct row_header *)empty);
        }
    }
}

/* ---- the I/O backend ---- */

static bool choose_backend(struct forwarder *f, const struct settings *settings,
                           const struct io_backends *backends)
{
    struct worker_state_row before;
    char measured_before[sizeof(before.backend) + 1] = "", why[IO_CHOICE_BYTES];

    if (row_copy(TABLE_worker_state, &before, region_row(&f->actual, TABLE_worker_state, 0), 0) ==
            ROW_OK &&
        before.header.used && before.backend_measured)
        memcpy(measured_before, before.backend, sizeof(before.backend));
    if (io_choose(&f->choice, backends, settings->io_backend, measured_before, why))
        return true;
    LOG(ERROR, "start", "cannot use the I/O backend that io_backend names", F("why", "%s", why));
    return false;
}

/* ---- the node row ---- */

/* Publishes what all transports share. The handshaker's fingerprints are added when it has made
 * them. */
static void publish_node(struct forwarder *f)
{
    struct identity_row identity;
    struct node_row node = {.header = {.generation = 1, .used = 1}};

    if (f->has_fingerprints)
        return;
    node.worker_count = f->threads.count;
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

/* Until a signal asks to stop. Signals arrive only while this thread sleeps: `open` is the signal
 * mask of that time. */
static void wait_for_stop(struct forwarder *f, const sigset_t *open)
{
    const struct timespec retry = {.tv_nsec = IDENTITY_RETRY_NS};

    while (!stop_wanted) {
        publish_node(f);
        ppoll(NULL, 0, f->has_fingerprints ? NULL : &retry, open);
    }
}

/* ---- the process ---- */

static bool shut_sandbox(const struct settings *settings)
{
    char why[192];

    if (sandbox_enter(SANDBOX_FORWARDER, settings, why))
        return true;
    LOG(ERROR, "start", "cannot enter the sandbox", F("why", "%s", why));
    return false;
}

int forwarder_main(const struct settings *settings, const struct io_backends *backends,
                   struct descriptors *descriptors)
{
    static struct forwarder forwarder; /* too big for a stack; one per process */
    struct forwarder *f = &forwarder;
    struct worker_threads_config config = {.settings = settings,
                                           .descriptors = descriptors,
                                           .choice = &f->choice,
                                           .desired = &f->desired,
                                           .actual = &f->actual,
                                           .keys = &f->keys,
                                           .resume = &f->resume};
    struct sigaction action = {.sa_handler = on_stop};
    sigset_t all, open;

    /* The workers inherit the mask: only the main thread takes signals. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &open);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    if (!map_regions(f, descriptors))
        return 1;
    become_writer(&f->actual);
    become_writer(&f->resume);
    clear_stale(f, TABLE_transport_state, TABLE_transport);
    clear_stale(f, TABLE_producer_state, TABLE_producer);
    clear_stale(f, TABLE_consumer_state, TABLE_consumer);
    clear_stale(f, TABLE_audio_level, TABLE_producer);
    if (!choose_backend(f, settings, backends) || !worker_threads_prepare(&f->threads, &config) ||
        !worker_threads_start(&f->threads) || !shut_sandbox(settings))
        return 1;
    region_beats_clear(&f->actual, f->threads.count);
    worker_threads_release(&f->threads);
    LOG(INFO, "start", "forwarding", F("workers", "%u", f->threads.count));
    wait_for_stop(f, &open);
    worker_threads_stop(&f->threads);
    LOG(INFO, "stop", "stopped cleanly");
    return 0;
}
