/* Replicas of producers, and what notes between workers ask for. */
#include "replica.h"

#include <string.h>

#include "consumer.h"
#include "fanout.h"
#include "handoff.h"
#include "key_frames.h"
#include "producer.h"
#include "reconcile.h"
#include "repair_out.h"
#include "src/region.h"
#include "turn.h"

static _Atomic uint32_t *wanted_word(const struct replicas *rs, uint32_t worker, uint32_t producer)
{
    return &rs->lanes->shared->wanted[worker][producer];
}

static struct handoff_note note_about(enum handoff_kind kind, const struct producer *p)
{
    return (struct handoff_note){
        .kind = (uint8_t)kind, .producer = p->index, .generation = p->generation};
}

/* ---- at the replica ---- */

static void set_wanted(struct replicas *rs, const struct producer *p, uint32_t generation)
{
    struct handoff_note note = note_about(HANDOFF_wanted, p);

    note.typical = p->typical;
    atomic_store_explicit(&rs->lanes->shared->wanted_encodings[rs->lanes->worker][p->index],
                          p->wanted, memory_order_relaxed);
    atomic_store_explicit(wanted_word(rs, rs->lanes->worker, p->index), generation,
                          memory_order_release);
    handoff_send(rs->lanes, p->home, note);
}

void replica_request(struct replicas *rs, const struct producer *p)
{
    set_wanted(rs, p, p->generation);
}

void replica_release(struct replicas *rs, const struct producer *p)
{
    set_wanted(rs, p, 0);
}

unsigned replica_alive(const struct replicas *rs, const struct producer *p)
{
    return atomic_load_explicit(&rs->lanes->shared->alive[p->index], memory_order_relaxed);
}

void replica_request_key_frame(struct replicas *rs, const struct producer *p, uint8_t encoding)
{
    struct handoff_note note = note_about(HANDOFF_key_frame, p);

    note.encoding = encoding;
    handoff_send(rs->lanes, p->home, note);
}

/* The worker of a producer's transport; WORKERS_MAX: its row cannot be read now. */
static uint32_t home_of(const struct replicas *rs, const struct producer_row *row)
{
    struct transport_row transport;
    uint32_t index = handle_index(row->transport), home = WORKERS_MAX;

    if (index < TRANSPORTS_MAX &&
        row_copy(TABLE_transport, &transport, region_row(rs->desired, TABLE_transport, index),
                 handle_generation(row->transport)) == ROW_OK)
        home = transport.worker;
    explicit_bzero(&transport, sizeof(transport)); /* it held an ICE password */
    return home;
}

static struct producer *replica_add(struct replicas *rs, uint32_t index, uint32_t generation)
{
    struct producer *p = &rs->producers->all[index];
    struct producer_row row;
    uint32_t home;

    switch (row_copy(TABLE_producer, &row, region_row(rs->desired, TABLE_producer, index),
                     generation)) {
    case ROW_OK:
        break;
    case ROW_TORN: /* it is being written, and its writer sends the note to another worker */
        reconcile_start_rescan(rs->reconciler);
        return NULL;
    default:
        return NULL;
    }
    home = home_of(rs, &row);
    if (home >= rs->lanes->worker_count || home == rs->lanes->worker)
        return NULL;
    producer_fill(p, index, &row);
    p->is_replica = true;
    p->home = (uint8_t)home;
    replica_request(rs, p);
    return p;
}

static bool row_exists(const struct replicas *rs, uint32_t index, uint32_t generation)
{
    struct producer_row row;
    enum row_result result =
        row_copy(TABLE_producer, &row, region_row(rs->desired, TABLE_producer, index), generation);

    if (result == ROW_TORN)
        reconcile_start_rescan(rs->reconciler); /* its writer is inside, and sends us no note */
    return result == ROW_OK;
}

struct producer *producer_or_replica(struct replicas *rs, handle_word handle)
{
    uint32_t index = handle_index(handle), generation = handle_generation(handle);
    struct producer *p = index < PRODUCERS_MAX ? &rs->producers->all[index] : NULL;

    if (!p || generation == 0)
        return NULL;
    if (p->generation == generation)
        return p->is_leaving ? NULL : p;
    if (p->generation) { /* another producer, which had this index before; or the handle is wrong */
        if (!row_exists(rs, index, generation))
            return NULL;
        producer_remove_now(rs->producers, p);
    }
    return replica_add(rs, index, generation);
}

