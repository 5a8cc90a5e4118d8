/* A transport: one WebRTC connection of a participant, for sending or for receiving. */
#ifndef RINGCAST_ROOMS_TRANSPORT_H
#define RINGCAST_ROOMS_TRANSPORT_H

#include <sys/queue.h>

#include "controlplane/people/persistence.h"
#include "src/index.h"
#include "src/tables.h"

struct participant;
struct rooms;

struct transport {
    char id[UUID_TEXT_BYTES];
    struct index_node by_id;
    struct participant *owner;
    struct transport_row row; /* as it is in the desired table */
    handle_word handle;
    char cname[CNAME_ROOM]; /* of all its producers; "" until the first one */
    uint32_t next_mid, next_ssrc,
        consumer_count; /* of consumers; next_ssrc 0: random, there was none */
    uint8_t announced_ice_state, announced_dtls_state;
    TAILQ_HEAD(, producer) producers;
    TAILQ_HEAD(, consumer) consumers;
    TAILQ_ENTRY(transport) link;
};

struct transport *transport_find(struct rooms *rooms, const char *id);
/* NULL: the data plane is down, or there is no memory or row left. */
struct transport *transport_new(struct participant *owner, enum direction direction);
/* Closes it with its producers and consumers. announced: the other participants are told. */
void transport_close(struct transport *transport, bool announced);
/* Closes all transports of a participant: consumers first, then producers, then transports. */
void transports_close_all(struct participant *owner, bool announced);

/* The data plane changed the state row with this handle: tells the owner, closes what failed. */
void transport_state_changed(struct rooms *rooms, handle_word handle);
/* The data plane started, perhaps with new regions: closes transports whose rows are gone. */
void transports_check_all(struct rooms *rooms);

const char *direction_text(const struct transport *transport);

#endif
