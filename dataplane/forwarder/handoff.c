/* Lanes between the workers of a forwarder: sending, taking, finishing. */
#include "handoff.h"

#include <sys/mman.h>
#include <unistd.h>

#include "worker.h"

#define NOTES_PER_TURN 256 /* taken from one lane */

struct handoff *handoff_new(uint32_t worker_count)
{
    struct handoff *h = mmap(NULL, sizeof(*h), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (h == MAP_FAILED)
        return NULL;
    h->worker_count = worker_count;
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        h->workers[i].bell = -1;
    return h;
}

void handoff_delete(struct handoff *h)
{
    if (h)
        munmap(h, sizeof(*h));
}

bool handoff_open(struct worker *w)
{
    struct handoff *h = w->config.handoff;

    if (!h)
        return true;
    w->ends = mmap(NULL, sizeof(*w->ends) * h->worker_count, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w->ends == MAP_FAILED) {
        w->ends = NULL;
        return false;
    }
    w->peer_count = h->worker_count;
    h->workers[w->config.index].pool = w->pool.packets;
    return true;
}

static struct handoff_lane *lane_to(struct worker *w, uint32_t to)
{
    return &w->config.handoff->lanes[w->config.index][to];
}

static struct handoff_lane *lane_from(struct worker *w, uint32_t from)
{
    return &w->config.handoff->lanes[from][w->config.index];
}

/* ---- sending ---- */

static bool send_note(struct worker *w, uint32_t to, struct handoff_note note)
{
    struct handoff_ends *ends = &w->ends[to];
    struct handoff_lane *lane = lane_to(w, to);

    if (ends->sent - ends->taken_back >= HANDOFF_NOTES)
        return false;
    lane->notes[ends->sent++ % HANDOFF_NOTES] = note;
    w->to_publish |= (uint16_t)(1u << to);
    return true;
}

/* A note that must not be lost silently. */
static void send_or_mark(struct worker *w, uint32_t to, struct handoff_note note)
{
    if (to >= w->peer_count || to == w->config.index)
        return;
    if (!send_note(w, to, note))
        atomic_fetch_add_explicit(&lane_to(w, to)->lost, 1, memory_order_release);
}

void handoff_send(struct worker *w, uint32_t to, enum handoff_kind kind, uint32_t producer,
                  uint32_t generation, uint8_t encoding)
{
    send_or_mark(w, to,
                 (struct handoff_note){.kind = (uint8_t)kind,
                                       .encoding = encoding,
                                       .producer = producer,
                                       .generation = generation});
}

void handoff_wanted(struct worker *w, const struct producer *replica)
{
    send_or_mark(w, replica->home,
                 (struct handoff_note){.kind = HANDOFF_wanted,
                                       .producer = replica->index,
                                       .generation = replica->generation,
                                       .typical = replica->typical});
}

/* One note about a packet to each worker of the replica_workers; how many took it. */
static unsigned send_packet(struct worker *w, enum handoff_kind kind, const struct producer *p,
                            uint16_t replica_workers, struct packet *packet)
{
    struct handoff_note note = {.kind = (uint8_t)kind,
                                .packet = (uint16_t)(packet - w->pool.packets),
                                .producer = p->index,
                                .generation = p->generation};
    unsigned count = 0;

    for (; replica_workers; replica_workers &= (uint16_t)(replica_workers - 1))
        count += send_note(w, (uint32_t)__builtin_ctz(replica_workers), note);
    packet->holds = (uint16_t)(packet->holds + count);
    return count;
}

bool handoff_packet(struct worker *w, struct producer *p, struct packet *packet)
{
    unsigned wanted = (unsigned)__builtin_popcount(p->replica_workers);
    unsigned count = send_packet(w, HANDOFF_packet, p, p->replica_workers, packet);

    w->turn.counters[COUNTER_handed] += count;
    w->turn.counters[COUNTER_handoff_full] += wanted - count;
    return count > 0;
}

void handoff_report(struct worker *w, struct producer *p, uint16_t replica_workers)
{
    struct packet *packet = replica_workers ? pool_take(&w->pool) : NULL;
    struct handoff_report *report;

    if (!packet)
        return; /* the next report of the publisher tells the same */
    report = (struct handoff_report *)packet->room;
    *report = (struct handoff_report){.ntp_offset = p->ntp_offset};
    for (int i = 0; i < p->encoding_count; i++) {
        report->has_sr[i] = p->encodings[i].has_sr;
        report->sr_ntp[i] = p->encodings[i].sr_ntp;
        report->sr_timestamp[i] = p->encodings[i].sr_timestamp;
    }
    packet->holds = 0;
    packet->lane = PACKET_OWN;
    packet->verdict = VERDICT_PENDING; /* it is none of the packets that came in */
    if (send_packet(w, HANDOFF_report, p, replica_workers, packet) == 0)
        pool_give(&w->pool, packet);
}

static void wake(struct worker *w, uint32_t to)
{
    const uint64_t one = 1;
    ssize_t n;

    if (!atomic_load_explicit(&w->config.handoff->workers[to].asleep, memory_order_relaxed) ||
        w->config.handoff->workers[to].bell < 0)
        return;
    n = write(w->config.handoff->workers[to].bell, &one, sizeof(one)); /* EAGAIN: rung already */
    (void)n;
}

void handoff_publish(struct worker *w)
{
    if (!w->to_publish)
        return;
    for (uint32_t bits = w->to_publish; bits; bits &= bits - 1) {
        uint32_t to = (uint32_t)__builtin_ctz(bits);

        atomic_store_explicit(&lane_to(w, to)->published, w->ends[to].sent, memory_order_release);
    }
    /* Either it sees what was published before it sleeps, or we see that it sleeps. */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t bits = w->to_publish; bits; bits &= bits - 1)
        wake(w, (uint32_t)__builtin_ctz(bits));
    w->to_publish = 0;
}

