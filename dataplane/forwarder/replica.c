/* Producers of other workers that consumers here take from: made on demand from the row, fed by
 * handoff.c, gone with the last consumer. And at their home: who is the replica_workers. */
#include <string.h>

#include "worker.h"

/* ---- where the consumers are ---- */

static _Atomic uint32_t *wanted_word(struct worker *w, uint32_t worker, uint32_t producer)
{
    return &w->config.handoff->wanted[worker][producer];
}

void replica_want(struct worker *w, const struct producer *p)
{
    atomic_store_explicit(wanted_word(w, w->config.index, p->index), p->generation,
                          memory_order_release);
    handoff_wanted(w, p);
}

void replica_unwant(struct worker *w, const struct producer *p)
{
    atomic_store_explicit(wanted_word(w, w->config.index, p->index), 0, memory_order_release);
    handoff_wanted(w, p);
}

/* The worker that a producer's transport lives on, WORKERS_MAX when that cannot be said (now). */
static uint32_t home_of(struct worker *w, const struct producer_row *row)
{
    struct transport_row transport;
    uint32_t index = handle_index(row->transport), home = WORKERS_MAX;

    if (index < TRANSPORTS_MAX &&
        row_copy(TABLE_transport, &transport, region_row(w->config.desired, TABLE_transport, index),
                 handle_generation(row->transport)) == ROW_OK)
        home = transport.worker;
    explicit_bzero(&transport, sizeof(transport)); /* it held an ICE password */
    return home;
}

static struct producer *replica_make(struct worker *w, uint32_t index, uint32_t generation)
{
    struct producer *p = &w->objects.producers[index];
    struct producer_row row;
    uint32_t home;

    switch (row_copy(TABLE_producer, &row, region_row(w->config.desired, TABLE_producer, index),
                     generation)) {
    case ROW_OK:
        break;
    case ROW_TORN:
        rescan_start(w); /* its writer is inside: nobody tells us again, so look again */
        return NULL;
    default:
        return NULL;
    }
    home = home_of(w, &row);
    if (home >= w->peer_count || home == w->config.index)
        return NULL;
    producer_fill(p, index, &row);
    p->is_replica = true;
    p->home = (uint8_t)home;
    replica_want(w, p);
    return p;
}

struct producer *producer_or_replica(struct worker *w, handle_word handle)
{
    uint32_t index = handle_index(handle), generation = handle_generation(handle);
    struct producer *p = index < PRODUCERS_MAX ? &w->objects.producers[index] : NULL;

    if (!p || generation == 0)
        return NULL;
    if (p->generation == generation)
        return p->is_leaving ? NULL : p;
    if (p->generation) /* of an earlier life of this index */
        producer_replace(w, p);
    return replica_make(w, index, generation);
}

void replica_drop_unused(struct worker *w, struct producer *p)
{
    if (!p->is_replica || p->is_leaving || p->consumers)
        return;
    replica_unwant(w, p);
    fan_out_forget(w, p);
    memset(p, 0, sizeof(*p));
}

void replica_count(struct worker *w, struct producer *p, const struct packet *packet)
{
    struct encoding *e = &p->encodings[packet->encoding];

    e->started = true;
    e->seen_ssrc = packet->view.ssrc;
    e->last_packet_ns = w->turn.now_ns;
    if (packet->is_key_frame)
        e->key_frame_wanted = false;
}

/* ---- at home ---- */

void replica_workers_update(struct worker *w, struct producer *p)
{
    uint16_t replica_workers = 0, added;

    for (uint32_t i = 0; i < w->peer_count; i++)
        if (i != w->config.index && atomic_load_explicit(wanted_word(w, i, p->index),
                                                         memory_order_acquire) == p->generation)
            replica_workers |= (uint16_t)(1u << i);
    added = replica_workers & (uint16_t)~p->replica_workers;
    p->replica_workers = replica_workers;
    handoff_report(w, p, added);
    /* The row may have changed between its look at it and now. */
    for (; added; added &= (uint16_t)(added - 1))
        handoff_send(w, (uint32_t)__builtin_ctz(added), HANDOFF_producer, p->index, p->generation,
                     0);
}

void replica_workers_want(struct worker *w, struct producer *p, const struct header_kind *typical)
{
    if (!p->consumers && typical->payload_type)
        p->typical = *typical;
    replica_workers_update(w, p);
}

void replica_workers_row_changed(struct worker *w, const struct producer *p)
{
    for (uint32_t bits = p->replica_workers; bits; bits &= bits - 1)
        handoff_send(w, (uint32_t)__builtin_ctz(bits), HANDOFF_producer, p->index, p->generation,
                     0);
}