void replica_drop_unused(struct replicas *rs, struct producer *p)
{
    if (!p->is_replica || p->is_leaving || p->consumers)
        return;
    replica_release(rs, p);
    fan_out_forget(rs->fanout, p);
    memset(p, 0, sizeof(*p));
}

/* ---- at home ---- */

void replicas_update_workers(struct replicas *rs, struct producer *p)
{
    struct lanes *lanes = rs->lanes;
    uint16_t workers = 0, added;

    memset(p->workers_want, 0, sizeof(p->workers_want));
    for (uint32_t i = 0; i < lanes->worker_count; i++) {
        if (i == lanes->worker || atomic_load_explicit(wanted_word(rs, i, p->index),
                                                       memory_order_acquire) != p->generation)
            continue;
        workers |= (uint16_t)(1u << i);
        for (unsigned e = 0; e < ENCODINGS_MAX; e++)
            if (atomic_load_explicit(&lanes->shared->wanted_encodings[i][p->index],
                                     memory_order_relaxed) >>
                    e &
                1)
                p->workers_want[e] |= (uint16_t)(1u << i);
    }
    added = workers & (uint16_t)~p->replica_workers;
    p->replica_workers = workers;
    replicas_send_report(rs, p, added);
    /* The row may have changed after the replica read it: let the replica read it again. */
    for (; added; added &= (uint16_t)(added - 1))
        handoff_send(lanes, (uint32_t)__builtin_ctz(added), note_about(HANDOFF_row_changed, p));
}

void replicas_row_changed(struct replicas *rs, const struct producer *p)
{
    for (uint32_t bits = p->replica_workers; bits; bits &= bits - 1)
        handoff_send(rs->lanes, (uint32_t)__builtin_ctz(bits), note_about(HANDOFF_row_changed, p));
}

bool replicas_hand_over(struct replicas *rs, const struct producer *p, struct packet *packet)
{
    uint16_t workers = p->workers_want[packet->encoding];
    unsigned wanted = (unsigned)__builtin_popcount(workers);
    unsigned count = handoff_send_packet(rs->lanes, workers, note_about(HANDOFF_packet, p), packet);

    rs->turn->counters[COUNTER_handed] += count;
    rs->turn->counters[COUNTER_handoff_full] += wanted - count;
    return count > 0;
}

void replicas_share_alive(const struct replicas *rs, const struct producer *p, unsigned alive)
{
    if (rs->lanes->shared)
        atomic_store_explicit(&rs->lanes->shared->alive[p->index], (uint8_t)alive,
                              memory_order_relaxed);
}

void replicas_send_report(struct replicas *rs, const struct producer *p, uint16_t workers)
{
    struct packet *packet = workers ? pool_take(rs->pool) : NULL;
    struct handoff_report *report;

    if (!packet)
        return; /* the publisher's next report says it again */
    report = (struct handoff_report *)packet->room;
    *report = (struct handoff_report){.ntp_offset = p->ntp_offset, .owner = p->owner};
    for (int i = 0; i < p->encoding_count; i++) {
        report->has_sr[i] = p->encodings[i].has_sr;
        report->sr_ntp[i] = p->encodings[i].sr_ntp;
        report->sr_timestamp[i] = p->encodings[i].sr_timestamp;
    }
    packet->holds = 0;
    packet->lane = PACKET_OWN;
    packet->verdict = VERDICT_PENDING; /* we did not receive it, so it is not counted */
    if (handoff_send_packet(rs->lanes, workers, note_about(HANDOFF_report, p), packet) == 0)
        pool_give(rs->pool, packet);
}

/* ---- notes of other workers ---- */

/* Our producer has the packets of another object now, because a row came again as it was. What waits
 * is from the old one, and nothing of it is sent again. */
static void change_owner(struct replicas *rs, struct producer *p, uint32_t owner)
{
    if (p->owner) {
        fan_out_forget(rs->fanout, p);
        for (const struct consumer *c = p->consumers; c; c = c->next_of_producer)
            repair_out_close_past(rs->repair_out, c);
    }
    p->owner = owner;
}