/* ---- taking ---- */

/* False when the note is finished with at once. */
static bool take_packet(struct worker *w, uint32_t from, uint64_t position,
                        const struct handoff_note *note, struct producer *p)
{
    const struct packet *theirs = &w->config.handoff->workers[from].pool[note->packet];
    struct packet *packet;

    replica_count(w, p, theirs);
    if (!p->consumers)
        return false;
    packet = pool_take(&w->pool);
    if (!packet) {
        w->turn.counters[COUNTER_handoff_full]++;
        return false;
    }
    memcpy(packet, theirs, offsetof(struct packet, next)); /* what its owner changes no more */
    packet->holds = 1;
    packet->lane = (uint8_t)from;
    packet->position = position;
    packet_headers_clear(packet);
    if (fan_out_queue(w, p, packet))
        return true;
    w->turn.counters[COUNTER_handoff_full]++;
    pool_give(&w->pool, packet);
    return false;
}

static void take_report(struct producer *p, const struct packet *theirs)
{
    const struct handoff_report *report = (const struct handoff_report *)theirs->room;

    p->ntp_offset = report->ntp_offset;
    for (int i = 0; i < p->encoding_count; i++) {
        p->encodings[i].has_sr = report->has_sr[i];
        p->encodings[i].sr_ntp = report->sr_ntp[i];
        p->encodings[i].sr_timestamp = report->sr_timestamp[i];
    }
}

