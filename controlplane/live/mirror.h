/* The mirror: our copy of what Redis should hold about the rooms of this process, and which part of
 * it is not written yet. An engine without I/O: changes and replies go in, commands come out.
 *
 *   changes ─► records ─► dirty lists ─► mirror_write ─► commands ─► Redis
 *                 ▲                                                    │
 *                 └── missing keys or a refusal: all again ◄── mirror_reply
 *
 * There is one record per room, participant and socket.
 *
 * Keys of the NestJS backend:  type    value                              time to live
 *   room:{roomId}              hash    hostUserId, status, routerId, …   24 h, refreshed
 *   room:{roomId}:participants hash    userId → JSON(RoomParticipant)    24 h, refreshed
 *   socket:user:{socketId}     string  userId                            2 h, refreshed
 *   user:socket:{userId}       string  socketId                          2 h, refreshed
 *   active_rooms               set     room ids                          none
 * Our own keys. From them a restarted instance knows which keys its last run wrote:
 *   ringcast:{instance}:rooms    set   room ids                          24 h, refreshed
 *   ringcast:{instance}:sockets  hash  socketId → userId                 24 h, refreshed
 *
 * How it converges: a dirty record is written whole, in its latest state. So several changes become
 * one write. A room and its entry in our own key go in one transaction. Without a connection
 * nothing is queued: a new connection first reads our own keys, then removes what does not exist
 * any more and writes everything that does. The same happens after a refusal, and when a refresh
 * finds that keys are missing. The keys of a room that another instance has taken over (field
 * `instance`) are not touched.
 *
 * Memory: one record for each thing that exists; a removed one stays until its removal is written.
 * Errors: without memory a thing has no record, and mirror_is_complete is false from then on. */
#ifndef RINGCAST_LIVE_MIRROR_H
#define RINGCAST_LIVE_MIRROR_H

#include <hiredis/hiredis.h>

#include "commands.h"
#include "live.h"

#define ROOM_TTL_S "86400"
#define SOCKET_TTL_S "7200"

struct mirror;
struct mirror *mirror_new(const char *instance);
void mirror_delete(struct mirror *mirror);

/* ---- changes ---- */

void mirror_room_put(struct mirror *mirror, const struct live_room *room);
void mirror_room_remove(struct mirror *mirror, const char *room_id);
void mirror_participant_put(struct mirror *mirror, const char *room_id, const char *user_id,
                            const char *json);
void mirror_participant_remove(struct mirror *mirror, const char *room_id, const char *user_id);
void mirror_socket_put(struct mirror *mirror, const char *socket_id, const char *user_id);
void mirror_socket_remove(struct mirror *mirror, const char *socket_id);

/* ---- commands and replies ---- */

/* Starts again: after a new connection, or when everything is to be written again. No reply may be
 * pending. */
void mirror_start(struct mirror *mirror, struct commands *out);
/* The connection is lost: no pending reply will come. */
void mirror_stop(struct mirror *mirror);
/* Adds the commands of the next record to write. False: there is none for now. */
bool mirror_write(struct mirror *mirror, struct commands *out);
/* From now on mirror_write also renews the time to live of each key, and checks that it exists. */
void mirror_refresh(struct mirror *mirror);

enum mirror_result {
    MIRROR_FINE,
    MIRROR_DRIFTED, /* a key was not as it should be: start again */
    MIRROR_REFUSED, /* Redis refused a command, mirror_problem says why: start again later */
};
/* Takes the next reply. After a bad result nothing is written until mirror_start. */
enum mirror_result mirror_reply(struct mirror *mirror, const redisReply *reply);
const char *mirror_problem(const struct mirror *mirror); /* "": none since mirror_start */
uint32_t mirror_pending(const struct mirror *mirror);    /* replies that have not come yet */
bool mirror_has_failed(const struct mirror *mirror);     /* after a bad result */
bool mirror_is_synced(const struct mirror *mirror);      /* everything is written and confirmed */
bool mirror_is_complete(const struct mirror *mirror);

#endif
