/* Rooms: who is where, with which role and which media; every Socket.IO event of signaling.md §2.
 *
 *   socketio event ─► session.c (auth, rate limit, payload shape) ─► rooms.c / transport.c ─► dataplane.h
 */
#ifndef RINGCAST_ROOMS_H
#define RINGCAST_ROOMS_H

#include "controlplane/live/live.h"
#include "controlplane/people/auth.h"
#include "controlplane/web/socketio.h"
#include "controlplane/tables/dataplane.h"

struct rooms;
struct rooms *rooms_open(uv_loop_t *loop, const struct settings *settings,
                         struct dataplane *dataplane, struct persistence *store, struct auth *auth,
                         struct audit *audit, char *why /* 192 */);
void rooms_close(struct rooms *rooms);
/* What rooms_open would say to these settings: codecs, STUN and TURN servers. */
bool rooms_check(const struct settings *settings, char *why /* 192 */);
/* The end is near: no new rooms, no joins into rooms that are not live; what goes on goes on. */
void rooms_drain(struct rooms *rooms);
/* For http_metrics_add, with `rooms` as its context. */
void rooms_write_metrics(struct metrics *metrics, void *rooms);
/* From now on live state is told to `live`, which stays until after rooms_close. */
void rooms_set_live(struct rooms *rooms, struct live *live);

/* What socketio_open wants, with `rooms` as its context. */
extern const struct socket_handlers rooms_socket_handlers;
/* What dataplane_open wants; context is `struct rooms **`, so that plane may be opened first. */
extern const struct dataplane_handlers rooms_dataplane_handlers;

uint32_t rooms_participant_count(void *rooms, const char *room_id);

#endif
