/* A worker's turn and its life. */
#include "worker.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "src/clock.h"

#define FILL_NS_MIN (60 * NS_PER_US) /* a shorter sleep costs more than it saves */
#define STATE_INTERVAL_NS \
    (100 * NS_PER_MS) /* between two times that the worker publishes its own rows */
/* The longest sleep, so the coarse timers of an idle worker may be late by as much. Packets and fine
 * timers wake it earlier. */
#define WAIT_NS_MAX REGION_HEARTBEAT_NS

#define HISTORY_BYTES \
    (64u << 20) /* of video, to be sent again: 1.5 s of 100 streams of 3.4 Mbit/s */

/* ---- the turn ---- */

static void read_clocks(struct worker *w)
{
    struct turn *turn = &w->turn;

    turn->now_ns = w->config.monotonic_ns ? w->config.monotonic_ns() : clock_monotonic_ns();
    turn->wall_ns =
        w->config.wall_ns ? w->config.wall_ns() : turn->now_ns + w->config.wall_offset_ns;
    turn->abs_send_time = rtp_abs_send_time(turn->wall_ns);
    turn->audio_interval = (uint32_t)(turn->now_ns / AUDIO_INTERVAL_NS);
}

/* Every datagram has a verdict now, or gets it when its packet leaves the pool. */
static void count_verdicts(struct worker *w)
{
    for (size_t i = 0; i < w->batch.count; i++) {
        w->turn.counters[COUNTER_received_bytes] += w->batch.datagrams[i].bytes;
        if (w->batch.verdicts[i] != VERDICT_PENDING)
            w->turn.verdicts[w->batch.verdicts[i]]++;
    }
    w->turn.counters[COUNTER_received] += w->batch.count;
}

static void on_timer(void *context, struct timer *timer)
{
    struct worker *w = context;

    switch (timer->kind) {
    case TIMER_TRANSPORT:
        transport_on_timer(&w->transports, timer->owner);
        break;
    case TIMER_PRODUCER:
        key_frames_on_timer(&w->key_frames, timer->owner);
        break;
    case TIMER_FEEDBACK:
        reports_send_congestion(&w->reports, timer->owner);
        break;
    case TIMER_REPAIR:
        repair_in_on_timer(&w->repair_in, timer->owner);
        break;
    case TIMER_REPLAY:
        replay_on_timer(&w->replays, timer->owner);
        break;
    }
}

static void publish_worker(struct worker *w)
{
    const struct io_counters *io = w->config.backend->counters(w->config.io);
    struct worker_state_row state = {
        .heartbeat_ns = w->turn.now_ns,
        .turns = w->turn.number,
        .busy_ns = w->busy_ns,
        .transport_count = w->transports.count,
        .producer_count = w->producers.count,
        .consumer_count = w->consumers.count,
        .changes_seen = (uint32_t)w->turn.counters[COUNTER_changes_applied],
        .udp_port = w->config.udp_port,
        .has_ipv4 = w->config.has_ipv4,
        .has_ipv6 = w->config.has_ipv6,
        .backend_measured = w->config.backend_is_measured,
    };
    struct worker_counters_row counters = {0};

    strncpy(state.backend, w->config.backend->name, sizeof(state.backend) - 1);
    publish_row(&w->publisher, TABLE_worker_state, w->config.index, 1, &state.header);
    w->turn.counters[COUNTER_receive_overflow] = io->receive_overflow;
    w->turn.counters[COUNTER_sends] = io->sends;
    w->turn.counters[COUNTER_sends_zero_copy] = io->zero_copy;
    w->turn.counters[COUNTER_sends_zero_copy_copied] = io->zero_copy_copied;
    w->turn.counters[COUNTER_send_failed] = io->send_failed;
    memcpy(counters.verdicts, w->turn.verdicts, sizeof(w->turn.verdicts));
    memcpy(counters.counters, w->turn.counters, sizeof(w->turn.counters));
    /* Two parts: no room in the transmit memory, and no room in the queue of the backend. */
    counters.counters[COUNTER_send_full] += io->send_full;
    publish_row(&w->publisher, TABLE_worker_counters, w->config.index, 1, &counters.header);
}
_Static_assert(VERDICT_COUNT <= VERDICT_ROOM && COUNTER_COUNT <= COUNTER_ROOM,
               "the counters do not fit into their row");

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
    if (w->transmit.job_count > 0) /* retransmissions: encrypted before a key goes or changes */
        transmit_flush(&w->transmit);
    wheel_advance(&w->wheel, w->turn.now_ns, on_timer, w);
    wheel_advance(&w->fine_wheel, w->turn.now_ns, on_timer, w);
    reconcile_changes(&w->reconciler);
    handshaker_receive(&w->handshaker);
    transmit_flush(&w->transmit);
    if (w->turn.now_ns >= w->next_publish_ns) {
        publish_worker(w);
        if (w->transports.waits_for_claim && !w->reconciler.rescan.active) {
            w->transports.waits_for_claim = false;
            reconcile_start_rescan(&w->reconciler);
        }
        w->next_publish_ns = w->turn.now_ns + STATE_INTERVAL_NS;
    }
    if (w->handshaker.ring_bell)
        ring_bell(w->config.bell_handshaker);
    if (w->publisher.ring_bell)
        ring_bell(w->config.bell_control);
    w->handshaker.ring_bell = false;
    w->publisher.ring_bell = false;
    region_beat(w->config.actual, w->config.index, w->turn.now_ns);
}

