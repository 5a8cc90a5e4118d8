/* Lanes between the workers of a forwarder: sending, taking and finishing notes. */
#include "handoff.h"

#include <sys/mman.h>
#include <unistd.h>

#include "turn.h"

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

bool handoff_open(struct lanes *lanes)
{
    struct handoff *h = lanes->shared;

    if (!h)
        return true;
    lanes->ends = mmap(NULL, sizeof(*lanes->ends) * h->worker_count, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (lanes->ends == MAP_FAILED) {
        lanes->ends = NULL;
        return false;
    }
    lanes->worker_count = h->worker_count;
    h->workers[lanes->worker].pool = lanes->pool->packets;
    h->workers[lanes->worker].history = lanes->history;
    return true;
}

void handoff_close(struct lanes *lanes)
{
    if (lanes->ends)
        munmap(lanes->ends, sizeof(*lanes->ends) * lanes->worker_count);
    lanes->ends = NULL;
}

static struct handoff_lane *lane_to(struct lanes *lanes, uint32_t to)
{
    return &lanes->shared->lanes[lanes->worker][to];
}

static struct handoff_lane *lane_from(struct lanes *lanes, uint32_t from)
{
    return &lanes->shared->lanes[from][lanes->worker];
}

/* ---- sending ---- */

/* False: the lane is full. */
static bool put_note(struct lanes *lanes, uint32_t to, struct handoff_note note)
{
    struct lane_ends *ends = &lanes->ends[to];

    if (ends->sent - ends->taken_back >= HANDOFF_NOTES)
        return false;
    lane_to(lanes, to)->notes[ends->sent++ % HANDOFF_NOTES] = note;
    lanes->to_publish |= (uint16_t)(1u << to);
    return true;
}

unsigned handoff_send_packet(struct lanes *lanes, uint16_t workers, struct handoff_note note,
                             struct packet *packet)
{
    unsigned count = 0;

    note.packet = (uint16_t)(packet - lanes->pool->packets);
    for (; workers; workers &= (uint16_t)(workers - 1))
        count += put_note(lanes, (uint32_t)__builtin_ctz(workers), note);
    packet->holds = (uint16_t)(packet->holds + count);
    return count;
}

void handoff_send(struct lanes *lanes, uint32_t to, struct handoff_note note)
{
    if (to >= lanes->worker_count || to == lanes->worker)
        return;
    if (!put_note(lanes, to, note))
        atomic_fetch_add_explicit(&lane_to(lanes, to)->lost, 1, memory_order_release);
}

static void wake(struct lanes *lanes, uint32_t to)
{
    const uint64_t one = 1;
    ssize_t n;

    if (!atomic_load_explicit(&lanes->shared->workers[to].asleep, memory_order_relaxed) ||
        lanes->shared->workers[to].bell < 0)
        return;
    n = write(lanes->shared->workers[to].bell, &one, sizeof(one)); /* EAGAIN: rung already */
    (void)n;
}

void handoff_publish(struct lanes *lanes)
{
    if (!lanes->to_publish)
        return;
    for (uint32_t bits = lanes->to_publish; bits; bits &= bits - 1) {
        uint32_t to = (uint32_t)__builtin_ctz(bits);

        atomic_store_explicit(&lane_to(lanes, to)->published, lanes->ends[to].sent,
                              memory_order_release);
    }
    /* Together with the fence in handoff_may_sleep: either the other worker sees the notes before
     * it sleeps, or we see that it sleeps. */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t bits = lanes->to_publish; bits; bits &= bits - 1)
        wake(lanes, (uint32_t)__builtin_ctz(bits));
    lanes->to_publish = 0;
}

/* ---- transports ---- */

bool handoff_claim_transport(struct lanes *lanes, uint32_t index)
{
    uint32_t mine = lanes->worker + 1, claim = 0;

    return !lanes->shared ||
           atomic_compare_exchange_strong_explicit(&lanes->shared->claims[index], &claim, mine,
                                                   memory_order_acq_rel, memory_order_acquire) ||
           claim == mine;
}

