/* Scores of publishers' streams and of ours. */
#include "scores.h"

#include "consumer.h"
#include "producer.h"
#include "repair_out.h"
#include "src/clock.h"
#include "transport.h"
#include "turn.h"

#define VIDEO_SILENT_NS (1500 * NS_PER_MS)
#define AUDIO_SILENT_NS (5 * NS_PER_S)   /* with DTX, a pause in speech is no fault */
#define REPORT_SPAN_NS (400 * NS_PER_MS) /* report blocks that come sooner are not counted */

/* ---- of publishers ---- */

/* The score of an encoding that is silent is 0. True: it has just become silent, or has come back. */
static bool watch(const struct producer *p, struct encoding *e, uint64_t now_ns)
{
    uint64_t heard_ns = e->last_packet_ns > p->paused_ns ? e->last_packet_ns : p->paused_ns;
    uint64_t limit_ns = p->kind == MEDIA_KIND_audio ? AUDIO_SILENT_NS : VIDEO_SILENT_NS;
    bool silent = now_ns - heard_ns > limit_ns;

    if (!e->packets || e->is_silent == silent)
        return false;
    e->is_silent = silent;
    score_reset(&e->score, silent ? 0 : SCORE_BEST);
    return true;
}

void scores_watch(struct producers *ps, struct transport *t)
{
    for (struct producer *p = t->producers; p; p = p->next) {
        bool changed = false;

        if (p->paused)
            p->paused_ns = ps->turn->now_ns;
        for (int i = 0; i < p->encoding_count; i++)
            changed |= watch(p, &p->encodings[i], ps->turn->now_ns);
        if (changed)
            producer_publish_change(ps, p);
    }
}

/* True: the score has changed. */
static bool end_interval(struct encoding *e)
{
    const struct score_counts counts = {
        .packets = (uint32_t)e->packets,
        .lost = (uint32_t)(e->highest_index - e->first_index + 1 - e->packets),
        .repaired = e->packets_repaired,
        .repairs = e->packets_asked,
    };
    bool is_first = !e->score.before.packets;

    return e->started && !e->is_silent && (score_add(&e->score, &counts) || is_first);
}

void scores_add_interval(struct producers *ps, struct transport *t)
{
    for (struct producer *p = t->producers; p; p = p->next) {
        bool changed = false;

        for (int i = 0; i < p->encoding_count; i++)
            changed |= end_interval(&p->encodings[i]);
        if (changed)
            producer_publish_change(ps, p);
    }
}

/* ---- of subscribers ---- */

void scores_add_report(struct consumers *cs, struct consumer_details *d)
{
    const struct retransmission *again = &cs->repair_out->all[d->consumer->index];
    const struct score_counts counts = {
        .packets = (uint32_t)d->consumer->packets,
        .lost = (uint32_t)d->lost,
        .repaired = again->repaired,
        .repairs = again->packets,
    };

    if (cs->turn->now_ns - d->scored_ns < REPORT_SPAN_NS)
        return;
    d->scored_ns = cs->turn->now_ns;
    if (score_add(&d->score, &counts))
        consumer_publish_change(cs, d);
}
