/* A producer: one audio or video stream that a participant sends. */
#ifndef RINGCAST_ROOMS_PRODUCER_H
#define RINGCAST_ROOMS_PRODUCER_H

#include <sys/queue.h>

#include "controlplane/ortc/ortc.h"
#include "controlplane/people/persistence.h"
#include "quality.h"
#include "speaker.h"
#include "src/index.h"

#define PRODUCERS_PER_PARTICIPANT_MAX 32

struct participant;
struct rooms;
struct transport;

struct producer {
    char id[UUID_TEXT_BYTES];
    struct index_node by_id;
    struct transport *transport;
    struct ortc_producer ortc; /* ortc.row: as it is in the desired table */
    handle_word handle;
    char *app_data; /* JSON text */
    uint32_t app_data_bytes;
    struct quality quality;

    bool is_measured; /* linked by measured_link; only then the next four are kept up to date */
    struct speaker speaker;
    uint32_t next_interval; /* the first one that the speaker has not heard */
    double power;           /* sum over the intervals since the last volumes were sent */
    uint32_t intervals;     /* number of intervals in `power` */
    TAILQ_ENTRY(producer) measured_link;

    TAILQ_HEAD(, consumer) consumers;
    TAILQ_ENTRY(producer) link;
};

struct producer *producer_find(struct rooms *rooms, const char *id);
/* Adds a producer, whose row is already in the table, to the lists of its transport. */
void producer_insert(struct producer *producer);
/* False: the data plane does not take the change. */
bool producer_set_paused(struct producer *producer, bool paused);
/* Pauses all audio that a participant sends, as far as the data plane takes the change. */
void producers_pause_audio(struct participant *owner);
/* Closes it with its consumers. announced: the other participants are told. */
void producer_close(struct producer *producer, bool announced);
/* Frees a producer that is in no list. NULL is allowed. */
void producer_free(struct producer *producer);

#endif