void handoff_release_transport(struct lanes *lanes, uint32_t index)
{
    if (lanes->shared)
        atomic_store_explicit(&lanes->shared->claims[index], 0, memory_order_release);
}

/* ---- receiving ---- */

const struct handoff_note *handoff_take(struct lanes *lanes, uint32_t from, uint64_t *position)
{
    struct handoff_lane *lane = lane_from(lanes, from);
    struct lane_ends *ends = &lanes->ends[from];

    /* The sender's word is read again only when all notes that it showed are taken. */
    if (ends->taken == ends->seen)
        ends->seen = atomic_load_explicit(&lane->published, memory_order_acquire);
    if (ends->taken == ends->seen)
        return NULL;
    *position = ends->taken++;
    return &lane->notes[*position % HANDOFF_NOTES];
}

bool handoff_has_lost(struct lanes *lanes, uint32_t from)
{
    uint32_t lost = atomic_load_explicit(&lane_from(lanes, from)->lost, memory_order_acquire);
    bool is_new = lost != lanes->ends[from].lost_seen;

    lanes->ends[from].lost_seen = lost;
    return is_new;
}

void handoff_finish(struct lanes *lanes, uint32_t from, uint64_t position)
{
    lanes->ends[from].is_done[position % HANDOFF_NOTES] = 1;
    lanes->to_report |= (uint16_t)(1u << from);
}

/* ---- both ---- */

void packet_release(struct lanes *lanes, struct packet *packet)
{
    if (--packet->holds > 0)
        return;
    if (packet->lane != PACKET_OWN)
        handoff_finish(lanes, packet->lane, packet->position);
    else if (packet->verdict != VERDICT_PENDING)
        lanes->turn->verdicts[packet->verdict]++;
    pool_give(lanes->pool, packet);
}

static void report_finished(struct lanes *lanes, uint32_t from)
{
    struct lane_ends *ends = &lanes->ends[from];
    uint64_t before = ends->finished;

    while (ends->finished != ends->taken && ends->is_done[ends->finished % HANDOFF_NOTES])
        ends->is_done[ends->finished++ % HANDOFF_NOTES] = 0;
    if (ends->finished != before)
        atomic_store_explicit(&lane_from(lanes, from)->finished, ends->finished,
                              memory_order_release);
}

static void take_back_packets(struct lanes *lanes, uint32_t to)
{
    struct lane_ends *ends = &lanes->ends[to];
    struct handoff_lane *lane = lane_to(lanes, to);
    uint64_t finished = atomic_load_explicit(&lane->finished, memory_order_acquire);

    for (; ends->taken_back != finished; ends->taken_back++) {
        const struct handoff_note *note = &lane->notes[ends->taken_back % HANDOFF_NOTES];

        if (note->kind == HANDOFF_packet || note->kind == HANDOFF_report)
            packet_release(lanes, &lanes->pool->packets[note->packet]);
    }
}

void handoff_take_back(struct lanes *lanes)
{
    for (uint32_t bits = lanes->to_report; bits; bits &= bits - 1)
        report_finished(lanes, (uint32_t)__builtin_ctz(bits));
    lanes->to_report = 0;
    for (uint32_t to = 0; to < lanes->worker_count; to++)
        if (lanes->ends[to].taken_back != lanes->ends[to].sent)
            take_back_packets(lanes, to);
}

bool handoff_may_sleep(struct lanes *lanes)
{
    if (lanes->worker_count == 0)
        return true;
    atomic_store_explicit(&lanes->shared->workers[lanes->worker].asleep, true,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* see handoff_publish */
    for (uint32_t from = 0; from < lanes->worker_count; from++)
        if (atomic_load_explicit(&lane_from(lanes, from)->published, memory_order_relaxed) !=
            lanes->ends[from].taken) {
            handoff_awake(lanes);
            return false;
        }
    return true;
}

void handoff_awake(struct lanes *lanes)
{
    if (lanes->worker_count)
        atomic_store_explicit(&lanes->shared->workers[lanes->worker].asleep, false,
                              memory_order_relaxed);
}