/* False: nobody here needs the packet. */
static bool take_packet(struct replicas *rs, uint32_t from, uint64_t position,
                        const struct packet *theirs, struct producer *p)
{
    struct encoding *e = &p->encodings[theirs->encoding];
    struct packet *packet;

    if (p->owner != theirs->owner)
        change_owner(rs, p, theirs->owner);
    if (e->source != theirs->source)
        e->has_sr = false; /* until the publisher reports about this stream */
    e->started = true;
    e->source = theirs->source;
    e->seen_ssrc = theirs->view.ssrc;
    e->last_packet_ns = rs->turn->now_ns;
    if (theirs->is_key_frame)
        e->key_frame_wanted = false;
    if (producer_is_layered(p))
        producer_note_layer(p, theirs->encoding, &theirs->layer, rs->turn->now_ns);
    if (!p->consumers)
        return false;
    packet = pool_take(rs->pool);
    if (!packet) {
        rs->turn->counters[COUNTER_handoff_full]++;
        return false;
    }
    memcpy(packet, theirs, offsetof(struct packet, next)); /* the half that does not change */
    packet->holds = 1;
    packet->lane = (uint8_t)from;
    packet->position = position;
    packet_headers_clear(packet);
    if (fan_out_queue(rs->fanout, p, packet))
        return true;
    rs->turn->counters[COUNTER_handoff_full]++;
    pool_give(rs->pool, packet);
    return false;
}

static void take_report(struct replicas *rs, struct producer *p, const struct packet *theirs)
{
    const struct handoff_report *report = (const struct handoff_report *)theirs->room;

    if (p->owner != report->owner)
        change_owner(rs, p, report->owner);
    p->ntp_offset = report->ntp_offset;
    for (int i = 0; i < p->encoding_count; i++) {
        p->encodings[i].has_sr = report->has_sr[i];
        p->encodings[i].sr_ntp = report->sr_ntp[i];
        p->encodings[i].sr_timestamp = report->sr_timestamp[i];
    }
}

/* A worker made a replica of p, or gave one up, or its consumers there changed. */
static void take_wanted(struct replicas *rs, struct producer *p, const struct header_kind *typical)
{
    if (!p->consumers && typical->payload_type)
        p->typical = *typical;
    replicas_update_workers(rs, p);
}

/* True: the packet of the note is in use, and packet_release will finish the note. */
static bool act(struct replicas *rs, uint32_t from, uint64_t position,
                const struct handoff_note *note)
{
    struct producer *p = &rs->producers->all[note->producer];
    /* Otherwise the producer came or left meanwhile. Queue nothing for one that is leaving: it
     * would be removed while it still holds packets of the other worker. */
    bool is_same = p->generation == note->generation && !p->is_leaving;
    bool is_replica = is_same && p->is_replica, is_home = is_same && !p->is_replica;

    switch ((enum handoff_kind)note->kind) {
    case HANDOFF_packet:
        return is_replica &&
               take_packet(rs, from, position, handoff_packet(rs->lanes, from, note), p);
    case HANDOFF_report:
        if (is_replica)
            take_report(rs, p, handoff_packet(rs->lanes, from, note));
        break;
    case HANDOFF_row_changed:
        reconcile_producer(rs->reconciler, note->producer);
        break;
    case HANDOFF_wanted:
        if (is_home)
            take_wanted(rs, p, &note->typical);
        else /* not created yet, or gone: its row tells which */
            handoff_send(rs->lanes, from,
                         (struct handoff_note){.kind = HANDOFF_row_changed,
                                               .producer = note->producer,
                                               .generation = note->generation});
        break;
    case HANDOFF_key_frame:
        if (is_home)
            key_frame_request(rs->key_frames, p, note->encoding);
        break;
    }
    return false;
}

bool replicas_receive(struct replicas *rs)
{
    struct lanes *lanes = rs->lanes;
    const struct handoff_note *note;
    uint64_t position;
    bool any = false;

    for (uint32_t from = 0; from < lanes->worker_count; from++) {
        if (handoff_has_lost(lanes, from))
            reconcile_start_rescan(rs->reconciler);
        for (unsigned n = 0; n < HANDOFF_NOTES_PER_TURN; n++) {
            note = handoff_take(lanes, from, &position);
            if (!note)
                break;
            if (!act(rs, from, position, note))
                handoff_finish(lanes, from, position);
            any = true;
        }
    }
    return any;
}
