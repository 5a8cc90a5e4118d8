/* Rooms: who is in which room, with which role and which media; answers every event of clients.
 *
 *   socket's event ─► dispatch.c ─► a handler in request_*.c ─► the objects ─► tables/dataplane.h
 *                     rate limit,    events.h: which one         room.c, participant.c,
 *                     permission                                 transport.c, …
 *
 * Threads: the loop's only. */
#ifndef RINGCAST_ROOMS_H
#define RINGCAST_ROOMS_H

#include "controlplane/live/live.h"
#include "controlplane/people/api.h"
#include "controlplane/people/auth.h"
#include "controlplane/tables/dataplane.h"
#include "controlplane/web/socketio.h"

struct rooms;
struct rooms *rooms_open(uv_loop_t *loop, const struct settings *settings,
                         struct dataplane *dataplane, struct persistence *store, struct auth *auth,
                         struct audit *audit, char *why /* 192 bytes */);
/* Everybody leaves; the meetings stay open in the store, for the next run. The caller closes the
 * sockets. The loop must run on until all is freed. */
void rooms_close(struct rooms *rooms);
/* True if rooms_open would accept these settings: codecs, STUN and TURN servers. */
bool rooms_check(const struct settings *settings, char *why /* 192 bytes */);
/* From now on no room is created, and only rooms that people are in can be joined. */
void rooms_drain(struct rooms *rooms);
/* A metrics_source; context: the rooms. */
void rooms_write_metrics(struct metrics *metrics, void *rooms);
/* From now on rooms and participants are copied to `live`, which must outlive the rooms. */
void rooms_set_live(struct rooms *rooms, struct live *live);

/* For socketio_open, with `rooms` as the context. */
extern const struct socket_handlers rooms_socket_handlers;
/* For dataplane_open. The context is a struct rooms ** that may point to NULL: the data plane is
 * opened before the rooms. */
extern const struct dataplane_handlers rooms_dataplane_handlers;

/* For api_open. The context is the same. */
extern const struct api_rooms rooms_for_api;

uint32_t rooms_participant_count(void *rooms, const char *room_id);

#endif
