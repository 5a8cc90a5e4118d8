/* Quotas: what one user, and one address with all its users, may have and how fast they may send,
 * over all sockets. Another socket, another CONNECT or another room renews nothing.
 *
 *   session, participant, new room ──► struct owner ──► holder of the user
 *                                                  └──► holder of the address (IPv6: its /64)
 *
 * A holder stays for one rate_limit_window_s after its last owner, so that its events still count.
 * Whoever takes gives back: a participant when it leaves or its grace time ends, a transport,
 * producer or consumer when it closes, a room when it closes or after a day.
 *
 * Threads: the loop's only. */
#ifndef RINGCAST_ROOMS_QUOTA_H
#define RINGCAST_ROOMS_QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "controlplane/people/uuid.h"
#include "src/index.h"

struct rooms;

/* Q(name, what, for a person: how to have one less) */
#define QUOTAS(Q)                                                         \
    Q(rooms, "rooms that were created and not closed", "close one first") \
    Q(seats, "rooms at the same time", "leave one first")                 \
    Q(transports, "transports", "close one first")                        \
    Q(producers, "producers", "close one first")                          \
    Q(consumers, "consumers", "close one of their producers or transports first")

enum quota {
#define Q(name, what, advice) QUOTA_##name,
    QUOTAS(Q)
#undef Q
        QUOTA_COUNT
};

struct holder;
struct owner {
    struct holder *user, *address;
};

/* False: no memory. */
bool owner_open(struct rooms *rooms, struct owner *owner, const char *user_id, const char *ip);
void owner_close(struct rooms *rooms, struct owner *owner);

#define QUOTA_WHY_BYTES 120
/* False, with what is too much in `why`: the user or the address has as many as it may. */
bool quota_take(struct rooms *rooms, const struct owner *owner, enum quota quota,
                char why[QUOTA_WHY_BYTES]);
/* Counts them without asking: the user has them already. */
void quota_put(const struct owner *owner, enum quota quota, uint32_t count);
void quota_give_back(const struct owner *owner, enum quota quota, uint32_t count);

/* Events that change something count in one window; those that only concern the consumers of the
 * user in another one, of which the limit grows with the producers in the user's rooms. False: the
 * limit is reached. */
bool quota_pass_event(struct rooms *rooms, const struct owner *owner);
bool quota_pass_consumer_event(struct rooms *rooms, const struct owner *owner, uint32_t producers);
/* The seconds until quota_pass_event can succeed again. */
uint32_t quota_retry_after_s(struct rooms *rooms, const struct owner *owner);
/* True once per window: the audit log gets a row. */
bool quota_refusal_is_first(struct rooms *rooms, const struct owner *owner);

/* ---- rooms that were created ---- */

struct made_room;
/* Before the store makes it: takes one from the quota. NULL, with a sentence in `why`: refused. */
struct made_room *made_room_new(struct rooms *rooms, const char *user_id, const char *ip,
                                char why[QUOTA_WHY_BYTES]);
/* The store has made it; or not: id is NULL. Until then `rooms` stays. */
void made_room_done(struct made_room *made, const char *id);
/* The room is closed. */
void made_room_closed(struct rooms *rooms, const char *id);

/* Forgets holders and rooms whose time is over; with `all` everything that no one uses. */
void quotas_sweep(struct rooms *rooms, bool all);

#endif
