/* A measurement: which numbers of which streams belong to it, and what became of them. */
#include <stdio.h>
#include <string.h>

#include "media.h"
#include "src/clock.h"

static uint64_t process_cpu_ns(void)
{
    return clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static uint64_t thread_cpu_ns(void)
{
    return clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void for_receivers(struct media *media,
                          void (*visit)(struct media *media, struct receiver *r))
{
    for (uint32_t i = 0; i < media->endpoint_count; i++) {
        struct endpoint *e = media->endpoints[i];

        for (unsigned k = 0; e && k < e->receiver_count; k++)
            visit(media, e->receivers[k]);
    }
}

static void receiver_open(struct media *media, struct receiver *r)
{
    const struct sender *s = media->senders[r->stream];

    loss_counter_start(&r->loss, s ? s->window_from : 0, !r->loss.started);
}

static void receiver_close(struct media *media, struct receiver *r)
{
    const struct sender *s = media->senders[r->stream];

    if (s && s->running)
        loss_counter_stop(&r->loss, s->window_to);
    else /* it left: how far it came is not for us to blame on the server */
        loss_counter_stop_at_highest(&r->loss);
}

/* Counts that belong to the window begin anew; the others are of the whole run. */
static void counts_open(struct media_counts *c)
{
    c->rtp_received = c->rtp_received_bytes = c->rtp_sent = c->rtp_sent_bytes = 0;
    c->unauthentic = c->replayed = c->malformed = c->corrupt = c->foreign = c->misrouted = 0;
}

void measurement_start(struct media *media, void *unused)
{
    for (uint32_t i = 0; i < media->sender_count; i++)
        if (media->senders[i]) {
            media->senders[i]->window_from = media->senders[i]->number;
            media->senders[i]->not_sent = 0;
        }
    counts_open(&media->counts);
    memset(media->sums, 0, sizeof(media->sums));
    for (int kind = 0; kind < 2; kind++)
        histogram_reset(&media->latency[kind]);
    for (unsigned i = 0; media->room_latency && i < media->options->rooms; i++)
        histogram_reset(&media->room_latency[i]);
    histogram_reset(&media->lateness);
    histogram_reset(&media->read_lag);
    for_receivers(media, receiver_open);
    media->drops = net_drops(media->net);
    media->send_failed = net_counters(media->net)->send_failed;
    media->measuring = true;
    media->own_cpu_ns = thread_cpu_ns();
    media->own_process_cpu_ns = process_cpu_ns();
    media->window_began_ns = clock_monotonic_ns();
}

/* The window is closed for what is sent; what was sent in it may still come for a while: trackers
 * and latency know by number, only counts by wall time end here. */
void measurement_stop(struct media *media, void *unused)
{
    media->window_ended_ns = clock_monotonic_ns();
    media->own_cpu_ns = thread_cpu_ns() - media->own_cpu_ns;
    media->own_process_cpu_ns = process_cpu_ns() - media->own_process_cpu_ns;
    media->measuring = false;
    for (uint32_t i = 0; i < media->sender_count; i++)
        if (media->senders[i])
            media->senders[i]->window_to = media->senders[i]->number;
    for_receivers(media, receiver_close);
}

void receiver_sum(struct media *media, struct receiver *r)
{
    struct media_sums *sums = &media->sums[r->kind];
    uint32_t expected = loss_counter_expected(&r->loss), lost = loss_counter_lost(&r->loss);

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
    /* Of one who was there all the time exact, of others at most what it lost. */
    if (media->senders[r->stream])
        sums->not_sent +=
            media->senders[r->stream]->not_sent < lost ? media->senders[r->stream]->not_sent : lost;
    if (lost > sums->lost_worst)
        sums->lost_worst = lost;
    if (expected && (double)lost / expected > sums->loss_worst)
        sums->loss_worst = (double)lost / expected;
    if (r->loss.distance_max > sums->distance_max)
        sums->distance_max = r->loss.distance_max;
    r->loss.measuring = false; /* counted */
}

void measurement_sum(struct media *media, void *unused)
{
    media->drops = net_drops(media->net) - media->drops;
    media->send_failed = net_counters(media->net)->send_failed - media->send_failed;
    for_receivers(media, receiver_sum);
}

static bool flows(const struct receiver *r)
{
    return r->loss.started && r->decodable;
}

void media_progress(struct media *media, void *argument)
{
    struct media_progress *progress = argument;

    *progress = (struct media_progress){.connected = atomic_load(&media->connected),
                                        .failed = atomic_load(&media->failed),
                                        .last_counted_ns = media->last_counted_ns};
    snprintf(progress->failure, sizeof(progress->failure), "%s", media->failure);
    for (uint32_t i = 0; i < media->endpoint_count; i++) {
        struct endpoint *e = media->endpoints[i];

        if (!e)
            continue;
        progress->endpoints++;
        progress->receivers += e->receiver_count;
        for (unsigned k = 0; k < e->receiver_count; k++)
            progress->flowing += flows(e->receivers[k]);
    }
}
