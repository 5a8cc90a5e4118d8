/* The handshaker process: descriptors, regions, identity, and the loop. */
#define _GNU_SOURCE
#include "handshaker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "dataplane/processes.h"
#include "dataplane/sandbox.h"
#include "src/clock.h"
#include "src/log.h"

static volatile sig_atomic_t stop_wanted;

static void on_stop(int signal_number)
{
    stop_wanted = 1;
}

/* ---- identity ---- */

/* Reads the identity of an earlier process. The row may be torn because that process died while it
 * wrote. We may read it: nobody else writes it now, and identity_open checks everything. So a torn
 * process id does not cost a good certificate. */
static bool identity_kept(struct identity *identity, struct identity_row *row,
                          const struct row_header *shared)
{
    enum row_result result = row_copy(TABLE_identity, row, shared, 0);
    char why[128];

    if (result == ROW_TORN)
        memcpy(row, shared, sizeof(*row));
    else if (result == ROW_FREE)
        return false;
    if (identity_open(identity, row, why))
        return true;
    LOG(WARN, "start",
        "the certificate of the earlier process is unusable; clients must join again",
        F("why", "%s", why));
    return false;
}

static bool identity_take(struct handshaker *h, struct identity *identity, char *why)
{
    struct row_header *shared = region_row(h->config.keys, TABLE_identity, 0);
    struct identity_row row = {0};
    bool ok = identity_kept(identity, &row, shared);

    if (!ok) {
        row = (struct identity_row){0};
        ok = identity_make(&row, why) && identity_open(identity, &row, why);
    }
    if (ok) {
        row.header.generation = 1;
        row.header.used = 1;
        row.handshaker_pid = (uint32_t)getpid();
        row_write(TABLE_identity, shared, &row.header);
    }
    explicit_bzero(&row, sizeof(row));
    return ok;
}

/* ---- open, turn, close ---- */

static uint64_t clock_of(const struct handshaker *h)
{
    return h->config.monotonic_ns ? h->config.monotonic_ns() : clock_monotonic_ns();
}

/* Called after each datagram, since one may need 1 ms of public-key computation. */
static void beat(struct handshaker *h)
{
    h->now_ns = clock_of(h);
    if (h->now_ns < h->next_beat_ns)
        return;
    region_beat(h->config.keys, 0, h->now_ns);
    h->next_beat_ns = h->now_ns + REGION_HEARTBEAT_NS;
    associations_sweep(h);
}

static void ring_bells(struct handshaker *h)
{
    const uint64_t one = 1;

    for (uint32_t w = 0; h->bells_due; w++, h->bells_due >>= 1)
        if ((h->bells_due & 1) && h->config.bells[w] >= 0 &&
            write(h->config.bells[w], &one, sizeof(one)) < 0 && errno != EAGAIN)
            LOG(WARN, "dtls", "cannot ring the doorbell of a worker; it will read its ring later",
                F("worker", "%u", w), F("why", "%s", strerror(errno)));
}

bool handshaker_open(struct handshaker *h, const struct handshaker_config *config, char *why)
{
    struct region_header *header = config->keys->header;
    struct identity identity;
    bool ok;

    h->config = *config;
    if (!identity_take(h, &identity, why))
        return false;
    h->dtls = dtls_context_new(&identity, why);
    ok = h->dtls && dtls_self_test(h->dtls, &identity, why);
    identity_close(&identity);
    if (!ok) {
        handshaker_close(h);
        return false;
    }
    for (uint32_t w = 0; w < config->worker_count; w++) {
        h->from_worker[w] = region_ring(config->resume, config->keys, w);
        h->to_worker[w] = region_ring(config->keys, config->resume, w);
    }
    h->now_ns = clock_of(h);
    atomic_store(&header->writer_pid, (uint32_t)getpid());
    if (atomic_fetch_add(&header->writer_starts, 1) > 0)
        associations_adopt(h);
    beat(h);
    ring_bells(h);
    return true;
}

/* Removes one note from the ring of worker w, then handles the copy. False: there is none. */
static bool take_note(struct handshaker *h, uint32_t w)
{
    struct ring *ring = &h->from_worker[w];
    const struct ring_datagram *shared = ring_peek(ring);
    struct ring_datagram *note = &h->note;

    if (!shared)
        return false;
    note->handle = __atomic_load_n(&shared->handle, __ATOMIC_RELAXED);
    note->note = __atomic_load_n(&shared->note, __ATOMIC_RELAXED);
    note->bytes = __atomic_load_n(&shared->bytes, __ATOMIC_RELAXED);
    if (note->bytes <= DTLS_DATAGRAM_BYTES_MAX)
        memcpy(note->data, shared->data, note->bytes);
    ring_consume(ring);
    if (note->bytes <= DTLS_DATAGRAM_BYTES_MAX)
        note_handle(h, w, note);
    return true;
}