static bool take(struct worker *w, uint32_t from, uint64_t position)
{
    const struct handoff_note *note = &lane_from(w, from)->notes[position % HANDOFF_NOTES];
    struct producer *p = &w->objects.producers[note->producer];
    bool is_ours = p->generation == note->generation; /* else it came or went meanwhile */

    switch ((enum handoff_kind)note->kind) {
    case HANDOFF_packet:
        return is_ours && p->is_replica && take_packet(w, from, position, note, p);
    case HANDOFF_report:
        if (is_ours && p->is_replica)
            take_report(p, &w->config.handoff->workers[from].pool[note->packet]);
        break;
    case HANDOFF_producer:
        producer_look(w, note->producer);
        break;
    case HANDOFF_wanted:
        if (is_ours && !p->is_replica)
            replica_workers_want(w, p, &note->typical);
        else /* not there yet, or gone: the row knows */
            handoff_send(w, from, HANDOFF_producer, note->producer, note->generation, 0);
        break;
    case HANDOFF_key_frame:
        if (is_ours && !p->is_replica)
            key_frame_request(w, p, note->encoding);
        break;
    }
    return false;
}

bool handoff_receive(struct worker *w)
{
    bool any = false;

    for (uint32_t from = 0; from < w->peer_count; from++) {
        struct handoff_ends *ends = &w->ends[from];
        struct handoff_lane *lane = lane_from(w, from);
        uint64_t published = atomic_load_explicit(&lane->published, memory_order_acquire);
        uint32_t lost = atomic_load_explicit(&lane->lost, memory_order_acquire);

        if (lost != ends->lost_seen) {
            ends->lost_seen = lost;
            rescan_start(w);
        }
        for (unsigned n = 0; n < NOTES_PER_TURN && ends->taken != published; n++) {
            uint64_t position = ends->taken++;

            if (!take(w, from, position))
                handoff_finish(w, from, position);
            any = true;
        }
    }
    return any;
}

void handoff_finish(struct worker *w, uint32_t from, uint64_t position)
{
    w->ends[from].is_done[position % HANDOFF_NOTES] = 1;
    w->to_report_finished |= (uint16_t)(1u << from);
}

/* ---- both ends ---- */

static void take_back_note_places(struct worker *w, uint32_t from)
{
    struct handoff_ends *ends = &w->ends[from];
    uint64_t before = ends->finished;

    while (ends->finished != ends->taken && ends->is_done[ends->finished % HANDOFF_NOTES])
        ends->is_done[ends->finished++ % HANDOFF_NOTES] = 0;
    if (ends->finished != before)
        atomic_store_explicit(&lane_from(w, from)->consumed, ends->finished, memory_order_release);
}

static void take_back_packets(struct worker *w, uint32_t to)
{
    struct handoff_ends *ends = &w->ends[to];
    struct handoff_lane *lane = lane_to(w, to);
    uint64_t consumed = atomic_load_explicit(&lane->consumed, memory_order_acquire);

    for (; ends->taken_back != consumed; ends->taken_back++) {
        const struct handoff_note *note = &lane->notes[ends->taken_back % HANDOFF_NOTES];

        if (note->kind == HANDOFF_packet || note->kind == HANDOFF_report)
            packet_release(w, &w->pool.packets[note->packet]);
    }
}

void handoff_take_back(struct worker *w)
{
    for (uint32_t bits = w->to_report_finished; bits; bits &= bits - 1)
        take_back_note_places(w, (uint32_t)__builtin_ctz(bits));
    w->to_report_finished = 0;
    for (uint32_t to = 0; to < w->peer_count; to++)
        if (w->ends[to].taken_back != w->ends[to].sent)
            take_back_packets(w, to);
}

bool handoff_may_sleep(struct worker *w)
{
    if (w->peer_count == 0)
        return true;
    atomic_store_explicit(&w->config.handoff->workers[w->config.index].asleep, true,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t from = 0; from < w->peer_count; from++)
        if (atomic_load_explicit(&lane_from(w, from)->published, memory_order_relaxed) !=
            w->ends[from].taken) {
            handoff_awake(w);
            return false;
        }
    return true;
}

void handoff_awake(struct worker *w)
{
    if (w->peer_count)
        atomic_store_explicit(&w->config.handoff->workers[w->config.index].asleep, false,
                              memory_order_relaxed);
}
