/* A worker's turn and life: the table of contents of the data plane. */
#include "worker.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "src/clock.h"

#define FILL_NS_MIN (60 * 1000ull) /* a nap shorter than what it costs to take is none */
/* Sleep at most this long. Timers of an idle worker may be late by so much; where packets come, they
 * wake it more often. */
#define WAIT_NS_MAX REGION_HEARTBEAT_NS

/* huge: large pages where the kernel has them, for what is walked from one object to the next. */
static void *map_array(size_t bytes, bool huge)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, bytes, MADV_DONTDUMP); /* session keys live here */
    if (huge)
        madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

static void objects_close(struct objects *objects)
{
    if (objects->transports)
        munmap(objects->transports, sizeof(struct transport) * TRANSPORTS_MAX);
    if (objects->egresses)
        munmap(objects->egresses, sizeof(struct egress) * TRANSPORTS_MAX);
    if (objects->inbounds)
        munmap(objects->inbounds, sizeof(struct inbound) * TRANSPORTS_MAX);
    if (objects->producers)
        munmap(objects->producers, sizeof(struct producer) * PRODUCERS_MAX);
    if (objects->consumers)
        munmap(objects->consumers, sizeof(struct consumer) * CONSUMERS_MAX);
    *objects = (struct objects){0};
}

static bool objects_open(struct objects *objects)
{
    *objects = (struct objects){
        .transports = map_array(sizeof(struct transport) * TRANSPORTS_MAX, false),
        .egresses = map_array(sizeof(struct egress) * TRANSPORTS_MAX, true),
        .inbounds = map_array(sizeof(struct inbound) * TRANSPORTS_MAX, false),
        .producers = map_array(sizeof(struct producer) * PRODUCERS_MAX, false),
        .consumers = map_array(sizeof(struct consumer) * CONSUMERS_MAX, true),
    };
    if (objects->transports && objects->egresses && objects->inbounds && objects->producers &&
        objects->consumers)
        return true;
    objects_close(objects);
    return false;
}

static void read_clocks(struct worker *w)
{
    w->turn.now_ns = w->config.monotonic_ns ? w->config.monotonic_ns() : clock_monotonic_ns();
    w->turn.wall_ns = w->config.wall_ns ? w->config.wall_ns() : clock_wall_ns();
    w->turn.abs_send_time = rtp_abs_send_time(w->turn.wall_ns);
    w->turn.audio_interval = (uint32_t)(w->turn.now_ns / AUDIO_INTERVAL_NS);
}

bool worker_open(struct worker *w, const struct worker_config *config, char *why)
{
    memset(w, 0, sizeof(*w));
    w->config = *config;
    w->io = config->io;
    w->backend = config->backend;
    if (getrandom(&w->secret, sizeof(w->secret), 0) != sizeof(w->secret) ||
        !random_pool_open(&w->random)) {
        snprintf(why, 192, "the kernel gives no random bytes (getrandom)");
        return false;
    }
    w->srtp = srtp_engine_new();
    if (!w->srtp) {
        snprintf(why, 192, "intel-ipsec-mb does not start on this processor");
        return false;
    }
    w->transmit =
        (struct transmit){.turn = &w->turn, .io = w->io, .backend = w->backend, .srtp = w->srtp};
    w->resume = (struct resume){.region = config->resume};
    if (!objects_open(&w->objects) || !pool_open(&w->pool) || !handoff_open(w) ||
        !map_open(&w->paths, TRANSPORTS_MAX * ICE_PATHS_MAX) ||
        !map_open(&w->ufrags, 2 * TRANSPORTS_MAX) || !map_open(&w->ssrcs, CONSUMERS_MAX)) {
        snprintf(why, 192, "no address space for the objects of worker %u", config->index);
        worker_close(w);
        return false;
    }
    w->changes = region_ring(config->desired, config->actual, config->index);
    w->events = region_ring(config->actual, config->desired, config->index);
    w->to_handshaker = region_ring(config->resume, config->keys, config->index);
    w->from_handshaker = region_ring(config->keys, config->resume, config->index);
    ring_skip_all(&w->changes);
    ring_skip_all(&w->from_handshaker);
    w->rescan.active = true; /* whatever the rings held, the tables say it */
    w->rescan.table = TABLE_transport;
    read_clocks(w);
    wheel_init(&w->wheel, w->turn.now_ns);
    return true;
}

void worker_close(struct worker *w)
{
    objects_close(&w->objects);
    pool_close(&w->pool);
    if (w->ends)
        munmap(w->ends, sizeof(*w->ends) * w->peer_count);
    w->ends = NULL;
    map_close(&w->paths);
    map_close(&w->ufrags);
    map_close(&w->ssrcs);
    if (w->srtp)
        srtp_engine_delete(w->srtp);
    w->srtp = NULL;
}

struct transport *worker_transport(struct worker *w, handle_word handle)
{
    uint32_t index = handle_index(handle);
    struct transport *t = index < TRANSPORTS_MAX ? &w->objects.transports[index] : NULL;

    return t && t->generation && t->generation == handle_generation(handle) ? t : NULL;
}

