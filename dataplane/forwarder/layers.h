/* Which layers the consumers of layered producers get (simulcast, SVC).
 *
 *   preferred layers (row) ─► layers_choose ─► wanted layers of struct selection
 *   fan-out ─► layers_start, selection_add     ─► what leaves
 *           ─► layers_note                     ─► the row, and an event for the control plane
 *
 * A layer that the publisher does not send now is not chosen: the next lower one is.
 *
 * Threads: the worker's. Memory: struct selection at the consumer's index, see consumer.h. */
#ifndef RINGCAST_LAYERS_H
#define RINGCAST_LAYERS_H

#include "consumer.h"
#include "dataplane/engines/quality/selection.h"
#include "producer.h"
#include "src/clock.h"

struct turn;

/* Chooses the wanted layers anew: the row or what the publisher sends may have changed. */
void layers_choose(struct consumers *cs, struct consumer *c);

/* Does this consumer wait for a key frame of its producer? */
bool layers_wait_for_key_frame(const struct consumers *cs, const struct consumer *c);

/* The consumer follows the stream of this packet from now on. */
void layers_start(struct consumers *cs, struct consumer *c, const struct packet *packet);

/* Tells the control plane when other layers are forwarded than before. */
void layers_note(struct consumers *cs, struct consumer *c);

/* What is forwarded now; LAYER_NONE: nothing. */
void layers_present(const struct consumers *cs, const struct consumer *c, uint8_t *spatial,
                    uint8_t *temporal);

/* From the packet that this consumer was sent last to the arrival of another one, in time-stamp units. A
 * packet out of the history may have arrived before. */
static inline int32_t layers_ticks_since(const struct consumer *c, const struct packet *packet,
                                         uint32_t clock_rate)
{
    int64_t ns = (int64_t)(packet->arrived_ns - c->last_sent_ns);

    return (int32_t)((__int128_t)ns * clock_rate / (int64_t)NS_PER_S);
}

static inline struct selection_packet layers_packet(const struct producer *p,
                                                    const struct packet *packet)
{
    return (struct selection_packet){.layer = &packet->layer,
                                     .targets = &packet->targets,
                                     .index = packet->index,
                                     .timestamp = packet->view.timestamp,
                                     .encoding = packet->encoding,
                                     .source = packet->source,
                                     .codec = p->codec[packet->codec],
                                     .dependency = p->dependency[packet->encoding],
                                     .marker = packet->view.marker};
}

#endif