bool worker_turn(struct worker *w)
{
    const struct io_backend *backend = w->config.backend;
    bool received, handed;

    read_clocks(w);
    w->batch.count = backend->receive(w->config.io, w->batch.datagrams, IO_BATCH);
    received = w->batch.count > 0;
    if (received) {
        classify(&w->classifier);  /* kind, gates; answers STUN, passes DTLS on, acts on RTCP */
        ingress_run(&w->arrivals); /* decrypts RTP into the pool, counts it, queues it */
        count_verdicts(w);
        backend->release(w->config.io);
    }
    handed = replicas_receive(&w->replicas); /* packets that other workers received */
    handoff_publish(&w->lanes);              /* so the other workers begin while we fan out */
    fan_out(&w->fanout); /* for each subscriber: select, rewrite, encrypt, send */
    housekeeping(w);     /* timers, table changes, keys, statistics */
    handoff_take_back(&w->lanes);
    handoff_publish(&w->lanes);
    w->turn.number++;
    return received || handed || fan_out_has_work(&w->fanout);
}

/* ---- life ---- */

/* Sleeps until wait_ns after the last turn began; packets gather meanwhile. */
static void let_batch_fill(struct worker *w, uint64_t began_ns, uint64_t ended_ns)
{
    uint64_t due_ns = began_ns + w->batch_fill.wait_ns;
    struct timespec sleep = {0};

    if (due_ns < ended_ns + FILL_NS_MIN)
        return;
    sleep.tv_nsec = (long)(due_ns - ended_ns);
    nanosleep(&sleep, NULL);
    w->turn.counters[COUNTER_batch_fills]++;
}

static bool may_sleep(struct worker *w)
{
    return !w->reconciler.rescan.active && !ring_peek(&w->reconciler.changes) &&
           !ring_peek(&w->handshaker.from) && handoff_may_sleep(&w->lanes);
}

static uint64_t wait_ns(const struct worker *w, uint64_t now_ns)
{
    uint64_t due_ns = wheel_next_ns(&w->fine_wheel, now_ns + WAIT_NS_MAX);

    return due_ns > now_ns ? due_ns - now_ns : 0;
}

void worker_run(struct worker *w)
{
    w->batch_fill.wait_ns_max = w->config.fill_ns_max;
    while (!atomic_load_explicit(&w->stop, memory_order_acquire)) {
        bool busy = worker_turn(w);
        uint64_t began_ns = w->turn.now_ns, ended_ns = clock_monotonic_ns();

        w->busy_ns += ended_ns - began_ns;
        batch_fill_add_turn(&w->batch_fill, began_ns, ended_ns, busy);
        if (!busy && may_sleep(w)) {
            w->config.backend->wait(w->config.io, wait_ns(w, ended_ns));
            handoff_awake(&w->lanes);
        } else if (busy && w->batch_fill.wait_ns && !fan_out_has_work(&w->fanout)) {
            let_batch_fill(w, began_ns, ended_ns);
        }
    }
}

/* ---- opening: who works with whom ---- */

