/* Start, stop and sums of a measurement. */
#include "measurement.h"

#include <string.h>

#include "endpoint.h"
#include "media.h"
#include "net.h"
#include "options.h"
#include "receiver.h"
#include "senders.h"
#include "src/clock.h"

static uint64_t process_cpu_ns(void)
{
    return clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static uint64_t thread_cpu_ns(void)
{
    return clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void visit_receivers(struct media *media,
                            void (*visit)(struct media *media, struct receiver *r))
{
    for (uint32_t i = 0; i < media->endpoint_count; i++) {
        struct endpoint *e = media->endpoints[i];

        for (unsigned k = 0; e && k < e->receiver_count; k++)
            visit(media, e->receivers[k]);
    }
}

static void start_receiver(struct media *media, struct receiver *r)
{
    const struct sender *s = media->senders[r->stream];

    uint32_t first = s ? s->measured_from : 0;

    if (r->is_layered && r->loss.started) /* its numbers are the server's, see receiver.h */
        first = r->loss.highest + 1;
    loss_counter_start(&r->loss, first, !r->loss.started);
}

static void stop_receiver(struct media *media, struct receiver *r)
{
    const struct sender *s = media->senders[r->stream];

    if (s && s->running && !r->is_layered)
        loss_counter_stop(&r->loss, s->measured_to);
    else /* the sender left early: packets after the latest one are not the server's loss */
        loss_counter_stop_at_highest(&r->loss);
}

/* Only those of the window; the others cover the whole run. */
static void reset_counts(struct media_counts *c)
{
    c->rtp_received = c->rtp_received_bytes = c->rtp_sent = c->rtp_sent_bytes = 0;
    c->injected_send_loss = c->injected_send_reorder = 0;
    c->injected_loss = c->injected_duplicate = c->injected_corrupt = c->injected_scramble = 0;
    c->unauthentic = c->replayed = c->malformed = c->corrupt = c->foreign = c->misrouted = 0;
}

void measurement_start(struct media *media, void *unused)
{
    struct measurement *m = &media->measurement;

    for (uint32_t i = 0; i < media->sender_count; i++)
        if (media->senders[i]) {
            media->senders[i]->measured_from = media->senders[i]->next_number;
            media->senders[i]->not_sent = 0;
        }
    reset_counts(&m->counts);
    memset(m->sums, 0, sizeof(m->sums));
    for (int kind = 0; kind < 2; kind++)
        histogram_reset(&m->latency[kind]);
    for (unsigned i = 0; m->room_latency && i < media->options->rooms; i++)
        histogram_reset(&m->room_latency[i]);
    histogram_reset(&m->lateness);
    histogram_reset(&m->read_lag);
    visit_receivers(media, start_receiver);
    m->drops = net_drops(media->net);
    m->send_failed = net_counters(media->net)->send_failed;
    m->running = true;
    m->own_cpu_ns = thread_cpu_ns();
    m->own_process_cpu_ns = process_cpu_ns();
    m->began_ns = clock_monotonic_ns();
}

/* Packets that were sent before the stop may still arrive. Loss counters and latency count them, by
 * their numbers. */
void measurement_stop(struct media *media, void *unused)
{
    struct measurement *m = &media->measurement;

    m->ended_ns = clock_monotonic_ns();
    m->own_cpu_ns = thread_cpu_ns() - m->own_cpu_ns;
    m->own_process_cpu_ns = process_cpu_ns() - m->own_process_cpu_ns;
    m->running = false;
    for (uint32_t i = 0; i < media->sender_count; i++)
        if (media->senders[i])
            media->senders[i]->measured_to = media->senders[i]->next_number;
    visit_receivers(media, stop_receiver);
}

/* Ends the checks of this receiver. */
static void add_verified(struct verify_counts *sum, struct receiver *r)
{
    const struct verify_counts *c = verify_counts(r->verify);

    verify_end(r->verify);
    for (int i = 0; i < VIOLATION_COUNT; i++)
        sum->found[i] += c->found[i];
    sum->packets += c->packets;
    sum->pictures += c->pictures;
    sum->holes += c->holes;
    sum->empty += c->empty;
    sum->switches += c->switches;
    sum->after_hole += c->after_hole;
    verify_free(r->verify);
    r->verify = NULL;
}

void measurement_add_receiver(struct media *media, struct receiver *r)
{
    struct measurement *m = &media->measurement;
    struct media_sums *sums = &m->sums[r->kind];
    const struct sender *s = media->senders[r->stream];
    uint32_t expected = loss_counter_expected(&r->loss), lost = loss_counter_lost(&r->loss);

    m->gaps.lost += r->gaps.counts.lost;
    m->gaps.late += r->gaps.counts.late;
    m->gaps.repaired += r->gaps.counts.repaired;
    m->gaps.superseded += r->gaps.counts.superseded;
    m->gaps.never += r->gaps.counts.never;
    m->gaps_open += r->gaps.count;
    r->gaps.counts = (struct gap_counts){0}; /* so that they are added only once */
    if (r->verify)
        add_verified(&m->verify, r);
    if (!r->loss.measuring)
        return;
    sums->receivers++;
    sums->silent += !r->loss.started;
    sums->expected += expected;
    sums->received += r->loss.received;
    sums->lost += lost;
    sums->duplicates += r->loss.duplicates;
    sums->reordered += r->loss.reordered;
    sums->ancient += r->loss.ancient;
    sums->with_loss += lost != 0;
    /* Exact for a receiver that was there the whole time. For others it is an upper bound. */
    if (s && !r->is_layered)
        sums->not_sent += s->not_sent < lost ? s->not_sent : lost;
    if (lost > sums->lost_worst)
        sums->lost_worst = lost;
    if (expected && (double)lost / expected > sums->loss_worst)
        sums->loss_worst = (double)lost / expected;
    if (r->loss.distance_max > sums->distance_max)
        sums->distance_max = r->loss.distance_max;
    r->loss.measuring = false; /* as above */
}

void measurement_sum(struct media *media, void *unused)
{
    struct measurement *m = &media->measurement;

    m->drops = net_drops(media->net) - m->drops;
    m->send_failed = net_counters(media->net)->send_failed - m->send_failed;
    visit_receivers(media, measurement_add_receiver);
}
