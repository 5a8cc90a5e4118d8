/* Which layers the consumers of layered producers get. */
#include "layers.h"

#include "src/clock.h"
#include "turn.h"

/* Sender reports of two encodings agree about the clock to some milliseconds. When they differ from what
 * the arrival times say by more than this, one of the clocks has jumped. */
#define CLOCKS_DIFFER_SECONDS 1

/* ---- choice ---- */

static int highest_bit(unsigned bits)
{
    return bits ? 31 - __builtin_clz(bits) : -1;
}

/* LAYER_NONE, which is the default, means the best one. */
static unsigned bits_up_to(uint8_t layer)
{
    return layer >= 31 ? ~0u : (2u << layer) - 1;
}

static uint8_t at_most(uint8_t layer, int highest)
{
    return highest >= 0 && layer > highest ? (uint8_t)highest : layer;
}

void layers_choose(struct consumers *cs, struct consumer *c)
{
    struct consumer_details *d = &cs->details[c->index];
    struct selection *s = &cs->selections[c->index];
    struct producer *p = c->producer;
    unsigned alive = producer_alive(cs->producers, p);
    uint8_t encoding = 0, spatial = 0;
    int best;

    if (!c->is_layered)
        return;
    if (p->type == PRODUCER_TYPE_simulcast) {
        best = highest_bit(alive & bits_up_to(d->preferred_spatial_layer));
        if (best < 0) /* all that is alive is above the preferred one, or nothing is */
            best = alive ? __builtin_ctz(alive) : c->target;
        encoding = (uint8_t)best;
    } else {
        spatial = at_most(d->preferred_spatial_layer, producer_highest_spatial(p));
    }
    if (s->encoding == encoding && s->spatial == spatial &&
        s->temporal == d->preferred_temporal_layer && c->target == encoding)
        return;
    s->encoding = encoding;
    s->spatial = spatial;
    s->temporal = d->preferred_temporal_layer;
    c->target = encoding;
    consumer_update_wants(cs, c);
    if (layers_wait_for_key_frame(cs, c))
        consumer_need_key_frame(cs, c);
}

bool layers_wait_for_key_frame(const struct consumers *cs, const struct consumer *c)
{
    const struct selection *s = &cs->selections[c->index];
    const struct producer *p = c->producer;

    if (!c->synchronised || c->encoding != c->target)
        return true;
    if (s->spatial == LAYER_NONE || s->spatial == s->limits.spatial)
        return false;
    return s->spatial > s->limits.spatial || p->dependency[c->encoding] != LAYER_DEPENDENCY_full;
}

/* ---- a new stream ---- */

/* What to add to the time stamps of another stream, so that they go on on the clock of the one before:
 * by the sender reports of both, else by the time since the last packet. */
static uint32_t timestamp_offset(const struct consumer *c, const struct packet *packet)
{
    const struct producer *p = c->producer;
    const struct encoding *from = &p->encodings[c->encoding], *to = &p->encodings[packet->encoding];
    uint32_t rate = p->clock_rate[packet->codec], by_arrival, by_reports;
    int64_t between; /* their reports, 32.32 s */
    int32_t difference;

    by_arrival =
        c->last_timestamp + (uint32_t)layers_ticks_since(c, packet, rate) - packet->view.timestamp;
    if (!from->has_sr || !to->has_sr || from->source != c->source || to->source != packet->source)
        return by_arrival;
    between = (int64_t)(to->sr_ntp - from->sr_ntp);
    by_reports = c->timestamp_offset + from->sr_timestamp - to->sr_timestamp +
                 (uint32_t)(int64_t)((__int128_t)between * rate >> 32);
    difference = (int32_t)(by_reports - by_arrival);
    return difference > (int32_t)rate * CLOCKS_DIFFER_SECONDS ||
                   difference < -(int32_t)rate * CLOCKS_DIFFER_SECONDS
               ? by_arrival
               : by_reports;
}

void layers_start(struct consumers *cs, struct consumer *c, const struct packet *packet)
{
    const struct selection_packet p = layers_packet(c->producer, packet);
    uint32_t offset = 0, floor = packet->view.timestamp - 1;

    if (c->has_sent) {
        offset = c->source == packet->source ? c->timestamp_offset : timestamp_offset(c, packet);
        floor = c->last_timestamp;
    }
    selection_start(&cs->selections[c->index], &p, srtp_sent_next(&c->sent), offset, floor);
    c->timestamp_offset = offset;
    c->encoding = packet->encoding;
    c->source = packet->source;
    c->synchronised = true;
    cs->details[c->index].live_from = 0;
    consumer_update_wants(cs, c);
}

/* ---- what is known outside ---- */

void layers_present(const struct consumers *cs, const struct consumer *c, uint8_t *spatial,
                    uint8_t *temporal)
{
    const struct selection *s = &cs->selections[c->index];
    const struct producer *p = c->producer;

    *spatial = *temporal = LAYER_NONE;
    if (!c->synchronised || c->paused || p->paused)
        return;
    *spatial = c->encoding;
    *temporal = 0;
    if (!c->is_layered)
        return;
    if (p->type != PRODUCER_TYPE_simulcast)
        *spatial = at_most(s->limits.spatial, producer_highest_spatial(p));
    *temporal = at_most(s->limits.temporal, p->temporal_seen[c->encoding]);
}

void layers_note(struct consumers *cs, struct consumer *c)
{
    struct consumer_details *d = &cs->details[c->index];
    uint8_t spatial, temporal;

    layers_present(cs, c, &spatial, &temporal);
    if (spatial == d->published_spatial_layer && temporal == d->published_temporal_layer)
        return;
    d->published_spatial_layer = spatial;
    d->published_temporal_layer = temporal;
    consumer_publish_layers(cs, d);
}