static void connect_way_in(struct worker *w)
{
    w->classifier = (struct classifier){.turn = &w->turn,
                                        .batch = &w->batch,
                                        .checks = &w->checks,
                                        .handshaker = &w->handshaker,
                                        .arrivals = &w->arrivals,
                                        .feedback = &w->feedback};
    w->checks.turn = &w->turn;
    w->checks.transmit = &w->transmit;
    w->checks.handshaker = &w->handshaker;
    w->checks.proofs = &w->proofs;
    w->checks.transports = &w->transports;
    w->handshaker.turn = &w->turn;
    w->handshaker.transmit = &w->transmit;
    w->handshaker.proofs = &w->proofs;
    w->handshaker.transports = &w->transports;
    w->arrivals.turn = &w->turn;
    w->arrivals.batch = &w->batch;
    w->arrivals.wheel = &w->wheel;
    w->arrivals.srtp = w->srtp;
    w->arrivals.pool = &w->pool;
    w->arrivals.producers = &w->producers;
    w->arrivals.replicas = &w->replicas;
    w->arrivals.fanout = &w->fanout;
    w->arrivals.history = &w->history;
    w->arrivals.repair_in = &w->repair_in;
    w->arrivals.proofs = &w->proofs;
    w->proofs = (struct proofs){.turn = &w->turn,
                                .random = &w->random,
                                .reports = &w->reports,
                                .checks = &w->checks,
                                .transports = &w->transports};
    w->feedback = (struct feedback){.turn = &w->turn,
                                    .srtp = w->srtp,
                                    .consumers = &w->consumers,
                                    .key_frames = &w->key_frames,
                                    .replicas = &w->replicas,
                                    .repair_out = &w->repair_out,
                                    .proofs = &w->proofs};
    w->repair_in.turn = &w->turn;
    w->repair_in.wheel = &w->fine_wheel;
    w->repair_in.reports = &w->reports;
    w->repair_in.key_frames = &w->key_frames;
}

static void connect_way_out(struct worker *w)
{
    w->lanes.turn = &w->turn;
    w->lanes.pool = &w->pool;
    w->lanes.history = &w->history;
    w->lanes.shared = w->config.handoff;
    w->lanes.worker = w->config.index;
    w->replicas = (struct replicas){.turn = &w->turn,
                                    .pool = &w->pool,
                                    .lanes = &w->lanes,
                                    .desired = w->config.desired,
                                    .producers = &w->producers,
                                    .fanout = &w->fanout,
                                    .key_frames = &w->key_frames,
                                    .repair_out = &w->repair_out,
                                    .reconciler = &w->reconciler};
    w->fanout = (struct fanout){.turn = &w->turn,
                                .transmit = &w->transmit,
                                .resume = &w->resume,
                                .lanes = &w->lanes,
                                .consumers = &w->consumers,
                                .key_frames = &w->key_frames,
                                .repair_out = &w->repair_out,
                                .proofs = &w->proofs};
    w->repair_out.turn = &w->turn;
    w->repair_out.transmit = &w->transmit;
    w->repair_out.resume = &w->resume;
    w->repair_out.own = &w->history;
    w->repair_out.lanes = &w->lanes;
    w->repair_out.consumers = &w->consumers;
    w->fanout.replays = &w->replays;
    w->replays.turn = &w->turn;
    w->replays.wheel = &w->fine_wheel;
    w->replays.pool = &w->pool;
    w->replays.fanout = &w->fanout;
    w->replays.consumers = &w->consumers;
    w->replays.repair_out = &w->repair_out;
    w->transmit.turn = &w->turn;
    w->transmit.io = w->config.io;
    w->transmit.backend = w->config.backend;
    w->transmit.srtp = w->srtp;
    w->key_frames = (struct key_frames){
        .turn = &w->turn, .wheel = &w->wheel, .reports = &w->reports, .replicas = &w->replicas};
    w->reports = (struct reports){
        .turn = &w->turn, .transmit = &w->transmit, .resume = &w->resume, .proofs = &w->proofs};
    w->resume.region = w->config.resume;
}