/* A ring with more unread entries than it has room for is damaged. */
static void rings_check(struct handshaker *h)
{
    for (uint32_t w = 0; w < h->config.worker_count; w++) {
        struct ring *ring = &h->from_worker[w];
        uint64_t unread = atomic_load_explicit(&ring->head->published, memory_order_acquire) -
                          atomic_load_explicit(&ring->tail->consumed, memory_order_relaxed);

        if (unread > ring->entry_count) {
            LOG(WARN, "dtls", "the ring of a worker is damaged; its content is skipped",
                F("worker", "%u", w));
            ring_skip_all(ring);
        }
    }
}

bool handshaker_turn(struct handshaker *h)
{
    bool more = true;

    beat(h);
    for (unsigned pass = 0; more && pass < NOTES_PER_TURN; pass++) {
        more = false;
        for (uint32_t w = 0; w < h->config.worker_count; w++) {
            if (!take_note(h, w))
                continue;
            more = true;
            ring_bells(h);
            beat(h);
        }
    }
    if (h->now_ns >= h->next_tick_ns) {
        associations_tick(h);
        rings_check(h);
        h->next_tick_ns = h->now_ns + TICK_NS;
    }
    ring_bells(h);
    return more;
}

void handshaker_close(struct handshaker *h)
{
    handshakes_free(h);
    dtls_context_free(h->dtls);
    h->dtls = NULL;
}

/* ---- the process ---- */

struct process {
    struct region desired, keys, resume;
    int bell;
};

static bool map_regions(struct process *p, const struct descriptors *set)
{
    struct {
        struct region *region;
        enum region_id id;
        bool writable;
    } wanted[] = {{&p->desired, REGION_desired, false},
                  {&p->keys, REGION_keys, true},
                  {&p->resume, REGION_resume, false}};
    char why[128];

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        int fd = descriptors_get(set, "%s", region_names[wanted[i].id]);

        if (!(wanted[i].id == REGION_desired
                  ? region_map_vouched(wanted[i].region, wanted[i].id, fd, why)
                  : region_map(wanted[i].region, wanted[i].id, fd, wanted[i].writable, why))) {
            LOG(ERROR, "start", "cannot map a shared region",
                F("region", "%s", region_names[wanted[i].id]), F("why", "%s", why));
            return false;
        }
    }
    return true;
}

static struct handshaker_config config_of(struct process *p, const struct settings *settings,
                                          const struct descriptors *set)
{
    struct handshaker_config config = {
        .desired = &p->desired,
        .resume = &p->resume,
        .keys = &p->keys,
        .timeout_ns = settings->dtls_timeout_ms * NS_PER_MS,
    };

    for (uint32_t w = 0; w < WORKERS_MAX; w++) {
        config.bells[w] = descriptors_get(set, "bell.worker.%u", w);
        if (config.bells[w] < 0)
            break;
        config.worker_count++;
    }
    return config;
}

/* Sleeps until the doorbell rings, a signal arrives or a timer is due. A signal that arrives just
 * before the sleep is handled at the next heartbeat. */
static void wait_for_work(struct handshaker *h, int bell)
{
    uint64_t now_ns = clock_monotonic_ns(), until_ns = h->next_beat_ns, count;
    struct pollfd poll_bell = {.fd = bell, .events = POLLIN};
    struct timespec timeout = {0};

    if ((h->unfinished || h->unsent_notes) && h->next_tick_ns < until_ns)
        until_ns = h->next_tick_ns;
    if (until_ns > now_ns)
        timeout.tv_nsec = (long)(until_ns - now_ns); /* < 1 s: the next heartbeat is sooner */
    if (ppoll(&poll_bell, 1, &timeout, NULL) > 0 && read(bell, &count, sizeof(count)) < 0 &&
        errno != EAGAIN && errno != EINTR)
        LOG(ERROR, "dtls", "cannot read the doorbell; handshakes will be slow",
            F("why", "%s", strerror(errno)));
}

int handshaker_main(const struct settings *settings, struct descriptors *descriptors)
{
    static struct handshaker handshaker; /* too big for a stack; one per process */
    struct process process = {.bell = descriptors_get(descriptors, "bell.handshaker")};
    struct sigaction action = {.sa_handler = on_stop};
    struct handshaker_config config;
    char why[192];

    /* The openssl.cnf of the machine must not change what we accept. */
    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    if (!map_regions(&process, descriptors))
        return 1;
    config = config_of(&process, settings, descriptors);
    if (config.worker_count == 0 || process.bell < 0) {
        LOG(ERROR, "start",
            "doorbells are missing: only the supervisor starts this role; run ringcast-dataplane "
            "without --role");
        return 1;
    }
    if (!handshaker_open(&handshaker, &config, why)) {
        LOG(ERROR, "start", "cannot start", F("why", "%s", why));
        return 1;
    }
    if (!sandbox_enter(SANDBOX_HANDSHAKER, settings, why)) {
        LOG(ERROR, "start", "cannot enter the sandbox", F("why", "%s", why));
        return 1;
    }
    LOG(INFO, "start", "handshaker ready", F("workers", "%u", config.worker_count),
        F("starts", "%u", atomic_load(&process.keys.header->writer_starts)));
    while (!stop_wanted)
        if (!handshaker_turn(&handshaker))
            wait_for_work(&handshaker, process.bell);
    handshaker_close(&handshaker);
    LOG(INFO, "stop", "handshaker stopped");
    return 0;
}
