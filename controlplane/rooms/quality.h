/* What the data plane says about streams while they flow: the layers that a consumer gets, and the
 * scores of producers and consumers. Owners are told with media:layersChanged and media:score.
 *
 *   row of the data plane changed ─► quality_changed ─► is it what the owner knows? ─┬─► told now
 *                                                          quality_tick ◄─ due list ─┘
 *
 * Limits:  about one object, layers are told at most every 250 ms and scores once a second, always the
 *          newest; at most QUALITY_PER_TICK scores in one tick.
 * Threads: the loop's only. */
#ifndef RINGCAST_ROOMS_QUALITY_H
#define RINGCAST_ROOMS_QUALITY_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "src/tables.h"

#define QUALITY_PER_TICK 512

struct consumer;
struct producer;
struct rooms;
struct transport;

#define SCORE_NONE 255 /* the producer has sent nothing of this encoding */
struct scores {
    uint8_t own;                      /* of a consumer: how well our stream reaches it */
    uint8_t forwarded;                /* of a consumer: the score of the encoding that it gets */
    uint8_t encodings[ENCODINGS_MAX]; /* of the producer; SCORE_NONE possible */
};

/* Belongs to one producer or to one consumer. */
struct quality {
    struct producer *producer; /* one of the two is NULL */
    struct consumer *consumer;
    /* what the owner knows */
    uint8_t spatial_layer, temporal_layer; /* LAYER_NONE: nothing is forwarded */
    struct scores scores;
    uint64_t layers_told_ms, scores_told_ms; /* loop time */
    bool is_due;                             /* linked by due_link */
    TAILQ_ENTRY(quality) due_link;
};

/* The object has its row in the desired table. */
void quality_begin_producer(struct producer *producer);
void quality_begin_consumer(struct consumer *consumer);
/* The object goes. */
void quality_end_producer(struct producer *producer);
void quality_end_consumer(struct consumer *consumer);

/* A row of producer_state or consumer_state changed. */
void quality_changed(struct rooms *rooms, enum table_id table, handle_word handle);
/* The same for all that this transport sends or receives: events may be lost. */
void quality_check_transport(struct transport *transport);
/* Tells what had to wait. */
void quality_tick(struct rooms *rooms);

/* {spatialLayer, temporalLayer} as the owner knows them; null: nothing is forwarded, or the stream has
 * no layers. */
cJSON *current_layers_json(const struct consumer *consumer);
/* {spatialLayer, temporalLayer}; null: the stream has no layers. */
cJSON *preferred_layers_json(const struct consumer *consumer);
/* {score, producerScore, producerScores} */
cJSON *consumer_score_json(const struct consumer *consumer);

#endif
