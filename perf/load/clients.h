/* The clients of a run: opening and closing them, at the server (signaling) and on the media
 * thread.
 *
 *   run ─► room ─► publications
 *            └──── client: one endpoint that publishes streams or receives those of its room
 *
 * Threads: the signaling thread. Memory: struct run owns rooms and clients.
 * Errors:  false with a sentence in run->why. */
#ifndef RINGCAST_LOAD_CLIENTS_H
#define RINGCAST_LOAD_CLIENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "target.h"

struct endpoint;
struct media;
struct options;

/* A stream that a client publishes and others can receive. */
struct publication {
    char id[TARGET_ID_ROOM];
    uint32_t sender; /* of the lowest encoding; the others follow it */
    uint8_t kind, encodings;
};

struct room {
    struct target_room *handle;
    struct publication *publications;
    unsigned publication_count;
};

struct client {
    struct room *room;
    struct target_member *member;
    struct target_endpoint *handle; /* at the server; NULL: closed */
    struct endpoint *endpoint;      /* on the media thread */
    /* The entries of room->publications that belong to this participant: a publisher fills them in,
     * a subscriber does not receive them. */
    unsigned own_first, own_count;
    uint64_t resume_asked_ns; /* when the server was last told to let its streams flow */
};

struct run {
    const struct options *options;
    const struct target_type *type;
    struct target *target;
    struct media *media;
    const char *fingerprint;
    const volatile int *interrupted;
    struct room *rooms;
    unsigned room_count;
    struct client *publishers, *subscribers; /* a participant has the same index in both */
    unsigned publisher_count, subscriber_count;
    uint32_t next_endpoint, next_sender, open_count;
    uint64_t next_begin_ns; /* --ramp: when the next client may begin */
    char *why;
};

uint64_t run_random(void);
/* Lets the signaling thread serve the server for `ms`, or until a moment. False: the run must
 * end. */
bool run_service(struct run *run, int ms);
bool run_service_until(struct run *run, uint64_t when_ns);

bool room_open(struct run *run, struct room *room, unsigned publications);

/* Each waits until one more client may connect (--ramp, --pending-max). */
bool publisher_open(struct run *run, struct client *client);
bool subscriber_open(struct run *run, struct client *client); /* receives everything in its room */
bool idle_client_open(struct run *run, struct client *client);
/* Lets a subscriber also receive publications [first, first + count) of its room, except its
 * own. */
bool subscriber_add(struct run *run, struct client *client, unsigned first, unsigned count);
void client_close(struct run *run, struct client *client);

#endif
