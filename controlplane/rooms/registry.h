/* The object that holds all rooms of this process; private to controlplane/rooms.
 *
 *   rooms ──► room ──► participant ──► transport ──► producer ◄──┐
 *     │                     ▲    └────► transport ──► consumer ──┘
 *     └─────► session ──────┘
 *
 * An arrow from left to right is a list that the left object owns: freeing an object frees
 * everything to the right of it. A session is one connected socket. An absent participant has no
 * session. Each object has a header of its name.
 *
 * Threads: the loop's only. */
#ifndef RINGCAST_ROOMS_REGISTRY_H
#define RINGCAST_ROOMS_REGISTRY_H

#include <sys/queue.h>
#include <uv.h>

#include "errors.h"
#include "rooms.h"
#include "src/index.h"

#define TICK_MS 250 /* how often participants are removed, meetings saved and sessions verified */

struct rooms {
    /* What rooms use from other folders. */
    uv_loop_t *loop;
    const struct settings *settings;
    struct dataplane *dataplane;
    struct persistence *store;
    struct auth *auth;
    struct audit *audit;
    struct live *live; /* NULL: the live state is not copied anywhere */

    /* The rtpCapabilities of the router, the same for all rooms; as JSON and as text. */
    cJSON *capabilities;
    char *capabilities_text;

    struct index rooms_by_id, rooms_by_code, transports, producers, consumers;
    struct index holders, made_rooms_by_id; /* quota.h */
    TAILQ_HEAD(, holder) idle_holders;  /* without an owner; the one that is idle longest first */
    TAILQ_HEAD(, made_room) made_rooms; /* oldest first */
    TAILQ_HEAD(, room) all;
    TAILQ_HEAD(, session) sessions; /* ordered by verified_ms, oldest first */
    uint32_t session_count;
    TAILQ_HEAD(, participant) absent;
    TAILQ_HEAD(, room) measured;        /* rooms whose audio levels are being read */
    TAILQ_HEAD(, participant) outdated; /* the live state has an old description of these */
    TAILQ_HEAD(quality_list, quality) quality_due; /* their owners are told in the next ticks */
    struct transport *
        *transport_of_row; /* by index of the row in the desired table, like the next */
    struct producer **producer_of_row;
    struct consumer **consumer_of_row;

    uv_timer_t tick, audio_levels_tick;
    uint32_t references; /* timers and asynchronous steps in progress; at 0 the object is freed */
    bool closing, draining;
    /* The rooms that the last run left open are opened again, one after the other (restore.h). */
    bool restore_is_due;               /* the store can be asked for the next one */
    char restored_id[UUID_TEXT_BYTES]; /* the last one */
    uint32_t restored;

    uint64_t requests, refused_tokens, errors[ROOM_ERROR_COUNT]; /* for /metrics */
};

void rooms_ref(struct rooms *rooms);
void rooms_unref(struct rooms *rooms);

int64_t wall_ms(void); /* Unix time in milliseconds */
/* The 16 bytes of a UUID's text, as table rows hold them. */
void uuid_to_bytes(const char *text, uint8_t out[16]);

#endif