static void connect_objects(struct worker *w)
{
    w->reconciler = (struct reconciler){.turn = &w->turn,
                                        .desired = w->config.desired,
                                        .transports = &w->transports,
                                        .producers = &w->producers,
                                        .consumers = &w->consumers};
    w->transports = (struct transports){
        .turn = &w->turn,
        .wheel = &w->wheel,
        .srtp = w->srtp,
        .random = &w->random,
        .resume = &w->resume,
        .publisher = &w->publisher,
        .handshaker = &w->handshaker,
        .checks = &w->checks,
        .lanes = &w->lanes,
        .reports = &w->reports,
        .proofs = &w->proofs,
        .producers = &w->producers,
        .consumers = &w->consumers,
        .keys = w->config.keys,
        .worker = w->config.index,
        .consent_ns = w->config.consent_ns,
        .rates = {
            [MEDIA_KIND_audio] = w->config.audio_rate, [MEDIA_KIND_video] = w->config.video_rate}};
    w->producers = (struct producers){.turn = &w->turn,
                                      .publisher = &w->publisher,
                                      .transports = &w->transports,
                                      .consumers = &w->consumers,
                                      .replicas = &w->replicas,
                                      .fanout = &w->fanout,
                                      .repair_in = &w->repair_in,
                                      .worker = w->config.index};
    w->consumers = (struct consumers){.turn = &w->turn,
                                      .random = &w->random,
                                      .resume = &w->resume,
                                      .publisher = &w->publisher,
                                      .reports = &w->reports,
                                      .replicas = &w->replicas,
                                      .key_frames = &w->key_frames,
                                      .transports = &w->transports,
                                      .producers = &w->producers,
                                      .repair_out = &w->repair_out,
                                      .replays = &w->replays};
    w->publisher.turn = &w->turn;
    w->publisher.actual = w->config.actual;
}

/* What is in the rings may be old, and the tables say what is true: so a worker begins with a
 * rescan. */
static void attach_rings(struct worker *w)
{
    const struct worker_config *c = &w->config;

    w->reconciler.changes = region_ring(c->desired, c->actual, c->index);
    w->publisher.events = region_ring(c->actual, c->desired, c->index);
    w->handshaker.to = region_ring(c->resume, c->keys, c->index);
    w->handshaker.from = region_ring(c->keys, c->resume, c->index);
    ring_skip_all(&w->reconciler.changes);
    ring_skip_all(&w->handshaker.from);
    w->reconciler.rescan.active = true;
    w->reconciler.rescan.table = TABLE_transport;
}

bool worker_open(struct worker *w, const struct worker_config *config, char *why)
{
    memset(w, 0, sizeof(*w));
    w->config = *config;
    if (!random_pool_open(&w->random)) {
        snprintf(why, 192, "the kernel gives no random bytes (getrandom)");
        return false;
    }
    w->srtp = srtp_engine_new();
    if (!w->srtp) {
        snprintf(why, 192, "intel-ipsec-mb does not start on this processor");
        return false;
    }
    connect_way_in(w);
    connect_way_out(w);
    connect_objects(w);
    w->checks.secret = random_pool_take_u64(&w->random);
    w->transports.ufrags.secret = random_pool_take_u64(&w->random);
    if (!pool_open(&w->pool) || !history_open(&w->history, HISTORY_BYTES) ||
        !ingress_open(&w->arrivals) || !repair_in_open(&w->repair_in) ||
        !repair_out_open(&w->repair_out) || !replays_open(&w->replays) ||
        !handoff_open(&w->lanes) || !checks_open(&w->checks) || !transports_open(&w->transports) ||
        !producers_open(&w->producers) || !consumers_open(&w->consumers)) {
        snprintf(why, 192, "no address space for the objects of worker %u", config->index);
        worker_close(w);
        return false;
    }
    attach_rings(w);
    read_clocks(w);
    wheel_init(&w->wheel, WHEEL_COARSE_NS, w->turn.now_ns);
    wheel_init(&w->fine_wheel, WHEEL_FINE_NS, w->turn.now_ns);
    return true;
}

void worker_close(struct worker *w)
{
    consumers_close(&w->consumers);
    producers_close(&w->producers);
    transports_close(&w->transports);
    checks_close(&w->checks);
    handoff_close(&w->lanes);
    replays_close(&w->replays);
    repair_out_close(&w->repair_out);
    repair_in_close(&w->repair_in);
    ingress_close(&w->arrivals);
    history_close(&w->history);
    pool_close(&w->pool);
    if (w->srtp)
        srtp_engine_delete(w->srtp);
    w->srtp = NULL;
}
