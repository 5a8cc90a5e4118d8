/* A consumer: one producer's stream on its way to one participant. */
#ifndef RINGCAST_ROOMS_CONSUMER_H
#define RINGCAST_ROOMS_CONSUMER_H

#include <sys/queue.h>

#include "controlplane/people/persistence.h"
#include "quality.h"
#include "src/index.h"
#include "src/tables.h"

#define CONSUMERS_PER_TRANSPORT_MAX 2048

struct producer;
struct rooms;
struct transport;

struct consumer {
    char id[UUID_TEXT_BYTES];
    struct index_node by_id;
    struct transport *transport; /* of the receiver */
    struct producer *producer;
    struct consumer_row row; /* as it is in the desired table */
    handle_word handle;
    struct quality quality;
    TAILQ_ENTRY(consumer) of_transport, of_producer;
};

struct consumer *consumer_find(struct rooms *rooms, const char *id);
/* Creates it paused. NULL: no memory, no row left, or the data plane is down. */
struct consumer *consumer_new(struct transport *transport, struct producer *producer,
                              const struct consumer_row *row);
/* These return false if the data plane does not take the change. */
bool consumer_set_paused(struct consumer *consumer, bool paused);
bool consumer_set_priority(struct consumer *consumer, uint8_t priority);
/* A layer above the highest counts as the highest. temporal: NULL for the highest. */
bool consumer_set_preferred_layers(struct consumer *consumer, double spatial,
                                   const double *temporal);

/* Whether its producer is simulcast or svc. */
bool consumer_has_layers(const struct consumer *consumer);
/* Of a consumer that has layers. */
void consumer_preferred_layers(const struct consumer *consumer, uint8_t *spatial,
                               uint8_t *temporal);
/* announced: the receiver is told. */
void consumer_close(struct consumer *consumer, bool announced);

#endif