static void fire(void *context, struct timer *timer)
{
    struct worker *w = context;

    if (timer->kind == TIMER_PRODUCER) {
        key_frame_timer(w, timer->owner);
        return;
    }
    if (timer->kind == TIMER_FEEDBACK) {
        congestion_send(w, timer->owner);
        return;
    }

    struct transport *t = timer->owner;
    uint64_t next = IDLE_INTERVAL_NS;

    if (ice_check_consent(&t->ice, w->turn.now_ns, w->config.consent_ns)) {
        w->turn.counters[COUNTER_consent_expired]++;
        paths_update(w, t);
        publish_transport(w, t);
        event_publish(w, TABLE_transport_state, t->index, t->generation);
    }
    if (t->profile && ice_selected_path(&t->ice) && (t->producers || t->consumers)) {
        targets_choose(w, t);
        if (w->turn.now_ns >= t->next_report_ns) {
            reports_send(w, t);
            t->next_report_ns = w->turn.now_ns + REPORT_INTERVAL_NS;
        }
        next = PUBLISH_INTERVAL_NS;
    }
    if ((t->dirty || t->egress->dirty) && w->turn.now_ns >= t->next_publish_ns) {
        publish_transport(w, t);
        publish_streams(w, t);
        t->next_publish_ns = w->turn.now_ns + PUBLISH_INTERVAL_NS;
        t->dirty = false;
        t->egress->dirty = false;
    }
    timer_set(&w->wheel, &t->timer, w->turn.now_ns + next);
}

static void ring_bell(int descriptor)
{
    const uint64_t one = 1;
    ssize_t n;

    if (descriptor < 0)
        return;
    n = write(descriptor, &one, sizeof(one)); /* EAGAIN: it is rung already */
    (void)n;
}

static void housekeeping(struct worker *w)
{
    wheel_advance(&w->wheel, w->turn.now_ns, fire, w);
    reconcile_changes(w);
    handshaker_receive(w);
    transmit_flush(&w->transmit);
    if (w->turn.now_ns >= w->next_publish_ns) {
        publish_worker(w);
        w->next_publish_ns = w->turn.now_ns + 100 * NS_PER_MS;
    }
    if (w->ring_handshaker)
        ring_bell(w->config.bell_handshaker);
    if (w->ring_control)
        ring_bell(w->config.bell_control);
    w->ring_handshaker = false;
    w->ring_control = false;
    region_beat(w->config.actual, w->config.index, w->turn.now_ns);
}

/* Every packet has a verdict, now or when it leaves the pool. */
static void count_verdicts(struct worker *w)
{
    for (size_t i = 0; i < w->datagram_count; i++) {
        w->turn.counters[COUNTER_received_bytes] += w->datagrams[i].bytes;
        if (w->datagram_verdict[i] != VERDICT_PENDING)
            w->turn.verdicts[w->datagram_verdict[i]]++;
    }
    w->turn.counters[COUNTER_received] += w->datagram_count;
}

bool worker_turn(struct worker *w)
{
    size_t received;
    bool handed;

    read_clocks(w);
    w->datagram_count = w->backend->receive(w->io, w->datagrams, IO_BATCH);
    if (w->datagram_count > 0) {
        classify(w);    /* kind, transport, gates; answers STUN, passes DTLS, acts on RTCP */
        ingress_run(w); /* unprotects RTP into the pool, finds producers, counts */
        count_verdicts(w);
        w->backend->release(w->io);
    }
    received = w->datagram_count;
    w->datagram_count = 0;
    handed = handoff_receive(w); /* from other workers, to replicas of their producers */
    handoff_publish(w);          /* so that they begin while we fan out */
    fan_out(w);                  /* subscriber by subscriber: select, rewrite, protect, send */
    housekeeping(w);
    handoff_take_back(w);
    handoff_publish(w);
    w->turn.number++;
    return received > 0 || handed || fan_out_has_work(w);
}

/* Leaves packets to gather until the last turn's beginning is fill_ns ago. */
static void let_batch_fill(struct worker *w, uint64_t began_ns, uint64_t ended_ns)
{
    uint64_t due_ns = began_ns + w->batch_fill.wait_ns;
    struct timespec nap = {0};

    if (due_ns < ended_ns + FILL_NS_MIN)
        return;
    nap.tv_nsec = (long)(due_ns - ended_ns);
    nanosleep(&nap, NULL);
    w->turn.counters[COUNTER_batch_fills]++;
}

void worker_run(struct worker *w)
{
    w->batch_fill.wait_ns_max = w->config.fill_ns_max;
    while (!atomic_load_explicit(&w->stop, memory_order_acquire)) {
        bool busy = worker_turn(w);
        uint64_t began_ns = w->turn.now_ns, ended_ns = clock_monotonic_ns();

        w->busy_ns += ended_ns - began_ns;
        batch_fill_add_turn(&w->batch_fill, began_ns, ended_ns, busy);
        if (!busy && !w->rescan.active && !ring_peek(&w->changes) &&
            !ring_peek(&w->from_handshaker) && handoff_may_sleep(w)) {
            w->backend->wait(w->io, WAIT_NS_MAX);
            handoff_awake(w);
        } else if (busy && w->batch_fill.wait_ns && !fan_out_has_work(w)) {
            let_batch_fill(w, began_ns, ended_ns);
        }
    }
}
